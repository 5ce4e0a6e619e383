"""The events WebSocket: stage states, keep-alive, token exchanges, and closing."""

import asyncio
import socket
import time
from contextlib import AsyncExitStack

import pytest
import requests
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from endpoints import PROMPT_SECONDS, StageEndpoints, Signer, wait_until
from offers import offer
from peers import publish, view

MAX_LISTED = 100


@pytest.fixture
def signer(endpoints):
    return Signer(endpoints)


@pytest.fixture
def impatient_endpoints(impatient_node):
    tenant = impatient_node.tenant()
    return StageEndpoints(tenant, tenant.stage())


# States


async def test_joining_sends_the_stage_state_to_all_participants(endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(userId="alice", attributes={"a": "ä\""}), endpoints.token()
    async with endpoints.join(alice) as one:
        assert one.socket.subprotocol == alice
        state = await one.receive()
        entry = {"id": alice_id, "userId": "alice", "attributes": {"a": "ä\""}, "isPublishing": False}
        assert state == {"type": "STAGE_STATE", "payload": {"stageId": endpoints.topic, "participants": [entry]}}
        async with endpoints.join(bob, bearer=True) as two:
            assert two.socket.subprotocol is None
            other = {"id": bob_id, "userId": "", "attributes": {}, "isPublishing": False}
            assert await two.state() == [entry, other]
            await one.wait_for_state(alice_id, bob_id)
        await one.wait_for_state(alice_id)


async def test_publishers_are_listed_first_and_unchanged_states_are_not_sent(endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    async with endpoints.join(alice) as one, endpoints.join(bob) as two:
        await one.wait_for_state(alice_id, bob_id)
        await two.wait_for_state(alice_id, bob_id)
        peer = await publish(endpoints.whip, bob)
        assert one.listed() != await one.state() and one.listed() == [bob_id + "*", alice_id]
        await two.wait_for_state(bob_id + "*", alice_id)
        assert await peer.stop() == 200
        await one.wait_for_state(alice_id, bob_id)
        await two.wait_for_state(alice_id, bob_id)
        # A second socket of a participant changes nothing for the others.
        async with endpoints.join(alice) as again:
            await again.wait_for_state(alice_id, bob_id)
            assert await two.request("PING") == {"type": "PONG"}
            assert two.listed() == [alice_id, bob_id]
            with pytest.raises(TimeoutError):
                await two.state(0.5)


async def test_a_second_socket_of_a_participant_replaces_the_first(endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    async with endpoints.join(alice) as first, endpoints.join(bob) as other:
        publisher = await publish(endpoints.whip, alice)
        await first.wait_for_state(alice_id + "*", bob_id)
        await other.wait_for_state(alice_id + "*", bob_id)
        viewer = await view(endpoints.whip, bob, alice_id)
        await viewer.receives_video(3)
        began = time.monotonic()
        async with endpoints.join(alice) as second:
            while (message := await first.receive())["type"] != "ERROR":
                pass
            assert message["payload"]["code"] == "TOKEN_REUSED"
            assert await first.closed() == (4403, "TOKEN_REUSED")
            assert time.monotonic() - began < PROMPT_SECONDS
            await second.wait_for_state(alice_id + "*", bob_id)
            assert await second.request("PING") == {"type": "PONG"}
            assert other.listed() == [alice_id + "*", bob_id]
            seen = viewer.video_frames
            await viewer.receives_video(seen + 10)
            assert endpoints.events_of(alice_id) == ["JOINED", "PUBLISH_STARTED"], "no participant left or joined"
        assert await viewer.stop() == 200
        assert await publisher.stop() == 200
    await endpoints.wait_for_events(alice_id, "JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT")


async def test_many_changes_are_combined_into_few_messages(endpoints):
    watcher, watcher_id = endpoints.token()
    tokens = [endpoints.token()[0] for _ in range(20)]
    async with endpoints.join(watcher) as client, AsyncExitStack() as stack:
        await client.wait_for_state(watcher_id)
        began = time.monotonic()
        await asyncio.gather(*(stack.enter_async_context(endpoints.join(token)) for token in tokens))
        messages = 0
        while len(client.last) < 21:
            await client.state()
            messages += 1
        took = time.monotonic() - began
        assert messages <= took / 0.2 + 2, f"{messages} in {took} s"


async def test_a_large_stage_is_truncated_but_lists_the_receiver(endpoints):
    count = MAX_LISTED + 20
    made = [endpoints.token(userId=f"client {n}") for n in range(count)]
    async with AsyncExitStack() as stack:
        clients = await asyncio.gather(*(stack.enter_async_context(endpoints.join(token)) for token, _ in made))
        ids = [participant for _, participant in made]
        await wait_until(lambda: len(first_joins(endpoints)) == count, lambda: len(first_joins(endpoints)))
        joined = first_joins(endpoints)
        order = sorted(ids, key=joined.get)
        first = order[:MAX_LISTED]
        for own in (order[0], order[MAX_LISTED // 2], order[-1]):
            client = clients[ids.index(own)]
            while len(client.last or []) < MAX_LISTED + (own not in first):
                await client.state()
            listed = client.listed()
            assert [joined[one] for one in listed[:MAX_LISTED]] == [joined[one] for one in first]
            assert listed[MAX_LISTED:] == [own] * (own not in first)
        # A publisher is listed for all receivers.
        last = ids.index(order[-1])
        peer = await publish(endpoints.whip, made[last][0])
        for client in (clients[ids.index(order[0])], clients[last]):
            while client.listed()[0] != order[-1] + "*":
                await client.state()
            assert len(client.last) == MAX_LISTED
        await peer.stop()


def first_joins(endpoints):
    """The join time of each participant in the open session, by id."""
    if not (sessions := endpoints.sessions()):
        return {}
    found, where = {}, {"stageArn": endpoints.stage, "sessionId": sessions[0]["sessionId"], "maxResults": 100}
    while True:
        page = endpoints.tenant.ivs.list_participants(**where)
        found |= {one["participantId"]: one["firstJoinTime"] for one in page["participants"]}
        if "nextToken" not in page:
            return found
        where["nextToken"] = page["nextToken"]


# Keep-alive


async def test_both_kinds_of_ping_are_answered(endpoints):
    token, participant = endpoints.token()
    async with endpoints.join(token) as client:
        await client.wait_for_state(participant)
        assert await client.request("PING") == {"type": "PONG"}
        await (await client.socket.ping(b"like this"))


async def test_a_silent_socket_is_closed_and_any_message_keeps_it_open(impatient_endpoints):
    (quiet, _), (lively, lively_id) = impatient_endpoints.token(), impatient_endpoints.token()
    async with impatient_endpoints.join(quiet) as one, impatient_endpoints.join(lively) as two:
        began = time.monotonic()
        ended = asyncio.create_task(one.closed())
        while not ended.done():
            assert await two.request("PING") == {"type": "PONG"}
            await asyncio.wait([ended], timeout=0.3)
        assert ended.result() == (4408, "IDLE")
        assert 1.5 < time.monotonic() - began < 5
        while two.listed() != [lively_id]:
            if (message := await two.receive())["type"] == "STAGE_STATE":
                two.last = message["payload"]["participants"]


async def test_protocol_pings_keep_a_socket_open(impatient_endpoints):
    token, participant = impatient_endpoints.token()
    async with impatient_endpoints.join(token) as client:
        await client.wait_for_state(participant)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            await (await client.socket.ping())
            await asyncio.sleep(0.3)
        assert await client.request("PING") == {"type": "PONG"}


async def test_an_unknown_message_type_is_answered_with_an_error(endpoints):
    token, participant = endpoints.token()
    async with endpoints.join(token) as client:
        await client.wait_for_state(participant)
        answer = await client.request("JUMP", height=3)
        assert answer["type"] == "ERROR" and answer["payload"]["code"] == "MALFORMED_REQUEST"
        assert await client.request("PING") == {"type": "PONG"}


@pytest.mark.parametrize(
    "noise",
    ["", "{", "[]", "null", '{"type": 1}', '{"kind": "PING"}', '{"type": "TOKEN_EXCHANGE"}', b'{"type": "PING"}', "[" * 60_000, "x" * 70_000],
    ids=lambda noise: repr(noise)[:12] + str(len(noise)),
)
async def test_a_malformed_message_closes_the_socket(endpoints, noise):
    token, participant = endpoints.token()
    async with endpoints.join(token) as client:
        await client.wait_for_state(participant)
        await client.socket.send(noise)
        assert await client.closed() == (4400, "MALFORMED_REQUEST")
    await endpoints.wait_for_events(participant, "JOINED", "LEFT")


async def test_a_message_of_many_fragments_is_limited(endpoints):
    token, participant = endpoints.token()
    async with endpoints.join(token) as client:
        await client.wait_for_state(participant)
        with pytest.raises(ConnectionClosed):
            await client.socket.send("x" * 1000 for _ in range(100_000))
        assert client.socket.close_code in (4400, 1006)


# Exchanges


async def test_an_exchange_changes_the_participant(endpoints, signer):
    watcher, watcher_id = endpoints.token()
    async with endpoints.join(signer.token()) as client, endpoints.join(watcher) as other:
        await client.wait_for_state("self-signed_1", watcher_id)
        await other.wait_for_state("self-signed_1", watcher_id)
        exp = int(time.time()) + 900
        token = signer.token(user_id="new", attributes={"k": "v"}, capabilities={"allow_subscribe": True}, exp=exp)
        answer = await client.request("TOKEN_EXCHANGE", token=token)
        expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(exp))
        assert answer == {
            "type": "TOKEN_EXCHANGED",
            "payload": {"userId": "new", "attributes": {"k": "v"}, "capabilities": ["SUBSCRIBE"], "expirationTime": expiration},
        }
        while (await other.state())[0]["userId"] != "new":
            pass
        assert other.last[0]["attributes"] == {"k": "v"}
        session = endpoints.sessions()[0]["sessionId"]
        events = endpoints.tenant.ivs.list_participant_events(
            stageArn=endpoints.stage, sessionId=session, participantId="self-signed_1"
        )["events"]
        assert [event["name"] for event in events] == ["JOINED", "TOKEN_EXCHANGED"]
        assert events[1]["previousToken"]["capabilities"] == ["PUBLISH", "SUBSCRIBE"]
        assert events[1]["newToken"]["capabilities"] == ["SUBSCRIBE"]
        assert events[1]["newToken"]["userId"] == "new"
        assert int(events[1]["newToken"]["expirationTime"].timestamp()) == exp


async def test_losing_a_capability_closes_the_connection_that_needs_it(endpoints, signer):
    watcher, watcher_id = endpoints.token()
    token = signer.token()
    async with endpoints.join(token) as client, endpoints.join(watcher) as other:
        peer = await publish(endpoints.whip, token)
        await other.wait_for_state("self-signed_1*", watcher_id)
        new = signer.token(capabilities={"allow_subscribe": True})
        assert (await client.request("TOKEN_EXCHANGE", token=new))["type"] == "TOKEN_EXCHANGED"
        began = time.monotonic()
        await other.wait_for_state("self-signed_1", watcher_id)
        await peer.wait_closed()
        assert time.monotonic() - began < PROMPT_SECONDS
        answer = await endpoints.send_async("POST", "", new, offer(), "application/sdp")
        assert answer.json()["code"] == "INSUFFICIENT_CAPABILITIES"
        assert endpoints.events_of("self-signed_1")[:4] == ["JOINED", "PUBLISH_STARTED", "TOKEN_EXCHANGED", "PUBLISH_STOPPED"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"jti": "anotherparticipant"}, "TOKEN_NOT_ALLOWED"),
        ({"exp": 10, "iat": 5}, "TOKEN_EXPIRED"),
        ({"version": "9"}, "TOKEN_MALFORMED"),
        ({"whip_url": "https://example.org"}, "TOKEN_NOT_ALLOWED"),
        ({"iat": int(time.time()) - 1000}, "TOKEN_SUPERSEDED"),
    ],
)
async def test_a_rejected_exchange_changes_nothing(endpoints, signer, changed, reason):
    async with endpoints.join(signer.token()) as client:
        await client.wait_for_state("self-signed_1")
        answer = await client.request("TOKEN_EXCHANGE", token=signer.token(**changed))
        assert answer["type"] == "ERROR" and answer["payload"]["code"] == "TOKEN_EXCHANGE_FAILED"
        assert answer["payload"]["message"].startswith(reason + ": ")
        assert await client.request("PING") == {"type": "PONG"}
        assert endpoints.events_of("self-signed_1") == ["JOINED"]


async def test_tokens_created_by_the_service_cannot_be_exchanged(endpoints, signer):
    token, participant = endpoints.token()
    async with endpoints.join(token) as client:
        await client.wait_for_state(participant)
        answer = await client.request("TOKEN_EXCHANGE", token=signer.token(jti=participant))
        assert answer["payload"]["message"].startswith("TOKEN_NOT_ALLOWED: ")


async def test_older_tokens_are_rejected_after_an_exchange(endpoints, signer):
    old = signer.token(iat=int(time.time()) - 20)
    async with endpoints.join(old) as client:
        await client.wait_for_state("self-signed_1")
        new = signer.token(user_id="new")
        assert (await client.request("TOKEN_EXCHANGE", token=new))["type"] == "TOKEN_EXCHANGED"
        assert await endpoints.refused(old) == ("TOKEN_SUPERSEDED", 4403)
        answer = await endpoints.send_async("POST", "", old, offer(), "application/sdp")
        assert (answer.status_code, answer.json()["code"]) == (403, "TOKEN_SUPERSEDED")
        async with endpoints.join(new) as again:
            await again.wait_for_state("self-signed_1")


# Closing


async def test_a_disconnected_participant_is_removed_within_a_second(endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    async with endpoints.join(alice) as one, endpoints.join(bob) as two:
        await two.wait_for_state(alice_id, bob_id)
        began = time.monotonic()
        endpoints.tenant.ivs.disconnect_participant(stageArn=endpoints.stage, participantId=alice_id)
        assert await one.closed() == (4403, "PARTICIPANT_DISCONNECTED")
        await two.wait_for_state(bob_id)
        assert time.monotonic() - began < PROMPT_SECONDS


async def test_deleting_a_stage_closes_all_sockets_within_a_second(endpoints):
    made = [endpoints.token() for _ in range(3)]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(endpoints.join(token)) for token, _ in made]
        await clients[-1].wait_for_state(*(participant for _, participant in made))
        began = time.monotonic()
        endpoints.tenant.ivs.delete_stage(arn=endpoints.stage)
        assert [await client.closed() for client in clients] == [(4404, "STAGE_DELETED")] * 3
        assert time.monotonic() - began < PROMPT_SECONDS


async def test_a_session_without_publishers_ends_with_session_silent_seconds(start_node):
    node = start_node("--session-silent-seconds", "1", "--session-end-seconds", "0")
    tenant = node.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    token, participant = endpoints.token()
    async with endpoints.join(token) as client:
        await client.wait_for_state(participant)
        assert await client.closed() == (4409, "SESSION_ENDED")
    [session] = endpoints.sessions()
    assert session["endTime"] >= session["startTime"]
    async with endpoints.join(token) as client:
        await client.wait_for_state(participant)
        assert len(endpoints.sessions()) == 2


async def test_a_stopping_server_closes_sockets_and_completes_the_record(start_node):
    node = start_node()
    tenant = node.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    async with endpoints.join(alice) as one, endpoints.join(bob) as two:
        await publish(endpoints.whip, alice)
        await two.wait_for_state(alice_id + "*", bob_id)
        began = time.monotonic()
        code = asyncio.create_task(asyncio.to_thread(node.test_server.end))
        assert await one.closed() == (1001, "GOING_AWAY")
        assert await two.closed() == (1001, "GOING_AWAY")
        assert await code == 0 and time.monotonic() - began < 8
    again = start_node(store=node.database)
    tenant.ivs = again.client(tenant.account)
    assert endpoints.events_of(alice_id) == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]
    assert endpoints.events_of(bob_id) == ["JOINED", "LEFT"]


def raw_socket(endpoints, token):
    """A raw WebSocket with a small receive buffer."""
    host, port = endpoints.events.split("/")[2].split(":")
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream.connect((host, int(port)))
    stream.sendall(
        f"GET /events/{endpoints.topic} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    return stream


def masked(text):
    """A client's text frame, with a mask of zeros."""
    data = text.encode()
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data


async def test_a_slow_reader_is_closed_with_a_reason(impatient_endpoints):
    token, participant = impatient_endpoints.token()
    stream = await asyncio.to_thread(raw_socket, impatient_endpoints, token)
    await wait_until(lambda: impatient_endpoints.sessions() and impatient_endpoints.events_of(participant) == ["JOINED"])
    # Each message is answered until the buffers are full; then the server stops reading.
    stream.settimeout(1)
    with pytest.raises(TimeoutError):
        for _ in range(100_000):
            await asyncio.to_thread(stream.sendall, masked('{"type":"WHAT"}') * 1000)
    await impatient_endpoints.wait_for_events(participant, "JOINED", "LEFT")
    stream.settimeout(20)
    read, tail = 0, b""
    while part := await asyncio.to_thread(stream.recv, 1 << 20):
        read, tail = read + len(part), (tail + part)[-4096:]
    stream.close()
    assert (4413).to_bytes(2, "big") + b"SLOW_READER" in tail
    assert read < 20_000_000, "the queue of responses is limited"


# The handshake


async def test_a_request_without_upgrade_is_answered_426(endpoints):
    url = endpoints.events.replace("ws", "http", 1) + "/" + endpoints.topic
    answer = await asyncio.to_thread(requests.get, url)
    assert (answer.status_code, answer.json()["code"]) == (426, "UPGRADE_REQUIRED")
    assert answer.headers["Upgrade"] == "websocket"
    answer = await asyncio.to_thread(requests.post, url)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, OPTIONS")
    old = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "8", "Sec-WebSocket-Key": "AAAA"}
    answer = await asyncio.to_thread(requests.get, url, headers=old)
    assert answer.status_code == 426


async def test_sockets_count_as_connections_until_they_are_closed(start_node):
    node = start_node("--max-connections", "3", "--idle-timeout-seconds", "1", "--header-timeout-seconds", "1")
    tenant = node.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    tokens = [endpoints.token() for _ in range(3)]
    tenant.ivs.close()
    async with AsyncExitStack() as stack:
        clients = []
        for token, _ in tokens:
            clients.append(await joined(stack, endpoints, token))
        with pytest.raises(Exception):
            async with connect(f"{endpoints.events}/{endpoints.topic}", subprotocols=[tokens[0][0]]):
                pass
        # The request timeouts do not apply to sockets.
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for client in clients:
                assert await client.request("PING") == {"type": "PONG"}
            await asyncio.sleep(0.2)
        await clients[0].socket.close()
        await joined(stack, endpoints, tokens[0][0])


async def joined(stack, endpoints, token):
    """Joins as soon as the connection limit allows it."""
    end = time.monotonic() + 20
    while True:
        try:
            return await stack.enter_async_context(endpoints.join(token))
        except (ConnectionError, EOFError, ConnectionClosed, Exception) as error:
            assert time.monotonic() < end, error
            await asyncio.sleep(0.05)
