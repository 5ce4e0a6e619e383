"""Logs: one line for each request, with what an operator looks for, and nothing that a thief does."""

import json
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


def lines(server, **wanted):
    """The lines about requests that have these fields, once there is one."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        entries = [json.loads(line) for line in server.test_server.logged().splitlines() if line.endswith("}")]
        told = [entry for entry in entries if entry["target"] == "greenroom::requests"]
        found = [entry for entry in told if wanted.items() <= entry["fields"].items()]
        if found:
            return found
        assert time.monotonic() < deadline, f"no line has {wanted}: {told}"
        time.sleep(0.05)


def request_id(answer):
    return answer["ResponseMetadata"]["RequestId"]


def test_a_request_is_one_line(server, tenant):
    stage = tenant.stage()
    [line] = lines(server, id=request_id(tenant.ivs.get_stage(arn=stage)))
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


def test_a_refused_request_is_one_line_that_says_why(server, tenant):
    refused = tenant.wire.call("GetStage", {"arn": tenant.arn("stage")})
    [line] = lines(server, id=refused.headers["x-amzn-requestid"])
    assert (line["fields"]["status"], line["fields"]["fault"]) == (404, "ResourceNotFoundException")
    unsigned = requests.post(f"{server.endpoint}/GetStage", timeout=30)
    [line] = lines(server, id=unsigned.headers["x-amzn-requestid"])
    assert line["fields"]["status"] == 403 and "account" not in line["fields"] and "access_key" not in line["fields"]


def test_what_nothing_answers_is_told_by_its_path_without_the_query(server):
    answer = requests.get(f"{server.endpoint}/nothing/here?token=hidden", timeout=30)
    [line] = lines(server, id=answer.headers["x-amzn-requestid"])
    fields = line["fields"]
    assert (fields["method"], fields["path"], fields["status"]) == ("GET", "/nothing/here", 404)
    long = requests.get(f"{server.endpoint}/{'x' * 500}", timeout=30)
    [line] = lines(server, id=long.headers["x-amzn-requestid"])
    assert len(line["fields"]["path"]) == 64
    assert "hidden" not in server.test_server.logged()


def test_the_trace_of_a_request_is_in_its_line(server, tenant):
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "tracestate": "vendor=x"}
    answer = requests.get(f"{server.endpoint}/.well-known/jwks.json", headers=headers, timeout=30)
    [line] = lines(server, id=answer.headers["x-amzn-requestid"])
    assert (line["fields"]["trace_id"], line["fields"]["operation"]) == (TRACE, "Jwks")
    bad = requests.get(f"{server.endpoint}/.well-known/jwks.json", headers={"traceparent": "00-x-y-01"}, timeout=30)
    [line] = lines(server, id=bad.headers["x-amzn-requestid"])
    assert bad.status_code == 200 and "trace_id" not in line["fields"]


async def test_participants_have_lines_without_their_tokens(server, tenant):
    endpoints = StageEndpoints(tenant, tenant.stage())
    token, participant = endpoints.token()
    refused = endpoints.post("", token, "v=0")
    [line] = lines(server, id=refused.headers["x-amzn-requestid"])
    fields = line["fields"]
    assert (fields["operation"], fields["fault"], fields["participant"]) == ("publish", "MALFORMED_OFFER", participant)
    assert (fields["account"], fields["stage"]) == (tenant.account, endpoints.topic)
    async with endpoints.join(token):
        pass
    [opened] = [line for line in lines(server, operation="events") if line["fields"]["status"] == 101]
    [ended] = lines(server, message="events WebSocket closed", participant=participant)
    assert ended["fields"]["id"] == opened["fields"]["id"]
    assert (await endpoints.refused("no-token"))[0] == "TOKEN_MALFORMED"
    lines(server, message="events WebSocket rejected", fault="TOKEN_MALFORMED")
    assert_no_secret(server.test_server.logged())
    assert token not in server.test_server.logged()


def test_who_asks_how_the_server_is_is_in_the_log_at_debug_only(server, start_server, new_file):
    paths = ("/_greenroom/health", "/_greenroom/ready", "/metrics")
    chatty = start_server(new_file(), RUST_LOG="debug")
    for one in (server, chatty):
        ids = [requests.get(one.endpoint + path, timeout=30).headers["x-amzn-requestid"] for path in paths]
        after = requests.get(f"{one.endpoint}/marker", timeout=30).headers["x-amzn-requestid"]
        lines(one, id=after)
        told = {line["fields"]["id"]: line["level"] for line in lines(one) if "id" in line["fields"]}
        assert [told.get(id) for id in ids] == ([None] * 3 if one is server else ["DEBUG"] * 3)


def test_the_lines_of_requests_can_be_silenced_alone(start_server, new_file):
    server = start_server(new_file(), RUST_LOG="info,greenroom::requests=off")
    server.tenant().stage()
    assert "greenroom::requests" not in server.test_server.logged()
