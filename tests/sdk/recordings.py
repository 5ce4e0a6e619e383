"""Recordings that are put into a SQLite store and its folder as if a server had made them."""

import json
import shutil
import sqlite3
from pathlib import Path

# Recordings of 3 s that FFmpeg made: `plain`, and `parts` with a gap and two resolutions.
FIXTURES = Path(__file__).resolve().parents[2] / "crates/greenroom-recording/tests/recordings"
BUCKET = "films"
STARTED_AT = 1767323045000  # 2026-01-02T03:04:05Z


def add_live_node(database):
    """Adds another node that stays alive, whose recordings no server takes over; returns its id."""
    with sqlite3.connect(database.removeprefix("sqlite://"), timeout=30) as store:
        node = ("another-node", "http://192.0.2.1:4600", 2**52, False)
        store.execute("INSERT INTO nodes (id, url, expires_at, dead) VALUES (?, ?, ?, ?)", node)
    return node[0]


def add_recording(tenant, database, stage, recording_id, fixture="plain", **columns):
    """Adds a recording of a stage of `tenant`; returns its folder."""
    file = Path(database.removeprefix("sqlite://"))
    stage_id = stage.rpartition("/")[2]
    participant = columns.get("participant_id", "xYz1c2d3e4f5")
    prefix = f"{stage_id}/st-1a2b3c4d5e6f7g/{participant}/2026-01-02T03-04-05Z-{recording_id}"
    configuration = tenant.ivs.get_stage(arn=stage)["stage"]["autoParticipantRecordingConfiguration"]
    row = {
        "account": tenant.account,
        "region": tenant.region,
        "id": recording_id,
        "stage_id": stage_id,
        "session_id": "st-1a2b3c4d5e6f7g",
        "current_session_id": "st-1a2b3c4d5e6f7g",
        "participant_id": participant,
        "connection_id": "",
        "storage_id": "abcdefghijkl",
        "bucket": BUCKET,
        "prefix": prefix,
        "recording": json.dumps(configuration),
        "state": "STOPPED",
        "node_id": "",
        "created_at": STARTED_AT,
        "started_at": STARTED_AT,
        "uploaded": 1,
        "ended_at": STARTED_AT + 5000,
        "duration_ms": 3000,
        "next_thumbnail": 0,
        "error_code": "",
        "reason": "",
        **columns,
    }
    with sqlite3.connect(file, timeout=30) as store:
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        store.execute(f"INSERT INTO recordings ({names}) VALUES ({marks})", list(row.values()))
    folder = file.parent / "recordings" / BUCKET / prefix
    if fixture:
        shutil.copytree(FIXTURES / fixture, folder)
    return folder
