"""Stage sessions: they open with the first to join, end, and stay readable."""

import pytest

from tenant import refused


def sessions(tenant, stage):
    return tenant.ivs.list_stage_sessions(stageArn=stage)["stageSessions"]


def test_a_stage_has_no_session_before_anyone_joins(tenant, ivs):
    stage = tenant.stage()
    tenant.token(stage)
    assert sessions(tenant, stage) == []
    assert ivs.get_stage(arn=stage)["stage"]["activeSessionId"] == ""


def test_the_first_to_join_opens_the_session_and_the_second_shares_it(tenant, ivs):
    stage = tenant.stage()
    session, participant = tenant.join(stage)
    tenant.advance(1)
    assert tenant.join(stage)[0] == session
    found = ivs.get_stage_session(stageArn=stage, sessionId=session)["stageSession"]
    assert found.keys() == {"sessionId", "startTime"}
    assert found["sessionId"] == session
    assert found["startTime"] == tenant.participant(stage, session, participant)["firstJoinTime"]
    assert sessions(tenant, stage) == [found]
    assert ivs.get_stage(arn=stage)["stage"]["activeSessionId"] == session


def test_an_ended_session_has_an_end_time_and_no_connected_participants(tenant, ivs):
    stage = tenant.stage()
    session, participant = tenant.join(stage)
    tenant.advance(5)
    tenant.test_server.do("end-session", stage=stage)
    found = ivs.get_stage_session(stageArn=stage, sessionId=session)["stageSession"]
    assert (found["endTime"] - found["startTime"]).total_seconds() == 5
    assert sessions(tenant, stage) == [found]
    assert ivs.get_stage(arn=stage)["stage"]["activeSessionId"] == ""
    assert tenant.participant(stage, session, participant)["state"] == "DISCONNECTED"


def test_joining_after_the_end_opens_a_new_session_which_is_listed_first(tenant):
    stage = tenant.stage()
    first, participant = tenant.join(stage)
    tenant.test_server.do("end-session", stage=stage)
    tenant.advance(1)
    second, _ = tenant.join(stage, participant)
    assert second != first
    assert [s["sessionId"] for s in sessions(tenant, stage)] == [second, first]
    assert tenant.participant(stage, first, participant)["state"] == "DISCONNECTED"
    assert tenant.participant(stage, second, participant)["state"] == "CONNECTED"


def test_a_session_is_found_only_on_its_stage_and_by_its_account(tenant, ivs, greenroom):
    stage, other = tenant.stage(), tenant.stage()
    session, _ = tenant.join(stage)
    for arn, name in (
        (tenant.arn("stage"), session),
        (greenroom.tenant().stage(), session),
        (other, session),
        (stage, "st-unknownunkno1"),
    ):
        with refused("ResourceNotFoundException", arn):
            ivs.get_stage_session(stageArn=arn, sessionId=name)
    with refused("ResourceNotFoundException", stage):
        greenroom.tenant().ivs.get_stage_session(stageArn=stage, sessionId=session)


def test_the_sessions_of_a_stage_that_does_not_exist_here_are_none(tenant, greenroom):
    stranger = greenroom.tenant()
    stage = stranger.stage()
    stranger.join(stage)
    for arn in (tenant.arn("stage"), stage):
        assert sessions(tenant, arn) == []
    assert sessions(tenant.elsewhere(), stage) == []


@pytest.mark.parametrize("session", ["st-short", "st-waytoolongforone", "xx-abcdefghijklm"])
def test_a_session_id_is_held_to_its_shape(tenant, session):
    where = {"stageArn": tenant.stage(), "sessionId": session}
    for operation, members in (("GetStageSession", where), ("GetParticipant", {**where, "participantId": "someone"})):
        answer = tenant.wire.call(operation, members)
        assert (answer.fault, "'sessionId'" in answer.text) == ("ValidationException", True), operation
