"""Recordings on the demo page: listed with an access key and played with hls.js."""

import pytest

from clients import Server
from demo_page import DemoPage
from recordings import add_live_node, add_recording
from server import Greenroom


@pytest.fixture(scope="module")
def recorder(tmp_path_factory):
    """A server with a store and a folder of recordings."""
    store = f"sqlite://{tmp_path_factory.mktemp('store')}/greenroom.db"
    program = Greenroom("--database-url", store, "--media-addr", "127.0.0.1:0").serving()
    yield Server("sqlite", program, store)
    assert program.end() == 0, program.logged()[-3000:]


@pytest.fixture
def page(recorder, chromium):
    context = chromium.new_context()
    demo = DemoPage(context, recorder.endpoint, "viewer").open()
    yield demo
    context.close()
    assert demo.console_errors == []


def list_recordings(demo, stage, key, secret="test"):
    """Fills in the form, and waits for the outcome."""
    form = demo.page.locator("#playback")
    if form.get_attribute("open") is None:
        form.locator("summary").click()
    demo.page.get_by_label("Stage", exact=True).fill(stage)
    demo.page.get_by_label("Access key ID", exact=True).fill(key)
    demo.page.get_by_label("Secret access key", exact=True).fill(secret)
    demo.click_button("List recordings")
    demo.until("Boolean(greenroom.recordings || greenroom.error)")


# The average colour of a picture, and the number of different ones.
PICTURE = """(() => {
  const video = document.getElementById("recording");
  const canvas = new OffscreenCanvas(64, 36);
  const paint = canvas.getContext("2d");
  paint.drawImage(video, 0, 0, 64, 36);
  const { data } = paint.getImageData(0, 0, 64, 36);
  const colours = new Set();
  for (let at = 0; at < data.length; at += 4) colours.add(data.slice(at, at + 3).map((value) => value >> 4).join());
  return colours.size;
})()"""


@pytest.mark.parametrize("fixture", ["plain", "parts"])
def test_a_recording_is_played(recorder, page, fixture):
    tenant = recorder.tenant()
    stage = tenant.stage()
    add_recording(tenant, recorder.database, stage, f"played-{fixture}", fixture)
    list_recordings(page, stage, tenant.account)
    assert [one["id"] for one in page.evaluate("greenroom.recordings")] == [f"played-{fixture}"]
    row = page.page.locator(f'#recordings [data-recording="played-{fixture}"]')
    assert row.locator(".length").inner_text() == "0:00:03"
    row.get_by_role("button").click()
    page.until("greenroom.playback?.time > 0.3")
    assert page.evaluate(PICTURE) > 10
    page.until("document.getElementById('recording').ended")
    playback = page.evaluate("greenroom.playback")
    # Played to the end: through the discontinuity with another resolution, too.
    assert 2.9 < playback["time"] < 3.2 and abs(playback["duration"] - playback["time"]) < 0.1
    assert playback["errors"] == []
    size = page.evaluate("[document.getElementById('recording').videoWidth, document.getElementById('recording').videoHeight]")
    assert size == ([160, 90] if fixture == "plain" else [96, 64])


def test_a_recording_that_goes_on_is_played_from_its_beginning(recorder, page):
    tenant = recorder.tenant()
    stage = tenant.stage()
    # The server would complete it if its node were gone.
    node = add_live_node(recorder.database)
    folder = add_recording(tenant, recorder.database, stage, "running", state="ACTIVE", ended_at=None, node_id=node)
    playlist = folder / "media/hls/high/playlist.m3u8"
    whole = playlist.read_text()
    playlist.write_text(whole.replace("VOD", "EVENT").split("#EXTINF:1.00000,\n2.mp4")[0])
    list_recordings(page, stage, tenant.account)
    page.page.locator('#recordings [data-recording="running"] button').click()
    page.until("greenroom.playback?.time > 0.3")
    # It ends: the player reads the playlist again.
    playlist.write_text(whole)
    page.until("document.getElementById('recording').ended")
    assert page.evaluate("greenroom.playback.time") > 2.9


def test_a_wrong_key_is_reported(recorder, page):
    tenant = recorder.tenant()
    list_recordings(page, tenant.stage(), tenant.account, secret="wrong")
    code, message = page.error()
    assert code == "InvalidSignatureException" and len(message) > 10


def test_a_stage_without_recordings_says_so(recorder, page):
    tenant = recorder.tenant()
    list_recordings(page, tenant.stage(), tenant.account)
    assert page.page.get_by_text("The stage has no recordings.").is_visible()
