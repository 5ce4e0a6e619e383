"""Simulated participants: without media, but with the record, events and quotas of real ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from .transport import Json, Transport, segment

if TYPE_CHECKING:
    from typing_extensions import Unpack

MediaKind = Literal["audio", "video"]
Capability = Literal["PUBLISH", "SUBSCRIBE"]
ErrorEvent = Literal["JOIN_ERROR", "PUBLISH_ERROR", "SUBSCRIBE_ERROR"]


class Participant:
    """A simulated participant. Its members are those of the last response; `refresh` reads them again."""

    def __init__(self, transport: Transport, document: Json) -> None:
        self._transport = transport
        self.document = document

    @property
    def id(self) -> str:
        return str(self.document["participantId"])

    @property
    def token(self) -> str:
        return str(self.document["token"])

    @property
    def stage_arn(self) -> str:
        return str(self.document["stageArn"])

    @property
    def session_id(self) -> str:
        return str(self.document["sessionId"])

    @property
    def user_id(self) -> str:
        return str(self.document.get("userId") or "")

    @property
    def attributes(self) -> dict[str, str]:
        return dict(self.document.get("attributes") or {})

    @property
    def state(self) -> str:
        """`CONNECTED` or `DISCONNECTED`."""
        return str(self.document["state"])

    @property
    def publishing(self) -> bool:
        return bool(self.document["publishing"])

    @property
    def muted(self) -> list[str]:
        return list(self.document.get("muted") or [])

    @property
    def subscriptions(self) -> list[str]:
        """The ids of the participants whose media it receives."""
        return list(self.document.get("subscriptions") or [])

    def publish(self) -> Participant:
        return self._act("publish")

    def unpublish(self) -> Participant:
        return self._act("unpublish")

    def leave(self) -> Participant:
        return self._act("leave")

    def subscribe(self, to: Participant | str) -> Participant:
        return self._act("subscribe", {"participantId": id_of(to)})

    def unsubscribe(self, from_: Participant | str) -> Participant:
        return self._act("unsubscribe", {"participantId": id_of(from_)})

    def mute(self, *kinds: MediaKind) -> Participant:
        return self._act("mute", {"kinds": list(kinds) or ["audio", "video"]})

    def unmute(self, *kinds: MediaKind) -> Participant:
        return self._act("unmute", {"kinds": list(kinds) or ["audio", "video"]})

    def fail(self, code: str, event: ErrorEvent | None = None, participant: Participant | str | None = None) -> Participant:
        """An error of the participant, with the code of an event, such as `INSUFFICIENT_CAPABILITIES`."""
        body: Json = {"code": code, "event": event, "participantId": participant and id_of(participant)}
        return self._act("fail", without_none(body))

    def reconnect(self) -> Participant:
        return self._act("reconnect")

    def exchange_token(
        self,
        token: str | None = None,
        *,
        attributes: Mapping[str, str] | None = None,
        user_id: str | None = None,
        capabilities: Sequence[Capability] | None = None,
    ) -> Participant:
        """Exchanges its token: for a given one, or for a new one with these members."""
        body: Json = {"token": token, "attributes": attributes, "userId": user_id, "capabilities": capabilities}
        return self._act("exchange", without_none(body))

    def refresh(self) -> Participant:
        """Reads its state again."""
        self.document = self._transport.call("GET", f"/participants/{segment(self.id)}")
        return self

    def _act(self, verb: str, body: Json | None = None) -> Participant:
        self.document = self._transport.call("POST", f"/participants/{segment(self.id)}/{verb}", body)
        return self

    def __repr__(self) -> str:
        return f"Participant(id={self.id!r}, user_id={self.user_id!r}, state={self.state!r}, publishing={self.publishing})"


class JoinOptions(TypedDict, total=False):
    """How a participant joins: with a token, or with a new one with these members. `duration` is in minutes."""

    token: str | None
    user_id: str | None
    attributes: Mapping[str, str] | None
    capabilities: Sequence[Capability] | None
    duration: int | None
    publish: bool | None
    subscribe: Sequence[Participant | str] | None


class Participants:
    """The simulated participants of an account."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def join(self, stage: str | None = None, **options: Unpack[JoinOptions]) -> Participant:
        """Joins a stage (ARN or name). A token names its stage, so that none is needed beside it."""
        require_known("join", options, JoinOptions.__optional_keys__)
        body: Json = {"stage": stage, **options}
        body["userId"] = body.pop("user_id", None)
        subscribe = options.get("subscribe")
        body["subscribe"] = None if subscribe is None else [id_of(one) for one in subscribe]
        return Participant(self._transport, self._transport.call("POST", "/participants", without_none(body)))

    def list(self, stage: str | None = None) -> list[Participant]:
        found = self._transport.call("GET", "/participants", query={"stage": stage})["participants"]
        return [Participant(self._transport, one) for one in found]

    def get(self, participant_id: str) -> Participant:
        return Participant(self._transport, self._transport.call("GET", f"/participants/{segment(participant_id)}"))


def id_of(participant: Participant | str) -> str:
    return participant if isinstance(participant, str) else participant.id


def require_known(function: str, given: Iterable[str], known: frozenset[str]) -> None:
    """Rejects unknown names of keyword arguments that are a `TypedDict`, which only type checkers do."""
    if unknown := sorted(set(given) - known):
        raise TypeError(f"{function}() got an unexpected keyword argument '{unknown[0]}'")


def without_none(body: Json) -> Json:
    return {name: value for name, value in body.items() if value is not None}
