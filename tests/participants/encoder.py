"""Third-party encoders that publish by RTMP: FFmpeg of PyPI and of Debian, GStreamer's rtmp2sink, and librtmp."""

import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import imageio_ffmpeg
import pytest

from pictures import graph

TIMEOUT_SECONDS = 20
LEFT_HZ, RIGHT_HZ = 440, 660
# Limits the duration if a test does not stop an encoder.
MAX_SECONDS = 90


@dataclass(frozen=True)
class Media:
    """What an encoder sends."""

    width: int = 640
    height: int = 360
    rate: int = 30
    # Frames from key frame to key frame.
    gop: int = 30
    bitrate: int = 2_000_000
    video_codec: str = "libx264"
    b_frames: int = 0
    audio_codec: str = "aac"
    sample_rate: int = 48000
    channels: int = 2
    # A beep at the beginning of each second instead of the tones.
    beeps: bool = False
    # Shown in the picture, see `pictures`.
    source: int = 0
    seconds: int = MAX_SECONDS

    def but(self, **changed):
        return replace(self, **changed)

    def inputs(self):
        picture = graph(self.width, self.height, self.rate, self.source)
        level = "0.5*lt(mod(t,1),0.1)" if self.beeps else "0.2"
        tones = "|".join(f"{level}*sin(2*PI*{hz}*t)" for hz in (LEFT_HZ, RIGHT_HZ)[: self.channels])
        sound = f"aevalsrc='{tones}':s={self.sample_rate}"
        return ["-re", "-f", "lavfi", "-i", picture, "-re", "-f", "lavfi", "-i", sound, "-t", str(self.seconds)]

    def encoding(self):
        video = ["-c:v", self.video_codec, "-pix_fmt", "yuv420p", "-g", self.gop, "-b:v", self.bitrate]
        if self.video_codec == "libx264":
            # -tune zerolatency would disable B-frames.
            tune = ["-bf", self.b_frames] if self.b_frames else ["-tune", "zerolatency", "-profile:v", "baseline"]
            video += ["-preset", "ultrafast", "-sc_threshold", 0, *tune]
        if self.video_codec == "libx265":
            video += ["-preset", "ultrafast", "-x265-params", "bframes=0:log-level=none"]
        audio = ["-c:a", self.audio_codec, "-b:a", "128k"]
        return [str(option) for option in video + audio]


class Encoder:
    """Processes connected by pipes, of which the last one sends; their messages."""

    def __init__(self, log, *commands):
        self.log, self.processes = log, []
        with log.open("wb") as messages:
            source = subprocess.DEVNULL
            for command in commands:
                sink = subprocess.PIPE if command is not commands[-1] else messages
                running = subprocess.Popen([str(word) for word in command], stdin=source, stdout=sink, stderr=messages)
                if source is not subprocess.DEVNULL:
                    # Only the next process may hold it, or a pipe would outlive its reader.
                    source.close()
                self.processes.append(running)
                source = running.stdout

    @property
    def pid(self):
        return self.processes[-1].pid

    def messages(self):
        return self.log.read_text(errors="replace")

    def wait(self, seconds=TIMEOUT_SECONDS):
        """Waits until the encoder has ended by itself; returns its exit code."""
        try:
            return self.processes[-1].wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the encoder runs on: {self.messages()[-3000:]}") from None

    def stop(self):
        """Asks FFmpeg to end the stream, and waits. It must not have ended before, for an error."""
        self.processes[0].send_signal(signal.SIGINT)
        self.wait()
        assert "Exiting normally, received signal 2" in self.messages(), self.messages()[-3000:]

    def signal(self, number):
        self.processes[-1].send_signal(number)

    def kill(self):
        for process in self.processes:
            process.kill()
            process.wait()


def ffmpeg(url, media, program=None, options=()):
    """FFmpeg of PyPI, or another one."""
    command = [program or imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "info", "-nostats", "-nostdin"]
    return [[*command, *media.inputs(), *media.encoding(), "-f", "flv", *options, url]]


def debian_ffmpeg(url, media):
    return ffmpeg(url, media, installed("ffmpeg", "/usr/bin/ffmpeg", "ffmpeg"))


def librtmp(url, media):
    """librtmp is a part of OBS and of GStreamer's rtmpsink. It sends what FFmpeg encodes."""
    program = Path(__file__).with_name("librtmp.py")
    return [*ffmpeg("pipe:1", media, options=("-flush_packets", "1")), [sys.executable, program, url]]


def gstreamer(url, media):
    """GStreamer's rtmp2sink sends what FFmpeg encodes."""
    launch = installed("gst-launch-1.0", "gst-launch-1.0", "gstreamer1.0-tools gstreamer1.0-plugins-{base,good,bad}")
    parts = "fdsrc ! flvdemux name=in flvmux name=out streamable=true ! rtmp2sink in.audio ! queue ! aacparse ! out. "
    parts += "in.video ! queue ! h264parse ! out."
    pipeline = parts.replace("rtmp2sink", f"rtmp2sink location={url}").split()
    return [*ffmpeg("pipe:1", media, options=("-flush_packets", "1")), [launch, "-e", *pipeline]]


def installed(name, program, packages):
    """The path of a program that scripts/test does not install: its packages have more than 100 MB."""
    found = shutil.which(program)
    if not found:
        pytest.skip(f"NOT CHECKED: {name} is not installed (apt-get install {packages})")
    return found


ENCODERS = {"ffmpeg": ffmpeg, "debian-ffmpeg": debian_ffmpeg, "librtmp": librtmp, "gstreamer": gstreamer}


@pytest.fixture
def encode(tmp_path):
    """Starts encoders; kills them at the end."""
    running = []

    def start(url, media=Media(), encoder="ffmpeg", **options):
        log = tmp_path / f"encoder-{len(running)}.log"
        running.append(Encoder(log, *ENCODERS[encoder](url, media, **options)))
        return running[-1]

    yield start
    for encoder in running:
        encoder.kill()
        print(encoder.messages()[-3000:])
