"""Scenarios: steps of participants over time, in virtual or real time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .clock import Clock
from .participants import MediaKind
from .times import Duration, seconds
from .transport import Json, Transport, segment

TimeMode = Literal["virtual", "real"]


class ScenarioRun:
    """A scenario that runs, or has run."""

    def __init__(self, transport: Transport, document: Json) -> None:
        self._transport = transport
        self.document = document

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def state(self) -> str:
        return str(self.document["state"])

    @property
    def participants(self) -> dict[str, str]:
        """The ids of the participants, by their names in the scenario."""
        return dict(self.document.get("participants") or {})

    def refresh(self) -> ScenarioRun:
        self.document = self._transport.call("GET", f"/scenarios/{segment(self.id)}")
        return self

    def stop(self) -> None:
        """Stops the scenario; its participants leave."""
        self._transport.call("DELETE", f"/scenarios/{segment(self.id)}")

    def __repr__(self) -> str:
        return f"ScenarioRun(id={self.id!r}, state={self.state!r}, participants={len(self.participants)})"


class Scenarios:
    """The scenarios of an account."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock

    def run(self, text: str, *, stage: str | None = None, time: TimeMode = "virtual") -> ScenarioRun:
        """Runs a scenario. In virtual time it has run to its end when this returns, and the clock has moved."""
        body: Json = {"scenario": text, "time": time}
        if stage is not None:
            body["stage"] = stage
        if time == "real":
            return self._run(self._transport.call("POST", "/scenarios", body))
        self._clock._require_exclusive()
        self._clock._changed = True
        body |= {"account": self._transport.account, "region": self._transport.region}
        return self._run(self._transport.call("POST", "/scenarios", body, all_accounts=True))

    def list(self) -> list[ScenarioRun]:
        return [self._run(one) for one in self._transport.call("GET", "/scenarios")["scenarios"]]

    def _run(self, document: Json) -> ScenarioRun:
        return ScenarioRun(self._transport, document)


@dataclass
class Scenario:
    """A scenario, written as Python: `scenario.at(2).joins("alice").publishes("alice")`."""

    scenarios: Scenarios = field(repr=False)
    stage: str | None = None
    lines: list[str] = field(default_factory=list)

    def at(self, time: Duration) -> Moment:
        """A time after the start, in seconds (or as `90s`, `5m`)."""
        return Moment(self, f"{seconds(time):.3f}".rstrip("0").rstrip(".") + "s")

    @property
    def text(self) -> str:
        """The scenario in its text form."""
        return "".join(f"{line}\n" for line in self.lines)

    def run(self, time: TimeMode = "virtual") -> ScenarioRun:
        return self.scenarios.run(self.text, stage=self.stage, time=time)


@dataclass(frozen=True)
class Moment:
    """A time of a scenario. Each method adds a step at this time, and returns the same moment."""

    scenario: Scenario
    time: str

    def at(self, time: Duration) -> Moment:
        return self.scenario.at(time)

    def joins(self, name: str, attributes: Mapping[str, str] | None = None) -> Moment:
        return self._step(f"{name} joins" + (f" as {json.dumps(dict(attributes))}" if attributes else ""))

    def publishes(self, name: str) -> Moment:
        return self._step(f"{name} publishes")

    def stops_publishing(self, name: str) -> Moment:
        return self._step(f"{name} stops publishing")

    def subscribes(self, name: str, to: str) -> Moment:
        return self._step(f"{name} subscribes to {to}")

    def unsubscribes(self, name: str, from_: str) -> Moment:
        return self._step(f"{name} unsubscribes from {from_}")

    def mutes(self, name: str, kind: MediaKind) -> Moment:
        return self._step(f"{name} mutes {kind}")

    def unmutes(self, name: str, kind: MediaKind) -> Moment:
        return self._step(f"{name} unmutes {kind}")

    def fails(self, name: str, code: str) -> Moment:
        return self._step(f"{name} fails with {code}")

    def reconnects(self, name: str) -> Moment:
        return self._step(f"{name} reconnects")

    def exchanges_token(self, name: str) -> Moment:
        return self._step(f"{name} exchanges its token")

    def leaves(self, name: str) -> Moment:
        return self._step(f"{name} leaves")

    def everyone_leaves(self) -> Moment:
        return self._step("everyone leaves")

    def viewers_join(self, count: int, over: Duration = 0) -> Moment:
        """`count` participants join: `viewer-1`, `viewer-2`, …"""
        return self._step(f"{count} viewers join" + _over(over))

    def viewers_leave(self, over: Duration = 0) -> Moment:
        return self._step("viewers leave" + _over(over))

    def _step(self, step: str) -> Moment:
        self.scenario.lines.append(f"at {self.time} {step}")
        return self


def _over(duration: Duration) -> str:
    length = seconds(duration)
    return f" over {length:g}s" if length else ""
