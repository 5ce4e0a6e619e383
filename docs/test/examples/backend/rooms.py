"""A back end for rooms on Amazon IVS Real-Time: rooms, tokens by role, moderation, and the minutes of a session.

It is written for AWS, and knows nothing of greenroom: its tests direct it to a test server with AWS's environment variables.

    python rooms.py 8080
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

TOKEN_MINUTES = 60
ROLES = {"host": ["PUBLISH", "SUBSCRIBE"], "guest": ["SUBSCRIBE"]}
# The client of a page waits for seconds, not for the minute that the SDK's default retries can take.
CONFIG = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 3})


class Problem(Exception):
    """A refusal, as an HTTP status and a message for the page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Room:
    name: str
    stage_arn: str
    session_id: str | None


class Rooms:
    """Rooms are stages that are tagged with the name of this application."""

    def __init__(self, application: str = "rooms") -> None:
        self.ivs = boto3.client("ivs-realtime", config=CONFIG)
        self.application = application

    def create(self, name: str) -> Room:
        if not re.fullmatch(r"[a-z0-9-]{1,64}", name):
            raise Problem(400, "a name has 1 to 64 lower-case letters, digits and hyphens")
        if self._find(name):
            raise Problem(409, f"there is a room {name} already")
        try:
            stage = self.ivs.create_stage(name=name, tags={"application": self.application})["stage"]
        except self.ivs.exceptions.ServiceQuotaExceededException as error:
            raise Problem(507, "there are too many rooms: delete one first") from error
        return Room(name, stage["arn"], None)

    def token(self, name: str, user_id: str, role: str) -> dict[str, str]:
        """A token with the capabilities of a role. The role is an attribute, so that pages can show it."""
        if role not in ROLES:
            raise Problem(400, f"a role is one of {', '.join(ROLES)}")
        made = self.ivs.create_participant_token(
            stageArn=self.get(name).stage_arn,
            userId=user_id,
            attributes={"role": role},
            capabilities=ROLES[role],
            duration=TOKEN_MINUTES,
        )["participantToken"]
        return {"token": made["token"], "participantId": made["participantId"]}

    def people(self, name: str) -> list[dict[str, object]]:
        """The participants that are in the room now, publishers first."""
        room = self.get(name)
        if not room.session_id:
            return []
        found = self._all("list_participants", "participants", stageArn=room.stage_arn, sessionId=room.session_id)
        found = [one for one in found if one["state"] == "CONNECTED"]
        people = [{"id": one["participantId"], "userId": one.get("userId", ""), "live": one["published"]} for one in found]
        return sorted(people, key=lambda person: not person["live"])

    def remove(self, name: str, participant_id: str) -> None:
        """Bans a participant: it is disconnected, and its token is no longer accepted."""
        arn = self.get(name).stage_arn
        self.ivs.disconnect_participant(stageArn=arn, participantId=participant_id, reason="removed by a moderator")

    def minutes(self, name: str) -> float:
        """The minutes of all sessions that have ended, for the bill."""
        sessions = self._all("list_stage_sessions", "stageSessions", stageArn=self.get(name).stage_arn)
        ended = [one for one in sessions if "endTime" in one]
        return round(sum((one["endTime"] - one["startTime"]).total_seconds() for one in ended) / 60, 2)

    def get(self, name: str) -> Room:
        room = self._find(name)
        if not room:
            raise Problem(404, f"there is no room {name}")
        return room

    def _find(self, name: str) -> Room | None:
        for stage in self._all("list_stages", "stages"):
            if stage.get("name") == name and stage["tags"].get("application") == self.application:
                return Room(name, stage["arn"], stage.get("activeSessionId") or None)
        return None

    def _all(self, operation: str, member: str, **members: str) -> Iterator[dict]:
        """The elements of all pages of a list. boto3 has no paginators for these operations."""
        while True:
            page = getattr(self.ivs, operation)(**members)
            yield from page[member]
            if not page.get("nextToken"):
                return
            members["nextToken"] = page["nextToken"]


class Handler(BaseHTTPRequestHandler):
    """`POST /rooms`, `POST /rooms/NAME/tokens`, `GET /rooms/NAME/people`, `DELETE /rooms/NAME/people/ID`."""

    rooms: Rooms

    def respond(self) -> None:
        try:
            status, answer = self.route(self.command, self.path.strip("/").split("/"))
        except Problem as problem:
            status, answer = problem.status, {"message": str(problem)}
        except (ClientError, BotoCoreError) as error:
            # The page can try again; the cause is for the log only.
            self.log_error("IVS: %s", error)
            status, answer = 503, {"message": "the video service is not available, try again"}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = respond

    def route(self, method: str, path: list[str]) -> tuple[int, object]:
        match method, path:
            case "POST", ["rooms"]:
                return 201, {"name": self.rooms.create(str(self.json().get("name", ""))).name}
            case "POST", ["rooms", name, "tokens"]:
                body = self.json()
                return 201, self.rooms.token(name, str(body.get("userId", "")), str(body.get("role", "guest")))
            case "GET", ["rooms", name, "people"]:
                return 200, self.rooms.people(name)
            case "DELETE", ["rooms", name, "people", participant_id]:
                self.rooms.remove(name, participant_id)
                return 200, {}
        raise Problem(404, "there is no such page")

    def json(self) -> dict[str, object]:
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        except ValueError as error:
            raise Problem(400, "the body is not JSON") from error
        if not isinstance(body, dict):
            raise Problem(400, "the body is not an object")
        return body


def serve(port: int) -> ThreadingHTTPServer:
    return ThreadingHTTPServer(("127.0.0.1", port), type("RoomsHandler", (Handler,), {"rooms": Rooms()}))


if __name__ == "__main__":
    serve(int(sys.argv[1])).serve_forever()
