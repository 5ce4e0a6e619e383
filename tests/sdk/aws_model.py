"""The AWS model in the installed botocore: the forty operations, and what an answer of each must look like."""

import json
import re
from functools import cache

import botocore.session

SERVICE = botocore.session.get_session().get_service_model("ivs-realtime")
OPERATIONS = [SERVICE.operation_model(name) for name in SERVICE.operation_names]
BY_NAME = {operation.name: operation for operation in OPERATIONS}

ISO_8601_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")

# Refusals of the protocol itself, which no operation declares.
REJECTIONS = {
    "ExpiredTokenException": 403,
    "IncompleteSignatureException": 403,
    "InvalidSignatureException": 403,
    "MalformedHttpRequestException": 400,
    "MissingAuthenticationTokenException": 403,
    "RequestAbortedException": 400,
    "RequestEntityTooLargeException": 413,
    "RequestTimeoutException": 408,
    "RequestUriTooLongException": 414,
    "RequestTimeoutException": 408,
    "RequestUriTooLongException": 414,
    "SerializationException": 400,
    "ServiceUnavailableException": 503,
    "TooManyRequestsException": 429,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 403,
}

# A policy may deny every operation, also those that do not declare the fault.
UNDECLARED = {**REJECTIONS, "AccessDeniedException": 403}

# Published patterns that no real value matches: that of ARNs has one character before the slash, and that of prefixes no slash.
PATTERN_OVERRIDES = {
    "ParticipantRecordingS3Prefix": r"[a-zA-Z0-9/-]*",
    "ResourceArn": "arn:aws:ivs:[a-z0-9-]+:[0-9]+:[a-z-]+/[a-zA-Z0-9-]+",
}

# The service prints "" for the fill mode of a grid that has none, and clients may send it back.
ENUM_OVERRIDES = {"VideoFillMode": [""]}

# Members that the service itself answers as "" although their shapes do not allow it: a participant who is the source
# of a replication has no source of its own.
EMPTY_ALLOWED = {
    ("Stage", "activeSessionId"),
    ("StageSummary", "activeSessionId"),
    ("Participant", "sourceStageArn"),
    ("Participant", "sourceSessionId"),
    ("ParticipantSummary", "sourceStageArn"),
    ("ParticipantSummary", "sourceSessionId"),
}


def is_readonly(operation):
    """Whether the model says of an operation that it changes nothing."""
    return operation._operation_model.get("readonly", False)


@cache
def pattern_of(shape_name):
    """The compiled full-match pattern of a string shape, or None."""
    pattern = PATTERN_OVERRIDES.get(shape_name) or raw_shape(shape_name).get("pattern")
    return re.compile(rf"^(?:{pattern})\Z") if pattern else None


def values_of(shape):
    """The values of an enumeration, or nothing for other strings."""
    return [*shape.enum, *ENUM_OVERRIDES.get(shape.name, [])] if shape.enum else []


def raw_shape(name):
    """The shape as the model's file has it; botocore's objects hide some of it."""
    return SERVICE._shape_resolver._shape_map[name]


def in_body(shape):
    """The members of a structure that travel in the JSON body, by name on the wire."""
    return {name: member for name, member in shape.members.items() if "location" not in member.serialization}


def in_headers(shape):
    """The header names that an answer of this shape carries."""
    return [
        member.serialization["name"]
        for member in shape.members.values()
        if member.serialization.get("location") == "header"
    ]


def fault_of(operation, name):
    """The declared fault of an operation by its name on the wire, or None."""
    return next((f for f in operation.error_shapes if f.name == name), None)


def status_of(fault):
    return fault.metadata["error"]["httpStatusCode"]


def problems(shape, value, at="body"):
    """Everything in a JSON value that the output shape does not allow, one sentence each."""
    yield from CHECKS[shape.type_name](shape, value, at)


def _structure(shape, value, at):
    if not isinstance(value, dict):
        yield f"{at} is not an object: {value!r}"
        return
    members = in_body(shape)
    for name in value.keys() - members.keys():
        yield f"{at}.{name} is not a member of {shape.name}"
    for name in shape.required_members:
        if name in members and value.get(name) is None:
            yield f"{at}.{name} is required by {shape.name}"
    for name in value.keys() & members.keys():
        if value[name] != "" or (shape.name, name) not in EMPTY_ALLOWED:
            yield from problems(members[name], value[name], f"{at}.{name}")


def _list(shape, value, at):
    if not isinstance(value, list):
        yield f"{at} is not a list: {value!r}"
        return
    yield from _size(shape, len(value), at)
    for index, item in enumerate(value):
        yield from problems(shape.member, item, f"{at}[{index}]")


def _map(shape, value, at):
    if not isinstance(value, dict):
        yield f"{at} is not a map: {value!r}"
        return
    yield from _size(shape, len(value), at)
    for key, item in value.items():
        yield from problems(shape.key, key, f"{at} key")
        yield from problems(shape.value, item, f"{at}[{key!r}]")


def _string(shape, value, at):
    if not isinstance(value, str):
        yield f"{at} is not a string: {value!r}"
        return
    yield from _size(shape, len(value), at)
    if shape.enum and value not in values_of(shape):
        yield f"{at} is not one of {values_of(shape)}: {value!r}"
    pattern = pattern_of(shape.name)
    if pattern and not pattern.match(value):
        yield f"{at} does not match {pattern.pattern}: {value!r}"


def _integer(shape, value, at):
    if isinstance(value, bool) or not isinstance(value, int):
        yield f"{at} is not an integer: {value!r}"
        return
    yield from _size(shape, value, at)


def _float(shape, value, at):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        yield f"{at} is not a number: {value!r}"
        return
    yield from _size(shape, value, at)


def _boolean(shape, value, at):
    if not isinstance(value, bool):
        yield f"{at} is not a boolean: {value!r}"


def _timestamp(shape, value, at):
    if not isinstance(value, str) or not ISO_8601_UTC.fullmatch(value):
        yield f"{at} is not ISO 8601 in UTC: {value!r}"


def _size(shape, size, at):
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield f"{at}: {size} is below {least}"
    if most is not None and size > most:
        yield f"{at}: {size} is above {most}"


CHECKS = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "integer": _integer,
    "float": _float,
    "boolean": _boolean,
    "timestamp": _timestamp,
}


def answer_problems(operation, status, headers, body):
    """Everything in one HTTP answer that the model does not allow. `operation` is None where the path names none."""
    headers = {name.lower(): value for name, value in headers.items()}
    if not headers.get("x-amzn-requestid"):
        yield "x-amzn-RequestId is missing"
    if headers.get("content-type") != "application/json":
        yield f"content-type is {headers.get('content-type')!r}"
    try:
        document = json.loads(body)
    except ValueError:
        yield f"the body is not JSON: {body!r}"
        return
    if status == 200 and operation is not None:
        yield from _success_problems(operation, headers, document)
    else:
        yield from _fault_problems(operation, status, headers, document)


def _success_problems(operation, headers, document):
    if "x-amzn-errortype" in headers:
        yield "a success carries x-amzn-ErrorType"
    if operation.output_shape is None:
        if document != {}:
            yield f"the operation has no output, but answers {document!r}"
        return
    for name in in_headers(operation.output_shape):
        if not headers.get(name.lower()):
            yield f"header {name} is missing"
    yield from problems(operation.output_shape, document)


def _fault_problems(operation, status, headers, document):
    name = headers.get("x-amzn-errortype")
    declared = operation and fault_of(operation, name)
    if declared:
        if status != status_of(declared):
            yield f"{name} has status {status}, not {status_of(declared)}"
        for header in in_headers(declared):
            if not headers.get(header.lower()):
                yield f"header {header} is missing"
    elif name not in UNDECLARED:
        yield f"{name!r} is declared neither by {operation and operation.name} nor by the protocol"
    elif status != UNDECLARED[name]:
        yield f"{name} has status {status}, not {UNDECLARED[name]}"
    if not isinstance(document, dict) or document.keys() != {"exceptionMessage", "message"}:
        yield f"the fault's body is {document!r}"
    elif document["exceptionMessage"] != document["message"] or not document["message"]:
        yield f"the fault's two texts differ or are empty: {document!r}"
