"""Encoders publish by RTMP and RTMPS with a stream key, and are participants like others."""

import asyncio
import socket
import ssl
import time
from urllib.parse import quote

import pytest

from certificates import self_signed
from encoder import Media, encode  # noqa: F401 (fixture)
from endpoints import StageEndpoints, wait_until
from ingest import StreamKey, ingest_address
from server import MASTER_KEY, run
from watching import watch

TONES = {
    "ffmpeg": Media(sample_rate=48000, channels=2),
    "librtmp": Media(sample_rate=44100, channels=2, width=1280, height=720),
    "debian-ffmpeg": Media(sample_rate=44100, channels=1),
    "gstreamer": Media(sample_rate=48000, channels=1),
}


LIP_SYNC_SECONDS = 0.04
# FFmpeg 8 and newer verify certificates by default.
UNVERIFIED = ("-tls_verify", "0")


@pytest.mark.parametrize("encoder", TONES)
async def test_an_encoder_publishes_picture_and_sound(endpoints, encode, encoder):
    media = TONES[encoder]
    key = StreamKey(endpoints, userId="camera-1", attributes={"name": "Hall"})
    assert key.configuration()["state"] == "INACTIVE"
    guest, guest_id = endpoints.token()
    async with endpoints.join(guest) as client:
        running = encode(key.url(), media, encoder)
        _, state = await client.wait_for_state(key.participant + "*", guest_id), client.last[0]
        assert (state["userId"], state["attributes"]) == ("camera-1", {"name": "Hall"})
        await key.publishes()
        watcher = await watch(endpoints, key.participant)
        await watcher.compares(media)
        assert await watcher.stop() == 200
        await asyncio.to_thread(running.stop)
        await client.wait_for_state(guest_id)
    await key.has_left()
    found = endpoints.participant(key.participant)
    assert (found["protocol"], found["published"], found["state"]) == ("RTMP", True, "DISCONNECTED")
    assert (found["ingestConfigurationArn"], found["userId"]) == (key.arn, "camera-1")
    assert found["attributes"] == {"name": "Hall"}


async def test_mono_of_44_1_khz_over_rtmps(endpoints, encode):
    """RTMPS on a configuration that allows RTMP."""
    media = Media(sample_rate=44100, channels=1)
    key = StreamKey(endpoints)
    running = encode(key.url("rtmps"), media, options=UNVERIFIED)
    await key.publishes()
    watcher = await watch(endpoints, key.participant)
    await watcher.compares(media)
    assert await watcher.stop() == 200
    await asyncio.to_thread(running.stop)
    await key.has_left()
    assert endpoints.participant(key.participant)["protocol"] == "RTMPS"


async def test_an_encoder_is_recorded(node, encode):
    tenant = node.tenant()
    storage = tenant.storage()
    stage = tenant.stage(autoParticipantRecordingConfiguration={"storageConfigurationArn": storage})
    key = StreamKey(StageEndpoints(tenant, stage))
    running = encode(key.url(), Media(seconds=6))
    await key.publishes()
    await asyncio.to_thread(running.wait)
    await key.has_left()
    found = lambda: key.endpoints.participant(key.participant)  # noqa: E731
    await wait_until(lambda: found()["recordingState"] == "STOPPED", found)
    listed = node.wire(tenant.account).send("GET", f"/_greenroom/recordings?stageArn={quote(stage, safe='')}")
    assert listed.status == 200, listed
    [recording] = listed.json["recordings"]
    assert 5000 <= recording["durationMs"] <= 8000, recording
    flags = ("--database-url", node.database, *storage_of(node))
    verified = run("recordings", "verify", recording["id"], *flags, GREENROOM_MASTER_KEY=MASTER_KEY)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def storage_of(node):
    """The flags of a server that say where its recordings are."""
    flags = node.test_server.process.args
    return flags[flags.index("--storage") :][:2] if "--storage" in flags else ()


async def test_a_late_subscriber_gets_a_picture_at_once_and_in_sync(endpoints, encode):
    """With 20 s between key frames; the picture is then that of the other subscribers."""
    media = Media(gop=600, beeps=True)
    key = StreamKey(endpoints)
    running = encode(key.url(), media)
    await key.publishes()
    early = await watch(endpoints, key.participant)
    await wait_until(lambda: early.labels and early.labels[-1][1] >= 130)
    late = await watch(endpoints, key.participant)
    await late.wait_connected()
    connected_at = time.monotonic()
    await wait_until(lambda: late.first_picture_at)
    first = late.first_picture_at - connected_at
    late_by = lambda: early.labels[-1][1] - late.labels[-1][1]  # noqa: E731
    await wait_until(lambda: abs(late_by()) <= 15, late_by, seconds=5)
    current = time.monotonic() - late.first_picture_at
    times = f"first picture {1000 * first:.0f} ms after connecting, the current one {1000 * current:.0f} ms later"
    print(times, f"{late.first_picture_at - late.began_at:.2f} s after joining")
    assert first < 1, times
    late.beeps.clear()
    await wait_until(lambda: len(late.beeps) >= 2 and len(early.beeps) >= 4 and late.reports.keys() == {"audio", "video"})
    for watcher in (early, late):
        measured = watcher.lip_sync(media)
        print("sound after picture, ms:", [round(1000 * offset) for offset in measured])
        assert all(abs(offset) <= LIP_SYNC_SECONDS for offset in measured), measured
    assert early.labels[-1][1] < media.gop, "no key frame since the beginning"
    for watcher in (early, late):
        assert await watcher.stop() == 200
    await asyncio.to_thread(running.stop)
    await key.has_left()


async def test_the_self_signed_certificate_is_of_this_host(endpoints):
    """Encoders that verify certificates do so with the certificate of `--rtmps-tls-cert`; this one is for development."""
    context = ssl.create_default_context()
    with socket.create_connection(ingest_address(endpoints, "rtmps")) as connection:
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
            context.wrap_socket(connection, server_hostname="127.0.0.1")


async def test_encoders_verify_the_given_certificate(start_node, encode, tmp_path):
    certificate, private_key = self_signed(tmp_path)
    node = start_node("--rtmps-tls-cert", str(certificate), "--rtmps-tls-key", str(private_key))
    tenant = node.tenant()
    key = StreamKey(StageEndpoints(tenant, tenant.stage()), protocol="RTMPS")
    context = ssl.create_default_context(cafile=certificate)
    with socket.create_connection(ingest_address(key.endpoints, "rtmps")) as connection:
        context.wrap_socket(connection, server_hostname="127.0.0.1").close()
    verifying = ("-tls_verify", "1", "-ca_file", str(certificate))
    running = encode(key.url("rtmps"), options=verifying)
    await key.publishes()
    await asyncio.to_thread(running.stop)
    await key.has_left()
