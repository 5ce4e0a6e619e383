"""Recordings in the folder of a server, decoded by FFmpeg."""

import re
import subprocess
from pathlib import Path

import imageio_ffmpeg

FRAME_RATE = 100
SIDE = 16


class Recording:
    """A recording of a participant."""

    def __init__(self, root, participant):
        self.folder = Path(root) / participant["recordingS3BucketName"] / participant["recordingS3Prefix"]
        self.hls = self.folder / "media" / "hls"

    def playlist(self):
        return (self.hls / "high" / "playlist.m3u8").read_text()

    def duration(self):
        return sum(float(length) for length in re.findall(r"#EXTINF:([\d.]+),", self.playlist()))

    def decode(self, *options):
        """Decodes with FFmpeg, which reports no error; returns the output."""
        source = str(self.hls / "multivariant.m3u8")
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-allowed_extensions", "ALL", "-i", source]
        done = subprocess.run([*command, *options, "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        assert done.returncode == 0 and not done.stderr, done.stderr.decode()[-3000:]
        return done.stdout

    def flashes(self, mark):
        """When the square of `mark` pixels at the top left becomes bright, in seconds."""
        crop = f"crop={mark}:{mark}:0:0,scale={SIDE}:{SIDE},fps={FRAME_RATE},format=gray"
        pixels = self.decode("-an", "-vf", crop, "-f", "rawvideo")
        size = SIDE * SIDE
        levels = [sum(pixels[at : at + size]) / size for at in range(0, len(pixels), size)]
        return rises([level > 128 for level in levels], 1 / FRAME_RATE)

    def tones(self):
        """When the sound becomes loud, in seconds."""
        pcm = memoryview(self.decode("-vn", "-ac", "1", "-ar", "48000", "-f", "s16le")).cast("h")
        step = 48
        peaks = [max(abs(sample) for sample in pcm[at : at + step]) for at in range(0, len(pcm), step)]
        # The tone between the signals has a tenth of their level.
        loud = [max(peaks[at : at + 3]) > 6_000 for at in range(len(peaks))]
        return rises(loud, step / 48_000)


def rises(states, step):
    """Times at which a state begins that was off for a tenth of a second or more before."""
    times, off = [], 0
    for number, state in enumerate(states):
        if state and off * step >= 0.1:
            times.append(number * step)
        off = 0 if state else off + 1
    return times


def offsets(flashes, tones):
    """By how much each tone is later than its flash."""
    pairs = ((flash, min(tones, key=lambda tone: abs(tone - flash))) for flash in flashes)
    return [tone - flash for flash, tone in pairs if abs(tone - flash) < 0.4]
