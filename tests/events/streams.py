"""The stream of events, read as it comes: signed with botocore's signer, over http.client."""

import http.client
import json
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from signing import Signature
from wire import Answer

PATH = "/_greenroom/events"
PATIENCE_SECONDS = 40


@dataclass(frozen=True)
class Entry:
    """A block of a stream: an event, an audit record, or the position alone."""

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
    """An open stream. `seen` is what a client sends when it comes back."""

    def __init__(self, server, key, query="", last=None, region="us-east-1", buffer=None):
        if isinstance(key, str):
            key = {"accessKeyId": key, "secretAccessKey": "test", "sessionToken": None}
        signature = Signature(key["accessKeyId"], key["secretAccessKey"], key["sessionToken"], region)
        headers = signature.headers("GET", server.endpoint + PATH + query)
        if last is not None:
            headers["Last-Event-ID"] = last
        self.connection = http.client.HTTPConnection(urlsplit(server.endpoint).netloc, timeout=PATIENCE_SECONDS)
        if buffer:
            self.connection.sock = socket.socket()
            self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            self.connection.sock.settimeout(PATIENCE_SECONDS)
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
        """The response, where it is no stream."""
        headers = {name.lower(): value for name, value in self.response.getheaders()}
        return Answer(self.response.status, headers, self.response.read())

    def begun(self):
        """The stream, once it has sent its first position."""
        assert self.response.status == 200, self.answer
        assert self.response.getheader("content-type") == "text/event-stream"
        place = self.block()
        assert place is not None and place.data == "" and place.id.isdigit(), place
        return self

    def block(self):
        """The next block, comments left out; `None` at the end of the stream."""
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
        while (entry := self.block()) is not None:
            if entry.data:
                return entry
        raise EOFError("the stream has ended")

    def take(self, count):
        return [self.next() for _ in range(count)]

    def until(self, last):
        """Everything up to the entry for which `last` holds."""
        entries = [self.next()]
        while not last(entries[-1]):
            entries.append(self.next())
        return entries

    def rest(self):
        """Everything up to the end of the stream."""
        entries = []
        while (entry := self.block()) is not None:
            entries += [entry] if entry.data else []
        return entries


def opened(server, key, query="", last=None, **more):
    """A stream that has begun."""
    return Stream(server, key, query, last, **more).begun()


def refused(server, key, query="", last=None, **more):
    """The error of a request for a stream: status, fault and text."""
    with Stream(server, key, query, last, **more) as stream:
        answer = stream.answer
        return answer.status, answer.fault, answer.text


def records(server, account, since="?kind=audit", region="us-east-1"):
    """A stream of every record from the beginning of the log on."""
    return opened(server, account, since, last="0", region=region)


def named(name):
    """Whether an entry is the audit record of creating a stage of this name."""
    return lambda entry: (entry.detail["requestParameters"] or {}).get("name") == name
