"""Clients of a stage's endpoints: HTTP requests, and the events WebSocket."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from keys import pem

TIMEOUT_SECONDS = 20
# The service promises a second. This allows for a busy machine, and is still shorter than any periodic work of the service
# (leases, timeouts, reconciliation).
PROMPT_SECONDS = 3.5
SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"


class StageEndpoints:
    """The endpoints of one stage."""

    def __init__(self, tenant, stage):
        self.tenant, self.stage, self.topic = tenant, stage, stage.split("/")[1]
        endpoints = tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]
        self.events, self.whip = endpoints["events"], endpoints["whip"]

    def on(self, server):
        """The same stage's endpoints on another server."""
        others = StageEndpoints.__new__(StageEndpoints)
        others.__dict__.update(self.__dict__)
        others.events = server.endpoint.replace("http", "ws", 1) + "/events"
        others.whip = server.endpoint + "/whip"
        return others

    def token(self, **members):
        """Creates a participant token; returns its text and the participant's id."""
        made = self.tenant.token(self.stage, **members)
        return made["token"], made["participantId"]

    def send(self, method, path, token=None, body=None, kind=None, **headers):
        """Sends one request; redirects are not followed."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers |= {"Authorization": f"Bearer {token}"} if token is not None else {}
        headers |= {"Content-Type": kind} if kind else {}
        url = path if path.startswith("http") else self.whip + path
        return requests.request(method, url, data=body, headers=headers, timeout=30, allow_redirects=False)

    def post(self, path, token, offer, kind=SDP, **headers):
        return self.send("POST", path, token, offer, kind, **headers)

    async def send_async(self, *arguments, **members):
        """As `send`, without blocking the event loop."""
        return await asyncio.to_thread(self.send, *arguments, **members)

    @asynccontextmanager
    async def join(self, token, *more, topic=None, bearer=False, headers=()):
        """An events WebSocket whose first message has arrived: an admitted participant is then in the stage. The token is
        sent as a subprotocol, as browsers do, or as a header if `bearer`."""
        headers = dict(headers) | ({"Authorization": f"Bearer {token}"} if bearer else {})
        offered = [] if bearer or token is None else [token]
        options = {"subprotocols": [*offered, *more] or None, "additional_headers": headers}
        async with connect(f"{self.events}/{topic or self.topic}", ping_interval=None, **options) as socket:
            yield EventsClient(socket, await asyncio.wait_for(socket.recv(), TIMEOUT_SECONDS))

    async def refused(self, token, *more, **options):
        """Joins, and returns the code of the error message and the close code."""
        async with self.join(token, *more, **options) as client:
            error = await client.receive()
            assert error["type"] == "ERROR", error
            assert error["payload"].keys() == {"code", "message"} and error["payload"]["message"]
            close, reason = await client.closed()
            assert reason == error["payload"]["code"]
            return error["payload"]["code"], close

    # The API

    def sessions(self):
        return self.tenant.ivs.list_stage_sessions(stageArn=self.stage)["stageSessions"]

    def events_of(self, participant, session=None):
        """The names of a participant's events in order, with remote participant and error code."""
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

    async def wait_for_events(self, participant, *expected):
        """Waits until a participant's events equal `expected`."""
        await wait_until(lambda: self.events_of(participant) == list(expected), lambda: self.events_of(participant))


class EventsClient:
    """A client on an events WebSocket."""

    def __init__(self, socket, first):
        self.socket, self.first, self.last = socket, first, None

    async def receive(self, seconds=TIMEOUT_SECONDS):
        """Receives the next message."""
        first, self.first = self.first, None
        return json.loads(first or await asyncio.wait_for(self.socket.recv(), seconds))

    async def send(self, kind, **payload):
        await self.socket.send(json.dumps({"type": kind, **({"payload": payload} if payload else {})}))

    async def request(self, kind, **payload):
        """Sends a message and returns the response; states in between are recorded."""
        await self.send(kind, **payload)
        while (message := await self.receive())["type"] == "STAGE_STATE":
            self.last = message["payload"]["participants"]
        return message

    async def state(self, seconds=TIMEOUT_SECONDS):
        """The participants of the next state."""
        message = await self.receive(seconds)
        assert message["type"] == "STAGE_STATE", message
        self.last = message["payload"]["participants"]
        return self.last

    async def wait_for_state(self, *expected):
        """Waits for a state with exactly these participants in this order; publishers have an asterisk."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while self.listed() != list(expected):
                await self.state()
        return self.last

    def listed(self):
        if self.last is None:
            return None
        return [one["id"] + "*" * one["isPublishing"] for one in self.last]

    async def closed(self, seconds=TIMEOUT_SECONDS):
        """Waits for the close frame and returns its code and reason."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self.socket.recv()
        except ConnectionClosed as end:
            assert end.rcvd is not None, "the connection ended without a close frame"
            return end.rcvd.code, end.rcvd.reason


async def wait_until(condition, found=lambda: None, seconds=TIMEOUT_SECONDS):
    """Polls a condition."""
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, f"not within {seconds} s: {found()}"
        await asyncio.sleep(0.05)


class Signer:
    """Signs tokens with its own key pair."""

    def __init__(self, endpoints):
        self.endpoints, self.key = endpoints, ec.generate_private_key(ec.SECP384R1())
        tenant = endpoints.tenant
        self.arn = tenant.ivs.import_public_key(publicKeyMaterial=pem(key=self.key))["publicKey"]["arn"]

    def claims(self, **changed):
        """The claims of a valid token; claims set to `None` are omitted."""
        endpoints, now = self.endpoints, int(time.time())
        claims = {
            "exp": now + 600,
            "iat": now,
            "jti": "self-signed_1",
            "resource": endpoints.stage,
            "topic": endpoints.topic,
            "events_url": endpoints.events,
            "whip_url": endpoints.whip,
            "user_id": "user-1",
            "attributes": {"name": "User One"},
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
            "events_url": self.endpoints.events,
            "version": "1.0",
        } | changed
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key or self.key, algorithm="ES384", headers={"kid": self.arn})


@pytest.fixture
def tenant(node):
    """A fresh account."""
    return node.tenant()


@pytest.fixture
def stage(tenant):
    """The ARN of a stage of that account."""
    return tenant.stage()


@pytest.fixture
def endpoints(tenant, stage):
    """The endpoints of that stage."""
    return StageEndpoints(tenant, stage)
