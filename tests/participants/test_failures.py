"""Media failures are reported with a reason on the WebSocket, in the record, in metrics and in the log."""

import asyncio
import datetime
import re
import time

import pytest
import requests
from aiortc import RTCCertificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from endpoints import TIMEOUT_SECONDS, SDP, StageEndpoints
from offers import offer
from peers import Peer, SyntheticVideo, SyntheticAudio, publish, view

# A failed handshake is reported sooner than the default media timeout of 15 s.
HANDSHAKE_FAILURE_SECONDS = 8


def rsa_certificate():
    """A certificate like GStreamer's."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rsa")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=9))
    return RTCCertificate(key=key, cert=builder.sign(key, hashes.SHA256()))


def connections(node, **labels):
    """The count of media connections with these labels."""
    page = requests.get(f"{node.endpoint}/metrics", timeout=30).text
    for found, value in re.findall(r"^greenroom_media_connections_total\{(.*)\} (\d+)", page, re.MULTILINE):
        if dict(re.findall(r'(\w+)="([^"]*)"', found)) == labels:
            return int(value)
    return 0


def logged(node, participant):
    """The log lines about failed media connections of a participant."""
    lines = node.test_server.log_lines()
    return [line for line in lines if "media connection failed" in line and participant in line]


async def next_error(client):
    """Waits for the next error on a WebSocket and keeps it open."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            await client.send("PING")
            try:
                message = await client.receive(1)
            except TimeoutError:
                continue
            if message["type"] == "ERROR":
                return message["payload"]


@pytest.fixture
def impatient_endpoints(impatient_node):
    """The endpoints of a stage on a server with a media timeout of three seconds."""
    tenant = impatient_node.tenant()
    return StageEndpoints(tenant, tenant.stage())


@pytest.mark.parametrize("setup, reason", [("actpass", "dtls_failed"), ("passive", "dtls_alert")])
async def test_an_rsa_certificate_fails_immediately_and_is_reported(node, endpoints, setup, reason):
    token, participant = endpoints.token()
    labels = {"role": "publish", "outcome": "failed", "reason": reason}
    before = connections(node, **labels)
    async with endpoints.join(token) as client:
        peer = Peer()
        peer.connection._RTCPeerConnection__certificates = [rsa_certificate()]
        for track in (SyntheticAudio(), SyntheticVideo()):
            peer.connection.addTransceiver(track, direction="sendonly")
        began = time.monotonic()
        await peer.exchange(endpoints.whip, token, lambda sdp: sdp.replace("a=setup:actpass", f"a=setup:{setup}"))
        error = await next_error(client)
        assert time.monotonic() - began < HANDSHAKE_FAILURE_SECONDS
        assert (error["code"], error["role"]) == ("DTLS_FAILED", "publish")
        assert "ECDSA" in error["message"] and "RSA" in error["message"]
        await endpoints.wait_for_events(participant, "JOINED", "PUBLISH_ERROR INVALID_INPUT")
        assert connections(node, **labels) == before + 1
        [line] = logged(node, participant)
        for part in ("WARN", reason, endpoints.topic, "publish", "127.0.0.1:", "GStreamer"):
            assert part in line, line
        assert await client.request("PING") == {"type": "PONG"}, "the WebSocket stays open"
        await peer.connection.close()


async def test_a_client_without_packets_is_reported_with_what_to_check(impatient_node, impatient_endpoints):
    endpoints = impatient_endpoints
    token, participant = endpoints.token()
    labels = {"role": "publish", "outcome": "failed", "reason": "no_stun_request"}
    before = connections(impatient_node, **labels)
    async with endpoints.join(token) as client:
        answer = await endpoints.send_async("POST", "", token, offer(), SDP)
        candidates = re.findall(r"a=candidate:\S+ 1 udp \d+ (\d+\.\S+) (\d+) ", answer.text)
        candidates = {f"{address}:{port}" for address, port in candidates}
        assert candidates
        error = await next_error(client)
        assert (error["code"], error["role"]) == ("ICE_FAILED", "publish")
        assert "--media-public-ip" in error["message"]
        assert all(candidate in error["message"] for candidate in candidates), error
        await endpoints.wait_for_events(participant, "JOINED", "PUBLISH_ERROR INTERNAL_SERVER_EXCEPTION")
        assert connections(impatient_node, **labels) == before + 1
        [line] = logged(impatient_node, participant)
        assert "WARN" in line and "no_stun_request" in line, line
        assert all(candidate in line for candidate in candidates), line


async def test_a_publisher_without_media_is_reported_and_stays(impatient_node, impatient_endpoints):
    endpoints = impatient_endpoints
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    peer = Peer()
    peer.connection.addTransceiver("audio", direction="sendonly")
    await peer.exchange(endpoints.whip, alice)
    await peer.wait_connected()
    before = connections(impatient_node, role="publish", outcome="failed", reason="no_media")
    await endpoints.wait_for_events(alice_id, "JOINED", "PUBLISH_ERROR INVALID_INPUT")
    [line] = logged(impatient_node, alice_id)
    assert "no_media" in line, line
    assert connections(impatient_node, role="publish", outcome="failed", reason="no_media") >= max(before, 1)
    assert await peer.stop() == 200, "the connection was still open"
    await endpoints.wait_for_events(alice_id, "JOINED", "PUBLISH_ERROR INVALID_INPUT", "LEFT")


async def test_a_codec_mismatch_is_reported_and_recorded(node, endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    counted = {"outcome": "connected", "reason": ""}
    before = [connections(node, role=role, **counted) for role in ("publish", "subscribe")]
    publisher = await publish(endpoints.whip, alice, codec="VP8")
    viewer = await view(endpoints.whip, bob, alice_id)
    await viewer.receives_video(1)
    after = [connections(node, role=role, **counted) for role in ("publish", "subscribe")]
    assert after == [count + 1 for count in before], "successful connections are counted"
    labels = {"role": "subscribe", "outcome": "failed", "reason": "codec_not_agreed"}
    before = connections(node, **labels)
    async with endpoints.join(bob) as client:
        offered = offer("recvonly", ("video",)).replace("VP8/90000", "VP9/90000").replace("H264/90000", "VP9/90000")
        answer = await endpoints.send_async("POST", f"/subscribe/{alice_id}", bob, offered, SDP)
        assert answer.status_code == 406, answer.text
        error = await next_error(client)
        assert error["code"] == answer.json()["code"] and error["remoteParticipantId"] == alice_id
        expected = ["JOINED", f"SUBSCRIBE_STARTED {alice_id}", f"SUBSCRIBE_ERROR {alice_id} INVALID_VIDEO_CODEC"]
        await endpoints.wait_for_events(bob_id, *expected)
        assert connections(node, **labels) == before + 1
        assert "WARN" in logged(node, bob_id)[0]
    assert await viewer.stop() == 200
    assert await publisher.stop() == 200
