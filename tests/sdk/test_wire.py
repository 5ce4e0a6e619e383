"""The wire: headers, statuses, paths and the few pages beside the operations."""

import re

import pytest

from aws_model import BY_NAME, in_headers
from wire import Wire

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SECURITY = {
    "access-control-allow-origin": "*",
    "cache-control": "no-store, no-cache",
    "content-security-policy": "default-src 'self'; upgrade-insecure-requests;",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@pytest.fixture
def wire(tenant):
    return tenant.wire


def test_every_answer_has_a_request_id_of_its_own(wire):
    answers = [wire.call("ListStages"), wire.call("GetStage"), wire.send("GET", "/nowhere"), wire.send("POST", "/")]
    answers += [wire.send("GET", "/_greenroom/health"), wire.send("OPTIONS", "/ListStages")]
    ids = [answer.headers["x-amzn-requestid"] for answer in answers]
    assert all(UUID.fullmatch(one) for one in ids), ids
    assert len(set(ids)) == len(ids)


def test_a_fault_names_its_type_in_the_header_and_its_text_twice_in_the_body(wire, tenant):
    arn = tenant.arn("stage")
    answer = wire.call("GetStage", {"arn": arn})
    assert answer.status == 404
    assert answer.headers["x-amzn-errortype"] == "ResourceNotFoundException"
    text = f"Resource: {arn} not found"
    assert answer.json == {"exceptionMessage": text, "message": text}


def test_a_constraint_is_told_in_the_words_of_the_service(wire):
    answer = wire.call("GetStage", {"arn": "x"})
    assert answer.status == 400
    assert answer.text == (
        "1 validation error detected: Value 'x' at 'arn' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: arn:aws:ivs:[a-z0-9-]+:[0-9]+:stage/[a-zA-Z0-9-]+"
    )


def test_a_missing_member_is_told_in_the_words_of_the_service(wire):
    for request in ({}, {"arn": None}):
        assert wire.call("GetStage", request).text == (
            "1 validation error detected: Value null at 'arn' failed to satisfy constraint: Member must not be null"
        )


@pytest.mark.parametrize("name", BY_NAME)
def test_every_fault_carries_the_headers_that_the_model_has(wire, name):
    request = (
        {"resourceArn": "x", "tagKeys": ["a"], "tags": {"a": "b"}} if "tags/" in BY_NAME[name].http["requestUri"] else 5
    )
    answer = wire.call(name, request)
    assert answer.status == 400
    assert {header: answer.headers.get(header) for header in SECURITY} == SECURITY
    assert answer.headers["strict-transport-security"].startswith("max-age")
    exposed = answer.headers["access-control-expose-headers"].lower()
    assert "x-amzn-errortype" in exposed and "x-amzn-requestid" in exposed


def test_the_operations_that_answer_with_headers_do_so(tenant, wire):
    with_headers = {name for name, operation in BY_NAME.items() if in_headers(operation.output_shape)}
    assert with_headers == {
        "CreateIngestConfiguration",
        "UpdateIngestConfiguration",
        "StartParticipantReplication",
        "StopParticipantReplication",
    }
    answer = wire.call("CreateIngestConfiguration", {"ingestProtocol": "RTMPS"})
    assert answer.status == 200
    assert {header: answer.headers.get(header) for header in SECURITY} == SECURITY


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/NoSuchOperation"),
        ("POST", "/createstage"),
        ("POST", "/CreateStage/more"),
        ("POST", "/tags"),
        ("POST", "/%00"),
        ("POST", "/%ff%fe"),
        ("POST", "/" + "a" * 5000),
        ("GET", "/"),
        ("GET", "/CreateStage"),
        ("PUT", "/CreateStage"),
        ("DELETE", "/DeleteStage"),
        ("PATCH", "/tags/arn%3Aaws%3Aivs%3Aus-east-1%3A000000000000%3Astage%2Fabcdefghijkl"),
        ("PUT", "/tags/arn%3Aaws%3Aivs%3Aus-east-1%3A000000000000%3Astage%2Fabcdefghijkl"),
        ("GET", "/TagResource"),
        ("POST", "/_greenroom/health"),
        ("GET", "/_greenroom/nothing"),
    ],
)
def test_a_path_or_method_that_no_operation_has_is_unknown(wire, method, path):
    answer = wire.checked(None, wire.send(method, path, b"{}"))
    assert (answer.status, answer.fault) == (404, "UnknownOperationException")


def test_a_query_on_an_operation_is_ignored(wire):
    assert wire.send("POST", "/ListStages?maxResults=0&x", b"{}").status == 200


@pytest.mark.parametrize("kind", ["application/json", "application/x-amz-json-1.1", "text/plain", "", None])
def test_the_content_type_of_a_request_is_not_asked_for(wire, kind):
    headers = {} if kind is None else {"content-type": kind}
    answer = wire.call_bytes("CreateStage", b'{"name": "typed"}', headers=headers)
    assert answer.json["stage"]["name"] == "typed"


def tag_paths(arn):
    """The ways in which clients write an ARN into a path."""
    account_part, _, name = arn.partition("/")
    yield arn
    yield arn.replace(":", "%3A").replace("/", "%2F")
    yield arn.replace(":", "%3a").replace("/", "%2f")
    yield arn.replace("/", "%2F")
    yield account_part.replace(":", "%3A") + "/" + name


def test_an_arn_in_the_path_may_be_encoded_in_any_way(tenant, wire):
    arn = tenant.stage(tags={"a": "b"})
    for path in tag_paths(arn):
        found = wire.send("GET", f"/tags/{path}")
        assert (found.status, found.json) == (200, {"tags": {"a": "b"}}), path
        assert wire.send("POST", f"/tags/{path}", b'{"tags": {"c": "d"}}').status == 200, path
        assert wire.send("DELETE", f"/tags/{path}?tagKeys=c").status == 200, path
        assert tenant.ivs.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "b"}, path


def test_keys_to_remove_are_read_from_the_query_in_any_encoding(tenant, wire):
    keys = {"a b": "a%20b", "c+d": "c%2Bd", "e&f": "e%26f", "ü": "%C3%BC", "g=h": "g%3Dh"}
    arn = tenant.stage(tags={**dict.fromkeys(keys, "x"), "stays": "x"})
    query = "&".join([*(f"tagKeys={key}" for key in keys.values()), "other=stays"])
    assert wire.send("DELETE", f"/tags/{arn}?{query}").status == 200
    assert tenant.ivs.list_tags_for_resource(resourceArn=arn)["tags"] == {"stays": "x"}


def test_a_mangled_escape_in_path_or_query_is_refused(wire, tenant):
    # What is not UTF-8 has no form in which it could be signed.
    for method, path, status in (
        ("GET", "/tags/arn%3", 400),
        ("GET", "/tags/%zz", 400),
        ("GET", "/tags/%ff", 403),
        ("DELETE", f"/tags/{tenant.arn('stage')}?tagKeys=%ff%fe", 403),
    ):
        answer = wire.checked("UntagResource" if method == "DELETE" else "ListTagsForResource", wire.send(method, path))
        assert answer.status == status, path


@pytest.mark.parametrize("path", ["/CreateStage", "/tags/arn%3Aaws%3Aivs%3Aus-east-1%3A0%3Astage%2Fa"])
def test_a_browser_may_ask_before_it_calls(wire, path):
    asked = {
        "origin": "https://app.example.test",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-amz-date,x-amz-security-token,x-amz-user-agent",
    }
    answer = wire.send("OPTIONS", path, headers=asked, signed=False)
    assert answer.status in (200, 204)
    assert answer.headers["access-control-allow-origin"] == "*"
    methods = answer.headers["access-control-allow-methods"]
    assert methods == "*" or {"GET", "POST", "DELETE"} <= {m.strip() for m in methods.split(",")}
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in asked["access-control-request-headers"].split(","))


def test_a_browser_may_read_every_answer(wire):
    origin = {"origin": "https://app.example.test"}
    for answer in (wire.call("ListStages", headers=origin), wire.call("GetStage", headers=origin)):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "x-amzn-requestid" in answer.headers["access-control-expose-headers"].lower()


def test_the_region_and_account_come_from_the_credentials(greenroom):
    answer = greenroom.wire("210000000042", "ap-south-1").call("CreateStage")
    assert answer.json["stage"]["arn"].startswith("arn:aws:ivs:ap-south-1:210000000042:stage/")


def test_the_development_key_is_of_the_default_account(greenroom):
    answer = greenroom.wire("test", "us-west-2").call("CreateStage")
    assert answer.json["stage"]["arn"].startswith("arn:aws:ivs:us-west-2:000000000000:stage/")


@pytest.mark.parametrize("key", ["AKIAIOSFODNN7EXAMPLE", "12345678901", "1234567890123", "Test", "ü23456789012"])
def test_an_unknown_key_that_is_no_account_id_is_rejected(greenroom, key):
    answer = greenroom.wire(key).call("CreateStage")
    assert answer.status == 403
    assert answer.fault in ("UnrecognizedClientException", "IncompleteSignatureException")


def test_health_tells_version_engine_and_uptime(greenroom, wire):
    answer = wire.send("GET", "/_greenroom/health", signed=False)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"status", "version", "engine", "uptimeSeconds"}
    assert answer.json["engine"] == greenroom.engine
    assert re.fullmatch(r"\d+\.\d+\.\d+", answer.json["version"])
    assert answer.json["uptimeSeconds"] >= 0


def test_a_server_whose_store_answers_is_ready(wire):
    assert wire.send("GET", "/_greenroom/ready", signed=False).status == 200


def test_a_connection_serves_many_requests(wire):
    wire.call("ListStages")
    socket = wire.connection.sock
    assert socket is not None
    for name in ("ListStages", "GetStage", "ListStages"):
        wire.call(name)
    assert wire.send("GET", "/nowhere").status == 404
    assert wire.connection.sock is socket


def test_one_tenant_cannot_speak_for_another(greenroom, tenant):
    stage = tenant.stage()
    other = Wire(greenroom.endpoint, "210000000043", "us-east-1")
    assert other.call("GetStage", {"arn": stage}).fault == "ResourceNotFoundException"
    assert other.call("ListStages").json == {"stages": []}
