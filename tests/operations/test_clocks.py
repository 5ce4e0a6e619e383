"""Clocks that are wrong, and clocks that are set while a server runs."""

import asyncio
import time

import pytest
import requests

from clusters import until
from nodes import LEASE_SECONDS, Crowd, Media, client, endpoints_of, start_node  # noqa: F401 (fixture)
from preload import Setting, build

ACCOUNT = "210000000061"
AHEAD_SECONDS = 20
DAY = 24 * 3600


class WallClock:
    """The wall clock of a program, which a test may set; its monotonic clock is the machine's."""

    def __init__(self, folder):
        self.library, self.offset = build("wall_clock.c", folder), Setting(folder / "offset")
        self.set(0)

    def set(self, seconds):
        """Moves the clock so many seconds ahead of the machine's."""
        self.offset.set(seconds)

    @property
    def env(self):
        return {"LD_PRELOAD": str(self.library), "CLOCK_OFFSET_FILE": str(self.offset.file)}


@pytest.fixture
def wall_clock(tmp_path):
    return WallClock(tmp_path)


def reasons(node):
    answer = requests.get(f"{node.endpoint}/_greenroom/ready", timeout=30)
    return answer.status_code, [one["reason"] for one in answer.json().get("reasons", [])]


async def test_a_node_with_a_fast_clock_is_not_ready_and_disconnects_no_participant(start_node, fresh_postgres, wall_clock):  # noqa: F811
    store = fresh_postgres()
    right = start_node(store)
    here = endpoints_of(right, ACCOUNT)
    async with Crowd() as crowd:
        await crowd.joins(here, 3)
        wall_clock.set(AHEAD_SECONDS)
        wrong = start_node(store, "--clock-skew-seconds", "60", "--metrics", "on", **wall_clock.env)
        assert reasons(wrong) == (503, ["clock-offset"])
        assert reasons(right) == (200, [])
        # Those on the node itself stay too.
        there = endpoints_of(right, ACCOUNT).on(wrong)
        await crowd.joins(there, 2)
        await asyncio.sleep(LEASE_SECONDS * 2.5)
        assert await crowd.still_there() == 5
        log = wrong.test_server.wait_for_log('"clock differs from the database')
        assert log.count('"clock differs from the database') == 1
        assert "node lease expired" not in log + right.test_server.logged()
        page = requests.get(f"{wrong.endpoint}/metrics", timeout=30).text
        [offset] = [line.split()[-1] for line in page.splitlines() if line.startswith("greenroom_clock_offset_seconds ")]
        assert AHEAD_SECONDS - 1 < float(offset) < AHEAD_SECONDS + 1
        # A node that dies is still found dead by the healthy one.
        wrong.test_server.process.kill()
        gone = [(endpoints, who) for endpoints, who, _ in crowd.guests[3:]]
        left = lambda: all(endpoints.events_of(who)[-1] == "LEFT" for endpoints, who in gone)  # noqa: E731
        await asyncio.to_thread(until, left, "the dead node's participants have left", LEASE_SECONDS * 5)


async def test_a_step_of_the_wall_clock_does_not_end_media_connections(start_node, fresh_postgres, wall_clock):  # noqa: F811
    skew = ("--clock-skew-seconds", "1000000000", "--stream-max-seconds", "3600")
    node = start_node(fresh_postgres(), *skew, **wall_clock.env)
    endpoints = endpoints_of(node, ACCOUNT)
    media = Media(endpoints)
    async with Crowd() as crowd:
        try:
            await crowd.joins(endpoints, 1)
            await asyncio.to_thread(until, media.flows, "media flow")
            for moved, ready in ((2 * DAY, False), (-2 * DAY, False), (0, True)):
                wall_clock.set(moved)
                what = lambda: reasons(node)  # noqa: E731
                await asyncio.to_thread(until, lambda: (reasons(node)[0] == 200) == ready, what)  # noqa: B023
                began = time.monotonic()
                while time.monotonic() < began + LEASE_SECONDS / 2:
                    await asyncio.to_thread(until, media.flows, "media still flow")
                    await asyncio.sleep(0.2)
            assert await crowd.still_there() == 1
        finally:
            media.end()
