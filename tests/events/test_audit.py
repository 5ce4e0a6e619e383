"""The audit trail: one record for each mutating request, with caller, source, parameters and result."""

import http.client
import itertools
import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from urllib.parse import urlsplit

import pytest

from access import Keys, allow, client, policy
from aws_model import BY_NAME, is_readonly
from clients import ACCOUNTS
from keys import pem
from leaks import SECRETS
from record import eventually
from server import MASTER_KEY
from streams import named, opened, records
from wire import head
from world import furnish, rows

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
MARKER_NUMBERS, MARKER = itertools.count(), re.compile(r'"mark-\d+"')
REDACTED = "HIDDEN_DUE_TO_SECURITY_REASONS"
# By the readonly trait of the AWS model.
MUTATING = {name for name, model in BY_NAME.items() if not is_readonly(model)}


@pytest.fixture(scope="module")
def server(start_test_server):
    return start_test_server("--audit")


@pytest.fixture
def tenant(server):
    return server.tenant()


def trail(server, account, region="us-east-1"):
    """All records of an account so far. A stage with a unique name marks the end; its record is excluded."""
    marker = f"mark-{next(MARKER_NUMBERS)}"
    # Records with the same time have no defined order.
    server.test_server.advance(1)
    server.client(account, region).create_stage(name=marker)
    with records(server, account, region=region) as stream:
        entries = stream.until(named(marker))
    return [entry for entry in entries if not MARKER.search(json.dumps(entry.detail["requestParameters"]))]


def details(server, account, **more):
    return [entry.detail for entry in trail(server, account, **more)]


def redacted(value):
    """A value with secrets redacted, as in a record."""
    if isinstance(value, list):
        return [redacted(item) for item in value]
    if not isinstance(value, dict):
        return value
    secret = ("token", "streamKey", "publicKeyMaterial")
    return {name: REDACTED if name in secret else redacted(inner) for name, inner in value.items()}


def test_the_model_has_21_mutating_operations():
    assert len(MUTATING) == 21
    assert not [name for name in MUTATING if name.startswith(("Get", "List"))]


def test_every_mutating_request_has_one_record_and_others_have_none(server, tenant):
    requests = furnish(tenant)
    assert requests.keys() == BY_NAME.keys()
    before = {record["requestID"] for record in details(server, tenant.account)}
    answers = {operation: tenant.wire.call(operation, request) for operation, request in requests.items()}
    assert {answer.status for answer in answers.values()} == {200}
    new = [record for record in details(server, tenant.account) if record["requestID"] not in before]
    new = {record["requestID"]: record for record in new}
    assert sorted(record["eventName"] for record in new.values()) == sorted(MUTATING)
    for operation in MUTATING:
        record = new[answers[operation].headers["x-amzn-requestid"]]
        assert record["eventName"] == operation
        assert record["requestParameters"] == redacted(requests[operation])
        assert record["responseElements"] == (redacted(answers[operation].json) or None)
        assert "errorCode" not in record and "errorMessage" not in record


def test_the_members_of_a_record(server):
    account = str(next(ACCOUNTS))
    key = Keys(server.database).create(account, "--name", "alice", policy=policy(allow()))
    wire = server.wire(key["accessKeyId"], "eu-west-1", key["secretAccessKey"])
    answer = wire.call("CreateStage", {"name": "one", "tags": {"a": "b"}}, headers={"user-agent": "test/1.0"})
    [entry] = trail(server, account, region="eu-west-1")
    record = entry.detail
    assert UUID.fullmatch(record["eventID"])
    assert datetime.strptime(record["eventTime"], "%Y-%m-%dT%H:%M:%SZ")
    arn = f"arn:aws:iam::{account}:user/alice"
    assert record == {
        "eventVersion": "1.08",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": key["accessKeyId"],
            "arn": arn,
            "accountId": account,
            "accessKeyId": key["accessKeyId"],
            "userName": "alice",
        },
        "eventTime": record["eventTime"],
        "eventSource": "ivs.amazonaws.com",
        "eventName": "CreateStage",
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "127.0.0.1",
        "userAgent": "test/1.0",
        "requestParameters": {"name": "one", "tags": {"a": "b"}},
        "responseElements": answer.json,
        "requestID": answer.headers["x-amzn-requestid"],
        "eventID": record["eventID"],
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }
    envelope = {**entry.envelope, "detail": None}
    assert envelope == {
        "version": "0",
        "id": record["eventID"],
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.ivs",
        "account": account,
        "time": record["eventTime"],
        "region": "eu-west-1",
        "resources": [],
        "detail": None,
    }


def test_a_rejected_request_has_a_record_with_its_error(server):
    account = str(next(ACCOUNTS))
    wire = server.wire(account)
    stage = f"arn:aws:ivs:us-east-1:{account}:stage/abcdefghijkl"
    other = Keys(server.database).create(account, "--name", "bob", policy=policy(allow("ivs:ListStages")))
    bob = server.wire(other["accessKeyId"], secret=other["secretAccessKey"])
    material = {"publicKeyMaterial": pem()}
    wire.call("ImportPublicKey", material)
    answers = [
        wire.call("CreateStage", {"name": "a b"}),
        wire.call("CreateStage", {"name": ["a"]}),
        wire.call_bytes("CreateStage", b"{"),
        wire.call("UpdateStage", {"arn": stage}),
        wire.call("ImportPublicKey", material),
        wire.call("TagResource", {"resourceArn": stage, "tags": {"a": "b"}}),
        bob.call("DeleteStage", {"arn": stage}),
    ]
    faults = [answer.fault for answer in answers]
    assert faults == [
        "ValidationException",
        "SerializationException",
        "SerializationException",
        "ResourceNotFoundException",
        "ConflictException",
        "ResourceNotFoundException",
        "AccessDeniedException",
    ]
    found = {record["requestID"]: record for record in details(server, account)}
    for answer in answers:
        record = found[answer.headers["x-amzn-requestid"]]
        assert (record["errorCode"], record["errorMessage"]) == (answer.fault, answer.text)
        assert record["responseElements"] is None
    told = [found[answer.headers["x-amzn-requestid"]] for answer in answers]
    # Invalid parameters are not recorded.
    assert [record["requestParameters"] for record in told[:4]] == [None, None, None, {"arn": stage}]
    assert told[-1]["userIdentity"]["userName"] == "bob"
    assert told[-1]["requestParameters"] == {"arn": stage}
    assert len(found) == len(answers) + 1


def test_a_request_without_a_valid_signature_has_no_record(server, tenant):
    for wire in (server.wire(tenant.account, secret="wrong"), server.wire("AKIANOBODY0000000000")):
        assert wire.call("CreateStage", {"name": "x"}).status == 403
    assert tenant.wire.call("CreateStage", {"name": "x"}, signed=False).status == 403
    assert details(server, tenant.account) == []


def test_a_throttled_request_has_no_record(start_test_server):
    server = start_test_server("--audit", "--rate-limits", "DeletePublicKey=1")
    account = str(next(ACCOUNTS))
    wire = server.wire(account)
    key = f"arn:aws:ivs:us-east-1:{account}:public-key/abcdefghijkl"
    answers = [wire.call("DeletePublicKey", {"arn": key}).fault for _ in range(20)]
    assert set(answers) == {"ResourceNotFoundException", "TooManyRequestsException"}
    told = [record["errorCode"] for record in details(server, account)]
    assert told == ["ResourceNotFoundException"] * answers.count("ResourceNotFoundException")


def test_no_secret_is_in_any_record(server, tenant):
    configurations = [{"attributes": {"k": "v"}}]
    made = tenant.wire.call("CreateStage", {"participantTokenConfigurations": configurations})
    [token] = made.json["participantTokens"]
    ingest = tenant.ingest(redundantIngest=True)
    stage = tenant.stage()
    secrets = [token["token"], tenant.token(stage)["token"], ingest["streamKey"]]
    secrets += [one["streamKey"] for one in ingest.get("redundantIngestCredentials", [])]
    # Unknown members may contain anything.
    tenant.wire.call("CreateStage", {"name": "n", "password": "hunter2", "tags": {"a": "b"}})
    tenant.wire.call("CreateStage", {"name": "n", "token": token["token"]})
    keys = [Keys(server.database).create(tenant.account, "--session-token") for _ in range(2)]
    for key in keys:
        client(server, key).create_stage(name="by-key")
    found = trail(server, tenant.account)
    text = "".join(entry.data for entry in found)
    secrets += [key[name] for key in keys for name in ("secretAccessKey", "sessionToken")] + [MASTER_KEY, "hunter2"]
    assert [secret for secret in secrets if secret in text] == []
    assert not [pattern for pattern in SECRETS if pattern.search(text)]
    [shown] = [entry.detail for entry in found if entry.detail["requestID"] == made.headers["x-amzn-requestid"]]
    assert shown["responseElements"]["participantTokens"] == [{**token, "token": REDACTED}]


def test_the_audit_trail_is_off_by_default(start_test_server):
    server = start_test_server()
    tenant = server.tenant()
    for operation, request in furnish(tenant).items():
        assert tenant.wire.call(operation, request).status == 200
    assert not [row for table, row in rows(server) if table in ("outbox", "events") and "CloudTrail" in row]


def test_the_source_address_is_the_clients_behind_a_trusted_proxy(start_test_server):
    server = start_test_server("--audit", "--trusted-proxies", "127.0.0.0/8")
    tenant = server.tenant()
    headers = {"x-forwarded-for": "203.0.113.7", "user-agent": "x" * 2000}
    tenant.wire.call("CreateStage", {"name": "far"}, headers=headers)
    [record] = details(server, tenant.account)
    assert record["sourceIPAddress"] == "203.0.113.7"
    assert record["userAgent"] == "x" * 512


def test_a_closed_connection_leaves_no_change_without_its_record(server, tenant):
    address = urlsplit(server.endpoint).netloc
    body = json.dumps({"name": "hasty"}).encode()
    for number in range(60):
        connection = http.client.HTTPConnection(address)
        connection.connect()
        start = head("/CreateStage", body, account=tenant.account)
        connection.sock.sendall(start + f"content-length: {len(body)}\r\n\r\n".encode() + body)
        if number % 2:
            # After a short delay, the request may be in progress.
            connection.sock.settimeout(number / 10_000)
            try:
                connection.sock.recv(1)
            except TimeoutError:
                pass
        connection.close()

    def is_consistent():
        made = len([s for s in tenant.walk("ListStages", 50) if s.get("name") == "hasty"])
        told = [record for record in details(server, tenant.account) if record["requestParameters"]["name"] == "hasty"]
        return made == len(told)

    eventually(is_consistent)
    assert [stage for stage in tenant.walk("ListStages", 50) if stage.get("name") == "hasty"]


def test_a_record_that_cannot_be_written_is_logged_and_the_request_succeeds(start_server, tmp_path):
    store = f"sqlite://{tmp_path}/greenroom.db"
    server = start_server(store, "--audit")
    with sqlite3.connect(tmp_path / "greenroom.db") as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'no room for records'); END"
        )
    answer = server.wire(str(next(ACCOUNTS))).call("CreateStage", {"name": "unrecorded"})
    assert answer.status == 200
    server.test_server.wait_for_log("audit record not written")
    entries = [entry for entry in server.test_server.log_entries() if "audit record not written" in json.dumps(entry)]
    [line] = [entry for entry in entries if entry["level"] == "ERROR"]
    record = json.loads(line["fields"]["record"])
    assert record["requestParameters"] == {"name": "unrecorded"}
    assert record["requestID"] == answer.headers["x-amzn-requestid"]


def test_concurrent_requests_have_all_their_records(server):
    tenants = [server.tenant() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: tenants[n % 4].wire.call("CreateStage", {"name": f"n{n}"}), range(200)))
    for n, tenant in enumerate(tenants):
        told = [record["requestParameters"]["name"] for record in details(server, tenant.account)]
        assert sorted(told) == sorted(f"n{number}" for number in range(200) if number % 4 == n)


def test_records_are_streamed_as_they_are_written(server, tenant):
    with opened(server, tenant.account, "?kind=all") as stream:
        stage = tenant.stage(name="one")
        tenant.ivs.update_stage(arn=stage, name="two")
        tenant.ivs.delete_stage(arn=stage)
        entries = stream.take(3)
    told = {entry.detail["eventName"] for entry in entries}
    assert {entry.kind for entry in entries} == {"audit"}
    assert told == {"CreateStage", "UpdateStage", "DeleteStage"}
