"""EventBridge: events on a bus, through a rule into a queue; and a bus that refuses some of them."""

import json

import pytest

from bus import FussyBus, Moto
from receiver import log, status, until
from test_webhooks import crowd, turn


@pytest.fixture(scope="module")
def moto():
    with Moto() as moto:
        yield moto


@pytest.fixture
def fussy():
    with FussyBus() as bus:
        yield bus


def test_events_go_through_a_rule_into_a_queue(start_test_server, targets, moto):
    server = start_test_server("--events-config", targets(bus=moto.target(id_member="greenroom_id")))
    tenant = server.tenant()
    turn(tenant, crowd(tenant, 3), 4)
    told = log(server)
    came = moto.received(len(told))
    assert {event["source"] for event in came} == {"greenroom.ivs"}

    def kept(event, event_id):
        detail = {name: value for name, value in event["detail"].items() if name != "greenroom_id"}
        return event_id, event["detail-type"], tuple(event["resources"]), event["time"], json.dumps(detail, sort_keys=True)

    ours = sorted(kept(event, event["id"]) for event in told)
    theirs = sorted(kept(event, event["detail"]["greenroom_id"]) for event in came)
    assert theirs == ours, "each once, and whole"
    assert (len(came), status(server, "bus")["delivered"]) == (24, 24)


def test_batches_have_one_entry_of_each_stage_and_refused_entries_are_retried(start_test_server, targets, fussy):
    server = start_test_server("--events-config", targets(bus=fussy.target(concurrency=1)))
    tenant = server.tenant()
    people = crowd(tenant, 12)
    somebody = people[0][1]
    fussy.refuse = lambda detail: "ThrottlingException" if detail["participant_id"] == somebody else None
    turn(tenant, people, 5)
    until(lambda: len(fussy.taken) == 110, lambda: len(fussy.taken))
    until(lambda: status(server, "bus")["lagEvents"] == 0)
    shown = status(server, "bus")
    assert shown["parked"] == 10 and "ThrottlingException" in shown["error"]
    assert all(len(entries) <= 10 for entries in fussy.requests)
    for entries in fussy.requests:
        stages = [entry["Resources"][0] for entry in entries]
        assert len(stages) == len(set(stages))
    fussy.refuse = lambda detail: None
    tenant.advance(300)
    until(lambda: len(fussy.taken) == 120)
    assert {entry["Source"] for entry in fussy.taken} == {"aws.ivs"}, "an emulator may be sent what AWS sends"
    for stage, _ in people:
        names = [json.loads(e["Detail"])["event_name"] for e in fussy.taken if e["Resources"] == [stage]]
        assert names == ["Participant Published", "Participant Unpublished"] * 5


def test_a_bus_that_does_not_exist_is_retried_until_it_does(start_test_server, targets, moto, receiver):
    config = targets(bus=moto.target(endpoint_url="http://127.0.0.1:1"), hook=receiver.target())
    server = start_test_server("--events-config", config)
    tenant = server.tenant()
    turn(tenant, crowd(tenant, 2))
    receiver.has(4)
    until(lambda: status(server, "bus")["failingSince"])
    assert status(server, "bus")["error"]


def test_refused_credentials_are_logged_without_secrets(start_test_server, targets, moto):
    target = moto.target(bus="no-such-bus")
    server = start_test_server("--events-config", targets(bus=target))
    tenant = server.tenant()
    turn(tenant, crowd(tenant, 1))
    until(lambda: status(server, "bus")["error"] or status(server, "bus")["delivered"])
    logged = server.test_server.logged()
    assert target["secret_access_key"] not in logged
