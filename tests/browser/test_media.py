"""Audio and video between pages."""

import pytest

import browser


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_audio_and_video_reach_two_pages(participant, screenshot, codec):
    alice = participant("alice").publish("camera", codec)
    bob, carol = participant("bob"), participant("carol")
    for viewer in (bob, carol):
        received = viewer.receives(alice.id)
        assert (received["video"]["codec"], received["audio"]["codec"]) == (codec, "opus")
        video = f"""document.querySelector('#tiles [data-participant="{alice.id}"] video')"""
        # The encoder can change its resolution between the two readings.
        readings = (
            (browser.frames(viewer.page, video), viewer.receives(alice.id)["video"]) for _ in range(10)
        )
        assert any(size == [stats["width"], stats["height"]] for size, stats in readings)
    sent = alice.evaluate("greenroom.publication")
    assert sent["state"] == "connected" and sent["video"]["codec"] == codec and sent["video"]["frames"] >= 30
    assert alice.evaluate("Object.keys(greenroom.subscriptions)") == [], "publishers do not receive themselves"
    for demo in (alice, bob, carol):
        screenshot(demo, f"one-publishes-{codec}-{demo.name}")


def test_the_default_video_codec_is_h264(participant):
    alice = participant("alice").publish("camera")
    received = participant("bob").receives(alice.id)
    assert received["video"]["codec"] == "H264"


def test_three_pages_publish_and_each_receives_the_other_two(participant, screenshot):
    people = [participant(name).publish("pattern") for name in ("alice", "bob", "carol")]
    for one in people:
        for other in people:
            if one is not other:
                one.receives(other.id)
    for one in people:
        screenshot(one, f"three-publish-{one.name}")


def test_audio_only_is_published_and_received(participant):
    alice = participant("alice").publish("microphone")
    participant("bob").hears(alice.id)


def test_a_late_subscriber_gets_a_key_frame(participant):
    """Browsers rarely send key frames without a request."""
    alice = participant("alice").publish("pattern")
    participant("bob").receives(alice.id)
    participant("carol").receives(alice.id)
    alice.until("greenroom.publication.video.keyFrameRequests >= 1")


def test_one_simulcast_layer_is_received(participant):
    alice = participant("alice").publish("pattern", "VP8", layers=True)
    bob = participant("bob")
    received = bob.receives(alice.id)
    assert received["video"]["width"] * 9 == received["video"]["height"] * 16
    alice.until("greenroom.publication.video.layers >= 2")


def test_muted_audio_is_silent_until_unmuted(participant):
    alice = participant("alice").publish("pattern")
    bob = participant("bob")
    bob.receives(alice.id)
    alice.page.get_by_label("sound", exact=True).uncheck()
    bob.until(f"greenroom.subscriptions['{alice.id}'].level < 0.001")
    alice.page.get_by_label("sound", exact=True).check()
    bob.until(f"greenroom.subscriptions['{alice.id}'].level > 0.01")


def test_a_subscription_can_be_stopped_and_resumed(participant):
    alice = participant("alice").publish("pattern")
    bob = participant("bob")
    bob.receives(alice.id)
    bob.tile(alice.id).get_by_role("button", name="Stop receiving").click()
    bob.ended(alice.id)
    bob.until(f"!greenroom.subscriptions['{alice.id}']")
    bob.tile(alice.id).get_by_role("button", name="Receive").click()
    bob.receives(alice.id)


def test_republished_media_is_received_again(participant):
    alice = participant("alice").publish("pattern")
    bob = participant("bob")
    bob.receives(alice.id)
    alice.click_button("Unpublish")
    bob.ended(alice.id)
    alice.publish("camera")
    bob.receives(alice.id)
