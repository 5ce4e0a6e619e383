"""Browsers' handling of answers: one media stream per participant, and stereo."""

import pytest

import browser
from test_whip_whep import cross_origin_page, site  # noqa: F401 (fixtures)

# Helpers of both pages: offer/answer exchange with stereo.
COMMON = """
window.exchange = async (peer, url, token) => {
  const offer = await peer.createOffer();
  const sdp = offer.sdp.replace("useinbandfec=1", "useinbandfec=1;stereo=1;sprop-stereo=1");
  await peer.setLocalDescription({ type: "offer", sdp });
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/sdp" };
  const answer = await fetch(url, { method: "POST", headers, body: sdp });
  if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
};
// The value of the last statement must not be a function, or it would be called.
void 0;
"""

# A camera, and audio with two different channels.
PUBLISH = """async ([url, token]) => {
  const audio = new AudioContext();
  const merger = new ChannelMergerNode(audio, { numberOfInputs: 2 });
  const sink = new MediaStreamAudioDestinationNode(audio, { channelCount: 2 });
  [440, 660].forEach((frequency, channel) => {
    const tone = new OscillatorNode(audio, { frequency });
    tone.connect(merger, 0, channel);
    tone.start();
  });
  merger.connect(sink);
  const camera = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } });
  window.peer = new RTCPeerConnection();
  const stream = new MediaStream([...sink.stream.getTracks(), ...camera.getTracks()]);
  for (const track of stream.getTracks()) peer.addTransceiver(track, { direction: "sendonly", streams: [stream] });
  await exchange(peer, url, token);
}"""

# The video element gets the stream of the first track event only. The TOC byte of an Opus packet has the stereo flag (RFC
# 6716, section 3.1).
VIEW = """async ([url, token]) => {
  window.packets = { stereo: 0, all: 0 };
  window.peer = new RTCPeerConnection({ encodedInsertableStreams: true });
  for (const kind of ["audio", "video"]) {
    const { receiver } = peer.addTransceiver(kind, { direction: "recvonly" });
    const { readable, writable } = receiver.createEncodedStreams();
    const look = new TransformStream({
      transform(frame, controller) {
        if (kind === "audio") {
          packets.all += 1;
          packets.stereo += (new Uint8Array(frame.data)[0] & 4) >> 2;
        }
        controller.enqueue(frame);
      },
    });
    readable.pipeThrough(look).pipeTo(writable);
  }
  const video = document.querySelector("video");
  peer.ontrack = (event) => (video.srcObject ??= event.streams[0]);
  await exchange(peer, url, token);
}"""


@pytest.fixture
def page(cross_origin_page):  # noqa: F811
    def make():
        made = cross_origin_page()
        made.evaluate(COMMON)
        return made

    return make


def test_the_first_stream_has_audio_and_video_and_the_audio_is_stereo(tenant, stage, page):
    whip = tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]["whip"]
    sender, viewer = tenant.token(stage), tenant.token(stage)
    publisher, watcher = page(), page()
    publisher.evaluate(PUBLISH, [whip, sender["token"]])
    browser.wait_until(publisher, "peer.connectionState === 'connected'")
    watcher.evaluate(VIEW, [f"{whip}/subscribe/{sender['participantId']}", viewer["token"]])
    tracks = "document.querySelector('video').srcObject?.getTracks().map(({ kind }) => kind).sort().join()"
    browser.wait_until(watcher, f"{tracks} === 'audio,video'", describe=lambda: watcher.evaluate("peer.remoteDescription.sdp"))
    assert browser.frames(watcher)
    browser.wait_until(watcher, "packets.all >= 100", describe=lambda: str(watcher.evaluate("packets")))
    counted = watcher.evaluate("packets")
    assert counted["stereo"] >= 0.9 * counted["all"], counted
    assert "sprop-stereo=1" in watcher.evaluate("peer.remoteDescription.sdp")
