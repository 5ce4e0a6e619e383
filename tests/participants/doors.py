"""The doors of a stage as any client uses them: HTTP requests, and a WebSocket."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from keys import pem

PATIENCE_SECONDS = 20
# The service promises a second. A machine that does other things as well may take longer to notice, but nothing that the
# service does without being told (leases, timeouts, looking at every stage anyway) is as quick as this.
SOON_SECONDS = 3.5
SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"


class Doors:
    """The doors of a stage."""

    def __init__(self, tenant, stage):
        self.tenant, self.stage, self.topic = tenant, stage, stage.split("/")[1]
        endpoints = tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]
        self.events, self.whip = endpoints["events"], endpoints["whip"]

    def on(self, server):
        """The same doors on another server."""
        others = Doors.__new__(Doors)
        others.__dict__.update(self.__dict__)
        others.events = server.endpoint.replace("http", "ws", 1) + "/events"
        others.whip = server.endpoint + "/whip"
        return others

    def token(self, **members):
        """A token of the service's making: its text and the participant's id."""
        made = self.tenant.token(self.stage, **members)
        return made["token"], made["participantId"]

    def send(self, method, path, token=None, body=None, kind=None, **headers):
        """One request, whose redirect is not followed."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers |= {"Authorization": f"Bearer {token}"} if token is not None else {}
        headers |= {"Content-Type": kind} if kind else {}
        url = path if path.startswith("http") else self.whip + path
        return requests.request(method, url, data=body, headers=headers, timeout=30, allow_redirects=False)

    def post(self, path, token, offer, kind=SDP, **headers):
        return self.send("POST", path, token, offer, kind, **headers)

    async def ask(self, *arguments, **members):
        """As `send`, beside other things."""
        return await asyncio.to_thread(self.send, *arguments, **members)

    @asynccontextmanager
    async def join(self, token, *more, topic=None, bearer=False, headers=()):
        """An events WebSocket, once something was said on it: whoever is let in is in the stage then. The token is offered
        as a subprotocol, as a browser does, unless it is to be a header."""
        headers = dict(headers) | ({"Authorization": f"Bearer {token}"} if bearer else {})
        offered = [] if bearer or token is None else [token]
        options = {"subprotocols": [*offered, *more] or None, "additional_headers": headers}
        async with connect(f"{self.events}/{topic or self.topic}", ping_interval=None, **options) as socket:
            yield Guest(socket, await asyncio.wait_for(socket.recv(), PATIENCE_SECONDS))

    async def refused(self, token, *more, **options):
        """The code of the error that a WebSocket is told, and how it is closed."""
        async with self.join(token, *more, **options) as guest:
            error = await guest.hear()
            assert error["type"] == "ERROR", error
            assert error["payload"].keys() == {"code", "message"} and error["payload"]["message"]
            close, reason = await guest.closed()
            assert reason == error["payload"]["code"]
            return error["payload"]["code"], close

    # What the record says

    def sessions(self):
        return self.tenant.ivs.list_stage_sessions(stageArn=self.stage)["stageSessions"]

    def events_of(self, participant, session=None):
        """The names of a participant's events in their order, with whom they are about."""
        session = session or self.sessions()[0]["sessionId"]
        found = self.tenant.ivs.list_participant_events(
            stageArn=self.stage, sessionId=session, participantId=participant, maxResults=100
        )["events"]
        return [" ".join(filter(None, map(event.get, ("name", "remoteParticipantId", "errorCode")))) for event in found]

    def participant(self, participant):
        session = self.sessions()[0]["sessionId"]
        return self.tenant.ivs.get_participant(stageArn=self.stage, sessionId=session, participantId=participant)[
            "participant"
        ]

    async def recorded(self, participant, *expected):
        """Waits until a participant's events are these."""
        await until(lambda: self.events_of(participant) == list(expected), lambda: self.events_of(participant))


class Guest:
    """Somebody on an events WebSocket."""

    def __init__(self, socket, first):
        self.socket, self.first, self.last = socket, first, None

    async def hear(self, seconds=PATIENCE_SECONDS):
        """The next message."""
        first, self.first = self.first, None
        return json.loads(first or await asyncio.wait_for(self.socket.recv(), seconds))

    async def say(self, kind, **payload):
        await self.socket.send(json.dumps({"type": kind, **({"payload": payload} if payload else {})}))

    async def answered(self, kind, **payload):
        """Says something, and answers what is said to it beside states."""
        await self.say(kind, **payload)
        while (message := await self.hear())["type"] == "STAGE_STATE":
            self.last = message["payload"]["participants"]
        return message

    async def state(self, seconds=PATIENCE_SECONDS):
        """The participants of the next state."""
        message = await self.hear(seconds)
        assert message["type"] == "STAGE_STATE", message
        self.last = message["payload"]["participants"]
        return self.last

    async def sees(self, *expected):
        """Waits for a state with exactly these participants, in this order; a publisher has a star."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.listed() != list(expected):
                await self.state()
        return self.last

    def listed(self):
        if self.last is None:
            return None
        return [one["id"] + "*" * one["isPublishing"] for one in self.last]

    async def closed(self, seconds=PATIENCE_SECONDS):
        """How the server closes the socket; what it says before does not matter."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self.socket.recv()
        except ConnectionClosed as end:
            assert end.rcvd is not None, "the connection ended without a word"
            return end.rcvd.code, end.rcvd.reason


async def until(condition, found=lambda: None, seconds=PATIENCE_SECONDS):
    """Waits for a condition that another process fulfils."""
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, f"not within {seconds} s: {found()}"
        await asyncio.sleep(0.05)


class Signer:
    """A customer who signs tokens with a key of its own."""

    def __init__(self, doors):
        self.doors, self.key = doors, ec.generate_private_key(ec.SECP384R1())
        tenant = doors.tenant
        self.arn = tenant.ivs.import_public_key(publicKeyMaterial=pem(key=self.key))["publicKey"]["arn"]

    def claims(self, **changed):
        """What a good token says; a member that is set to `None` is left out."""
        doors, now = self.doors, int(time.time())
        claims = {
            "exp": now + 600,
            "iat": now,
            "jti": "self-signed_1",
            "resource": doors.stage,
            "topic": doors.topic,
            "events_url": doors.events,
            "whip_url": doors.whip,
            "user_id": "somebody",
            "attributes": {"name": "Some Body"},
            "capabilities": {"allow_publish": True, "allow_subscribe": True},
            "version": "1.0",
        } | changed
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, header=None, key=None, algorithm="ES384", **changed):
        headers = {"kid": self.arn} | (header or {})
        return jwt.encode(self.claims(**changed), key or self.key, algorithm=algorithm, headers=headers)

    def connection_token(self, key=None, **changed):
        now = int(time.time())
        _, _, _, region, account, _ = self.arn.split(":")
        claims = {
            "exp": now + 600,
            "iat": now,
            "jti": "connection-1",
            "account_id": account,
            "region": region,
            "events_url": self.doors.events,
            "version": "1.0",
        } | changed
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key or self.key, algorithm="ES384", headers={"kid": self.arn})
