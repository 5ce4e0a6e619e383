"""Ends of an encoder's stream: by the encoder, by the API, and by the server."""

import asyncio
import signal
import time

import pytest

from encoder import Media, encode  # noqa: F401 (fixture)
from endpoints import PROMPT_SECONDS, StageEndpoints, wait_until
from ingest import PUBLISHED, StreamKey
from tenant import conflicting


async def ends(encoder):
    """Waits until the server has ended a connection; returns the time that it took."""
    began = time.monotonic()
    await asyncio.to_thread(encoder.wait)
    return time.monotonic() - began


async def test_a_killed_encoder_leaves_and_its_key_works_again(endpoints, encode):
    key = StreamKey(endpoints)
    running = encode(key.url())
    await key.publishes()
    running.signal(signal.SIGKILL)
    began = time.monotonic()
    await key.has_left()
    assert time.monotonic() - began < PROMPT_SECONDS
    again = encode(key.url())
    await key.publishes()
    await asyncio.to_thread(again.stop)
    await key.has_left(*PUBLISHED * 2)


async def test_a_silent_encoder_is_disconnected(start_node, encode):
    node = start_node("--rtmp-timeout-seconds", "2")
    tenant = node.tenant()
    key = StreamKey(StageEndpoints(tenant, tenant.stage()))
    running = encode(key.url())
    await key.publishes()
    running.signal(signal.SIGSTOP)
    await key.has_left()
    running.signal(signal.SIGCONT)
    await ends(running)


async def test_disconnect_participant_detaches_the_key(endpoints, encode):
    key = StreamKey(endpoints)
    running = encode(key.url())
    await key.publishes()
    endpoints.tenant.ivs.disconnect_participant(stageArn=endpoints.stage, participantId=key.participant)
    assert await ends(running) < PROMPT_SECONDS
    await key.has_left()
    assert key.configuration()["stageArn"] == ""
    refused = encode(key.url())
    assert await asyncio.to_thread(refused.wait) != 0
    # The participant is not banned.
    key.attach(endpoints.stage)
    again = encode(key.url())
    await key.publishes()
    await asyncio.to_thread(again.stop)


async def test_an_active_configuration_is_not_changed_and_deleted_by_force_only(endpoints, encode):
    key = StreamKey(endpoints)
    running = encode(key.url())
    await key.publishes()
    with conflicting():
        key.attach("")
    with conflicting():
        key.ivs.delete_ingest_configuration(arn=key.arn)
    assert key.configuration()["state"] == "ACTIVE" and running.processes[-1].poll() is None
    key.ivs.delete_ingest_configuration(arn=key.arn, force=True)
    assert await ends(running) < PROMPT_SECONDS
    await endpoints.wait_for_events(key.participant, *PUBLISHED)
    refused = encode(key.url())
    assert await asyncio.to_thread(refused.wait) != 0


async def test_an_inactive_configuration_moves_to_another_stage(endpoints, encode):
    key = StreamKey(endpoints)
    running = encode(key.url())
    await key.publishes()
    await asyncio.to_thread(running.stop)
    await key.has_left()
    other = StageEndpoints(endpoints.tenant, endpoints.tenant.stage())
    key.attach(other.stage)
    again = encode(key.url())
    await key.publishes()
    assert other.participant(key.participant)["state"] == "CONNECTED"
    await asyncio.to_thread(again.stop)
    await other.wait_for_events(key.participant, *PUBLISHED)


async def test_deleting_the_stage_ends_the_encoder(endpoints, encode):
    key = StreamKey(endpoints)
    running = encode(key.url())
    await key.publishes()
    endpoints.tenant.ivs.delete_stage(arn=endpoints.stage)
    assert await ends(running) < PROMPT_SECONDS
    await key.is_in_state("INACTIVE")
    assert key.configuration()["stageArn"] == ""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_encoders_end_with_the_server_and_the_record_is_complete(start_node, encode, how):
    node = start_node("--session-end-seconds", "1")
    tenant = node.tenant()
    key = StreamKey(StageEndpoints(tenant, tenant.stage()))
    running = encode(key.url(), Media(rate=15, gop=15))
    await key.publishes()
    node.test_server.process.send_signal(how)
    assert await ends(running) < 10
    code = await asyncio.to_thread(node.test_server.wait)
    assert code == (0 if how == signal.SIGTERM else -signal.SIGKILL)
    again = start_node("--session-end-seconds", "1", store=node.database)
    key.ivs = again.client(tenant.account)
    tenant.ivs = key.ivs
    await key.has_left()
    sessions = lambda: key.endpoints.sessions()  # noqa: E731
    await wait_until(lambda: "endTime" in sessions()[0], sessions)
