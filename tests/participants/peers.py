"""aiortc clients that publish by WHIP, or subscribe, with one HTTP exchange each."""

import asyncio
import fractions
import math
import re
from urllib.parse import urljoin

import numpy
import requests
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    VideoStreamTrack,
)
from av import AudioFrame, VideoFrame

TIMEOUT_SECONDS = 40
SAMPLE_RATE, SAMPLES_PER_FRAME = 48000, 960
WIDTH, HEIGHT = 320, 240


class SyntheticVideo(VideoStreamTrack):
    """A white bar that moves over black, 30 frames per second."""

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        pixels = numpy.zeros((HEIGHT, WIDTH, 3), numpy.uint8)
        left = pts // 600 % (WIDTH - 32)
        pixels[:, left : left + 32] = 255
        frame = VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class SyntheticAudio(MediaStreamTrack):
    """A tone of 440 Hz in frames of 20 ms."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.sent, self.start = 0, None

    async def recv(self):
        loop = asyncio.get_running_loop()
        self.start = self.start or loop.time()
        await asyncio.sleep(max(0.0, self.start + self.sent / SAMPLE_RATE - loop.time()))
        at = numpy.arange(self.sent, self.sent + SAMPLES_PER_FRAME) * (2 * math.pi * 440 / SAMPLE_RATE)
        samples = (numpy.sin(at) * 8000).astype(numpy.int16).reshape(1, -1)
        frame = AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, self.sent, fractions.Fraction(1, SAMPLE_RATE)
        self.sent += SAMPLES_PER_FRAME
        return frame


class OfferRejected(AssertionError):
    """The error response to an offer."""

    def __init__(self, answer):
        super().__init__(f"{answer.status_code} {answer.text}")
        self.status, self.code = answer.status_code, answer.json()["code"]


class Peer:
    """A peer connection and its WHIP resource."""

    def __init__(self, bundle=None):
        self.connection = RTCPeerConnection(RTCConfiguration(bundlePolicy=bundle) if bundle else None)
        self.resource = self.token = None

    async def exchange(self, url, token, change=lambda sdp: sdp):
        """Sends the offer, modified by `change`, and applies the answer."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        offer = change(self.connection.localDescription.sdp)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        answer = await asyncio.to_thread(requests.post, url, data=offer, headers=headers, timeout=30)
        if answer.status_code != 201:
            await self.connection.close()
            raise OfferRejected(answer)
        self.resource, self.token = urljoin(answer.url, answer.headers["Location"]), token
        description = RTCSessionDescription(answer.text, "answer")
        await self.connection.setRemoteDescription(description)
        return answer

    async def stop(self):
        """Closes the connection, then deletes the resource, as most clients do. Returns the status code."""
        await self.connection.close()
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = await asyncio.to_thread(requests.delete, self.resource, headers=headers, timeout=30)
        return answer.status_code

    async def wait_connected(self):
        await eventually(lambda: self.connection.connectionState == "connected")

    async def wait_closed(self):
        """Waits until the server has closed the connection."""
        await eventually(lambda: self.connection.connectionState in ("closed", "failed"))


def prefer(transceiver, codec):
    """Offers video in one codec only, if one is given."""
    if transceiver.kind == "video" and codec:
        known = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([one for one in known if one.mimeType.lower() == f"video/{codec.lower()}"])


async def publish(whip, token, codec=None, kinds=("audio", "video"), bundle=None):
    """Publishes audio, video or both."""
    peer = Peer(bundle)
    for kind in kinds:
        track = SyntheticVideo() if kind == "video" else SyntheticAudio()
        transceiver = peer.connection.addTransceiver(track, direction="sendonly")
        prefer(transceiver, codec)
    await peer.exchange(whip, token)
    return peer


class Viewer(Peer):
    """A subscriber that counts decoded frames."""

    def __init__(self, kinds=("audio", "video"), codec=None, bundle=None):
        super().__init__(bundle)
        self.video_frames, self.audio_frames, self.distinct_frames, self.peak = 0, 0, set(), 0
        self.connection.on("track", lambda track: asyncio.ensure_future(self._count(track)))
        for kind in kinds:
            prefer(self.connection.addTransceiver(kind, direction="recvonly"), codec)

    async def _count(self, track):
        while True:
            try:
                frame = await track.recv()
            except Exception:  # the track has ended
                return
            if track.kind == "video":
                self.video_frames += 1
                self.on_picture(frame)
            else:
                self.audio_frames += 1
                self.on_sound(frame)

    def on_sound(self, frame):
        self.peak = max(self.peak, int(numpy.abs(frame.to_ndarray()).max()))

    def on_picture(self, frame):
        self._record_frame(frame.to_ndarray(format="gray"))

    def _record_frame(self, pixels):
        """Records a coarse version of a frame. Frozen and grey frames add nothing."""
        if int(pixels.max()) - int(pixels.min()) > 100:
            self.distinct_frames.add((pixels[::16, ::16] // 64).tobytes())

    async def receives_video(self, frames=30):
        await eventually(lambda: self.video_frames >= frames and len(self.distinct_frames) >= 3)

    async def receives_audio(self, frames=50):
        await eventually(lambda: self.audio_frames >= frames and self.peak > 1000)


async def view(whip, token, publisher, kinds=("audio", "video"), codec=None, bundle=None, **options):
    """Subscribes to a publisher."""
    viewer = Viewer(kinds, codec, bundle)
    await viewer.exchange(f"{whip}/subscribe/{publisher}", token, **options)
    return viewer


async def eventually(condition):
    loop = asyncio.get_running_loop()
    end = loop.time() + TIMEOUT_SECONDS
    while not condition():
        assert loop.time() < end, f"not within {TIMEOUT_SECONDS} s"
        await asyncio.sleep(0.05)


def without_candidates(sdp):
    """An offer of a client that gathers no candidates."""
    return re.sub(r"a=(candidate:[^\r\n]*|end-of-candidates)\r\n", "", sdp)
