"""The service behind a pooler in transaction mode that knows no prepared statements."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from clusters import new_cluster, until  # noqa: F401 (fixture)
from load import report
from nodes import SOON_SECONDS, Crowd, client, endpoints_of, start_node  # noqa: F401 (fixtures)
from poolers import new_pooler  # noqa: F401 (fixture)
from server import MASTER_KEY, run

ACCOUNT = "210000000601"
POOLED = ("--database-pooler", "transaction", "--database-connections", "16")
SERVER_CONNECTIONS = 3
CLIENTS, STAGES = 6, 15


def life_of_stages(endpoint):
    """One client's stages, from their making to their end, with everything read back."""
    ivs, calls = client(endpoint, ACCOUNT), 0
    for n in range(STAGES):
        made = ivs.create_stage(name=f"n{n}", tags={"n": str(n)}, participantTokenConfigurations=[{"userId": "u"}])
        arn = made["stage"]["arn"]
        assert ivs.get_stage(arn=arn)["stage"]["name"] == f"n{n}"
        ivs.update_stage(arn=arn, name=f"m{n}")
        ivs.tag_resource(resourceArn=arn, tags={"more": "x"})
        assert ivs.list_tags_for_resource(resourceArn=arn)["tags"] == {"n": str(n), "more": "x"}
        assert ivs.create_participant_token(stageArn=arn)["participantToken"]["token"]
        assert ivs.list_stage_sessions(stageArn=arn)["stageSessions"] == []
        ivs.delete_stage(arn=arn)
        calls += 8
    return calls


@pytest.fixture
def pooled(new_cluster, new_pooler, start_node):  # noqa: F811
    """A server, its pooler, and two nodes behind it, the first of which has made the schema through it."""
    cluster = new_cluster().make().start()
    pooler = new_pooler(cluster, SERVER_CONNECTIONS)
    flags = (*POOLED, "--database-listen-url", cluster.url())
    return cluster, pooler, [start_node(pooler.url(), *flags) for _ in range(2)]


async def test_everything_works_through_a_few_pooler_connections(pooled):
    cluster, pooler, nodes = pooled
    endpoints = [nodes[n % 2].endpoint for n in range(CLIENTS)]
    here = endpoints_of(nodes[0], ACCOUNT)
    async with Crowd() as crowd:
        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            lives = asyncio.gather(*(asyncio.get_running_loop().run_in_executor(pool, life_of_stages, e) for e in endpoints))
            await crowd.joins(here, 5)
            await crowd.joins(here.on(nodes[1]), 5)
            calls = sum(await lives)
        took = time.monotonic() - began
        assert await crowd.still_there() == 10
        for endpoints, participant, _ in crowd.guests:
            assert endpoints.events_of(participant) == ["JOINED"]
        # What one node does, the other hears of at once: it listens beside the pooler.
        endpoints, participant, guest = crowd.guests[-1]
        client(nodes[0].endpoint, ACCOUNT).disconnect_participant(stageArn=endpoints.stage, participantId=participant)
        began = time.monotonic()
        await guest.closed()
        assert time.monotonic() - began < SOON_SECONDS
    pools = [pool for pool in pooler.show("POOLS") if pool["database"] == "postgres"]
    used = sum(pool["sv_active"] + pool["sv_idle"] + pool["sv_used"] for pool in pools)
    report(
        "pgbouncer in transaction mode",
        version=pooler.show("VERSION")[0]["version"],
        clients_of_the_pooler=sum(pool["cl_active"] + pool["cl_waiting"] for pool in pools),
        server_connections=used,
        calls=calls,
        calls_a_second=calls / took,
        participants=10,
    )
    assert 0 < used <= SERVER_CONNECTIONS


def test_concurrent_migrations_through_the_pooler_succeed(new_cluster, new_pooler):  # noqa: F811
    cluster = new_cluster().make().start()
    pooler = new_pooler(cluster, SERVER_CONNECTIONS)
    store = ("--database-url", pooler.url(), "--database-pooler", "transaction")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: run("migrate", *store, GREENROOM_MASTER_KEY=MASTER_KEY), range(4)))
    assert [one.returncode for one in done] == [0] * 4, [one.stderr for one in done]
    [[applied]] = cluster.ask("SELECT count(*) FROM _sqlx_migrations WHERE success")
    assert applied >= 4


def test_an_undeclared_pooler_is_refused_at_startup(new_cluster, new_pooler):  # noqa: F811
    cluster = new_cluster().make().start()
    pooler = new_pooler(cluster, SERVER_CONNECTIONS)
    done = run("migrate", "--database-url", pooler.url(), GREENROOM_MASTER_KEY=MASTER_KEY)
    assert done.returncode == 1
    assert "--database-pooler=transaction" in done.stderr, done.stderr


def test_nodes_without_notifications_find_changes_by_polling(new_cluster, new_pooler, start_node):  # noqa: F811
    cluster = new_cluster().make().start()
    pooler = new_pooler(cluster, SERVER_CONNECTIONS)
    nodes = [start_node(pooler.url(), *POOLED) for _ in range(2)]
    here = endpoints_of(nodes[0], ACCOUNT)

    async def disconnected_elsewhere():
        async with Crowd() as crowd:
            await crowd.joins(here, 1)
            [(endpoints, participant, guest)] = crowd.guests
            ivs = client(nodes[1].endpoint, ACCOUNT)
            began = time.monotonic()
            await asyncio.to_thread(ivs.disconnect_participant, stageArn=endpoints.stage, participantId=participant)
            await guest.closed()
            return time.monotonic() - began

    assert asyncio.run(disconnected_elsewhere()) < SOON_SECONDS
    assert cluster.ask("SELECT count(*) FROM pg_stat_activity WHERE starts_with(query, 'LISTEN')") == [(0,)]
