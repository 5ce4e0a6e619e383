"""The log: one line per request, with the fields that docs/observe/logs.md lists, and without secrets."""

import time

import pytest
import requests

from endpoints import StageEndpoints
from leaks import assert_no_secret

PATIENCE_SECONDS = 40
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def server(start_server, new_file):
    return start_server(new_file(), RUST_LOG="info")


@pytest.fixture
def tenant(server):
    return server.tenant()


def request_lines(server, **expected):
    """The lines about requests with these fields, once there is one."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        lines = [entry for entry in server.test_server.log_entries() if entry["target"] == "greenroom::requests"]
        found = [line for line in lines if expected.items() <= line["fields"].items()]
        if found:
            return found
        assert time.monotonic() < deadline, f"no line has {expected}: {lines}"
        time.sleep(0.05)


def request_id(answer):
    return answer["ResponseMetadata"]["RequestId"]


def test_a_request_has_one_line(server, tenant):
    stage = tenant.stage()
    [line] = request_lines(server, id=request_id(tenant.ivs.get_stage(arn=stage)))
    fields = line["fields"]
    assert line["level"] == "INFO" and fields.pop("message") == "request"
    assert fields.pop("duration_ms") > 0
    assert fields == {
        "id": fields["id"],
        "operation": "GetStage",
        "status": 200,
        "account": tenant.account,
        "region": tenant.region,
        "access_key": tenant.account,
        "client": "127.0.0.1",
    }


def test_the_line_of_a_refused_request_has_the_fault(server, tenant):
    refused = tenant.wire.call("GetStage", {"arn": tenant.arn("stage")})
    [line] = request_lines(server, id=refused.headers["x-amzn-requestid"])
    assert (line["fields"]["status"], line["fields"]["fault"]) == (404, "ResourceNotFoundException")
    unsigned = requests.post(f"{server.endpoint}/GetStage", timeout=30)
    [line] = request_lines(server, id=unsigned.headers["x-amzn-requestid"])
    assert line["fields"]["status"] == 403 and "account" not in line["fields"] and "access_key" not in line["fields"]


def test_the_line_of_an_unknown_path_has_the_path_without_the_query(server):
    answer = requests.get(f"{server.endpoint}/nothing/here?token=hidden", timeout=30)
    [line] = request_lines(server, id=answer.headers["x-amzn-requestid"])
    fields = line["fields"]
    assert (fields["method"], fields["path"], fields["status"]) == ("GET", "/nothing/here", 404)
    long = requests.get(f"{server.endpoint}/{'x' * 500}", timeout=30)
    [line] = request_lines(server, id=long.headers["x-amzn-requestid"])
    assert len(line["fields"]["path"]) == 64
    assert "hidden" not in server.test_server.logged()


def test_the_line_has_the_trace_id_of_the_request(server, tenant):
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "tracestate": "vendor=x"}
    answer = requests.get(f"{server.endpoint}/.well-known/jwks.json", headers=headers, timeout=30)
    [line] = request_lines(server, id=answer.headers["x-amzn-requestid"])
    assert (line["fields"]["trace_id"], line["fields"]["operation"]) == (TRACE, "Jwks")
    bad = requests.get(f"{server.endpoint}/.well-known/jwks.json", headers={"traceparent": "00-x-y-01"}, timeout=30)
    [line] = request_lines(server, id=bad.headers["x-amzn-requestid"])
    assert bad.status_code == 200 and "trace_id" not in line["fields"]


async def test_lines_of_participants_have_no_tokens(server, tenant):
    endpoints = StageEndpoints(tenant, tenant.stage())
    token, participant = endpoints.token()
    refused = endpoints.post("", token, "v=0")
    [line] = request_lines(server, id=refused.headers["x-amzn-requestid"])
    fields = line["fields"]
    assert (fields["operation"], fields["fault"], fields["participant"]) == ("publish", "MALFORMED_OFFER", participant)
    assert (fields["account"], fields["stage"]) == (tenant.account, endpoints.topic)
    async with endpoints.join(token):
        pass
    [opened] = [line for line in request_lines(server, operation="events") if line["fields"]["status"] == 101]
    [ended] = request_lines(server, message="events WebSocket closed", participant=participant)
    assert ended["fields"]["id"] == opened["fields"]["id"]
    assert (await endpoints.refused("no-token"))[0] == "TOKEN_MALFORMED"
    request_lines(server, message="events WebSocket rejected", fault="TOKEN_MALFORMED")
    assert_no_secret(server.test_server.logged())
    assert token not in server.test_server.logged()


def test_health_readiness_and_metrics_requests_are_logged_at_debug_only(server, start_server, new_file):
    paths = ("/_greenroom/health", "/_greenroom/ready", "/metrics")
    verbose = start_server(new_file(), RUST_LOG="debug")
    for node in (server, verbose):
        ids = [requests.get(node.endpoint + path, timeout=30).headers["x-amzn-requestid"] for path in paths]
        after = requests.get(f"{node.endpoint}/marker", timeout=30).headers["x-amzn-requestid"]
        request_lines(node, id=after)
        levels = {line["fields"]["id"]: line["level"] for line in request_lines(node) if "id" in line["fields"]}
        assert [levels.get(id) for id in ids] == ([None] * 3 if node is server else ["DEBUG"] * 3)


def test_request_lines_can_be_switched_off(start_server, new_file):
    server = start_server(new_file(), RUST_LOG="info,greenroom::requests=off")
    server.tenant().stage()
    assert server.test_server.end() == 0
    assert "greenroom::requests" not in server.test_server.logged()
