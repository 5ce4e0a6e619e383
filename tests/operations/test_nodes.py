"""Several nodes on one PostgreSQL: what one does takes effect on another, and what a dead one leaves is put in order."""

import asyncio
import json
import signal
import time

import psycopg
import pytest
from botocore.exceptions import ClientError

from clusters import new_cluster, until  # noqa: F401 (fixture)
from endpoints import Signer
from load import report
from nodes import LEASE_SECONDS, SOON_SECONDS, Crowd, client, endpoints_of, start_node  # noqa: F401 (fixtures)
from server import MASTER_KEY, run
from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)

ACCOUNT = "210000000602"
NOTIFIED, POLLED = (), ("--database-listen-url", "off")


def beside(store, *arguments):
    """What a command answers that works beside the nodes."""
    done = run(*arguments, "--database-url", store, GREENROOM_MASTER_KEY=MASTER_KEY)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def soon(condition, what):
    """Waits for a condition, and answers how long it took; no lease, timeout or look at everything is as quick."""
    took = await asyncio.to_thread(until, condition, what)
    assert took < SOON_SECONDS, f"{what}: only after {took:.1f} s"
    return took


def refused(call, **members):
    try:
        call(**members)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


@pytest.mark.parametrize("flags", [NOTIFIED, POLLED], ids=["notified", "polled"])
async def test_a_change_on_one_node_takes_effect_on_another_at_once(flags, start_node, fresh_postgres):  # noqa: F811
    store = fresh_postgres()
    one, two = start_node(store, *flags), start_node(store, *flags)
    here = endpoints_of(one, ACCOUNT)
    there, elsewhere = here.on(two), client(two.endpoint, ACCOUNT)
    took = {}
    async with Crowd() as crowd:
        # A participant that is disconnected.
        await crowd.joins(here, 2)
        [(_, alice, alices), (_, _, bobs)] = crowd.guests
        began = time.monotonic()
        await asyncio.to_thread(elsewhere.disconnect_participant, stageArn=here.stage, participantId=alice)
        await alices.closed()
        took["disconnected"] = time.monotonic() - began
        # A key that signs tokens: the new one is used by everybody, and the tokens of the old one stay good.
        old, _ = here.token()
        await asyncio.to_thread(beside, store, "keys", "rotate")
        new, _ = there.token()
        assert old.split(".")[0] != new.split(".")[0], "the header names the key"
        for endpoints, token in ((here, new), (there, new), (here, old), (there, old)):
            async with endpoints.join(token) as guest:
                assert await guest.request("PING") == {"type": "PONG"}
        # A public key of the customer's that is deleted.
        signer = Signer(here)
        token = signer.token()
        async with there.join(token):
            elsewhere.delete_public_key(arn=signer.arn)
            assert (await here.refused(signer.token(jti="another")))[0] == "TOKEN_KEY_UNKNOWN"
        # A stage that is deleted.
        began = time.monotonic()
        await asyncio.to_thread(elsewhere.delete_stage, arn=here.stage)
        assert await bobs.closed() == (4404, "STAGE_DELETED")
        took["stage deleted"] = time.monotonic() - began
    # An access key: its policy, and whether it is good.
    made = json.loads(beside(store, "credentials", "create", "--account", ACCOUNT, "--output", "json"))
    holder = [node.client(made["accessKeyId"], secret=made["secretAccessKey"]) for node in (one, two)]
    assert [refused(ivs.list_stages) for ivs in holder] == [None, None]
    beside(store, "credentials", "disable", made["accessKeyId"])
    took["key disabled"] = await soon(lambda: all(refused(ivs.list_stages) for ivs in holder), "a key is refused")
    beside(store, "credentials", "enable", made["accessKeyId"])
    took["key enabled"] = await soon(lambda: not any(refused(ivs.list_stages) for ivs in holder), "a key is taken")
    beside(store, "credentials", "delete", made["accessKeyId"])
    took["key deleted"] = await soon(lambda: all(refused(ivs.list_stages) for ivs in holder), "a key is refused")
    report(f"On another node ({'NOTIFY' if flags == NOTIFIED else 'polling'})", **took)
    assert max(took.values()) < SOON_SECONDS


async def test_nodes_are_notified_again_after_their_connections_broke(start_node, fresh_postgres):  # noqa: F811
    store = fresh_postgres()
    one, two = start_node(store), start_node(store)
    listening = "SELECT pid FROM pg_stat_activity WHERE application_name = 'greenroom: listen' AND datname = current_database()"
    with psycopg.connect(store, autocommit=True) as conn:
        listeners = lambda: {pid for (pid,) in conn.execute(listening).fetchall()}  # noqa: E731
        until(lambda: len(listeners()) == 2, "both listen")
        broken = listeners()
        for pid in broken:
            conn.execute("SELECT pg_terminate_backend(%s)", [pid])
        until(lambda: len(listeners() - broken) == 2, "both listen again")
    here = endpoints_of(one, ACCOUNT)
    async with Crowd() as crowd:
        await crowd.joins(here, 1)
        [(_, participant, guest)] = crowd.guests
        client(two.endpoint, ACCOUNT).disconnect_participant(stageArn=here.stage, participantId=participant)
        await guest.closed()


async def test_connections_of_a_dead_node_are_ended_exactly_once(start_node, fresh_postgres):  # noqa: F811
    store = fresh_postgres()
    dead, *living = [start_node(store) for _ in range(3)]
    stages = [endpoints_of(dead, ACCOUNT) for _ in range(4)]
    async with Crowd() as crowd, Crowd() as others:
        for endpoints in stages:
            await crowd.joins(endpoints, 5)
        # One of the stages has a participant on another node, and goes on.
        await others.joins(stages[0].on(living[0]), 1)
        await asyncio.sleep(LEASE_SECONDS * 1.5)
        dead.test_server.process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        for endpoints in stages:
            endpoints.tenant.ivs = client(living[1].endpoint, ACCOUNT)
        left = lambda: sum(endpoints.events_of(who).count("LEFT") for endpoints, who, _ in crowd.guests)  # noqa: E731
        await asyncio.to_thread(until, lambda: left() == len(crowd.guests), left)
        ended = time.monotonic() - killed
        over = lambda: ["endTime" in endpoints.sessions()[0] for endpoints in stages]  # noqa: E731
        await asyncio.to_thread(until, lambda: over() == [False, True, True, True], over)
        sessions = time.monotonic() - killed
        # Whatever is done twice would have been done by now.
        await asyncio.sleep(LEASE_SECONDS)
        stories = [endpoints.events_of(who) for endpoints, who, _ in crowd.guests]
        assert stories == [["JOINED", "LEFT"]] * 20
        [(endpoints, who, guest)] = others.guests
        assert endpoints.events_of(who) == ["JOINED"]
        assert await guest.request("PING") == {"type": "PONG"}
        assert [len(endpoints.sessions()) for endpoints in stages] == [1] * 4
        with psycopg.connect(store) as conn:
            [(rows,)] = conn.execute("SELECT count(*) FROM connections").fetchall()
        assert rows == 1
        report(
            "One of three nodes killed",
            lease_seconds=LEASE_SECONDS,
            participants=20,
            left_once=sum(story.count("LEFT") == 1 for story in stories),
            all_left_after_seconds=ended,
            sessions_ended_after_seconds=sessions,
        )
