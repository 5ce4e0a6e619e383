"""A policy decides on the decoded input of the operation alone, and on tags in the state that the operation acts on."""

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import psycopg
import pytest

from access import Holder, Keys, allow, client, denied, deny, policy
from asks import ROWS, arns
from aws_model import BY_NAME
from clients import ACCOUNTS
from wire import placed

BLUE, RED = {"team": "blue"}, {"team": "red"}
# Members that would decide something if a policy looked at them, whatever the operation declares.
NOISE = {
    "tags": {**BLUE, "costcenter": "7"},
    "tagKeys": ["team", "costcenter"],
    "arn": "arn:aws:ivs:us-east-1:123456789012:stage/noise",
    "stageArn": "arn:aws:ivs:us-east-1:123456789012:stage/noise",
    "resourceArn": "arn:aws:ivs:us-east-1:123456789012:stage/noise",
    "unknown": {"tags": BLUE},
}
TAGGED = {"StringEquals": {"aws:RequestTag/costcenter": "7"}}
POLICIES = {
    "needs a tag": [allow(Condition=TAGGED)],
    "refuses a tag": [allow(), deny(Condition=TAGGED)],
    "needs a key": [allow(Condition={"ForAnyValue:StringEquals": {"aws:TagKeys": "costcenter"}})],
    "refuses a key": [allow(), deny(Condition={"ForAnyValue:StringEquals": {"aws:TagKeys": "costcenter"}})],
    "needs the presence of a tag": [allow(Condition={"Null": {"aws:RequestTag/costcenter": "false"}})],
    "refuses the tagging of new resources": [allow(), deny("ivs:TagResource")],
    "refuses other resources": [allow(), deny(resource="arn:aws:ivs:*:*:stage/noise")],
}


@pytest.fixture(scope="module")
def wires(greenroom):
    """A connection under each policy, all of one account."""
    account = str(next(ACCOUNTS))
    keys = {name: Keys(greenroom.database).create(account, policy=policy(*rules)) for name, rules in POLICIES.items()}
    return {name: greenroom.wire(key["accessKeyId"], secret=key["secretAccessKey"]) for name, key in keys.items()}


def noisy(operation, request):
    """The same request with members that the operation does not declare, and nulls for those that it was not given."""
    declared = BY_NAME[operation].input_shape.members if BY_NAME[operation].input_shape else {}
    noise = {name: value for name, value in NOISE.items() if name not in declared}
    nulls = {name: None for name in declared if name not in request}
    more = {**noise, **nulls, **request}
    if isinstance(request.get("tags"), dict):
        more["tags"] = {**request["tags"], "costcenter": None}
    return more


def send(wire, operation, request, extra=False):
    """Whether a request is denied. What has no body by the model is sent the extra members in one, and in the query."""
    method, path, body = placed(operation, request)
    if extra:
        method, path, _ = placed(operation, {name: request[name] for name in request if name not in NOISE or name == "resourceArn"})
        body = json.dumps(request).encode()
        if method == "GET":
            path += "?tagKeys=costcenter&tags=costcenter"
    answer = wire.send(method, path, body)
    return answer.fault == "AccessDeniedException"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.operation)
def test_unknown_members_and_nulls_change_no_decision(wires, row):
    request = arns(row.request, "123456789012", "us-east-1")
    is_get = BY_NAME[row.operation].http["method"] == "GET"
    for name, wire in wires.items():
        plain = send(wire, row.operation, request)
        assert send(wire, row.operation, noisy(row.operation, request), extra=is_get) == plain, name


def test_a_tag_that_the_operation_does_not_declare_allows_nothing(greenroom):
    alice = Holder(greenroom, allow("ivs:DeleteStage", Condition={"StringEquals": {"aws:RequestTag/team": "blue"}}))
    arn = alice.owner.create_stage()["stage"]["arn"]
    wire = greenroom.wire(alice.key["accessKeyId"], secret=alice.key["secretAccessKey"])
    assert wire.call("DeleteStage", {"arn": arn, "tags": BLUE}).fault == "AccessDeniedException"
    assert alice.owner.get_stage(arn=arn)


def test_a_null_is_no_tag(greenroom):
    alice = Holder(greenroom, allow(Condition={"Null": {"aws:RequestTag/costcenter": "false"}}))
    wire = greenroom.wire(alice.key["accessKeyId"], secret=alice.key["secretAccessKey"])
    assert wire.call("CreateStage", {"tags": {"costcenter": None}}).fault == "AccessDeniedException"
    assert alice.owner.list_stages()["stages"] == []


# Tags of resources


BY_TAG = {"StringEquals": {"aws:ResourceTag/team": "blue"}}


@contextmanager
def flipping(ivs, arn):
    """The tag of a resource changes all the time."""
    over = Event()

    def flip():
        while not over.is_set():
            for tags in (RED, BLUE):
                ivs.tag_resource(resourceArn=arn, tags=tags)

    with ThreadPoolExecutor(1) as pool:
        flips = pool.submit(flip)
        try:
            yield
        finally:
            over.set()
            flips.result()


def test_a_resource_is_only_shown_in_a_state_in_which_that_is_allowed(greenroom):
    alice = Holder(greenroom, allow(["ivs:GetStage", "ivs:ListTagsForResource"], Condition=BY_TAG))
    arn = alice.owner.create_stage(tags=BLUE)["stage"]["arn"]
    wire = greenroom.wire(alice.key["accessKeyId"], secret=alice.key["secretAccessKey"])
    seen = {"GetStage": 0, "ListTagsForResource": 0}
    until = time.monotonic() + 20
    with flipping(alice.owner, arn):
        while min(seen.values()) < 60 and time.monotonic() < until:
            for operation, member in (("GetStage", "arn"), ("ListTagsForResource", "resourceArn")):
                answer = wire.call(operation, {member: arn})
                assert answer.fault in (None, "AccessDeniedException")
                if answer.status == 200:
                    assert answer.json.get("stage", answer.json)["tags"] == BLUE
                    seen[operation] += 1
    assert min(seen.values()) > 0


@contextmanager
def uncommitted(database, arn, tags):
    """The stage's tags are changed by another process, which commits at the end."""
    values = (json.dumps(tags), arn.rpartition("/")[2])
    if database.startswith("postgres"):
        with psycopg.connect(database) as other:
            other.execute("UPDATE stages SET tags = %s::jsonb WHERE id = %s", values)
            yield lambda: other.execute(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchone()[0]
        return
    other = sqlite3.connect(database.removeprefix("sqlite://"), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE stages SET tags = ? WHERE id = ?", values)
        # Nothing outside of the server tells that it waits for the file.
        started = time.monotonic()
        yield lambda: time.monotonic() - started > 0.5
        other.execute("COMMIT")
    finally:
        other.close()


@pytest.mark.parametrize("operation", ["DeleteStage", "UpdateStage", "TagResource"])
def test_a_tag_that_changes_while_a_request_waits_decides(greenroom, operation):
    alice = Holder(greenroom, allow(f"ivs:{operation}", Condition=BY_TAG))
    stage = alice.owner.create_stage(name="kept", tags=BLUE)["stage"]
    wire = greenroom.wire(alice.key["accessKeyId"], secret=alice.key["secretAccessKey"])
    request = {
        "DeleteStage": {"arn": stage["arn"]},
        "UpdateStage": {"arn": stage["arn"], "name": "changed"},
        "TagResource": {"resourceArn": stage["arn"], "tags": {"a": "b"}},
    }[operation]
    with ThreadPoolExecutor(1) as pool:
        with uncommitted(greenroom.database, stage["arn"], RED) as is_waiting:
            answer = pool.submit(wire.call, operation, request)
            until = time.monotonic() + 10
            while not (is_waiting() or answer.done() or time.monotonic() > until):
                time.sleep(0.02)
        assert answer.result().fault == "AccessDeniedException"
    left = alice.owner.get_stage(arn=stage["arn"])["stage"]
    assert (left["name"], left["tags"]) == ("kept", RED)


def test_tags_of_what_a_composition_uses_decide_too(greenroom):
    alice = Holder(greenroom, allow(Condition=BY_TAG), allow(["ivs:CreateStage", "ivs:TagResource"]))
    owner = alice.owner
    stage = owner.create_stage(tags=BLUE)["stage"]["arn"]
    encoder = owner.create_encoder_configuration(tags=BLUE)["encoderConfiguration"]["arn"]
    storage = owner.create_storage_configuration(s3={"bucketName": "abc"}, tags=BLUE)["storageConfiguration"]["arn"]
    destinations = [{"s3": {"encoderConfigurationArns": [encoder], "storageConfigurationArn": storage}}]
    started = alice.ivs.start_composition(stageArn=stage, destinations=destinations)["composition"]
    owner.stop_composition(arn=started["arn"])
    owner.tag_resource(resourceArn=storage, tags=RED)
    with denied(storage):
        alice.ivs.start_composition(stageArn=stage, destinations=destinations)


def test_a_change_that_tags_decide_is_in_the_audit_trail(start_test_server):
    server = start_test_server("--audit", "on")
    alice = Holder(server, allow("ivs:DeleteStage", Condition=BY_TAG))
    arn = alice.owner.create_stage(tags=BLUE)["stage"]["arn"]
    client(server, alice.key).delete_stage(arn=arn)
    deadline = time.monotonic() + 10
    records = []
    while not records and time.monotonic() < deadline:
        records = audited(server.database, "DeleteStage")
        time.sleep(0.05)
    assert [record["requestParameters"] for record in records] == [{"arn": arn}]
    assert "errorCode" not in records[0]


def audited(database, name):
    """The records of an operation in the store."""
    if database.startswith("postgres"):
        with psycopg.connect(database) as connection:
            rows = connection.execute("SELECT body FROM events WHERE kind = 'audit' UNION ALL SELECT body FROM outbox WHERE kind = 'audit'").fetchall()
    else:
        connection = sqlite3.connect(database.removeprefix("sqlite://"))
        rows = connection.execute("SELECT body FROM events WHERE kind = 'audit' UNION ALL SELECT body FROM outbox WHERE kind = 'audit'").fetchall()
        connection.close()
    details = [json.loads(body)["detail"] for (body,) in rows]
    return [detail for detail in details if detail["eventName"] == name]
