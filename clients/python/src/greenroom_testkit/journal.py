"""The journal of API calls, the log of events, and waiting for either."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .errors import WaitTimeout
from .participants import without_none
from .times import Duration, Time, iso, parse, seconds
from .transport import READ_TIMEOUT_SECONDS, Json, Transport

Pattern = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A call of the AWS API."""

    document: Json

    @property
    def sequence(self) -> int:
        return int(self.document["sequence"])

    @property
    def time(self) -> datetime:
        return parse(self.document["time"])

    @property
    def operation(self) -> str:
        return str(self.document["operation"])

    @property
    def input(self) -> Json:
        """The input, without secrets."""
        return dict(self.document.get("input") or {})

    @property
    def output(self) -> Json | None:
        return self.document.get("output")

    @property
    def error(self) -> str | None:
        """The code of the error, such as `ConflictException`."""
        error = self.document.get("error")
        return error and str(error["code"])

    @property
    def status(self) -> int | None:
        """The status of the response; `None` if a fault closed the connection without one."""
        status = self.document["status"]
        return None if status is None else int(status)

    @property
    def fault(self) -> str | None:
        """The id of the fault that had an effect on the call."""
        return self.document.get("fault")

    def __str__(self) -> str:
        result = self.error or ("no response" if self.status is None else str(self.status))
        fault = f" (fault {self.fault})" if self.fault else ""
        return f"{self.document.get('time')} {self.operation} {self.input} -> {result}{fault}"


@dataclass(frozen=True)
class Event:
    """An event, as EventBridge has it."""

    position: int
    envelope: Json

    @property
    def name(self) -> str:
        """`event_name` of the detail, such as `Participant Published`."""
        return str(self.envelope["detail"].get("event_name", ""))

    @property
    def detail(self) -> Json:
        return dict(self.envelope["detail"])


class Journal:
    """The calls and events of an account."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def calls(
        self,
        operation: str | None = None,
        *,
        after: int | None = None,
        since: Time | None = None,
        until: Time | None = None,
        outcome: str | None = None,
        access_key_id: str | None = None,
        limit: int | None = None,
    ) -> list[Entry]:
        """The calls, oldest first: all that the journal has, or the first `limit`. It has the last 10,000 of an account."""
        query: Json = {
            "operation": operation,
            "since": None if since is None else iso(since),
            "until": None if until is None else iso(until),
            "outcome": outcome,
            "accessKeyId": access_key_id,
        }
        return [Entry(one) for one in self._pages("/journal", query, after, limit)]

    def last(self, limit: int) -> builtins.list[Entry]:
        """The last calls, oldest first."""
        return self.calls()[-limit:]

    def events(self, *, after: int | None = None, since: Time | None = None, limit: int | None = None) -> list[Event]:
        """The events, oldest first."""
        query: Json = {"since": None if since is None else iso(since)}
        return [Event(one["position"], one["event"]) for one in self._pages("/events", query, after, limit)]

    def position(self) -> int:
        """The sequence of the last call: `after` of a wait for later ones."""
        calls = self.calls()
        return calls[-1].sequence if calls else 0

    def clear(self) -> None:
        self._transport.call("DELETE", "/journal")

    def wait_for_calls(self, pattern: Pattern, count: int, timeout: Duration, after: int = 0) -> list[Entry]:
        return [Entry(one) for one in self._wait("call", pattern, count, timeout, after)]

    def wait_for_events(self, pattern: Pattern, count: int, timeout: Duration, after: int = 0) -> list[Event]:
        return [Event(one["position"], one["event"]) for one in self._wait("event", pattern, count, timeout, after)]

    def _wait(self, what: str, pattern: Pattern, count: int, timeout: Duration, after: int) -> list[Json]:
        limit = seconds(timeout)
        body: Json = {what: pattern, "after": after, "count": count, "timeoutSeconds": limit}
        answer = self._transport.call("POST", "/wait", body, read_timeout=READ_TIMEOUT_SECONDS + limit)
        entries: list[Json] = answer["entries"]
        if answer["matched"]:
            return entries
        closest = answer.get("closest")
        message = f"{len(entries)} of {count} {what}s matched {pattern} within {limit:g} s; {answer.get('seen', 0)} seen"
        raise WaitTimeout(message + (f"; closest: {closest}" if closest else ""), closest, int(answer.get("seen", 0)))

    def _pages(self, path: str, query: Json, after: int | None, limit: int | None) -> list[Json]:
        entries: list[Json] = []
        while limit is None or len(entries) < limit:
            size = 1000 if limit is None else min(1000, limit - len(entries))
            page = self._transport.call("GET", path, query=without_none({**query, "after": after, "limit": size}))
            entries += page["entries"]
            after = page.get("next")
            if after is None:
                break
        return entries


def call_pattern(operation: str | None, pattern: Pattern | None, input: Json | None) -> Pattern:
    """The pattern of a call: its operation and members of its input, or a pattern of the caller."""
    made: Pattern = dict(pattern or {})
    if operation is not None:
        made["operation"] = [operation]
    if input:
        made["input"] = {**made.get("input", {}), **_exactly(input)}
    if not made:
        raise ValueError("wait_for_call needs an operation, an input or a pattern")
    return made


def event_pattern(name: str | None, pattern: Pattern | None, detail: Json) -> Pattern:
    """The pattern of an event: its event_name and members of its detail, or a pattern of the caller."""
    made: Pattern = dict(pattern or {})
    members = {**({"event_name": name} if name is not None else {}), **detail}
    if members:
        made["detail"] = {**made.get("detail", {}), **_exactly(members)}
    if not made:
        raise ValueError("wait_for_event needs a name, members of the detail or a pattern")
    return made


def _exactly(members: Json) -> Pattern:
    """The EventBridge pattern of these values."""
    return {
        name: _exactly(value) if isinstance(value, dict) else value if isinstance(value, list) else [value]
        for name, value in members.items()
    }
