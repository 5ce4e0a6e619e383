"""SDP offers without media behind them."""

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor

from aiortc import RTCPeerConnection


@functools.cache
def offer(direction="sendonly", kinds=("audio", "video")):
    """An offer of aiortc for audio and video."""

    async def make():
        connection = RTCPeerConnection()
        for kind in kinds:
            connection.addTransceiver(kind, direction=direction)
        await connection.setLocalDescription(await connection.createOffer())
        text = connection.localDescription.sdp
        await connection.close()
        return text

    # Tests are coroutines, and a thread has only one event loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(make())).result()
