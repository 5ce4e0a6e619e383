"""Recordings of publishers whose flashes and tones belong together: a page, and FFmpeg."""

import subprocess

import imageio_ffmpeg
import pytest

from media_pages import PICTURE, MediaPages
from network import Network
from record import eventually
from recorded_media import Recording, offsets

SMALL = {**PICTURE, "width": 480, "height": 270}
MARK = SMALL["height"] // 4
SECONDS = 14
SIGNAL = "lt(mod(t,1),0.1)"
# What viewers notice.
LIP_SYNC = 0.04


@pytest.fixture
def media_pages(chromium):
    with Network() as network, MediaPages(chromium, network) as pages:
        yield pages


@pytest.fixture
def recorded(tenant, recordings):
    """Records what a function publishes, which is given the WHIP URL and a token; returns the recording."""
    storage = tenant.ivs.create_storage_configuration(s3={"bucketName": "films"})["storageConfiguration"]["arn"]

    def record(publish):
        configuration = {"storageConfigurationArn": storage}
        stage = tenant.ivs.create_stage(autoParticipantRecordingConfiguration=configuration)["stage"]
        token = tenant.token(stage["arn"])

        def reached(state):
            sessions = tenant.ivs.list_stage_sessions(stageArn=stage["arn"])["stageSessions"]
            if not sessions:
                return None
            names = {"stageArn": stage["arn"], "sessionId": sessions[0]["sessionId"]}
            participants = tenant.ivs.list_participants(**names)["participants"]
            if token["participantId"] not in [participant["participantId"] for participant in participants]:
                return None
            found = tenant.ivs.get_participant(**names, participantId=token["participantId"])["participant"]
            return found["recordingState"] == state and found

        end = publish(stage["endpoints"]["whip"], token["token"])
        eventually(lambda: reached("ACTIVE"))
        end()
        return Recording(recordings, eventually(lambda: reached("STOPPED")))

    return record


@pytest.fixture
def page_recorded(recorded, media_pages):
    """Records a page."""

    def record(seconds=SECONDS, **options):
        def publish(whip, token):
            page = media_pages.publisher(whip, token, codec="H264", picture=SMALL, **options)
            return lambda: (page.wait(seconds), page.delete())

        return recorded(publish)

    return record


@pytest.mark.parametrize("up", ["", "delay=20ms,loss=5%"])
def test_sound_and_picture_of_a_page_stay_together(page_recorded, up):
    recording = page_recorded(up=up)
    assert recording.playlist().endswith("#EXT-X-ENDLIST\n")
    assert SECONDS - 0.5 <= recording.duration() <= SECONDS + 3
    measured = offsets(recording.flashes(MARK), recording.tones())
    # Chromium's generators of tracks have an offset of their own. A sender report may change it in the first seconds.
    settled = sorted(measured[len(measured) // 2 :])
    assert len(settled) >= SECONDS // 3, measured
    assert settled[-1] - settled[0] <= LIP_SYNC, measured


def test_only_the_best_layer_is_recorded(page_recorded):
    layers = [{"rid": "low", "scaleResolutionDownBy": 2, "maxBitrate": 150_000}, {"rid": "high", "maxBitrate": 600_000}]
    recording = page_recorded(encodings=layers, seconds=8)
    assert "RESOLUTION=480x270" in (recording.hls / "multivariant.m3u8").read_text()
    # FFmpeg plays on where the layer changes.
    assert len(recording.flashes(MARK)) >= 5


def test_sound_and_picture_of_an_encoder_are_together(recorded):
    picture = f"color=black:s=480x270:r=30,drawbox=w={MARK}:h={MARK}:color=white:t=fill:enable='{SIGNAL}'"
    sound = f"aevalsrc='if({SIGNAL},0.5*sin(2*PI*1000*t),0)':s=48000"
    h264 = "-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -pix_fmt yuv420p -bf 0 -g 60 -b:v 400k"
    inputs = ["-re", "-f", "lavfi", "-i", picture, "-re", "-f", "lavfi", "-i", sound, "-t", str(SECONDS)]

    def publish(whip, token):
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *inputs, *h264.split(), "-c:a", "libopus"]
        program = subprocess.Popen([*command, "-ac", "2", "-f", "whip", "-authorization", token, whip])
        return lambda: program.wait(60)

    recording = recorded(publish)
    assert abs(recording.duration() - SECONDS) <= 1, recording.playlist()
    measured = offsets(recording.flashes(MARK), recording.tones())
    print("offsets", [round(1000 * offset) for offset in measured])
    assert len(measured) >= SECONDS - 3, measured
    assert all(abs(offset) <= LIP_SYNC for offset in measured), measured
