"""Several nodes on one store: redirects, propagation between nodes, and a node that dies."""

import signal
import socket
import time

import pytest

from endpoints import SDP, PROMPT_SECONDS, StageEndpoints, wait_until
from offers import offer
from peers import publish, view
from stores import outage

LEASE_SECONDS = 4


@pytest.fixture
def new_node(start_server, fresh_postgres):
    """Starts a node; all have the same public URL, as behind a load balancer."""
    flags = ("--node-lease-seconds", str(LEASE_SECONDS), "--session-end-seconds", "1")
    flags += ("--public-url", "http://ivs.example.org")

    def start(*more, store=None):
        listen = free_address()
        return start_server(store or fresh_postgres(), *flags, *more, "--node-url", f"http://{listen}", listen=listen)

    return start


def free_address():
    """An address that a server can listen on; a node's URL must be known before it starts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return "127.0.0.1:%d" % free.getsockname()[1]


@pytest.fixture
def nodes(new_node):
    """Two nodes on one store."""
    first = new_node()
    return first, new_node(store=first.database)


@pytest.fixture
def stages(nodes):
    """The endpoints of one stage on both nodes."""
    tenant = nodes[0].tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    return endpoints.on(nodes[0]), endpoints.on(nodes[1])


async def test_requests_are_redirected_to_the_node_of_the_stage(nodes, stages):
    here, there = stages
    (alice, alice_id), (bob, bob_id), (carol, _) = here.token(), here.token(), here.token()
    publisher = await publish(here.whip, alice)
    await publisher.wait_connected()
    for path, token in ((f"/subscribe/{alice_id}?x=1", bob), ("", carol), ("/publish/", carol)):
        direction = "recvonly" if "subscribe" in path else "sendonly"
        answer = await there.send_async("POST", path, token, offer(direction), SDP)
        assert (answer.status_code, answer.headers["Location"]) == (307, here.whip + path), answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert (await there.send_async("OPTIONS", path)).status_code == 204
    answer = await there.send_async("POST", there.whip.removesuffix("/whip") + "/", carol, offer(), SDP)
    assert (answer.status_code, answer.headers["Location"]) == (307, here.whip)
    resource = publisher.resource.replace(here.whip, there.whip)
    answer = await there.send_async("DELETE", resource, alice)
    assert (answer.status_code, answer.headers["Location"]) == (307, publisher.resource)
    viewer = await view(here.whip, bob, alice_id)
    await viewer.receives_video(3)
    await here.wait_for_events(bob_id, "JOINED", f"SUBSCRIBE_STARTED {alice_id}")
    layer = viewer.resource + "/layer"
    answer = await there.send_async("POST", layer.replace(here.whip, there.whip), bob, "{}", "application/json")
    assert (answer.status_code, answer.headers["Location"]) == (307, layer)
    assert await viewer.stop() == 200
    assert await publisher.stop() == 200


async def test_changes_on_one_node_reach_the_other_within_a_second(nodes, stages):
    here, there = stages
    (alice, alice_id), (bob, bob_id), (carol, carol_id) = here.token(), here.token(), here.token()
    async with there.join(bob) as client:
        async with here.join(alice):
            await client.wait_for_state(bob_id, alice_id)
            publisher = await publish(here.whip, alice)
            await client.wait_for_state(alice_id + "*", bob_id)
            viewer = await view(here.whip, carol, alice_id)
            await viewer.receives_video(3)
            # The API of one node closes connections of the other.
            other = nodes[1].client(here.tenant.account)
            began = time.monotonic()
            other.disconnect_participant(stageArn=here.stage, participantId=alice_id)
            await publisher.wait_closed()
            await viewer.wait_closed()
            assert time.monotonic() - began < PROMPT_SECONDS
        began = time.monotonic()
        here.tenant.ivs.delete_stage(arn=here.stage)
        assert await client.closed() == (4404, "STAGE_DELETED")
        assert time.monotonic() - began < PROMPT_SECONDS


async def test_a_second_socket_on_another_node_replaces_the_first(stages):
    here, there = stages
    (alice, alice_id), (bob, bob_id) = here.token(), here.token()
    async with here.join(alice) as first, here.join(bob) as other:
        await other.wait_for_state(alice_id, bob_id)
        began = time.monotonic()
        async with there.join(alice) as second:
            assert await first.closed() == (4403, "TOKEN_REUSED")
            assert time.monotonic() - began < PROMPT_SECONDS
            await second.wait_for_state(alice_id, bob_id)
            # And back again.
            async with here.join(alice) as third:
                assert await second.closed() == (4403, "TOKEN_REUSED")
                await third.wait_for_state(alice_id, bob_id)
                assert here.events_of(alice_id) == ["JOINED"]
    await here.wait_for_events(alice_id, "JOINED", "LEFT")


async def test_a_media_failure_is_sent_to_the_socket_on_another_node(new_node):
    first = new_node("--ice-timeout-seconds", "3")
    second = new_node("--ice-timeout-seconds", "3", store=first.database)
    tenant = first.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    here, there = endpoints.on(first), endpoints.on(second)
    (alice, alice_id), (bob, bob_id) = here.token(), here.token()
    async with there.join(alice) as client, there.join(bob) as other:
        await client.wait_for_state(alice_id, bob_id)
        assert (await here.send_async("POST", "", alice, offer(), SDP)).status_code == 201
        while (message := await client.receive())["type"] != "ERROR":
            pass
        assert (message["payload"]["code"], message["payload"]["role"]) == ("ICE_FAILED", "publish")
        await other.send("PING")
        while (message := await other.receive())["type"] != "PONG":
            assert message["type"] == "STAGE_STATE", "only the participant is notified"


async def test_a_stage_moves_when_its_node_dies_and_the_record_is_complete(nodes, stages):
    here, there = stages
    (alice, alice_id), (bob, bob_id) = here.token(), here.token()
    async with here.join(alice) as lost, there.join(bob) as client:
        publisher = await publish(here.whip, alice)
        await client.wait_for_state(alice_id + "*", bob_id)
        viewer = await view(here.whip, bob, alice_id)
        await viewer.receives_video(3)
        there.tenant.ivs = nodes[1].client(here.tenant.account)
        await there.wait_for_events(bob_id, "JOINED", f"SUBSCRIBE_STARTED {alice_id}")
        nodes[0].test_server.process.send_signal(signal.SIGKILL)
        await lost.socket.wait_closed()
        await client.wait_for_state(bob_id)
        second_publisher = await publish(there.whip, alice)
        await client.wait_for_state(alice_id + "*", bob_id)
        second_viewer = await view(there.whip, bob, alice_id)
        await second_viewer.receives_video(3)
        for ended in (publisher, viewer):
            await ended.connection.close()
        assert await second_viewer.stop() == 200
        assert await second_publisher.stop() == 200
        await client.wait_for_state(bob_id)
    await there.wait_for_events(alice_id, *["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"] * 2)
    subscribed = [f"SUBSCRIBE_STARTED {alice_id}", f"SUBSCRIBE_STOPPED {alice_id}"]
    await there.wait_for_events(bob_id, "JOINED", *subscribed, *subscribed, "LEFT")
    [session] = there.sessions()
    await wait_until(lambda: "endTime" in there.sessions()[0])
    assert session["sessionId"] == there.sessions()[0]["sessionId"], "one session for the whole time"


async def test_a_fenced_node_closes_its_connections(nodes, stages):
    here, there = stages
    (alice, alice_id), (bob, bob_id) = here.token(), here.token()
    async with here.join(alice) as lost, there.join(bob) as client:
        await client.wait_for_state(alice_id, bob_id)
        nodes[0].test_server.process.send_signal(signal.SIGSTOP)
        await client.wait_for_state(bob_id)
        nodes[0].test_server.process.send_signal(signal.SIGCONT)
        assert await lost.closed() == (1001, "GOING_AWAY")
        async with here.join(alice) as back:
            await client.wait_for_state(alice_id, bob_id)
            assert await back.request("PING") == {"type": "PONG"}


async def test_an_unavailable_store_closes_nothing_and_events_are_written_later(new_node, postgres):
    node = new_node()
    tenant = node.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage()).on(node)
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    async with endpoints.join(bob) as client:
        publisher = await publish(endpoints.whip, alice)
        await client.wait_for_state(alice_id + "*", bob_id)
        with outage(postgres, node.database):
            answer = await endpoints.send_async("POST", "", alice, offer(), SDP)
            assert answer.status_code in (500, 503)
            assert await client.request("PING") == {"type": "PONG"}
            await publisher.connection.close()
        await client.wait_for_state(bob_id)
    await endpoints.wait_for_events(alice_id, "JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT")
