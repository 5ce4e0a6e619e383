"""Faults of participants: refused tokens, dropped WebSockets, impaired media, and connections that end."""

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed

from endpoints import TIMEOUT_SECONDS, StageEndpoints, wait_until
from offers import offer
from peers import OfferRejected, publish, view

LOSS_SECONDS = 6


async def add(control, effect, match=None, **members):
    """Adds a fault rule without blocking the event loop."""
    return await asyncio.to_thread(control.fault, effect, match, **members)


# Tokens


async def test_the_token_of_a_participant_is_refused(control, endpoints):
    (alice, alice_id), (bob, _) = endpoints.token(), endpoints.token()
    fault = await add(control, {"refuseToken": {}}, {"participantId": alice_id})
    assert await endpoints.refused(alice) == ("TOKEN_EXPIRED", 4401)
    async with endpoints.join(bob) as client:
        await client.state()
    with pytest.raises(OfferRejected) as caught:
        await publish(endpoints.whip, alice)
    assert (caught.value.status, caught.value.code) == (401, "TOKEN_EXPIRED")
    assert control.counts(fault) == (2, 2)
    control.delete(f"/faults/{fault}")
    async with endpoints.join(alice) as client:
        await client.state()


async def test_a_token_is_refused_with_any_code(control, endpoints):
    token, _ = endpoints.token()
    for code, close, status in [
        ("TOKEN_SIGNATURE_INVALID", 4401, 401),
        ("PARTICIPANT_DISCONNECTED", 4403, 403),
        ("STAGE_DELETED", 4404, 404),
        ("RATE_EXCEEDED", 4429, 429),
        ("INTERNAL", 1011, 500),
        ("BUSY", 4503, 503),
    ]:
        fault = await add(control, {"refuseToken": {"code": code}}, {"resource": endpoints.stage}, count=2)
        assert await endpoints.refused(token) == (code, close)
        answer = await asyncio.to_thread(endpoints.post, "", token, offer())
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert fault in answer.json()["message"]
        assert ("Retry-After" in answer.headers) == (status in (429, 503))


async def test_participants_of_other_accounts_are_not_affected(control, node, endpoints):
    other = node.tenant()
    others = StageEndpoints(other, other.stage())
    fault = await add(control, {"refuseToken": {}})
    token, _ = others.token()
    async with others.join(token) as client:
        await client.state()
        await add(control, {"closeWebSocket": {}})
        assert await client.request("PING") == {"type": "PONG"}
    assert control.counts(fault) == (0, 0)


# WebSockets


async def test_a_websocket_is_closed_with_a_code(control, endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    async with endpoints.join(alice) as one, endpoints.join(bob) as two:
        await two.wait_for_state(alice_id, bob_id)
        fault = await add(control, {"closeWebSocket": {"code": 1011}}, {"participantId": alice_id}, count=1)
        assert await one.closed() == (1011, "FAULT_INJECTED")
        await two.wait_for_state(bob_id)
        # The rule is exhausted: the participant can come back.
        async with endpoints.join(alice) as again:
            await again.wait_for_state(alice_id, bob_id)
            assert await again.request("PING") == {"type": "PONG"}
    assert control.counts(fault) == (1, 1)


async def test_a_websocket_is_dropped_without_a_close_frame(control, endpoints):
    token, participant = endpoints.token()
    async with endpoints.join(token) as client:
        await client.state()
        await add(control, {"closeWebSocket": {}}, {"participantId": participant}, count=1)
        with pytest.raises(ConnectionClosed) as caught:
            async with asyncio.timeout(20):
                while True:
                    await client.socket.recv()
        assert caught.value.rcvd is None, "no close frame"
    await endpoints.wait_for_events(participant, "JOINED", "LEFT")


async def test_a_websocket_that_is_opened_later_is_closed_too(control, endpoints):
    (alice, alice_id), (bob, _) = endpoints.token(), endpoints.token()
    fault = await add(control, {"closeWebSocket": {"code": 4999}}, {"participantId": alice_id})
    for _ in range(2):
        async with endpoints.join(alice) as client:
            await client.state()
            assert await client.closed() == (4999, "FAULT_INJECTED")
    async with endpoints.join(bob) as client:
        await client.state()
        assert await client.request("PING") == {"type": "PONG"}
    assert control.counts(fault) == (2, 2)


# Media


async def stream(endpoints, viewers=1):
    """A publisher with viewers that receive audio. Returns the peers and the ids of the participants."""
    alice, alice_id = endpoints.token()
    publisher = await publish(endpoints.whip, alice, kinds=("audio",))
    await publisher.wait_connected()
    watching, ids = [], []
    for _ in range(viewers):
        token, participant = endpoints.token()
        watching.append(await view(endpoints.whip, token, alice_id, kinds=("audio",)))
        ids.append(participant)
    for viewer in watching:
        await viewer.receives_audio(20)
    return publisher, alice_id, watching, ids


async def packets(viewer):
    """The number of RTP packets that a viewer has received."""
    stats = await viewer.connection.getReceivers()[0].getStats()
    return next(one.packetsReceived for one in stats.values() if one.type == "inbound-rtp")


async def growth(viewers, seconds):
    """The number of packets that each viewer receives in a time."""
    before = [await packets(viewer) for viewer in viewers]
    await asyncio.sleep(seconds)
    return [await packets(viewer) - count for viewer, count in zip(viewers, before)]


async def frozen(control, fault, viewers):
    """Waits until a rule has reached the media of all these viewers."""
    loop = asyncio.get_running_loop()
    end = loop.time() + TIMEOUT_SECONDS
    while any(await growth(viewers, 1)):
        assert loop.time() < end, await asyncio.to_thread(control.counts, fault)
    assert not any(await growth(viewers, 2)), "and they stay frozen"


async def test_the_media_of_one_subscriber_freeze_and_go_on(control, endpoints):
    publisher, _, (bob, carol), ids = await stream(endpoints, viewers=2)
    fault = await add(control, {"media": {"freeze": True}}, {"participantId": ids[0]})
    await frozen(control, fault, [bob])
    stopped, going = await growth((bob, carol), 2)
    assert stopped == 0 and going > 20, (stopped, going)
    assert bob.connection.connectionState == "connected"
    await asyncio.to_thread(control.delete, f"/faults/{fault}")
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while await growth((bob,), 1) < [10]:
            pass
    for peer in (publisher, bob, carol):
        await peer.stop()


async def test_the_media_of_a_publisher_freeze_for_all_and_for_those_who_come_later(control, endpoints):
    publisher, alice_id, (first,), _ = await stream(endpoints)
    fault = await add(control, {"media": {"freeze": True}}, {"participantId": alice_id}, durationSeconds=86_400)
    token, _ = endpoints.token()
    later = await view(endpoints.whip, token, alice_id, kinds=("audio",))
    await later.wait_connected()
    await frozen(control, fault, [first])
    stats = await later.connection.getReceivers()[0].getStats()
    assert not [one for one in stats.values() if one.type == "inbound-rtp" and one.packetsReceived], stats
    assert control.counts(fault) == (2, 2)
    await asyncio.to_thread(control.delete, "/faults")
    await later.receives_audio(20)
    for peer in (publisher, first, later):
        await peer.stop()


async def test_a_share_of_the_media_is_lost(control, endpoints):
    publisher, _, (lossy, other), ids = await stream(endpoints, viewers=2)
    fault = await add(control, {"media": {"loss": 0.5}}, {"participantId": ids[0]}, seed=3)
    await wait_until(lambda: control.counts(fault) == (1, 1))
    await asyncio.sleep(0.3)
    lost, sent = await growth((lossy, other), LOSS_SECONDS)
    assert sent > 100 and 0.3 < lost / sent < 0.7, (lost, sent)
    for peer in (publisher, lossy, other):
        await peer.stop()


async def test_media_are_delayed(control, endpoints):
    """The packets of a second are missing while a delay of 2 s begins."""
    publisher, _, (delayed, other), ids = await stream(endpoints, viewers=2)
    fault = await add(control, {"media": {"delayMilliseconds": 2000}}, {"participantId": ids[0]})
    await wait_until(lambda: control.counts(fault) == (1, 1))
    await asyncio.sleep(0.3)
    paused, going = await growth((delayed, other), 1)
    assert paused == 0 and going > 10, (paused, going)
    await asyncio.sleep(2)
    again, _ = await growth((delayed, other), 1)
    assert again > 10
    for peer in (publisher, delayed, other):
        await peer.stop()


async def test_a_media_connection_is_ended_with_its_events(control, endpoints):
    publisher, alice_id, (viewer,), (bob_id,) = await stream(endpoints)
    fault = await add(control, {"closeConnection": {}}, {"participantId": bob_id}, count=1)
    await viewer.wait_closed()
    await endpoints.wait_for_events(bob_id, "JOINED", f"SUBSCRIBE_STARTED {alice_id}", f"SUBSCRIBE_STOPPED {alice_id}", "LEFT")
    assert publisher.connection.connectionState == "connected"
    assert control.counts(fault) == (1, 1)
    await add(control, {"closeConnection": {}}, {"participantId": alice_id}, count=1)
    await publisher.wait_closed()
    await endpoints.wait_for_events(alice_id, "JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT")


async def test_a_connection_that_is_opened_later_is_ended_once_its_media_flow(control, endpoints):
    alice, alice_id = endpoints.token()
    fault = await add(control, {"closeConnection": {}}, {"participantId": alice_id})
    publisher = await publish(endpoints.whip, alice, kinds=("audio",))
    await publisher.wait_closed()
    await endpoints.wait_for_events(alice_id, "JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT")
    assert control.counts(fault) == (1, 1)
