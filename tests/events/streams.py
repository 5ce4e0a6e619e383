"""A client of the event stream (server-sent events), signed with botocore's signer, over http.client."""

import http.client
import json
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from signing import Signature
from wire import Answer

PATH = "/_greenroom/events"
TIMEOUT_SECONDS = 40


@dataclass(frozen=True)
class Entry:
    """One server-sent event: an event, an audit record, or only a position."""

    id: str
    kind: str
    data: str

    @property
    def envelope(self):
        return json.loads(self.data)

    @property
    def detail(self):
        return self.envelope["detail"]


class Stream:
    """An open stream. `seen` is the Last-Event-ID for a reconnection."""

    def __init__(self, server, key, query="", last=None, region="us-east-1", buffer=None):
        if isinstance(key, str):
            key = {"accessKeyId": key, "secretAccessKey": "test", "sessionToken": None}
        signature = Signature(key["accessKeyId"], key["secretAccessKey"], key["sessionToken"], region)
        headers = signature.headers("GET", server.endpoint + PATH + query)
        if last is not None:
            headers["Last-Event-ID"] = last
        self.connection = http.client.HTTPConnection(urlsplit(server.endpoint).netloc, timeout=TIMEOUT_SECONDS)
        if buffer:
            self.connection.sock = socket.socket()
            self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            self.connection.sock.settimeout(TIMEOUT_SECONDS)
            self.connection.sock.connect((self.connection.host, self.connection.port))
        self.connection.request("GET", PATH + query, headers=headers)
        self.response = self.connection.getresponse()
        self.seen, self.lines = last, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.response.close()
        self.connection.close()

    @property
    def answer(self):
        """The response, if it is an error."""
        headers = {name.lower(): value for name, value in self.response.getheaders()}
        return Answer(self.response.status, headers, self.response.read())

    def wait_for_position(self):
        """Waits for the first position; returns the stream."""
        assert self.response.status == 200, self.answer
        assert self.response.getheader("content-type") == "text/event-stream"
        position = self.next_entry()
        assert position is not None and position.data == "" and position.id.isdigit(), position
        return self

    def next_entry(self):
        """The next entry, without comments; `None` at the end of the stream."""
        fields = {"id": None, "event": "message", "data": ""}
        while line := self.response.readline():
            self.lines.append(line)
            assert line.endswith(b"\n")
            line = line.decode().rstrip("\n")
            if not line:
                self.seen = fields["id"] or self.seen
                return Entry(fields["id"], fields["event"], fields["data"])
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
        return None

    def next(self):
        """The next event or record."""
        while (entry := self.next_entry()) is not None:
            if entry.data:
                return entry
        raise EOFError("the stream has ended")

    def take(self, count):
        return [self.next() for _ in range(count)]

    def until(self, last):
        """All entries up to the first for which `last` is true."""
        entries = [self.next()]
        while not last(entries[-1]):
            entries.append(self.next())
        return entries

    def rest(self):
        """All entries up to the end of the stream."""
        entries = []
        while (entry := self.next_entry()) is not None:
            entries += [entry] if entry.data else []
        return entries


def opened(server, key, query="", last=None, **more):
    """Opens a stream and waits for its first position."""
    return Stream(server, key, query, last, **more).wait_for_position()


def refused(server, key, query="", last=None, **more):
    """The error response to a stream request: status, fault and message."""
    with Stream(server, key, query, last, **more) as stream:
        answer = stream.answer
        return answer.status, answer.fault, answer.text


def records(server, account, since="?kind=audit", region="us-east-1"):
    """A stream of all records from the beginning of the log."""
    return opened(server, account, since, last="0", region=region)


def named(name):
    """Whether an entry is the audit record of creating a stage of this name."""
    return lambda entry: (entry.detail["requestParameters"] or {}).get("name") == name
