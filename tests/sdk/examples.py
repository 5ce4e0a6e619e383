"""Inputs made from the model: valid requests of every operation, and the same requests with one thing wrong."""

import re
from dataclasses import dataclass
from typing import Any

from aws_model import BY_NAME, pattern_of, raw_shape, values_of

VALIDATION, SERIALIZATION = "ValidationException", "SerializationException"

# Structures of which one member excludes the other: each example holds one of them.
ALTERNATIVES = {"LayoutConfiguration": ("grid", "pip"), "DestinationConfiguration": ("channel", "s3")}

WRONG_TYPES = {
    "structure": ["text", 5, True, []],
    "list": ["text", 5, True, {}],
    "map": ["text", 5, True, []],
    "string": [5, 1.5, True, [], {}],
    "integer": ["5", 5.5, True, [], {}],
    "float": ["5", True, [], {}],
    "boolean": ["true", 0, 1, [], {}],
}


@dataclass
class Case:
    """A request with one thing wrong (or, with no faults, one at its very edge), and what must come of it."""

    title: str
    request: Any
    faults: tuple
    words: tuple = ()


def text(shape, length=None):
    """A string of a shape, of the given length where the pattern leaves one open."""
    if shape.enum:
        return shape.enum[0]
    pattern = raw_shape(shape.name).get("pattern", "")
    if "BEGIN PUBLIC KEY" in pattern:
        return "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    if shape.name == "ResourceArn":
        start = "arn:aws:ivs:us-east-1:000000000000:stage/"
    else:
        arn = re.search(r"arn:aws:ivs:.*?:(?P<kind>[a-z-]+)/", pattern)
        start = f"arn:aws:ivs:us-east-1:000000000000:{arn['kind']}/" if arn else ""
    start = "st-" if pattern.startswith("st-") else start
    if length is None:
        length = len(start) + 12 if start.startswith("arn") else max(shape.metadata.get("min", 0), 1)
    return (start + "a" * (length - len(start)))[:length]


def examples(shape):
    """Valid values of a shape with all members; several where members exclude each other."""
    match shape.type_name:
        case "structure":
            options = ALTERNATIVES.get(shape.name, (None,))
            return [value for option in options for value in _structures(shape, set(options) - {option})]
        case "list":
            return [[value] for value in examples(shape.member)]
        case "map":
            return [{text(shape.key): text(shape.value)}]
        case "string":
            return [text(shape)]
        case "integer" | "float":
            return [max(shape.metadata.get("min", 1), 2)]
        case "boolean":
            return [True]


def _structures(shape, without):
    """One structure for each way to vary one member."""
    members = {name: examples(member) for name, member in shape.members.items() if name not in without}
    first = {name: values[0] for name, values in members.items()}
    return [first] + [{**first, name: value} for name, values in members.items() for value in values[1:]]


def requests(operation):
    """Valid requests of an operation: the required members alone, and with each optional member by itself."""
    shape = BY_NAME[operation].input_shape
    required = {name: examples(shape.members[name])[0] for name in shape.required_members}
    yield required, None
    for name, member in shape.members.items():
        for value in examples(member):
            yield {**required, name: value}, name


def cases(operation):
    """All requests of an operation with one thing wrong."""
    shape = BY_NAME[operation].input_shape
    seen = set()
    for request, name in requests(operation):
        if name is None:
            continue
        for path, where, part, value in walk(shape.members[name], request[name], (name,), name):
            for title, wrong, faults, words in wrongs(part, value, where, path):
                if (where, title) not in seen:
                    seen.add((where, title))
                    yield Case(f"{where}: {title}", put(request, path, wrong), faults, words)
        if name in shape.required_members:
            for title, without in (
                ("missing", {k: v for k, v in request.items() if k != name}),
                ("null", {**request, name: None}),
            ):
                yield Case(f"{name}: {title}", without, (VALIDATION,), must_not_be_null(name))


def walk(shape, value, path, where):
    """Every part of a value: its path, the name the service has for it, its shape and its value."""
    yield path, where, shape, value
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield from walk(shape.members[name], inner, (*path, name), f"{where}.{name}")
    elif shape.type_name == "list":
        for index, inner in enumerate(value):
            yield from walk(shape.member, inner, (*path, index), f"{where}.{index + 1}.member")


def put(document, path, value):
    """A copy of a document in which one place holds another value."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(document, list):
        return [put(item, rest, value) if index == head else item for index, item in enumerate(document)]
    return {**document, head: put(document[head], rest, value)}


def wrongs(shape, value, where, path):
    """What can be wrong with one part: title, wrong value, faults that may answer it, words of the text."""
    for wrong in WRONG_TYPES[shape.type_name]:
        yield f"of the wrong type {wrong!r}", wrong, (SERIALIZATION,), ()
    yield from {
        "structure": _structure_wrongs,
        "list": _list_wrongs,
        "map": _map_wrongs,
        "string": _string_wrongs,
        "integer": _number_wrongs,
        "float": _number_wrongs,
        "boolean": lambda *_: (),
    }[shape.type_name](shape, value, where)


def _structure_wrongs(shape, value, where):
    for name in shape.required_members:
        without = {k: v for k, v in value.items() if k != name}
        yield f"without {name}", without, (VALIDATION,), must_not_be_null(f"{where}.{name}")
        yield f"with null as {name}", {**value, name: None}, (VALIDATION,), must_not_be_null(f"{where}.{name}")


def _list_wrongs(shape, value, where):
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max")
    if most is not None:
        yield f"{most + 1} elements", (value * (most + 1))[: most + 1], (VALIDATION,), broken(where)
    if least > 0:
        yield f"{least - 1} elements", value[: least - 1], (VALIDATION,), broken(where)


def _map_wrongs(shape, value, where):
    most = shape.metadata.get("max")
    if most is not None:
        yield f"{most + 1} entries", {f"k{n}": "v" for n in range(most + 1)}, (VALIDATION,), broken(where)
    for wrong in WRONG_TYPES["string"]:
        yield f"a value of the wrong type {wrong!r}", {"k": wrong}, (SERIALIZATION,), ()
    for title, wrong, faults, _ in _string_wrongs(shape.key, None, where):
        yield f"key {title}", {wrong: "v"}, faults, (where,)
    for title, wrong, faults, _ in _string_wrongs(shape.value, None, where):
        yield f"value {title}", {"k": wrong}, faults, (where,)


def _string_wrongs(shape, value, where):
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max")
    yield "with U+0000", "a\0b", (VALIDATION,), (where,)
    if shape.enum:
        yield "outside the enumeration", "NOPE", (VALIDATION,), broken(where)
        if "" not in values_of(shape):
            yield "empty", "", (VALIDATION,), broken(where)
        return
    if most is not None:
        yield f"of {most + 1} characters", text(shape, most + 1), (VALIDATION,), broken(where)
        if not raw_shape(shape.name).get("pattern"):
            yield f"of {most + 1} characters of four bytes", "🎭" * (most + 1), (VALIDATION,), broken(where)
    if least > 0:
        yield f"of {least - 1} characters", text(shape, least - 1), (VALIDATION,), broken(where)
    pattern = pattern_of(shape.name)
    if pattern:
        good = text(shape)
        for bad in ("!", good + "!", "!" + good, good + "\n", good + " ", good[:-1] + "é"):
            if not pattern.match(bad):
                yield f"{bad!r}, outside the pattern", bad, (VALIDATION,), broken(where)


def _number_wrongs(shape, value, where):
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None:
        yield f"{least - 1}", least - 1, (VALIDATION,), broken(where)
    if most is not None:
        yield f"{most + 1}", most + 1, (VALIDATION,), broken(where)
    for huge in (2**31, 2**63, 2**64, -(2**63) - 1, 10**40, 1e300):
        yield f"{huge}, huge", huge, (VALIDATION, SERIALIZATION), ()


def edges(operation):
    """Requests of which one part is at the very edge of its constraint, and which may not be refused for that."""
    shape = BY_NAME[operation].input_shape
    for request, name in requests(operation):
        if name is None:
            continue
        for path, where, part, value in walk(shape.members[name], request[name], (name,), name):
            for title, edge in _edges(part, value):
                yield Case(f"{where}: {title}", put(request, path, edge), ())


def _edges(shape, value):
    bounds = [b for b in (shape.metadata.get("min"), shape.metadata.get("max")) if b is not None]
    match shape.type_name:
        case "string":
            for member in values_of(shape):
                yield member, member
            pattern = pattern_of(shape.name)
            for length in [] if shape.enum else bounds:
                if not pattern:
                    yield f"of {length} characters of four bytes", "🎭" * length
                elif pattern.match(text(shape, length)):
                    yield f"of {length} characters", text(shape, length)
        case "integer" | "float":
            for bound in bounds:
                yield f"{bound}", bound
                yield f"{float(bound)}", float(bound)


def must_not_be_null(where):
    return (f"Value null at '{where}' failed to satisfy constraint: Member must not be null",)


def broken(where):
    """The words in the text about a broken constraint of the model."""
    return ("validation error", f"at '{where}' failed to satisfy constraint: ")
