"""aiortc, a WebRTC stack that shares no code with the service or with a browser, publishes and subscribes."""

import re

import pytest
from aiortc import RTCBundlePolicy

from peers import Refused, publish, view, without_candidates


@pytest.fixture
def whip(tenant, stage):
    """Where to publish to the stage."""
    return tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]["whip"]


@pytest.fixture
def tokens(tenant, stage):
    """Makes tokens for the stage."""
    return lambda **members: tenant.token(stage, **members)


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_picture_and_sound_go_from_one_to_two(whip, tokens, codec):
    alice, bob, carol = (tokens() for _ in range(3))
    publisher = await publish(whip, alice["token"], codec)
    await publisher.connected()
    viewers = [await view(whip, one["token"], alice["participantId"], codec=codec) for one in (bob, carol)]
    for viewer in viewers:
        await viewer.sees()
        await viewer.hears()
    assert [await viewer.stop() for viewer in viewers] == [200, 200]
    assert await publisher.stop() == 200


async def test_who_names_no_candidates_of_its_own_is_served_too(whip, tokens):
    alice, bob = tokens(), tokens()
    publisher = await publish(whip, alice["token"])
    await publisher.connected()
    viewer = await view(whip, bob["token"], alice["participantId"], change=without_candidates)
    await viewer.sees()
    await viewer.hears()
    await viewer.stop()
    await publisher.stop()


@pytest.mark.parametrize("bundle", RTCBundlePolicy)
async def test_media_flow_with_every_bundle_policy(whip, tokens, bundle):
    alice, bob = tokens(), tokens()
    publisher = await publish(whip, alice["token"], bundle=bundle)
    await publisher.connected()
    viewer = await view(whip, bob["token"], alice["participantId"], bundle=bundle)
    await viewer.sees()
    await viewer.hears()
    await viewer.stop()
    await publisher.stop()


async def test_audio_and_video_are_tracks_of_one_stream(whip, tokens):
    alice, bob = tokens(), tokens()
    publisher = await publish(whip, alice["token"])
    await publisher.connected()
    viewer = await view(whip, bob["token"], alice["participantId"])
    await viewer.sees(3)
    answer = viewer.connection.remoteDescription.sdp
    streams, tracks = zip(*re.findall(r"a=msid:(\S+) (\S+)", answer))
    assert len(set(streams)) == 1 and len(set(tracks)) == 2, answer
    assert len(set(re.findall(r"a=ssrc:\d+ cname:(\S+)", answer))) == 1, answer
    await viewer.stop()
    await publisher.stop()


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_sound_alone_and_picture_alone_go_through(whip, tokens, kind):
    alice, bob, carol = (tokens() for _ in range(3))
    publisher = await publish(whip, alice["token"], kinds=[kind])
    await publisher.connected()
    both = await view(whip, bob["token"], alice["participantId"])
    alone = await view(whip, carol["token"], alice["participantId"], kinds=[kind])
    for viewer in (both, alone):
        await (viewer.sees() if kind == "video" else viewer.hears())
        assert (viewer.sounds if kind == "video" else viewer.pictures) == 0
        await viewer.stop()
    await publisher.stop()


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_of_picture_and_sound_one_alone_can_be_received(whip, tokens, kind):
    alice, bob = tokens(), tokens()
    publisher = await publish(whip, alice["token"])
    await publisher.connected()
    viewer = await view(whip, bob["token"], alice["participantId"], kinds=[kind])
    await (viewer.sees() if kind == "video" else viewer.hears())
    await viewer.stop()
    await publisher.stop()


async def test_subscriptions_end_with_their_publisher(whip, tokens):
    alice, bob = tokens(), tokens()
    publisher = await publish(whip, alice["token"])
    await publisher.connected()
    viewer = await view(whip, bob["token"], alice["participantId"])
    await viewer.sees()
    await publisher.stop()
    await viewer.over()
    assert await viewer.stop() == 200


async def test_nobody_subscribes_to_who_does_not_publish(whip, tokens):
    alice, bob = tokens(), tokens()
    with pytest.raises(Refused) as refused:
        await view(whip, bob["token"], alice["participantId"])
    assert (refused.value.status, refused.value.code) == (404, "PUBLISHER_NOT_FOUND")


async def test_who_cannot_decode_the_picture_is_refused_at_once(whip, tokens):
    alice, bob = tokens(), tokens()
    publisher = await publish(whip, alice["token"], "H264")
    await publisher.connected()
    with pytest.raises(Refused) as refused:
        await view(whip, bob["token"], alice["participantId"], codec="VP8")
    assert (refused.value.status, refused.value.code) == (406, "CODEC_MISMATCH")
    await publisher.stop()
