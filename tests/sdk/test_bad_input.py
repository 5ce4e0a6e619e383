"""Hostile input, generated from the model: a modelled fault each time, and never a 500."""

import json

import pytest

from aws_model import BY_NAME
from examples import SERIALIZATION, VALIDATION, cases, edges, requests
from wire import placed

IN_BODY = [name for name, operation in BY_NAME.items() if operation.http["requestUri"] == f"/{name}"]
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def wire(greenroom):
    """One account without resources, for requests that are refused before anything is looked up."""
    return greenroom.tenant("000000000000").wire


def faults(answer):
    return answer.fault or "success"


@pytest.mark.parametrize("operation", [*IN_BODY, "TagResource"])
def test_each_constraint_broken_by_one_step_is_refused_by_name(wire, operation):
    wrong = []
    for case in cases(operation):
        if "resourceArn" in case.title:
            continue
        answer = wire.call(operation, case.request)
        told = answer.text if answer.status != 200 else ""
        if answer.fault not in case.faults or not all(word in told for word in case.words):
            wrong.append(f"{case.title}: {answer.status} {answer.fault} {told!r}, not {case.faults} {case.words}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("operation", [*IN_BODY, "TagResource", "UntagResource", "ListTagsForResource"])
def test_a_value_at_the_edge_of_its_constraint_is_not_refused_for_it(wire, operation):
    wrong = []
    for case in edges(operation):
        answer = wire.call(operation, case.request)
        if answer.fault == SERIALIZATION or (answer.fault == VALIDATION and "failed to satisfy" in answer.text):
            wrong.append(f"{case.title}: {answer.fault} {answer.text}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("operation", IN_BODY)
def test_unknown_members_are_ignored_and_null_counts_as_absent(greenroom, operation):
    wire = greenroom.tenant().wire
    shape = BY_NAME[operation].input_shape
    plain = next(requests(operation))[0]
    nulls = {name: None for name in shape.members if name not in shape.required_members}
    expected = wire.call(operation, plain)
    answer = wire.call(operation, {**nulls, **plain, "somethingNew": {"deep": [1, None]}, "": 1, "arn:": "x"})
    assert (answer.status, answer.fault) == (expected.status, expected.fault)


def test_several_broken_constraints_are_all_told(wire):
    answer = wire.call("CreateStage", {"name": "!", "tags": {"": "x"}})
    assert answer.fault == VALIDATION
    assert answer.text.startswith("2 validation errors detected: ")
    assert "'name'" in answer.text and "'tags'" in answer.text


MALFORMED = {
    "truncated": b'{"name": "a',
    "truncated after a member": b'{"name": "a"',
    "a text": b'"text"',
    "a number": b"5",
    "a list": b"[]",
    "a list of the members": b'["stage"]',
    "true": b"true",
    "not JSON": b"name=a",
    "XML": b"<name>a</name>",
    "two documents": b"{}{}",
    "a trailing comma": b'{"name": "a",}',
    "a comment": b"{/* */}",
    "single quotes": b"{'name': 'a'}",
    "NaN": b'{"name": NaN}',
    "a lone surrogate": b'{"name": "\\ud800"}',
    "a control character": b'{"name": "a\x01b"}',
    "invalid UTF-8": b'{"name": "\xff\xfe"}',
    "overlong UTF-8": b'{"name": "\xc0\xaf"}',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "NUL bytes": b"\0" * 16,
    "deeply nested lists": b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deeply nested objects": b'{"name": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "deeply nested and unclosed": b"[" * 500_000,
}


@pytest.mark.parametrize("title", MALFORMED)
def test_a_malformed_body_is_a_serialization_fault(wire, title):
    for operation in ("CreateStage", "ListStages", "GetStage", "StartComposition"):
        answer = wire.call_bytes(operation, MALFORMED[title])
        assert (answer.status, answer.fault) == (400, SERIALIZATION), operation


def test_deep_nesting_in_a_member_that_is_ignored_does_no_harm(wire):
    for depth in (10, 100, 10_000):
        body = b'{"ignored": ' + b"[" * depth + b"]" * depth + b"}"
        answer = wire.call_bytes("ListStages", body)
        assert answer.fault in (None, SERIALIZATION), depth


@pytest.mark.parametrize("operation", IN_BODY)
def test_an_empty_body_is_an_empty_object(wire, operation):
    expected = wire.call_bytes(operation, b"{}")
    answer = wire.call_bytes(operation, b"")
    assert (answer.status, answer.fault) == (expected.status, expected.fault)
    if BY_NAME[operation].input_shape.required_members:
        assert answer.fault == VALIDATION
        assert answer.text == expected.text


@pytest.mark.parametrize("body", [b"null", b" {} ", b"\r\n{}\n"])
def test_white_space_and_a_null_document_are_told_apart_from_an_object(wire, body):
    answer = wire.call_bytes("ListStages", body)
    assert answer.fault == (SERIALIZATION if body == b"null" else None)


@pytest.mark.parametrize("operation", ["CreateStage", "ListStages", "DeleteStage"])
def test_a_body_of_a_mebibyte_is_read_and_one_byte_more_is_not(greenroom, operation):
    def padded(size):
        start, end = b'{"padding": "', b'"}'
        return start + b"x" * (size - len(start) - len(end)) + end

    tenant = greenroom.tenant()
    assert tenant.wire.call_bytes(operation, padded(MEBIBYTE)).status != 413
    for size in (MEBIBYTE + 1, 4 * MEBIBYTE):
        answer = tenant.wire.call_bytes(operation, padded(size))
        assert (answer.status, answer.fault) == (413, "RequestEntityTooLargeException")


def test_a_member_of_a_mebibyte_is_refused_without_being_repeated_whole(wire):
    for name in ("a", "!"):
        answer = wire.call("CreateStage", {"name": name * (MEBIBYTE - 100)})
        assert answer.fault == VALIDATION
    attributes = {"k": "v" * (MEBIBYTE - 1000)}
    answer = wire.call("CreateStage", {"participantTokenConfigurations": [{"attributes": attributes}]})
    assert answer.fault == VALIDATION


def test_the_last_of_two_members_of_one_name_counts_or_the_request_is_refused(greenroom):
    answer = greenroom.tenant().wire.call_bytes("CreateStage", b'{"name": "first", "name": "second"}')
    assert answer.fault == SERIALIZATION or answer.json["stage"]["name"] == "second"


ARN_MEMBERS = [
    (name, member, shape)
    for name in BY_NAME
    for member, shape in BY_NAME[name].input_shape.members.items()
    if shape.type_name == "string" and shape.name.endswith("Arn") and shape.name != "ResourceArn"
]
NEARLY_ARNS = [
    "arn:aws:ivs:us-east-1:000000000000:{other}/abcdefghijkl",
    "arn:aws:s3:us-east-1:000000000000:{kind}/abcdefghijkl",
    "arn:aws-cn:ivs:us-east-1:000000000000:{kind}/abcdefghijkl",
    "arn:aws:ivs::000000000000:{kind}/abcdefghijkl",
    "arn:aws:ivs:us-east-1::{kind}/abcdefghijkl",
    "arn:aws:ivs:US-EAST-1:000000000000:{kind}/abcdefghijkl",
    "arn:aws:ivs:us-east-1:account:{kind}/abcdefghijkl",
    "arn:aws:ivs:us-east-1:000000000000:{kind}/",
    "arn:aws:ivs:us-east-1:000000000000:{kind}",
    "arn:aws:ivs:us-east-1:000000000000:{kind}/abc/def",
    "arn:aws:ivs:us-east-1:000000000000:{kind}/abc_def",
    " arn:aws:ivs:us-east-1:000000000000:{kind}/abcdefghijkl",
    "arn:aws:ivs:us-east-1:000000000000:{kind}/abcdefghijkl\n",
    "arn:aws:ivs:us-east-1:000000000000:{kind}/abcdefghijkl' OR '1'='1",
    "abcdefghijkl",
]


@pytest.mark.parametrize(("operation", "member", "shape"), ARN_MEMBERS, ids=lambda v: v if isinstance(v, str) else "")
def test_what_is_nearly_an_arn_of_the_right_kind_is_invalid(wire, operation, member, shape):
    valid = next(request for request, name in requests(operation) if name == member)
    kind = valid[member].rpartition(":")[2].partition("/")[0]
    other = "stage" if kind != "stage" else "composition"
    for arn in NEARLY_ARNS:
        answer = wire.call(operation, {**valid, member: arn.format(kind=kind, other=other)})
        assert answer.fault == VALIDATION, arn
        assert f"at '{member}' failed to satisfy constraint: " in answer.text, arn


@pytest.mark.parametrize("operation", ["TagResource", "UntagResource", "ListTagsForResource"])
@pytest.mark.parametrize("arn", [NEARLY_ARNS[1], NEARLY_ARNS[3], NEARLY_ARNS[7], NEARLY_ARNS[9], NEARLY_ARNS[13], "x"])
def test_a_tag_path_that_holds_no_arn_is_invalid(wire, operation, arn):
    members = {"TagResource": {"tags": {"a": "b"}}, "UntagResource": {"tagKeys": ["a"]}}.get(operation, {})
    answer = wire.call(operation, {"resourceArn": arn.format(kind="stage", other="x"), **members})
    assert (answer.status, answer.fault) == (400, VALIDATION)


@pytest.mark.parametrize("operation", [*IN_BODY, "TagResource"])
def test_random_damage_to_a_valid_request_never_ends_in_a_500(wire, operation):
    """Every byte of the smallest valid request in turn becomes a quote, a brace, a NUL or nothing."""
    _, path, body = placed(operation, next(requests(operation))[0])
    for at in range(0, len(body), 3):
        for damage in (b'"', b"{", b"\0", b""):
            answer = wire.send("POST", path, body[:at] + damage + body[at + 1 :])
            assert wire.checked(operation, answer).status < 500, (at, damage)


def test_numbers_may_be_written_as_integral_floats_but_not_as_fractions(greenroom):
    wire = greenroom.tenant().wire
    for number, fault in (
        (b"5.0", None),
        (b"5e0", None),
        (b"50e-1", None),
        (b"5.5", SERIALIZATION),
        (b"1e999", SERIALIZATION),
    ):
        answer = wire.call_bytes("ListStages", b'{"maxResults": ' + number + b"}")
        assert answer.fault == fault, number


def test_texts_are_repeated_as_json_and_never_as_markup(wire):
    answer = wire.call("CreateStage", {"name": "<script>\"'\\ü🎭"})
    assert answer.fault == VALIDATION
    assert json.loads(answer.body)["message"]
    assert answer.headers["x-content-type-options"] == "nosniff"
