"""A server for encoders that misbehave, and one that does not."""

import pytest

from conftest import endpoints_of
from ingest import StreamKey, ingest_address
from metrics import metric_value
from record import eventually
from rtmp import RtmpClient, recorded

TIMEOUT_SECONDS = 2
# After its timeout, the server waits up to 2 s for an encoder to read the reason.
PROMPT_SECONDS = TIMEOUT_SECONDS + 4
# What the server may need for one connection that sends as much as it can.
MAX_GROWTH_MB = 60
STARTED = "NetStream.Publish.Start"


@pytest.fixture(scope="module")
def ingest(start_server, new_store):
    """A server with a short timeout, and a function that makes stream keys."""
    server = start_server(new_store(), "--rtmp-timeout-seconds", str(TIMEOUT_SECONDS), RUST_LOG="info")
    return Ingest(server)


class Ingest:
    def __init__(self, server):
        self.server, self.endpoints = server, endpoints_of(server)
        self.rtmp, self.rtmps = (ingest_address(self.endpoints, protocol) for protocol in ("rtmp", "rtmps"))

    def key(self):
        return StreamKey(endpoints_of(self.server))

    def client(self, **options):
        return RtmpClient(self.rtmp, **options)

    def ended(self, reason):
        """The number of connections that ended for a reason."""
        return metric_value(self.server, f'greenroom_rtmp_connections_ended_total{{protocol="rtmp",reason="{reason}"}}')

    def serves(self):
        """A well-behaved encoder publishes."""
        key = self.key()
        with self.client() as client:
            assert client.publish(key.key)[0] == STARTED
            for tag in recorded():
                client.send_tag(tag)
            reaches(key, "ACTIVE")
        reaches(key, "INACTIVE")


def reaches(key, state):
    eventually(lambda: key.configuration()["state"] == state)


def published(client, key, before=()):
    assert client.publish(key.key)[0] == STARTED
    for tag in before:
        client.send_tag(tag)
    return client
