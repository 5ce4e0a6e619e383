"""Redundant ingest: two encoders are one participant for others."""

import asyncio
import signal
import time

import pytest

from encoder import Media, encode  # noqa: F401 (fixture)
from endpoints import wait_until
from ingest import PUBLISHED, StreamKey
from peers import OfferRejected
from watching import watch

MEDIA = Media(rate=30, gop=30)
# A second until a stall is noticed, one until the next key frame, ten pictures, and a busy machine.
FAILOVER_SECONDS = 5


@pytest.fixture
def key(endpoints):
    return StreamKey(endpoints, redundantIngest=True, userId="camera")


async def participants(key):
    """The participants of the session, by id."""
    where = {"stageArn": key.endpoints.stage, "sessionId": key.endpoints.sessions()[0]["sessionId"]}
    listed = await asyncio.to_thread(lambda: key.ivs.list_participants(**where)["participants"])
    return {one["participantId"]: one for one in listed}


async def test_subscribers_see_one_participant_whichever_encoder_sends(endpoints, key, encode):
    (primary_id, primary_url), (secondary_id, secondary_url) = (
        (one["participantId"], key.url(key=one["streamKey"])) for one in key.credentials
    )
    guest, guest_id = endpoints.token()
    async with endpoints.join(guest) as client:
        primary, secondary = encode(primary_url, MEDIA), encode(secondary_url, MEDIA.but(source=1))
        state = await client.wait_for_state(key.participant + "*", guest_id)
        assert state[0]["userId"] == "camera"
        await key.publishes()
        for participant in (primary_id, secondary_id):
            await wait_until(lambda: endpoints.events_of(participant) == PUBLISHED[:2])
            with pytest.raises(OfferRejected) as refused:
                await watch(endpoints, participant)
            assert refused.value.code == "PUBLISHER_NOT_FOUND"
        watcher = await watch(endpoints, key.participant)
        await watcher.sees(source=0)
        streams = await received(watcher)
        switched = []

        primary.signal(signal.SIGSTOP)
        switched.append(await duration(watcher.sees(source=1)))
        await watcher.compares(MEDIA.but(source=1))
        primary.signal(signal.SIGCONT)
        await watcher.sees(source=0)

        primary.signal(signal.SIGKILL)
        switched.append(await duration(watcher.sees(source=1)))
        print("ten pictures of the other encoder after a stall, after an end: {:.1f} s, {:.1f} s".format(*switched))
        assert max(switched) < FAILOVER_SECONDS
        await endpoints.wait_for_events(primary_id, *PUBLISHED)
        assert key.configuration()["state"] == "ACTIVE" and client.listed() == [key.participant + "*", guest_id]
        primary = encode(primary_url, MEDIA)
        await watcher.sees(source=0)
        await watcher.compares(MEDIA)
        assert await received(watcher) == streams, "the same RTP streams, without renegotiation"
        assert watcher.connection.connectionState == "connected"

        assert await watcher.stop() == 200
        await asyncio.to_thread(secondary.stop)
        await endpoints.wait_for_events(secondary_id, *PUBLISHED)
        assert key.configuration()["state"] == "ACTIVE"
        await asyncio.to_thread(primary.stop)
        await client.wait_for_state(guest_id)
    await key.is_in_state("INACTIVE")
    await endpoints.wait_for_events(primary_id, *PUBLISHED * 2)
    found = await participants(key)
    assert {primary_id, secondary_id} <= found.keys()
    for participant in (primary_id, secondary_id):
        assert found[participant]["ingestConfigurationArn"] == key.arn and found[participant]["redundantIngest"] is True


async def duration(waiting):
    began = time.monotonic()
    await waiting
    return time.monotonic() - began


async def received(watcher):
    """The SSRCs of the received streams."""
    found = (await watcher.connection.getStats()).values()
    return {one.ssrc for one in found if one.type == "inbound-rtp"}


async def test_the_keys_of_redundant_ingest_are_those_of_its_encoders(key, encode):
    """The top-level key is that of the virtual participant."""
    refused = encode(key.url())
    assert await asyncio.to_thread(refused.wait) != 0
    assert "redundantIngestCredentials" in refused.messages()
    assert key.endpoints.sessions() == []
