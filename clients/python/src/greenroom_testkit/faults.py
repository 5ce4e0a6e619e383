"""Faults: rules that make matching requests, participants, event targets or uploads of recordings fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from .participants import Participant, id_of, require_known, without_none
from .transport import Json, Transport, segment

Disconnect = Literal["beforeRequest", "afterRequest"]


class Effect(TypedDict, total=False):
    """The effect of a fault: one of these. `message` belongs to `exception`, `body` and `headers` belong to `status`.
    `latency` and `throttle` are in seconds."""

    exception: str | None
    message: str | None
    status: int | None
    body: str | None
    headers: dict[str, str] | None
    throttle: int | None
    latency: float | tuple[float, float] | None
    disconnect: Disconnect | None
    truncate: int | None
    refuse_token: str | bool | None
    close_web_socket: int | bool | None
    media: Json | None
    close_connection: bool
    event_target: Literal["refuse", "hang"] | None
    storage: Literal["refuse", "hang"] | None


class Fault:
    """A rule on the server. As a context manager it is removed at the end of the block."""

    def __init__(self, transport: Transport, document: Json) -> None:
        self._transport = transport
        self.document = document

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def matched(self) -> int:
        """How many matches there were, as of now, including those that `skip` leaves without the effect."""
        return int(self._refreshed()["matched"])

    @property
    def applied(self) -> int:
        """How many matches had the effect, as of now."""
        return int(self._refreshed()["applied"])

    def _refreshed(self) -> Json:
        self.document = self._transport.call("GET", f"/faults/{segment(self.id)}")
        return self.document

    def remove(self) -> None:
        self._transport.call("DELETE", f"/faults/{segment(self.id)}")

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"Fault(id={self.id!r}, match={self.document.get('match')}, effect={self.document.get('effect')})"


class Faults:
    """The faults of an account."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def add(
        self,
        match: Json,
        effect: Json,
        *,
        count: int | None = None,
        skip: int | None = None,
        duration: int | None = None,
        seed: int | None = None,
    ) -> Fault:
        """Adds a rule, in the members of the test API. `duration` is in seconds."""
        limits = without_none({"count": count, "skip": skip, "durationSeconds": duration, "seed": seed})
        body = {"match": match, "effect": effect, **limits}
        return Fault(self._transport, self._transport.call("POST", "/faults", body))

    def list(self) -> list[Fault]:
        return [Fault(self._transport, one) for one in self._transport.call("GET", "/faults")["faults"]]

    def clear(self) -> None:
        """Removes all faults of the account."""
        self._transport.call("DELETE", "/faults")


def match_of(
    operation: str | Sequence[str] | None,
    resource: str | None,
    access_key_id: str | None,
    participant: Participant | str | None,
    share: float | None,
    target: str | None,
    bucket: str | None,
) -> Json:
    """The member `match` of a rule."""
    return without_none(
        {
            "operation": operation if operation is None or isinstance(operation, str) else list(operation),
            "resource": resource,
            "accessKeyId": access_key_id,
            "participantId": None if participant is None else id_of(participant),
            "share": share,
            "target": target,
            "bucket": bucket,
        }
    )


def effect_of(given: Effect) -> Json:
    """The member `effect` of a rule. Exactly one effect can be given."""
    require_known("fault", given, Effect.__optional_keys__)
    effects: dict[str, Json] = {}
    if (exception := given.get("exception")) is not None:
        effects["exception"] = without_none({"exception": exception, "message": given.get("message")})
    if (status := given.get("status")) is not None:
        effects["status"] = without_none({"status": status, "body": given.get("body"), "headers": given.get("headers")})
    if (throttle := given.get("throttle")) is not None:
        effects["throttle"] = {"throttle": {"retryAfterSeconds": throttle}}
    if (latency := given.get("latency")) is not None:
        effects["latency"] = {"latency": _latency(latency)}
    if (disconnect := given.get("disconnect")) is not None:
        effects["disconnect"] = {"disconnect": disconnect}
    if (truncate := given.get("truncate")) is not None:
        effects["truncate"] = {"truncate": {"bytes": truncate}}
    if (code := given.get("refuse_token")) is not None and code is not False:
        effects["refuse_token"] = {"refuseToken": {} if code is True else {"code": code}}
    if (number := given.get("close_web_socket")) is not None and number is not False:
        effects["close_web_socket"] = {"closeWebSocket": {} if number is True else {"code": number}}
    if (media := given.get("media")) is not None:
        effects["media"] = {"media": media}
    if given.get("close_connection"):
        effects["close_connection"] = {"closeConnection": {}}
    if (event_target := given.get("event_target")) is not None:
        effects["event_target"] = {"target": event_target}
    if (storage := given.get("storage")) is not None:
        effects["storage"] = {"storage": storage}
    if len(effects) != 1:
        raise ValueError(f"a fault has exactly one effect, and this one has {sorted(effects) or 'none'}")
    return next(iter(effects.values()))


def _latency(latency: float | tuple[float, float]) -> dict[str, Any]:
    """Seconds, or a range of seconds, in the milliseconds of the test API."""
    if isinstance(latency, tuple):
        return {"minMilliseconds": round(latency[0] * 1000), "maxMilliseconds": round(latency[1] * 1000)}
    return {"milliseconds": round(latency * 1000)}
