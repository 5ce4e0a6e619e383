"""Reset, snapshots and seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .credentials import Credentials
from .transport import SNAPSHOT_TYPE, Json, Transport, segment

Kind = Literal[
    "stages", "storageConfigurations", "encoderConfigurations", "ingestConfigurations", "publicKeys", "accessKeys"
]


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of an account's resources, in the memory of the server."""

    name: str
    rows: dict[str, int]
    size: int
    _transport: Transport

    def restore(self) -> dict[str, int]:
        """Restores the snapshot: the account's resources are afterwards those of the snapshot."""
        path = f"/snapshots/{segment(self.name)}/restore"
        return dict(self._transport.call("POST", path)["restored"])

    def save(self, path: str | Path) -> Path:
        """Saves the snapshot to a file, which `Snapshots.load` reads."""
        content = self._transport.send("GET", f"/snapshots/{segment(self.name)}")
        target = Path(path)
        target.write_bytes(content)
        return target

    def delete(self) -> None:
        self._transport.call("DELETE", f"/snapshots/{segment(self.name)}")


class Snapshots:
    """The snapshots of an account."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def take(self, name: str) -> Snapshot:
        """Takes a snapshot; one of the same name is replaced."""
        return self._snapshot(self._transport.call("PUT", f"/snapshots/{segment(name)}"))

    def load(self, path: str | Path, name: str | None = None) -> Snapshot:
        """Uploads a file; `restore` it afterwards. The name is by default that of the file, without its suffix."""
        name = name or Path(path).stem
        content = Path(path).read_bytes()
        self._transport.send("PUT", f"/snapshots/{segment(name)}", content, SNAPSHOT_TYPE)
        return self.get(name)

    def get(self, name: str) -> Snapshot:
        for snapshot in self.list():
            if snapshot.name == name:
                return snapshot
        raise KeyError(f"there is no snapshot {name!r}")

    def list(self) -> list[Snapshot]:
        return [self._snapshot(one) for one in self._transport.call("GET", "/snapshots")["snapshots"]]

    def _snapshot(self, one: Json) -> Snapshot:
        return Snapshot(one["name"], dict(one["rows"]), int(one["bytes"]), self._transport)


class Seeded:
    """What a seed has created. `document` is the response of the server."""

    def __init__(self, document: Json) -> None:
        self.document = document

    def arn(self, name: str, kind: Kind = "stages") -> str:
        """The ARN of a resource, by its name in the seed."""
        return str(self._named(kind, name)["arn"])

    def sessions(self, stage: str) -> list[Json]:
        """The sessions of a stage, oldest first: `sessionId` and `participants` of each."""
        return list(self._named("stages", stage).get("sessions", []))

    def tokens(self) -> list[Json]:
        """The tokens in the order of the seed: `token` and `participantId` of each."""
        return list(self.document.get("tokens", []))

    def access_key(self, name: str) -> Credentials:
        key = self._named("accessKeys", name)
        return Credentials(key["accessKeyId"], key["secretAccessKey"])

    def _named(self, kind: str, name: str) -> Json:
        found: dict[str, Any] = self.document.get(kind, {})
        if name not in found:
            raise KeyError(f"the seed has no {kind} {name!r}, but {sorted(found)}")
        return dict(found[name])

    def __repr__(self) -> str:
        counts = {kind: len(made) for kind, made in self.document.items() if made}
        return f"Seeded({counts})"


class State:
    """Reset and seed of an account."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.snapshots = Snapshots(transport)

    def reset(self) -> dict[str, int]:
        """Deletes all resources of the account; returns how many, by kind. Access keys stay."""
        return dict(self._transport.call("POST", "/reset")["deleted"])

    def seed(self, document: Json | str | Path) -> Seeded:
        """Creates resources: of a dict, of YAML or JSON text, or of a file. Either all are created, or none."""
        if isinstance(document, Path):
            document = document.read_text()
        if isinstance(document, str):
            content = self._transport.send("POST", "/seed", document.encode(), "application/yaml")
            return Seeded(json.loads(content))
        return Seeded(self._transport.call("POST", "/seed", document))
