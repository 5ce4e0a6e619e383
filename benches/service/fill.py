"""Stores filled by SQL with copies of rows created through the API."""

import hashlib
import sqlite3

from .servers import Greenroom, run_command
from .context import ACCOUNT, REGION

BEGAN = 1_790_000_000_000


class Sqlite:
    """A SQLite store in a file."""

    def __init__(self, context, stem="store"):
        self.context, self.file = context, context.file(stem).with_suffix(".db")
        self.url = f"sqlite://{self.file}"
        run_command(context, self.url, "migrate")

    def insert_copies(self, table, template, numbers, replaced):
        """Inserts a copy of the template row for each number; `replaced` has expressions for changed columns."""
        with self.connection() as store:
            store.execute("PRAGMA synchronous = OFF")
            columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
            first, last = numbers
            store.execute(
                f"WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}) "
                f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) "
                f"SELECT {', '.join(replaced.get(c, f't.{c}') for c in columns)} "
                f"FROM numbers, {table} t WHERE {template}"
            )
        store.close()

    def run(self, statement):
        with self.connection() as store:
            rows = store.execute(statement).fetchall()
        store.close()
        return rows

    def connection(self):
        store = sqlite3.connect(self.file)
        store.create_function("md5", 1, lambda text: hashlib.md5(text.encode()).hexdigest(), deterministic=True)
        return store

    def vacuum(self):
        pass

    def size(self):
        return self.file.stat().st_size


class Relational:
    """A database in the temporary PostgreSQL."""

    def __init__(self, context, stem="store"):
        self.context, self.name = context, f"{stem}_{context.serial}".replace("-", "_")
        context.serial += 1
        context.postgres.create(self.name)
        self.url = context.postgres.url(self.name)
        run_command(context, self.url, "migrate")

    def insert_copies(self, table, template, numbers, replaced):
        columns = self.run(
            "SELECT attname FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped "
            f"AND attrelid = '{table}'::regclass ORDER BY attnum"
        ).split()
        chosen = ", ".join(replaced.get(c, f"t.{c}") for c in columns)
        self.run(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} "
            f"FROM generate_series({numbers[0]}, {numbers[1]}) n, {table} t WHERE {template} ON CONFLICT DO NOTHING"
        )

    def run(self, statement):
        return self.context.postgres.sql(self.name, statement)

    def vacuum(self):
        self.run("VACUUM ANALYZE")
        self.context.postgres.sql("postgres", "CHECKPOINT")

    def size(self):
        return int(self.run(f"SELECT pg_database_size('{self.name}')"))


ENGINES = {"SQLite": Sqlite, "PostgreSQL": Relational}

# Ids in greenroom's format: twelve letters and digits, unordered.
ID = "SUBSTR(MD5(CAST(n AS TEXT)), 1, 12)"


def id_of(n):
    return hashlib.md5(str(n).encode()).hexdigest()[:12]


def stage_arn(stage):
    return f"arn:aws:ivs:{REGION}:{ACCOUNT}:stage/{stage}"


def numbered_id(n):
    """An id of digits only, which pgbench can generate."""
    return f"{100_000_000_000 + n}"


def insert_stages(context, store, count):
    """Inserts `count` stages with numbered ids; returns their ARNs."""
    with Greenroom(context, store.url) as server:
        template = server.client("CreateStage", name="bench")["stage"]["arn"].rpartition("/")[2]
    replaced = {"id": "CAST(100000000000 + n AS TEXT)", "created_at": f"{BEGAN} + n"}
    store.insert_copies("stages", f"t.id = '{template}'", (0, count - 1), replaced)
    store.vacuum()
    return [stage_arn(numbered_id(n)) for n in range(count)]


def page_boundaries(count):
    """The row numbers before the middle page and before the last page."""
    return count // 2, count - 100


class Stages:
    """A store with `count` stages, and requests for the first, middle and last page."""

    def __init__(self, context, engine, count):
        self.count = count
        self.store = ENGINES[engine](context, "stages")
        with Greenroom(context, self.store.url) as server:
            template = server.client("CreateStage", name="bench")["stage"]["arn"].rpartition("/")[2]
        replaced = {"id": ID, "created_at": f"{BEGAN} + n"}
        copy = lambda first, last: self.store.insert_copies("stages", f"t.id = '{template}'", (first, last), replaced)
        # A page token is a row's position, so it can be created while the store has only the 100 rows before the page.
        middle, end = page_boundaries(count)
        copy(middle - 99, middle)
        copy(end - 99, end)
        with Greenroom(context, self.store.url) as server:
            self.pages = pages(server, "ListStages")
        before = self.store.size()
        copy(1, count)
        self.store.run(f"DELETE FROM stages WHERE id = '{template}'")
        self.store.vacuum()
        self.bytes_each = (self.store.size() - before) / (count - 200)

    def reads(self, count):
        """GetStage requests spread over the whole table."""
        step = max(1, self.count // count)
        return [("/GetStage", {"arn": stage_arn(id_of(n))}) for n in range(1, self.count + 1, step)]


class Session:
    """A store with a session of `count` participants."""

    def __init__(self, context, engine, count):
        self.count = count
        self.store = ENGINES[engine](context, "session")
        with Greenroom(context, self.store.url) as server:
            self.stage = server.client("CreateStage", name="bench")["stage"]["arn"]
            context.driver("joins", server, "--stages", context.written("stages", [self.stage]), "--count", 1)
            self.session = server.client("ListStageSessions", stageArn=self.stage)["stageSessions"][0]["sessionId"]
            of = {"stageArn": self.stage, "sessionId": self.session}
            (member,) = server.client("ListParticipants", **of)["participants"]
        template = member["participantId"]
        # The session must not end during the run.
        self.store.run("UPDATE sessions SET ends_at = NULL")
        copy = lambda first, last: self.store.insert_copies(
            "participants", f"t.id = '{template}'", (first, last), {"id": ID, "first_joined_at": f"{BEGAN} + n"}
        )
        of = {"stageArn": self.stage, "sessionId": self.session}
        if count > 300:
            middle, end = page_boundaries(count)
            copy(middle - 99, middle)
            copy(end - 99, end)
            with Greenroom(context, self.store.url) as server:
                self.pages = pages(server, "ListParticipants", **of)
        else:
            self.pages = {
                place: ("/ListParticipants", of | {"maxResults": 100}) for place in ("first", "middle", "last")
            }
        before = self.store.size()
        copy(1, count)
        between = self.store.size()
        self.store.insert_copies("participant_events", f"t.participant_id = '{template}'", (1, count), {"participant_id": ID})
        self.bytes_each = (between - before) / count
        self.bytes_each_event = (self.store.size() - between) / (2 * count)
        for table, column in (("participants", "id"), ("participant_events", "participant_id")):
            self.store.run(f"DELETE FROM {table} WHERE {column} = '{template}'")
        self.store.vacuum()
        self.events = [
            ("/ListParticipantEvents", of | {"participantId": id_of(n)})
            for n in range(1, count + 1, max(1, count // 100))
        ]


def pages(server, operation, **members):
    """Requests for the first, middle and last page."""
    found = {"first": (f"/{operation}", {**members, "maxResults": 100})}
    for place in ("middle", "last"):
        last = list(found.values())[-1][1]
        token = server.client(operation, **last).get("nextToken")
        if place == "last" and token is None:
            raise RuntimeError(f"{operation} returned no token for the last page")
        found[place] = (f"/{operation}", {**members, "maxResults": 100, "nextToken": token})
    return found
