"""Event streams of clients that do not read, open many streams, or use expensive patterns."""

import json
import time
from urllib.parse import quote

import pytest

from metrics import Latencies, cpu_seconds, refused_total
from streams import Stream, opened

AUDIT = ("--audit=on",)
SINCE = "?kind=all&since=2020-01-01T00%3A00%3A00Z"
TAGS = {f"{n:02}" + "k" * 126: "v" * 256 for n in range(50)}


@pytest.fixture
def streams():
    """A list of event streams that are closed after the test."""
    found = []
    yield found
    for stream in found:
        stream.close()


def key_of(server, account):
    return server.credentials("create", "--account", account)


def open_when_allowed(open_stream, seconds):
    """Opens a stream as soon as the limit allows it; fails after this many seconds."""
    end = time.monotonic() + seconds
    while True:
        stream = open_stream()
        if stream.response.status == 200:
            return stream
        stream.close()
        assert time.monotonic() < end, f"no stream within {seconds} s"
        time.sleep(0.2)


def fill_log(tenant, megabytes):
    """Writes audit records of about 20 kB each."""
    arn = tenant.wire.call("CreateStage").json["stage"]["arn"]
    for _ in range(megabytes * 50):
        answer = tenant.wire.call("TagResource", {"resourceArn": arn, "tags": TAGS})
        assert answer.status == 200, answer
    return arn


def test_unread_streams_of_a_deleted_key_are_closed(start_node, streams):
    server = start_node(*AUDIT, "--max-event-streams", "8", "--write-timeout-seconds", "60")
    tenant = server.tenant()
    fill_log(tenant, megabytes=8)
    key = key_of(server, tenant.account)
    streams += [Stream(server, key, SINCE, buffer=4096) for _ in range(8)]
    assert [stream.response.status for stream in streams] == [200] * 8
    with Stream(server, tenant.account) as refused_stream:
        assert "--max-event-streams)" in refused_stream.answer.text
    server.credentials("delete", key["accessKeyId"])
    began = time.monotonic()
    streams.append(open_when_allowed(lambda: Stream(server, tenant.account), seconds=20))
    assert time.monotonic() - began < 10


def test_an_unread_stream_is_closed_after_the_write_timeout(start_node, streams):
    server = start_node(*AUDIT, "--max-event-streams", "1", "--write-timeout-seconds", "2")
    tenant = server.tenant()
    fill_log(tenant, megabytes=8)
    streams.append(Stream(server, tenant.account, SINCE, buffer=4096))
    streams.append(open_when_allowed(lambda: Stream(server, tenant.account), seconds=20))
    assert refused_total(server, "unread") >= 1
    server.test_server.wait_for_log("client does not read")


def test_streams_per_key_are_limited(start_node, streams):
    server = start_node("--max-event-streams-per-key", "2")
    tenant = server.tenant()
    one, other = key_of(server, tenant.account), key_of(server, tenant.account)
    streams += [opened(server, one) for _ in range(2)]
    with Stream(server, one) as third:
        answer = third.answer
    assert (answer.status, answer.fault) == (503, "ServiceUnavailableException")
    assert "--max-event-streams-per-key" in answer.text
    assert refused_total(server, "key_event_streams") == 1
    streams.append(opened(server, other))
    streams.pop(0).close()
    streams.append(open_when_allowed(lambda: Stream(server, one), seconds=10))


def pattern_query(value):
    return "?pattern=" + quote(json.dumps(value), safe="")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ({"source": ["x" * 2100]}, "at most 2048"),
        ({"$or": [{"source": [str(n)]} for n in range(11)], "detail": {"$or": [{"a": [n]} for n in range(100)]}}, "1000"),
    ],
)
def test_patterns_have_the_limits_of_eventbridge(start_node, pattern, message):
    server = start_node()
    with Stream(server, server.tenant().account, pattern_query(pattern)) as stream:
        answer = stream.answer
    assert (answer.status, answer.fault) == (400, "ValidationException")
    assert message in answer.text


def test_expensive_patterns_do_not_delay_others(start_node, streams):
    server = start_node(*AUDIT)
    tenant = server.tenant()
    arn = fill_log(tenant, megabytes=3)
    tags = {next(iter(TAGS)): [{"equals-ignore-case": "É" * 5 + str(n)} for n in range(40)]}
    pattern = {"detail": {"requestParameters": {"tags": tags}}}
    query = SINCE + "&pattern=" + quote(json.dumps(pattern, ensure_ascii=False, separators=(",", ":")), safe="")
    before, latencies = cpu_seconds(server), Latencies()
    streams += [Stream(server, tenant.account, query) for _ in range(32)]
    assert [stream.response.status for stream in streams] == [200] * 32
    # These requests compete with the matching of the whole log.
    end = time.monotonic() + 3
    while time.monotonic() < end:
        with latencies.measured():
            assert tenant.wire.call("GetStage", {"arn": arn}).status == 200
    assert latencies.percentile(0.99) < 0.5
    assert cpu_seconds(server) - before < 10


def test_large_records_do_not_block_a_stream(start_node, streams):
    """A page of 100 records exceeds the limit of unread bytes."""
    server = start_node(*AUDIT, "--max-buffered-bytes", str(16 << 20))
    tenant = server.tenant()
    for _ in range(120):
        assert tenant.wire.call("CreateStage", {"tags": TAGS}).status == 200
    streams.append(opened(server, tenant.account, "?kind=audit", last="0"))
    found = streams[0].take(120)
    assert sum(len(entry.data) for entry in found) > 4 << 20
    assert {entry.detail["eventName"] for entry in found} == {"CreateStage"}
