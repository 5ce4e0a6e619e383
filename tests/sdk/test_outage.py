"""A Postgres that goes away and comes back: the server says so, tells no internals, and needs no restart."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from server import MASTER_KEY, run
from stores import cut_off, name_of, outage
from wire import Wire

KEY = {"GREENROOM_MASTER_KEY": MASTER_KEY}


@pytest.fixture
def database(fresh_postgres):
    return fresh_postgres()


@pytest.fixture
def wire(database, start_greenroom):
    server = start_greenroom(GREENROOM_DATABASE_URL=database, **KEY).serving()
    return Wire(server.endpoint, "210000000300", "us-east-1")


def until_ready(wire):
    """Waits until the server has noticed that its store is back."""
    deadline = time.monotonic() + 60
    while wire.send("GET", "/_greenroom/ready").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_server_without_its_store_lives_but_is_not_ready(wire, postgres, database):
    with outage(postgres, database):
        assert wire.send("GET", "/_greenroom/ready").status == 503
        assert wire.send("GET", "/_greenroom/health").status == 200
    until_ready(wire)


def test_a_request_without_a_store_is_told_to_come_again_and_no_internals(wire, postgres, database):
    assert wire.call("ListStages").status == 200
    with outage(postgres, database):
        answer = wire.send("POST", "/CreateStage", b"{}")
        assert (answer.status, answer.fault) == (503, "ServiceUnavailableException")
        for word in ("sql", "postgres", "connection", "database", "pool", name_of(database)):
            assert word not in answer.text.lower()
    until_ready(wire)
    assert wire.call("CreateStage").status == 200


def holder_of_a_key(wire, database):
    """A client whose key is in the store."""
    made = run("credentials", "create", "--account", wire.account, "--database-url", database, "--output", "json", **KEY)
    key = json.loads(made.stdout)
    return Wire(wire.endpoint, key["accessKeyId"], wire.region, secret=key["secretAccessKey"])


def test_a_key_that_cannot_be_looked_up_is_no_fault_of_its_holder(wire, postgres, database):
    holder = holder_of_a_key(wire, database)
    assert holder.call("ListStages").status == 200
    with outage(postgres, database):
        answer = holder.send("POST", "/ListStages", b"{}")
        assert (answer.status, answer.fault) == (503, "ServiceUnavailableException")
    until_ready(wire)
    assert holder.call("ListStages").status == 200


def test_connections_that_were_cut_are_replaced_unseen(wire, postgres, database):
    fill_the_pool(wire)
    with psycopg.connect(postgres, autocommit=True) as admin:
        cut_off(admin, name_of(database))
    assert [wire.call("ListStages").status for _ in range(5)] == [200] * 5
    assert wire.call("CreateStage").status == 200


def test_connections_that_were_cut_are_replaced_unseen_also_for_the_lookup_of_keys(wire, postgres, database):
    holder = holder_of_a_key(wire, database)
    fill_the_pool(wire)
    assert holder.send("POST", "/ListStages", b"{}").status == 200
    with psycopg.connect(postgres, autocommit=True) as admin:
        cut_off(admin, name_of(database))
    assert [holder.send("POST", "/ListStages", b"{}").status for _ in range(5)] == [200] * 5


def fill_the_pool(wire):
    """Has the server open several connections to its store, by requests at once."""
    with ThreadPoolExecutor(8) as pool:
        wires = [Wire(wire.endpoint, wire.account, wire.region) for _ in range(8)]
        assert [answer.status for answer in pool.map(lambda one: one.call("ListStages"), wires)] == [200] * 8
