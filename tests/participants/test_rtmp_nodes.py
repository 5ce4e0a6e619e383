"""Encoders connect to any of several nodes; the stage's media are on one of them."""

import asyncio

import pytest

from encoder import Media, encode  # noqa: F401 (fixture)
from endpoints import SDP, StageEndpoints
from ingest import PUBLISHED, StreamKey
from offers import offer
from test_nodes import free_address, new_node  # noqa: F401 (fixture)
from watching import watch

MEDIA = Media(width=640, height=360)


@pytest.fixture
def nodes(new_node):  # noqa: F811
    """Two nodes on one store, each with the address of its encoders."""

    def start(**more):
        address = free_address()
        node = new_node("--rtmp-listen", address, "--rtmps-listen", "off", **more)
        node.rtmp = f"rtmp://{address}/app/"
        return node

    first = start()
    return first, start(store=first.database)


@pytest.fixture
def stages(nodes):
    """The endpoints of one stage on both nodes; the first is its home."""
    tenant = nodes[0].tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    here, there = endpoints.on(nodes[0]), endpoints.on(nodes[1])
    token, _ = here.token()
    assert here.send("POST", "", token, offer(), SDP).status_code == 201
    assert there.send("POST", "", here.token()[0], offer(), SDP).status_code == 307
    return here, there


async def test_an_encoder_on_another_node_reaches_the_subscribers(nodes, stages, encode):
    here, _ = stages
    key = StreamKey(here, userId="camera")
    running = encode(nodes[1].rtmp + key.key, MEDIA)
    await key.publishes()
    watcher = await watch(here, key.participant)
    await watcher.compares(MEDIA)
    found = here.participant(key.participant)
    assert (found["protocol"], found["ingestConfigurationArn"], found["userId"]) == ("RTMP", key.arn, "camera")
    # The key is in use on whichever node it is tried.
    for node in nodes:
        refused = encode(node.rtmp + key.key, MEDIA)
        assert await asyncio.to_thread(refused.wait) != 0
        assert "Server error: " in refused.messages()
    assert await watcher.stop() == 200
    await asyncio.to_thread(running.stop)
    await key.is_in_state("INACTIVE")
    events = [event for event in await key.events() if event != "PUBLISH_ERROR REUSE_OF_STREAM_KEY"]
    assert events == PUBLISHED


async def test_disconnecting_reaches_the_encoder_on_the_other_node(nodes, stages, encode):
    here, _ = stages
    key = StreamKey(here)
    running = encode(nodes[1].rtmp + key.key, MEDIA)
    await key.publishes()
    here.tenant.ivs.disconnect_participant(stageArn=here.stage, participantId=key.participant)
    await asyncio.to_thread(running.wait)
    await key.has_left()
    assert key.configuration()["stageArn"] == ""


async def test_an_encoder_makes_its_node_the_home_of_a_stage_without_one(nodes, encode):
    tenant = nodes[0].tenant()
    endpoints = StageEndpoints(tenant, tenant.stage()).on(nodes[1])
    key = StreamKey(endpoints)
    running = encode(nodes[1].rtmp + key.key, MEDIA)
    await key.publishes()
    watcher = await watch(endpoints, key.participant)
    await watcher.sees()
    assert await watcher.stop() == 200
    await asyncio.to_thread(running.stop)
    await key.has_left()
