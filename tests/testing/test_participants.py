"""Simulated participants: what they leave in the record is what real ones leave."""

import asyncio
import json

import pytest

import peers
from control import Control, invalid, missing, refused
from endpoints import Signer, StageEndpoints, wait_until
from simulation import Simulation

CODES = [
    "INSUFFICIENT_CAPABILITIES", "QUOTA_EXCEEDED", "PUBLISHER_NOT_FOUND", "BITRATE_EXCEEDED", "RESOLUTION_EXCEEDED",
    "STREAM_DURATION_EXCEEDED", "INVALID_AUDIO_CODEC", "INVALID_VIDEO_CODEC", "INVALID_PROTOCOL", "INVALID_STREAM_KEY",
    "REUSE_OF_STREAM_KEY", "B_FRAME_PRESENT", "INVALID_INPUT", "INTERNAL_SERVER_EXCEPTION",
]  # fmt: skip
# The codes with which a stream ends.
ENDING = {
    "BITRATE_EXCEEDED", "RESOLUTION_EXCEEDED", "STREAM_DURATION_EXCEEDED", "B_FRAME_PRESENT",
    "INTERNAL_SERVER_EXCEPTION",
}  # fmt: skip


@pytest.fixture
def simulation(tenant):
    return Simulation(tenant)


def comparable(value, ids):
    """A value of the API without times and clients, with names instead of ids."""
    text = json.dumps(value, default=lambda time: "TIME", sort_keys=True)
    for id, name in ids.items():
        text = text.replace(id, name)
    return json.loads(text)


CLIENT = ("ispName", "osName", "osVersion", "browserName", "browserVersion", "sdkVersion")


def left(tenant, stage, session, ids):
    """What the API shows of a session's participants and their events."""
    shown = []
    for id in ids:
        participant = tenant.participant(stage, session, id)
        participant = {name: value for name, value in participant.items() if name not in CLIENT}
        shown.append([participant, tenant.events(stage, session, id)])
    return comparable(shown, {**ids, session: "SESSION", stage: "STAGE"})


async def test_simulated_participants_leave_what_real_ones_leave(tenant, simulation):
    attributes = {"role": "host"}
    # Real ones.
    endpoints = StageEndpoints(tenant, tenant.stage())
    alice, alice_id = endpoints.token(userId="alice", attributes=attributes)
    bob, bob_id = endpoints.token(userId="bob")
    ids = {alice_id: "ALICE", bob_id: "BOB"}
    async with endpoints.join(alice), endpoints.join(bob) as socket:
        publisher = await peers.publish(endpoints.whip, alice)
        await socket.wait_for_state(f"{alice_id}*", bob_id)
        viewer = peers.Viewer()
        await viewer.exchange(f"{endpoints.whip}/subscribe/{alice_id}", bob)
        await viewer.wait_connected()
        await endpoints.wait_for_events(bob_id, "JOINED", f"SUBSCRIBE_STARTED {alice_id}")
        await viewer.stop()
        await publisher.stop()
    await endpoints.wait_for_events(alice_id, "JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT")
    session = endpoints.sessions()[0]["sessionId"]
    real = left(tenant, endpoints.stage, session, ids)
    # Simulated ones.
    stage = tenant.stage()

    def simulate():
        alice = simulation.join(stage, "alice", attributes=attributes)
        bob = simulation.join(stage, "bob")
        simulation.act(alice, "publish")
        simulation.act(bob, "subscribe", participantId=alice["participantId"])
        simulation.act(bob, "unsubscribe", participantId=alice["participantId"])
        simulation.act(alice, "unpublish")
        for one in (bob, alice):
            simulation.act(one, "leave")
        return alice, bob

    alice, bob = await asyncio.to_thread(simulate)
    ids = {alice["participantId"]: "ALICE", bob["participantId"]: "BOB"}
    simulated = left(tenant, stage, alice["sessionId"], ids)
    assert simulated == real


def test_a_participant_joins_and_acts(tenant, simulation, stage):
    alice = simulation.join(stage, "alice", attributes={"role": "host"}, capabilities=["PUBLISH"], publish=True)
    (session,) = tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"]
    id, token = alice["participantId"], alice.pop("token")
    assert alice == {
        "participantId": id, "stageArn": stage, "sessionId": session["sessionId"], "userId": "alice",
        "attributes": {"role": "host"}, "state": "CONNECTED", "publishing": True, "muted": [], "subscriptions": [],
    }  # fmt: skip
    bob = simulation.join(stage, subscribe=[id])
    assert (bob["subscriptions"], bob["publishing"]) == ([id], False)
    assert simulation.all() == sorted([alice | {"token": token}, bob], key=lambda one: one["participantId"])
    assert simulation.shown(alice) == alice | {"token": token}
    muted = simulation.act(alice, "mute", kinds=["video", "audio"])["muted"]
    assert muted == ["audio", "video"]
    assert simulation.act(alice, "unmute", kinds=["audio"])["muted"] == ["video"]
    gone = simulation.act(alice, "leave")
    assert (gone["state"], gone["publishing"], gone["muted"]) == ("DISCONNECTED", False, [])
    assert simulation.names(alice) == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]
    assert simulation.shown(bob)["subscriptions"] == [], "its publisher has left"
    assert simulation.names(bob) == ["JOINED", f"SUBSCRIBE_STARTED {id}", f"SUBSCRIBE_STOPPED {id}"]


def test_a_stage_is_found_by_arn_or_by_a_name_that_is_unique(tenant, simulation):
    stage = tenant.stage(name="demo")
    assert simulation.join("demo")["stageArn"] == stage
    assert len(simulation.all(stage="demo")) == 1 == len(simulation.all(stage=stage))
    with missing("stage", "named 'other'"):
        simulation.join("other")
    with missing("stage", tenant.arn("stage")):
        simulation.join(tenant.arn("stage"))
    tenant.stage(name="demo")
    with refused(409, "ConflictException", "several stages are named 'demo'"):
        simulation.join("demo")


def test_a_token_alone_names_its_stage(tenant, other, simulation, stage):
    token = tenant.token(stage, userId="alice")["token"]
    alice = simulation.control.call("POST", "/participants", {"token": token, "publish": True})
    assert (alice["stageArn"], alice["userId"], alice["publishing"]) == (stage, "alice", True)
    with invalid("stage: is required without a token"):
        simulation.control.call("POST", "/participants", {"userId": "bob"})
    with missing("token: there is no stage", stage):
        Simulation(other).control.call("POST", "/participants", {"token": token})
    again = Control.all(tenant.server).call("POST", "/participants", {"token": token})
    assert again["participantId"] == alice["participantId"]


def test_other_accounts_see_none(tenant, other, simulation, stage):
    alice = simulation.join(stage)
    theirs = Simulation(other)
    assert theirs.all() == []
    with missing(alice["participantId"]):
        theirs.shown(alice)
    with missing(alice["participantId"]):
        theirs.act(alice, "leave")
    with missing("stage"):
        theirs.join(stage)
    everyone = Control.all(tenant.server).call("GET", "/participants")["participants"]
    assert alice["participantId"] in [one["participantId"] for one in everyone]


def test_bad_requests_are_refused(tenant, simulation, stage):
    alice = simulation.join(stage)
    token = tenant.token(stage)["token"]
    for body, words in [
        ({}, "stage"),
        ({"stage": stage, "name": "x"}, "name"),
        ({"stage": stage, "token": token, "userId": "x"}, "token"),
        ({"stage": stage, "userId": "x" * 129}, "userId"),
        ({"stage": stage, "duration": 0}, "duration"),
        ({"stage": stage, "capabilities": ["SING"]}, "capabilities"),
        ({"stage": stage, "attributes": {"a": "x" * 2000}}, "attributes"),
        ({"stage": stage, "token": "nonsense"}, "TOKEN_MALFORMED"),
    ]:
        with invalid(words):
            simulation.control.call("POST", "/participants", body)
    for action, body, words in [
        ("mute", {"kinds": ["smell"]}, "kinds"),
        ("mute", {}, "kinds"),
        ("subscribe", {}, "participantId"),
        ("fail", {"code": "NOTHING"}, "code"),
        ("fail", {"code": "INVALID_INPUT", "event": "JOINED"}, "event"),
        ("exchange", {"token": token, "userId": "x"}, "token"),
    ]:
        with invalid(words):
            simulation.act(alice, action, **body)
    elsewhere = tenant.token(tenant.stage())["token"]
    with invalid("token: is for the stage", stage):
        simulation.join(stage, token=elsewhere)
    with missing("nobody"):
        simulation.act("nobody", "leave")
    for action, words in [("unpublish", "does not publish"), ("unsubscribe", "is not subscribed")]:
        members = {"participantId": "x"} if action == "unsubscribe" else {}
        with refused(409, "ConflictException", words):
            simulation.act(alice, action, **members)
    with missing("PUBLISHER_NOT_FOUND"):
        simulation.act(alice, "subscribe", participantId="nobody")
    assert simulation.names(alice) == ["JOINED", "SUBSCRIBE_ERROR nobody PUBLISHER_NOT_FOUND"]
    simulation.act(alice, "leave")
    with refused(409, "ConflictException", "not connected"):
        simulation.act(alice, "publish")


async def test_clients_see_simulated_participants(simulation, endpoints):
    token, id = endpoints.token()
    async with endpoints.join(token) as client:
        await client.wait_for_state(id)
        alice = await asyncio.to_thread(simulation.join, endpoints.stage, "alice", attributes={"a": "b"})
        other = alice["participantId"]
        state = await client.wait_for_state(id, other)
        assert state[1] == {"id": other, "userId": "alice", "attributes": {"a": "b"}, "isPublishing": False}
        await asyncio.to_thread(simulation.act, alice, "publish")
        await client.wait_for_state(f"{other}*", id)
        await asyncio.to_thread(simulation.act, alice, "mute", kinds=["audio"])
        state = await client.state()
        assert state[0]["muted"] == ["audio"] and "muted" not in state[1]
        await asyncio.to_thread(simulation.act, alice, "unmute", kinds=["audio"])
        assert "muted" not in (await client.state())[0]
        await asyncio.to_thread(simulation.act, alice, "leave")
        await client.wait_for_state(id)


async def test_a_simulated_publisher_has_no_media_to_subscribe_to(simulation, endpoints):
    alice = await asyncio.to_thread(simulation.join, endpoints.stage, publish=True)
    token, id = endpoints.token()
    async with endpoints.join(token):
        viewer = peers.Viewer()
        with pytest.raises(peers.OfferRejected, match="simulated") as caught:
            await viewer.exchange(f"{endpoints.whip}/subscribe/{alice['participantId']}", token)
        assert (caught.value.status, caught.value.code) == (404, "PUBLISHER_NOT_FOUND")
        error = f"SUBSCRIBE_ERROR {alice['participantId']} PUBLISHER_NOT_FOUND"
        await endpoints.wait_for_events(id, "JOINED", error)


async def test_a_simulated_subscription_ends_with_a_real_publisher(simulation, endpoints):
    token, id = endpoints.token()
    publisher = await peers.publish(endpoints.whip, token)
    await endpoints.wait_for_events(id, "JOINED", "PUBLISH_STARTED")
    bob = await asyncio.to_thread(simulation.join, endpoints.stage, subscribe=[id])
    assert bob["subscriptions"] == [id]
    await publisher.stop()
    await wait_until(lambda: simulation.shown(bob)["subscriptions"] == [])
    assert simulation.names(bob) == ["JOINED", f"SUBSCRIBE_STARTED {id}", f"SUBSCRIBE_STOPPED {id}"]
    assert simulation.shown(bob)["state"] == "CONNECTED"


def test_quotas_count_simulated_participants(start_node):
    node = start_node("--quotas", "publishers=1,subscribers=1")
    tenant = node.tenant()
    simulation, stage = Simulation(tenant), tenant.stage()
    alice = simulation.join(stage, publish=True)
    bob, carl = simulation.join(stage), simulation.join(stage)
    with refused(402, "ServiceQuotaExceededException", "QUOTA_EXCEEDED", "1 publishers"):
        simulation.act(bob, "publish")
    simulation.act(bob, "subscribe", participantId=alice["participantId"])
    with refused(402, "ServiceQuotaExceededException", "QUOTA_EXCEEDED", "1 subscribers"):
        simulation.act(carl, "subscribe", participantId=alice["participantId"])
    assert simulation.names(bob)[1] == "PUBLISH_ERROR QUOTA_EXCEEDED"
    assert simulation.names(carl) == ["JOINED", f"SUBSCRIBE_ERROR {alice['participantId']} QUOTA_EXCEEDED"]
    simulation.act(alice, "unpublish")
    assert simulation.act(bob, "publish")["publishing"]


def test_a_token_without_the_capability_is_refused(simulation, stage):
    alice = simulation.join(stage, capabilities=["SUBSCRIBE"])
    with refused(403, "AccessDeniedException", "INSUFFICIENT_CAPABILITIES"):
        simulation.act(alice, "publish")
    assert simulation.names(alice) == ["JOINED", "PUBLISH_ERROR INSUFFICIENT_CAPABILITIES"]


def test_a_disconnected_participant_stays_away(tenant, simulation, stage):
    alice, bob = simulation.join(stage, publish=True), simulation.join(stage)
    simulation.act(bob, "subscribe", participantId=alice["participantId"])
    tenant.ivs.disconnect_participant(stageArn=stage, participantId=alice["participantId"])
    assert simulation.shown(alice)["state"] == "DISCONNECTED"
    assert simulation.names(alice) == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]
    for again in (
        lambda: simulation.act(alice, "reconnect"),
        lambda: simulation.join(stage, token=alice["token"]),
    ):
        with refused(403, "AccessDeniedException", "PARTICIPANT_DISCONNECTED"):
            again()


async def test_the_subscriptions_to_a_disconnected_publisher_end(tenant, simulation, stage):
    alice = simulation.join(stage, publish=True)
    bob = simulation.join(stage, subscribe=[alice["participantId"]])
    tenant.ivs.disconnect_participant(stageArn=stage, participantId=alice["participantId"])
    await wait_until(lambda: simulation.shown(bob)["subscriptions"] == [])
    assert simulation.names(bob)[-1] == f"SUBSCRIBE_STOPPED {alice['participantId']}"


def test_participants_of_a_deleted_stage_are_disconnected(tenant, simulation, stage):
    alice = simulation.join(stage, publish=True)
    tenant.ivs.delete_stage(arn=stage)
    assert [one["state"] for one in simulation.all()] == ["DISCONNECTED"]
    with missing("STAGE_DELETED"):
        simulation.act(alice, "reconnect")


def test_every_code_of_the_model_is_recorded(simulation, stage):
    assert set(CODES) == set(error_codes())
    for code in CODES:
        alice = simulation.join(stage, publish=True)
        shown = simulation.act(alice, "fail", code=code)
        event = "SUBSCRIBE_ERROR" if code == "PUBLISHER_NOT_FOUND" else "PUBLISH_ERROR"
        ends = ["PUBLISH_STOPPED"] if code in ENDING else []
        assert simulation.names(alice)[2:] == [f"{event} {code}", *ends]
        assert shown["publishing"] == (code not in ENDING)
    simulation.act(alice, "fail", code="INVALID_INPUT", event="JOIN_ERROR")
    simulation.act(alice, "fail", code="INVALID_INPUT", participantId="someone")
    assert simulation.names(alice)[-2:] == ["JOIN_ERROR INVALID_INPUT", "SUBSCRIBE_ERROR someone INVALID_INPUT"]
    with refused(409, "ConflictException", "not a second old"):
        simulation.act(alice, "fail", code="INVALID_INPUT", participantId="someone")


def error_codes():
    from aws_model import BY_NAME

    events = BY_NAME["ListParticipantEvents"].output_shape.members["events"]
    return events.member.members["errorCode"].enum


def test_a_participant_reconnects_with_the_same_token(simulation, stage):
    alice = simulation.join(stage, "alice", publish=True)
    bob = simulation.join(stage, subscribe=[alice["participantId"]])
    again = simulation.act(bob, "reconnect")
    assert again == bob
    id = alice["participantId"]
    began, ended = f"SUBSCRIBE_STARTED {id}", f"SUBSCRIBE_STOPPED {id}"
    assert simulation.names(bob) == ["JOINED", began, ended, "LEFT", "JOINED", began]
    simulation.act(alice, "leave")
    assert simulation.act(alice, "reconnect")["publishing"] is False, "it had stopped before"


def test_a_token_is_exchanged(tenant, simulation, stage):
    alice = simulation.join(stage, "alice", attributes={"a": "1"}, publish=True)
    new = simulation.act(alice, "exchange", attributes={"a": "2"})
    assert (new["attributes"], new["userId"], new["publishing"]) == ({"a": "2"}, "alice", True)
    assert new["token"] != alice["token"]
    assert simulation.recorded(alice)["attributes"] == {"a": "2"}
    third = simulation.act(alice, "exchange", userId="eve", capabilities=["SUBSCRIBE"])
    assert (third["userId"], third["attributes"], third["publishing"]) == ("eve", {"a": "2"}, False)
    exchanged = [event for event in simulation.events(alice) if event["name"] == "TOKEN_EXCHANGED"]
    assert [event["newToken"]["userId"] for event in exchanged] == ["alice", "eve"]
    assert simulation.names(alice)[-1] == "PUBLISH_STOPPED", "a right was lost"
    with refused(403, "AccessDeniedException", "TOKEN_SUPERSEDED"):
        simulation.join(stage, token=alice["token"])
    assert simulation.act(alice, "reconnect")["userId"] == "eve"


def test_tokens_of_a_customer_are_used_and_exchanged(tenant, simulation, endpoints):
    signer = Signer(endpoints)
    alice = simulation.join(endpoints.stage, token=signer.token())
    assert (alice["participantId"], alice["userId"]) == ("self-signed_1", "user-1")
    new = simulation.act(alice, "exchange", token=signer.token(user_id="user-2"))
    assert new["userId"] == "user-2"
    with refused(403, "AccessDeniedException", "TOKEN_NOT_ALLOWED"):
        simulation.act(alice, "exchange", token=signer.token(jti="other"))
    made = simulation.join(endpoints.stage)
    with refused(403, "AccessDeniedException", "customer"):
        simulation.act(made, "exchange", token=signer.token(jti=made["participantId"]))


def test_a_simulated_participant_is_replicated(tenant, simulation):
    source, destination = tenant.stage(), tenant.stage()
    alice = simulation.join(source, publish=True)
    id = alice["participantId"]
    tenant.ivs.start_participant_replication(
        sourceStageArn=source, destinationStageArn=destination, participantId=id
    )
    viewer = simulation.join(destination, subscribe=[id])
    assert simulation.names(viewer) == ["JOINED", f"SUBSCRIBE_STARTED {id}"]
    (replica,) = [
        one
        for one in tenant.ivs.list_participants(stageArn=destination, sessionId=viewer["sessionId"])["participants"]
        if one["participantId"] == id
    ]
    assert replica["replicationType"] == "REPLICA" and replica["sourceStageArn"] == source
    simulation.act(alice, "leave")
    assert simulation.names(viewer)[-1] == f"SUBSCRIBE_STOPPED {id}"


def test_a_connection_is_replaced_as_by_a_second_websocket(simulation, stage):
    alice = simulation.join(stage)
    again = simulation.join(stage, token=alice["token"])
    assert again == alice
    assert simulation.names(alice) == ["JOINED"] and len(simulation.all()) == 1


def test_participants_leave_when_the_server_stops(start_node, new_store):
    store = new_store()
    node = start_node(store=store)
    tenant = node.tenant()
    stage = tenant.stage()
    alice = Simulation(tenant).join(stage, publish=True)
    assert node.test_server.end() == 0
    tenant = start_node(store=store).tenant(tenant.account, tenant.region)
    names = [event["name"] for event in tenant.events(stage, alice["sessionId"], alice["participantId"])]
    assert names == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]


def test_a_participant_that_cannot_do_what_it_is_created_for_leaves(tenant, control, stage):
    with refused(403, "AccessDeniedException"):
        control.call("POST", "/participants", {"stage": stage, "capabilities": ["SUBSCRIBE"], "publish": True})
    session = tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"][0]["sessionId"]
    listed = tenant.ivs.list_participants(stageArn=stage, sessionId=session)["participants"]
    assert [participant["state"] for participant in listed] == ["DISCONNECTED"]
