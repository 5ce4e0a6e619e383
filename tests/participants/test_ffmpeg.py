"""FFmpeg's WHIP muxer publishes."""

import subprocess

import imageio_ffmpeg
import pytest

from peers import view
from record import Record, eventually

VIDEO_INPUT = "-re -f lavfi -i testsrc2=size=640x360:rate=30"
AUDIO_INPUT = "-re -f lavfi -i sine=frequency=440:sample_rate=48000"
# No B-frames, and a key frame every second.
H264 = "-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -pix_fmt yuv420p -bf 0 -g 30 -b:v 800k"
OPUS = "-c:a libopus -ac 2 -b:a 64k"
# Limits the duration if the test does not stop FFmpeg.
DURATION = "-t 60"


@pytest.fixture
def ffmpeg(tmp_path):
    """Starts FFmpeg as a publisher; kills it at the end."""
    running = []

    def start(whip, token, *more):
        options = f"-hide_banner -loglevel verbose -nostdin {VIDEO_INPUT} {AUDIO_INPUT} {DURATION} {H264} {OPUS}".split()
        arguments = [imageio_ffmpeg.get_ffmpeg_exe(), *options, "-f", "whip", *more, "-authorization", token, whip]
        log = (tmp_path / "ffmpeg.log").open("wb")
        running.append(subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return running[-1]

    yield start
    for program in running:
        program.kill()
        program.wait()
    print((tmp_path / "ffmpeg.log").read_text(errors="replace")[-4000:])


@pytest.mark.parametrize("role", [(), ("-whip_flags", "dtls_active")], ids=["passive", "active"])
async def test_ffmpeg_publishes_audio_and_video(tenant, stage, ffmpeg, role):
    """In both DTLS roles."""
    whip = tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]["whip"]
    sender, viewer = tenant.token(stage), tenant.token(stage)
    program = ffmpeg(whip, sender["token"], *role)
    record = Record(tenant.ivs, stage)
    eventually(lambda: record.sessions() and record.participants().get(sender["participantId"], {}).get("published"))

    watching = await view(whip, viewer["token"], sender["participantId"])
    await watching.receives_video()
    await watching.receives_audio()
    await watching.stop()
    program.terminate()
    assert program.wait(30) in (0, 255), "FFmpeg deletes its resource when it is terminated"
    assert record.gone(sender["participantId"])["protocol"] == "WHIP"
    assert record.story(sender["participantId"]) == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]
