"""`POST /reset`."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from contents import LISTS, contents, fill
from control import Control, invalid, refused
from endpoints import PROMPT_SECONDS, StageEndpoints
from streams import opened
from tenant import Tenant

EMPTY = {name: [] for name in [*LISTS, "sessions"]}


async def test_a_reset_deletes_everything_of_one_account_and_region_only(tenant, other, control, endpoints):
    elsewhere = tenant.elsewhere()
    async with endpoints.join(endpoints.token()[0]) as client:
        await client.state()
    kept = []
    for one in (tenant, other, elsewhere):
        await asyncio.to_thread(fill, one)
        kept.append(await asyncio.to_thread(contents, one))
    assert all(kept[0].values()), kept[0]
    deleted = control.reset()
    assert {name: deleted[name] for name in ("stages", "sessions", "participants", "public_keys", "compositions")} == {
        "stages": 2,
        "sessions": 1,
        "participants": 1,
        "public_keys": 1,
        "compositions": 1,
    }
    assert deleted["participant_events"] == 2 and deleted["events"] + deleted["outbox"] >= 3
    assert contents(tenant) == EMPTY
    assert [contents(other), contents(elsewhere)] == kept[1:]
    assert not any(control.reset().values()), "there is nothing left"
    assert contents(tenant) == EMPTY and fill(tenant), "the account can be used as before"


async def test_a_reset_closes_the_connections_of_participants_as_the_deletion_of_their_stage_does(
    tenant, control, endpoints, other
):
    made = [endpoints.token() for _ in range(3)]
    theirs = StageEndpoints(other, other.stage())
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(endpoints.join(token)) for token, _ in made]
        stranger = await stack.enter_async_context(theirs.join(theirs.token()[0]))
        await stranger.state()
        async with asyncio.timeout(PROMPT_SECONDS):
            await asyncio.to_thread(control.reset)
            assert [await client.closed() for client in clients] == [(4404, "STAGE_DELETED")] * 3
        assert await stranger.request("PING") == {"type": "PONG"}, "another account's connection stays open"


async def test_a_reset_closes_connections_to_other_nodes(engine, new_store, start_node):
    if engine == "sqlite":
        pytest.skip("nodes share PostgreSQL only")
    store = new_store()
    one, two = start_node(store=store), start_node(store=store)
    tenant = one.tenant()
    endpoints = StageEndpoints(Tenant(two, tenant.account, tenant.region), tenant.stage())
    async with endpoints.join(endpoints.token()[0]) as client:
        await client.state()
        async with asyncio.timeout(PROMPT_SECONDS):
            await asyncio.to_thread(Control.of(tenant).reset)
            assert await client.closed() == (4404, "STAGE_DELETED")


def test_access_keys_stay(tenant, control):
    key = control.seed({"accessKeys": [{"name": "ci"}]})["accessKeys"]["ci"]
    client = tenant.server.client(key["accessKeyId"], secret=key["secretAccessKey"])
    client.create_stage()
    control.reset()
    assert client.list_stages()["stages"] == []


def test_a_reset_of_all_accounts(own_node):
    tenants = [own_node.tenant(), own_node.tenant(), own_node.tenant().elsewhere()]
    for tenant in tenants:
        fill(tenant)
    assert Control.all(own_node).reset()["stages"] == 3
    assert [contents(tenant) for tenant in tenants] == [EMPTY] * 3


async def test_positions_of_the_event_log_never_go_back(tenant, control, endpoints):
    def next_after(position):
        with opened(tenant.server, tenant.account, "?kind=event", last=position) as stream:
            return stream.next()

    async with endpoints.join(endpoints.token()[0]) as client:
        await client.state()
    before = await asyncio.to_thread(next_after, "0")
    await asyncio.to_thread(control.reset)
    again = StageEndpoints(tenant, tenant.stage())
    async with again.join(again.token()[0]) as client:
        await client.state()
        after = await asyncio.to_thread(next_after, "0")
    assert int(after.id) > int(before.id) and again.topic in after.data, "events before the reset are gone"


def test_the_selection_is_checked(node, tenant):
    for selection, words in [
        ({"account": "12"}, "account: "),
        ({"region": "nowhere-1"}, "region: 'nowhere-1' is not one of --regions"),
        ({"all": "yes"}, "all: 'yes' is neither true nor false"),
        ({"all": "true", "account": tenant.account}, "all: cannot be used with account or region"),
    ]:
        with invalid(words):
            Control(node.endpoint, **selection).reset()
    with invalid("body: this request has none"):
        Control.of(tenant).call("POST", "/reset", {"a": 1})
    with refused(404, "UnknownOperationException", "its methods are POST"):
        Control.of(tenant).call("GET", "/reset")


def test_a_server_without_the_test_api_has_no_reset(start_server, new_store):
    server = start_server(new_store())
    response = Control(server.endpoint).send("POST", "/reset")
    assert response.status_code == 404 and response.headers["x-amzn-errortype"] == "UnknownOperationException"


def test_signed_requests_act_on_their_account_and_those_of_the_servers_own_account_on_any(start_server, new_store):
    server = start_server(new_store(), "--test-api=public", "--account", "100000000000")
    own, tenant, other = (server.tenant(account) for account in ("100000000000", "200000000001", "200000000002"))
    for one in (own, tenant, other):
        one.stage()
    control = Control(server.endpoint)
    with refused(403, "MissingAuthenticationTokenException"):
        control.reset()
    with refused(403, "InvalidSignatureException"):
        control.signed(tenant.account, "wrong").reset()
    for selection in ({"account": other.account}, {"all": "true"}):
        with refused(403, "AccessDeniedException", "only access keys of the server's own account"):
            Control(server.endpoint, **selection).signed(tenant.account, "test").reset()
    assert [len(contents(one)["ListStages"]) for one in (own, tenant, other)] == [1, 1, 1]
    assert control.signed(tenant.account, "test").reset()["stages"] == 1
    assert Control(server.endpoint, account=other.account).signed(own.account, "test").reset()["stages"] == 1
    assert [len(contents(one)["ListStages"]) for one in (own, tenant, other)] == [1, 0, 0]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    key = control.signed(tenant.account, "test").seed({"accessKeys": [{"name": "limited", "policy": policy}]})
    key = key["accessKeys"]["limited"]
    with refused(403, "AccessDeniedException", "its access key has a policy"):
        control.signed(key["accessKeyId"], key["secretAccessKey"]).reset()
    assert Control(server.endpoint, all="true").signed(own.account, "test").reset()["stages"] == 1
