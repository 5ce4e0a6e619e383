"""Webhooks: signed, in order, at least once; and receivers that are slow, down, or refuse an event."""

import threading
import time

import pytest
from standardwebhooks.webhooks import Webhook

from receiver import SECRET, Reply, by_stage, command, log, status, until


def crowd(tenant, stages=3):
    """Pairs of a stage and a participant in it."""
    made = [tenant.stage() for _ in range(stages)]
    return [(stage, tenant.join(stage)[1]) for stage in made]


def turn(tenant, people, times=1):
    """Every participant publishes and stops this many times: two events each time."""
    for _ in range(times):
        for verb in ("publish", "unpublish"):
            for stage, participant in people:
                tenant.act(verb, stage, participant)


def test_events_are_posted_signed_whole_and_in_the_order_of_their_stages(start_test_server, targets, receiver):
    server = start_test_server("--events-config", targets(hook=receiver.target()))
    tenant = server.tenant()
    people = crowd(tenant)
    turn(tenant, people, 5)
    came = receiver.has(30)
    assert sorted(event["id"] for event in log(server)) == sorted(receiver.ids()), "each once"
    assert by_stage(delivery.event for delivery in came) == by_stage(log(server))
    first = came[0]
    assert Webhook(SECRET).verify(first.body, first.headers) == first.event
    assert first.event in log(server)
    assert first.headers["content-type"] == "application/json"
    assert first.headers["user-agent"].startswith("greenroom/")
    shown = status(server, "hook")
    assert (shown["lagEvents"], shown["parked"], shown["dead"], shown["error"]) == (0, 0, 0, None)
    assert shown["delivered"] == 30


def test_while_a_secret_is_replaced_both_are_good(start_test_server, targets, receiver):
    receiver.secrets.append("whsec_" + "QUFB" * 8)
    server = start_test_server("--events-config", targets(hook=receiver.target(secret=receiver.secrets)))
    tenant = server.tenant()
    turn(tenant, crowd(tenant, 1))
    receiver.has(2)


def test_a_target_gets_what_its_pattern_means_under_its_own_source(start_test_server, targets, receivers):
    some, all_of_them = receivers(), receivers()
    wanted = {"detail": {"event_name": [{"suffix": "Unpublished"}]}, "source": ["aws.ivs"]}
    config = targets(some=some.target(pattern=wanted, source="acme.ivs"), all_of_them=all_of_them.target())
    server = start_test_server("--events-config", config)
    tenant = server.tenant()
    turn(tenant, crowd(tenant, 2), 2)
    all_of_them.has(8)
    came = some.has(4)
    assert {(delivery.name, delivery.event["source"]) for delivery in came} == {("Participant Unpublished", "acme.ivs")}
    assert {delivery.event["source"] for delivery in all_of_them.taken} == {"aws.ivs"}
    until(lambda: status(server, "some")["lagEvents"] == 0)


def test_a_slow_and_a_dead_receiver_hold_up_no_other_and_no_call(start_test_server, targets, receivers):
    good, slow, dead = receivers(), receivers(), receivers()
    dead.close()
    free = threading.Event()
    slow.answer = lambda event: free.wait(120) and Reply() or Reply()
    config = targets(good=good.target(), slow=slow.target(timeout_seconds=300), dead=dead.target())
    server = start_test_server("--events-config", config)
    tenant = server.tenant()
    people = crowd(tenant)
    began = time.monotonic()
    turn(tenant, people, 5)
    took = time.monotonic() - began
    good.has(30)
    assert not slow.taken, "all of that went on while the slow one thought about its first"
    print(f"\n30 changes took {took:.2f} s beside a slow and a dead receiver")
    until(lambda: status(server, "dead")["failingSince"])
    free.set()
    slow.has(30)
    assert by_stage(delivery.event for delivery in slow.taken) == by_stage(log(server))
    assert status(server, "dead")["lagEvents"] > 0


def test_a_receiver_that_was_away_for_an_hour_gets_everything_in_order(start_test_server, targets, receiver):
    server = start_test_server("--events-config", targets(hook=receiver.target()))
    tenant = server.tenant()
    people = crowd(tenant, 5)
    turn(tenant, people)
    receiver.has(10)
    receiver.close()
    for minute in range(60):
        turn(tenant, people)
        tenant.advance(60)
    until(lambda: status(server, "hook")["failingSince"])
    shown = status(server, "hook")
    assert (shown["parked"], shown["dead"]) == (0, 0), "the cursor stands"
    assert shown["error"]
    receiver.open()
    began = time.monotonic()
    wait = 0
    while len(receiver.taken) == 10 and wait < 600:
        tenant.advance(10)
        wait += 10
        time.sleep(0.05)
    came = receiver.has(610)
    took = time.monotonic() - began
    events = log(server)
    assert by_stage(delivery.event for delivery in came) == by_stage(events)
    again = len(receiver.ids()) - len(set(receiver.ids()))
    print(f"\nan hour of {len(events) - 10} events came in {took:.1f} s, {again} of them twice")
    until(lambda: status(server, "hook")["lagEvents"] == 0)
    assert status(server, "hook")["failingSince"] is None


def test_a_refused_event_delays_only_its_stage(start_test_server, targets, receiver):
    server = start_test_server("--events-config", targets(hook=receiver.target()))
    tenant = server.tenant()
    people = crowd(tenant, 4)
    bad, fine = people[0][0], people[1:]
    receiver.answer = lambda event: Reply(500) if event["resources"] == [bad] else Reply()
    turn(tenant, people, 10)
    receiver.has(60)
    assert {delivery.stage for delivery in receiver.taken} == {stage for stage, _ in fine}
    until(lambda: status(server, "hook")["lagEvents"] == 0, lambda: status(server, "hook"))
    shown = status(server, "hook")
    assert (shown["parked"], shown["dead"]) == (20, 0)
    assert "500" in shown["error"]
    receiver.answer = lambda event: Reply()
    turn(tenant, people[:1], 2)
    tenant.advance(3600)
    receiver.has(84)
    assert by_stage(delivery.event for delivery in receiver.taken) == by_stage(log(server))
    until(lambda: status(server, "hook")["parked"] == 0)


def test_what_is_not_taken_in_time_is_dead_until_it_is_sent_again_or_dropped(start_test_server, targets, receiver):
    hook = receiver.target(retry_seconds=600)
    server = start_test_server("--events-config", targets(hook=hook))
    tenant = server.tenant()
    people = crowd(tenant, 3)
    bad = people[0][0]
    receiver.answer = lambda event: Reply(503) if event["resources"] == [bad] else Reply()
    turn(tenant, people, 2)
    receiver.has(8)
    until(lambda: status(server, "hook")["parked"] == 4)

    def dead():
        tenant.advance(300)
        time.sleep(0.1)
        return status(server, "hook")["dead"] == 4

    until(dead, lambda: status(server, "hook"))
    listed = command(server, "dead", "--target", "hook", "--limit", "3")
    assert len(listed["dead"]) == 3 and "503" in listed["dead"][0]["error"]
    listed["dead"] += command(server, "dead", "--target", "hook", "--after", str(listed["next"]["hook"]))["dead"]
    assert [entry["event"] for entry in listed["dead"]] == [e for e in log(server) if e["resources"] == [bad]]
    assert status(server, "hook")["lagEvents"] == 0, "it goes on without them"
    receiver.answer = lambda event: Reply()
    turn(tenant, people[:1])
    # Nothing else was tried of late, so that the receiver looks down: it is tried a second after the last failure.
    tenant.advance(1)
    receiver.has(10)
    last = listed["dead"].pop()["id"]
    assert command(server, "drop", "--target", "hook", "--id", last)["events"] == 1
    assert command(server, "redrive", "--target", "hook", "--all")["events"] == 3
    receiver.has(13)
    assert [i for i in receiver.ids() if i in [entry["id"] for entry in listed["dead"]]] == [
        entry["id"] for entry in listed["dead"]
    ]
    assert last not in receiver.ids()
    until(lambda: (status(server, "hook")["parked"], status(server, "hook")["dead"]) == (0, 0))
    assert command(server, "dead")["dead"] == []


def test_a_receiver_that_is_away_for_too_long_loses_nothing_but_its_patience(start_test_server, targets, receiver):
    receiver.close()
    server = start_test_server("--events-config", targets(hook=receiver.target(retry_seconds=600)))
    tenant = server.tenant()
    people = crowd(tenant, 10)
    turn(tenant, people)

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
    assert by_stage(delivery.event for delivery in receiver.taken) == by_stage(log(server))


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
    receiver.answer = lambda event: reply
    turn(tenant, crowd(tenant, 1))
    until(lambda: receiver.deliveries and status(server, "hook")["error"])
    assert said in status(server, "hook")["error"]
    receiver.answer = lambda event: Reply()
    tenant.advance(1)
    receiver.has(2)


def test_retry_after_is_respected(start_test_server, targets, receiver):
    server = start_test_server("--events-config", targets(hook=receiver.target()))
    tenant = server.tenant()
    receiver.answer = lambda event: Reply(429, {"retry-after": "600"})
    turn(tenant, crowd(tenant, 1))
    until(lambda: receiver.deliveries and status(server, "hook")["error"])
    receiver.answer = lambda event: Reply()
    tenant.advance(599)
    turn(tenant, crowd(tenant, 1))
    # By now, the worker has looked for due deliveries.
    time.sleep(1.5)
    assert len(receiver.deliveries) == 1
    tenant.advance(1)
    receiver.has(4)


def test_a_late_response_is_a_failure(start_test_server, targets, receiver):
    server = start_test_server("--events-config", targets(hook=receiver.target(timeout_seconds=1)))
    tenant = server.tenant()
    free = threading.Event()
    receiver.answer = lambda event: free.wait(120) and Reply() or Reply()
    turn(tenant, crowd(tenant, 1))
    until(lambda: status(server, "hook")["error"])
    assert "within 1 seconds" in status(server, "hook")["error"]
    free.set()
    tenant.advance(1)
    until(lambda: status(server, "hook")["delivered"] == 2)
