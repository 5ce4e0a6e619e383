"""Faults of the storage: recordings whose uploads are refused, or hang."""

from pathlib import Path

import pytest

from control import Control
from joining import JoinProcess
from record import Record, eventually

BUCKET = "recordings"


@pytest.fixture(scope="module")
def server(start_server, new_file):
    """Stores recordings in a folder beside its database."""
    return start_server(new_file(), "--test-api=on")


@pytest.fixture(scope="module")
def folder(server):
    """Where the server stores the bucket."""
    return Path(server.database.removeprefix("sqlite://")).parent / "recordings" / BUCKET


@pytest.fixture
def tenant(server):
    return server.tenant()


@pytest.fixture
def other(server):
    return server.tenant()


@pytest.fixture
def control(tenant):
    return Control.of(tenant)


def recorded_stage(tenant, **more):
    recording = {"storageConfigurationArn": tenant.storage(), "hlsConfiguration": {"targetSegmentDurationSeconds": 2}}
    return tenant.stage(autoParticipantRecordingConfiguration=recording | more)


def publisher(tenant, stage):
    """A participant that publishes, and its id."""
    token = tenant.token(stage)
    return JoinProcess(token["token"], "--publish", "test-pattern"), token["participantId"]


def event(control, name):
    """Waits for an event of a recording; returns its detail."""
    waited = control.wait(event={"detail": {"event_name": [name]}}, timeoutSeconds=30)
    assert waited["matched"], waited["closest"]
    return waited["entries"][0]["event"]["detail"]


def state(tenant, stage, participant):
    return Record(tenant.ivs, stage).participant(participant)["recordingState"]


def test_a_refused_upload_fails_the_start_of_the_recording_of_this_account_only(tenant, other, control):
    fault = control.fault({"storage": "refuse"}, {"bucket": BUCKET})
    elsewhere = control.fault({"storage": "refuse"}, {"bucket": "another-bucket"})
    stage, stage_of_other = recorded_stage(tenant), recorded_stage(other)
    (publishing, participant), (publishing_other, _) = publisher(tenant, stage), publisher(other, stage_of_other)
    with publishing, publishing_other:
        failure = event(control, "Recording Start Failure")
        assert (failure["error_code"], failure["reason"]) == ("AccessDenied", "Access to the bucket was denied.")
        assert (failure["participant_id"], failure["recording_s3_bucket_name"]) == (participant, BUCKET)
        shown = Record(tenant.ivs, stage).participant(participant)
        assert (shown["recordingState"], shown["state"], shown["published"]) == ("FAILED", "CONNECTED", True)
        event(Control.of(other), "Recording Start")
    # Also the file that describes the failure is refused.
    assert control.counts(fault)[1] >= 2 and control.counts(elsewhere) == (0, 0)
    tenant.server.test_server.wait_for_log("fault injected")


def test_a_recording_whose_uploads_hang_is_complete_once_the_fault_is_removed(tenant, control, folder):
    fault = control.fault({"storage": "hang"})
    stage = recorded_stage(tenant)
    publishing, participant = publisher(tenant, stage)
    with publishing:
        eventually(lambda: control.counts(fault)[1] >= 3)
        assert state(tenant, stage, participant) == "STARTING"
    eventually(lambda: state(tenant, stage, participant) == "STOPPING")
    assert not list(folder.glob(f"{stage.rpartition('/')[2]}/**/*.mp4"))
    control.delete(f"/faults/{fault}")
    end = event(control, "Recording End")
    stored = folder / end["recording_s3_key_prefix"]
    playlist = (stored / "media/hls/high/playlist.m3u8").read_text()
    segments = [line for line in playlist.splitlines() if line.endswith(".mp4")]
    assert playlist.endswith("#EXT-X-ENDLIST\n") and segments
    assert all((stored / "media/hls/high" / name).exists() for name in segments)
    assert (stored / "events/recording-ended.json").exists()
    assert end["recording_duration_ms"] > 0 and state(tenant, stage, participant) == "STOPPED"
