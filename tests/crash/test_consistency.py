"""The consistency checks: lost, duplicated, changed and out-of-order events are detected."""

import json
import sqlite3

import pytest

import consistency
from expected_state import ExpectedResource
from receiver import Arrivals, Receiver, read_jsonl

STAGE = "arn:aws:ivs:us-east-1:220000000000:stage/one"


def body(name):
    return json.dumps({"id": name, "detail-type": consistency.STAGE, "resources": [STAGE], "detail": {}})


@pytest.fixture
def store(tmp_path):
    """A store whose log has four events of one stage and one audit record."""
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("CREATE TABLE events (position, account, region, stage_id, number, id, kind, body)")
        db.execute("CREATE TABLE counters (name, value)")
        db.execute("CREATE TABLE stage_changes (account, region, stage_id, events)")
        for position, name in enumerate("abcd", 1):
            db.execute("INSERT INTO events VALUES (?, 'x', 'y', 'one', ?, ?, 'event', ?)", [position, position, name, body(name)])
        db.execute("INSERT INTO events VALUES (5, 'x', 'y', '', 99, 'e', 'audit', ?)", [body("e")])
        db.execute("INSERT INTO counters VALUES ('events', 5)")
        db.execute("INSERT INTO stage_changes VALUES ('x', 'y', 'one', 4)")
    return f"sqlite://{tmp_path}/store.db"


def arrivals_of(names, **changed):
    arrivals = Arrivals()
    for name in names:
        arrivals.record(changed.get(name, body(name)).encode())
    return arrivals


@pytest.mark.parametrize("names", ["abcde", "eabcd", "aebcbacd"])
def test_duplicates_and_audit_records_may_be_delivered_in_any_order(store, names):
    assert consistency.log_gaps(store) == []
    assert consistency.delivery_differences(store, arrivals_of(names), "target") == []


@pytest.mark.parametrize(
    ("names", "message"), [("abce", "never delivered"), ("abcdef", "not in the log"), ("abdce", "out of order")]
)
def test_lost_unknown_and_out_of_order_events_are_detected(store, names, message):
    [problem] = consistency.delivery_differences(store, arrivals_of(names), "target")
    assert message in problem


def test_a_changed_duplicate_is_detected(store):
    arrivals = arrivals_of("abcde")
    arrivals.record(body("b").replace("{}", '{"other": 1}').encode())
    [problem] = consistency.delivery_differences(store, arrivals, "target")
    assert "different contents" in problem
    [problem] = consistency.delivery_differences(store, arrivals_of("abcde", c=body("c") + " "), "target")
    assert "differs" in problem


@pytest.mark.parametrize("statement", ["DELETE FROM events WHERE id = 'b'", "UPDATE stage_changes SET events = 5"])
def test_a_gap_in_the_log_is_detected(store, statement):
    with sqlite3.connect(store.removeprefix("sqlite://")) as db:
        db.execute(statement)
    assert consistency.log_gaps(store) != []


def test_a_request_without_a_response_may_have_succeeded_or_failed():
    resource = ExpectedResource("thing", ["old"])
    resource.attempt("new")
    assert resource.compare("new") == [] and resource.compare("new") == []
    resource.attempt("newer")
    assert resource.compare("half") != []
    resource.attempt("newest")
    resource.acknowledged()
    assert resource.compare("half") != []


def test_a_partial_line_is_counted_and_is_no_event(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text(f"{body('a')}\n{body('b')[:10]}\n{body('b')}\n")
    arrivals, partial = read_jsonl(file)
    assert (list(arrivals.first), partial) == (["a", "b"], 1)


def test_the_receiver_rejects_some_recorded_and_some_unrecorded_deliveries():
    receiver = Receiver(seed=1, rarity=2)
    statuses = [receiver.receive(body(str(number)).encode(), str(number)) for number in range(200)]
    receiver.close()
    recorded = set(receiver.arrivals.first)
    rejected = {str(number) for number, status in enumerate(statuses) if status == 503}
    assert rejected & recorded and rejected - recorded
    assert {str(number) for number, status in enumerate(statuses) if status == 204} <= recorded
