"""The short crash test: no data is lost when a server is killed under load. The long one is scripts/crash."""

from crash_run import CrashRun

ROUNDS = 4


def test_nothing_acknowledged_is_lost_and_every_event_arrives(engine, store, tmp_path):
    report = CrashRun(engine, store, tmp_path, seed=1, max_writes=100).run(ROUNDS)
    print(*report.lines(), sep="\n")
    assert report.problems == []
    assert report.rounds == ROUNDS
    # Guards against a run without load.
    assert report.writes_acknowledged >= 5 * ROUNDS and report.joins_acknowledged > 3
    assert report.events > 2 * report.joins_acknowledged and report.audit_records >= report.writes_acknowledged
