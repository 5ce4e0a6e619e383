"""Debian's Chromium, with a camera and a microphone that are made up: a turning disc, and a beep once a second."""

import os
import shutil
from pathlib import Path

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parents[2] / "target"))
ARTIFACTS = TARGET / "test-artifacts"

FLAGS = [
    # In CI everything runs as root, and as root there is no sandbox.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
]


def executable():
    """The browser: its absence is a failure, as nothing else would try the page."""
    found = os.environ.get("CHROMIUM_BIN") or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "chromium is missing: apt-get install chromium, or name it in CHROMIUM_BIN"
    return found


# Conditions are looked at in the page itself, so that they are met as soon as they hold. A page whose policy forbids
# `eval` rules out Playwright's own waiting.
UNTIL = """(seconds) => new Promise((done) => {
  const end = performance.now() + 1000 * seconds;
  const look = () => {
    const found = (%s);
    if (found || performance.now() > end) done(found || null);
    else setTimeout(look, 20);
  };
  look();
})"""


def until(page, condition, seconds=30, describe=lambda: ""):
    """Waits for a JavaScript expression to be true in a page, and answers its value."""
    found = page.evaluate(UNTIL % condition, seconds)
    assert found, f"not within {seconds} s: {condition}\n{describe()}"
    return found


def frames(page, expression="document.querySelector('video')"):
    """Waits for a video element to show pictures that are not all of one colour, and answers its size."""
    return until(page, f"(({LOOKED_AT})({expression}))")


LOOKED_AT = """(video) => {
  if (!video?.videoWidth) return null;
  const canvas = new OffscreenCanvas(64, 36);
  const paint = canvas.getContext("2d");
  paint.drawImage(video, 0, 0, 64, 36);
  const { data } = paint.getImageData(0, 0, 64, 36);
  const colours = new Set();
  for (let at = 0; at < data.length; at += 4) {
    colours.add((data[at] >> 4) * 256 + (data[at + 1] >> 4) * 16 + (data[at + 2] >> 4));
  }
  return colours.size > 2 ? [video.videoWidth, video.videoHeight] : null;
}"""
