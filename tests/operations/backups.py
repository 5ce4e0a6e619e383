"""Backups as an operator makes them, and stores as their engines see them."""

import base64
import hashlib
import hmac
import json
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from clients import Server
from server import MASTER_KEY, TestServer, run


def key_of(name):
    """32 bytes in base64."""
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


EXPORT_KEY, OTHER_KEY, OTHER_MASTER_KEY = key_of("export"), key_of("other export"), key_of("other master")
# What is of one server's life.
LEFT_OUT = {"_sqlx_migrations", "locks", "nodes", "media_homes"}
MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
# Nothing changes by itself while the clock of one server stands at another time than the other's.
TIMELESS = (
    *("--public-url", "http://ivs.example.org", "--session-end-seconds", "1000000"),
    *("--rtmp-public-url", "rtmp://ivs.example.org", "--rtmps-public-url", "rtmps://ivs.example.org"),
    *("--composition-start-seconds", "0", "--composition-stop-seconds", "0", "--clock-skew-seconds", "1000000000"),
    *("--composition-idle-seconds", "1000000000", "--composition-max-seconds", "1000000000"),
    *("--composition-retention-seconds", "1000000000"),
)


@pytest.fixture
def stage_a_server():
    """A function that starts a server whose clock stands still, on a store."""
    running = []

    def start(store, master=MASTER_KEY):
        test_server = TestServer("--database-url", store, *TIMELESS, GREENROOM_MASTER_KEY=master, RUST_LOG="debug")
        running.append(test_server)
        return Server("postgres" if store.startswith("postgres") else "sqlite", test_server, store)

    yield start
    for test_server in running:
        test_server.kill()


@pytest.fixture
def store(new_store):
    """An empty store on the current engine."""
    return new_store()


@pytest.fixture
def file(tmp_path):
    """Where the test's backup is to be."""
    return tmp_path / "backup.jsonl"


def export(store, file, master=MASTER_KEY, key=EXPORT_KEY, **env):
    return command("export", store, file, master, key, **env)


def import_(store, file, master=MASTER_KEY, key=EXPORT_KEY, **env):
    return command("import", store, file, master, key, **env)


def command(verb, store, file, master, key, *flags, **env):
    env = {"GREENROOM_DATABASE_URL": store, "GREENROOM_MASTER_KEY": master, "GREENROOM_EXPORT_KEY": key, **env}
    return run(verb, str(file), *flags, **{name: value for name, value in env.items() if value is not None})


def done(ended):
    """A command that did what it was to do; what it printed."""
    assert (ended.stderr, ended.returncode) == ("", 0)
    return ended.stdout


def refused(ended, *words):
    """A command that did nothing, and says why in one line."""
    assert (ended.stdout, ended.returncode) == ("", 1), ended
    [line] = ended.stderr.splitlines()
    assert all(word in line for word in words), line


def lines(file):
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def rows_of(file):
    """The rows of a file in an order of their own: an engine has them in the order of its collation."""
    return sorted(Path(file).read_text().splitlines()[1:-1])


def signed(values, key=EXPORT_KEY):
    """The text of a file with these values between header and end, as an attacker with the export key could make it."""
    header, *rows, _ = values
    body = "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in (header, *rows))
    counts = {}
    for row in rows:
        name = next(iter(row))
        counts[name] = counts.get(name, 0) + 1
    digest = hashlib.sha256(body.encode()).digest()
    root = base64.b64decode(key)
    pages = sign(root, b"greenroom pages 1")
    context = b"greenroom export end"
    tag = sign(pages, len(context).to_bytes(8, "big") + context + digest)[:16]
    signature = base64.urlsafe_b64encode(digest + tag).decode().rstrip("=")
    end = {"end": {"rows": counts, "sha256": digest.hex(), "signature": signature}}
    return body + json.dumps(end) + "\n"


def sign(key, content):
    return hmac.new(key, content, hashlib.sha256).digest()


@contextmanager
def opened(store):
    """A connection to a store, past the program."""
    if store.startswith("postgres"):
        with psycopg.connect(store) as connection:
            yield connection
    else:
        with closing(sqlite3.connect(store.removeprefix("sqlite://"))) as connection, connection:
            yield connection


def columns(connection):
    """The columns of every table that a backup has: names and types."""
    if isinstance(connection, sqlite3.Connection):
        found = connection.execute(
            "SELECT t.name, c.name, c.type FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'"
        ).fetchall()
    else:
        found = connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
        ).fetchall()
    tables = {}
    for table, column, kind in found:
        tables.setdefault(table, {})[column] = kind.lower()
    return {table: found for table, found in tables.items() if table not in LEFT_OUT}


def counts(store):
    """How many rows each table has that a backup has."""
    with opened(store) as connection:
        tables = columns(connection)
        found = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
    return {table: count for table, count in found.items() if count}


def fill(store, *but):
    """Puts a row of no meaning into every table that has none, but into these."""
    examples = {"text": '"x"', "jsonb": '"x"', "bigint": 7, "boolean": True}
    with opened(store) as connection:
        mark = "?" if isinstance(connection, sqlite3.Connection) else "%s"
        for table, found in columns(connection).items():
            if table in but or connection.execute(f"SELECT 1 FROM {table}").fetchone():
                continue
            values = ["" if name.startswith("sealed") else examples[kind] for name, kind in found.items()]
            marks = ", ".join([mark] * len(values))
            connection.execute(f"INSERT INTO {table} ({', '.join(found)}) VALUES ({marks})", values)


def of_schema(path, last):
    """A store as it was after some migration, with a row in every table."""
    store = f"sqlite://{path}"
    with opened(store) as connection:
        connection.execute("CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, success BOOLEAN)")
        for number, file in enumerate(sorted((MIGRATIONS / "sqlite").glob("*.sql"))[:last], 1):
            connection.executescript(file.read_text())
            connection.execute("INSERT INTO _sqlx_migrations VALUES (?, TRUE)", [number])
    # A signing key that no master key opens would be a damaged store.
    fill(store, "signing_keys")
    return store
