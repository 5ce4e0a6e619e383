"""npm's whip-whep, an independent client, in a page of another origin."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import browser

PACKAGE = Path(__file__).parent / "node_modules" / "whip-whep"

PUBLISH = """async ([url, token]) => {
  const { WHIPClient } = await import("/whip.js");
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
  window.peer = new RTCPeerConnection();
  for (const track of stream.getTracks()) peer.addTransceiver(track, { direction: "sendonly", streams: [stream] });
  window.client = new WHIPClient();
  await client.publish(peer, url, token);
  return client.resourceURL.href;
}"""

VIEW = """async ([url, token]) => {
  const { WHEPClient } = await import("/whep.js");
  window.peer = new RTCPeerConnection();
  peer.addTransceiver("audio", { direction: "recvonly" });
  peer.addTransceiver("video", { direction: "recvonly" });
  const stream = new MediaStream();
  peer.ontrack = ({ track }) => stream.addTrack(track);
  document.querySelector("video").srcObject = stream;
  window.client = new WHEPClient();
  await client.view(peer, url, token);
  watch();
  return client.resourceURL.href;
}"""

# Keeps the latest statistics in `window.numbers`.
WATCH = """window.watch = () => setInterval(async () => {
  const reports = [...(await peer.getStats()).values()];
  const of = (kind) => reports.find((one) => one.type === "inbound-rtp" && one.kind === kind) ?? {};
  const [video, audio] = [of("video"), of("audio")];
  window.numbers = { frames: video.framesDecoded, keyFrames: video.keyFramesDecoded, energy: audio.totalAudioEnergy };
}, 200);"""

RESTART = """async () => {
  await client.restart();
  return peer.remoteDescription.sdp.match(/a=ice-ufrag:(.*)\\r\\n/)[1];
}"""


class Site(BaseHTTPRequestHandler):
    """A web site of another origin that serves the package."""

    PAGE = f"<!doctype html><video autoplay></video><script>{WATCH}</script>".encode()

    def do_GET(self):
        name = self.path.strip("/")
        script = name in ("whip.js", "whep.js")
        body = (PACKAGE / name).read_bytes() if script else self.PAGE
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if script else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Disables the request log."""


@pytest.fixture(scope="module")
def site():
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def cross_origin_page(site, chromium):
    """Opens pages of that site."""
    contexts = []

    def make():
        contexts.append(chromium.new_context())
        page = contexts[-1].new_page()
        page.goto(site)
        return page

    yield make
    for context in contexts:
        context.close()


def test_whip_whep_publishes_to_a_page_and_to_itself(tenant, stage, participant, cross_origin_page):
    whip = tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]["whip"]
    sender, viewer = tenant.token(stage, userId="sender"), tenant.token(stage, userId="viewer")
    publisher, watcher = cross_origin_page(), cross_origin_page()
    resource = publisher.evaluate(PUBLISH, [whip, sender["token"]])
    assert resource.startswith(f"{whip}/resource/")
    participant("bob").receives(sender["participantId"])
    watcher.evaluate(VIEW, [f"{whip}/subscribe/{sender['participantId']}", viewer["token"]])
    browser.wait_until(watcher, "window.numbers?.frames >= 30 && numbers.keyFrames >= 1 && numbers.energy > 0.0001")
    assert browser.frames(watcher)


def test_whip_whep_restarts_ice(tenant, stage, participant, cross_origin_page):
    whip = tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]["whip"]
    sender, publisher = tenant.token(stage), cross_origin_page()
    publisher.evaluate(PUBLISH, [whip, sender["token"]])
    bob = participant("bob")
    before = bob.receives(sender["participantId"])["video"]["frames"]
    name = "peer.remoteDescription.sdp.match(/a=ice-ufrag:(.*)\\r\\n/)[1]"
    first = publisher.evaluate(name)
    second = publisher.evaluate(RESTART)
    assert second != first
    bob.receives(sender["participantId"], f"video.frames > {before + 30}")
    assert publisher.evaluate("peer.iceConnectionState") in ("connected", "completed")


def test_whip_whep_stops(tenant, stage, participant, cross_origin_page):
    whip = tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]["whip"]
    sender, publisher, bob = tenant.token(stage), cross_origin_page(), participant("bob")
    publisher.evaluate(PUBLISH, [whip, sender["token"]])
    bob.receives(sender["participantId"])
    publisher.evaluate("() => client.stop()")
    bob.ended(sender["participantId"])
    bob.until("greenroom.participants.length === 1")


def test_the_program_in_the_documentation_publishes_and_subscribes(tenant, stage, cross_origin_page):
    page = (Path(__file__).parents[2] / "docs/clients/browsers.md").read_text()
    [program] = re.findall(r"^```js\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    start = f"(token) => {{ {program} Object.assign(window, {{ publish, subscribe, socket }}); }}"
    sender, viewer = tenant.token(stage, userId="sender"), tenant.token(stage, userId="viewer")
    publisher, watcher = cross_origin_page(), cross_origin_page()
    publisher.evaluate(start, sender["token"])
    camera = "navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } })"
    assert "/whip/resource/" in publisher.evaluate(f"async () => publish(await {camera})")
    watcher.evaluate(start, viewer["token"])
    watcher.evaluate("(id) => subscribe(id, document.querySelector('video'))", sender["participantId"])
    browser.wait_until(watcher, "document.querySelector('video').videoWidth > 0")
    assert browser.frames(watcher)
