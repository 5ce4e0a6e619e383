"""Firefox with a server that listens on the loopback address, as it does by default."""

import pytest

import browser
from firefox import Firefox

RECEIVED = "((s) => s && s.video.frames >= 30 && s.audio.packets >= 50 ? s : null)(greenroom.subscriptions['%s'])"
PRESS = "(name) => [...document.querySelectorAll('button')].find((one) => one.textContent.trim() === name).click()"


@pytest.fixture
def firefox():
    page = Firefox()
    yield page
    page.close()


def test_firefox_publishes_and_subscribes(greenroom, tenant, stage, participant, firefox):
    # Debian's Firefox has no H.264 of its own.
    alice = participant("alice").publish("camera", "VP8")
    token = tenant.token(stage, userId="bob")
    describe = lambda: str(firefox.evaluate("greenroom"))  # noqa: E731
    firefox.goto(f"{greenroom.endpoint}/_greenroom/demo#token={token['token']}")
    firefox.evaluate(PRESS, "Join the stage")
    # Before it may use a camera, it tells no addresses of its own.
    browser.until(firefox, RECEIVED % alice.id, 30, describe)
    firefox.evaluate(PRESS, "Publish")
    browser.until(firefox, "greenroom.publication?.state === 'connected'", 30, describe)
    alice.receives(token["participantId"])
