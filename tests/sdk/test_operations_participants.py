"""Participants and their events: get, list, filter and disconnect."""

import pytest

from tenant import invalid, missing, refused

CLIENT = {
    "browserName": "Google Chrome",
    "browserVersion": "116",
    "osName": "macOS",
    "osVersion": "13",
    "sdkVersion": "1.5.0",
    "ispName": "X",
}


def ids(participants):
    return [participant["participantId"] for participant in participants]


def names(events):
    return [event["name"] for event in events]


def listed(tenant, stage, session, **filters):
    return tenant.ivs.list_participants(stageArn=stage, sessionId=session, **filters)["participants"]


def test_a_participant_tells_all_that_is_known_of_it(tenant):
    stage = tenant.stage()
    token = tenant.token(stage)["participantId"]
    members = {"userId": "alice", "attributes": {"seat": "1"}, "protocol": "WHIP", "client": CLIENT}
    session, participant = tenant.join(stage, token, **members)
    found = tenant.participant(stage, session, participant)
    first_join = found.pop("firstJoinTime")
    assert first_join == tenant.events(stage, session, participant)[0]["eventTime"]
    assert found == {
        **CLIENT,
        "participantId": token,
        "userId": "alice",
        "state": "CONNECTED",
        "attributes": {"seat": "1"},
        "published": False,
        "recordingS3BucketName": "",
        "recordingS3Prefix": "",
        "recordingState": "DISABLED",
        "protocol": "WHIP",
        "redundantIngest": False,
    }


def test_what_is_unknown_of_a_participant_is_empty(tenant):
    stage = tenant.stage()
    session, participant = tenant.join(stage)
    found = tenant.participant(stage, session, participant)
    assert {name: found[name] for name in CLIENT} == dict.fromkeys(CLIENT, "")
    assert found["userId"] == ""
    assert found["attributes"] == {}
    assert found["protocol"] == "UNKNOWN"
    assert not found.keys() & {"replicationType", "replicationState", "sourceStageArn", "sourceSessionId"}


def test_a_participant_who_ever_published_stays_published(tenant):
    stage = tenant.stage()
    session, participant = tenant.publish(stage)
    assert tenant.participant(stage, session, participant)["published"] is True
    tenant.act("unpublish", stage, participant)
    assert tenant.participant(stage, session, participant)["published"] is True


def test_the_recording_of_a_participant_is_told(tenant):
    stage = tenant.stage()
    session, participant = tenant.publish(stage)
    tenant.act("recording", stage, participant, state="ACTIVE", bucket="my-bucket", prefix="a-prefix")
    found = tenant.participant(stage, session, participant)
    assert found["recordingState"] == "ACTIVE"
    assert found["recordingS3BucketName"] == "my-bucket"
    assert found["recordingS3Prefix"] == "a-prefix"


def test_participants_are_listed_by_first_join_as_summaries(tenant):
    stage = tenant.stage()
    session, first = tenant.join(stage, userId="a")
    tenant.advance(1)
    _, second = tenant.join(stage)
    tenant.act("leave", stage, first)
    tenant.advance(1)
    tenant.join(stage, first, userId="a")
    found = listed(tenant, stage, session)
    assert ids(found) == [first, second]
    assert found[0].pop("firstJoinTime") < found[1].pop("firstJoinTime")
    assert found[0] == {
        "participantId": first,
        "userId": "a",
        "state": "CONNECTED",
        "published": False,
        "recordingState": "DISABLED",
        "redundantIngest": False,
    }


@pytest.fixture
def crowd(tenant):
    """A stage with a spectator, a publisher, one who left, and one who is recorded, by these names."""
    stage = tenant.stage()
    session, _ = tenant.join(stage, userId="spectator")
    tenant.advance(1)
    tenant.publish(stage, userId="publisher")
    tenant.advance(1)
    _, gone = tenant.join(stage, userId="gone")
    tenant.act("leave", stage, gone)
    tenant.advance(1)
    _, recorded = tenant.publish(stage, userId="recorded")
    tenant.act("recording", stage, recorded, state="ACTIVE")
    return stage, session


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["spectator", "publisher", "gone", "recorded"]),
        ({"filterByUserId": "publisher"}, ["publisher"]),
        ({"filterByUserId": "nobody"}, []),
        ({"filterByPublished": True}, ["publisher", "recorded"]),
        ({"filterByPublished": False}, ["spectator", "gone"]),
        ({"filterByState": "CONNECTED"}, ["spectator", "publisher", "recorded"]),
        ({"filterByState": "DISCONNECTED"}, ["gone"]),
        ({"filterByRecordingState": "ACTIVE"}, ["recorded"]),
        ({"filterByRecordingState": "FAILED"}, []),
    ],
)
def test_one_filter_at_a_time_narrows_the_list(tenant, crowd, filters, expected):
    stage, session = crowd
    assert [p["userId"] for p in listed(tenant, stage, session, **filters)] == expected
    assert [p["userId"] for p in tenant.walk("ListParticipants", 1, stageArn=stage, sessionId=session, **filters)] == (
        expected
    )


@pytest.mark.parametrize(
    "filters",
    [
        {"filterByUserId": "a", "filterByPublished": True},
        {"filterByState": "CONNECTED", "filterByRecordingState": "ACTIVE"},
        {"filterByPublished": False, "filterByState": "CONNECTED"},
    ],
)
def test_two_filters_at_once_are_invalid(tenant, filters):
    with invalid("filter"):
        listed(tenant, tenant.stage(), "st-abcdefghijklm", **filters)


def test_the_lists_of_an_unknown_stage_or_session_are_empty(tenant):
    stage = tenant.stage()
    session, participant = tenant.join(stage)
    for where in ((stage, "st-unknownunkno1"), (tenant.arn("stage"), session)):
        assert listed(tenant, *where) == []
        assert tenant.events(*where, participant) == []
    assert tenant.events(stage, session, "unknown") == []


def test_a_participant_is_found_only_where_it_took_part(tenant, greenroom):
    stage = tenant.stage()
    session, participant = tenant.join(stage)
    stranger = greenroom.tenant()
    with refused("ResourceNotFoundException", stage):
        stranger.participant(stage, session, participant)
    for where in (
        (stage, session, "unknown"),
        (stage, "st-unknownunkno1", participant),
        (tenant.arn("stage"), session, participant),
    ):
        with refused("ResourceNotFoundException", where[0]):
            tenant.participant(*where)
    assert listed(stranger, stage, session) == []
    assert stranger.events(stage, session, participant) == []


def test_events_tell_the_story_of_a_participant_oldest_first(tenant):
    stage = tenant.stage()
    session, speaker = tenant.publish(stage)
    _, listener = tenant.join(stage)
    for verb in ("subscribe", "unsubscribe"):
        tenant.advance(1)
        tenant.act(verb, stage, listener, remote=speaker)
    tenant.advance(1)
    tenant.act("leave", stage, listener)
    events = tenant.events(stage, session, listener)
    assert names(events) == ["JOINED", "SUBSCRIBE_STARTED", "SUBSCRIBE_STOPPED", "LEFT"]
    assert [e.get("remoteParticipantId") for e in events] == [None, speaker, speaker, None]
    assert {e["participantId"] for e in events} == {listener}
    assert [(e["eventTime"] - events[0]["eventTime"]).total_seconds() for e in events] == [0, 1, 2, 3]


def test_publishing_is_told_by_events_and_ends_before_leaving(tenant):
    stage = tenant.stage()
    session, participant = tenant.publish(stage)
    tenant.act("unpublish", stage, participant)
    tenant.act("publish", stage, participant)
    tenant.act("leave", stage, participant)
    published = ["PUBLISH_STARTED", "PUBLISH_STOPPED"]
    assert names(tenant.events(stage, session, participant)) == ["JOINED", *published, *published, "LEFT"]
    assert tenant.participant(stage, session, participant)["state"] == "DISCONNECTED"


@pytest.mark.parametrize("event", ["PUBLISH_ERROR", "SUBSCRIBE_ERROR", "JOIN_ERROR"])
def test_an_error_event_tells_its_code(tenant, event):
    stage = tenant.stage()
    session, participant = tenant.join(stage)
    tenant.act("error", stage, participant, event=event, code="BITRATE_EXCEEDED")
    told = tenant.events(stage, session, participant)[-1]
    assert (told["name"], told["errorCode"]) == (event, "BITRATE_EXCEEDED")


def test_a_token_exchange_tells_the_token_before_and_after(tenant):
    stage = tenant.stage()
    session, participant = tenant.join(stage, userId="old", attributes={"a": "1"})
    tenant.act("exchange", stage, participant, userId="new", attributes={"b": "2"}, capabilities=["SUBSCRIBE"])
    told = tenant.events(stage, session, participant)[-1]
    assert told["name"] == "TOKEN_EXCHANGED"
    assert told["previousToken"]["userId"] == "old"
    assert told["previousToken"]["attributes"] == {"a": "1"}
    assert told["newToken"]["userId"] == "new"
    assert told["newToken"]["attributes"] == {"b": "2"}
    assert told["newToken"]["capabilities"] == ["SUBSCRIBE"]
    found = tenant.participant(stage, session, participant)
    assert (found["userId"], found["attributes"]) == ("new", {"b": "2"})


def test_a_disconnected_participant_has_left_and_cannot_return(tenant, ivs):
    stage = tenant.stage()
    session, participant = tenant.publish(stage)
    ivs.disconnect_participant(stageArn=stage, participantId=participant, reason="enough")
    assert tenant.participant(stage, session, participant)["state"] == "DISCONNECTED"
    assert names(tenant.events(stage, session, participant))[-2:] == ["PUBLISH_STOPPED", "LEFT"]
    assert "error" in tenant.test_server.ask("join", stage=stage, participant=participant)
    ivs.disconnect_participant(stageArn=stage, participantId=participant)
    assert names(tenant.events(stage, session, participant)).count("LEFT") == 1


def test_a_participant_who_has_not_joined_yet_is_kept_out_of_that_stage_only(tenant, ivs):
    stage, other = tenant.stage(), tenant.stage()
    participant = tenant.token(stage)["participantId"]
    ivs.disconnect_participant(stageArn=stage, participantId=participant)
    assert "error" in tenant.test_server.ask("join", stage=stage, participant=participant)
    tenant.join(other, participant)


def test_disconnecting_needs_an_existing_stage_and_a_participant_id(tenant, ivs, greenroom):
    for stage in (tenant.arn("stage"), greenroom.tenant().stage(), tenant.elsewhere().stage()):
        with missing(stage):
            ivs.disconnect_participant(stageArn=stage, participantId="anyone")
    with invalid("participantId"):
        ivs.disconnect_participant(stageArn=tenant.stage(), participantId="")


def test_disconnecting_the_participant_of_an_ingest_configuration_detaches_it(tenant, ivs):
    stage = tenant.stage()
    ingest = tenant.ingest(stageArn=stage)
    tenant.join(stage, ingest["participantId"])
    ivs.disconnect_participant(stageArn=stage, participantId=ingest["participantId"])
    assert ivs.get_ingest_configuration(arn=ingest["arn"])["ingestConfiguration"]["stageArn"] == ""
