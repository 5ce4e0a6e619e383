"""HTTP below the level of any SDK: odd framing, broken heads and strange credentials, byte by byte."""

import socket
from http.client import HTTPResponse
from urllib.parse import urlsplit

import pytest

from wire import Answer, head

CLOSE = b"connection: close\r\n"
MEBIBYTE = 1024 * 1024


@pytest.fixture
def speak(tenant):
    """A function that sends bytes on a new connection, ends its half of it if told so, and reads the answer."""
    address = urlsplit(tenant.server.endpoint)

    def exchange(sent, ends=False):
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(sent)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            response = HTTPResponse(connection)
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())

    yield exchange
    assert tenant.wire.call("ListStages").status == 200


def create_stage(body=b""):
    """The signed beginning of a request to create a stage."""
    return head("/CreateStage", body) + CLOSE


def chunked(*chunks):
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    return create_stage(b"".join(chunks)) + b"transfer-encoding: chunked\r\n\r\n" + body


def test_a_body_may_come_in_chunks(speak):
    answer = speak(chunked(b'{"name": ', b'"in-chunks"}'))
    assert answer.json["stage"]["name"] == "in-chunks"


def test_a_body_in_chunks_has_the_same_bound(speak):
    padding = b'{"padding": "', b"x" * (MEBIBYTE - 15), b'"}'
    assert speak(chunked(*padding)).status == 200
    answer = speak(chunked(*padding, b" "))
    assert (answer.status, answer.fault) == (413, "RequestEntityTooLargeException")


def test_a_body_that_is_announced_as_endless_is_not_waited_for(speak):
    answer = speak(create_stage() + b"content-length: %d\r\n\r\n" % 10**11)
    assert (answer.status, answer.fault) == (413, "RequestEntityTooLargeException")


@pytest.mark.parametrize(
    "rest",
    [
        b"content-length: 20\r\n\r\n{}",
        b"transfer-encoding: chunked\r\n\r\n5\r\n{}",
        b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    ],
)
def test_a_body_that_does_not_arrive_whole_does_nothing(tenant, speak, rest):
    start = head("/CreateStage", b"{}", account=tenant.account) + CLOSE
    answer = tenant.wire.checked("CreateStage", speak(start + rest, ends=True))
    assert (answer.status, answer.fault) == (400, "RequestAbortedException")
    assert tenant.ivs.list_stages()["stages"] == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40, 400),
        (b"hello\r\n\r\n", 400),
        (create_stage(b"{}") + b"\0bad: x\r\n\r\n", 400),
        (create_stage(b"{}") + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", 400),
        (create_stage(b"{}") + b"content-length: -2\r\n\r\n{}", 400),
        (create_stage(b"{}") + b"content-length: two\r\n\r\n{}", 400),
        (b"POST /Create\0Stage HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (create_stage(b"{}") + b"".join(b"x-%d: y\r\n" % n for n in range(1000)) + b"\r\n", 431),
    ],
)
def test_a_broken_head_is_refused(speak, sent, status):
    assert speak(sent).status == status


def test_an_older_client_is_served(speak):
    body = b'{"name":"old"}'
    answer = speak(head("/CreateStage", body, version="1.0") + b"content-length: %d\r\n\r\n" % len(body) + body)
    assert answer.json["stage"]["name"] == "old"


def test_an_absolute_address_names_its_path(speak):
    absolute = b"POST http://elsewhere.example.test/ListStages "
    assert speak(head("/ListStages").replace(b"POST /ListStages ", absolute) + CLOSE + b"\r\n").status == 200
