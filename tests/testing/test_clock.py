"""The clock: what follows it, what does not, and that everything due fires in its order."""

import asyncio
import time as system
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from control import Control, Refused, invalid, refused
from endpoints import StageEndpoints
from receiver import Reply
from streams import opened
from streams import refused as stream_refused
from simulation import Simulation, TestClock, after, text, time

HOUR, DAY = 3600, 24 * 3600


@pytest.fixture
def clock(server, webhook):
    """The server's clock, which shows the system's time before and after the test."""
    webhook.deliveries.clear()
    webhook.respond = lambda event: Reply()
    clock = TestClock(server)
    yield clock
    clock.resume()


@pytest.fixture
def tenant(server):
    return server.tenant()


@pytest.fixture
def simulation(tenant):
    return Simulation(tenant)


def delivered(webhook, resource):
    """The events of a resource that the webhook has accepted."""
    events = [one.event for one in webhook.deliveries if one.reply.status == 204]
    return [event for event in events if event["resources"] == [resource]]


def names(events):
    return [event["detail"]["event_name"] for event in events]


def test_the_clock_is_shown_frozen_moved_and_resumed(clock):
    shown = clock.shown()
    assert not shown["frozen"] and abs(shown["offsetSeconds"]) < 0.001
    assert abs((time(shown["now"]) - time(shown["systemTime"])).total_seconds()) < 0.001
    at = clock.freeze()
    assert clock.now() == at == clock.now() and clock.shown()["frozen"]
    clock.advance(1.5)
    assert after(at, clock.now()) == [1.5]
    clock.control.call("POST", "/clock/advance", {"to": text(at + timedelta(seconds=90))})
    assert after(at, clock.now()) == [90]
    moved = clock.put(frozen=False)
    assert not moved["frozen"] and 85 < moved["offsetSeconds"] < 95
    first, second = clock.now(), clock.now()
    assert first <= second < first + timedelta(seconds=10), "it runs on from where it stood"
    clock.put(now="2031-01-01T00:00:00Z")
    assert timedelta(0) <= clock.now() - time("2031-01-01T00:00:00Z") < timedelta(seconds=10)
    shown = clock.resume()
    assert not shown["frozen"] and abs(shown["offsetSeconds"]) < 0.001


def test_requests_are_checked(clock, tenant):
    for path, body, words in [
        ("/clock/advance", {}, "seconds, to"),
        ("/clock/advance", {"seconds": 1, "to": "2031-01-01T00:00:00Z"}, "seconds, to"),
        ("/clock/advance", {"seconds": -1}, "seconds"),
        ("/clock/advance", {"seconds": 1e15}, "seconds"),
        ("/clock/advance", {"seconds": "1"}, "body"),
        ("/clock/advance", {"to": "2001-01-01T00:00:00Z"}, "PUT /clock"),
        ("/clock/advance", {"to": "soon"}, "body"),
        ("/clock/advance", {"minutes": 1}, "minutes"),
    ]:
        with invalid(words):
            clock.control.call("POST", path, body)
    for body, words in [({}, "now, frozen"), ({"now": "1999-01-01T00:00:00Z"}, "now"), ({"at": 1}, "at")]:
        with invalid(words):
            clock.control.call("PUT", "/clock", body)
    mine = Control.of(tenant)
    for method, path, body in [
        ("POST", "/clock/advance", {"seconds": 1}),
        ("PUT", "/clock", {"frozen": True}),
        ("DELETE", "/clock", None),
    ]:
        with invalid("all=true"):
            mine.call(method, path, body)
    assert mine.call("GET", "/clock")["frozen"] is False, "showing it needs no rights to all"


def test_a_session_ends_when_it_is_due(clock, simulation, tenant):
    stage, start = tenant.stage(), clock.freeze()
    alice = simulation.join(stage)
    clock.advance(10)
    simulation.act(alice, "leave")
    assert clock.advance(59.999) == 0
    (session,) = tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"]
    assert "endTime" not in session
    assert clock.advance(5 * HOUR) == 1
    (session,) = tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"]
    assert after(start, session["startTime"], session["endTime"]) == [0, 70]


def test_due_work_fires_in_its_order_and_events_are_delivered_meanwhile(clock, simulation, tenant, webhook):
    start = clock.freeze()
    stage, other = tenant.stage(), tenant.stage()
    alice = simulation.join(stage, publish=True)
    composition = tenant.composition(stage)["arn"]
    later = simulation.join(other)
    simulation.act(later, "leave")
    clock.advance(30)
    simulation.act(alice, "leave")
    fired = clock.advance(2 * HOUR)
    # The session of the other stage ends at 60 s, that of the stage at 90 s; the composition stops 60 s after the last
    # publisher, and is deleted five minutes later.
    events = [event for event in webhook.deliveries]
    assert fired >= 4
    events = delivered(webhook, composition)
    assert names(events) == ["Session Start", "Destination Start", "Destination End", "Session End"]
    times = after(start, *(time(event["time"]) for event in events))
    assert times == sorted(times) and times[-1] - times[0] >= 90 - times[0], times
    ends = [after(start, s["endTime"])[0] for one in (stage, other)
            for s in tenant.ivs.list_stage_sessions(stageArn=one)["stageSessions"]]
    assert ends == [90, 60]
    stage_events = [e for e in webhook.deliveries if e.event["detail"]["event_name"] == "Session Ended"]
    assert [e.event["resources"][0] for e in stage_events if e.event["resources"][0] in (stage, other)] in (
        [other, stage], [])
    with pytest.raises(tenant.ivs.exceptions.ResourceNotFoundException):
        tenant.ivs.get_composition(arn=composition)


def test_a_composition_goes_through_its_states(clock, simulation, tenant):
    stage, _ = tenant.stage(), clock.freeze()
    simulation.join(stage, publish=True)
    composition = tenant.composition(stage)["arn"]

    def state():
        return tenant.ivs.get_composition(arn=composition)["composition"]["state"]

    seen = [state()]
    clock.advance(HOUR)
    seen.append(state())
    tenant.ivs.stop_composition(arn=composition)
    seen.append(state())
    clock.advance(60)
    seen.append(state())
    assert seen == ["STARTING", "ACTIVE", "STOPPING", "STOPPED"]


async def test_tokens_expire_and_are_created_by_the_clock(clock, simulation, tenant):
    stage = tenant.stage()
    endpoints = StageEndpoints(tenant, stage)
    old = tenant.token(stage, duration=1)
    clock.advance(HOUR)
    assert await endpoints.refused(old["token"]) == ("TOKEN_EXPIRED", 4401)
    with refused(403, "AccessDeniedException", "TOKEN_EXPIRED"):
        await asyncio.to_thread(simulation.join, stage, token=old["token"])
    new = await asyncio.to_thread(tenant.token, stage, duration=1)
    assert abs(after(clock.now(), new["expirationTime"])[0] - 60) < 10
    async with endpoints.join(new["token"]) as client:
        await client.state()
        await asyncio.to_thread(clock.advance, 10 * DAY)
        assert await client.request("PING") == {"type": "PONG"}, "the expiry of a token ends no connection"
    # Set back, the clock has not come to the creation of the token.
    clock.resume()
    assert await endpoints.refused(new["token"]) == ("TOKEN_NOT_YET_VALID", 4401)


def test_requests_are_signed_with_the_real_time(clock, tenant):
    for year in (2035, 2005):
        clock.put(now=f"{year}-01-01T00:00:00Z", frozen=True)
        arn = tenant.stage(name=f"stage-{year}")
        assert tenant.ivs.get_stage(arn=arn)["stage"]["name"] == f"stage-{year}"


def test_a_stream_ends_at_its_maximum_duration(clock, simulation, tenant):
    stage, start = tenant.stage(), clock.freeze()
    alice = simulation.join(stage, publish=True)
    clock.advance(10)
    bob = simulation.join(stage, subscribe=[alice["participantId"]])
    clock.advance(2 * HOUR)
    assert simulation.names(alice)[2:] == ["PUBLISH_ERROR STREAM_DURATION_EXCEEDED", "PUBLISH_STOPPED"]
    assert {after(start, event["eventTime"])[0] for event in simulation.events(alice)[2:]} == {HOUR}
    assert simulation.names(bob)[2:] == [f"SUBSCRIBE_STOPPED {alice['participantId']}"], "as its publisher has stopped"
    shown = [simulation.shown(one) for one in (alice, bob)]
    assert [(one["state"], one["publishing"], one["subscriptions"]) for one in shown] == [("CONNECTED", False, [])] * 2


def test_a_reconnect_window_runs_out(clock, simulation, tenant):
    source, destination = tenant.stage(), tenant.stage()
    start = clock.freeze()
    alice = simulation.join(source, publish=True)
    tenant.ivs.start_participant_replication(
        sourceStageArn=source, destinationStageArn=destination, participantId=alice["participantId"],
        reconnectWindowSeconds=60,
    )  # fmt: skip
    simulation.act(alice, "unpublish")
    (session,) = tenant.ivs.list_stage_sessions(stageArn=destination)["stageSessions"]

    def replica():
        return tenant.participant(destination, session["sessionId"], alice["participantId"])

    clock.advance(59)
    assert replica()["replicationState"] == "ACTIVE"
    assert clock.advance(HOUR) >= 1
    assert replica()["replicationState"] == "STOPPED"
    stopped = [event for event in simulation.events(alice) if event["name"] == "REPLICATION_STOPPED"]
    assert after(start, *(event["eventTime"] for event in stopped)) == [60]


def test_failed_deliveries_are_repeated_in_the_time_of_the_clock(clock, simulation, tenant, webhook):
    stage, start = tenant.stage(), clock.freeze()
    fails = {"until": start + timedelta(hours=1)}
    attempts = []

    def respond(event):
        if event["resources"] != [stage]:
            return Reply()
        attempts.append(clock.now())
        return Reply(503 if attempts[-1] < fails["until"] else 204)

    webhook.respond = respond
    simulation.join(stage, publish=True)
    begun = system.monotonic()
    clock.advance(2 * HOUR)
    assert system.monotonic() - begun < HOUR, "not in real time"
    offsets = after(start, *attempts)
    assert len(offsets) > 10 and offsets == sorted(offsets) and offsets[0] == 0
    assert any(3600 <= offset <= 3600 + 300 for offset in offsets), offsets
    assert names(delivered(webhook, stage))[:1] == ["Participant Published"] or "Participant Published" in names(
        delivered(webhook, stage)
    )


def test_the_clock_can_be_set_back(clock, simulation, tenant):
    stage = tenant.stage()
    alice = simulation.join(stage)
    past = time("2024-02-29T12:00:00Z")
    clock.freeze(past)
    bob = simulation.join(stage)
    assert after(past, simulation.events(bob)[0]["eventTime"]) == [0]
    assert simulation.names(alice) == ["JOINED"], "what was recorded stays"
    for one in (alice, bob):
        simulation.act(one, "leave")
    clock.advance(60)
    (session,) = tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"]
    assert after(past, session["endTime"]) == [60]


async def test_a_token_is_refused_while_the_clock_is_before_its_creation(clock, simulation, tenant):
    stage, at = tenant.stage(), clock.freeze()
    token = tenant.token(stage, userId="alice")["token"]
    clock.put(now=text(at - timedelta(hours=1)))
    with refused(403, "AccessDeniedException", "TOKEN_NOT_YET_VALID"):
        simulation.join(stage, token=token)
    assert simulation.join(stage)["state"] == "CONNECTED", "a new token is of the clock's time"
    clock.advance(HOUR)
    assert simulation.join(stage, token=token)["state"] == "CONNECTED"


def test_participants_join_while_the_clock_is_set_back(clock, simulation, tenant):
    stage, at = tenant.stage(), clock.freeze()

    def join(_):
        try:
            return simulation.join(stage)
        except Refused as error:
            # It was created just before the clock was set back.
            assert (error.status, error.message.split(":")[0]) == (403, "TOKEN_NOT_YET_VALID"), error

    with ThreadPoolExecutor(5) as pool:
        joining = pool.map(join, range(40))
        for hours in range(1, 11):
            clock.put(now=text(at - timedelta(hours=hours)))
        joined = [one for one in joining if one]
    last = simulation.join(stage)
    (session,) = tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"]
    for one in [*joined, last]:
        assert simulation.names(one) == ["JOINED"] and simulation.shown(one)["sessionId"] == session["sessionId"]
    times = after(at, *(simulation.events(one)[0]["eventTime"] for one in [*joined, last]))
    assert set(times) <= {-HOUR * hours for hours in range(11)} and times[-1] == -10 * HOUR
    for one in [*joined, last]:
        simulation.act(one, "leave")
    clock.advance(60)
    (session,) = tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"]
    assert after(at, session["endTime"]) == [60 - 10 * HOUR]


def test_each_node_has_a_clock_of_its_own(start_server, fresh_postgres):
    store = fresh_postgres()
    # Tokens are valid for a URL.
    flags = ("--test-api=public", "--public-url", "http://green.example", "--session-end-seconds", "60")
    first, second = (start_server(store, *flags) for _ in range(2))
    clocks = [TestClock(node) for node in (first, second)]
    for one in clocks:
        one.control = one.control.signed("000000000000", "test")
    start = clocks[0].freeze()
    assert abs(clocks[1].shown()["offsetSeconds"]) < 0.001 and not clocks[1].shown()["frozen"]
    clocks[1].freeze(start)
    tenant = first.tenant()
    here, there = Simulation(tenant), Simulation(second.tenant(tenant.account))
    for one in (here, there):
        one.control = one.control.signed(tenant.account, "test")
    stage = tenant.stage()
    alice = here.join(stage)
    clocks[0].advance(30)
    bob = there.join(stage)
    assert after(start, clocks[0].now(), clocks[1].now()) == [30, 0]
    assert after(start, here.events(alice)[0]["eventTime"], there.events(bob)[0]["eventTime"]) == [0, 0]
    there.act(bob, "leave")
    here.act(alice, "leave")

    def ends():
        return [one.get("endTime") for one in tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"]]

    # It ends 60 s after the last one has left, by the clock of the node that finds it due.
    clocks[1].advance(89)
    assert ends() == [None]
    clocks[0].advance(60)
    assert after(start, *ends()) == [90]
    # A token of a node whose clock is ahead is not valid yet on the others.
    clocks[0].advance(HOUR)
    token = tenant.token(stage)["token"]
    with refused(403, "AccessDeniedException", "TOKEN_NOT_YET_VALID"):
        there.join(stage, token=token)
    clocks[1].advance(HOUR + 1)
    assert there.join(stage, token=token)["state"] == "CONNECTED"


def test_events_are_deleted_after_their_retention(start_node):
    # A server of its own: what was deleted is never given again, whatever the clock shows.
    server = start_node("--event-retention-seconds", str(30 * DAY))
    clock, tenant = TestClock(server), server.tenant()
    Simulation(tenant).join(tenant.stage(), publish=True)
    clock.advance(29 * DAY)
    with opened(server, tenant.account, last="0", region=tenant.region) as stream:
        assert stream.next().detail["event_name"] == "Participant Published"
    clock.advance(2 * DAY)
    status, fault, _ = stream_refused(server, tenant.account, last="0", region=tenant.region)
    assert (status, fault) == (410, "TrimmedDataAccessException")


async def test_a_jump_fences_no_node_and_closes_no_websocket(start_node, new_store, engine):
    store = new_store()
    nodes = [start_node(store=store) for _ in range(2 if engine == "postgres" else 1)]
    tenant = nodes[-1].tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    async with endpoints.join(endpoints.token()[0]) as client:
        await client.state()
        for _ in range(3):
            await asyncio.to_thread(TestClock(nodes[0]).advance, 10 * DAY)
            await asyncio.sleep(1)
        assert await client.request("PING") == {"type": "PONG"}
        session = (await asyncio.to_thread(endpoints.sessions))[0]
        assert "endTime" not in session
    for node in nodes:
        assert "lease expired" not in node.test_server.logged() and "fenced" not in node.test_server.logged()
