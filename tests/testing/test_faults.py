"""Faults of API requests: each effect as SDKs see it, what rules match, how they are counted, and when they end."""

import time
from http.client import IncompleteRead

import pytest
import requests
from botocore.exceptions import ClientError, ConnectionClosedError
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset

from control import Control, invalid, missing, sdk
from http2 import Http2
from signing import Signature
from sockets import connect

MODELLED = {
    "AccessDeniedException": 403,
    "ConflictException": 409,
    "InternalServerException": 500,
    "PendingVerification": 403,
    "ResourceNotFoundException": 404,
    "ServiceQuotaExceededException": 402,
    "ValidationException": 400,
}


@pytest.fixture
def ivs(node, tenant):
    """A boto3 client that does not retry."""
    return sdk(node.endpoint, tenant.account)



def error_of(call, *arguments, **members):
    """The response of a call that fails."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **members)
    return caught.value


# Effects


@pytest.mark.parametrize("name, status", MODELLED.items())
def test_every_exception_of_the_model_arrives_as_its_class(control, ivs, name, status):
    control.fault({"exception": name, "message": "on purpose"}, {"operation": "CreateStage"})
    with pytest.raises(getattr(ivs.exceptions, name)) as caught:
        ivs.create_stage()
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert response["Error"] == {"Code": name, "Message": "on purpose"}
    # With the headers that the model binds to exceptions.
    assert response["xAmznErrorType"] == name and response["accessControlAllowOrigin"] == "*", response
    assert ivs.list_stages()["stages"] == [], "nothing was done"


def test_exceptions_of_the_protocol_arrive_by_name(control, ivs):
    for name, status in {
        "ExpiredTokenException": 403,
        "UnrecognizedClientException": 403,
        "TooManyRequestsException": 429,
        "ServiceUnavailableException": 503,
        "ThrottlingException": 400,
    }.items():
        fault = control.fault({"exception": name}, count=1)
        error = error_of(ivs.list_stages).response
        assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (name, status)
        assert fault in error["Error"]["Message"], "the default message names the fault"


@pytest.mark.parametrize("mode", ["standard", "adaptive", "legacy"])
def test_botocore_retries_throttled_requests(control, node, tenant, mode):
    fault = control.fault({"throttle": {"retryAfterSeconds": 1}}, {"operation": "CreateStage"}, count=2)
    stage = sdk(node.endpoint, tenant.account, attempts=4, mode=mode).create_stage(name="third-time")["stage"]
    entries = control.entries(operation="CreateStage")
    assert [entry["status"] for entry in entries] == [400, 400, 200]
    assert [entry.get("fault") for entry in entries] == [fault, fault, None]
    assert [entry["error"]["code"] for entry in entries[:2]] == ["ThrottlingException"] * 2
    assert entries[2]["output"]["stage"]["arn"] == stage["arn"]
    assert [stage["name"] for stage in tenant.ivs.list_stages()["stages"]] == ["third-time"]


def test_a_throttled_request_says_when_to_try_again(control, ivs):
    control.fault({"throttle": {"retryAfterSeconds": 7}})
    error = error_of(ivs.list_stages).response
    assert error["Error"] == {"Code": "ThrottlingException", "Message": "Rate exceeded"}
    assert error["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "7"


def test_retries_end_after_the_last_attempt(control, node, tenant):
    fault = control.fault({"exception": "ThrottlingException"})
    error = error_of(sdk(node.endpoint, tenant.account, attempts=3).list_stages)
    assert error.response["Error"]["Code"] == "ThrottlingException"
    assert control.counts(fault) == (3, 3)


def test_any_status_body_and_headers(control, tenant):
    body = "<html>bad gateway</html>"
    control.fault({"status": 502, "body": body, "headers": {"Content-Type": "text/html", "X-Proxy": "a"}}, count=1)
    wire = tenant.wire
    answer = wire.send("POST", "/ListStages", b"{}")
    assert (answer.status, answer.body.decode()) == (502, body)
    assert (answer.headers["content-type"], answer.headers["x-proxy"]) == ("text/html", "a")
    assert answer.headers["x-amzn-requestid"]
    [entry] = control.entries(outcome="error")
    assert entry["error"] == {"code": "HTTP_502", "message": body}
    # The same connection serves the next request.
    assert wire.send("POST", "/ListStages", b"{}").status == 200
    control.fault({"status": 204}, count=1)
    assert wire.send("POST", "/ListStages", b"{}").status == 204


def test_latency_delays_the_operation(control, ivs):
    control.fault({"latency": {"milliseconds": 700}}, {"operation": "CreateStage"}, count=1)
    control.fault({"latency": {"minMilliseconds": 300, "maxMilliseconds": 400}}, {"operation": "CreateStage"}, count=1)
    begun = time.monotonic()
    ivs.create_stage()
    assert time.monotonic() - begun >= 1.0, "delays of several rules add up"
    ivs.create_stage()
    slow, fast = control.entries(operation="CreateStage")
    assert slow["durationMilliseconds"] >= 1000 and slow["status"] == 200 and slow["fault"]
    assert "fault" not in fast


def test_a_delay_comes_before_the_other_effect(control, ivs):
    slow = control.fault({"latency": {"meanMilliseconds": 400, "deviationMilliseconds": 0}})
    broken = control.fault({"exception": "ConflictException"})
    begun = time.monotonic()
    assert error_of(ivs.list_stages).response["Error"]["Code"] == "ConflictException"
    assert time.monotonic() - begun >= 0.4
    assert [control.counts(fault) for fault in (slow, broken)] == [(1, 1), (1, 1)]
    assert control.entries()[-1]["fault"] == broken


def test_a_client_that_disconnects_ends_its_delay(control, node, tenant):
    control.fault({"latency": {"milliseconds": 60_000}})
    sent = signed_request(node, tenant)
    with connect(node.endpoint) as stream:
        stream.sendall(sent)
        time.sleep(0.3)
    found = control.wait(call={"error": {"code": ["ClientClosedRequest"]}})
    assert found["matched"], found
    entry = found["entries"][0]
    assert entry["status"] == 499 and entry["durationMilliseconds"] < 30_000, entry


@pytest.mark.parametrize("moment, done", [("beforeRequest", 0), ("afterRequest", 1)])
def test_a_connection_is_closed_before_or_after_the_operation(control, ivs, tenant, moment, done):
    fault = control.fault({"disconnect": moment}, {"operation": "CreateStage"})
    with pytest.raises(ConnectionClosedError):
        ivs.create_stage()
    assert len(tenant.ivs.list_stages()["stages"]) == done
    [entry] = control.entries(operation="CreateStage")
    assert entry["status"] is None and entry["fault"] == fault
    assert ("output" in entry) == bool(done) and ("error" in entry) != bool(done)


def test_botocore_retries_after_a_closed_connection(control, node, tenant):
    control.fault({"disconnect": "afterRequest"}, {"operation": "CreateStage"}, count=1)
    sdk(node.endpoint, tenant.account, attempts=3).create_stage()
    # The client could not know that the first attempt was done.
    assert len(tenant.ivs.list_stages()["stages"]) == 2


def signed_request(node, tenant, path="/ListStages", body=b"{}"):
    """A request over HTTP/1.1."""
    host = node.endpoint.split("//")[1]
    headers = Signature(tenant.account).headers("POST", node.endpoint + path, body)
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def received(stream):
    """All bytes up to the end of a connection."""
    found = b""
    while chunk := stream.recv(1 << 16):
        found += chunk
    return found


def test_over_http_1_the_socket_is_closed_without_a_response(control, node, tenant):
    control.fault({"disconnect": "beforeRequest"})
    with connect(node.endpoint) as stream:
        stream.sendall(signed_request(node, tenant))
        assert received(stream) == b""


@pytest.mark.parametrize("count", [1, 10, 100_000])
def test_a_truncated_body_is_shorter_than_its_length(control, node, tenant, count):
    for n in range(3):
        tenant.stage(name=f"stage-{n}")
    whole = tenant.wire.send("POST", "/ListStages", b"{}").body
    control.fault({"truncate": {"bytes": count}})
    with connect(node.endpoint) as stream:
        stream.sendall(signed_request(node, tenant))
        head, _, body = received(stream).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and f"content-length: {len(whole)}".encode() in head.lower(), head
    assert body == whole[: min(count, len(whole) - 1)]


def test_clients_see_a_truncated_response(control, node, tenant):
    fault = control.fault({"truncate": {"bytes": 5}}, {"operation": "CreateStage"})
    with pytest.raises(IncompleteRead):
        tenant.wire.send("POST", "/CreateStage", b"{}")
    # botocore compares no length: an SDK may hand on what it could not parse.
    assert "stage" not in sdk(node.endpoint, tenant.account).create_stage()
    entries = control.entries(operation="CreateStage")
    assert [(entry["status"], entry["fault"]) for entry in entries] == [(200, fault)] * 2
    made = {entry["output"]["stage"]["arn"] for entry in entries}
    assert made == {stage["arn"] for stage in tenant.ivs.list_stages()["stages"]}, "the operations were done"


def http2_events(node, tenant, path="/ListStages"):
    """The events of one request over HTTP/2, up to the end of its stream."""
    client, found = Http2(node.endpoint), []
    try:
        client.post(path, key=tenant.account)
        while not any(isinstance(event, (StreamEnded, StreamReset)) for event in found):
            data = client.stream.recv(1 << 16)
            assert data, "the connection was closed"
            found += client.connection.receive_data(data)
            client.flush()
        return found
    finally:
        client.close()


def test_over_http_2_only_the_stream_is_reset(control, node, tenant):
    control.fault({"disconnect": "beforeRequest"}, count=1)
    events = http2_events(node, tenant)
    assert any(isinstance(event, StreamReset) for event in events)
    assert not any(isinstance(event, ResponseReceived) for event in events)
    control.fault({"truncate": {"bytes": 3}}, count=1)
    events = http2_events(node, tenant)
    data = b"".join(event.data for event in events if isinstance(event, DataReceived))
    headers = next(dict(event.headers) for event in events if isinstance(event, ResponseReceived))
    assert len(data) == 3 and int(headers["content-length"]) > 3
    assert any(isinstance(event, StreamReset) for event in events)


# Matching


def test_rules_match_operation_resource_caller_and_participant(control, node, tenant):
    one, two = tenant.stage(), tenant.stage()
    ivs = sdk(node.endpoint, tenant.account)
    conflict = {"exception": "ConflictException"}

    def broken(call, **members):
        try:
            call(**members)
        except ivs.exceptions.ConflictException:
            return True
        except ClientError:
            return False
        return False

    for match, expected in [
        ({"operation": "GetStage"}, [True, True, False]),
        ({"operation": ["GetStage", "ListStages"]}, [True, True, True]),
        ({"resource": one}, [True, False, False]),
        ({"resource": one[:-3] + "*"}, [True, one[:-3] == two[:-3], False]),
        ({"resource": "arn:aws:ivs:*"}, [True, True, False]),
        ({"accessKeyId": tenant.account}, [True, True, True]),
        ({"accessKeyId": "another"}, [False, False, False]),
        ({"operation": "GetStage", "resource": two}, [False, True, False]),
    ]:
        fault = control.fault(conflict, match)
        calls = [(ivs.get_stage, {"arn": one}), (ivs.get_stage, {"arn": two}), (ivs.list_stages, {})]
        assert [broken(call, **members) for call, members in calls] == expected, match
        control.delete(f"/faults/{fault}")
    control.fault(conflict, {"participantId": "abcdefghijkl"})
    assert broken(ivs.disconnect_participant, stageArn=one, participantId="abcdefghijkl")
    assert not broken(ivs.disconnect_participant, stageArn=one, participantId="abcdefghijkm")


def test_the_resource_of_a_tag_operation_is_in_its_path(control, node, tenant):
    stage = tenant.stage()
    control.fault({"exception": "ConflictException"}, {"resource": stage})
    ivs = sdk(node.endpoint, tenant.account)
    for call, members in [
        (ivs.tag_resource, {"tags": {"a": "b"}}),
        (ivs.untag_resource, {"tagKeys": ["a"]}),
        (ivs.list_tags_for_resource, {}),
    ]:
        assert error_of(call, resourceArn=stage, **members).response["Error"]["Code"] == "ConflictException"


def test_a_fault_comes_before_the_validation_of_the_input(control, ivs):
    control.fault({"exception": "InternalServerException"})
    assert error_of(ivs.get_stage, arn="invalid").response["Error"]["Code"] == "InternalServerException"


def test_rules_are_skipped_counted_and_exhausted(control, ivs):
    fault = control.fault({"exception": "ConflictException"}, skip=1, count=2)
    outcomes = []
    for _ in range(5):
        try:
            ivs.list_stages()
            outcomes.append("OK")
        except ivs.exceptions.ConflictException:
            outcomes.append("fault")
    assert outcomes == ["OK", "fault", "fault", "OK", "OK"]
    assert control.counts(fault) == (3, 2)


def test_a_share_is_drawn_from_the_seed(control, ivs):
    def drawn(seed):
        fault = control.fault({"exception": "ConflictException"}, {"share": 0.5}, seed=seed)
        outcomes = []
        for _ in range(40):
            try:
                ivs.list_stages()
                outcomes.append(0)
            except ivs.exceptions.ConflictException:
                outcomes.append(1)
        control.delete(f"/faults/{fault}")
        return outcomes

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert first == again != other
    assert 5 < sum(first) < 35


def test_rules_of_one_account_do_not_affect_others(control, node, tenant):
    other = node.tenant()
    fault = control.fault({"exception": "InternalServerException"})
    assert other.ivs.list_stages()["stages"] == []
    assert tenant.elsewhere().ivs.list_stages()["stages"] == [], "another region of the account"
    assert control.counts(fault) == (0, 0)
    others = Control.of(other)
    assert others.get("/faults")["faults"] == []
    for method in ("GET", "DELETE"):
        with missing(f"no fault {fault}"):
            others.call(method, f"/faults/{fault}")
    others.delete("/faults")
    assert control.counts(fault) == (0, 0)
    everything = control.everything()
    assert fault in [rule["id"] for rule in everything.get("/faults")["faults"]]


def test_a_rule_of_all_accounts_matches_in_each(control, node, tenant):
    other, everything = node.tenant(), control.everything()
    resource = "arn:aws:ivs:us-east-1:*"
    fault = everything.fault({"exception": "ConflictException"}, {"operation": "GetStage", "resource": resource})
    try:
        for owner in (tenant, other):
            ivs = sdk(node.endpoint, owner.account)
            code = error_of(ivs.get_stage, arn=owner.arn("stage")).response["Error"]["Code"]
            assert code == "ConflictException"
        assert everything.counts(fault) == (2, 2)
        assert control.get("/faults")["faults"] == [], "rules of all accounts are listed with all=true"
    finally:
        everything.delete(f"/faults/{fault}")


# Rules


def test_rules_are_listed_shown_and_removed(control, tenant):
    body = {"match": {"operation": "GetStage", "share": 0.5}, "effect": {"status": 500}, "count": 3, "seed": 7}
    made = control.call("POST", "/faults", body)
    assert made.items() >= body.items() and made["matched"] == made["applied"] == 0
    assert (made["account"], made["region"]) == (tenant.account, tenant.region)
    second = control.fault({"truncate": {"bytes": 1}})
    assert [rule["id"] for rule in control.get("/faults")["faults"]] == [made["id"], second]
    assert control.get(f"/faults/{made['id']}") == made
    assert control.delete(f"/faults/{second}") == {}
    assert control.get("/faults") == {"faults": [made]}
    assert control.delete("/faults") == {}
    assert control.get("/faults") == {"faults": []}
    with missing(f"no fault {second}"):
        control.get(f"/faults/{second}")


def test_rules_expire_by_themselves(control, ivs):
    begun = time.time()
    rule = control.call("POST", "/faults", {"effect": {"exception": "ConflictException"}, "durationSeconds": 1})
    assert error_of(ivs.list_stages).response["Error"]["Code"] == "ConflictException"
    while control.get("/faults")["faults"]:
        assert time.time() < begun + 30
        time.sleep(0.05)
    assert time.time() >= begun + 1
    assert ivs.list_stages()["stages"] == []
    with missing("it may have expired"):
        control.get(f"/faults/{rule['id']}")


def test_invalid_rules_are_refused_with_the_member(control):
    for body, words in [
        ({}, "effect"),
        ({"effect": {}}, "effect: exactly one of"),
        ({"effect": {"exception": "X"}}, "effect.exception: there is no exception 'X'"),
        ({"effect": {"status": 42}}, "effect.status"),
        ({"effect": {"latency": {}}}, "effect.latency"),
        ({"effect": {"disconnect": "never"}}, "never"),
        ({"effect": {"storage": "refuse"}, "match": {"resource": "arn:*"}}, "match.resource"),
        ({"effect": {"truncate": {"bytes": 1}}, "match": {"operation": "GetStages"}}, "match.operation"),
        ({"effect": {"truncate": {"bytes": 1}}, "match": {"share": 2}}, "match.share"),
        ({"effect": {"truncate": {"bytes": 1}}, "durationSeconds": 0}, "durationSeconds"),
        ({"effect": {"truncate": {"bytes": 1}}, "lasting": 1}, "lasting"),
        ({"effect": {"closeConnection": {}}, "match": {"operation": "GetStage"}}, "match.operation"),
        ({"effect": {"target": "hang"}}, "match.target"),
    ]:
        with invalid(words):
            control.call("POST", "/faults", body)
    assert control.get("/faults") == {"faults": []}


def test_injected_faults_are_logged_and_counted(control, node, ivs):
    fault = control.fault({"exception": "InternalServerException"}, {"operation": "ListStages"})
    error_of(ivs.list_stages)
    log = node.test_server.wait_for_log(fault)
    lines = [line for line in log.splitlines() if fault in line and "fault injected" in line]
    assert lines and "ListStages" in lines[0] and "ERROR" not in lines[0], lines
    assert "request failed" not in log, "it is no failure of the service"
    metrics = requests.get(f"{node.endpoint}/metrics", timeout=30).text
    assert 'greenroom_faults_injected_total{effect="exception"}' in metrics
