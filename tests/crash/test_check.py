"""The reckoning itself: what is lost, doubled, changed or out of order is found."""

import json
import sqlite3

import pytest

import check
from ledger import Held
from receiver import Arrivals, Receiver, arrived_in

STAGE = "arn:aws:ivs:us-east-1:220000000000:stage/one"


def body(name):
    return json.dumps({"id": name, "detail-type": check.STAGE, "resources": [STAGE], "detail": {}})


@pytest.fixture
def store(tmp_path):
    """A store whose log has four events of one stage and one of none."""
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("CREATE TABLE events (position, account, region, stage_id, number, id, kind, body)")
        db.execute("CREATE TABLE counters (name, value)")
        db.execute("CREATE TABLE stage_changes (account, region, stage_id, events)")
        for place, name in enumerate("abcd", 1):
            db.execute("INSERT INTO events VALUES (?, 'x', 'y', 'one', ?, ?, 'event', ?)", [place, place, name, body(name)])
        db.execute("INSERT INTO events VALUES (5, 'x', 'y', '', 99, 'e', 'audit', ?)", [body("e")])
        db.execute("INSERT INTO counters VALUES ('events', 5)")
        db.execute("INSERT INTO stage_changes VALUES ('x', 'y', 'one', 4)")
    return f"sqlite://{tmp_path}/store.db"


def arrived(names, **changed):
    arrivals = Arrivals()
    for name in names:
        arrivals.note(changed.get(name, body(name)).encode())
    return arrivals


@pytest.mark.parametrize("names", ["abcde", "eabcd", "aebcbacd"])
def test_copies_and_what_is_of_no_stage_may_come_at_any_time(store, names):
    assert check.whole(store) == []
    assert check.delivered(store, arrived(names), "here") == []


@pytest.mark.parametrize(
    ("names", "word"), [("abce", "never arrived"), ("abcdef", "not in the log"), ("abdce", "out of order")]
)
def test_what_is_lost_invented_or_out_of_order_is_found(store, names, word):
    [problem] = check.delivered(store, arrived(names), "here")
    assert word in problem


def test_a_copy_that_differs_is_found(store):
    arrivals = arrived("abcde")
    arrivals.note(body("b").replace("{}", '{"other": 1}').encode())
    [problem] = check.delivered(store, arrivals, "here")
    assert "two forms" in problem
    [problem] = check.delivered(store, arrived("abcde", c=body("c") + " "), "here")
    assert "differs" in problem


@pytest.mark.parametrize("wrong", ["DELETE FROM events WHERE id = 'b'", "UPDATE stage_changes SET events = 5"])
def test_an_event_that_the_log_does_not_have_is_found(store, wrong):
    with sqlite3.connect(store.removeprefix("sqlite://")) as db:
        db.execute(wrong)
    assert check.whole(store) != []


def test_an_unanswered_call_may_have_happened_or_not_and_nothing_else():
    held = Held("thing", ["old"])
    held.attempt("new")
    assert held.seen("new") == [] and held.seen("new") == []
    held.attempt("newer")
    assert held.seen("half") != []
    held.attempt("newest")
    held.acknowledged()
    assert held.seen("half") != []


def test_a_line_that_was_torn_is_counted_and_is_no_event(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text(f"{body('a')}\n{body('b')[:10]}\n{body('b')}\n")
    arrivals, torn = arrived_in(file)
    assert (list(arrivals.first), torn) == (["a", "b"], 1)


def test_the_receiver_refuses_now_and_then_what_it_has_noted_and_what_it_has_not():
    receiver = Receiver(seed=1, rarity=2)
    statuses = [receiver.receive(body(str(number)).encode(), str(number)) for number in range(200)]
    receiver.close()
    noted = set(receiver.arrivals.first)
    refused = {str(number) for number, status in enumerate(statuses) if status == 503}
    assert refused & noted and refused - noted
    assert {str(number) for number, status in enumerate(statuses) if status == 204} <= noted
