"""aiortc, an independent WebRTC stack, publishes and subscribes."""

import re

import pytest
from aiortc import RTCBundlePolicy

from peers import OfferRejected, publish, view, without_candidates


@pytest.fixture
def whip(tenant, stage):
    """The stage's WHIP URL."""
    return tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]["whip"]


@pytest.fixture
def tokens(tenant, stage):
    """Creates tokens for the stage."""
    return lambda **members: tenant.token(stage, **members)


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_audio_and_video_reach_two_subscribers(whip, tokens, codec):
    alice, bob, carol = (tokens() for _ in range(3))
    publisher = await publish(whip, alice["token"], codec)
    await publisher.wait_connected()
    viewers = [await view(whip, one["token"], alice["participantId"], codec=codec) for one in (bob, carol)]
    for viewer in viewers:
        await viewer.receives_video()
        await viewer.receives_audio()
    assert [await viewer.stop() for viewer in viewers] == [200, 200]
    assert await publisher.stop() == 200


async def test_an_offer_without_candidates_works(whip, tokens):
    alice, bob = tokens(), tokens()
    publisher = await publish(whip, alice["token"])
    await publisher.wait_connected()
    viewer = await view(whip, bob["token"], alice["participantId"], change=without_candidates)
    await viewer.receives_video()
    await viewer.receives_audio()
    await viewer.stop()
    await publisher.stop()


@pytest.mark.parametrize("bundle", RTCBundlePolicy)
async def test_every_bundle_policy_works(whip, tokens, bundle):
    alice, bob = tokens(), tokens()
    publisher = await publish(whip, alice["token"], bundle=bundle)
    await publisher.wait_connected()
    viewer = await view(whip, bob["token"], alice["participantId"], bundle=bundle)
    await viewer.receives_video()
    await viewer.receives_audio()
    await viewer.stop()
    await publisher.stop()


async def test_audio_and_video_are_tracks_of_one_stream(whip, tokens):
    alice, bob = tokens(), tokens()
    publisher = await publish(whip, alice["token"])
    await publisher.wait_connected()
    viewer = await view(whip, bob["token"], alice["participantId"])
    await viewer.receives_video(3)
    answer = viewer.connection.remoteDescription.sdp
    streams, tracks = zip(*re.findall(r"a=msid:(\S+) (\S+)", answer))
    assert len(set(streams)) == 1 and len(set(tracks)) == 2, answer
    assert len(set(re.findall(r"a=ssrc:\d+ cname:(\S+)", answer))) == 1, answer
    await viewer.stop()
    await publisher.stop()


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_audio_only_and_video_only_publishers_work(whip, tokens, kind):
    alice, bob, carol = (tokens() for _ in range(3))
    publisher = await publish(whip, alice["token"], kinds=[kind])
    await publisher.wait_connected()
    both = await view(whip, bob["token"], alice["participantId"])
    alone = await view(whip, carol["token"], alice["participantId"], kinds=[kind])
    for viewer in (both, alone):
        await (viewer.receives_video() if kind == "video" else viewer.receives_audio())
        assert (viewer.audio_frames if kind == "video" else viewer.video_frames) == 0
        await viewer.stop()
    await publisher.stop()


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_audio_only_and_video_only_subscribers_work(whip, tokens, kind):
    alice, bob = tokens(), tokens()
    publisher = await publish(whip, alice["token"])
    await publisher.wait_connected()
    viewer = await view(whip, bob["token"], alice["participantId"], kinds=[kind])
    await (viewer.receives_video() if kind == "video" else viewer.receives_audio())
    await viewer.stop()
    await publisher.stop()


async def test_subscriptions_end_with_their_publisher(whip, tokens):
    alice, bob = tokens(), tokens()
    publisher = await publish(whip, alice["token"])
    await publisher.wait_connected()
    viewer = await view(whip, bob["token"], alice["participantId"])
    await viewer.receives_video()
    await publisher.stop()
    await viewer.wait_closed()
    assert await viewer.stop() == 200


async def test_subscribing_to_a_participant_that_does_not_publish_is_not_found(whip, tokens):
    alice, bob = tokens(), tokens()
    with pytest.raises(OfferRejected) as refused:
        await view(whip, bob["token"], alice["participantId"])
    assert (refused.value.status, refused.value.code) == (404, "PUBLISHER_NOT_FOUND")


async def test_a_codec_mismatch_is_rejected_with_the_answer(whip, tokens):
    alice, bob = tokens(), tokens()
    publisher = await publish(whip, alice["token"], "H264")
    await publisher.wait_connected()
    with pytest.raises(OfferRejected) as refused:
        await view(whip, bob["token"], alice["participantId"], codec="VP8")
    assert (refused.value.status, refused.value.code) == (406, "CODEC_MISMATCH")
    await publisher.stop()
