"""A server that records is killed: what was stored plays, each playlist is closed, and no recording goes on for ever.

CI runs a few rounds; more with RECORDING_CRASH_ROUNDS=50.
"""

import json
import os
import random
import subprocess
import time
from collections import Counter

from crash_run import free_address
from server import MASTER_KEY, Greenroom, binary, environment, run
from wire import Wire

ROUNDS = int(os.environ.get("RECORDING_CRASH_ROUNDS", "3"))
PUBLISHERS = 3
ACCOUNT, REGION = "220000000000", "us-east-1"
PATIENCE_SECONDS = 40
# Segments of two seconds: kills hit them at every point.
RECORDING = {"hlsConfiguration": {"targetSegmentDurationSeconds": 2}}
ENDED = ("STOPPED", "FAILED")


class RecordingServer:
    """A server that is killed and started again on its store."""

    def __init__(self, store, folder):
        self.store, self.folder, self.address = store, folder, free_address()
        self.wire = None
        self.events = folder / "events.jsonl"
        targets = folder / "events.toml"
        targets.write_text(f'[[target]]\nname = "file"\ntype = "file"\nfrom = "oldest"\npath = "{self.events}"\n')
        self.flags = ["--listen", self.address, "--database-url", store, "--media-addr", "127.0.0.1:0"]
        self.flags += ["--storage", f"folder:{folder / 'recordings'}", "--recording-spool-dir", str(folder / "spool")]
        self.flags += ["--session-end-seconds", "1", "--node-lease-seconds", "2", "--events-config", str(targets)]
        self.program = None

    def start(self):
        self.program = Greenroom(*self.flags, GREENROOM_MASTER_KEY=MASTER_KEY, RUST_LOG="info").serving()
        self.wire = Wire(f"http://{self.address}", ACCOUNT, REGION)

    def call(self, operation, document):
        answer = self.wire.call(operation, document)
        assert answer.status == 200, answer
        return answer.json

    def recordings(self, verb, *arguments):
        store = ("--database-url", self.store, "--output", "json")
        return run("recordings", verb, *arguments, *store, GREENROOM_MASTER_KEY=MASTER_KEY)

    def listed(self):
        """All recordings, by id."""
        answer = self.recordings("list", "--limit", "1000")
        assert answer.returncode == 0, answer.stderr
        return {one["id"]: one for one in json.loads(answer.stdout)["recordings"]}

    def wait_for(self, condition):
        """Waits for the recordings to meet a condition; returns them."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition(found := self.listed()):
            assert time.monotonic() < end, f"{Counter(one['state'] for one in found.values())}\n{self.program.logged()[-3000:]}"
            time.sleep(0.2)
        return found


def publish(token):
    command = [binary("GREENROOM_BIN"), "join", "--token", "-", "--publish", "test-pattern"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, text=True, **silent)
    process.stdin.write(token)
    process.stdin.close()
    return process


def kill_while_recording(server, stage, wait):
    """Records several publishers, and kills the server `wait` seconds after the first one is recorded."""
    known = set(server.listed())
    publishers = []
    try:
        for _ in range(PUBLISHERS):
            token = server.call("CreateParticipantToken", {"stageArn": stage})["participantToken"]["token"]
            publishers.append(publish(token))
        active = lambda found: any(one["state"] == "ACTIVE" for key, one in found.items() if key not in known)
        server.wait_for(active)
        time.sleep(wait)
        server.program.kill()
        assert "panicked" not in server.program.logged()
    finally:
        for publisher in publishers:
            publisher.kill()
            publisher.wait()


def test_recordings_of_a_killed_server_end_and_play(engine, store, tmp_path):
    choices = random.Random(f"1 {engine}")
    server = RecordingServer(store, tmp_path)
    server.start()
    storage = server.call("CreateStorageConfiguration", {"s3": {"bucketName": "films"}})["storageConfiguration"]["arn"]
    recording = {"storageConfigurationArn": storage, **RECORDING}
    stage = server.call("CreateStage", {"autoParticipantRecordingConfiguration": recording})["stage"]["arn"]
    verified, played = set(), 0
    try:
        for _ in range(ROUNDS):
            kill_while_recording(server, stage, choices.uniform(0, 6))
            server.start()
            found = server.wait_for(lambda found: all(one["state"] in ENDED for one in found.values()))
            for key in set(found) - verified:
                verified.add(key)
                played += is_complete(server, found[key])
    finally:
        server.program.end()
    assert len(verified) >= ROUNDS and played >= ROUNDS
    assert_announced_once(server, [one for one in found.values()])


def is_complete(server, recording):
    """Verifies a recording that has ended; whether it has media."""
    if recording["state"] == "FAILED":
        # Killed before anything was stored, not even that it has started.
        assert recording["durationMs"] == 0, recording
        return False
    report = server.recordings("verify", recording["id"], "--storage", f"folder:{server.folder / 'recordings'}")
    assert report.returncode == 0, f"{recording}: {report.stdout}"
    return json.loads(report.stdout)["summary"]["durationMs"] > 0


def assert_announced_once(server, recordings):
    """A recording that has started has one event of its start and one of its end."""
    # A partial line is the last one of a process that was killed; its event was written again.
    lines = [line for line in server.events.read_text().splitlines() if is_json(line)]
    events = {event["id"]: event for event in map(json.loads, lines)}
    details = [event["detail"] for event in events.values() if "Recording" in event["detail-type"]]
    names = Counter((detail["recording_s3_key_prefix"], detail["event_name"]) for detail in details)
    assert set(names.values()) <= {1}, names
    for recording in recordings:
        if recording["state"] == "STOPPED":
            of_this = {name for prefix, name in names if prefix == recording["prefix"]}
            assert of_this == {"Recording Start", "Recording End"}, (recording, of_this)


def is_json(line):
    try:
        return bool(json.loads(line))
    except ValueError:
        return False
