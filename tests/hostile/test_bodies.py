"""Clients that send bodies slowly, in large numbers, or without authentication."""

import threading

import pytest

from conftest import endpoints_of
from http2 import Http2
from metrics import Latencies, peak_rss, refused_total
from sockets import connect, read_to_end
from wire import head

MIB = 1 << 20


@pytest.fixture
def sockets():
    """A list of connections that are closed after the test."""
    opened = []
    yield opened
    for stream in opened:
        stream.close()


def assert_answered(wire, latencies=None, requests=20):
    latencies = latencies or Latencies()
    for _ in range(requests):
        with latencies.measured():
            assert wire.call("ListStages").status == 200
    assert latencies.percentile(0.99) < 5


def unsigned(path, length):
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize("path", ["/CreateStage", "/whip"])
def test_slow_unauthenticated_bodies_do_not_count_as_requests_in_flight(start_node, sockets, path):
    server = start_node("--max-in-flight", "20")
    for _ in range(60):
        sockets.append(connect(server.endpoint))
        sockets[-1].sendall(unsigned(path, 1000) + b"x")
    assert_answered(server.tenant().wire)
    # They are rejected by their headers, at the latest when the minimum body rate is missed.
    assert sockets[0].recv(12) in (b"HTTP/1.1 403", b"HTTP/1.1 401")
    assert refused_total(server, "in_flight") == 0


def test_unsigned_http2_requests_without_bodies_do_not_count_as_requests_in_flight(start_node, sockets):
    server = start_node()
    for _ in range(6):
        sockets.append(Http2(server.endpoint))
        for _ in range(100):
            sockets[-1].post("/CreateStage", end=False)
    assert_answered(server.tenant().wire)


def test_a_signed_body_below_the_minimum_rate_gets_408(start_node, sockets):
    server = start_node("--max-in-flight", "1")
    sockets.append(connect(server.endpoint))
    sockets[0].sendall(head("/CreateStage", b"{}") + b"content-length: 2\r\n\r\n{")
    assert_answered(server.tenant().wire)
    answer = sockets[0].recv(4096)
    assert answer.startswith(b"HTTP/1.1 408") and b"--min-body-rate" in answer, answer
    assert refused_total(server, "slow_body") == 1
    server.test_server.wait_for_log("slow_body")


def send_large(server, count, request, sockets):
    """Sends this many bodies without their last bytes concurrently; connections may be rejected meanwhile."""

    def send(stream):
        try:
            stream.sendall(request + b" " * (MIB - 100))
        except OSError:
            pass

    sockets += [connect(server.endpoint) for _ in range(count)]
    senders = [threading.Thread(target=send, args=[stream]) for stream in sockets]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def test_large_unsigned_bodies_are_not_buffered(start_node, sockets):
    server = start_node()
    wire = server.tenant().wire
    wire.call("ListStages")
    with peak_rss(server) as memory:
        send_large(server, 150, unsigned("/CreateStage", MIB), sockets)
        assert_answered(wire)
    assert memory.growth < 60, f"{memory.growth:.0f} MB"


def test_signed_bodies_share_a_byte_budget(start_node, sockets):
    server = start_node()
    wire = server.tenant().wire
    wire.call("ListStages")
    with peak_rss(server) as memory:
        send_large(server, 150, head("/CreateStage", b"{}") + b"content-length: %d\r\n\r\n" % MIB, sockets)
        assert_answered(wire)
    assert memory.growth < 130, f"{memory.growth:.0f} MB"
    assert refused_total(server, "body_bytes") > 0
    assert any(b"--max-client-share" in read_to_end(stream) for stream in completed(sockets, server))


def completed(sockets, server):
    """Completes the requests; yields their connections."""
    for stream in sockets:
        try:
            stream.sendall(b" " * 100)
        except OSError:
            continue
        yield stream


def test_one_address_has_at_most_its_share_of_connections(start_node, sockets):
    server = start_node("--max-connections", "40")
    for _ in range(60):
        sockets.append(connect(server.endpoint, source="127.0.0.2"))
    assert_answered(server.tenant().wire)
    assert refused_total(server, "client_connections") >= 40
    assert refused_total(server, "connections") == 0
    server.test_server.wait_for_log("--max-client-share")


async def test_offers_without_a_token_are_rejected_before_their_body_arrives(start_node):
    endpoints = endpoints_of(start_node())
    stream = connect(endpoints.tenant.wire.endpoint)
    stream.sendall(b"POST /whip HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 60000\r\n\r\n")
    assert stream.recv(12) == b"HTTP/1.1 401"
    stream.close()
