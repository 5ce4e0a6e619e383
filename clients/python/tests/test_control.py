"""Each control of the client: against the real program."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from greenroom_testkit import AccessDenied, Conflict, NotFound, ValidationError, WaitTimeout

SEED = """
stages:
  - name: demo
    tags: {team: a}
    sessions:
      - startedAt: 2026-01-01T10:00:00Z
        participants:
          - {userId: alice, attributes: {role: host}, joinsAt: 0, publishesAt: 2, leavesAt: 60}
        endsAt: 120
encoderConfigurations: [{name: hd, video: {width: 1280, height: 720, framerate: 30, bitrate: 2500000}}]
tokens: [{stage: demo, userId: bob, duration: 60}]
"""


@pytest.fixture
def single(greenroom):
    """A client that does not retry."""
    return greenroom.client(config=Config(retries={"total_max_attempts": 1}))


def sessions_of(ivs, stage):
    return ivs.list_stage_sessions(stageArn=stage)["stageSessions"]


def test_the_environment_has_no_session_token_of_the_user(greenroom):
    user = {"AWS_SESSION_TOKEN": "of-the-developer", "AWS_SECURITY_TOKEN": "of-the-developer"}
    script = (
        "import boto3\n"
        "print(boto3.client('ivs-realtime').create_stage(name='lobby')['stage']['arn'])\n"
        "print(bool(boto3.Session().get_credentials().token))\n"
    )
    env = {**os.environ, **user, **greenroom.environment()}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    arn, has_token = done.stdout.split()
    assert f":{greenroom.account}:" in arn and has_token == "False"


# State


def test_a_reset_deletes_the_resources_of_the_account_only(greenroom, greenroom_server, ivs, stage):
    other = greenroom_server.isolated()
    other.client().create_stage(name="other")
    assert greenroom.reset()["stages"] == 1
    assert ivs.list_stages()["stages"] == []
    assert len(other.client().list_stages()["stages"]) == 1
    assert other.reset()["stages"] == 1


def test_a_snapshot_is_restored(greenroom, ivs, stage, tmp_path):
    snapshot = greenroom.snapshots.take("base")
    assert snapshot.rows["stages"] == 1 and snapshot.size > 0
    file = snapshot.save(tmp_path / "base.jsonl")
    ivs.delete_stage(arn=stage)
    ivs.create_stage(name="another")
    snapshot.restore()
    assert [one["arn"] for one in ivs.list_stages()["stages"]] == [stage]
    snapshot.delete()
    assert greenroom.snapshots.list() == []
    ivs.delete_stage(arn=stage)
    greenroom.snapshots.load(file, "from-a-file").restore()
    assert [one["arn"] for one in ivs.list_stages()["stages"]] == [stage]
    assert [one.name for one in greenroom.snapshots.list()] == ["from-a-file"]


def test_a_snapshot_that_is_missing_is_an_error(greenroom):
    with pytest.raises(KeyError, match="no snapshot 'x'"):
        greenroom.snapshots.get("x")


def test_a_seed_creates_resources_and_past_sessions(greenroom, ivs):
    seeded = greenroom.seed(SEED)
    stage = seeded.arn("demo")
    assert ivs.get_stage(arn=stage)["stage"]["tags"] == {"team": "a"}
    [session] = seeded.sessions("demo")
    [participant] = ivs.list_participants(stageArn=stage, sessionId=session["sessionId"])["participants"]
    assert (participant["participantId"], participant["userId"]) == (session["participants"][0]["participantId"], "alice")
    assert (
        ivs.get_encoder_configuration(arn=seeded.arn("hd", "encoderConfigurations"))["encoderConfiguration"]["name"] == "hd"
    )
    bob = greenroom.join(token=seeded.tokens()[0]["token"])
    assert bob.user_id == "bob"
    with pytest.raises(KeyError, match=r"no stages 'x', but \['demo'\]"):
        seeded.arn("x")


def test_a_seed_is_created_as_a_whole_or_not_at_all(greenroom, ivs):
    with pytest.raises(ValidationError, match=r"stages\.2\."):
        greenroom.seed({"stages": [{"name": "good"}, {"name": "bad", "tags": 7}]})
    assert ivs.list_stages()["stages"] == []


def test_a_seeded_access_key_is_that_of_the_account(greenroom):
    key = greenroom.seed({"accessKeys": [{"name": "ci"}]}).access_key("ci")
    assert key.secret_access_key not in repr(key)
    client = greenroom.client(aws_access_key_id=key.access_key_id, aws_secret_access_key=key.secret_access_key)
    assert f":{greenroom.account}:" in client.create_stage(name="lobby")["stage"]["arn"]


# Clock


def test_a_session_ends_in_frozen_time(greenroom, ivs, stage):
    with greenroom.frozen() as clock:
        assert clock.is_frozen()
        start = clock.now()
        alice = greenroom.join(stage, user_id="alice")
        clock.advance(30)
        alice.leave()
        assert "endTime" not in sessions_of(ivs, stage)[0]
        clock.advance("61s")
        [session] = sessions_of(ivs, stage)
        assert session["endTime"] - session["startTime"] >= timedelta(seconds=89)
        assert clock.now() - start == timedelta(seconds=91)
    assert not greenroom.clock.is_frozen()


def test_a_token_expires_by_time_travel(greenroom, ivs, stage):
    token = ivs.create_participant_token(stageArn=stage, duration=60)["participantToken"]["token"]
    with greenroom.time_travel(by="2h"), pytest.raises(AccessDenied, match="TOKEN_EXPIRED"):
        greenroom.join(token=token)
    assert greenroom.join(token=token).state == "CONNECTED"


# Participants and scenarios


def test_a_participant_acts(greenroom, ivs, stage):
    bob = greenroom.join(stage, user_id="bob")
    alice = greenroom.join(stage, user_id="alice", attributes={"role": "host"}, publish=True)
    assert alice.publishing and alice.attributes == {"role": "host"}
    bob.subscribe(alice)
    assert bob.subscriptions == [alice.id]
    assert alice.mute("audio").muted == ["audio"]
    assert alice.unmute("audio").muted == []
    alice.exchange_token(attributes={"role": "guest"})
    bob.fail("INSUFFICIENT_CAPABILITIES", "PUBLISH_ERROR")
    assert bob.unsubscribe(alice).subscriptions == []
    alice.unpublish().reconnect()
    listed = {
        one["userId"]: one for one in ivs.list_participants(stageArn=stage, sessionId=alice.session_id)["participants"]
    }
    assert {name: one["state"] for name, one in listed.items()} == {"alice": "CONNECTED", "bob": "CONNECTED"}
    assert len(greenroom.participants.list(stage)) == 2
    assert alice.leave().state == "DISCONNECTED"
    events = ivs.list_participant_events(stageArn=stage, sessionId=alice.session_id, participantId=alice.id)["events"]
    names = {event["name"] for event in events}
    assert {"JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "TOKEN_EXCHANGED", "LEFT"} <= names


def test_a_participant_that_is_missing_is_an_error(greenroom):
    with pytest.raises(NotFound):
        greenroom.participants.get("ABCDEFghij01")
    with pytest.raises((NotFound, ValidationError)):
        greenroom.join("no-such-stage")


def test_a_scenario_runs_in_virtual_time(greenroom, ivs, stage):
    scenario = greenroom.scenario(stage)
    scenario.at(0).joins("alice", {"role": "host"}).viewers_join(5, over=1)
    scenario.at(2).publishes("alice")
    scenario.at("1h").everyone_leaves()
    run = scenario.run()
    assert run.state == "FINISHED" and set(run.participants) >= {"alice", "viewer-1", "viewer-5"}
    session = sessions_of(ivs, stage)[0]["sessionId"]
    found = ivs.list_participants(stageArn=stage, sessionId=session)["participants"]
    assert {one["state"] for one in found} == {"DISCONNECTED"} and len(found) == 6


def test_a_scenario_creates_its_stage_in_the_account_of_the_test(greenroom, ivs):
    greenroom.run_scenario("stage demo\nat 0s alice joins\nat 10s everyone leaves\n")
    assert [one["name"] for one in ivs.list_stages()["stages"]] == ["demo"]


def test_a_scenario_runs_in_real_time_until_it_is_stopped(greenroom, stage):
    run = greenroom.run_scenario("at 0s alice joins\nat 1h alice leaves", stage=stage, time="real")
    assert run.refresh().state == "RUNNING" and [one.id for one in greenroom.scenarios.list()] == [run.id]
    run.stop()
    assert all(one.state == "DISCONNECTED" for one in greenroom.participants.list(stage))


def test_an_error_of_a_scenario_names_the_line(greenroom, stage):
    with pytest.raises(ValidationError, match="line 2"):
        greenroom.run_scenario("at 0s alice joins\nat 1s alice dances", stage=stage)


# Faults


def test_a_fault_throttles_once_and_the_client_retries(greenroom, ivs):
    with greenroom.fault("CreateStage", throttle=1, count=1) as fault:
        assert fault.applied == 0
        ivs.create_stage(name="lobby")
        assert fault.applied == 1 and fault.matched >= 1
    assert [call.error for call in greenroom.calls("CreateStage")] == ["ThrottlingException", None]
    assert greenroom.faults.list() == []


def test_a_fault_raises_a_modelled_exception(greenroom, single):
    with greenroom.fault("CreateStage", exception="ConflictException", message="busy"):
        with pytest.raises(single.exceptions.ConflictException, match="busy"):
            single.create_stage(name="lobby")
        single.list_stages()
    single.create_stage(name="lobby")


def test_a_fault_after_the_request_leaves_its_effect(greenroom, single):
    with greenroom.fault("CreateStage", disconnect="afterRequest"), pytest.raises(Exception, match="(?i)connection"):
        single.create_stage(name="lobby")
    assert [one["name"] for one in single.list_stages()["stages"]] == ["lobby"]


def test_a_fault_has_a_status(greenroom, single):
    with greenroom.fault(["CreateStage", "ListStages"], status=503, body="down"), pytest.raises(ClientError) as caught:
        single.list_stages()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_a_fault_is_of_its_account(greenroom, greenroom_server):
    other = greenroom_server.isolated().client()
    with greenroom.fault("ListStages", status=500) as fault:
        other.list_stages()
        assert fault.matched == 0


def test_a_fault_of_an_unknown_operation_is_rejected(greenroom):
    with pytest.raises(ValidationError, match="(?i)operation"):
        greenroom.fault("MakeCoffee", status=500)


# Journal


def test_the_journal_has_the_calls(greenroom, ivs, stage):
    with pytest.raises(ClientError):
        ivs.get_stage(arn=stage[:-1] + ("a" if stage[-1] != "a" else "b"))
    create, get = greenroom.calls()
    assert (create.operation, create.input, create.status) == ("CreateStage", {"name": "lobby"}, 200)
    assert create.output["stage"]["arn"] == stage
    assert (get.error, get.status) == ("ResourceNotFoundException", 404)
    assert "ResourceNotFoundException" in str(get)
    greenroom.journal.clear()
    assert greenroom.calls() == []


def test_a_call_is_waited_for(greenroom, ivs, stage):
    call = greenroom.wait_for_call("CreateStage", input={"name": "lobby"})
    assert call.output["stage"]["arn"] == stage
    with pytest.raises(WaitTimeout, match="0 of 1 calls matched"):
        greenroom.wait_for_call("DeleteStage", timeout=0.1)
    with pytest.raises(WaitTimeout):
        greenroom.wait_for_call("CreateStage", after=call.sequence, timeout=0.1)


def test_an_event_is_waited_for(greenroom, stage):
    alice = greenroom.join(stage, user_id="alice", publish=True)
    event = greenroom.wait_for_event("Participant Published", user_id="alice")
    assert event.detail["participant_id"] == alice.id and event.envelope["resources"] == [stage]
    assert "Participant Published" in [one.name for one in greenroom.events()]
    with pytest.raises(WaitTimeout):
        greenroom.wait_for_event("Participant Unpublished", timeout=0.1)


def test_conflicts_have_their_own_class(greenroom, stage):
    alice = greenroom.join(stage, user_id="alice")
    alice.leave()
    with pytest.raises((Conflict, ValidationError)):
        alice.publish()
