"""Recordings on S3 that hangs, and with a spool whose disk is slow or fails: nothing else notices, and nothing is lost."""

import time

import pytest

from figures import page
from joining import JoinProcess
from preload import Setting, build
from record import Record, eventually
from s3_server import CREDENTIALS, S3Server


@pytest.fixture
def s3():
    with S3Server("films") as server:
        yield server


@pytest.fixture
def disk(tmp_path):
    """The disk of the spool: "fail", or the milliseconds that a write takes."""
    return Setting(tmp_path / "disk")


@pytest.fixture
def server(request, s3, start_server, new_file, tmp_path):
    flags = ("--storage", "s3", "--s3-endpoint", s3.endpoint, "--s3-region", "eu-west-1", "--s3-encryption", "AES256")
    spool, env = tmp_path / "spool", dict(CREDENTIALS)
    if "disk" in request.fixturenames:
        disk = request.getfixturevalue("disk")
        env |= {"LD_PRELOAD": str(build("disk_fault.c", tmp_path))}
        env |= {"DISK_FAULT_FILE": str(disk.file), "DISK_FAULT_FOLDER": str(spool)}
    return start_server(new_file(), *flags, "--recording-spool-dir", str(spool), **env)


@pytest.fixture
def stage(server):
    tenant = server.tenant()
    storage = tenant.ivs.create_storage_configuration(s3={"bucketName": "films"})["storageConfiguration"]["arn"]
    segments = {"targetSegmentDurationSeconds": 2}
    recording = {"storageConfigurationArn": storage, "hlsConfiguration": segments}
    return tenant, tenant.ivs.create_stage(autoParticipantRecordingConfiguration=recording)["stage"]["arn"]


class Broadcast:
    """A participant of a stage that is recorded, and one that watches."""

    def __init__(self, tenant, arn):
        self.tenant, self.arn = tenant, arn
        sender, viewer = tenant.token(arn), tenant.token(arn)
        self.participant_id = sender["participantId"]
        self.publisher = JoinProcess(sender["token"], "--publish", "test-pattern")
        self.subscriber = JoinProcess(viewer["token"], "--subscribe", "all")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.publisher.leave()
        self.subscriber.leave()

    def recording_state(self):
        """`None` before the publisher has joined."""
        record = Record(self.tenant.ivs, self.arn)
        participants = record.participants() if record.sessions() else {}
        return participants.get(self.participant_id, {}).get("recordingState")

    def goes_on(self):
        """Asserts that media are forwarded for some seconds, and that the API answers."""
        frames = self.subscriber.received_frames(8)
        assert frames[-1] - frames[1] >= 25 * 6, frames
        asked = time.monotonic()
        for _ in range(20):
            self.tenant.ivs.get_stage(arn=self.arn)
        assert time.monotonic() - asked < 5

    def wait_for(self, state):
        eventually(lambda: self.recording_state() == state)

    def is_complete(self, s3):
        """Waits for the end of the recording, and asserts that everything is stored."""
        self.wait_for("STOPPED")
        prefix = Record(self.tenant.ivs, self.arn).participant(self.participant_id)["recordingS3Prefix"]
        [playlist] = s3.named("high/playlist.m3u8").values()
        names = [line for line in playlist.decode().splitlines() if line.endswith(".mp4")]
        assert playlist.endswith(b"#EXT-X-ENDLIST\n") and len(names) >= 4
        assert names == [f"{number}.mp4" for number in range(len(names))]
        assert b"EXT-X-DISCONTINUITY\n" not in playlist
        assert all(f"{prefix}/media/hls/high/{name}" in s3.objects for name in names)
        assert len(s3.named("recording-ended.json")) == 1


def test_while_s3_hangs_media_and_api_go_on_and_everything_is_stored_later(s3, stage):
    s3.works.clear()
    with Broadcast(*stage) as broadcast:
        broadcast.goes_on()
        assert broadcast.recording_state() == "STARTING" and not s3.objects
        s3.works.set()
        broadcast.wait_for("ACTIVE")
    broadcast.is_complete(s3)
    for headers in s3.headers.values():
        assert headers["x-amz-server-side-encryption"] == "AES256" and headers["x-amz-acl"] == "bucket-owner-full-control"


def test_with_a_spool_that_cannot_be_written_media_and_api_go_on_and_everything_is_stored(disk, s3, server, stage):
    disk.set("fail")
    with Broadcast(*stage) as broadcast:
        broadcast.goes_on()
        broadcast.wait_for("ACTIVE")
    broadcast.is_complete(s3)
    log = server.test_server.wait_for_log("recording spool not writable; objects are kept in memory until they are stored")
    assert "Input/output error" in log


def test_a_spool_that_fails_midway_and_recovers_loses_nothing(disk, s3, stage):
    with Broadcast(*stage) as broadcast:
        broadcast.wait_for("ACTIVE")
        disk.set("fail")
        broadcast.goes_on()
        disk.set("")
        broadcast.subscriber.received_frames(3)
    broadcast.is_complete(s3)


def test_with_a_slow_spool_media_and_api_go_on_and_everything_is_stored(disk, s3, server, stage):
    disk.set(700)
    with Broadcast(*stage) as broadcast:
        broadcast.goes_on()
        broadcast.wait_for("ACTIVE")
    broadcast.is_complete(s3)
    metrics = page(server)
    stored = metrics.value("greenroom_recording_upload_delay_seconds_count")
    in_time = metrics.value("greenroom_recording_upload_delay_seconds_bucket", le="0.5")
    assert stored >= len(s3.objects) and in_time == 0, "every object has waited for the spool"


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
