"""Media connections that fail: the participant's WebSocket, the record, the metrics and the log say so, and why."""

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

from doors import PATIENCE_SECONDS, SDP, Doors
from offers import offer
from peers import Peer, Picture, Tone, publish, view

# The server waits for media for 15 s where it is not told otherwise; a failed handshake must not take that long.
AT_ONCE_SECONDS = 8


def rsa_certificate():
    """A certificate as GStreamer makes them."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rsa")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=9))
    return RTCCertificate(key=key, cert=builder.sign(key, hashes.SHA256()))


def connections(node, **labels):
    """How many media connections were counted with these labels."""
    page = requests.get(f"{node.endpoint}/metrics", timeout=30).text
    for found, value in re.findall(r"^greenroom_media_connections_total\{(.*)\} (\d+)", page, re.MULTILINE):
        if dict(re.findall(r'(\w+)="([^"]*)"', found)) == labels:
            return int(value)
    return 0


def logged(node, participant):
    """The lines of the log about failed media connections of a participant."""
    lines = node.test_server.logged().splitlines()
    return [line for line in lines if "media connection failed" in line and participant in line]


async def told(guest):
    """The next error on a WebSocket, which is kept alive meanwhile."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            await guest.say("PING")
            try:
                message = await guest.hear(1)
            except TimeoutError:
                continue
            if message["type"] == "ERROR":
                return message["payload"]


@pytest.fixture
def hasty_doors(hasty):
    """The doors of a stage on a server that waits for media for three seconds."""
    tenant = hasty.tenant()
    return Doors(tenant, tenant.stage())


@pytest.mark.parametrize("setup, reason", [("actpass", "dtls_failed"), ("passive", "dtls_alert")])
async def test_an_rsa_certificate_fails_at_once_and_everybody_learns_why(node, doors, setup, reason):
    token, participant = doors.token()
    labels = {"role": "publish", "outcome": "failed", "reason": reason}
    before = connections(node, **labels)
    async with doors.join(token) as guest:
        peer = Peer()
        peer.connection._RTCPeerConnection__certificates = [rsa_certificate()]
        for track in (Tone(), Picture()):
            peer.connection.addTransceiver(track, direction="sendonly")
        began = time.monotonic()
        await peer.exchange(doors.whip, token, lambda sdp: sdp.replace("a=setup:actpass", f"a=setup:{setup}"))
        error = await told(guest)
        assert time.monotonic() - began < AT_ONCE_SECONDS
        assert (error["code"], error["role"]) == ("DTLS_FAILED", "publish")
        assert "ECDSA" in error["message"] and "RSA" in error["message"]
        await doors.recorded(participant, "JOINED", "PUBLISH_ERROR INVALID_INPUT")
        assert connections(node, **labels) == before + 1
        [line] = logged(node, participant)
        for part in ("WARN", reason, doors.topic, "publish", "127.0.0.1:", "GStreamer"):
            assert part in line, line
        assert await guest.answered("PING") == {"type": "PONG"}, "the WebSocket stays"
        await peer.connection.close()


async def test_a_client_that_never_sends_a_packet_is_told_what_to_check(hasty, hasty_doors):
    doors = hasty_doors
    token, participant = doors.token()
    labels = {"role": "publish", "outcome": "failed", "reason": "no_stun_request"}
    before = connections(hasty, **labels)
    async with doors.join(token) as guest:
        answer = await doors.ask("POST", "", token, offer(), SDP)
        candidates = re.findall(r"a=candidate:\S+ 1 udp \d+ (\d+\.\S+) (\d+) ", answer.text)
        candidates = {f"{address}:{port}" for address, port in candidates}
        assert candidates
        error = await told(guest)
        assert (error["code"], error["role"]) == ("ICE_FAILED", "publish")
        assert "--media-public-ip" in error["message"]
        assert all(candidate in error["message"] for candidate in candidates), error
        await doors.recorded(participant, "JOINED", "PUBLISH_ERROR INTERNAL_SERVER_EXCEPTION")
        assert connections(hasty, **labels) == before + 1
        [line] = logged(hasty, participant)
        assert "WARN" in line and "no_stun_request" in line, line
        assert all(candidate in line for candidate in candidates), line


async def test_a_publisher_without_media_is_told_and_stays(hasty, hasty_doors):
    doors = hasty_doors
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    peer = Peer()
    peer.connection.addTransceiver("audio", direction="sendonly")
    await peer.exchange(doors.whip, alice)
    await peer.connected()
    before = connections(hasty, role="publish", outcome="failed", reason="no_media")
    await doors.recorded(alice_id, "JOINED", "PUBLISH_ERROR INVALID_INPUT")
    [line] = logged(hasty, alice_id)
    assert "no_media" in line, line
    assert connections(hasty, role="publish", outcome="failed", reason="no_media") >= max(before, 1)
    assert await peer.stop() == 200, "the connection was there"
    await doors.recorded(alice_id, "JOINED", "PUBLISH_ERROR INVALID_INPUT", "LEFT")


async def test_a_subscription_without_a_common_codec_is_told_and_recorded(node, doors):
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    counted = {"outcome": "connected", "reason": ""}
    before = [connections(node, role=role, **counted) for role in ("publish", "subscribe")]
    publisher = await publish(doors.whip, alice, codec="VP8")
    viewer = await view(doors.whip, bob, alice_id)
    await viewer.sees(1)
    after = [connections(node, role=role, **counted) for role in ("publish", "subscribe")]
    assert after == [count + 1 for count in before], "connections that are made are counted too"
    labels = {"role": "subscribe", "outcome": "failed", "reason": "codec_not_agreed"}
    before = connections(node, **labels)
    async with doors.join(bob) as guest:
        offered = offer("recvonly", ("video",)).replace("VP8/90000", "VP9/90000").replace("H264/90000", "VP9/90000")
        answer = await doors.ask("POST", f"/subscribe/{alice_id}", bob, offered, SDP)
        assert answer.status_code == 406, answer.text
        error = await told(guest)
        assert error["code"] == answer.json()["code"] and error["remoteParticipantId"] == alice_id
        expected = ["JOINED", f"SUBSCRIBE_STARTED {alice_id}", f"SUBSCRIBE_ERROR {alice_id} INVALID_VIDEO_CODEC"]
        await doors.recorded(bob_id, *expected)
        assert connections(node, **labels) == before + 1
        assert "WARN" in logged(node, bob_id)[0]
    assert await viewer.stop() == 200
    assert await publisher.stop() == 200
