"""FFmpeg's WHIP muxer publishes, as it does to any other service."""

import subprocess

import imageio_ffmpeg
import pytest

from peers import view
from record import Record, eventually

PICTURE = "-re -f lavfi -i testsrc2=size=640x360:rate=30"
SOUND = "-re -f lavfi -i sine=frequency=440:sample_rate=48000"
# The service wants no B-frames; a key frame a second is what WHIP services ask for.
H264 = "-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -pix_fmt yuv420p -bf 0 -g 30 -b:v 800k"
OPUS = "-c:a libopus -ac 2 -b:a 64k"
# Ends by itself, whatever becomes of the test.
AT_MOST = "-t 60"


@pytest.fixture
def ffmpeg(tmp_path):
    """Starts FFmpeg publishing; it is killed at the end if it still runs."""
    running = []

    def start(whip, token, *more):
        options = f"-hide_banner -loglevel verbose -nostdin {PICTURE} {SOUND} {AT_MOST} {H264} {OPUS}".split()
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
async def test_ffmpeg_publishes_picture_and_sound(tenant, stage, ffmpeg, role):
    """In either role of DTLS: as the one that waits for the handshake, and as the one that begins it."""
    whip = tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]["whip"]
    sender, viewer = tenant.token(stage), tenant.token(stage)
    program = ffmpeg(whip, sender["token"], *role)
    record = Record(tenant.ivs, stage)
    eventually(lambda: record.sessions() and record.participants().get(sender["participantId"], {}).get("published"))

    watching = await view(whip, viewer["token"], sender["participantId"])
    await watching.sees()
    await watching.hears()
    await watching.stop()
    program.terminate()
    assert program.wait(30) in (0, 255), "FFmpeg deletes its resource when it is told to end"
    assert record.gone(sender["participantId"])["protocol"] == "WHIP"
    assert record.story(sender["participantId"]) == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]
