"""Scenarios: the language is tested in Rust; here, what a run leaves."""

import asyncio
import json
from datetime import timedelta

import pytest

from control import Control, invalid, missing, refused
from endpoints import StageEndpoints, wait_until
from server import run
from simulation import Simulation, TestClock, after, time

CALL = """
stage demo
at 0s alice joins as {"role": "host"}
at 2s alice publishes
at 3s bob joins
at 3s bob subscribes to alice
at 4s alice mutes audio
at 5s alice unmutes audio
at 10s bob exchanges its token
at 20s bob fails with INVALID_INPUT
at 30s bob reconnects
at 40s alice stops publishing
at 50s bob leaves
at 60s everyone leaves
"""


@pytest.fixture
def everything(server):
    """The test API of all accounts; the clock shows the system's time before and after."""
    yield Control.all(server)
    TestClock(server).resume()


@pytest.fixture
def tenant(server):
    return server.tenant()


def play(control, script, **members):
    return control.call("POST", "/scenarios", {"scenario": script, **members})


def names(events):
    parts = ("name", "errorCode")
    return [" ".join(filter(None, map(event.get, parts))) for event in events]


def test_a_scenario_in_virtual_time_leaves_the_events_of_its_times(everything, server, webhook):
    webhook.deliveries.clear()
    played = everything.call("POST", "/scenarios", body=CALL.encode(), content_type="text/plain")
    assert (played["state"], played["steps"], played["time"]) == ("FINISHED", 12, "virtual")
    start = time(played["startedAt"])
    assert after(start, time(played["endedAt"])) == [60]
    assert played["participants"].keys() == {"alice", "bob"} and played["participantCount"] == 2
    assert everything.call("GET", f"/scenarios/{played['id']}") == played
    stage = played["stageArn"]
    tenant = server.tenant(stage.split(":")[4], stage.split(":")[3])
    assert tenant.ivs.get_stage(arn=stage)["stage"]["name"] == "demo"
    (session,) = tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"]
    events = {
        name: tenant.events(stage, session["sessionId"], id) for name, id in played["participants"].items()
    }
    assert names(events["alice"]) == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]
    assert after(start, *(event["eventTime"] for event in events["alice"])) == [0, 2, 40, 60]
    assert names(events["bob"]) == [
        "JOINED", "SUBSCRIBE_STARTED", "TOKEN_EXCHANGED", "PUBLISH_ERROR INVALID_INPUT", "SUBSCRIBE_STOPPED", "LEFT",
        "JOINED", "SUBSCRIBE_STARTED", "SUBSCRIBE_STOPPED", "LEFT",
    ]  # fmt: skip
    assert after(start, *(event["eventTime"] for event in events["bob"])) == [3, 3, 10, 20, 30, 30, 30, 30, 40, 50]
    alice = tenant.participant(stage, session["sessionId"], played["participants"]["alice"])
    assert (alice["attributes"], alice["userId"], alice["published"]) == ({"role": "host"}, "alice", True)
    # Everything was delivered before the response.
    published = [one.event for one in webhook.deliveries if one.stage == stage]
    assert [event["detail"]["event_name"] for event in published if not is_extended(event)] == [
        "Participant Published", "Token Exchanged", "Participant Publish Error", "Participant Unpublished",
    ]  # fmt: skip
    assert after(start.replace(microsecond=0), *(time(event["time"]) for event in published[:1]))[0] in (0, 2)


def is_extended(event):
    documented = ("Participant Published", "Participant Unpublished", "Participant Publish Error", "Token Exchanged")
    return event["detail"]["event_name"] not in documented


def test_a_stage_by_name_is_of_the_account_that_the_body_names(everything, server, tenant):
    script = "stage mine\nat 0s alice joins\nat 1s alice leaves"
    played = play(everything, script, account=tenant.account, region=tenant.region)
    assert played["stageArn"].split(":")[3:5] == [tenant.region, tenant.account]
    assert play(everything, script, account=tenant.account)["stageArn"] == played["stageArn"]
    with invalid("account: "):
        play(everything, script, account="1")
    with invalid("region: 'mars' is not one of --regions"):
        play(everything, script, region="mars")
    with invalid("account, region: are members of the body with all=true only"):
        play(Control.of(tenant), script, time="real", account=tenant.account)


def test_what_is_due_fires_between_the_steps(everything, tenant):
    stage = tenant.stage()
    script = "at 0s alice joins\nat 1s alice leaves\nat 5m bob joins\nat 6m everyone leaves"
    played = play(everything, script, stage=stage)
    start = time(played["startedAt"])
    sessions = tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"]
    assert after(start, sessions[1]["startTime"], sessions[1]["endTime"], sessions[0]["startTime"]) == [0, 61, 300]
    assert "endTime" not in sessions[0], "the clock has not come to its end"


def test_a_group_joins_and_leaves_over_time(everything, tenant):
    stage = tenant.stage()
    played = play(everything, "at 0s 200 viewers join over 10s\nat 20s viewers leave over 5s", stage=stage)
    assert (played["participantCount"], played["steps"]) == (200, 400)
    start, session = time(played["startedAt"]), tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"][0]
    listed = tenant.walk("ListParticipants", 100, stageArn=stage, sessionId=session["sessionId"])
    assert len(listed) == 200 and {one["state"] for one in listed} == {"DISCONNECTED"}
    by_name = {one["userId"]: one for one in listed}
    assert after(start, *(by_name[f"viewer-{n}"]["firstJoinTime"] for n in (1, 2, 200))) == [0, 0.05, 9.95]
    events = tenant.events(stage, session["sessionId"], played["participants"]["viewer-200"])
    assert (names(events), after(start, events[1]["eventTime"])) == (["JOINED", "LEFT"], [24.975])


def test_a_member_of_a_group_acts_alone_and_a_group_together(everything, tenant):
    stage = tenant.stage()
    script = """
    at 0s 3 viewers join as {"team": "a"}
    at 1s viewer-2 publishes
    at 2s viewer-1 subscribes to viewer-2
    at 3s viewers reconnect
    at 4s viewer-3 leaves
    at 5s viewers mute video
    at 6s viewers leave
    at 7s viewers join
    """
    played = play(everything, script, stage=stage)
    simulation = Simulation(tenant)
    shown = {one["userId"]: one for one in simulation.all(stage=stage)}
    assert [shown[f"viewer-{n}"]["state"] for n in (1, 2, 3)] == ["CONNECTED"] * 3
    assert simulation.names(shown["viewer-3"]) == ["JOINED", "LEFT", "JOINED", "LEFT", "JOINED"]
    assert shown["viewer-1"]["attributes"] == {"team": "a"} and "token" not in shown["viewer-1"]
    assert played["state"] == "FINISHED"


def test_errors_name_the_line(everything, tenant):
    stage = tenant.stage()
    for script, words in [
        ("stage a\nat 2 alice joins", "line 2: '2': a time is"),
        ("at 0s alice joins\nat 1s bob publishes", "line 2: bob has not joined"),
        ("# nothing\n", "line 1: the scenario has no steps"),
    ]:
        with invalid(f"scenario: {words}"):
            play(everything, script, stage=stage)
    with invalid("line 1: name the stage"):
        play(everything, "at 0s alice joins")
    with invalid("stage: line 1"):
        play(everything, "stage a\nat 0s alice joins", stage=stage)
    with missing("stage"):
        play(everything, "at 0s alice joins", stage="no-such-stage")
    with invalid("all=true"):
        play(Control.of(tenant), "at 0s alice joins", stage=stage)
    with invalid("time"):
        play(everything, "at 0s alice joins", stage=stage, time="slow")
    assert tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"] == [], "nothing was done"


def test_a_scenario_that_fails_says_where_and_its_participants_leave(everything, tenant):
    stage = tenant.stage()
    script = "at 0s alice joins\nat 1s alice publishes\nat 2s alice leaves\nat 3s alice publishes"
    with refused(409, "ConflictException", "line 4: alice: ", "not connected"):
        play(everything, script, stage=stage)
    failed = [one for one in everything.call("GET", "/scenarios")["scenarios"] if one["stageArn"] == stage]
    assert [(one["state"], one["error"][:7]) for one in failed] == [("FAILED", "line 4:")]
    script = "at 0s alice joins\nat 0s bob joins\nat 1s bob subscribes to alice"
    with missing("line 3: bob: PUBLISHER_NOT_FOUND"):
        play(everything, script, stage=stage)
    assert {one["state"] for one in Simulation(tenant).all()} == {"DISCONNECTED"}


async def test_a_scenario_in_real_time_runs_in_the_background(tenant):
    stage, control = tenant.stage(), Control.of(tenant)
    endpoints = StageEndpoints(tenant, stage)
    token, id = endpoints.token()
    async with endpoints.join(token) as client:
        await client.wait_for_state(id)
        script = "at 0s alice joins\nat 1s alice publishes\nat 2s everyone leaves"
        played = await asyncio.to_thread(play, control, script, stage=stage, time="real")
        assert played["state"] == "RUNNING"
        path = f"/scenarios/{played['id']}"
        alice = None
        while alice is None:
            alice = (await asyncio.to_thread(control.call, "GET", path))["participants"].get("alice")
        await client.wait_for_state(id, alice)
        await client.wait_for_state(f"{alice}*", id)
        await client.wait_for_state(id)
    await wait_until(lambda: control.call("GET", path)["state"] == "FINISHED")
    ended = control.call("GET", path)
    took = (time(ended["endedAt"]) - time(ended["startedAt"])).total_seconds()
    assert ended["steps"] == 3 and took >= 2, ended
    control.call("DELETE", path)
    with missing(played["id"]):
        control.call("GET", path)


async def test_a_scenario_in_real_time_is_stopped(tenant, other):
    stage, control = tenant.stage(), Control.of(tenant)
    played = play(control, "at 0s 5 viewers join\nat 1h everyone leaves", stage=stage, time="real")
    path = f"/scenarios/{played['id']}"
    await wait_until(lambda: control.call("GET", path)["participantCount"] == 5)
    assert Control.of(other).call("GET", "/scenarios")["scenarios"] == []
    with missing(played["id"]):
        Control.of(other).call("DELETE", path)
    stopped = control.call("DELETE", path)
    assert stopped["state"] == "STOPPED"
    assert {one["state"] for one in Simulation(tenant).all()} == {"DISCONNECTED"}


def test_a_running_scenario_does_not_keep_the_server_from_stopping(start_node, new_store):
    store = new_store()
    node = start_node(store=store)
    tenant = node.tenant()
    stage = tenant.stage()
    play(Control.of(tenant), "at 0s alice joins\nat 1h everyone leaves", stage=stage, time="real")
    assert node.test_server.end() == 0


# The command


def simulate(server, *arguments, **env):
    return run("simulate", "--endpoint", server.endpoint, *arguments, **env)


def test_the_command_runs_a_file(server, everything, tenant, tmp_path):
    file = tmp_path / "call.scenario"
    file.write_text("at 0s alice joins\nat 60s everyone leaves\n")
    stage = tenant.stage()
    done = simulate(server, str(file), "--stage", stage)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith(f"finished on {stage}: 1 participant, 2 steps, from ")
    name, id = second.split()
    (session,) = tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"]
    assert name == "alice" and names(tenant.events(stage, session["sessionId"], id)) == ["JOINED", "LEFT"]


def test_the_command_runs_in_real_time_and_prints_json(server, tenant, tmp_path):
    file = tmp_path / "call.scenario"
    file.write_text("at 0s alice joins\nat 1s everyone leaves\n")
    done = simulate(server, str(file), "--stage", tenant.stage(), "--time", "real", "--output", "json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["state"], shown["time"], shown["steps"]) == ("FINISHED", "real", 2)


def test_errors_of_the_command_are_one_line(server, tenant, tmp_path):
    file = tmp_path / "call.scenario"
    file.write_text("stage demo\nat 0s alice dances\n")
    done = simulate(server, str(file))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("greenroom: ValidationException: scenario: line 2: 'dances'"), done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = simulate(server, str(tmp_path / "none"))
    assert done.returncode == 2 and "cannot read" in done.stderr


def test_the_command_signs_its_requests(start_server, new_store, tmp_path):
    file = tmp_path / "call.scenario"
    file.write_text("stage demo\nat 0s alice joins\n")
    id, secret = "AKIAGREENROOMTESTKEY1", "a-secret-of-more-than-32-characters-0123456789"
    server = start_server(
        new_store(), "--test-api=public", GREENROOM_ACCESS_KEY_ID=id, GREENROOM_SECRET_ACCESS_KEY=secret
    )
    done = simulate(server, str(file))
    assert done.returncode == 1 and "MissingAuthenticationToken" in done.stderr
    done = simulate(server, str(file), AWS_ACCESS_KEY_ID=id, AWS_SECRET_ACCESS_KEY=secret)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("finished on arn:aws:ivs:us-east-1:")
    done = simulate(server, str(file), AWS_ACCESS_KEY_ID=id, AWS_SECRET_ACCESS_KEY="another" + secret)
    assert done.returncode == 1 and "InvalidSignature" in done.stderr
