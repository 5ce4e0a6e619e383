"""Tests of Amazon IVS Real-Time programs against a greenroom server.

with Server.start() as server:
    greenroom = server.isolated()            # an account of its own
    ivs = greenroom.client("ivs-realtime")   # boto3
    stage = ivs.create_stage(name="lobby")["stage"]["arn"]
    alice = greenroom.join(stage, user_id="alice", publish=True)
"""

from .client import Greenroom
from .credentials import Credentials
from .errors import (
    AccessDenied,
    ApiError,
    Conflict,
    GreenroomError,
    NotFound,
    ServerError,
    SharedClockError,
    TestApiMissing,
    ValidationError,
    WaitTimeout,
)
from .faults import Fault
from .journal import Entry, Event
from .participants import Participant
from .scenarios import Scenario, ScenarioRun
from .server import Server
from .state import Seeded, Snapshot

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "ApiError",
    "Conflict",
    "Credentials",
    "Entry",
    "Event",
    "Fault",
    "Greenroom",
    "GreenroomError",
    "NotFound",
    "Participant",
    "Scenario",
    "ScenarioRun",
    "Seeded",
    "Server",
    "ServerError",
    "SharedClockError",
    "Snapshot",
    "TestApiMissing",
    "ValidationError",
    "WaitTimeout",
]
