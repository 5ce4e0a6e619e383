"""EventBridge targets: delivery through a rule to a queue, batches, and rejected entries."""

import json

import pytest

from eventbridge import RejectingBus, Moto
from receiver import log, status, until
from test_webhooks import create_participants, publish_and_unpublish


@pytest.fixture(scope="module")
def moto():
    with Moto() as moto:
        yield moto


@pytest.fixture
def rejecting_bus():
    with RejectingBus() as bus:
        yield bus


def test_events_are_delivered_through_a_rule_to_a_queue(start_test_server, targets, moto):
    server = start_test_server("--events-config", targets(bus=moto.target(id_member="greenroom_id")))
    tenant = server.tenant()
    publish_and_unpublish(tenant, create_participants(tenant, 3), 4)
    logged_events = log(server)
    received = moto.received(len(logged_events))
    assert {event["source"] for event in received} == {"greenroom.ivs"}

    def comparable(event, event_id):
        detail = {name: value for name, value in event["detail"].items() if name != "greenroom_id"}
        return event_id, event["detail-type"], tuple(event["resources"]), event["time"], json.dumps(detail, sort_keys=True)

    expected = sorted(comparable(event, event["id"]) for event in logged_events)
    actual = sorted(comparable(event, event["detail"]["greenroom_id"]) for event in received)
    assert actual == expected, "each event once and complete"
    assert (len(received), status(server, "bus")["delivered"]) == (24, 24)


def test_batches_have_one_entry_per_stage_and_rejected_entries_are_retried(start_test_server, targets, rejecting_bus):
    server = start_test_server("--events-config", targets(bus=rejecting_bus.target(concurrency=1)))
    tenant = server.tenant()
    participants = create_participants(tenant, 12)
    rejected_participant = participants[0][1]
    rejecting_bus.error_of = lambda detail: "ThrottlingException" if detail["participant_id"] == rejected_participant else None
    publish_and_unpublish(tenant, participants, 5)
    until(lambda: len(rejecting_bus.accepted) == 110, lambda: len(rejecting_bus.accepted))
    until(lambda: status(server, "bus")["lagEvents"] == 0)
    shown = status(server, "bus")
    assert shown["parked"] == 10 and "ThrottlingException" in shown["error"]
    assert all(len(entries) <= 10 for entries in rejecting_bus.requests)
    for entries in rejecting_bus.requests:
        stages = [entry["Resources"][0] for entry in entries]
        assert len(stages) == len(set(stages))
    rejecting_bus.error_of = lambda detail: None
    tenant.advance(300)
    until(lambda: len(rejecting_bus.accepted) == 120)
    assert {entry["Source"] for entry in rejecting_bus.accepted} == {"aws.ivs"}, "the aws.ivs source is allowed for emulators"
    for stage, _ in participants:
        names = [json.loads(e["Detail"])["event_name"] for e in rejecting_bus.accepted if e["Resources"] == [stage]]
        assert names == ["Participant Published", "Participant Unpublished"] * 5


def test_an_unreachable_bus_is_retried_without_delaying_other_targets(start_test_server, targets, moto, receiver):
    config = targets(bus=moto.target(endpoint_url="http://127.0.0.1:1"), hook=receiver.target())
    server = start_test_server("--events-config", config)
    tenant = server.tenant()
    publish_and_unpublish(tenant, create_participants(tenant, 2))
    receiver.wait_for_accepted(4)
    until(lambda: status(server, "bus")["failingSince"])
    assert status(server, "bus")["error"]


def test_a_failing_bus_is_logged_without_secrets(start_test_server, targets, moto):
    target = moto.target(bus="no-such-bus")
    server = start_test_server("--events-config", targets(bus=target))
    tenant = server.tenant()
    publish_and_unpublish(tenant, create_participants(tenant, 1))
    until(lambda: status(server, "bus")["error"] or status(server, "bus")["delivered"])
    logged = server.test_server.logged()
    assert target["secret_access_key"] not in logged
