"""The schema for PostgreSQL, held to what Aurora DSQL takes. What it does not take is accepted here, each kind with its
reason, and docs/run/scaling.md explains the same to operators."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIGRATIONS = sorted((ROOT / "migrations" / "postgres").glob("*.sql"))

# {rule: (where, reason)}. A new finding is a decision: avoid it, or name it here and in the document.
EVERYWHERE = None
ACCEPTED = {
    "index_async": (EVERYWHERE, "PostgreSQL has no CREATE INDEX ASYNC; the tool's --fix writes it"),
    "collation": (EVERYWHERE, 'lists must not depend on the locale; DSQL sorts as "C" anyway, and --fix leaves it out'),
    "add_column_constraint": (
        {
            "participants.token",
            "stage_changes.events",
            "compositions.next_at",
            "compositions.told",
            "compositions.error_code",
        },
        "a column that comes later, in a table with rows; a new DSQL has it from the start",
    ),
}
COLUMN = re.compile(r"ALTER TABLE (\w+) ADD COLUMN (\w+)")


@pytest.fixture(scope="module")
def findings():
    program = shutil.which("dsql-lint", path=Path(sys.executable).parent) or shutil.which("dsql-lint")
    assert program, "dsql-lint is missing: pip install -r tests/operations/requirements.txt"
    done = subprocess.run([program, "--format", "json", *MIGRATIONS], capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)
    assert len(told["files"]) == len(MIGRATIONS) and not any(file["error"] for file in told["files"])
    return [(file["file"], finding) for file in told["files"] for finding in file["diagnostics"]]


def test_the_schema_has_only_accepted_findings(findings):
    unknown = [(file, one["line"], one["message"]) for file, one in findings if one["rule"] not in ACCEPTED]
    assert not unknown
    assert {finding["rule"] for _, finding in findings} == ACCEPTED.keys(), "what is found no more is accepted no more"
    for rule, (where, _) in ACCEPTED.items():
        places = {".".join(COLUMN.match(one["statement_preview"]).groups()) for _, one in findings if one["rule"] == rule} \
            if where else EVERYWHERE
        assert places == where, rule


def test_the_docs_explain_each_accepted_finding():
    text = (ROOT / "docs" / "run" / "scaling.md").read_text()
    for rule, (where, _) in ACCEPTED.items():
        [row] = [line for line in text.splitlines() if line.startswith(f"| `{rule}` |")]
        missing = [place for place in where or () if f"`{place}`" not in row]
        assert not missing, f"docs/run/scaling.md does not tell of {rule} as it is"
