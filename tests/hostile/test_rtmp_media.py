"""Encoders whose media are unusual or damaged."""

import random
import struct
import time

import pytest

from encoders import MAX_GROWTH_MB, TIMEOUT_SECONDS, ingest, published, reaches  # noqa: F401 (fixture)
from flv import AUDIO, DATA, VIDEO, Tag
from metrics import peak_rss
from rtmp import AGGREGATE, recorded


def unusual(name):
    """Streams of well-meaning encoders, as tags with their offsets."""
    tags = recorded()
    is_audio, is_video = (lambda tag: tag.kind == AUDIO), (lambda tag: tag.kind == VIDEO)
    if name == "no metadata":
        return [tag for tag in tags if tag.kind != DATA], 0
    if name == "audio first":
        return [*filter(is_audio, tags), *filter(is_video, tags)], 0
    if name == "AAC before its configuration":
        frames = [tag for tag in tags if is_audio(tag) and not tag.is_configuration]
        return [*frames[:10], *tags], 0
    if name == "H.264 before its configuration":
        frames = [tag for tag in tags if is_video(tag) and not tag.is_configuration]
        return [*frames[:10], *tags], 0
    if name == "empty messages":
        return [Tag(kind, tag.timestamp, b"") for tag in tags[:20] for kind in (AUDIO, VIDEO, DATA)] + list(tags), 0
    if name == "timestamps wrap":
        return tags, 2**32 - 1000
    assert name == "timestamps start late"
    return tags, 2**31


UNUSUAL = ["no metadata", "audio first", "AAC before its configuration", "H.264 before its configuration"]
UNUSUAL += ["empty messages", "timestamps wrap", "timestamps start late"]


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_streams_are_published(ingest, name):
    key, (tags, offset) = ingest.key(), unusual(name)
    with published(ingest.client(), key) as client:
        for tag in tags:
            client.send_tag(tag, offset)
        reaches(key, "ACTIVE")
        # It is alive.
        client.send_tag(tags[-1], offset)
        assert not client.is_closed(0.5)
    reaches(key, "INACTIVE")
    story = key.endpoints.events_of(key.participant)
    assert story == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"], story


def damaged(name):
    """Bodies that are no media."""
    randomness = random.Random(name)
    tags = recorded()
    frame = next(tag for tag in tags if tag.kind == VIDEO and not tag.is_configuration)
    if name == "NAL unit of 4 GiB":
        return [Tag(VIDEO, 0, frame.body[:5] + b"\xff\xff\xff\xff" + frame.body[9:])]
    if name == "random bodies":
        return [Tag(randomness.choice((AUDIO, VIDEO, DATA, AGGREGATE)), n, randomness.randbytes(n)) for n in range(500)]
    if name == "random changes":
        return [changed(tag, randomness) for tag in tags * 2]
    assert name == "random Enhanced RTMP"
    return [Tag(VIDEO, n, bytes([0x80 | n % 128]) + randomness.randbytes(64)) for n in range(500)]


def changed(tag, randomness):
    body = bytearray(tag.body)
    for _ in range(3):
        body[randomness.randrange(len(body))] = randomness.randrange(256)
    return Tag(tag.kind, tag.timestamp, bytes(body))


@pytest.mark.parametrize("name", ["NAL unit of 4 GiB", "random bodies", "random changes", "random Enhanced RTMP"])
def test_damaged_media_disturb_no_others(ingest, name):
    """They are dropped, or end the connection."""
    key = ingest.key()
    with published(ingest.client(), key, recorded()) as client, peak_rss(ingest.server) as memory:
        try:
            for tag in damaged(name):
                client.send_tag(tag)
        except OSError:
            pass
    assert memory.growth < MAX_GROWTH_MB
    reaches(key, "INACTIVE")
    ingest.serves()


def test_a_connection_that_breaks_within_a_frame_is_an_end(ingest):
    key = ingest.key()
    with published(ingest.client(), key, recorded()) as client:
        reaches(key, "ACTIVE")
        frame = next(tag for tag in recorded() if len(tag.body) > 1000)
        client.send(client.message(VIDEO, frame.body, stream=client.stream)[:500])
    reaches(key, "INACTIVE")
    story = key.endpoints.events_of(key.participant)
    assert story == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"], story


def test_an_encoder_that_reads_nothing_is_served_or_ended(ingest):
    """Pings whose answers are not read."""
    key = ingest.key()
    ping = struct.pack("!HI", 6, 1)
    with published(ingest.client(), key, recorded()) as client, peak_rss(ingest.server) as memory:
        client.socket.settimeout(1)
        end = time.monotonic() + TIMEOUT_SECONDS
        try:
            while time.monotonic() < end:
                client.send(client.message(4, ping, chunk_stream=2) * 2000)
        except OSError:
            pass
    assert memory.growth < MAX_GROWTH_MB
    reaches(key, "INACTIVE")
    ingest.serves()
