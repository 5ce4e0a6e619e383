"""Clients that request large responses and do not read them."""

import time

import pytest
import requests

from http2 import Http2
from metrics import Latencies, metric_value, peak_rss, refused_total
from sockets import connect
from wire import head


@pytest.fixture
def connections():
    """A list of connections that are closed after the test."""
    opened = []
    yield opened
    for connection in opened:
        connection.close()


def with_large_lists(server):
    """A tenant whose ListStages response is larger than a megabyte."""
    tenant = server.tenant()
    tags = {f"{n:02}" + "k" * 126: "v" * 256 for n in range(50)}
    for _ in range(60):
        assert tenant.wire.call("CreateStage", {"tags": tags}).status == 200
    return tenant


def assert_answered(wire, arn):
    latencies = Latencies()
    for _ in range(20):
        with latencies.measured():
            assert wire.call("GetStage", {"arn": arn}).status == 200
    assert latencies.percentile(0.99) < 5


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def wait_for_unread(server, at_least):
    """Waits until this many connections were closed because their clients do not read."""
    wait_until(lambda: refused_total(server, "unread") >= at_least)


def test_unread_http2_responses_are_bounded_and_closed(start_node, connections):
    server = start_node("--write-timeout-seconds", "5")
    tenant = with_large_lists(server)
    arn = tenant.wire.call("CreateStage").json["stage"]["arn"]
    with peak_rss(server) as memory:
        for _ in range(8):
            connections.append(Http2(server.endpoint, window=0))
            for _ in range(60):
                connections[-1].post("/ListStages", b'{"maxResults": 100}', key=tenant.account)
        assert_answered(tenant.wire, arn)
    assert memory.growth < 130, f"{memory.growth:.0f} MB"
    for connection in connections:
        connection.wait_for_end()
    assert refused_total(server, "unread") >= 8
    server.test_server.wait_for_log("client does not read")
    assert_answered(tenant.wire, arn)


def test_unread_pipelined_responses_are_bounded_and_closed(start_node, connections):
    server = start_node("--write-timeout-seconds", "3")
    tenant = with_large_lists(server)
    arn = tenant.wire.call("CreateStage").json["stage"]["arn"]
    body = b'{"maxResults": 100}'
    request = head("/ListStages", body, account=tenant.account) + b"content-length: %d\r\n\r\n" % len(body) + body
    with peak_rss(server) as memory:
        for _ in range(20):
            connections.append(connect(server.endpoint, receive_buffer=4096))
            connections[-1].sendall(request * 3)
        assert_answered(tenant.wire, arn)
        wait_for_unread(server, at_least=8)
    assert memory.growth < 130, f"{memory.growth:.0f} MB"
    assert_answered(tenant.wire, arn)


def test_one_address_has_at_most_its_share_of_requests_in_flight(start_node, connections):
    server = start_node("--max-in-flight", "40", "--write-timeout-seconds", "5")
    tenant = server.tenant()
    for _ in range(2):
        connections.append(Http2(server.endpoint, window=0, source="127.0.0.2"))
        for _ in range(30):
            connections[-1].post("/ListStages", key=tenant.account)
    for _ in range(20):
        assert tenant.wire.call("ListStages").status == 200
    assert refused_total(server, "client_in_flight") >= 40
    assert refused_total(server, "in_flight") == 0


def test_unread_responses_count_as_requests_in_flight(start_node, connections):
    server = start_node("--max-in-flight", "1", "--write-timeout-seconds", "2")
    tenant = server.tenant()
    assert tenant.wire.call("ListStages").status == 200
    # The client may have read the response before the server has recorded its end.
    wait_until(lambda: metric_value(server, "greenroom_requests_in_flight") == 0)
    connections.append(Http2(server.endpoint, window=0))
    connections[0].post("/ListStages", key=tenant.account)
    wait_until(lambda: metric_value(server, "greenroom_requests_in_flight") == 1)
    answer = tenant.wire.call("ListStages")
    assert (answer.status, answer.fault) == (503, "ServiceUnavailableException")
    assert "--max-in-flight" in answer.text and answer.headers["retry-after"] == "1"
    assert refused_total(server, "in_flight") == 1
    assert metric_value(server, "greenroom_requests_in_flight") == metric_value(server, "greenroom_requests_in_flight_limit") == 1
    connections[0].wait_for_end()
    assert tenant.wire.call("ListStages").status == 200


def test_jwks_requests_count_as_requests_in_flight(start_node, connections):
    server = start_node("--max-in-flight", "2", "--write-timeout-seconds", "60")
    tenant = with_large_lists(server)

    def keys():
        return requests.get(f"{server.endpoint}/.well-known/jwks.json", timeout=30).status_code

    def is_full():
        # A request that is rejected because the previous one still counts does not count itself.
        connections.append(Http2(server.endpoint, window=0))
        connections[-1].post("/ListStages", b'{"maxResults": 100}', key=tenant.account)
        return keys() == 503

    wait_until(is_full)
    assert requests.get(f"{server.endpoint}/_greenroom/health", timeout=30).status_code == 200
    while connections:
        connections.pop().close()
    wait_until(lambda: keys() == 200)
