"""Recordings on a clock that is moved: their reconnect windows are over at once."""

import time as system

import pytest

from control import Control
from joining import JoinProcess
from record import Record, eventually
from simulation import TestClock, after, time

WINDOW = 30


@pytest.fixture(scope="module")
def server(start_server, new_file):
    return start_server(new_file(), "--test-api=on")


@pytest.fixture
def tenant(server):
    return server.tenant()


@pytest.fixture
def clock(server):
    clock = TestClock(server)
    yield clock
    clock.resume()


class Recorded:
    """A participant whose recording has started, or will not, and who has left."""

    def __init__(self, tenant, wait_for_start):
        recording = {"storageConfigurationArn": tenant.storage(), "recordingReconnectWindowSeconds": WINDOW}
        self.control, self.stage = Control.of(tenant), tenant.stage(autoParticipantRecordingConfiguration=recording)
        self.record, token = Record(tenant.ivs, self.stage), tenant.token(self.stage)
        self.participant = token["participantId"]
        with JoinProcess(token["token"], "--publish", "test-pattern"):
            wait_for_start(self)
        eventually(lambda: self.state() == "STOPPING")

    def state(self):
        sessions = self.record.sessions()
        return self.record.participant(self.participant)["recordingState"] if sessions else None

    def events(self):
        """The names of the recording's events, and their times."""
        events = [entry["event"] for entry in self.control.get("/events")["entries"]]
        return [
            (event["detail"]["event_name"], time(event["time"]))
            for event in events
            if event["detail-type"] == "IVS Participant Recording State Change"
        ]


def test_a_recording_ends_with_its_reconnect_window(clock, tenant):
    at = clock.freeze()
    recorded = Recorded(tenant, lambda recorded: eventually(lambda: recorded.state() == "ACTIVE"))
    clock.advance(WINDOW)
    assert recorded.state() == "STOPPING", "the window includes its last moment"
    assert clock.advance(3600) >= 1
    assert recorded.state() == "STOPPED"
    (started, _), (ended, ended_at) = recorded.events()
    assert (started, ended, after(at, ended_at)) == ("Recording Start", "Recording End", [WINDOW])


def test_a_recording_whose_storage_hangs_does_not_hold_the_clock(clock, tenant):
    fault = Control.of(tenant).fault({"storage": "hang"})
    hanging = Recorded(tenant, lambda recorded: eventually(lambda: recorded.control.counts(fault)[1] >= 1))
    begun = system.monotonic()
    clock.advance(7200)
    clock.advance(7200)
    assert system.monotonic() - begun < 12, "it is awaited once"
    assert (hanging.state(), hanging.events()) == ("STOPPING", [])
    hanging.control.delete(f"/faults/{fault}")
    eventually(lambda: [name for name, _ in hanging.events()] == ["Recording Start", "Recording End"])
