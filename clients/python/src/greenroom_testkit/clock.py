"""The clock of the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from .errors import SharedClockError
from .times import Duration, Time, iso, parse, seconds
from .transport import Json, Transport


class Clock:
    """The clock of the whole server: of all its accounts.

    Moving it is refused if other tests use the server at the same time (`exclusive` is False).
    """

    def __init__(self, transport: Transport, exclusive: bool) -> None:
        self._transport = transport
        self.exclusive = exclusive
        # Whether this client has changed the clock, and not resumed it.
        self._changed = False

    def now(self) -> datetime:
        return parse(self._transport.call("GET", "/clock")["now"])

    def is_frozen(self) -> bool:
        return bool(self._transport.call("GET", "/clock")["frozen"])

    def set(self, now: Time | None = None, frozen: bool | None = None) -> datetime:
        """Sets the time, or whether it is frozen, or both. What becomes due is done before this returns."""
        body: Json = {"now": None if now is None else iso(now), "frozen": frozen}
        return self._change("PUT", "/clock", {name: value for name, value in body.items() if value is not None})

    def freeze(self, at: Time | None = None) -> datetime:
        """Stops the clock, at the current time or at a given one."""
        return self.set(now=at, frozen=True)

    def advance(self, duration: Duration) -> datetime:
        """Moves the clock forward. What becomes due is done, in its order, before this returns."""
        return self._change("POST", "/clock/advance", {"seconds": seconds(duration)})

    def advance_to(self, time: Time) -> datetime:
        return self._change("POST", "/clock/advance", {"to": iso(time)})

    def resume(self) -> None:
        """Returns to the time of the system."""
        self._require_exclusive()
        self._transport.call("DELETE", "/clock", all_accounts=True)
        self._changed = False

    @contextmanager
    def frozen(self, at: Time | None = None) -> Iterator[Clock]:
        """The clock stands still, and is moved by `advance` only; at the end it resumes."""
        self.freeze(at)
        try:
            yield self
        finally:
            self.resume()

    @contextmanager
    def time_travel(self, to: Time | None = None, by: Duration | None = None) -> Iterator[Clock]:
        """The clock is moved to a time, or by a duration, and goes on from there; at the end it resumes."""
        if (to is None) == (by is None):
            raise ValueError("time_travel needs either `to` or `by`")
        try:
            if to is not None:
                self.set(now=to)
            elif by is not None:
                self.advance(by)
            yield self
        finally:
            self.resume()

    def _resume_if_changed(self) -> None:
        if self._changed:
            self.resume()

    def _change(self, method: str, path: str, body: Json) -> datetime:
        self._require_exclusive()
        self._changed = True
        return parse(self._transport.call(method, path, body, all_accounts=True)["now"])

    def _require_exclusive(self) -> None:
        if not self.exclusive:
            raise SharedClockError(
                "the clock is that of the whole server, and other tests use this server at the same time: "
                "use a server of the test's own (Server.start()), or one server per worker"
            )
