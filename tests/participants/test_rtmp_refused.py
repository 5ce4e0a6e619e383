"""Encoders that are refused: what they print, and the events of their participants."""

import asyncio

import pytest

from encoder import Media, encode  # noqa: F401 (fixture)
from endpoints import SDP, StageEndpoints
from ingest import PUBLISHED, StreamKey, ingest_url
from offers import offer

PUBLISHERS = 12


async def refusal(encoder):
    """What a refused encoder prints of the server's message."""
    assert await asyncio.to_thread(encoder.wait) != 0, encoder.messages()
    found = [line for line in encoder.messages().splitlines() if "Server error: " in line]
    assert found, encoder.messages()
    return found[-1].partition("Server error: ")[2]


async def test_a_key_that_is_not_valid_is_refused(endpoints, encode):
    """Unknown, of the wrong random part, detached, and not a key."""
    key, detached = StreamKey(endpoints), StreamKey(endpoints, stageArn="")
    address = ingest_url(endpoints)
    changed = key.key[:-1] + ("x" if key.key[-1] != "x" else "y")
    unknown = key.key.replace(key.arn.rpartition("/")[2], "abcdefghijkl")
    urls = [address + text for text in (changed, unknown, "nonsense", detached.key)]
    *strangers, known = [encode(url) for url in urls]
    messages = [await refusal(encoder) for encoder in strangers]
    assert len(set(messages)) == 1, f"the message does not tell which part is wrong: {messages}"
    assert "stream key" in messages[0].lower()
    message = await refusal(known)
    assert "stage" in message.lower() and message not in messages, "the detached key is known"
    assert endpoints.sessions() == []


async def test_only_the_path_app_is_served(endpoints, encode):
    key = StreamKey(endpoints)
    running = encode(key.url().replace("/app/", "/live/"))
    assert "/app/" in await refusal(running)
    assert endpoints.sessions() == []


async def test_rtmp_is_refused_where_rtmps_is_demanded(endpoints, encode):
    key = StreamKey(endpoints, protocol="RTMPS")
    assert "RTMPS" in await refusal(encode(key.url("rtmp")))
    running = encode(key.url("rtmps"), options=("-tls_verify", "0"))
    await key.publishes()
    # The participant is in the session now, and its record shows the error.
    assert "RTMPS" in await refusal(encode(key.url("rtmp")))
    assert "PUBLISH_ERROR INVALID_PROTOCOL" in await key.events()
    await asyncio.to_thread(running.stop)
    await key.is_in_state("INACTIVE")


async def test_a_key_in_use_is_refused(endpoints, encode):
    key = StreamKey(endpoints)
    running = encode(key.url())
    await key.publishes()
    assert "another encoder" in await refusal(encode(key.url()))
    assert key.configuration()["state"] == "ACTIVE"
    await asyncio.to_thread(running.stop)
    await key.has_left("JOINED", "PUBLISH_STARTED", "PUBLISH_ERROR REUSE_OF_STREAM_KEY", "PUBLISH_STOPPED", "LEFT")
    again = encode(key.url())
    await key.publishes()
    await asyncio.to_thread(again.stop)


async def test_a_full_stage_refuses_encoders(endpoints, encode):
    """AWS admits twelve publishers."""
    key = StreamKey(endpoints)
    # The session goes on while a participant is in it.
    async with endpoints.join(endpoints.token()[0]):
        first = encode(key.url())
        await key.publishes()
        await asyncio.to_thread(first.stop)
        await key.has_left()
        for _ in range(PUBLISHERS):
            token, _ = endpoints.token()
            answer = await endpoints.send_async("POST", "", token, offer(), SDP)
            assert answer.status_code == 201, answer.text
        assert "publishers" in await refusal(encode(key.url()))
        assert key.configuration()["state"] == "INACTIVE"
        assert await key.events() == [*PUBLISHED, "PUBLISH_ERROR QUOTA_EXCEEDED"]


# What the server does not forward, with the event and words of the message.
UNSUPPORTED = {
    "B frames": (Media(b_frames=2), "B_FRAME_PRESENT", ("bframes=0", "-bf 0")),
    "HEVC": (Media(video_codec="libx265", width=320, height=180), "INVALID_VIDEO_CODEC", ("H.264",)),
    "MP3": (Media(audio_codec="libmp3lame", sample_rate=44100), "INVALID_AUDIO_CODEC", ("AAC",)),
}


async def test_unsupported_media_is_refused(endpoints, encode):
    keys = {name: StreamKey(endpoints) for name in UNSUPPORTED}
    running = {name: encode(keys[name].url(), media) for name, (media, _, _) in UNSUPPORTED.items()}
    for name, (_, code, words) in UNSUPPORTED.items():
        message = await refusal(running[name])
        assert all(word in message for word in words), f"{name}: {message}"
        await keys[name].is_in_state("INACTIVE")
        events = await keys[name].events()
        assert f"PUBLISH_ERROR {code}" in events and events[-1] == "LEFT", f"{name}: {events}"


@pytest.fixture(scope="module")
def strict_node(start_node):
    """A server with the limits of AWS."""
    return start_node("--strict-ivs", "on", "--session-end-seconds", "1")


async def test_the_limits_of_aws_are_enforced_in_strict_mode_only(strict_node, node, encode):
    """1080p, and more than 8.5 Mbit/s."""
    large = Media(width=1920, height=1080, rate=15, gop=15)
    tenant = strict_node.tenant()
    key = StreamKey(StageEndpoints(tenant, tenant.stage()))
    running = encode(key.url(), large)
    assert "720" in await refusal(running)
    await key.is_in_state("INACTIVE")
    assert "PUBLISH_ERROR RESOLUTION_EXCEEDED" in await key.events()

    tenant = node.tenant()
    lenient = StreamKey(StageEndpoints(tenant, tenant.stage()))
    running = encode(lenient.url(), large)
    await lenient.publishes()
    await asyncio.to_thread(running.stop)
    await lenient.has_left(*PUBLISHED)
