"""Access keys: how they are made, shown and changed beside a running server, and what they open."""

import re
import sqlite3
from contextlib import closing, contextmanager

import psycopg
import pytest

from access import Keys, client, stored, unknown
from clients import ACCOUNTS
from server import MASTER_KEY, run
from tenant import refused
from wire import Wire

MEMBERS = {
    "accessKeyId",
    "account",
    "createdAt",
    "enabled",
    "expiresAt",
    "hasSessionToken",
    "lastUsedAt",
    "name",
    "policy",
}
SECRETS = {"secretAccessKey", "sessionToken"}


@pytest.fixture
def keys(greenroom):
    """The keys of the server that most tests share."""
    return Keys(greenroom.database)


@pytest.fixture
def account():
    return str(next(ACCOUNTS))


def public(key):
    return {name: value for name, value in key.items() if name not in SECRETS}


def test_a_new_key_has_awss_form_and_says_all_about_itself(keys, account):
    key = keys.create(account, "--name", "alice")
    assert key.keys() == MEMBERS | SECRETS
    assert re.fullmatch(r"AKIA[A-Z0-9]{16}", key["accessKeyId"])
    assert re.fullmatch(r"[A-Za-z0-9/+]{40}", key["secretAccessKey"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", key["createdAt"])
    assert (key["account"], key["name"], key["enabled"]) == (account, "alice", True)
    assert key["hasSessionToken"] is False
    assert [key[name] for name in ("expiresAt", "lastUsedAt", "policy", "sessionToken")] == [None] * 4


def test_a_new_key_opens_its_account_and_no_other(keys, account, greenroom, tenant):
    ivs = client(greenroom, keys.create(account))
    arn = ivs.create_stage(name="mine")["stage"]["arn"]
    assert arn.startswith(f"arn:aws:ivs:us-east-1:{account}:stage/")
    assert [stage["arn"] for stage in ivs.list_stages()["stages"]] == [arn]
    assert tenant.ivs.list_stages()["stages"] == []
    with refused("ResourceNotFoundException"):
        ivs.get_stage(arn=tenant.stage())


def test_two_keys_of_an_account_see_the_same_and_have_nothing_else_in_common(keys, account, greenroom):
    one, other = keys.create(account), keys.create(account)
    assert one["accessKeyId"] != other["accessKeyId"]
    assert one["secretAccessKey"] != other["secretAccessKey"]
    arn = client(greenroom, one).create_stage()["stage"]["arn"]
    assert client(greenroom, other).get_stage(arn=arn)["stage"]["arn"] == arn
    crossed = {**one, "secretAccessKey": other["secretAccessKey"]}
    with refused("InvalidSignatureException"):
        client(greenroom, crossed).list_stages()


def test_keys_are_listed_and_shown_as_they_were_made_but_without_their_secrets(keys, account):
    made = [keys.create(account, "--name", "alice"), keys.create(account, "--session-token", "--expires-in", "3600")]
    listed = [key for key in keys.ask("list") if key["account"] == account]
    assert listed == [public(key) for key in made]
    assert [keys.show(key) for key in made] == listed


def test_what_is_printed_for_people_says_the_same(keys, account):
    said = keys.say("create", "--account", account, "--name", "alice", "--session-token")
    values = dict(re.findall(r"^  (\S.*?\S) {2,}(\S+)$", said, re.MULTILINE))
    assert values.keys() == {"access key id", "secret access key", "session token", "account"}
    assert "once" in said
    key_id = values["access key id"]
    shown, listed = keys.say("show", key_id), keys.say("list")
    [line] = [line for line in listed.splitlines() if key_id in line]
    for text in (shown, line):
        assert account in text and "alice" in text and "enabled" in text and "never" in text
    assert key_id in keys.say("disable", key_id)
    assert "disabled" in keys.say("show", key_id)
    assert key_id in keys.say("enable", key_id)
    assert key_id in keys.say("delete", key_id)
    assert key_id not in keys.say("list")


def test_a_store_without_keys_says_so(tmp_path):
    keys = Keys(f"sqlite://{tmp_path}/greenroom.db")
    assert run("migrate", GREENROOM_DATABASE_URL=keys.database).returncode == 0
    assert keys.ask("list") == []
    assert "no access keys" in keys.say("list")


def test_a_secret_is_shown_by_create_and_is_nowhere_else(keys, account, greenroom):
    key = keys.create(account, "--session-token")
    client(greenroom, key).create_stage()
    secrets = [key["secretAccessKey"], key["sessionToken"]]
    shown = [keys.say(*arguments) for arguments in (["list"], ["show", key["accessKeyId"]])]
    shown += [keys.say(*arguments, "--output", "json") for arguments in (["list"], ["show", key["accessKeyId"]])]
    places = {"shown": "".join(shown), "logged": greenroom.test_server.logged(), "stored": stored(greenroom.database)}
    assert key["accessKeyId"] in places["stored"]
    assert [place for place, text in places.items() for secret in secrets if secret in text] == []


def test_a_change_holds_for_the_next_request(keys, account, greenroom):
    key = keys.create(account)
    ivs, key_id = client(greenroom, key), key["accessKeyId"]
    arn = ivs.create_stage()["stage"]["arn"]
    for _ in range(2):
        keys.ask("disable", key_id)
        assert keys.show(key)["enabled"] is False
        with unknown():
            ivs.get_stage(arn=arn)
        keys.ask("enable", key_id)
        assert keys.show(key)["enabled"] is True
        for _ in range(3):
            assert ivs.get_stage(arn=arn)["stage"]["arn"] == arn
    keys.ask("delete", key_id)
    with unknown():
        ivs.get_stage(arn=arn)
    assert client(greenroom, keys.create(account)).get_stage(arn=arn)["stage"]["arn"] == arn


def test_a_change_that_changes_nothing_is_no_error(keys, account):
    key = keys.create(account)
    for verb in ("enable", "disable", "disable", "enable"):
        keys.ask(verb, key["accessKeyId"])
    assert keys.show(key) == public(key)


def test_a_key_with_a_session_token_is_good_only_with_it(keys, account, greenroom):
    key = keys.create(account, "--session-token")
    assert re.fullmatch(r"ASIA[A-Z0-9]{16}", key["accessKeyId"])
    assert key["hasSessionToken"] is True
    assert client(greenroom, key).list_stages()["stages"] == []
    other = keys.create(account, "--session-token")
    for wrong in (None, other["sessionToken"], key["sessionToken"][:-1], key["sessionToken"] + "x"):
        with unknown():
            client(greenroom, {**key, "sessionToken": wrong}).list_stages()


def test_a_key_without_a_session_token_is_refused_with_one(keys, account, greenroom):
    token = keys.create(account, "--session-token")["sessionToken"]
    with unknown():
        client(greenroom, {**keys.create(account), "sessionToken": token}).list_stages()


def test_a_key_is_good_until_it_expires(start_test_server, account):
    server = start_test_server()
    keys = Keys(server.database)
    lasting, brief = keys.create(account), keys.create(account, "--expires-in", "3600")
    assert brief["expiresAt"][:14] != brief["createdAt"][:14]
    assert client(server, brief).list_stages()["stages"] == []
    # The server's clock stood still while the key was made by the machine's.
    server.test_server.advance(3700)
    with refused("ExpiredTokenException", "expired"):
        client(server, brief).list_stages()
    assert client(server, lasting).list_stages()["stages"] == []
    assert keys.show(brief)["enabled"] is True


def test_the_last_use_is_noted_once_a_minute(start_test_server, account):
    server = start_test_server()
    keys = Keys(server.database)
    key = keys.create(account)
    ivs = client(server, key)
    ivs.list_stages()
    first = keys.show(key)["lastUsedAt"]
    assert first is not None
    server.test_server.advance(30)
    ivs.list_stages()
    assert keys.show(key)["lastUsedAt"] == first
    server.test_server.advance(31)
    ivs.list_stages()
    assert keys.show(key)["lastUsedAt"] > first
    [listed] = keys.ask("list")
    assert listed == keys.show(key)


UNWRITABLE = {
    "postgres": [
        "ALTER TABLE access_keys ADD CONSTRAINT never CHECK (last_used_at IS NULL)",
        "ALTER TABLE access_keys DROP CONSTRAINT never",
    ],
    "sqlite": [
        "CREATE TRIGGER never BEFORE UPDATE ON access_keys BEGIN SELECT RAISE(ABORT, 'never'); END",
        "DROP TRIGGER never",
    ],
}


@contextmanager
def no_use_can_be_noted(server):
    """The store takes no note of the use of a key."""
    forbid, allow = UNWRITABLE[server.engine]
    alter(server, forbid)
    yield
    alter(server, allow)


def alter(server, statement):
    if server.engine == "postgres":
        with psycopg.connect(server.database) as store:
            store.execute(statement)
    else:
        with closing(sqlite3.connect(server.database.removeprefix("sqlite://"))) as store:
            store.execute(statement)


def test_a_last_use_that_was_not_written_is_written_later(start_test_server, account):
    server = start_test_server()
    keys = Keys(server.database)
    key = keys.create(account)
    ivs = client(server, key)
    with no_use_can_be_noted(server):
        for _ in range(2):
            assert ivs.list_stages()["stages"] == []
    message = "last use of access key not recorded"
    assert server.test_server.wait_for_log(message).count(message) == 1
    assert keys.show(key)["lastUsedAt"] is None
    server.test_server.advance(5)
    ivs.list_stages()
    assert keys.show(key)["lastUsedAt"] is not None


def test_a_request_with_a_wrong_signature_is_no_use_of_a_key(keys, account, greenroom):
    key = keys.create(account)
    with refused("InvalidSignatureException"):
        client(greenroom, {**key, "secretAccessKey": "wrong"}).list_stages()
    assert keys.show(key)["lastUsedAt"] is None


def opens(server, key):
    """Whether a key is good at a server with the real clock."""
    secret, token = key["secretAccessKey"], key["sessionToken"]
    wire = Wire(server.endpoint, key["accessKeyId"], "us-east-1", secret=secret, token=token)
    return wire.call("ListStages").status == 200


def test_keys_survive_a_restart_and_may_be_older_than_the_first(start_greenroom, store, account):
    keys = Keys(store)
    before = keys.create(account, "--session-token")
    settings = {"GREENROOM_DATABASE_URL": store, "GREENROOM_MASTER_KEY": MASTER_KEY}
    first = start_greenroom(**settings).serving()
    during = keys.create(account)
    assert opens(first, before) and opens(first, during)
    assert first.end() == 0
    second = start_greenroom(**settings).serving()
    assert opens(second, before) and opens(second, during)


def test_nodes_on_one_postgres_have_the_same_keys(start_greenroom, fresh_postgres, account):
    settings = {"GREENROOM_DATABASE_URL": fresh_postgres(), "GREENROOM_MASTER_KEY": MASTER_KEY}
    nodes = [node.serving() for node in [start_greenroom(**settings) for _ in range(2)]]
    keys = Keys(settings["GREENROOM_DATABASE_URL"])
    key = keys.create(account)
    assert all(opens(node, key) for node in nodes)
    keys.ask("disable", key["accessKeyId"])
    assert not any(opens(node, key) for node in nodes)
