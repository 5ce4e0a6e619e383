"""Debian's Chromium with a fake camera (a turning disc) and a fake microphone (a beep every second)."""

import os
import shutil
from pathlib import Path

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parents[2] / "target"))
ARTIFACTS = TARGET / "test-artifacts"

FLAGS = [
    # CI runs as root, which the sandbox does not support.
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
    """The browser's path; fails if it is missing."""
    found = os.environ.get("CHROMIUM_BIN") or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "chromium is missing: apt-get install chromium, or name it in CHROMIUM_BIN"
    return found


# Polls in the page. Playwright's own waiting needs `eval`, which the page's content security policy forbids.
WAIT_UNTIL = """(seconds) => new Promise((done) => {
  const end = performance.now() + 1000 * seconds;
  const look = () => {
    const found = (%s);
    if (found || performance.now() > end) done(found || null);
    else setTimeout(look, 20);
  };
  look();
})"""


def wait_until(page, condition, seconds=30, describe=lambda: ""):
    """Waits until a JavaScript expression is truthy; returns its value."""
    found = page.evaluate(WAIT_UNTIL % condition, seconds)
    assert found, f"not within {seconds} s: {condition}\n{describe()}"
    return found


def frames(page, expression="document.querySelector('video')"):
    """Waits until a video element shows frames of more than one colour; returns its resolution."""
    return wait_until(page, f"(({FRAME_SIZE})({expression}))")


FRAME_SIZE = """(video) => {
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
