"""Webhooks: signatures, order, at-least-once delivery, and receivers that are slow, down or reject events."""

import threading
import time

import pytest
from standardwebhooks.webhooks import Webhook

from receiver import SECRET, Reply, by_stage, command, log, status, until


def create_participants(tenant, stages=3):
    """Creates stages with one participant each; returns pairs of stage and participant."""
    made = [tenant.stage() for _ in range(stages)]
    return [(stage, tenant.join(stage)[1]) for stage in made]


def publish_and_unpublish(tenant, participants, times=1):
    """Every participant publishes and unpublishes this many times: two events each time."""
    for _ in range(times):
        for verb in ("publish", "unpublish"):
            for stage, participant in participants:
                tenant.act(verb, stage, participant)


def test_events_are_delivered_signed_complete_and_in_order_per_stage(start_test_server, targets, receiver):
    server = start_test_server("--events-config", targets(hook=receiver.target()))
    tenant = server.tenant()
    participants = create_participants(tenant)
    publish_and_unpublish(tenant, participants, 5)
    accepted = receiver.wait_for_accepted(30)
    assert sorted(event["id"] for event in log(server)) == sorted(receiver.ids()), "each event once"
    assert by_stage(delivery.event for delivery in accepted) == by_stage(log(server))
    first = accepted[0]
    assert Webhook(SECRET).verify(first.body, first.headers) == first.event
    assert first.event in log(server)
    assert first.headers["content-type"] == "application/json"
    assert first.headers["user-agent"].startswith("greenroom/")
    shown = status(server, "hook")
    assert (shown["lagEvents"], shown["parked"], shown["dead"], shown["error"]) == (0, 0, 0, None)
    assert shown["delivered"] == 30


def test_two_secrets_sign_during_a_rotation(start_test_server, targets, receiver):
    receiver.secrets.append("whsec_" + "QUFB" * 8)
    server = start_test_server("--events-config", targets(hook=receiver.target(secret=receiver.secrets)))
    tenant = server.tenant()
    publish_and_unpublish(tenant, create_participants(tenant, 1))
    receiver.wait_for_accepted(2)


def test_a_target_has_its_own_pattern_and_source(start_test_server, targets, receivers):
    some, all_of_them = receivers(), receivers()
    pattern = {"detail": {"event_name": [{"suffix": "Unpublished"}]}, "source": ["aws.ivs"]}
    config = targets(some=some.target(pattern=pattern, source="acme.ivs"), all_of_them=all_of_them.target())
    server = start_test_server("--events-config", config)
    tenant = server.tenant()
    publish_and_unpublish(tenant, create_participants(tenant, 2), 2)
    all_of_them.wait_for_accepted(8)
    accepted = some.wait_for_accepted(4)
    assert {(delivery.name, delivery.event["source"]) for delivery in accepted} == {("Participant Unpublished", "acme.ivs")}
    assert {delivery.event["source"] for delivery in all_of_them.accepted} == {"aws.ivs"}
    until(lambda: status(server, "some")["lagEvents"] == 0)


def test_slow_and_unreachable_receivers_delay_neither_other_targets_nor_requests(start_test_server, targets, receivers):
    good, slow, dead = receivers(), receivers(), receivers()
    dead.close()
    release = threading.Event()
    slow.respond = lambda event: release.wait(120) and Reply() or Reply()
    config = targets(good=good.target(), slow=slow.target(timeout_seconds=300), dead=dead.target())
    server = start_test_server("--events-config", config)
    tenant = server.tenant()
    participants = create_participants(tenant)
    start = time.monotonic()
    publish_and_unpublish(tenant, participants, 5)
    duration = time.monotonic() - start
    good.wait_for_accepted(30)
    assert not slow.accepted, "the slow receiver has not responded to its first delivery yet"
    print(f"\n30 changes took {duration:.2f} s with a slow and an unreachable receiver")
    until(lambda: status(server, "dead")["failingSince"])
    release.set()
    slow.wait_for_accepted(30)
    assert by_stage(delivery.event for delivery in slow.accepted) == by_stage(log(server))
    assert status(server, "dead")["lagEvents"] > 0


def test_events_are_delivered_in_order_after_an_hour_of_downtime(start_test_server, targets, receiver):
    server = start_test_server("--events-config", targets(hook=receiver.target()))
    tenant = server.tenant()
    participants = create_participants(tenant, 5)
    publish_and_unpublish(tenant, participants)
    receiver.wait_for_accepted(10)
    receiver.close()
    for minute in range(60):
        publish_and_unpublish(tenant, participants)
        tenant.advance(60)
    until(lambda: status(server, "hook")["failingSince"])
    shown = status(server, "hook")
    assert (shown["parked"], shown["dead"]) == (0, 0), "the cursor does not advance"
    assert shown["error"]
    receiver.open()
    start = time.monotonic()
    wait = 0
    while len(receiver.accepted) == 10 and wait < 600:
        tenant.advance(10)
        wait += 10
        time.sleep(0.05)
    accepted = receiver.wait_for_accepted(610)
    duration = time.monotonic() - start
    events = log(server)
    assert by_stage(delivery.event for delivery in accepted) == by_stage(events)
    duplicates = len(receiver.ids()) - len(set(receiver.ids()))
    print(f"\nan hour of {len(events) - 10} events were delivered in {duration:.1f} s, {duplicates} duplicates")
    until(lambda: status(server, "hook")["lagEvents"] == 0)
    assert status(server, "hook")["failingSince"] is None


def test_a_rejected_event_delays_only_its_stage(start_test_server, targets, receiver):
    server = start_test_server("--events-config", targets(hook=receiver.target()))
    tenant = server.tenant()
    participants = create_participants(tenant, 4)
    failing_stage, working = participants[0][0], participants[1:]
    receiver.respond = lambda event: Reply(500) if event["resources"] == [failing_stage] else Reply()
    publish_and_unpublish(tenant, participants, 10)
    receiver.wait_for_accepted(60)
    assert {delivery.stage for delivery in receiver.accepted} == {stage for stage, _ in working}
    until(lambda: status(server, "hook")["lagEvents"] == 0, lambda: status(server, "hook"))
    shown = status(server, "hook")
    assert (shown["parked"], shown["dead"]) == (20, 0)
    assert "500" in shown["error"]
    receiver.respond = lambda event: Reply()
    publish_and_unpublish(tenant, participants[:1], 2)
    tenant.advance(3600)
    receiver.wait_for_accepted(84)
    assert by_stage(delivery.event for delivery in receiver.accepted) == by_stage(log(server))
    until(lambda: status(server, "hook")["parked"] == 0)


def test_expired_retries_are_dead_letters_until_redriven_or_dropped(start_test_server, targets, receiver):
    hook = receiver.target(retry_seconds=600)
    server = start_test_server("--events-config", targets(hook=hook))
    tenant = server.tenant()
    participants = create_participants(tenant, 3)
    failing_stage = participants[0][0]
    receiver.respond = lambda event: Reply(503) if event["resources"] == [failing_stage] else Reply()
    publish_and_unpublish(tenant, participants, 2)
    receiver.wait_for_accepted(8)
    until(lambda: status(server, "hook")["parked"] == 4)

    def dead():
        tenant.advance(300)
        time.sleep(0.1)
        return status(server, "hook")["dead"] == 4

    until(dead, lambda: status(server, "hook"))
    page = command(server, "dead", "--target", "hook", "--limit", "3")
    assert len(page["dead"]) == 3 and "503" in page["dead"][0]["error"]
    page["dead"] += command(server, "dead", "--target", "hook", "--after", str(page["next"]["hook"]))["dead"]
    assert [entry["event"] for entry in page["dead"]] == [e for e in log(server) if e["resources"] == [failing_stage]]
    assert status(server, "hook")["lagEvents"] == 0, "the target continues without them"
    receiver.respond = lambda event: Reply()
    publish_and_unpublish(tenant, participants[:1])
    # Without recent successes the receiver counts as down: the next attempt is a second after the last failure.
    tenant.advance(1)
    receiver.wait_for_accepted(10)
    last = page["dead"].pop()["id"]
    assert command(server, "drop", "--target", "hook", "--id", last)["events"] == 1
    assert command(server, "redrive", "--target", "hook", "--all")["events"] == 3
    receiver.wait_for_accepted(13)
    assert [i for i in receiver.ids() if i in [entry["id"] for entry in page["dead"]]] == [
        entry["id"] for entry in page["dead"]
    ]
    assert last not in receiver.ids()
    until(lambda: (status(server, "hook")["parked"], status(server, "hook")["dead"]) == (0, 0))
    assert command(server, "dead")["dead"] == []


def test_dead_letters_of_a_long_downtime_can_be_redriven(start_test_server, targets, receiver):
    receiver.close()
    server = start_test_server("--events-config", targets(hook=receiver.target(retry_seconds=600)))
    tenant = server.tenant()
    participants = create_participants(tenant, 10)
    publish_and_unpublish(tenant, participants)

    def dead():
        tenant.advance(120)
        time.sleep(0.1)
        return status(server, "hook")["dead"] == 20

    until(dead, lambda: status(server, "hook"))
    receiver.open()
    command(server, "redrive", "--target", "hook", "--all")

    def back():
        tenant.advance(60)
        return len(set(receiver.ids())) == 20

    until(back)
    assert by_stage(delivery.event for delivery in receiver.accepted) == by_stage(log(server))


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(raw=b"hello\r\n\r\n"), ""),
        (Reply(raw=b""), ""),
        (Reply(410), "410 Gone"),
        (Reply(307, {"location": "http://127.0.0.1:1/"}), "redirects are not followed"),
    ],
    ids=["garbage", "nothing", "gone", "redirect"],
)
def test_failed_deliveries_are_retried(start_test_server, targets, receiver, reply, said):
    server = start_test_server("--events-config", targets(hook=receiver.target()))
    tenant = server.tenant()
    receiver.respond = lambda event: reply
    publish_and_unpublish(tenant, create_participants(tenant, 1))
    until(lambda: receiver.deliveries and status(server, "hook")["error"])
    assert said in status(server, "hook")["error"]
    receiver.respond = lambda event: Reply()
    tenant.advance(1)
    receiver.wait_for_accepted(2)


def test_retry_after_is_respected(start_test_server, targets, receiver):
    server = start_test_server("--events-config", targets(hook=receiver.target()))
    tenant = server.tenant()
    receiver.respond = lambda event: Reply(429, {"retry-after": "600"})
    publish_and_unpublish(tenant, create_participants(tenant, 1))
    until(lambda: receiver.deliveries and status(server, "hook")["error"])
    receiver.respond = lambda event: Reply()
    tenant.advance(599)
    publish_and_unpublish(tenant, create_participants(tenant, 1))
    # The worker has polled for due deliveries by now.
    time.sleep(1.5)
    assert len(receiver.deliveries) == 1
    tenant.advance(1)
    receiver.wait_for_accepted(4)


def test_a_late_response_is_a_failure(start_test_server, targets, receiver):
    server = start_test_server("--events-config", targets(hook=receiver.target(timeout_seconds=1)))
    tenant = server.tenant()
    release = threading.Event()
    receiver.respond = lambda event: release.wait(120) and Reply() or Reply()
    publish_and_unpublish(tenant, create_participants(tenant, 1))
    until(lambda: status(server, "hook")["error"])
    assert "within 1 seconds" in status(server, "hook")["error"]
    release.set()
    tenant.advance(1)
    until(lambda: status(server, "hook")["delivered"] == 2)
