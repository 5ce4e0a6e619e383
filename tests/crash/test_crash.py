"""A server that is killed under load loses nothing: scripts/crash does at length what is done here in short."""

from crash import Crash

ROUNDS = 4


def test_nothing_acknowledged_is_lost_and_every_event_arrives(engine, store, tmp_path):
    report = Crash(engine, store, tmp_path, seed=1, most=100).run(ROUNDS)
    print(*report.lines(), sep="\n")
    assert report.problems == []
    assert report.rounds == ROUNDS
    # What would show nothing if nothing happened.
    assert report.writes_acknowledged >= 5 * ROUNDS and report.joins_acknowledged > 3
    assert report.events > 2 * report.joins_acknowledged and report.audit_records >= report.writes_acknowledged
