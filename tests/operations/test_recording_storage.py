"""Recordings on S3 that hangs: nothing else notices, and nothing is lost."""

import time

import pytest

from joining import JoinProcess
from record import eventually
from s3_server import CREDENTIALS, S3Server


@pytest.fixture
def s3():
    with S3Server("films") as server:
        yield server


@pytest.fixture
def server(s3, start_server, new_file, tmp_path):
    flags = ("--storage", "s3", "--s3-endpoint", s3.endpoint, "--s3-region", "eu-west-1", "--s3-encryption", "AES256")
    return start_server(new_file(), *flags, "--recording-spool-dir", str(tmp_path / "spool"), **CREDENTIALS)


@pytest.fixture
def stage(server):
    tenant = server.tenant()
    storage = tenant.ivs.create_storage_configuration(s3={"bucketName": "films"})["storageConfiguration"]["arn"]
    segments = {"targetSegmentDurationSeconds": 2}
    recording = {"storageConfigurationArn": storage, "hlsConfiguration": segments}
    return tenant, tenant.ivs.create_stage(autoParticipantRecordingConfiguration=recording)["stage"]["arn"]


def test_while_s3_hangs_media_and_api_go_on_and_everything_is_stored_later(s3, server, stage):
    tenant, arn = stage
    s3.works.clear()
    sender, viewer = tenant.token(arn), tenant.token(arn)
    publisher = JoinProcess(sender["token"], "--publish", "test-pattern")
    subscriber = JoinProcess(viewer["token"], "--subscribe", "all")
    try:
        frames = subscriber.received_frames(8)
        assert frames[-1] - frames[1] >= 25 * 6, frames
        asked = time.monotonic()
        for _ in range(20):
            tenant.ivs.get_stage(arn=arn)
        assert time.monotonic() - asked < 5

        def participant():
            [session] = tenant.ivs.list_stage_sessions(stageArn=arn)["stageSessions"]
            names = {"stageArn": arn, "sessionId": session["sessionId"], "participantId": sender["participantId"]}
            return tenant.ivs.get_participant(**names)["participant"]

        assert participant()["recordingState"] == "STARTING" and not s3.objects
        s3.works.set()
        eventually(lambda: participant()["recordingState"] == "ACTIVE")
    finally:
        publisher.leave()
        subscriber.leave()
    stopped = eventually(lambda: (found := participant())["recordingState"] == "STOPPED" and found)
    [playlist] = s3.named("high/playlist.m3u8").values()
    names = [line for line in playlist.decode().splitlines() if line.endswith(".mp4")]
    assert playlist.endswith(b"#EXT-X-ENDLIST\n") and len(names) >= 4
    assert all(f"{stopped['recordingS3Prefix']}/media/hls/high/{name}" in s3.objects for name in names)
    assert len(s3.named("recording-ended.json")) == 1
    for headers in s3.headers.values():
        assert headers["x-amz-server-side-encryption"] == "AES256" and headers["x-amz-acl"] == "bucket-owner-full-control"


def test_a_bucket_that_is_missing_fails_the_start_of_the_recording_only(server):
    tenant = server.tenant()
    storage = tenant.ivs.create_storage_configuration(s3={"bucketName": "nowhere"})["storageConfiguration"]["arn"]
    recording = {"storageConfigurationArn": storage}
    arn = tenant.ivs.create_stage(autoParticipantRecordingConfiguration=recording)["stage"]["arn"]
    sender = tenant.token(arn)
    publisher = JoinProcess(sender["token"], "--publish", "test-pattern")
    try:

        def failed():
            sessions = tenant.ivs.list_stage_sessions(stageArn=arn)["stageSessions"]
            names = {"stageArn": arn, "sessionId": sessions[0]["sessionId"]} if sessions else None
            return names and tenant.ivs.list_participants(**names, filterByRecordingState="FAILED")["participants"]

        [found] = eventually(failed)
        assert found["state"] == "CONNECTED" and found["published"]
        server.test_server.wait_for_log("NoSuchBucket")
    finally:
        publisher.leave()
