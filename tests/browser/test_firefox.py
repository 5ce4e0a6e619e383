"""Firefox with a server on the loopback address, the default."""

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
    # Debian's Firefox has no H.264 encoder.
    alice = participant("alice").publish("camera", "VP8")
    token = tenant.token(stage, userId="bob")
    describe = lambda: str(firefox.evaluate("greenroom"))  # noqa: E731
    firefox.goto(f"{greenroom.endpoint}/_greenroom/demo#token={token['token']}")
    firefox.evaluate(PRESS, "Join the stage")
    # Without camera permission, it has no host candidates.
    browser.wait_until(firefox, RECEIVED % alice.id, 30, describe)
    firefox.evaluate(PRESS, "Publish")
    browser.wait_until(firefox, "greenroom.publication?.state === 'connected'", 30, describe)
    alice.receives(token["participantId"])
