"""Floods of offers and ICE restarts by one participant: they delay no connectivity check and no media of others, and memory
stays bounded."""

import asyncio
import multiprocessing
import re
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
import requests

from conftest import endpoints_of
from endpoints import FRAGMENT, SDP
from metrics import peak_rss
from offers import offer
from peers import publish, view
from ice import Prober, p99

# Duration of an attack, and of the baseline measurement without one.
SECONDS, QUIET_SECONDS = 2, 1
# A media thread that is not starved responds within milliseconds. The margin is for a debug build and for attackers on the
# same processors; a starved thread did not respond for seconds.
P99_SECONDS, MEDIAN_SECONDS = 0.25, 0.05
RSS_MB = 200
UNLIMITED = ("--max-offers-per-minute", "1000000", "--max-patches-per-minute", "1000000")


@pytest.fixture(params=[(), UNLIMITED], ids=["limited", "unlimited"])
def endpoints(request, start_node):
    """A stage on a server with default limits, and on one without rate limits: the other limits must suffice."""
    server = start_node("--ice-timeout-seconds", "60", *request.param, RUST_LOG="info")
    endpoints = endpoints_of(server)
    endpoints.server, endpoints.limited = server, not request.param
    return endpoints


def padded():
    """An offer with two sections and 1,850 a=ssrc lines of unused streams."""
    head, audio, video = re.split("(?=^m=)", offer(), flags=re.MULTILINE)
    streams = [f"a=ssrc:{4_000_000_000 + n} cname:x\r\n" for n in range(1850)]
    return head + audio + "".join(streams[:925]) + video + "".join(streams[925:])


def send_until(end, send):
    """Calls `send` until the end time; returns the response statuses."""
    statuses = []
    while time.monotonic() < end:
        statuses.append(send())
    return statuses


def from_threads(count, send):
    """Runs several sender threads, each with its own client; returns all statuses."""
    end, statuses = time.monotonic() + SECONDS, []
    threads = [threading.Thread(target=lambda: statuses.extend(send_until(end, send()))) for _ in range(count)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return statuses


def flood_of_offers(endpoints, text, count):
    """Offers of one participant over keep-alive connections."""
    token, _ = endpoints.token()

    def sender():
        session = requests.Session()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": SDP}
        return lambda: session.post(endpoints.whip, data=text, headers=headers, timeout=30).status_code

    return from_threads(count, sender)


def pipelined_offers(endpoints):
    """Offers of one participant: 32 pipelined requests on each of four connections, which are read afterwards."""
    token, _ = endpoints.token()
    address, text = urlsplit(endpoints.whip), offer()
    request = (
        f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {SDP}\r\nContent-Length: {len(text)}\r\n\r\n{text}"
    ).encode()

    def sender():
        def send():
            with socket.create_connection((address.hostname, address.port), 30) as connection:
                writer = threading.Thread(target=connection.sendall, args=(request * 32,))
                writer.start()
                read = b""
                while read.count(b"HTTP/1.1 ") < 32:
                    read += connection.recv(65536)
                writer.join()
            return re.findall(rb"HTTP/1.1 (\d+)", read)

        return send

    return [int(status) for statuses in from_threads(4, sender) for status in statuses]


def flood_of_restarts(endpoints):
    """ICE restarts of one connection from four threads."""
    token, _ = endpoints.token()
    created = endpoints.post("", token, offer())
    assert created.status_code == 201, created.text

    def sender():
        session, number = requests.Session(), iter(range(1_000_000_000))
        headers = {"Authorization": f"Bearer {token}", "Content-Type": FRAGMENT, "If-Match": "*"}

        def send():
            ufrag = f"{threading.get_ident():x}{next(number):x}"
            text = f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{ufrag:x>22}\r\n"
            return session.patch(created.headers["Location"], data=text, headers=headers, timeout=30).status_code

        return send

    return from_threads(4, sender)


ATTACKS = {
    "padded": lambda endpoints: flood_of_offers(endpoints, padded(), 4),
    "pipelined": pipelined_offers,
    "restarts": flood_of_restarts,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_flood_delays_no_connectivity_check_of_others(endpoints, attack):
    token, _ = endpoints.token()
    created = endpoints.post("", token, offer())
    prober = Prober(offer(), created.text)
    quiet = prober.round_trips_during(lambda: time.sleep(QUIET_SECONDS))
    statuses = []
    with peak_rss(endpoints.server) as memory:
        checks = prober.round_trips_during(lambda: statuses.extend(ATTACKS[attack](endpoints)))
    report = f"{attack}: p99 {p99(checks) * 1000:.1f} ms (quiet {p99(quiet) * 1000:.1f} ms), slowest "
    report += f"{checks[-1] * 1000:.1f} ms of {len(checks)}; {memory.highest:.0f} MB; {len(statuses)} responses: "
    report += str({status: statuses.count(status) for status in set(statuses)})
    print(report)
    assert memory.highest < RSS_MB, report
    assert p99(checks) < max(P99_SECONDS, 10 * p99(quiet)), report
    assert checks[len(checks) // 2] < MEDIAN_SECONDS, report
    assert set(statuses) <= {200, 201, 400, 413, 429, 503}, report
    if endpoints.limited and len(statuses) > 620:
        assert 429 in statuses, report


@pytest.mark.parametrize("attack", ATTACKS)
async def test_media_of_others_is_received_during_a_flood(start_node, attack):
    server = start_node(*UNLIMITED, RUST_LOG="info")
    endpoints = endpoints_of(server)
    (alice, alice_id), (bob, _) = endpoints.token(), endpoints.token()
    publisher = await publish(endpoints.whip, alice, kinds=("audio",))
    viewer = await view(endpoints.whip, bob, alice_id, kinds=("audio",))
    await viewer.receives_audio()

    async def received():
        found = (await viewer.connection.getStats()).values()
        [stream] = [one for one in found if one.type == "inbound-rtp"]
        return stream.packetsReceived, stream.packetsLost

    before = await received()
    # A separate process: this one generates and receives media in Python.
    flood = multiprocessing.get_context("fork").Process(target=ATTACKS[attack], args=(endpoints,))
    flood.start()
    await asyncio.to_thread(flood.join)
    assert flood.exitcode == 0
    after = await received()
    assert after[1] == before[1], "no packet was lost"
    # The sender makes 50 packets a second, fewer on a busy machine.
    assert after[0] - before[0] > 25 * SECONDS
    await viewer.stop()
    await publisher.stop()


def test_limits_on_offers_and_connections_are_reported(start_node):
    server = start_node(
        *("--max-offers-per-minute", "4", "--max-patches-per-minute", "2", "--max-media-per-participant", "3"),
        *("--max-media-per-stage", "4", "--max-media-per-node", "5"),
        RUST_LOG="info",
    )
    endpoints = endpoints_of(server)
    (alice, _), text = endpoints.token(), offer()
    first = endpoints.post("", alice, text)
    assert first.status_code == 201

    def refused(answer, status, code, reason, most):
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert 1 <= int(answer.headers["Retry-After"]) <= most
        page = requests.get(f"{server.endpoint}/metrics", timeout=30).text
        assert re.search(rf'^greenroom_refused_total{{reason="{reason}"}} [1-9]', page, re.MULTILINE), page
        server.test_server.wait_for_log(f'"{reason}"')

    fragment = "a=ice-ufrag:abcd\r\na=ice-pwd:" + "x" * 22 + "\r\n"
    patch = lambda: endpoints.send("PATCH", first.headers["Location"], alice, fragment, FRAGMENT, If_Match="*")  # noqa: E731
    assert [patch().status_code, patch().status_code] == [200, 204]
    refused(patch(), 429, "RATE_EXCEEDED", "patch_rate", 30)
    # Malformed offers count too.
    assert [endpoints.post("", alice, "v=0").status_code for _ in range(3)] == [400] * 3
    refused(endpoints.post("", alice, text), 429, "RATE_EXCEEDED", "offer_rate", 15)
    assert endpoints.send("DELETE", first.headers["Location"], alice).status_code == 200

    publishers = [endpoints.token() for _ in range(3)]
    for token, _ in publishers[:2]:
        assert endpoints.post("", token, text).status_code == 201
    receives = offer("recvonly")
    (bob, _), (carol, _) = endpoints.token(), endpoints.token()
    ids = [participant for _, participant in publishers]
    statuses = [endpoints.post(f"/subscribe/{participant}", bob, receives).status_code for participant in ids[:2]]
    assert statuses == [201, 201]
    refused(endpoints.post(f"/subscribe/{ids[0]}", carol, receives), 503, "CAPACITY_EXCEEDED", "stage_media", 5)
    other = endpoints_of(server)
    (dave, _), (erin, _) = other.token(), other.token()
    assert other.post("", dave, text).status_code == 201
    refused(other.post("", erin, text), 503, "CAPACITY_EXCEEDED", "node_media", 5)


def test_connections_per_participant_are_limited(start_node):
    server = start_node("--max-media-per-participant", "2", RUST_LOG="info")
    endpoints = endpoints_of(server)
    publishers = [endpoints.token() for _ in range(3)]
    for token, _ in publishers:
        assert endpoints.post("", token, offer()).status_code == 201
    viewer, _ = endpoints.token()

    def subscribe(participant):
        return endpoints.post(f"/subscribe/{participant}", viewer, offer("recvonly"))

    first, second, third = (subscribe(participant) for _, participant in publishers)
    assert (first.status_code, second.status_code, third.status_code) == (201, 201, 429)
    assert third.json()["code"] == "TOO_MANY_CONNECTIONS"
    assert endpoints.send("DELETE", first.headers["Location"], viewer).status_code == 200
    assert subscribe(publishers[2][1]).status_code == 201
