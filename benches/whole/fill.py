"""Stores that are filled by SQL: many copies of rows made by the API, in greenroom's schema."""

import hashlib
import sqlite3

from .servers import Greenroom, offline
from .world import ACCOUNT, REGION

BEGAN = 1_790_000_000_000


class Sqlite:
    """An embedded store, in a file."""

    def __init__(self, world, stem="store"):
        self.world, self.file = world, world.file(stem).with_suffix(".db")
        self.url = f"sqlite://{self.file}"
        offline(world, self.url, "migrate")

    def copies(self, table, template, numbers, replaced):
        """Copies of the template row, one for each number; `replaced` has other values of its columns."""
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

    def settle(self):
        pass

    def size(self):
        return self.file.stat().st_size


class Relational:
    """A database of the throw-away PostgreSQL."""

    def __init__(self, world, stem="store"):
        self.world, self.name = world, f"{stem}_{world.serial}".replace("-", "_")
        world.serial += 1
        world.postgres.create(self.name)
        self.url = world.postgres.url(self.name)
        offline(world, self.url, "migrate")

    def copies(self, table, template, numbers, replaced):
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
        return self.world.postgres.sql(self.name, statement)

    def settle(self):
        self.run("VACUUM ANALYZE")
        self.world.postgres.sql("postgres", "CHECKPOINT")

    def size(self):
        return int(self.run(f"SELECT pg_database_size('{self.name}')"))


ENGINES = {"SQLite": Sqlite, "PostgreSQL": Relational}

# Ids in greenroom's format: twelve letters and digits, in no order.
ID = "SUBSTR(MD5(CAST(n AS TEXT)), 1, 12)"


def id_of(n):
    return hashlib.md5(str(n).encode()).hexdigest()[:12]


def stage_arn(stage):
    return f"arn:aws:ivs:{REGION}:{ACCOUNT}:stage/{stage}"


def numbered(n):
    """Ids of digits only, which pgbench can generate."""
    return f"{100_000_000_000 + n}"


def plain_stages(world, store, count):
    """`count` stages with numbered ids; their ARNs."""
    with Greenroom(world, store.url) as server:
        template = server.client("CreateStage", name="bench")["stage"]["arn"].rpartition("/")[2]
    replaced = {"id": "CAST(100000000000 + n AS TEXT)", "created_at": f"{BEGAN} + n"}
    store.copies("stages", f"t.id = '{template}'", (0, count - 1), replaced)
    store.settle()
    return [stage_arn(numbered(n)) for n in range(count)]


def turns(count):
    """The numbers before the middle page and before the last one."""
    return count // 2, count - 100


class Stages:
    """A store with `count` stages, and the page tokens of the middle page and of the last one."""

    def __init__(self, world, engine, count):
        self.count = count
        self.store = ENGINES[engine](world, "stages")
        with Greenroom(world, self.store.url) as server:
            template = server.client("CreateStage", name="bench")["stage"]["arn"].rpartition("/")[2]
        replaced = {"id": ID, "created_at": f"{BEGAN} + n"}
        copy = lambda first, last: self.store.copies("stages", f"t.id = '{template}'", (first, last), replaced)
        # A page token is a row's position: with only the rows before it in the store, it is the last one's.
        middle, end = turns(count)
        copy(middle - 99, middle)
        copy(end - 99, end)
        with Greenroom(world, self.store.url) as server:
            self.pages = pages(server, "ListStages")
        before = self.store.size()
        copy(1, count)
        self.store.run(f"DELETE FROM stages WHERE id = '{template}'")
        self.store.settle()
        self.bytes_each = (self.store.size() - before) / (count - 200)

    def reads(self, count):
        """GetStage of stages all over the table."""
        step = max(1, self.count // count)
        return [("/GetStage", {"arn": stage_arn(id_of(n))}) for n in range(1, self.count + 1, step)]


class Session:
    """A store with a session of `count` participants."""

    def __init__(self, world, engine, count):
        self.count = count
        self.store = ENGINES[engine](world, "session")
        with Greenroom(world, self.store.url) as server:
            self.stage = server.client("CreateStage", name="bench")["stage"]["arn"]
            world.driver("joins", server, "--stages", world.written("stages", [self.stage]), "--count", 1)
            self.session = server.client("ListStageSessions", stageArn=self.stage)["stageSessions"][0]["sessionId"]
            of = {"stageArn": self.stage, "sessionId": self.session}
            (member,) = server.client("ListParticipants", **of)["participants"]
        template = member["participantId"]
        # The session must not end during the run.
        self.store.run("UPDATE sessions SET ends_at = NULL")
        copy = lambda first, last: self.store.copies(
            "participants", f"t.id = '{template}'", (first, last), {"id": ID, "first_joined_at": f"{BEGAN} + n"}
        )
        of = {"stageArn": self.stage, "sessionId": self.session}
        if count > 300:
            middle, end = turns(count)
            copy(middle - 99, middle)
            copy(end - 99, end)
            with Greenroom(world, self.store.url) as server:
                self.pages = pages(server, "ListParticipants", **of)
        else:
            self.pages = {
                place: ("/ListParticipants", of | {"maxResults": 100}) for place in ("first", "middle", "last")
            }
        before = self.store.size()
        copy(1, count)
        between = self.store.size()
        self.store.copies("participant_events", f"t.participant_id = '{template}'", (1, count), {"participant_id": ID})
        self.bytes_each = (between - before) / count
        self.bytes_each_event = (self.store.size() - between) / (2 * count)
        for table, column in (("participants", "id"), ("participant_events", "participant_id")):
            self.store.run(f"DELETE FROM {table} WHERE {column} = '{template}'")
        self.store.settle()
        self.events = [
            ("/ListParticipantEvents", of | {"participantId": id_of(n)})
            for n in range(1, count + 1, max(1, count // 100))
        ]


def pages(server, operation, **members):
    """Requests for the first page, the middle one, and the last."""
    found = {"first": (f"/{operation}", {**members, "maxResults": 100})}
    for place in ("middle", "last"):
        last = list(found.values())[-1][1]
        token = server.client(operation, **last).get("nextToken")
        if place == "last" and token is None:
            raise RuntimeError(f"{operation} gave no place for the last page")
        found[place] = (f"/{operation}", {**members, "maxResults": 100, "nextToken": token})
    return found
