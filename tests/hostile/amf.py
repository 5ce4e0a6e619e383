"""AMF0, as far as RTMP clients need it."""

import struct


def encode(*values):
    return b"".join(map(_encode, values))


def _encode(value):
    if value is None:
        return b"\x05"
    if isinstance(value, bool):
        return struct.pack("!BB", 1, value)
    if isinstance(value, (int, float)):
        return struct.pack("!Bd", 0, value)
    if isinstance(value, str):
        return b"\x02" + _text(value)
    members = b"".join(_text(name) + _encode(member) for name, member in value.items())
    return b"\x03" + members + b"\x00\x00\x09"


def _text(value):
    data = value.encode()
    return struct.pack("!H", len(data)) + data


def decode(data):
    """All values of a message body."""
    values, at = [], 0
    while at < len(data):
        value, at = _decode(data, at)
        values.append(value)
    return values


def _decode(data, at):
    kind, at = data[at], at + 1
    if kind == 0:
        return struct.unpack_from("!d", data, at)[0], at + 8
    if kind == 1:
        return bool(data[at]), at + 1
    if kind == 2:
        return _decode_text(data, at)
    if kind in (3, 8):
        return _decode_members(data, at + (4 if kind == 8 else 0))
    if kind == 10:
        (count,), values, at = struct.unpack_from("!I", data, at), [], at + 4
        for _ in range(count):
            value, at = _decode(data, at)
            values.append(value)
        return values, at
    assert kind in (5, 6), f"AMF0 type {kind}"
    return None, at


def _decode_text(data, at):
    (length,) = struct.unpack_from("!H", data, at)
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length


def _decode_members(data, at):
    members = {}
    while data[at : at + 3] != b"\x00\x00\x09":
        name, at = _decode_text(data, at)
        members[name], at = _decode(data, at)
    return members, at + 3
