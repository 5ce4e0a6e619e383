"""PostgreSQL that is stopped and started under load, and a primary that is killed while its standby takes over."""

import asyncio
import time

import pytest

from clusters import Cluster, address_of, new_cluster, until  # noqa: F401 (fixture)
from load import Writers, report, spread, status_of
from nodes import LEASE_SECONDS, Crowd, Media, client, endpoints_of, start_node  # noqa: F401 (fixture)

ACCOUNT = "210000000600"
# Refusals are immediate. A stalled machine takes longer, but not as long as waiting for a connection would
# (--database-acquire-ms, 20 s in these tests).
AT_ONCE_SECONDS = 15
UNLIMITED = ("--quotas", "stages=unlimited")
PATIENT = ("--database-acquire-ms", "20000", *UNLIMITED)


async def test_an_outage_of_postgres_loses_nothing_and_disconnects_no_participant(new_cluster, start_node):  # noqa: F811
    cluster = new_cluster().make().start()
    nodes = [start_node(cluster.url(), *PATIENT) for _ in range(2)]
    endpoints = [node.endpoint for node in nodes]
    here = endpoints_of(nodes[0], ACCOUNT)
    there = here.on(nodes[1])
    async with Crowd() as crowd:
        await crowd.joins(here, 4)
        await crowd.joins(there, 4)
        media = Media(here)
        leaver_token, leaver = here.token()
        with Writers(endpoints, ACCOUNT, client) as writers:
            async with here.join(leaver_token):
                await asyncio.to_thread(until, media.flows, "frames come")
                await asyncio.to_thread(until, lambda: writers.count() > 50, "writes are acknowledged")
                began = time.monotonic()
                await asyncio.to_thread(cluster.stop)
                stopped = time.monotonic()
                for endpoint in endpoints:
                    away = lambda endpoint=endpoint: status_of(endpoint, "/_greenroom/ready") == 503  # noqa: E731
                    await asyncio.to_thread(until, away, "a node without its store is not ready")
                    assert status_of(endpoint, "/_greenroom/health") == 200
            # The connection of the leaver ends while the store is unavailable. The outage outlasts every lease.
            await asyncio.sleep(LEASE_SECONDS * 1.5)
            assert await crowd.still_there() == 8
            assert await asyncio.to_thread(until, media.flows, "frames come without the store") >= 0
            before = writers.count()
            started = time.monotonic()
            await asyncio.to_thread(cluster.start)
            up = time.monotonic()
            await asyncio.to_thread(until, lambda: writers.count() > before, "writes are acknowledged again")
            recovered = time.monotonic() - up
            for endpoint in endpoints:
                ready = lambda endpoint=endpoint: status_of(endpoint, "/_greenroom/ready") == 200  # noqa: E731
                await asyncio.to_thread(until, ready, "a node whose store is back is ready")
            # Long enough for one node to take another for dead.
            await asyncio.sleep(LEASE_SECONDS * 2.5)
            still = await crowd.still_there()
            await asyncio.to_thread(until, media.flows, "frames come afterwards")
        lost = writers.lost(client(endpoints[1], ACCOUNT))
        took, statuses = writers.refusals(since=stopped)
        first, _ = writers.refusals(since=began - 1)
        report(
            "PostgreSQL stopped and started",
            acknowledged=writers.count(),
            lost=len(lost),
            refused=len(first),
            statuses=statuses,
            refusals=spread(took),
            away_seconds=up - began,
            start_of_postgres_seconds=up - started,
            recovered_after_seconds=recovered,
            participants_still_connected=f"{still} of 8",
        )
        assert lost == []
        assert statuses == ["503"], "every request is refused while the store is known to be unavailable"
        assert max(first) < AT_ONCE_SECONDS
        assert still == 8
        await here.wait_for_events(leaver, "JOINED", "LEFT")
        for endpoints, participant, _ in crowd.guests:
            assert endpoints.events_of(participant) == ["JOINED"], "no participant who stayed was taken for gone"
        assert here.events_of(media.publisher_id) == ["JOINED", "PUBLISH_STARTED"]
        media.end()


async def test_a_frozen_postgres_counts_as_unavailable(new_cluster, start_node):  # noqa: F811
    cluster = new_cluster().make().start()
    node = start_node(cluster.url(), "--database-acquire-ms", "2000", *UNLIMITED)
    endpoints = endpoints_of(node, ACCOUNT)
    async with Crowd() as crowd:
        await crowd.joins(endpoints, 2)
        with Writers([node.endpoint], ACCOUNT, client) as writers:
            await asyncio.to_thread(until, lambda: writers.count() > 10, "writes are acknowledged")
            began = time.monotonic()
            cluster.freeze()
            away = lambda: status_of(node.endpoint, "/_greenroom/ready") == 503  # noqa: E731
            noticed = await asyncio.to_thread(until, away, "a node whose store does not answer is not ready")
            before = len(writers.refused)
            await asyncio.to_thread(until, lambda: len(writers.refused) > before + 20, "refusals come one after the other")
            assert await crowd.still_there() == 2
            count = writers.count()
            cluster.thaw()
            thawed = time.monotonic()
            await asyncio.to_thread(until, lambda: writers.count() > count, "writes are acknowledged again")
            recovered = time.monotonic() - thawed
            assert await crowd.still_there() == 2
        lost = writers.lost(client(node.endpoint, ACCOUNT))
        took, statuses = writers.refusals(since=began)
        report(
            "PostgreSQL frozen",
            acknowledged=writers.count(),
            lost=len(lost),
            statuses=statuses,
            refusals=spread(took),
            noticed_after_seconds=noticed,
            recovered_after_seconds=recovered,
        )
        assert lost == []


@pytest.mark.parametrize("dies", [Cluster.kill, Cluster.freeze], ids=["killed", "gone without a word"])
async def test_a_promoted_standby_has_every_acknowledged_write(dies, new_cluster, start_node):  # noqa: F811
    primary = new_cluster().make().start()
    standby = new_cluster().copy_of(primary, "standby").start()
    primary.ask("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    primary.ask("SELECT pg_reload_conf()")
    in_sync = "SELECT sync_state FROM pg_stat_replication"
    until(lambda: primary.ask(in_sync) == [("sync",)], "the standby is synchronous")
    with address_of(primary) as address:
        url = primary.url(address.port)
        nodes = [start_node(url, *UNLIMITED, "--database-acquire-ms", "4000") for _ in range(2)]
        endpoints = [node.endpoint for node in nodes]
        stage = endpoints_of(nodes[0], ACCOUNT)
        async with Crowd() as crowd:
            await crowd.joins(stage, 4)
            await crowd.joins(stage.on(nodes[1]), 4)
            with Writers(endpoints, ACCOUNT, client) as writers:
                await asyncio.to_thread(until, lambda: writers.count() > 50, "writes are acknowledged")
                began = time.monotonic()
                await asyncio.to_thread(dies, primary)
                # While the address leads nowhere, then to a read-only standby, the store is unavailable.
                address.moves_to(standby.port)
                await asyncio.sleep(1)
                before = writers.count()
                standby.ask("SELECT pg_promote(true, 60)")
                promoted = time.monotonic()
                await asyncio.to_thread(until, lambda: writers.count() > before, "writes are acknowledged again")
                recovered = time.monotonic() - promoted
                await asyncio.sleep(LEASE_SECONDS * 2)
                still = await crowd.still_there()
            lost = writers.lost(client(endpoints[1], ACCOUNT))
            took, statuses = writers.refusals(since=began)
            report(
                f"Primary {'killed' if dies is Cluster.kill else 'gone without a word'}, synchronous standby promoted",
                acknowledged=writers.count(),
                before_the_takeover=before,
                lost=len(lost),
                refused=len(took),
                statuses=statuses,
                refusals=spread(took),
                promoted_after_seconds=promoted - began,
                recovered_after_seconds=recovered,
                participants_still_connected=f"{still} of 8",
            )
            assert lost == []
            assert max(took, default=0) < AT_ONCE_SECONDS
            assert set(statuses) <= {"500", "503"}
            assert still == 8
            for seen, participant, _ in crowd.guests:
                assert seen.events_of(participant) == ["JOINED"]
