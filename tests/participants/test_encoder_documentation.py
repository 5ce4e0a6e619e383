"""The commands for encoders in docs/clients/encoders.md publish."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from record import Record

PAGE = (Path(__file__).resolve().parents[2] / "docs/clients/encoders.md").read_text()
COMMANDS = re.findall(r"^```sh\n((?:ffmpeg|gst-launch-1.0) .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
STORY = ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]


def command(*parts):
    [found] = [command for command in COMMANDS if all(part in command for part in parts)]
    return found


def run(script, folder, **settings):
    """Runs a documented command for some seconds."""
    (folder / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    script = script.replace(" -t 10 ", " -t 3 ")
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), **settings}
    return subprocess.run(
        ["bash", "-c", script], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def configuration(tenant, stage):
    """A stream key, and where to publish with it."""
    made = tenant.ivs.create_ingest_configuration(stageArn=stage, ingestProtocol="RTMP", insecureIngest=True)["ingestConfiguration"]
    return {"SERVER": tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]["rtmp"], "KEY": made["streamKey"]}, made["participantId"]


def test_every_command_is_tested():
    assert len(COMMANDS) == 4


@pytest.mark.parametrize("parts", [("-f flv", "testsrc2", "-maxrate"), ("-f flv", "-filter_complex")], ids=["one layer", "two layers"])
def test_ffmpeg_publishes_over_rtmp(tenant, stage, configuration, tmp_path, parts):
    settings, participant = configuration
    ran = run(command(*parts), tmp_path, **settings)
    assert ran.returncode == 0, ran.stderr[-2000:]
    record = Record(tenant.ivs, stage)
    assert record.gone(participant)["protocol"] == "RTMP"
    assert record.story(participant) == STORY


def test_gstreamer_publishes_over_rtmp(tenant, stage, configuration, tmp_path):
    if not shutil.which("gst-launch-1.0"):
        pytest.skip("NOT CHECKED: GStreamer is not installed (apt-get install gstreamer1.0-tools gstreamer1.0-plugins-{bad,ugly} gstreamer1.0-libav)")
    settings, participant = configuration
    # The command runs until it is interrupted.
    ran = run(f"exec timeout --signal=INT 5 {command('gst-launch-1.0')}", tmp_path, **settings)
    assert "ERROR" not in ran.stderr, ran.stderr[-2000:]
    record = Record(tenant.ivs, stage)
    assert record.gone(participant)["protocol"] == "RTMP"
    assert record.story(participant) == STORY


def test_ffmpeg_publishes_over_whip(tenant, stage, tmp_path):
    sender = tenant.token(stage)
    whip = tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]["whip"]
    ran = run(command("-f whip"), tmp_path, TOKEN=sender["token"], WHIP_URL=whip)
    assert ran.returncode == 0, ran.stderr[-2000:]
    record = Record(tenant.ivs, stage)
    record.gone(sender["participantId"])
    assert record.story(sender["participantId"]) == STORY
