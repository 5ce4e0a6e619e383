"""aiortc as anybody would use it: publishing over WHIP and subscribing, one HTTP exchange each."""

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

PATIENCE_SECONDS = 40
RATE, BLOCK = 48000, 960
WIDTH, HEIGHT = 320, 240


class Picture(VideoStreamTrack):
    """A white bar that moves over black, thirty times a second."""

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        pixels = numpy.zeros((HEIGHT, WIDTH, 3), numpy.uint8)
        left = pts // 600 % (WIDTH - 32)
        pixels[:, left : left + 32] = 255
        frame = VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Tone(MediaStreamTrack):
    """440 Hz, in blocks of 20 ms."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.sent, self.began = 0, None

    async def recv(self):
        loop = asyncio.get_running_loop()
        self.began = self.began or loop.time()
        await asyncio.sleep(max(0.0, self.began + self.sent / RATE - loop.time()))
        at = numpy.arange(self.sent, self.sent + BLOCK) * (2 * math.pi * 440 / RATE)
        samples = (numpy.sin(at) * 8000).astype(numpy.int16).reshape(1, -1)
        frame = AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.sent, fractions.Fraction(1, RATE)
        self.sent += BLOCK
        return frame


class Refused(AssertionError):
    """The service's answer to an offer that it did not take."""

    def __init__(self, answer):
        super().__init__(f"{answer.status_code} {answer.text}")
        self.status, self.code = answer.status_code, answer.json()["code"]


class Peer:
    """A peer connection, and its resource once the offer was answered."""

    def __init__(self, bundle=None):
        self.connection = RTCPeerConnection(RTCConfiguration(bundlePolicy=bundle) if bundle else None)
        self.resource = self.token = None

    async def exchange(self, url, token, change=lambda sdp: sdp):
        """Offers, and takes the answer. `change` is done to the offer on its way."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        offer = change(self.connection.localDescription.sdp)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        answer = await asyncio.to_thread(requests.post, url, data=offer, headers=headers, timeout=30)
        if answer.status_code != 201:
            await self.connection.close()
            raise Refused(answer)
        self.resource, self.token = urljoin(answer.url, answer.headers["Location"]), token
        description = RTCSessionDescription(answer.text, "answer")
        await self.connection.setRemoteDescription(description)
        return answer

    async def stop(self):
        """Closes first and says so afterwards, as most clients do. Answers the status."""
        await self.connection.close()
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = await asyncio.to_thread(requests.delete, self.resource, headers=headers, timeout=30)
        return answer.status_code

    async def connected(self):
        await eventually(lambda: self.connection.connectionState == "connected")

    async def over(self):
        """Waits for the other side to have ended the connection."""
        await eventually(lambda: self.connection.connectionState in ("closed", "failed"))


def prefer(transceiver, codec):
    """Offers pictures in one codec alone, if one is named."""
    if transceiver.kind == "video" and codec:
        known = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([one for one in known if one.mimeType.lower() == f"video/{codec.lower()}"])


async def publish(whip, token, codec=None, kinds=("audio", "video"), bundle=None):
    """Publishes a tone, a picture or both."""
    peer = Peer(bundle)
    for kind in kinds:
        track = Picture() if kind == "video" else Tone()
        transceiver = peer.connection.addTransceiver(track, direction="sendonly")
        prefer(transceiver, codec)
    await peer.exchange(whip, token)
    return peer


class Viewer(Peer):
    """A subscription that counts what it decodes."""

    def __init__(self, kinds=("audio", "video"), codec=None, bundle=None):
        super().__init__(bundle)
        self.pictures, self.sounds, self.different, self.loudest = 0, 0, set(), 0
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
                self.pictures += 1
                self._look(frame.to_ndarray(format="gray"))
            else:
                self.sounds += 1
                self.loudest = max(self.loudest, int(numpy.abs(frame.to_ndarray()).max()))

    def _look(self, pixels):
        """Notes a picture coarsely. One that is frozen, or grey for want of a key frame, adds nothing."""
        if int(pixels.max()) - int(pixels.min()) > 100:
            self.different.add((pixels[::16, ::16] // 64).tobytes())

    async def sees(self, pictures=30):
        await eventually(lambda: self.pictures >= pictures and len(self.different) >= 3)

    async def hears(self, sounds=50):
        await eventually(lambda: self.sounds >= sounds and self.loudest > 1000)


async def view(whip, token, publisher, kinds=("audio", "video"), codec=None, bundle=None, **options):
    """Subscribes to somebody."""
    viewer = Viewer(kinds, codec, bundle)
    await viewer.exchange(f"{whip}/subscribe/{publisher}", token, **options)
    return viewer


async def eventually(condition):
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_SECONDS
    while not condition():
        assert loop.time() < end, f"not within {PATIENCE_SECONDS} s"
        await asyncio.sleep(0.05)


def without_candidates(sdp):
    """An offer as a client makes it that never gathers: not one candidate, and no word of more."""
    return re.sub(r"a=(candidate:[^\r\n]*|end-of-candidates)\r\n", "", sdp)
