"""The access key that a server is given by its environment: made at the start, or there already, and never shown."""

import time
from contextlib import contextmanager

import psycopg
import pytest

from access import Keys, allow, policy, stored
from server import MASTER_KEY, run
from wire import Wire

ACCOUNT = "123456789012"
ID, SECRET = "GREENROOMGIVENKEY001", "8b0c7e3f5a1d4926b7e8f90a1c2d3e4f5a6b7c8d"
OTHER_SECRET = SECRET[::-1]


@pytest.fixture
def keys(store):
    return Keys(store)


def settings(store, secret=SECRET, key_id=ID, account=ACCOUNT):
    """The environment of a server that is given a key, as a container has it."""
    return {
        "GREENROOM_LISTEN": "127.0.0.1:0",
        "GREENROOM_DATABASE_URL": store,
        "GREENROOM_MASTER_KEY": MASTER_KEY,
        "GREENROOM_DEV_CREDENTIALS": "off",
        "GREENROOM_ACCOUNT": account,
        "GREENROOM_ACCESS_KEY_ID": key_id,
        "GREENROOM_SECRET_ACCESS_KEY": secret,
    }


def holder(server, secret=SECRET, key_id=ID):
    return Wire(server.endpoint, key_id, "us-east-1", secret=secret)


def refusal(ended):
    """The one line with which a server did not start."""
    assert (ended.returncode, ended.stdout) == (2, ""), ended
    [line] = ended.stderr.strip().splitlines()
    return line


def test_a_given_key_may_do_everything_in_the_account_from_the_start(start_greenroom, store, keys):
    server = start_greenroom(**settings(store)).serving()
    created = holder(server).call("CreateStage")
    assert created.json["stage"]["arn"].startswith(f"arn:aws:ivs:us-east-1:{ACCOUNT}:stage/")
    assert holder(server, OTHER_SECRET).call("ListStages").fault == "InvalidSignatureException"
    [key] = keys.ask("list")
    assert (key["accessKeyId"], key["account"], key["name"], key["enabled"]) == (ID, ACCOUNT, "", True)
    assert [key[name] for name in ("policy", "expiresAt", "hasSessionToken")] == [None, None, False]


def test_a_store_in_memory_has_it_too_and_flags_give_it_as_well(start_greenroom):
    flags = ["--access-key-id", ID, "--secret-access-key", SECRET, "--account", ACCOUNT]
    server = start_greenroom(*flags, "--database-url", "sqlite::memory:").serving()
    assert holder(server).call("ListStages").status == 200


def test_at_the_next_start_it_is_there_and_stays_as_it_is(start_greenroom, store, keys):
    first = start_greenroom(**settings(store)).serving()
    arn = holder(first).call("CreateStage").json["stage"]["arn"]
    assert first.end() == 0
    made = keys.ask("list")
    second = start_greenroom(**settings(store)).serving()
    assert keys.ask("list") == made
    assert holder(second).call("GetStage", {"arn": arn}).status == 200
    keys.ask("disable", ID)
    assert second.end() == 0
    third = start_greenroom(**settings(store)).serving()
    assert holder(third).call("ListStages").fault == "UnrecognizedClientException"
    keys.ask("enable", ID)
    assert holder(third).call("ListStages").status == 200


def test_a_key_that_was_made_may_be_given_and_keeps_its_policy(start_greenroom, store, keys):
    made = keys.create(ACCOUNT, policy=policy(allow("ivs:ListStages")))
    secret, key_id = made["secretAccessKey"], made["accessKeyId"]
    server = start_greenroom(**settings(store, secret, key_id)).serving()
    assert holder(server, secret, key_id).call("ListStages").status == 200
    assert holder(server, secret, key_id).call("CreateStage").fault == "AccessDeniedException"


def test_a_key_that_is_there_and_is_another_one_stops_the_server_and_stays(start_greenroom, store, keys):
    server = start_greenroom(**settings(store)).serving()
    assert server.end() == 0
    before = keys.ask("list")
    for other in (settings(store, secret=OTHER_SECRET), settings(store, account="210987654321")):
        line = refusal(run(**other))
        assert ID in line and f"greenroom credentials delete {ID}" in line
        assert SECRET not in line and OTHER_SECRET not in line
    assert keys.ask("list") == before
    assert holder(start_greenroom(**settings(store)).serving()).call("ListStages").status == 200


def test_a_key_with_a_session_token_cannot_be_given(store, keys):
    made = keys.create(ACCOUNT, "--session-token")
    line = refusal(run(**settings(store, made["secretAccessKey"], made["accessKeyId"])))
    assert made["accessKeyId"] in line and "session token" in line


@pytest.mark.parametrize(("key_id", "secret", "flag"), [("", SECRET, "access-key-id"), (ID, "", "secret-access-key")])
def test_an_empty_half_of_a_key_counts_as_missing(database, key_id, secret, flag):
    assert f"--{flag}" in refusal(run(**settings(database, secret, key_id)))


BAD_IDS = ["test", "000000000000", ID[:15], "A" * 129, "GREENROOM-GIVEN-KEY", "GREENROOMGIVENK\u00c9Y01"]
BAD_SECRETS = ["test", SECRET[:31], "a" * 129, SECRET + "\n", " " + SECRET, SECRET + "\u00e9"]


@pytest.mark.parametrize(
    ("key_id", "secret", "name"),
    [(bad, SECRET, "ACCESS_KEY_ID") for bad in BAD_IDS] + [(ID, bad, "SECRET_ACCESS_KEY") for bad in BAD_SECRETS],
)
def test_a_bad_id_or_secret_stops_the_server_and_is_not_repeated(tmp_path, database, key_id, secret, name):
    line = refusal(run(**settings(database, secret, key_id)))
    assert f"GREENROOM_{name}" in line
    assert SECRET not in line and (len(secret) < 5 or secret not in line)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "missing"),
    [("GREENROOM_ACCESS_KEY_ID", "--secret-access-key"), ("GREENROOM_SECRET_ACCESS_KEY", "--access-key-id")],
)
def test_one_without_the_other_stops_the_server(database, given, missing):
    both = settings(database)
    rest = {name: value for name, value in both.items() if "ACCESS_KEY" not in name}
    line = refusal(run(**rest, **{given: both[given]}))
    assert missing in line and SECRET not in line


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@contextmanager
def at_once(store, nodes):
    """In the block, inserts of keys wait until this many are waiting, or wait for a lock."""
    assert run("migrate", GREENROOM_DATABASE_URL=store).returncode == 0
    with psycopg.connect(store) as holder, psycopg.connect(store, autocommit=True) as watcher:
        holder.execute("LOCK TABLE access_keys IN EXCLUSIVE MODE")
        yield
        for _ in range(400):
            if watcher.execute(WAITING).fetchone() == (nodes,):
                return
            time.sleep(0.02)
        pytest.fail("the nodes do not wait")


def test_nodes_that_start_at_once_make_it_once(start_greenroom, fresh_postgres):
    store = fresh_postgres()
    with at_once(store, 3):
        nodes = [start_greenroom(**settings(store)) for _ in range(3)]
    assert [holder(node.serving()).call("ListStages").status for node in nodes] == [200] * 3
    assert len(Keys(store).ask("list")) == 1


def test_of_two_nodes_that_start_at_once_with_two_secrets_one_is_refused(start_greenroom, fresh_postgres):
    store = fresh_postgres()
    with at_once(store, 2):
        nodes = {secret: start_greenroom(**settings(store, secret)) for secret in (SECRET, OTHER_SECRET)}
    started = {secret: node.process.stdout.readline() != "" for secret, node in nodes.items()}
    assert sorted(started.values()) == [False, True]
    for secret, node in nodes.items():
        if started[secret]:
            assert holder(node.serving(), secret).call("ListStages").status == 200
        else:
            assert node.wait() == 2
            node.wait_for_log(ID)


def test_its_secret_is_neither_logged_nor_printed_nor_stored(start_greenroom, store):
    server = start_greenroom(**settings(store), RUST_LOG="trace").serving()
    assert holder(server).call("CreateStage").status == 200
    assert server.end() == 0
    printed = "\n".join(server.lines) + server.process.stdout.read()
    assert f"access key {ID}" in printed and f"AWS_ACCESS_KEY_ID={ID}" in printed
    server.wait_for_log(ID)
    assert SECRET not in printed + server.logged() + stored(store)


def test_the_other_commands_take_no_notice_of_it(store, keys):
    for arguments in (["migrate"], ["keys", "rotate"], ["credentials", "list"]):
        ended = run(*arguments, **settings(store))
        assert ended.returncode == 0, ended.stderr
    assert keys.ask("list") == []
    assert SECRET not in run("--help", **settings(store)).stdout
