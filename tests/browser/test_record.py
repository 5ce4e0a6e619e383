"""The API's record of participants in pages."""

from datetime import datetime, timedelta, timezone

from conftest import SESSION_END_SECONDS
from record import Record

TOLERANCE = timedelta(milliseconds=100)


def test_the_record_has_all_events_in_order(tenant, stage, participant):
    record = Record(tenant.ivs, stage)
    assert record.sessions() == []
    began = datetime.now(timezone.utc)
    alice = participant("alice", attributes={"role": "host"}).publish("pattern")
    bob = participant("bob")
    bob.receives(alice.id)
    there = record.participants()
    assert {id: (one["userId"], one["state"], one["published"]) for id, one in there.items()} == {
        alice.id: ("alice", "CONNECTED", True),
        bob.id: ("bob", "CONNECTED", False),
    }
    assert record.story(alice.id) == ["JOINED", "PUBLISH_STARTED"]
    assert record.story(bob.id) == ["JOINED", f"SUBSCRIBE_STARTED {alice.id}"]

    bob.click_button("Leave")
    record.gone(bob.id)
    assert record.story(bob.id) == ["JOINED", f"SUBSCRIBE_STARTED {alice.id}", f"SUBSCRIBE_STOPPED {alice.id}", "LEFT"]
    alice.click_button("Unpublish")
    alice.ended()
    alice.click_button("Leave")
    left = record.gone(alice.id)
    assert record.story(alice.id) == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]
    assert left["published"] is True and left["attributes"] == {"role": "host"}

    ended = record.ended_session()
    first, last = record.events(alice.id)[0]["eventTime"], record.events(alice.id)[-1]["eventTime"]
    assert began - TOLERANCE <= first and abs(ended["startTime"] - first) <= TOLERANCE
    assert ended["endTime"] - last >= timedelta(seconds=SESSION_END_SECONDS)
    assert len(record.sessions()) == 1


def test_the_browser_is_recorded(tenant, stage, participant, chromium):
    alice = participant("alice").publish("pattern")
    known = Record(tenant.ivs, stage).participant(alice.id)
    assert "Chrom" in known["browserName"], known
    assert chromium.version.startswith(known["browserVersion"].split(".")[0] + "."), known
    assert known["osName"].startswith("Linux") and known["protocol"] == "WHIP", known


def test_the_events_of_a_disconnected_participant_are_in_order(tenant, stage, participant):
    alice, bob = participant("alice").publish("pattern"), participant("bob").publish("pattern")
    alice.receives(bob.id)
    bob.receives(alice.id)
    record = Record(tenant.ivs, stage)
    tenant.ivs.disconnect_participant(stageArn=stage, participantId=alice.id)
    record.gone(alice.id)
    story = record.story(alice.id)
    assert story[0] == "JOINED" and story[-1] == "LEFT"
    assert sorted(story[1:3]) == ["PUBLISH_STARTED", f"SUBSCRIBE_STARTED {bob.id}"]
    assert sorted(story[3:5]) == ["PUBLISH_STOPPED", f"SUBSCRIBE_STOPPED {bob.id}"] and len(story) == 6
    bob.ended(alice.id)
    assert f"SUBSCRIBE_STOPPED {alice.id}" in record.story(bob.id)


def test_joining_after_the_end_opens_a_new_session(tenant, stage, participant):
    record = Record(tenant.ivs, stage)
    participant("alice").click_button("Leave")
    first = record.ended_session()
    participant("bob")
    sessions = record.sessions()
    assert len(sessions) == 2 and sessions[0]["sessionId"] != first["sessionId"]
    assert "endTime" not in sessions[0] and sessions[1] == first


def test_a_participant_without_media_has_only_joined(tenant, stage, participant):
    alice = participant("alice")
    record = Record(tenant.ivs, stage)
    assert record.story(alice.id) == ["JOINED"]
    assert record.participant(alice.id)["published"] is False
