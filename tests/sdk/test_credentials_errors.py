"""What `greenroom credentials` refuses: each time with one line that names the cause, and without doing anything."""

import json
import sqlite3

import pytest

from access import Keys, allow, policy
from server import MASTER_KEY, run
from wire import Wire

ACCOUNT = "123456789012"


@pytest.fixture
def keys(database):
    return Keys(database)


def said(ended, code):
    """The one line that a command failed with."""
    assert (ended.returncode, ended.stdout) == (code, ""), ended
    [line] = ended.stderr.strip().splitlines()
    assert "panicked" not in line
    return line


@pytest.mark.parametrize("verb", ["show", "disable", "enable", "delete"])
@pytest.mark.parametrize("form", ["human", "json"])
def test_a_key_that_is_not_there_is_named(keys, verb, form):
    made = keys.create(ACCOUNT)
    assert "AKIANOSUCHKEY0000000" in said(keys.run(verb, "AKIANOSUCHKEY0000000", "--output", form), 1)
    assert keys.ask("list") == [keys.show(made)]


def test_a_deleted_key_is_not_there(keys):
    key = keys.create(ACCOUNT)
    keys.ask("delete", key["accessKeyId"])
    for verb in ("show", "disable", "enable", "delete"):
        assert key["accessKeyId"] in said(keys.run(verb, key["accessKeyId"]), 1)


@pytest.mark.parametrize("verb", ["show", "disable", "enable", "delete"])
def test_a_key_must_be_named(keys, verb):
    assert "ACCESS_KEY_ID" in said(keys.run(verb), 2)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ([], "--account"),
        (["--account", "123"], "--account"),
        (["--account", "12345678901x"], "--account"),
        (["--account", ACCOUNT, "--name", "a b"], "--name"),
        (["--account", ACCOUNT, "--name", "a" * 65], "--name"),
        (["--account", ACCOUNT, "--expires-in", "0"], "--expires-in"),
        (["--account", ACCOUNT, "--expires-in", "soon"], "--expires-in"),
        (["--account", ACCOUNT, "--output", "xml"], "--output"),
        (["--account", ACCOUNT, "--unicorns", "5"], "--unicorns"),
    ],
)
def test_a_bad_value_is_named_and_no_key_is_made(keys, flags, word):
    assert word in said(keys.run("create", *flags), 2)
    assert keys.none_made()


def test_a_policy_file_that_is_not_there_is_named(keys, tmp_path):
    missing = str(tmp_path / "missing.json")
    assert missing in said(keys.run("create", "--account", ACCOUNT, "--policy", missing), 2)
    assert keys.none_made()


BAD_POLICIES = {
    "not JSON": ("{", "JSON"),
    "no version": ({"Statement": []}, "Version"),
    "an old version": ({**policy(allow()), "Version": "2008-10-17"}, "2008-10-17"),
    "no statement": ({"Version": "2012-10-17"}, "Statement"),
    "an unknown member": ({**policy(allow()), "Statements": []}, "Statements"),
    "an unknown effect": (policy({**allow(), "Effect": "Maybe"}), "Maybe"),
    "no action": (policy({"Effect": "Allow", "Resource": "*"}), "NotAction"),
    "two kinds of action": (policy({**allow(), "NotAction": "ivs:GetStage"}), "NotAction"),
    "a bad action": (policy(allow("GetStage")), "'GetStage'"),
    "an action that is not there": (policy(allow("ivs:CreateStge")), "nearest is ivs:CreateStage"),
    "another one among those": (policy(allow(["ivs:*", "IVS:getstages"])), "Statement[0].Action[1]"),
    "an exception that is not there": (
        policy({"Effect": "Allow", "NotAction": "ivs:DeleteStages", "Resource": "*"}),
        "nearest is ivs:DeleteStage",
    ),
    "no resource": (policy({"Effect": "Allow", "Action": "*"}), "NotResource"),
    "a bad resource": (policy(allow(resource="stage/*")), "'stage/*'"),
    "a principal": (policy(allow(Principal="*")), "Principal"),
    "a variable": (policy(allow(resource="arn:aws:ivs:*:*:stage/${aws:username}")), "${aws:username}"),
    "an unknown operator": (policy(allow(Condition={"StringEqualz": {"aws:RequestedRegion": "x"}})), "StringEqualz"),
    "a number operator": (policy(allow(Condition={"NumericEquals": {"aws:RequestedRegion": "1"}})), "NumericEquals"),
    "an unknown key": (policy(allow(Condition={"StringEquals": {"aws:userid": "x"}})), "aws:userid"),
    "a key of another service": (policy(allow(Condition={"StringEquals": {"s3:prefix": "x"}})), "s3:prefix"),
    "a bad network": (policy(allow(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}})), "10.0.0.0/33"),
    "one of many values": (policy(allow(Condition={"StringEquals": {"aws:TagKeys": "x"}})), "ForAnyValue"),
    "the second of two": (policy(allow(), {**allow(), "Effect": "Refuse"}), "Statement[1]"),
}


@pytest.mark.parametrize("case", BAD_POLICIES)
def test_a_bad_policy_is_refused_with_its_file_and_its_fault_and_no_key_is_made(keys, tmp_path, case):
    document, word = BAD_POLICIES[case]
    file = tmp_path / "policy.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    line = said(keys.run("create", "--account", ACCOUNT, "--policy", str(file)), 2)
    assert str(file) in line and word in line
    assert keys.none_made()


def test_a_wildcard_that_matches_no_action_is_warned_of(keys, tmp_path):
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(policy(allow(["ivs:Craete*", "ivs:Get*", "ivs:PutMetadata", "s3:PutObjekt"]))))
    ended = keys.run("create", "--account", ACCOUNT, "--policy", str(file), "--output", "json")
    assert ended.returncode == 0 and json.loads(ended.stdout)["policy"]
    [line] = ended.stderr.splitlines()
    assert line == f"greenroom: warning: {file}: Statement[0].Action[0]: 'ivs:Craete*' matches no action of this service"


def test_a_policy_that_is_in_the_store_is_good_whatever_it_names(keys, database, start_greenroom):
    made = keys.create(ACCOUNT, policy=policy(allow(["ivs:ListStages", "ivs:GetStage"])))
    with sqlite3.connect(database.removeprefix("sqlite://")) as store:
        store.execute("UPDATE access_keys SET policy = replace(policy, 'ivs:GetStage', 'ivs:CreateStge')")
    store.close()
    server = start_greenroom(GREENROOM_DATABASE_URL=database, GREENROOM_MASTER_KEY=MASTER_KEY).serving()
    wire = Wire(server.endpoint, made["accessKeyId"], "us-east-1", secret=made["secretAccessKey"])
    assert wire.call("ListStages").status == 200
    assert wire.call("CreateStage").fault == "AccessDeniedException"


def test_a_store_in_memory_has_no_keys_to_manage():
    for arguments in (["create", "--account", ACCOUNT], ["list"], ["show", "AKIANOSUCHKEY0000000"]):
        line = said(run("credentials", *arguments, GREENROOM_DATABASE_URL="sqlite::memory:"), 2)
        assert "memory" in line


def test_a_store_that_cannot_be_opened_is_named():
    for arguments in (["create", "--account", ACCOUNT], ["list"]):
        ended = run("credentials", *arguments, GREENROOM_DATABASE_URL="sqlite:///no/such/directory/greenroom.db")
        assert "/no/such/directory/greenroom.db" in said(ended, 2)


def test_no_key_is_made_with_another_master_key_than_the_stores(keys):
    keys.create(ACCOUNT)
    line = said(keys.run("create", "--account", ACCOUNT, GREENROOM_MASTER_KEY="A" * 43 + "="), 2)
    assert "GREENROOM_MASTER_KEY" in line
    assert len(keys.ask("list")) == 1


def test_postgres_needs_the_master_key_to_make_a_key(fresh_postgres):
    store = fresh_postgres()
    ended = run("credentials", "create", "--account", ACCOUNT, GREENROOM_DATABASE_URL=store)
    assert "GREENROOM_MASTER_KEY" in said(ended, 2)
    assert Keys(store).none_made()


def test_keys_are_listed_disabled_and_deleted_without_the_master_key(keys):
    """An operator who has lost it must still be able to disable a key."""
    key_id = keys.create(ACCOUNT)["accessKeyId"]
    for arguments in (["list"], ["show", key_id], ["disable", key_id], ["enable", key_id], ["delete", key_id]):
        ended = run("credentials", *arguments, GREENROOM_DATABASE_URL=keys.database)
        assert (ended.stderr, ended.returncode) == ("", 0)
    assert keys.ask("list") == []
