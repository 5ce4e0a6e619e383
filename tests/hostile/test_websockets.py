"""Floods of WebSocket control frames, and connection limits behind a proxy."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from websockets.exceptions import InvalidStatus

from conftest import endpoints_of
from metrics import Latencies, peak_rss, refused_total
from sockets import close_frame, frame, open_websocket, read_to_end, send_until_closed

PING, PONG = 9, 10


async def flood(server, opcode):
    """Floods a WebSocket with control frames while another participant uses its own; returns the received bytes."""
    endpoints = endpoints_of(server)
    attacker = await asyncio.to_thread(open_websocket, endpoints, endpoints.token()[0])
    frames = frame(opcode, b"x" * 125) * 400
    latencies = Latencies()
    async with endpoints.join(endpoints.token()[0]) as honest:
        await honest.state()
        with peak_rss(server) as memory:
            flooding = asyncio.create_task(asyncio.to_thread(send_until_closed, attacker, frames, seconds=5))
            while not flooding.done():
                with latencies.measured():
                    assert await honest.request("PING") == {"type": "PONG"}
                await asyncio.sleep(0.02)
        sent = await flooding
    received = await asyncio.to_thread(read_to_end, attacker)
    attacker.close()
    assert memory.growth < 50, f"{memory.growth:.0f} MB after {sent} bytes of control frames"
    assert latencies.percentile(0.99) < 1
    return received


async def test_pings_without_reading_the_pongs_are_limited(start_node):
    server = start_node()
    await flood(server, PING)
    assert refused_total(server, "control_frames") == 1
    server.test_server.wait_for_log("TOO_MANY_CONTROL_FRAMES")


async def test_unsolicited_pongs_are_limited(start_node):
    received = await flood(start_node(), PONG)
    assert close_frame(1008, "TOO_MANY_CONTROL_FRAMES") in received


async def test_control_frames_within_the_rate_are_answered(start_node):
    endpoints = endpoints_of(start_node())
    async with endpoints.join(endpoints.token()[0]) as honest:
        await honest.state()
        for _ in range(40):
            await (await honest.socket.ping())
        assert await honest.request("PING") == {"type": "PONG"}


async def test_websockets_behind_a_proxy_count_towards_their_clients_share(start_node):
    server = start_node(
        *("--trusted-proxies", "127.0.0.1", "--metrics", "on"),
        *("--max-connections", "60", "--max-client-share", "30"),
    )
    endpoints = endpoints_of(server)

    async def enter(stack, address):
        joined = endpoints.join(endpoints.token()[0], headers={"X-Forwarded-For": address})
        await (await stack.enter_async_context(joined)).state()

    async with AsyncExitStack() as stack:
        for _ in range(18):
            await enter(stack, "203.0.113.7")
        with pytest.raises(InvalidStatus) as refusal:
            await enter(stack, "203.0.113.7")
        assert refusal.value.response.status_code == 503
        assert refused_total(server, "client_connections") == 1
        await enter(stack, "203.0.113.8")
