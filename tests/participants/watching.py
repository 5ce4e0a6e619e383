"""Subscribers to encoders, which compare pictures and sound with what the encoder was given."""

import asyncio
import time
from collections import deque

import numpy
from aiortc.rtp import RtcpSrPacket

from encoder import LEFT_HZ, RIGHT_HZ
from peers import SAMPLE_RATE, Viewer, eventually
from pictures import label, original, psnr

# Neighbours of a picture have 23 dB.
MIN_PSNR = 28
SOUND_FRAMES = 50
BEEP_LEVEL = 0.1 * 32768
# Of full scale: the encoder's tones have 0.2.
LEVELS = (0.14, 0.28)


class Watcher(Viewer):
    """A subscriber that keeps the last pictures and half a second or more of sound."""

    def __init__(self):
        super().__init__(codec="H264")
        self.pictures, self.labels, self.sound = deque(maxlen=8), deque(maxlen=100), deque(maxlen=SOUND_FRAMES)
        self.first_picture_at = None
        # Times of pictures by number and of beeps, from the first packet on, and the last sender report of each kind of media.
        self.shown, self.beeps, self.reports, self.quiet = {}, [], {}, 0
        self.receivers = {one.kind: one.receiver for one in self.connection.getTransceivers()}
        for kind, receiver in self.receivers.items():
            receiver._handle_rtcp_packet = self._with_reports(kind, receiver._handle_rtcp_packet)

    def _with_reports(self, kind, handle):
        async def noted(packet):
            if isinstance(packet, RtcpSrPacket):
                self.reports[kind] = (packet.sender_info.ntp_timestamp / 2**32, packet.sender_info.rtp_timestamp)
            await handle(packet)

        return noted

    def on_picture(self, frame):
        picture = frame.to_ndarray(format="yuv420p")
        self.first_picture_at = self.first_picture_at or time.monotonic()
        if found := label(picture):
            self.pictures.append((*found, picture))
            self.labels.append(found)
            self.shown[found[1]] = frame.pts

    def on_sound(self, frame):
        super().on_sound(frame)
        samples = frame.to_ndarray().reshape(-1, 2)
        self.sound.append(samples)
        loud = numpy.flatnonzero(numpy.abs(samples[:, 0].astype(int)) > BEEP_LEVEL)
        if len(loud) and self.quiet >= SAMPLE_RATE // 2:
            self.beeps.append(frame.pts + int(loud[0]))
        self.quiet = 0 if len(loud) else self.quiet + len(samples)

    async def sees(self, source=0, pictures=10):
        """Waits until the last pictures are those of a source."""
        await eventually(lambda: [one for one, _ in self.labels][-pictures:] == [source] * pictures)

    def lip_sync(self, media):
        """By how much beeps are later than the pictures of their seconds, in seconds, by the clock of the sender reports."""
        seconds = [self.time_of("video", pts, 90_000) for number, pts in self.shown.items() if number % media.rate == 0]
        beeps = [self.time_of("audio", pts, SAMPLE_RATE) for pts in self.beeps]
        return [min((beep - second for second in seconds), key=abs) for beep in beeps]

    def time_of(self, kind, pts, rate):
        at, timestamp = self.reports[kind]
        # aiortc numbers frames from the first packet on, and does not tell its timestamp otherwise.
        first = self.receivers[kind]._RTCRtpReceiver__timestamp_mapper._origin
        difference = (pts + first - timestamp + 2**31) % 2**32 - 2**31
        return at + difference / rate

    async def compares(self, media):
        """Waits for pictures and sound, and compares them with their originals."""
        self.pictures.clear()
        self.sound.clear()
        await eventually(lambda: len(self.pictures) == 8 and len(self.sound) == SOUND_FRAMES)
        await asyncio.to_thread(self._compare_pictures, media)
        self._compare_sound(media)

    def _compare_pictures(self, media):
        pictures = list(self.pictures)
        numbers = [number for _, number, _ in pictures]
        assert numbers == sorted(set(numbers)), "each picture is shown once, in order"
        for source, number, picture in (pictures[0], pictures[-1]):
            assert source == media.source
            quality = psnr(picture, original(media.width, media.height, media.rate, source, number))
            assert quality >= MIN_PSNR, f"picture {number}: {quality:.1f} dB"

    def _compare_sound(self, media):
        sound = numpy.concatenate(self.sound).astype(float) / 32768
        expected = (LEFT_HZ, RIGHT_HZ) if media.channels == 2 else (LEFT_HZ, LEFT_HZ)
        for channel, hz in enumerate(expected):
            found, level, purity = tone(sound[:, channel])
            described = f"channel {channel}: {found:.1f} Hz, level {level:.3f}, {purity:.3f} of the energy"
            assert abs(found - hz) <= 2 and LEVELS[0] <= level <= LEVELS[1] and purity >= 0.99, described


def tone(samples):
    """The strongest frequency, its level (of full scale), and its share of the energy."""
    window = numpy.hanning(len(samples))
    spectrum = numpy.abs(numpy.fft.rfft(samples * window))
    hz = numpy.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    peak = hz[int(spectrum.argmax())]
    near = numpy.abs(hz - peak) <= 20
    return peak, 2 * spectrum.max() / window.sum(), (spectrum[near] ** 2).sum() / (spectrum**2).sum()


async def watch(endpoints, publisher):
    """Subscribes a new participant to a publisher."""
    watcher = Watcher()
    token, watcher.participant = await asyncio.to_thread(endpoints.token)
    watcher.began_at = time.monotonic()
    await watcher.exchange(f"{endpoints.whip}/subscribe/{publisher}", token)
    return watcher
