"""The journal of API calls, the events of the log, and waiting for either."""

import json
import re
import subprocess
import threading
import time
from datetime import datetime

import pytest
import requests

from aws_model import BY_NAME
from control import Control, invalid, sdk
from keys import pem
from server import binary, environment, run
from signing import Signature
from wire import Wire, placed

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
PATIENCE_SECONDS = 60


@pytest.fixture
def ivs(node, tenant):
    return sdk(node.endpoint, tenant.account)


# The journal


def test_a_call_is_recorded_with_input_output_and_caller(control, node, tenant):
    before = time.time()
    answer = tenant.wire.call("CreateStage", {"name": "demo", "tags": {"a": "b"}}, headers={"User-Agent": "agent/1"})
    [entry] = control.entries()
    arn = answer.json["stage"]["arn"]
    assert entry["sequence"] > 0 and entry["requestId"] == answer.headers["x-amzn-requestid"]
    assert abs(parsed(entry["time"]) - before) < PATIENCE_SECONDS and entry["durationMilliseconds"] > 0
    assert (entry["account"], entry["region"]) == (tenant.account, tenant.region)
    assert (entry["operation"], entry["status"]) == ("CreateStage", 200)
    assert entry["input"] == {"name": "demo", "tags": {"a": "b"}}
    assert entry["output"]["stage"]["arn"] == arn and entry["output"]["stage"]["name"] == "demo"
    arn = entry["caller"].pop("arn")
    assert arn.startswith(f"arn:aws:iam::{tenant.account}:user/"), arn
    assert entry["caller"] == {"accessKeyId": tenant.account, "sourceIp": "127.0.0.1", "userAgent": "agent/1"}
    assert "error" not in entry and "fault" not in entry


def parsed(text):
    """An ISO time in Unix seconds."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_errors_are_recorded_and_an_invalid_input_is_not(control, tenant):
    tenant.wire.call("GetStage", {"arn": tenant.arn("stage")})
    tenant.wire.call("GetStage", {"arn": "x"})
    tenant.wire.call_bytes("GetStage", b"{")
    missing, invalid, malformed = control.entries()
    assert missing["error"]["code"] == "ResourceNotFoundException" and missing["status"] == 404
    assert missing["input"] == {"arn": tenant.arn("stage")} and "output" not in missing
    assert (invalid["error"]["code"], invalid["input"]) == ("ValidationException", None)
    assert (malformed["error"]["code"], malformed["input"]) == ("SerializationException", None)


def test_the_entries_are_filtered_and_paged(control, node, tenant, ivs):
    stage = ivs.create_stage(name="one")["stage"]["arn"]
    for _ in range(3):
        ivs.get_stage(arn=stage)
    tenant.wire.call("GetStage", {"arn": tenant.arn("stage")})
    names = [entry["operation"] for entry in control.entries()]
    assert names == ["CreateStage", *["GetStage"] * 4]
    page = control.get("/journal", limit=2)
    assert len(page["entries"]) == 2 and page["next"] == page["entries"][-1]["sequence"] and page["dropped"] == 0
    rest = control.get("/journal", limit=3, after=page["next"])
    assert len(rest["entries"]) == 3 and rest["next"] is None
    sequences = [entry["sequence"] for entry in page["entries"] + rest["entries"]]
    assert sequences == sorted(sequences)
    for query, expected in [
        ({"operation": "CreateStage"}, 1),
        ({"operation": "ListStages"}, 0),
        ({"outcome": "success"}, 4),
        ({"outcome": "error"}, 1),
        ({"outcome": "ResourceNotFoundException"}, 1),
        ({"outcome": "ConflictException"}, 0),
        ({"accessKeyId": tenant.account}, 5),
        ({"accessKeyId": "another"}, 0),
        ({"since": page["entries"][0]["time"]}, 5),
        ({"until": page["entries"][0]["time"]}, 0),
        ({"since": "2999-01-01T00:00:00Z"}, 0),
        ({"until": "2999-01-01T00:00:00+01:00", "operation": "GetStage"}, 4),
    ]:
        assert len(control.entries(**query)) == expected, query
    assert control.delete("/journal") == {}
    assert control.entries() == []
    ivs.list_stages()
    assert control.entries()[0]["sequence"] > sequences[-1], "sequences go on"


def test_invalid_queries_are_refused_with_the_parameter(control):
    for path, query in [
        ("/journal", {"limit": 0}),
        ("/journal", {"limit": 1001}),
        ("/journal", {"limit": "all"}),
        ("/journal", {"after": -1}),
        ("/journal", {"since": "yesterday"}),
        ("/journal", {"until": "2026-01-01"}),
        ("/events", {"kind": "events"}),
        ("/events", {"after": -1}),
        ("/events", {"since": "now"}),
        ("/events", {"limit": 5000}),
        ("/events", {"operation": "CreateStage"}),
        ("/journal", {"operations": "CreateStage"}),
    ]:
        with invalid(f"{next(iter(query))}: "):
            control.get(path, **query)


def test_accounts_and_regions_have_journals_of_their_own(control, node, tenant):
    other = node.tenant()
    others = Control.of(other)
    tenant.stage(name="mine")
    other.stage(name="theirs")
    tenant.elsewhere().ivs.list_stages()
    assert [entry["input"]["name"] for entry in control.entries()] == ["mine"]
    assert [entry["input"]["name"] for entry in others.entries()] == ["theirs"]
    others.delete("/journal")
    assert others.entries() == [] and len(control.entries()) == 1


def test_unauthenticated_calls_are_only_in_the_journal_of_all(control, node, tenant):
    after = newest(control)
    requests.post(f"{node.endpoint}/ListStages", json={}, timeout=30)
    requests.post(f"{node.endpoint}/ListNothing", json={}, timeout=30)
    Wire(node.endpoint, tenant.account, tenant.region, secret="wrong").call("ListStages")
    assert control.entries() == []
    found = control.everything().wait(call={"account": [None]}, after=after, count=3)["entries"]
    assert [(entry["operation"], entry["error"]["code"]) for entry in found] == [
        ("ListStages", "MissingAuthenticationTokenException"),
        (None, "UnknownOperationException"),
        ("ListStages", "InvalidSignatureException"),
    ]
    for entry in found:
        assert (entry["region"], entry["caller"]["accessKeyId"], entry["caller"]["arn"]) == (None, None, None)


def newest(control):
    """The sequence of the newest entry of all accounts."""
    after = 0
    while (page := control.everything().get("/journal", after=after, limit=1000))["entries"]:
        after = page["entries"][-1]["sequence"]
    return after


def test_every_secret_of_inputs_and_outputs_is_redacted(control, tenant):
    stage = tenant.ivs.create_stage(participantTokenConfigurations=[{"userId": "u"}])
    token = tenant.token(stage["stage"]["arn"], attributes={"a": "b"})
    ingest, material = tenant.ingest(), pem()
    tenant.ivs.get_ingest_configuration(arn=ingest["arn"])
    tenant.ivs.import_public_key(publicKeyMaterial=material)
    secrets = [stage["participantTokens"][0]["token"], token["token"], ingest["streamKey"], material.splitlines()[1]]
    entries = control.entries()
    text = json.dumps(entries)
    for secret in secrets:
        assert len(secret) > 20 and secret not in text
    by_name = {entry["operation"]: entry for entry in entries}
    assert by_name["CreateStage"]["output"]["participantTokens"][0]["token"] == HIDDEN
    assert by_name["CreateParticipantToken"]["output"]["participantToken"]["token"] == HIDDEN
    assert by_name["CreateParticipantToken"]["input"]["attributes"] == {"a": "b"}
    assert by_name["ImportPublicKey"]["input"]["publicKeyMaterial"] == HIDDEN
    assert by_name["ImportPublicKey"]["output"]["publicKey"]["publicKeyMaterial"] == HIDDEN
    for name in ("CreateIngestConfiguration", "GetIngestConfiguration"):
        assert by_name[name]["output"]["ingestConfiguration"]["streamKey"] == HIDDEN


def test_the_test_before_has_every_sensitive_member_of_the_model():
    shapes = [shape for model in BY_NAME.values() for shape in (model.input_shape, model.output_shape) if shape]
    assert {name for shape in shapes for name in sensitive(shape)} == {"token", "streamKey"}


def sensitive(shape, name=None):
    """The names of the sensitive members of a shape of the AWS model."""
    if shape.metadata.get("sensitive"):
        yield name
    elif shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from sensitive(member, name)
    elif shape.type_name == "list":
        yield from sensitive(shape.member, name)
    elif shape.type_name == "map":
        yield from sensitive(shape.value, name)


def test_the_journal_has_no_signature_nor_key(control, node, tenant):
    signed = Signature(tenant.account).headers("POST", f"{node.endpoint}/ListStages", b"{}")
    requests.post(f"{node.endpoint}/ListStages", data=b"{}", headers=signed, timeout=30)
    signature = re.search("Signature=([0-9a-f]{64})", signed["Authorization"]).group(1)
    assert len(control.entries()) == 1
    assert signature not in json.dumps(control.everything().entries(limit=1000))


def test_the_oldest_entries_are_dropped_and_counted(start_node, engine):
    if engine == "postgres":
        pytest.skip("the journal is in memory")
    server = start_node()
    tenant, other = server.tenant(), server.tenant()
    control = Control.of(tenant)
    other.ivs.list_stages()
    wire, count = tenant.wire, 10_003
    method, path, body = placed("ListStages", {})
    for _ in range(count):
        assert wire.send(method, path, body).status == 200
    page = control.get("/journal", limit=1)
    assert page["dropped"] == 3
    total, after = 0, 0
    while (page := control.get("/journal", limit=1000, after=after))["entries"]:
        total, after = total + len(page["entries"]), page["entries"][-1]["sequence"]
    assert total == 10_000
    assert len(Control.of(other).entries()) == 1


# Events


def test_events_are_listed_at_once_after_the_request_that_caused_them(start_node):
    server = start_node("--extended-events", "on", "--audit", "on")
    tenant = server.tenant()
    control = Control.of(tenant)
    for n in range(5):
        stage = tenant.stage(name=f"stage-{n}")
        [newest] = [event for event in control.get("/events", kind="audit")["entries"]][-1:]
        assert newest["event"]["detail"]["responseElements"]["stage"]["arn"] == stage
    page = control.get("/events", kind="audit", limit=2)
    assert len(page["entries"]) == 2 and page["next"] == page["entries"][-1]["position"]
    rest = control.get("/events", kind="audit", after=page["next"])
    assert len(rest["entries"]) == 3 and rest["next"] is None
    entry = page["entries"][0]
    assert set(entry) == {"position", "time", "event"}
    assert entry["event"]["account"] == tenant.account and entry["event"]["source"] == "aws.ivs"
    assert control.get("/events")["entries"] == [], "kind is event by default"
    assert len(control.get("/events", kind="all")["entries"]) == 5
    assert control.get("/events", kind="all", since="2999-01-01T00:00:00Z")["entries"] == []
    other = server.tenant()
    assert Control.of(other).get("/events", kind="all")["entries"] == []
    assert len(control.everything().get("/events", kind="all")["entries"]) == 5


# Waiting


def test_what_has_already_happened_counts(control, ivs):
    ivs.create_stage(name="a")
    found = control.wait(call={"operation": ["CreateStage"], "input": {"name": ["a"]}})
    assert found["matched"] and [entry["input"] for entry in found["entries"]] == [{"name": "a"}]
    after = found["entries"][0]["sequence"]
    again = control.wait(call={"operation": ["CreateStage"]}, after=after, timeoutSeconds=0)
    assert again == {"matched": False, "entries": [], "seen": 0}


def test_a_wait_ends_when_the_call_comes(control, ivs):
    with control.waiting(call={"operation": ["CreateStage"], "status": [200]}, count=2) as future:
        ivs.list_stages()
        ivs.create_stage(name="a")
        ivs.create_stage(name="b")
        found = future.result(PATIENCE_SECONDS)
    assert [entry["input"]["name"] for entry in found["entries"]] == ["a", "b"]


def test_an_unmatched_wait_says_what_it_has_seen(control, ivs):
    ivs.create_stage(name="a")
    ivs.list_stages()
    begun = time.monotonic()
    found = control.wait(call={"operation": ["CreateStage"], "input": {"name": ["b"]}}, timeoutSeconds=0.5)
    assert time.monotonic() - begun >= 0.5
    assert (found["matched"], found["entries"], found["seen"]) == (False, [], 2)
    assert "(CreateStage) comes closest: input.name is \"a\"" in found["closest"], found
    found = control.wait(call={"operation": ["CreateStage"]}, count=2, timeoutSeconds=0)
    assert found["matched"] is False and len(found["entries"]) == 1


def test_patterns_are_those_of_eventbridge(control, ivs):
    ivs.create_stage(name="demo-1", tags={"team": "a"})
    for pattern, expected in [
        ({"input": {"name": [{"prefix": "demo-"}]}}, True),
        ({"input": {"name": [{"anything-but": ["demo-1"]}]}}, False),
        ({"status": [{"numeric": [">=", 200, "<", 300]}]}, True),
        ({"error": {"code": [{"exists": False}]}}, True),
        ({"fault": [{"exists": True}]}, False),
        ({"$or": [{"operation": ["GetStage"]}, {"input": {"tags": {"team": ["a"]}}}]}, True),
        ({"output": {"stage": {"arn": [{"wildcard": "arn:*:stage/*"}]}}}, True),
        ({"caller": {"sourceIp": [{"cidr": "127.0.0.0/8"}]}}, True),
    ]:
        assert control.wait(call=pattern, timeoutSeconds=0)["matched"] is expected, pattern


def test_waits_are_isolated_by_account(control, node):
    other = node.tenant()
    other.stage()
    assert control.wait(call={"operation": ["CreateStage"]}, timeoutSeconds=0)["seen"] == 0
    found = control.everything().wait(call={"operation": ["CreateStage"], "account": [other.account]})
    assert found["matched"]


def test_an_event_ends_a_wait(start_node):
    server = start_node("--audit", "on", "--extended-events", "on")
    tenant = server.tenant()
    control = Control.of(tenant)
    pattern = {"detail": {"eventName": ["CreateStage"]}}
    with control.waiting(event=pattern, timeoutSeconds=PATIENCE_SECONDS) as future:
        stage = tenant.stage()
        found = future.result(PATIENCE_SECONDS)
    [entry] = found["entries"]
    assert entry["event"]["detail"]["responseElements"]["stage"]["arn"] == stage
    already = control.wait(event=pattern, timeoutSeconds=0)
    assert already["entries"] == found["entries"]
    later = control.wait(event=pattern, after=entry["position"], timeoutSeconds=0)
    assert later == {"matched": False, "entries": [], "seen": 0}
    missed = control.wait(event={"detail": {"eventName": ["DeleteStage"]}}, timeoutSeconds=0)
    assert "eventName is \"CreateStage\"" in missed["closest"], missed
    everything = control.everything().wait(event={"account": [tenant.account]}, timeoutSeconds=0)
    assert everything["matched"]


def test_invalid_waits_are_refused_with_the_member(control):
    for body, words in [
        ({}, "call, event: exactly one"),
        ({"call": {"a": [1]}, "event": {"a": [1]}}, "call, event: exactly one"),
        ({"call": {}}, "call: the pattern: must not be empty"),
        ({"call": {"operation": "CreateStage"}}, "call: operation: values stand in an array"),
        ({"event": {"detail": {"x": [{"prefixes": "a"}]}}}, "event: detail.x[0]"),
        ({"call": {"a": [1]}, "count": 0}, "count: "),
        ({"call": {"a": [1]}, "timeoutSeconds": 601}, "timeoutSeconds: "),
        ({"call": {"a": [1]}, "timeoutSeconds": -1}, "timeoutSeconds: "),
        ({"call": {"a": [1]}, "until": 1}, "until"),
    ]:
        with invalid(words):
            control.call("POST", "/wait", body)


def test_a_client_that_disconnects_gives_its_place_back(control):
    """With more than the maximum of waits, one after the other, none is refused."""
    for _ in range(260):
        with pytest.raises(requests.exceptions.ReadTimeout):
            control.send("POST", "/wait", {"call": {"a": [1]}, "timeoutSeconds": 600}, timeout=(10, 0.03))
    assert control.wait(call={"a": [1]}, timeoutSeconds=0)["matched"] is False


def test_the_number_of_waits_is_limited(start_node):
    server = start_node()
    control = Control(server.endpoint)
    refused = []

    def wait():
        response = control.send("POST", "/wait", {"call": {"a": [1]}, "timeoutSeconds": 60}, timeout=90)
        if response.status_code == 503:
            refused.append(response.headers["x-amzn-errortype"])

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(260)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE_SECONDS
    while len(refused) < 4:
        assert time.monotonic() < end, refused
        time.sleep(0.05)
    assert refused == ["ServiceUnavailableException"] * 4
    # Waits end when the server stops, and do not hold it.
    begun = time.monotonic()
    assert server.test_server.end() == 0
    assert time.monotonic() - begun < 30
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


# The command


def test_the_command_prints_the_journal(control, node, tenant, ivs):
    ivs.create_stage(name="a")
    tenant.wire.call("GetStage", {"arn": tenant.arn("stage")})
    fault = control.fault({"exception": "ConflictException"}, count=1)
    with pytest.raises(ivs.exceptions.ConflictException):
        ivs.list_stages()
    flags = ("--endpoint", node.endpoint, "--account", tenant.account, "--region", tenant.region)
    human = run("journal", *flags)
    assert human.returncode == 0, human.stderr
    lines = human.stdout.splitlines()
    assert ["CreateStage  200" in lines[0], "GetStage  404" in lines[1], "ListStages  409" in lines[2]] == [True] * 3, lines
    assert "ResourceNotFoundException: Resource: " in lines[1] and lines[2].endswith(f"(fault {fault})")
    found = run("journal", *flags, "--output", "json", "--operation", "CreateStage")
    assert [json.loads(line) for line in found.stdout.splitlines()] == control.entries(operation="CreateStage")
    failed = run("journal", *flags, "--outcome", "error", "--since", "never")
    assert failed.returncode == 1 and "since: 'never'" in failed.stderr, failed.stderr
    unreachable = run("journal", "--endpoint", "http://127.0.0.1:9")
    assert unreachable.returncode == 1 and "http://127.0.0.1:9: " in unreachable.stderr


def test_the_command_follows_the_journal(node, tenant, ivs):
    ivs.create_stage(name="before")
    flags = ("--endpoint", node.endpoint, "--account", tenant.account, "--output", "json", "--operation", "CreateStage")
    arguments = [binary("GREENROOM_BIN"), "journal", "--follow", *flags]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
        watchdog.start()
        try:
            assert json.loads(process.stdout.readline())["input"] == {"name": "before"}
            for name in ("first", "second"):
                ivs.list_stages()
                ivs.create_stage(name=name)
                assert json.loads(process.stdout.readline())["input"] == {"name": name}
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            watchdog.cancel()
            process.kill()


def test_a_reset_removes_faults_and_journal_of_its_account(control, node, tenant, other, ivs):
    others = Control.of(other)
    for one, owner in ((control, tenant), (others, other)):
        owner.stage()
        one.fault({"exception": "ConflictException"}, {"operation": "DeleteStage"})
    control.reset()
    assert control.get("/faults")["faults"] == [] and control.entries() == []
    assert len(others.get("/faults")["faults"]) == 1 and len(others.entries()) == 1
