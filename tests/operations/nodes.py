"""Nodes of one service on one store, and the people on them."""

import asyncio
import json
import subprocess
import threading
from contextlib import AsyncExitStack

import boto3
import pytest
from botocore.config import Config

from clients import Server
from clusters import free_port
from endpoints import StageEndpoints
from running import assert_ended_well
from server import MASTER_KEY, Greenroom, binary, environment
from signing import SECRET
from tenant import Tenant

LEASE_SECONDS = 8
# Each node looks at everything every 30 seconds, whatever it heard or found: what takes less than that was heard or found.
# The promise is a second; what it took is reported, as a machine that stalls is no reason to fail.
SOON_SECONDS = 20


def client(endpoint, account):
    """A client that asks once, and says what it was told."""
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60, max_pool_connections=4)
    return boto3.Session().client(
        "ivs-realtime",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=account,
        aws_secret_access_key=SECRET,
        config=config,
    )


@pytest.fixture
def start_node():
    """A function that starts a node on a store. No log has a secret, whatever was said to it; those that still run at
    the end must stop in good order."""
    started = []

    def start(store, *flags, **env):
        listen = f"127.0.0.1:{free_port()}"
        flags = ("--database-url", store, "--media-addr", "127.0.0.1:0", "--shutdown-seconds", "10",
                 "--public-url", "http://ivs.example.org", "--node-url", f"http://{listen}",
                 "--node-lease-seconds", str(LEASE_SECONDS), "--session-end-seconds", "1",
                 # Guests are quiet for longer than a socket may be.
                 "--events-timeout-seconds", "600", *flags)
        env = {"RUST_LOG": "debug", "GREENROOM_MASTER_KEY": MASTER_KEY, "GREENROOM_LISTEN": listen} | env
        program = Greenroom(*flags, **env).serving()
        started.append(program)
        return Server("postgres", program, store)

    yield start
    assert_ended_well(started, Greenroom.end)


def endpoints_of(server, account):
    """The endpoints of a new stage."""
    tenant = Tenant(server, account, "us-east-1")
    return StageEndpoints(tenant, tenant.stage()).on(server)


class Crowd:
    """People with a WebSocket each, who stay until they are sent away."""

    def __init__(self):
        self.guests, self.stack = [], AsyncExitStack()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        await self.stack.aclose()

    async def joins(self, endpoints, count):
        for _ in range(count):
            token, participant = endpoints.token()
            guest = await self.stack.enter_async_context(endpoints.join(token))
            self.guests.append((endpoints, participant, guest))

    async def still_there(self):
        """How many are connected and answered."""
        answers = await asyncio.gather(*(guest.request("PING") for _, _, guest in self.guests), return_exceptions=True)
        return sum(answer == {"type": "PONG"} for answer in answers)


class Media:
    """A publisher of the test pattern and a viewer, as programs of their own."""

    def __init__(self, endpoints):
        publisher, self.publisher_id = endpoints.token()
        viewer, self.viewer_id = endpoints.token()
        self.programs = [join(endpoints, publisher, "--publish", "test-pattern"), join(endpoints, viewer, "--subscribe", "all")]
        # Frames that the viewer has had, and what either said of an end.
        self.frames, self.ends = 0, []
        for program in self.programs:
            threading.Thread(target=self.follow, args=(program,), daemon=True).start()

    def follow(self, program):
        for line in program.stdout:
            if not line.endswith("\n"):
                return
            said = json.loads(line)
            if said["type"] == "ended":
                self.ends.append(said)
            for connection in said.get("connections", ()):
                self.frames = max(self.frames, connection["figures"]["received"]["frames"])

    def flows(self):
        """Whether frames have arrived since the last call and no connection has ended."""
        assert not self.ends, self.ends
        before, self.last = getattr(self, "last", 0), self.frames
        return self.last > before

    def end(self):
        for program in self.programs:
            program.terminate()
            program.wait(30)


def join(endpoints, token, *flags):
    command = [binary("GREENROOM_BIN"), "join", "--token", "-", *flags, "--output", "json",
               "--events-url", endpoints.events, "--whip-url", endpoints.whip]
    program = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    program.stdin.write(token + "\n")
    program.stdin.close()
    return program
