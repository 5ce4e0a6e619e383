"""Participant replication: start, stop and list."""

import pytest

from tenant import conflicting, invalid, missing, over_quota, refused


def start(tenant, source, destination, participant, **members):
    tenant.ivs.start_participant_replication(
        sourceStageArn=source, destinationStageArn=destination, participantId=participant, **members
    )


def stop(tenant, source, destination, participant):
    tenant.ivs.stop_participant_replication(
        sourceStageArn=source, destinationStageArn=destination, participantId=participant
    )


def replicas(tenant, source, participant):
    return tenant.ivs.list_participant_replicas(sourceStageArn=source, participantId=participant)["replicas"]


def active(tenant, source, participant):
    return [r for r in replicas(tenant, source, participant) if r["replicationState"] == "ACTIVE"]


def names(tenant, stage, session, participant):
    return [event["name"] for event in tenant.events(stage, session, participant)]


@pytest.fixture
def show(tenant):
    """A source stage with its session and publisher, and a destination stage."""
    source = tenant.stage()
    session, publisher = tenant.publish(source, userId="alice", attributes={"a": "1", "b": "2"})
    return source, session, publisher, tenant.stage()


def test_a_replica_takes_part_in_the_destination(tenant, ivs, show):
    source, source_session, publisher, destination = show
    start(tenant, source, destination, publisher, attributes={"b": "changed", "c": "3"})
    session = ivs.get_stage(arn=destination)["stage"]["activeSessionId"]
    replica = tenant.participant(destination, session, publisher)
    assert replica["state"] == "CONNECTED"
    assert replica["published"] is True
    assert replica["userId"] == "alice"
    assert replica["attributes"] == {"a": "1", "b": "changed", "c": "3"}
    assert replica["replicationType"] == "REPLICA"
    assert replica["replicationState"] == "ACTIVE"
    assert (replica["sourceStageArn"], replica["sourceSessionId"]) == (source, source_session)
    assert names(tenant, destination, session, publisher) == ["JOINED", "PUBLISH_STARTED"]
    assert {event.get("replica") for event in tenant.events(destination, session, publisher)} == {True}
    summary = ivs.list_participants(stageArn=destination, sessionId=session)["participants"][0]
    assert (summary["replicationType"], summary["sourceStageArn"]) == ("REPLICA", source)


def test_the_source_tells_of_the_replication(tenant, ivs, show):
    source, session, publisher, destination = show
    start(tenant, source, destination, publisher)
    found = tenant.participant(source, session, publisher)
    assert (found["replicationType"], found["replicationState"]) == ("SOURCE", "ACTIVE")
    assert (found["sourceStageArn"], found["sourceSessionId"]) == ("", "")
    assert found["attributes"] == {"a": "1", "b": "2"}
    told = tenant.events(source, session, publisher)[-1]
    assert told["name"] == "REPLICATION_STARTED"
    assert told["destinationStageArn"] == destination
    assert told["destinationSessionId"] == ivs.get_stage(arn=destination)["stage"]["activeSessionId"]


def test_the_replicas_of_a_participant_are_listed(tenant, ivs, show):
    source, session, publisher, destination = show
    assert replicas(tenant, source, publisher) == []
    start(tenant, source, destination, publisher)
    assert replicas(tenant, source, publisher) == [
        {
            "sourceStageArn": source,
            "participantId": publisher,
            "sourceSessionId": session,
            "destinationStageArn": destination,
            "destinationSessionId": ivs.get_stage(arn=destination)["stage"]["activeSessionId"],
            "replicationState": "ACTIVE",
        }
    ]


def test_a_replica_joins_the_session_that_is_open(tenant, show):
    source, _, publisher, destination = show
    session, _ = tenant.join(destination)
    start(tenant, source, destination, publisher)
    assert replicas(tenant, source, publisher)[0]["destinationSessionId"] == session


def test_a_stopped_replication_leaves_the_destination_and_is_told(tenant, show):
    source, source_session, publisher, destination = show
    start(tenant, source, destination, publisher)
    session = replicas(tenant, source, publisher)[0]["destinationSessionId"]
    stop(tenant, source, destination, publisher)
    assert active(tenant, source, publisher) == []
    told = names(tenant, destination, session, publisher)
    assert told == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]
    replica = tenant.participant(destination, session, publisher)
    assert (replica["state"], replica["replicationState"]) == ("DISCONNECTED", "STOPPED")
    last = tenant.events(source, source_session, publisher)[-1]
    assert (last["name"], last["destinationSessionId"]) == ("REPLICATION_STOPPED", session)
    found = tenant.participant(source, source_session, publisher)
    assert (found["state"], found["replicationState"]) == ("CONNECTED", "STOPPED")


def test_what_is_not_replicated_cannot_be_stopped(tenant, show):
    source, _, publisher, destination = show
    with refused("ResourceNotFoundException"):
        stop(tenant, source, destination, publisher)
    start(tenant, source, destination, publisher)
    stop(tenant, source, destination, publisher)
    with refused("ResourceNotFoundException"):
        stop(tenant, source, destination, publisher)
    start(tenant, source, destination, publisher)
    assert len(active(tenant, source, publisher)) == 1


def test_a_replication_runs_once_to_each_destination(tenant, show):
    source, _, publisher, destination = show
    start(tenant, source, destination, publisher)
    with conflicting():
        start(tenant, source, destination, publisher)
    assert len(replicas(tenant, source, publisher)) == 1


def test_only_a_publisher_is_replicated(tenant, show):
    source, _, publisher, destination = show
    _, listener = tenant.join(source)
    with conflicting():
        start(tenant, source, destination, listener)
    tenant.act("unpublish", source, publisher)
    with conflicting():
        start(tenant, source, destination, publisher)
    with refused("ResourceNotFoundException"):
        start(tenant, source, destination, "unknown")


def test_a_stage_is_not_replicated_to_itself(tenant, show):
    source, _, publisher, _ = show
    with invalid("destinationStageArn"):
        start(tenant, source, source, publisher)


def test_both_stages_must_exist_here(tenant, greenroom, show):
    source, _, publisher, destination = show
    for other in (tenant.arn("stage"), greenroom.tenant().stage(), tenant.elsewhere().stage()):
        for call in (start, stop):
            with missing(other):
                call(tenant, source, other, publisher)
            with missing(other):
                call(tenant, other, destination, publisher)
        assert replicas(tenant, other, publisher) == []


def test_a_stranger_sees_no_replicas(tenant, greenroom, show):
    source, _, publisher, destination = show
    start(tenant, source, destination, publisher)
    assert replicas(greenroom.tenant(), source, publisher) == []
    assert replicas(tenant, source, "unknown") == []


def test_a_participant_is_replicated_five_times_at_once(tenant, show):
    source, _, publisher, first = show
    start(tenant, source, first, publisher)
    for _ in range(4):
        start(tenant, source, tenant.stage(), publisher)
    sixth = tenant.stage()
    with over_quota():
        start(tenant, source, sixth, publisher)
    stop(tenant, source, first, publisher)
    start(tenant, source, sixth, publisher)
    assert len(active(tenant, source, publisher)) == 5


@pytest.mark.parametrize("verb", ["unpublish", "leave"])
def test_a_replication_ends_with_the_publishing(tenant, show, verb):
    source, session, publisher, destination = show
    start(tenant, source, destination, publisher)
    tenant.act(verb, source, publisher)
    assert active(tenant, source, publisher) == []
    assert "REPLICATION_STOPPED" in names(tenant, source, session, publisher)
    with refused("ResourceNotFoundException"):
        stop(tenant, source, destination, publisher)


def test_a_replication_outlives_an_interruption_within_its_window(tenant, show):
    source, _, publisher, destination = show
    start(tenant, source, destination, publisher, reconnectWindowSeconds=30)
    tenant.act("unpublish", source, publisher)
    tenant.advance(29)
    assert len(active(tenant, source, publisher)) == 1
    tenant.act("publish", source, publisher)
    tenant.advance(100)
    assert len(active(tenant, source, publisher)) == 1
    tenant.act("leave", source, publisher)
    tenant.advance(31)
    assert active(tenant, source, publisher) == []


def test_attributes_hold_1024_bytes_of_utf_8(tenant, show):
    source, _, publisher, destination = show
    with invalid("attributes"):
        start(tenant, source, destination, publisher, attributes={"ä": "ö" * 511 + "x"})
    start(tenant, source, destination, publisher, attributes={"ä": "ö" * 500})


def test_deleting_the_destination_ends_the_replication(tenant, ivs, show):
    source, _, publisher, destination = show
    start(tenant, source, destination, publisher)
    ivs.delete_stage(arn=destination)
    assert active(tenant, source, publisher) == []
