"""Pages behind emulated networks: the measuring tools of benches/media-quality."""

import pytest

from media_pages import PICTURE, MediaPages
from network import Network
from record import eventually

SMALL = {**PICTURE, "width": 480, "height": 270}


@pytest.fixture
def media_pages(chromium):
    with Network() as network, MediaPages(chromium, network) as pages:
        yield pages


@pytest.fixture
def whip(tenant, stage):
    return tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]["whip"]


@pytest.fixture
def publish(tenant, stage, whip, media_pages):
    """Publishes; returns the page, and a function that opens viewers."""

    def start(**options):
        token = tenant.token(stage)
        page = media_pages.publisher(whip, token["token"], **options)
        view = lambda **profiles: media_pages.viewer(whip, tenant.token(stage)["token"], token["participantId"], **profiles)
        return page, view

    return start


def test_both_directions_of_a_connection_pass_its_link(publish):
    publisher, view = publish(picture=SMALL, up="delay=30ms", down="delay=20ms")
    viewer = view(up="delay=40ms", down="delay=60ms")
    viewer.shows(480)
    for page, least in ((publisher, 0.05), (viewer, 0.1)):
        assert eventually(lambda: page.stats()["roundTrip"]) >= least
        stats = page.stats()
        assert stats["link"]["up"]["packets"] > 0 and stats["link"]["down"]["packets"] > 0
    [sent] = publisher.stats()["sent"]
    assert publisher.link.stats()["up"]["rtp"][str(sent["ssrc"])]["packets"] >= 10


def test_lost_packets_are_counted_and_resent(publish):
    _, view = publish(picture=SMALL)
    viewer = view(down="delay=10ms,loss=10%,burst=3")
    viewer.shows()
    video = "[...(await peer.getStats()).values()].find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video')"
    viewer.page.evaluate(f"window.poll = setInterval(async () => (window.video = {video}), 100)")
    viewer.until("window.video?.retransmittedPacketsReceived >= 10 && video.framesDecoded >= 60")
    stats = viewer.stats()
    assert stats["link"]["down"]["rtp"][str(stats["video"]["ssrc"])]["lost"] >= 10
    assert stats["link"]["up"]["lost"] == 0


def test_a_rate_can_be_limited_and_the_limit_removed(publish):
    _, view = publish(picture=SMALL)
    viewer = view()
    viewer.shows()
    viewer.link.set(down="rate=50k,queue=100ms")
    eventually(lambda: viewer.link.stats()["down"]["queueFull"] >= 50)
    viewer.link.set(down="")
    at = viewer.page.evaluate("performance.now()")
    viewer.until(f"shown.at(-1)[0] > {at} + 1000")


def test_a_viewer_is_sent_the_layer_that_its_network_takes(publish):
    layers = [
        {"rid": "l", "maxBitrate": 100_000, "scaleResolutionDownBy": 2},
        {"rid": "h", "maxBitrate": 900_000, "scaleResolutionDownBy": 1},
    ]
    _, view = publish(picture=SMALL, encodings=layers)
    limited, free = view(), view()
    for viewer in (limited, free):
        viewer.shows(480)
    limited.link.set(down="rate=300k,delay=10ms")
    limited.shows(240)
    free.shows(480)
    limited.link.set(down="")
    limited.shows(480)


def test_two_pages_are_connected_without_a_server(media_pages):
    sender, receiver = media_pages.pair(up="delay=30ms", down="delay=30ms", picture=SMALL)
    receiver.shows(480)
    assert eventually(lambda: receiver.stats()["roundTrip"]) >= 0.06
    receiver.page.evaluate("listen()")
    receiver.until("flashes.length >= 2 && beeps.length >= 2")
    assert sum(layer["framesEncoded"] for layer in sender.stats()["sent"]) > 0
