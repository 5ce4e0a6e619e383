"""Ingest configurations of a stage, for encoders."""

import asyncio
from urllib.parse import urlsplit

from endpoints import wait_until

PUBLISHED = ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]


class StreamKey:
    """An ingest configuration that is attached to a stage."""

    def __init__(self, endpoints, protocol="RTMP", **members):
        self.endpoints, self.ivs = endpoints, endpoints.tenant.ivs
        members = {"stageArn": endpoints.stage, "ingestProtocol": protocol, **members}
        made = endpoints.tenant.ingest(insecureIngest=protocol == "RTMP", **members)
        self.arn, self.participant, self.key = made["arn"], made["participantId"], made["streamKey"]
        self.credentials = made.get("redundantIngestCredentials", [])

    def url(self, protocol="rtmp", key=None):
        """What the encoder is given."""
        return ingest_url(self.endpoints, protocol) + (key or self.key)

    def configuration(self):
        return self.ivs.get_ingest_configuration(arn=self.arn)["ingestConfiguration"]

    def attach(self, stage):
        return self.ivs.update_ingest_configuration(arn=self.arn, stageArn=stage)

    async def is_in_state(self, state):
        await wait_until(lambda: self.configuration()["state"] == state, self.configuration)

    async def publishes(self):
        """Waits until the encoder publishes."""
        await self.is_in_state("ACTIVE")

    async def has_left(self, *events):
        """Waits until the participant has left, after these events or the usual ones."""
        await self.is_in_state("INACTIVE")
        await self.endpoints.wait_for_events(self.participant, *(events or PUBLISHED))

    async def events(self):
        return await asyncio.to_thread(self.endpoints.events_of, self.participant)


def ingest_url(endpoints, protocol="rtmp"):
    """The stage's endpoint for encoders."""
    url = endpoints.tenant.ivs.get_stage(arn=endpoints.stage)["stage"]["endpoints"][protocol]
    assert url.startswith(f"{protocol}://127.0.0.1:") and url.endswith("/app/"), url
    return url


def ingest_address(endpoints, protocol="rtmp"):
    """Host and port of the listener."""
    url = urlsplit(ingest_url(endpoints, protocol))
    return url.hostname, url.port
