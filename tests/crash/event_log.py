"""Reads the event log from the store."""

import sqlite3
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg


@dataclass(frozen=True)
class Entry:
    position: int
    stage: tuple
    number: int
    id: str
    kind: str
    body: bytes


@contextmanager
def opened(url):
    if url.startswith("sqlite://"):
        connection = sqlite3.connect(f"file:{url.removeprefix('sqlite://')}?mode=ro", uri=True, timeout=60)
    else:
        connection = psycopg.connect(url)
    try:
        yield connection
    finally:
        connection.close()


def outbox_length(url):
    """The number of events in the outbox."""
    with opened(url) as connection:
        return connection.execute("SELECT COUNT(*) FROM outbox").fetchone()[0]


def compositions_without_end_event(url):
    """The number of compositions without an end event."""
    with opened(url) as connection:
        return connection.execute("SELECT COUNT(*) FROM compositions WHERE told < 2").fetchone()[0]


def last_position(url):
    """The last position of the log."""
    with opened(url) as connection:
        found = connection.execute("SELECT value FROM counters WHERE name = 'events'").fetchone()
        return found[0] if found else 0


def event_counts(url):
    """The number of events of each stage, by its event counter."""
    with opened(url) as connection:
        rows = connection.execute("SELECT account, region, stage_id, events FROM stage_changes WHERE events > 0")
        return {tuple(row[:3]): row[3] for row in rows.fetchall()}


def entries(url):
    """The whole log, in order."""
    with opened(url) as connection:
        rows = connection.execute(
            "SELECT position, account, region, stage_id, number, id, kind, body FROM events ORDER BY position"
        ).fetchall()
    return [Entry(row[0], tuple(row[1:4]), row[4], row[5], row[6], row[7].encode()) for row in rows]


def by_stage(found):
    """The entries of each stage, in order."""
    stages = defaultdict(list)
    for entry in found:
        if entry.stage[2]:
            stages[entry.stage].append(entry)
    return stages
