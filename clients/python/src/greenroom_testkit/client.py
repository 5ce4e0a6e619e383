"""The control client of an account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from .clock import Clock
from .credentials import Credentials
from .faults import Effect, Fault, Faults, effect_of, match_of
from .journal import Entry, Event, Journal, Pattern, call_pattern, event_pattern
from .participants import JoinOptions, Participant, Participants
from .scenarios import Scenario, ScenarioRun, Scenarios, TimeMode
from .state import Seeded, Snapshots, State
from .times import Duration, Time
from .transport import Json, Transport

if TYPE_CHECKING:
    from typing_extensions import Unpack

WAIT_SECONDS = 10
# Sessions of boto3 are not thread-safe; clients are.
_SESSION_LOCK = Lock()


@cache
def _session() -> Any:
    """A session for all clients: loading the models of the services takes much longer than making a client."""
    import boto3

    return boto3.session.Session()


class Greenroom:
    """Controls one account in one region of a server.

    The methods here are the common ones; `clock`, `participants`, `scenarios`, `faults`, `journal` and `snapshots`
    have all of them. Everything but the clock applies to this account only.
    """

    def __init__(
        self,
        endpoint: str,
        account: str,
        region: str,
        credentials: Credentials,
        *,
        signed_by: Credentials | None = None,
        exclusive: bool = True,
    ) -> None:
        """`credentials` is the account's access key. `signed_by` is the key of the server's own account, if the server
        requires signatures (`--test-api=public`). `exclusive`: no other test uses the server at the same time."""
        self.endpoint = endpoint.rstrip("/")
        self.account = account
        self.region = region
        self.credentials = credentials
        own_key = credentials if signed_by else None
        self._transport = Transport(self.endpoint, account, region, own_key, signed_by)
        self._state = State(self._transport)
        self.clock = Clock(self._transport, exclusive)
        self.participants = Participants(self._transport)
        self.scenarios = Scenarios(self._transport, self.clock)
        self.faults = Faults(self._transport)
        self.journal = Journal(self._transport)

    # Clients

    def client(self, service: str = "ivs-realtime", **options: Any) -> Any:
        """A boto3 client of the account. `options` are those of `boto3.client`."""
        settings = {
            "endpoint_url": self.endpoint,
            "region_name": self.region,
            "aws_access_key_id": self.credentials.access_key_id,
            "aws_secret_access_key": self.credentials.secret_access_key,
            **options,
        }
        with _SESSION_LOCK:
            return _session().client(service, **settings)

    def environment(self) -> dict[str, str]:
        """Environment variables that direct a program with an AWS SDK to this account."""
        return {
            "AWS_ENDPOINT_URL_IVS_REALTIME": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_access_key,
            # Those of the user belong to other credentials. An SDK treats an empty one as none.
            "AWS_SESSION_TOKEN": "",
            "AWS_SECURITY_TOKEN": "",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
        }

    # State

    @property
    def snapshots(self) -> Snapshots:
        return self._state.snapshots

    def reset(self) -> dict[str, int]:
        """Deletes all resources of the account; returns how many, by kind."""
        return self._state.reset()

    def seed(self, document: Json | str | Path) -> Seeded:
        """Creates resources: of a dict, of YAML or JSON text, or of a file. Either all are created, or none."""
        return self._state.seed(document)

    # Clock

    @contextmanager
    def frozen(self, at: Time | None = None) -> Iterator[Clock]:
        """The clock stands still, and is moved by `advance` only; at the end it resumes."""
        with self.clock.frozen(at) as clock:
            yield clock

    @contextmanager
    def time_travel(self, to: Time | None = None, by: Duration | None = None) -> Iterator[Clock]:
        """The clock is moved to a time, or by a duration, and goes on from there; at the end it resumes."""
        with self.clock.time_travel(to, by) as clock:
            yield clock

    # Participants

    def join(self, stage: str | None = None, **options: Unpack[JoinOptions]) -> Participant:
        """A simulated participant joins a stage (ARN or name): with a token, which names its stage, or with a new one."""
        return self.participants.join(stage, **options)

    def scenario(self, stage: str | None = None) -> Scenario:
        """A new scenario to write as Python, at a stage (ARN or name)."""
        return Scenario(self.scenarios, stage)

    def run_scenario(self, text: str, *, stage: str | None = None, time: TimeMode = "virtual") -> ScenarioRun:
        """Runs a scenario from its text."""
        return self.scenarios.run(text, stage=stage, time=time)

    # Faults

    def fault(
        self,
        operation: str | Sequence[str] | None = None,
        *,
        resource: str | None = None,
        access_key_id: str | None = None,
        participant: Participant | str | None = None,
        share: float | None = None,
        target: str | None = None,
        bucket: str | None = None,
        count: int | None = None,
        skip: int | None = None,
        duration: int | None = None,
        seed: int | None = None,
        **effect: Unpack[Effect],
    ) -> Fault:
        """Adds a fault: what it matches, its limits, and one effect. `duration` is in seconds.

        with greenroom.fault("CreateStage", throttle=2, count=1): …
        """
        match = match_of(operation, resource, access_key_id, participant, share, target, bucket)
        return self.faults.add(match, effect_of(effect), count=count, skip=skip, duration=duration, seed=seed)

    # Journal

    def calls(self, operation: str | None = None) -> list[Entry]:
        """The calls of the account, oldest first."""
        return self.journal.calls(operation)

    def events(self) -> list[Event]:
        """The events of the account, oldest first."""
        return self.journal.events()

    def wait_for_call(
        self,
        operation: str | None = None,
        *,
        input: Json | None = None,
        pattern: Pattern | None = None,
        after: int = 0,
        timeout: Duration = WAIT_SECONDS,
    ) -> Entry:
        """Waits for a call, of this operation and with these members of its input, or of an EventBridge pattern over an
        entry of the journal. Calls that have happened before count, if their sequence is above `after`."""
        wanted = call_pattern(operation, pattern, input)
        return self.journal.wait_for_calls(wanted, 1, timeout, after)[0]

    def wait_for_event(
        self,
        name: str | None = None,
        *,
        pattern: Pattern | None = None,
        after: int = 0,
        timeout: Duration = WAIT_SECONDS,
        **detail: Any,
    ) -> Event:
        """Waits for an event of this `event_name` and with these members of its detail, or of an EventBridge pattern.
        Events that have happened before count, if their position is above `after`.

        greenroom.wait_for_event("Participant Published", user_id="alice")
        """
        wanted = event_pattern(name, pattern, detail)
        return self.journal.wait_for_events(wanted, 1, timeout, after)[0]

    def __repr__(self) -> str:
        return f"Greenroom({self.endpoint!r}, account={self.account!r}, region={self.region!r})"
