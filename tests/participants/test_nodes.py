"""Several nodes on one store: redirects, what one does and another sees, and a node that dies."""

import signal
import socket
import time

import pytest

from doors import SDP, SOON_SECONDS, Doors, until
from offers import offer
from peers import publish, view
from stores import outage

LEASE_SECONDS = 4


@pytest.fixture
def new_node(start_server, fresh_postgres):
    """A function that starts a node. What clients are told is the same on every node, as behind a load balancer."""
    flags = ("--node-lease-seconds", str(LEASE_SECONDS), "--session-end-seconds", "1")
    flags += ("--public-url", "http://ivs.example.org")

    def start(*more, store=None):
        with socket.create_server(("127.0.0.1", 0)) as free:
            listen = "127.0.0.1:%d" % free.getsockname()[1]
        return start_server(store or fresh_postgres(), *flags, *more, "--node-url", f"http://{listen}", listen=listen)

    return start


@pytest.fixture
def nodes(new_node):
    """Two nodes on one store."""
    first = new_node()
    return first, new_node(store=first.database)


@pytest.fixture
def stages(nodes):
    """The doors of one stage on either node."""
    tenant = nodes[0].tenant()
    doors = Doors(tenant, tenant.stage())
    return doors.on(nodes[0]), doors.on(nodes[1])


async def test_the_wrong_node_sends_clients_to_the_right_one(nodes, stages):
    here, there = stages
    (alice, alice_id), (bob, bob_id), (carol, _) = here.token(), here.token(), here.token()
    publisher = await publish(here.whip, alice)
    await publisher.connected()
    for path, token in ((f"/subscribe/{alice_id}?x=1", bob), ("", carol), ("/publish/", carol)):
        direction = "recvonly" if "subscribe" in path else "sendonly"
        answer = await there.ask("POST", path, token, offer(direction), SDP)
        assert (answer.status_code, answer.headers["Location"]) == (307, here.whip + path), answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert (await there.ask("OPTIONS", path)).status_code == 204
    answer = await there.ask("POST", there.whip.removesuffix("/whip") + "/", carol, offer(), SDP)
    assert (answer.status_code, answer.headers["Location"]) == (307, here.whip)
    resource = publisher.resource.replace(here.whip, there.whip)
    answer = await there.ask("DELETE", resource, alice)
    assert (answer.status_code, answer.headers["Location"]) == (307, publisher.resource)
    viewer = await view(here.whip, bob, alice_id)
    await viewer.sees(3)
    await here.recorded(bob_id, "JOINED", f"SUBSCRIBE_STARTED {alice_id}")
    assert await viewer.stop() == 200
    assert await publisher.stop() == 200


async def test_what_happens_on_one_node_is_seen_on_the_other_within_a_second(nodes, stages):
    here, there = stages
    (alice, alice_id), (bob, bob_id), (carol, carol_id) = here.token(), here.token(), here.token()
    async with there.join(bob) as guest:
        async with here.join(alice):
            await guest.sees(bob_id, alice_id)
            publisher = await publish(here.whip, alice)
            await guest.sees(alice_id + "*", bob_id)
            viewer = await view(here.whip, carol, alice_id)
            await viewer.sees(3)
            # The API of one node ends what the other holds.
            other = nodes[1].client(here.tenant.account)
            began = time.monotonic()
            other.disconnect_participant(stageArn=here.stage, participantId=alice_id)
            await publisher.over()
            await viewer.over()
            assert time.monotonic() - began < SOON_SECONDS
        began = time.monotonic()
        here.tenant.ivs.delete_stage(arn=here.stage)
        assert await guest.closed() == (4404, "STAGE_DELETED")
        assert time.monotonic() - began < SOON_SECONDS


async def test_a_second_socket_on_another_node_takes_the_place_of_the_first(stages):
    here, there = stages
    (alice, alice_id), (bob, bob_id) = here.token(), here.token()
    async with here.join(alice) as first, here.join(bob) as other:
        await other.sees(alice_id, bob_id)
        began = time.monotonic()
        async with there.join(alice) as second:
            assert await first.closed() == (4403, "TOKEN_REUSED")
            assert time.monotonic() - began < SOON_SECONDS
            await second.sees(alice_id, bob_id)
            # And back again.
            async with here.join(alice) as third:
                assert await second.closed() == (4403, "TOKEN_REUSED")
                await third.sees(alice_id, bob_id)
                assert here.events_of(alice_id) == ["JOINED"]
    await here.recorded(alice_id, "JOINED", "LEFT")


async def test_a_media_failure_is_told_on_the_node_that_has_the_socket(new_node):
    first = new_node("--ice-timeout-seconds", "3")
    second = new_node("--ice-timeout-seconds", "3", store=first.database)
    tenant = first.tenant()
    doors = Doors(tenant, tenant.stage())
    here, there = doors.on(first), doors.on(second)
    (alice, alice_id), (bob, bob_id) = here.token(), here.token()
    async with there.join(alice) as guest, there.join(bob) as other:
        await guest.sees(alice_id, bob_id)
        assert (await here.ask("POST", "", alice, offer(), SDP)).status_code == 201
        while (message := await guest.hear())["type"] != "ERROR":
            pass
        assert (message["payload"]["code"], message["payload"]["role"]) == ("ICE_FAILED", "publish")
        await other.say("PING")
        while (message := await other.hear())["type"] != "PONG":
            assert message["type"] == "STAGE_STATE", "it is none of the others' business"


async def test_a_stage_moves_when_its_node_dies_and_the_record_is_right(nodes, stages):
    here, there = stages
    (alice, alice_id), (bob, bob_id) = here.token(), here.token()
    async with here.join(alice) as lost, there.join(bob) as guest:
        publisher = await publish(here.whip, alice)
        await guest.sees(alice_id + "*", bob_id)
        viewer = await view(here.whip, bob, alice_id)
        await viewer.sees(3)
        there.tenant.ivs = nodes[1].client(here.tenant.account)
        await there.recorded(bob_id, "JOINED", f"SUBSCRIBE_STARTED {alice_id}")
        nodes[0].test_server.process.send_signal(signal.SIGKILL)
        await lost.socket.wait_closed()
        await guest.sees(bob_id)
        again = await publish(there.whip, alice)
        await guest.sees(alice_id + "*", bob_id)
        anew = await view(there.whip, bob, alice_id)
        await anew.sees(3)
        for ended in (publisher, viewer):
            await ended.connection.close()
        assert await anew.stop() == 200
        assert await again.stop() == 200
        await guest.sees(bob_id)
    await there.recorded(alice_id, *["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"] * 2)
    subscribed = [f"SUBSCRIBE_STARTED {alice_id}", f"SUBSCRIBE_STOPPED {alice_id}"]
    await there.recorded(bob_id, "JOINED", *subscribed, *subscribed, "LEFT")
    [session] = there.sessions()
    await until(lambda: "endTime" in there.sessions()[0])
    assert session["sessionId"] == there.sessions()[0]["sessionId"], "one session from the first to the last"


async def test_a_node_that_was_taken_for_dead_drops_what_it_holds(nodes, stages):
    here, there = stages
    (alice, alice_id), (bob, bob_id) = here.token(), here.token()
    async with here.join(alice) as lost, there.join(bob) as guest:
        await guest.sees(alice_id, bob_id)
        nodes[0].test_server.process.send_signal(signal.SIGSTOP)
        await guest.sees(bob_id)
        nodes[0].test_server.process.send_signal(signal.SIGCONT)
        assert await lost.closed() == (1001, "GOING_AWAY")
        async with here.join(alice) as back:
            await guest.sees(alice_id, bob_id)
            assert await back.answered("PING") == {"type": "PONG"}


async def test_a_store_that_is_away_ends_nothing_and_all_is_written_afterwards(new_node, postgres):
    node = new_node()
    tenant = node.tenant()
    doors = Doors(tenant, tenant.stage()).on(node)
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    async with doors.join(bob) as guest:
        publisher = await publish(doors.whip, alice)
        await guest.sees(alice_id + "*", bob_id)
        with outage(postgres, node.database):
            answer = await doors.ask("POST", "", alice, offer(), SDP)
            assert answer.status_code in (500, 503)
            assert await guest.answered("PING") == {"type": "PONG"}
            await publisher.connection.close()
        await guest.sees(bob_id)
    await doors.recorded(alice_id, "JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT")
