"""Pictures and sound go from one page to the others."""

import pytest

import browser


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_one_page_publishes_and_two_receive_its_picture_and_sound(participant, picture, codec):
    alice = participant("alice").publish("camera", codec)
    bob, carol = participant("bob"), participant("carol")
    for viewer in (bob, carol):
        received = viewer.receives(alice.id)
        assert (received["video"]["codec"], received["audio"]["codec"]) == (codec, "opus")
        video = f"""document.querySelector('#tiles [data-participant="{alice.id}"] video')"""
        assert browser.frames(viewer.page, video) == [received["video"]["width"], received["video"]["height"]]
    sent = alice.know("greenroom.publication")
    assert sent["state"] == "connected" and sent["video"]["codec"] == codec and sent["video"]["frames"] >= 30
    assert alice.know("Object.keys(greenroom.subscriptions)") == [], "nobody receives themselves"
    for demo in (alice, bob, carol):
        picture(demo, f"one-publishes-{codec}-{demo.name}")


def test_without_a_preference_the_picture_is_h264(participant):
    alice = participant("alice").publish("camera")
    received = participant("bob").receives(alice.id)
    assert received["video"]["codec"] == "H264"


def test_three_pages_publish_and_each_receives_the_other_two(participant, picture):
    people = [participant(name).publish("pattern") for name in ("alice", "bob", "carol")]
    for one in people:
        for other in people:
            if one is not other:
                one.receives(other.id)
    for one in people:
        picture(one, f"three-publish-{one.name}")


def test_sound_alone_is_published_and_received(participant):
    alice = participant("alice").publish("microphone")
    participant("bob").hears(alice.id)


def test_who_comes_late_is_sent_a_key_frame(participant):
    """Browsers send one when they are asked, and hardly ever of their own accord."""
    alice = participant("alice").publish("pattern")
    participant("bob").receives(alice.id)
    participant("carol").receives(alice.id)
    alice.until("greenroom.publication.video.keyFrameRequests >= 1")


def test_of_three_layers_one_is_received(participant):
    alice = participant("alice").publish("pattern", "VP8", layers=True)
    bob = participant("bob")
    received = bob.receives(alice.id)
    assert received["video"]["width"] * 9 == received["video"]["height"] * 16
    alice.until("greenroom.publication.video.layers >= 2")


def test_what_is_switched_off_is_not_seen_or_heard_and_comes_back(participant):
    alice = participant("alice").publish("pattern")
    bob = participant("bob")
    bob.receives(alice.id)
    alice.page.get_by_label("sound", exact=True).uncheck()
    bob.until(f"greenroom.subscriptions['{alice.id}'].level < 0.001")
    alice.page.get_by_label("sound", exact=True).check()
    bob.until(f"greenroom.subscriptions['{alice.id}'].level > 0.01")


def test_a_picture_is_no_longer_received_by_who_does_not_want_it(participant):
    alice = participant("alice").publish("pattern")
    bob = participant("bob")
    bob.receives(alice.id)
    bob.tile(alice.id).get_by_role("button", name="Stop receiving").click()
    bob.ended(alice.id)
    bob.until(f"!greenroom.subscriptions['{alice.id}']")
    bob.tile(alice.id).get_by_role("button", name="Receive").click()
    bob.receives(alice.id)


def test_who_publishes_again_is_received_again(participant):
    alice = participant("alice").publish("pattern")
    bob = participant("bob")
    bob.receives(alice.id)
    alice.press("Unpublish")
    bob.ended(alice.id)
    alice.publish("camera")
    bob.receives(alice.id)
