"""Offers as text, for requests of which no media come."""

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor

from aiortc import RTCPeerConnection


@functools.cache
def offer(direction="sendonly", kinds=("audio", "video")):
    """What a client offers that sends, or receives, sound and pictures."""

    async def make():
        connection = RTCPeerConnection()
        for kind in kinds:
            connection.addTransceiver(kind, direction=direction)
        await connection.setLocalDescription(await connection.createOffer())
        text = connection.localDescription.sdp
        await connection.close()
        return text

    # A thread of its own: tests are coroutines themselves, and a thread has one loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(make())).result()
