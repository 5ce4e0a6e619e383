"""The events WebSocket: who sees whom and when, signs of life, exchanges, and how it ends."""

import asyncio
import socket
import time
from contextlib import AsyncExitStack

import pytest
import requests
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from doors import SOON_SECONDS, Doors, Signer, until
from offers import offer
from peers import publish, view

MOST_LISTED = 100


@pytest.fixture
def signer(doors):
    return Signer(doors)


@pytest.fixture
def hasty_doors(hasty):
    tenant = hasty.tenant()
    return Doors(tenant, tenant.stage())


# States


async def test_whoever_joins_is_told_who_is_there_and_the_others_that_somebody_came(doors):
    (alice, alice_id), (bob, bob_id) = doors.token(userId="alice", attributes={"a": "ä\""}), doors.token()
    async with doors.join(alice) as one:
        assert one.socket.subprotocol == alice
        state = await one.hear()
        entry = {"id": alice_id, "userId": "alice", "attributes": {"a": "ä\""}, "isPublishing": False}
        assert state == {"type": "STAGE_STATE", "payload": {"stageId": doors.topic, "participants": [entry]}}
        async with doors.join(bob, bearer=True) as two:
            assert two.socket.subprotocol is None
            other = {"id": bob_id, "userId": "", "attributes": {}, "isPublishing": False}
            assert await two.state() == [entry, other]
            await one.sees(alice_id, bob_id)
        await one.sees(alice_id)


async def test_publishers_come_first_and_nobody_is_told_twice(doors):
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    async with doors.join(alice) as one, doors.join(bob) as two:
        await one.sees(alice_id, bob_id)
        await two.sees(alice_id, bob_id)
        peer = await publish(doors.whip, bob)
        assert one.listed() != await one.state() and one.listed() == [bob_id + "*", alice_id]
        await two.sees(bob_id + "*", alice_id)
        assert await peer.stop() == 200
        await one.sees(alice_id, bob_id)
        await two.sees(alice_id, bob_id)
        # Another socket of somebody who is there changes nothing for the others.
        async with doors.join(alice) as again:
            await again.sees(alice_id, bob_id)
            assert await two.answered("PING") == {"type": "PONG"}
            assert two.listed() == [alice_id, bob_id]
            with pytest.raises(TimeoutError):
                await two.state(0.5)


async def test_a_second_socket_of_a_participant_takes_the_place_of_the_first(doors):
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    async with doors.join(alice) as first, doors.join(bob) as other:
        publisher = await publish(doors.whip, alice)
        await first.sees(alice_id + "*", bob_id)
        await other.sees(alice_id + "*", bob_id)
        viewer = await view(doors.whip, bob, alice_id)
        await viewer.sees(3)
        began = time.monotonic()
        async with doors.join(alice) as second:
            while (message := await first.hear())["type"] != "ERROR":
                pass
            assert message["payload"]["code"] == "TOKEN_REUSED"
            assert await first.closed() == (4403, "TOKEN_REUSED")
            assert time.monotonic() - began < SOON_SECONDS
            await second.sees(alice_id + "*", bob_id)
            assert await second.answered("PING") == {"type": "PONG"}
            assert other.listed() == [alice_id + "*", bob_id]
            seen = viewer.pictures
            await viewer.sees(seen + 10)
            assert doors.events_of(alice_id) == ["JOINED", "PUBLISH_STARTED"], "nobody left and nobody joined"
        assert await viewer.stop() == 200
        assert await publisher.stop() == 200
    await doors.recorded(alice_id, "JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT")


async def test_many_changes_are_told_in_few_messages(doors):
    watcher, watcher_id = doors.token()
    tokens = [doors.token()[0] for _ in range(20)]
    async with doors.join(watcher) as guest, AsyncExitStack() as stack:
        await guest.sees(watcher_id)
        began = time.monotonic()
        await asyncio.gather(*(stack.enter_async_context(doors.join(token)) for token in tokens))
        messages = 0
        while len(guest.last) < 21:
            await guest.state()
            messages += 1
        took = time.monotonic() - began
        assert messages <= took / 0.2 + 2, f"{messages} in {took} s"


async def test_a_large_stage_is_told_in_part_and_everybody_sees_himself(doors):
    count = MOST_LISTED + 20
    made = [doors.token(userId=f"guest {n}") for n in range(count)]
    async with AsyncExitStack() as stack:
        guests = await asyncio.gather(*(stack.enter_async_context(doors.join(token)) for token, _ in made))
        ids = [participant for _, participant in made]
        await until(lambda: len(first_joins(doors)) == count, lambda: len(first_joins(doors)))
        joined = first_joins(doors)
        order = sorted(ids, key=joined.get)
        first = order[:MOST_LISTED]
        for own in (order[0], order[MOST_LISTED // 2], order[-1]):
            guest = guests[ids.index(own)]
            while len(guest.last or []) < MOST_LISTED + (own not in first):
                await guest.state()
            listed = guest.listed()
            assert [joined[one] for one in listed[:MOST_LISTED]] == [joined[one] for one in first]
            assert listed[MOST_LISTED:] == [own] * (own not in first)
        # Who publishes is seen by everybody, wherever it stood.
        last = ids.index(order[-1])
        peer = await publish(doors.whip, made[last][0])
        for guest in (guests[ids.index(order[0])], guests[last]):
            while guest.listed()[0] != order[-1] + "*":
                await guest.state()
            assert len(guest.last) == MOST_LISTED
        await peer.stop()


def first_joins(doors):
    """When each participant of the open session joined, by its id."""
    if not (sessions := doors.sessions()):
        return {}
    found, where = {}, {"stageArn": doors.stage, "sessionId": sessions[0]["sessionId"], "maxResults": 100}
    while True:
        page = doors.tenant.ivs.list_participants(**where)
        found |= {one["participantId"]: one["firstJoinTime"] for one in page["participants"]}
        if "nextToken" not in page:
            return found
        where["nextToken"] = page["nextToken"]


# Signs of life


async def test_a_ping_is_answered_whatever_its_form(doors):
    token, participant = doors.token()
    async with doors.join(token) as guest:
        await guest.sees(participant)
        assert await guest.answered("PING") == {"type": "PONG"}
        await (await guest.socket.ping(b"like this"))


async def test_silence_closes_a_socket_and_any_message_keeps_it(hasty_doors):
    (quiet, _), (lively, lively_id) = hasty_doors.token(), hasty_doors.token()
    async with hasty_doors.join(quiet) as one, hasty_doors.join(lively) as two:
        began = time.monotonic()
        ended = asyncio.create_task(one.closed())
        while not ended.done():
            assert await two.answered("PING") == {"type": "PONG"}
            await asyncio.wait([ended], timeout=0.3)
        assert ended.result() == (4408, "IDLE")
        assert 1.5 < time.monotonic() - began < 5
        while two.listed() != [lively_id]:
            if (message := await two.hear())["type"] == "STAGE_STATE":
                two.last = message["payload"]["participants"]


async def test_pings_of_the_protocol_are_signs_of_life_too(hasty_doors):
    token, participant = hasty_doors.token()
    async with hasty_doors.join(token) as guest:
        await guest.sees(participant)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            await (await guest.socket.ping())
            await asyncio.sleep(0.3)
        assert await guest.answered("PING") == {"type": "PONG"}


async def test_a_message_of_an_unknown_kind_is_answered_and_the_socket_stays(doors):
    token, participant = doors.token()
    async with doors.join(token) as guest:
        await guest.sees(participant)
        answer = await guest.answered("JUMP", height=3)
        assert answer["type"] == "ERROR" and answer["payload"]["code"] == "MALFORMED_REQUEST"
        assert await guest.answered("PING") == {"type": "PONG"}


@pytest.mark.parametrize(
    "noise",
    ["", "{", "[]", "null", '{"type": 1}', '{"kind": "PING"}', '{"type": "TOKEN_EXCHANGE"}', b'{"type": "PING"}', "[" * 60_000, "x" * 70_000],
    ids=lambda noise: repr(noise)[:12] + str(len(noise)),
)
async def test_a_message_that_cannot_be_read_closes_the_socket(doors, noise):
    token, participant = doors.token()
    async with doors.join(token) as guest:
        await guest.sees(participant)
        await guest.socket.send(noise)
        assert await guest.closed() == (4400, "MALFORMED_REQUEST")
    await doors.recorded(participant, "JOINED", "LEFT")


async def test_a_message_in_very_many_pieces_is_not_collected_without_end(doors):
    token, participant = doors.token()
    async with doors.join(token) as guest:
        await guest.sees(participant)
        with pytest.raises(ConnectionClosed):
            await guest.socket.send("x" * 1000 for _ in range(100_000))
        assert guest.socket.close_code in (4400, 1006)


# Exchanges


async def test_an_exchange_changes_who_one_is(doors, signer):
    watcher, watcher_id = doors.token()
    async with doors.join(signer.token()) as guest, doors.join(watcher) as other:
        await guest.sees("self-signed_1", watcher_id)
        await other.sees("self-signed_1", watcher_id)
        exp = int(time.time()) + 900
        token = signer.token(user_id="new", attributes={"k": "v"}, capabilities={"allow_subscribe": True}, exp=exp)
        answer = await guest.answered("TOKEN_EXCHANGE", token=token)
        expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(exp))
        assert answer == {
            "type": "TOKEN_EXCHANGED",
            "payload": {"userId": "new", "attributes": {"k": "v"}, "capabilities": ["SUBSCRIBE"], "expirationTime": expiration},
        }
        while (await other.state())[0]["userId"] != "new":
            pass
        assert other.last[0]["attributes"] == {"k": "v"}
        session = doors.sessions()[0]["sessionId"]
        events = doors.tenant.ivs.list_participant_events(
            stageArn=doors.stage, sessionId=session, participantId="self-signed_1"
        )["events"]
        assert [event["name"] for event in events] == ["JOINED", "TOKEN_EXCHANGED"]
        assert events[1]["previousToken"]["capabilities"] == ["PUBLISH", "SUBSCRIBE"]
        assert events[1]["newToken"]["capabilities"] == ["SUBSCRIBE"]
        assert events[1]["newToken"]["userId"] == "new"
        assert int(events[1]["newToken"]["expirationTime"].timestamp()) == exp


async def test_a_right_that_is_lost_ends_what_it_was_for_at_once(doors, signer):
    watcher, watcher_id = doors.token()
    token = signer.token()
    async with doors.join(token) as guest, doors.join(watcher) as other:
        peer = await publish(doors.whip, token)
        await other.sees("self-signed_1*", watcher_id)
        new = signer.token(capabilities={"allow_subscribe": True})
        assert (await guest.answered("TOKEN_EXCHANGE", token=new))["type"] == "TOKEN_EXCHANGED"
        began = time.monotonic()
        await other.sees("self-signed_1", watcher_id)
        await peer.over()
        assert time.monotonic() - began < SOON_SECONDS
        answer = await doors.ask("POST", "", new, offer(), "application/sdp")
        assert answer.json()["code"] == "INSUFFICIENT_CAPABILITIES"
        assert doors.events_of("self-signed_1")[:4] == ["JOINED", "PUBLISH_STARTED", "TOKEN_EXCHANGED", "PUBLISH_STOPPED"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"jti": "somebodyelse"}, "TOKEN_NOT_ALLOWED"),
        ({"exp": 10, "iat": 5}, "TOKEN_EXPIRED"),
        ({"version": "9"}, "TOKEN_MALFORMED"),
        ({"whip_url": "https://example.org"}, "TOKEN_NOT_ALLOWED"),
        ({"iat": int(time.time()) - 1000}, "TOKEN_SUPERSEDED"),
    ],
)
async def test_an_exchange_that_is_refused_leaves_all_as_it_is(doors, signer, changed, reason):
    async with doors.join(signer.token()) as guest:
        await guest.sees("self-signed_1")
        answer = await guest.answered("TOKEN_EXCHANGE", token=signer.token(**changed))
        assert answer["type"] == "ERROR" and answer["payload"]["code"] == "TOKEN_EXCHANGE_FAILED"
        assert answer["payload"]["message"].startswith(reason + ": ")
        assert await guest.answered("PING") == {"type": "PONG"}
        assert doors.events_of("self-signed_1") == ["JOINED"]


async def test_tokens_of_the_service_are_not_exchanged(doors, signer):
    token, participant = doors.token()
    async with doors.join(token) as guest:
        await guest.sees(participant)
        answer = await guest.answered("TOKEN_EXCHANGE", token=signer.token(jti=participant))
        assert answer["payload"]["message"].startswith("TOKEN_NOT_ALLOWED: ")


async def test_after_an_exchange_older_tokens_open_no_door(doors, signer):
    old = signer.token(iat=int(time.time()) - 20)
    async with doors.join(old) as guest:
        await guest.sees("self-signed_1")
        new = signer.token(user_id="new")
        assert (await guest.answered("TOKEN_EXCHANGE", token=new))["type"] == "TOKEN_EXCHANGED"
        assert await doors.refused(old) == ("TOKEN_SUPERSEDED", 4403)
        answer = await doors.ask("POST", "", old, offer(), "application/sdp")
        assert (answer.status_code, answer.json()["code"]) == (403, "TOKEN_SUPERSEDED")
        async with doors.join(new) as again:
            await again.sees("self-signed_1")


# The end


async def test_who_is_disconnected_is_out_within_a_second(doors):
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    async with doors.join(alice) as one, doors.join(bob) as two:
        await two.sees(alice_id, bob_id)
        began = time.monotonic()
        doors.tenant.ivs.disconnect_participant(stageArn=doors.stage, participantId=alice_id)
        assert await one.closed() == (4403, "PARTICIPANT_DISCONNECTED")
        await two.sees(bob_id)
        assert time.monotonic() - began < SOON_SECONDS


async def test_a_deleted_stage_throws_everybody_out_within_a_second(doors):
    made = [doors.token() for _ in range(3)]
    async with AsyncExitStack() as stack:
        guests = [await stack.enter_async_context(doors.join(token)) for token, _ in made]
        await guests[-1].sees(*(participant for _, participant in made))
        began = time.monotonic()
        doors.tenant.ivs.delete_stage(arn=doors.stage)
        assert [await guest.closed() for guest in guests] == [(4404, "STAGE_DELETED")] * 3
        assert time.monotonic() - began < SOON_SECONDS


async def test_a_session_in_which_nobody_publishes_ends_where_that_is_wanted(start_node):
    node = start_node("--session-silent-seconds", "1", "--session-end-seconds", "0")
    tenant = node.tenant()
    doors = Doors(tenant, tenant.stage())
    token, participant = doors.token()
    async with doors.join(token) as guest:
        await guest.sees(participant)
        assert await guest.closed() == (4409, "SESSION_ENDED")
    [session] = doors.sessions()
    assert session["endTime"] >= session["startTime"]
    async with doors.join(token) as guest:
        await guest.sees(participant)
        assert len(doors.sessions()) == 2


async def test_a_server_that_stops_says_so_and_leaves_a_record_that_is_right(start_node):
    node = start_node()
    tenant = node.tenant()
    doors = Doors(tenant, tenant.stage())
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    async with doors.join(alice) as one, doors.join(bob) as two:
        await publish(doors.whip, alice)
        await two.sees(alice_id + "*", bob_id)
        began = time.monotonic()
        code = asyncio.create_task(asyncio.to_thread(node.test_server.end))
        assert await one.closed() == (1001, "GOING_AWAY")
        assert await two.closed() == (1001, "GOING_AWAY")
        assert await code == 0 and time.monotonic() - began < 8
    again = start_node(store=node.database)
    tenant.ivs = again.client(tenant.account)
    assert doors.events_of(alice_id) == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]
    assert doors.events_of(bob_id) == ["JOINED", "LEFT"]


def raw_socket(doors, token):
    """A WebSocket of bytes, with little room for what is not read."""
    host, port = doors.events.split("/")[2].split(":")
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream.connect((host, int(port)))
    stream.sendall(
        f"GET /events/{doors.topic} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    return stream


def masked(text):
    """A text frame of a client; a mask of zeros changes nothing."""
    data = text.encode()
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data


async def test_who_does_not_read_is_dropped_and_told_why(hasty_doors):
    token, participant = hasty_doors.token()
    stream = await asyncio.to_thread(raw_socket, hasty_doors, token)
    await until(lambda: hasty_doors.sessions() and hasty_doors.events_of(participant) == ["JOINED"])
    # Every message is answered, until there is no room for answers; then nothing is read any more either.
    stream.settimeout(1)
    with pytest.raises(TimeoutError):
        for _ in range(100_000):
            await asyncio.to_thread(stream.sendall, masked('{"type":"WHAT"}') * 1000)
    await hasty_doors.recorded(participant, "JOINED", "LEFT")
    stream.settimeout(20)
    read, tail = 0, b""
    while part := await asyncio.to_thread(stream.recv, 1 << 20):
        read, tail = read + len(part), (tail + part)[-4096:]
    stream.close()
    assert (4413).to_bytes(2, "big") + b"SLOW_READER" in tail
    assert read < 20_000_000, "answers are not collected without end"


# The handshake


async def test_a_request_that_is_no_upgrade_is_answered_426(doors):
    url = doors.events.replace("ws", "http", 1) + "/" + doors.topic
    answer = await asyncio.to_thread(requests.get, url)
    assert (answer.status_code, answer.json()["code"]) == (426, "UPGRADE_REQUIRED")
    assert answer.headers["Upgrade"] == "websocket"
    answer = await asyncio.to_thread(requests.post, url)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, OPTIONS")
    old = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "8", "Sec-WebSocket-Key": "AAAA"}
    answer = await asyncio.to_thread(requests.get, url, headers=old)
    assert answer.status_code == 426


async def test_sockets_count_among_the_connections_until_they_end(start_node):
    node = start_node("--max-connections", "3", "--idle-timeout-seconds", "1", "--header-timeout-seconds", "1")
    tenant = node.tenant()
    doors = Doors(tenant, tenant.stage())
    tokens = [doors.token() for _ in range(3)]
    tenant.ivs.close()
    async with AsyncExitStack() as stack:
        guests = []
        for token, _ in tokens:
            guests.append(await joined(stack, doors, token))
        with pytest.raises(Exception):
            async with connect(f"{doors.events}/{doors.topic}", subprotocols=[tokens[0][0]]):
                pass
        # Neither timer of requests ends a socket.
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for guest in guests:
                assert await guest.answered("PING") == {"type": "PONG"}
            await asyncio.sleep(0.2)
        await guests[0].socket.close()
        await joined(stack, doors, tokens[0][0])


async def joined(stack, doors, token):
    """A socket, as soon as there is a place for it."""
    end = time.monotonic() + 20
    while True:
        try:
            return await stack.enter_async_context(doors.join(token))
        except (ConnectionError, EOFError, ConnectionClosed, Exception) as error:
            assert time.monotonic() < end, error
            await asyncio.sleep(0.05)
