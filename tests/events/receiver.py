"""An HTTP server that receives webhooks and responds as the test configures it; helpers for event targets."""

import json
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks.webhooks import Webhook

from server import run

PATIENCE_SECONDS = 60
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr"


@dataclass(frozen=True)
class Reply:
    """The response to a delivery; `raw` bytes are sent instead of an HTTP response."""

    status: int = 204
    headers: dict = field(default_factory=dict)
    raw: bytes = None


@dataclass(frozen=True)
class Delivery:
    """A received request and the response to it."""

    headers: dict
    body: str
    reply: Reply

    @property
    def event(self):
        return json.loads(self.body)

    @property
    def id(self):
        return self.headers["webhook-id"]

    @property
    def stage(self):
        return self.event["resources"][0]

    @property
    def name(self):
        return self.event["detail"]["event_name"]


class Receiver:
    """A server that can be closed and reopened on the same port."""

    def __init__(self, secret=SECRET):
        self.secrets, self.deliveries, self.lock = [secret], [], threading.Lock()
        self.respond = lambda event: Reply()
        self.port, self.server, self.invalid = 0, None, []

    def __enter__(self):
        self.open()
        return self

    def __exit__(self, *_):
        self.close()
        assert not self.invalid, self.invalid[:3]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hooks?for=greenroom"

    def target(self, **keys):
        """The keys of this target in the target file."""
        return {"type": "webhook", "url": self.url, "secret": self.secrets[0], **keys}

    def open(self):
        handler = type("Handler", (_Handler,), {"receiver": self})
        self.server = _Server(("127.0.0.1", self.port), handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        """Stops listening and closes all connections."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server.close_connections()
            self.server = None

    def record(self, headers, body):
        """Verifies the signature and records the delivery; returns the response."""
        reply = self.respond(json.loads(body))
        delivery = Delivery({name.lower(): value for name, value in headers.items()}, body, reply)
        at = datetime.fromtimestamp(int(delivery.headers["webhook-timestamp"]), timezone.utc)
        signed = delivery.headers["webhook-signature"].split(" ")
        good = all(Webhook(secret).sign(delivery.id, at, body) in signed for secret in self.secrets)
        with self.lock:
            self.deliveries.append(delivery)
            if not good or delivery.id != delivery.event["id"]:
                self.invalid.append(delivery)
        return reply

    @property
    def accepted(self):
        """Accepted deliveries in order of arrival."""
        with self.lock:
            return [delivery for delivery in self.deliveries if delivery.reply.status < 300 and not delivery.reply.raw]

    def ids(self):
        return [delivery.id for delivery in self.accepted]

    def wait_for_accepted(self, count):
        """Waits until this many distinct events were accepted; returns the accepted deliveries."""
        until(lambda: len(set(self.ids())) >= count, lambda: f"{len(self.accepted)} of {count}")
        return self.accepted


@pytest.fixture
def receiver():
    """An HTTP server that receives webhooks."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def targets(tmp_path):
    """A function that writes a target file, given the keys of each target by name; returns its path."""

    def write(**tables):
        path = tmp_path / "targets.toml"
        path.write_text("".join(table(name.replace("_", "-"), **keys) for name, keys in tables.items()))
        return path

    return write


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments):
        self.open = set()
        super().__init__(*arguments)

    def process_request(self, request, address):
        self.open.add(request)
        super().process_request(request, address)

    def close_connections(self):
        for connection in self.open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_):
        """Ignores errors of closed connections."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        reply = self.receiver.record(dict(self.headers), body)
        if reply.raw is not None:
            self.wfile.write(reply.raw)
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Disables the request log."""


def until(condition, found=lambda: "", seconds=PATIENCE_SECONDS):
    """Polls a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {found()}"
        time.sleep(0.02)


def table(name, **keys):
    """A `[[target]]` table of the target file."""
    pattern = keys.pop("pattern", None)
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"name": name, **keys}.items()]
    if pattern:
        lines.append(f"pattern = '{json.dumps(pattern)}'")
    return "\n".join(["[[target]]", *lines, "", ""])


def log(server):
    """All stage events in the log of a test server, in order."""
    entries = server.test_server.do("log", limit=100_000)["events"]
    return [entry["body"] for entry in entries if entry["kind"] == "event"]


def by_stage(events):
    """Distinct event ids by resource, in order of first arrival."""
    found = {}
    for event in events:
        ids = found.setdefault(event["resources"][0], [])
        if event["id"] not in ids:
            ids.append(event["id"])
    return found


def command(server, *arguments):
    """The JSON output of `greenroom events …` on the store of a running server."""
    ended = run("events", *arguments, "--database-url", server.database, "--output", "json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def status(server, target):
    return next(shown for shown in command(server, "targets") if shown["name"] == target)
