"""Requests a second of greenroom and of the reference, in turns."""

import itertools
import json
import re
import statistics

from . import postgres
from .fill import Relational, Sqlite, numbered, plain_stages, stage_arn
from .report import Line, at_least, at_most
from .servers import Constant, Greenroom, Moto, offline
from .world import ACCOUNT, REGION

STAGES = 1000
POOL = 8


def in_turns(world, *subjects, rounds=None):
    """The figures of each subject, one a round. The order alternates, so that none is always the first."""
    figures = [[] for _ in subjects]
    for n in range(rounds or world.rounds):
        order = range(len(subjects)) if n % 2 == 0 else reversed(range(len(subjects)))
        for place in order:
            figures[place].append(subjects[place]())
    return figures


def rate(world, server, requests, **how):
    """A subject: requests a second."""
    costs = []

    def once():
        report = world.load(server, requests, **how)
        costs.append((report["driver_us"], report["subject_us"]))
        return report["rate"]

    once.costs = lambda: tuple(statistics.median(column) for column in zip(*costs, strict=True))
    return once


def gets(arns):
    return [("/GetStage", {"arn": arn}) for arn in arns]


def costs(own, other=None):
    driver, server = own.costs()
    text = f"processor time of a request: greenroom {server:.1f} µs, driver {driver:.1f} µs"
    return text if other is None else f"{text}, the other server {other.costs()[1]:.1f} µs"


def get_stage_embedded(world):
    store = Sqlite(world)
    requests = gets(plain_stages(world, store, STAGES))
    with Greenroom(world, store.url) as server:
        headers, value = server.client.whole("GetStage", **requests[0][1])
        body = json.dumps(value, separators=(",", ":"))
        with Constant(world, headers, body) as constant:
            own, other = rate(world, server, requests), rate(world, constant, requests)
            figures = in_turns(world, own, other)
    yield Line(
        "GetStage, signed, embedded store",
        "axum, a constant of the same size",
        "/s",
        *figures,
        at_least(0.5),
        costs(own, other),
    )


def get_stage_postgres(world):
    store = Relational(world)
    requests = gets(plain_stages(world, store, STAGES))
    with Greenroom(world, store.url) as server:
        template = requests[7][1]["arn"]
        groups = world.postgres.asked(store.name, ACCOUNT, lambda: server.client("GetStage", arn=template))
        prelude = [f"\\set stage random(100000000000, {numbered(STAGES - 1)})"]
        script, defines = postgres.script(groups, prelude, {template.rpartition("/")[2]: "stage"})
        own = rate(world, server, requests)
        figures = in_turns(world, own, lambda: world.bench(store.name, script, defines, clients=POOL))
    yield Line("GetStage, signed, PostgreSQL", f"pgbench, {script_words(groups)}", "/s", *figures, at_least(0.6), costs(own))


def script_words(groups):
    """A script in words."""
    statements = sum(len(group) for group in groups)
    return f"the statements of one request, one by one ({statements} in {len(groups)})"


def reference(world, store):
    """A copy of a database without other clients."""
    name = f"{store.name}_reference"
    world.postgres.create(name, store.name)
    return name


def create_stage_postgres(world):
    store = Relational(world)
    with Greenroom(world, store.url) as server:
        made = lambda: made_ids.append(server.client("CreateStage")["stage"]["arn"].rpartition("/")[2])
        made_ids = []
        made()
        groups = world.postgres.asked(store.name, ACCOUNT, made)
    other = reference(world, store)
    script, defines = postgres.script(groups, [postgres.fresh("stage", 1)], {made_ids[-1]: "stage"})
    request = [("/CreateStage", {})]
    with Greenroom(world, store.url) as server, Greenroom(world, store.url, quotas="stages=100000000") as limited:
        own, bounded = rate(world, server, request), rate(world, limited, request)
        figures = in_turns(world, own, lambda: world.bench(other, script, defines, clients=POOL), bounded)
    against = f"pgbench, {script_words(groups)}"
    note = f"without a quota of stages; {costs(own)}"
    yield Line("CreateStage, signed, PostgreSQL", against, "/s", figures[0], figures[1], at_least(0.7), note)
    note = f"with a quota of 100,000,000: creations wait for each other, and each counts the stages that there are; {costs(bounded)}"
    yield Line("CreateStage with a quota, PostgreSQL", against, "/s", figures[2], figures[1], None, note)


def tokens(world):
    store = Sqlite(world)
    arns = plain_stages(world, store, STAGES)
    sign = lambda: world.driver("sign", None, "--seconds", world.seconds)["rate"]
    requests = [("/CreateParticipantToken", {"stageArn": arn, "userId": "alice"}) for arn in arns]
    with Greenroom(world, store.url) as server:
        own = rate(world, server, requests)
        figures = in_turns(world, own, sign)
    yield Line(
        "CreateParticipantToken, embedded store",
        "ES384 signatures on all cores",
        "/s",
        *figures,
        at_least(0.7),
        costs(own),
    )


def moto(world):
    store = Sqlite(world)
    arn = plain_stages(world, store, 1)[0]
    with Greenroom(world, store.url) as server, Moto(world) as other:
        channel = other.client("CreateChannel", name="bench")["channel"]["arn"]
        pairs = (
            ("GetStage", {"arn": arn}, "GetChannel", {"arn": channel}),
            ("CreateStage", {"name": "bench"}, "CreateChannel", {"name": "bench"}),
            ("CreateParticipantToken", {"stageArn": arn}, "CreateChannel", {"name": "bench"}),
        )
        for operation, body, nearest, others in pairs:
            figures = in_turns(
                world,
                rate(world, server, [(f"/{operation}", body)], seconds=min(2, world.seconds)),
                rate(world, other, [(f"/{nearest}", others)], seconds=min(2, world.seconds)),
                rounds=min(3, world.rounds),
            )
            yield Line(f"{operation}, embedded store", f"moto's server, {nearest}", "/s", *figures, at_least(100))


def joins(world):
    """Participants that join and leave, spread over many stages, and all in one."""
    spread = 64
    count = 150 if world.quick else 1000
    store = Relational(world)
    arns = plain_stages(world, store, spread)
    scope = {"account": ACCOUNT, "region": REGION}
    with Greenroom(world, store.url) as server:
        stage = arns[0].rpartition("/")[2]
        new_token = lambda: server.client("CreateParticipantToken", stageArn=arns[0])["participantToken"]
        join = lambda token: world.driver(
            "joins", server, "--tokens", world.written("tokens", [f"{token['token']} {stage}"])
        )
        join(new_token())
        token = new_token()
        groups = world.postgres.asked(store.name, ACCOUNT, lambda: join(token))
        session = server.client("ListStageSessions", stageArn=arns[0])["stageSessions"][0]["sessionId"]
    connection = named(groups, "connections", "id")
    other = reference(world, store)
    world.postgres.sql(other, *sessions(scope, spread, session))
    known = {stage: "stage", session: "session", token["participantId"]: "participant", connection: "connection"}
    for title, many in (("spread over 64 stages", spread), ("in one stage", 1)):
        prelude = [
            f"\\set n random(0, {many - 1})",
            "\\set stage 100000000000 + :n",
            "\\set session 200000000000 + :n",
            postgres.fresh("participant", 1),
            postgres.fresh("connection", 2),
        ]
        script, defines = postgres.script(groups, prelude, known)
        with Greenroom(world, store.url) as server:
            stages = world.written("stages", arns[:many])
            words = ["--stages", stages, "--count", count, "--at-once", world.connections, "--pid", server.pid]
            runs = []
            join = lambda: runs.append(world.driver("joins", server, *words)) or runs[-1]["rate"]
            figures = in_turns(
                world, join, lambda: world.bench(other, script, defines, 2 * world.seconds, clients=POOL)
            )
        median = lambda of: statistics.median(of(run) for run in runs)
        note = (
            f"{world.connections} at once, each leaves once it has the state of the stage; a join takes "
            f"{median(lambda run: run['join_us']['p50']) / 1000:.1f} ms (p50); processor time of a join and leave: "
            f"greenroom {median(lambda run: run['subject_us']):.0f} µs, "
            f"driver {median(lambda run: run['driver_us']):.0f} µs"
        )
        aim = at_least(0.5)
        yield Line(
            f"joins over the events WebSocket, PostgreSQL, {title}",
            f"pgbench, {script_words(groups)}",
            "/s",
            *figures,
            aim,
            note,
        )


def named(groups, table, column):
    """The value of a column in the statement that inserted a row."""
    for sql, params in (statement for group in groups for statement in group):
        if head := re.match(rf"INSERT INTO {table}\s*\(([^)]*)\)\s*VALUES", sql):
            return params[[name.strip() for name in head[1].split(",")].index(column)]
    raise RuntimeError(f"no row of {table} was written")


def sessions(scope, many, session):
    """SQL that opens a session in each of the first stages, with numbered ids."""
    of = f"account = '{scope['account']}' AND region = '{scope['region']}'"
    yield "CREATE TEMP TABLE template AS SELECT * FROM sessions " + f"WHERE {of} AND id = '{session}'"
    yield f"DELETE FROM sessions WHERE {of}"
    yield "UPDATE template SET ends_at = NULL"
    for n in range(many):
        yield f"UPDATE template SET stage_id = '{numbered(n)}', id = '{200_000_000_000 + n}'"
        yield "INSERT INTO sessions SELECT * FROM template"


def tail(world):
    """p99 latency at half of the maximum load."""
    relational = Relational(world)
    on_postgres = plain_stages(world, relational, STAGES)
    embedded = Sqlite(world)
    on_sqlite = plain_stages(world, embedded, STAGES)
    creates = [("/CreateStage", {})]
    cases = (
        ("GetStage, embedded store", embedded, gets(on_sqlite)),
        ("GetStage, PostgreSQL", relational, gets(on_postgres)),
        ("CreateStage, PostgreSQL", relational, creates),
    )
    with Greenroom(world, embedded.url) as server:
        headers, value = server.client.whole("GetStage", **gets(on_sqlite)[0][1])
    body = json.dumps(value, separators=(",", ":"))
    servers = [(title, lambda store=store: Greenroom(world, store.url), requests) for title, store, requests in cases]
    compared = lambda: Constant(world, headers, body)
    servers.append(("the axum constant, to compare", compared, gets(on_sqlite)))
    for title, serve, requests in servers:
        with serve() as server:
            most = statistics.median(world.load(server, requests, seconds=1)["rate"] for _ in range(3))
            runs = [world.load(server, requests, rate=most / 2, connections=128) for _ in range(world.rounds)]
        late = sum(run["late"] for run in runs)
        note = f"at {most / 2:,.0f} requests/s, each due at its time; {late} found no connection in time"
        aim = None if serve is compared else at_most(5)
        slow, usual = ([run["latency_us"][what] for run in runs] for what in ("p99", "p50"))
        yield Line(f"p99 at half of the greatest load: {title}", "p50", "µs", slow, usual, aim, note)


def checks(world):
    """What can be switched off, and the cost of a stored key with a policy."""
    # A file has one server at a time.
    store, other = Sqlite(world), Sqlite(world)
    requests = gets(plain_stages(world, store, STAGES))
    plain_stages(world, other, STAGES)
    policy = world.file("policy")
    statement = {"Effect": "Allow", "Action": ["ivs:GetStage", "ivs:CreateStage"], "Resource": stage_arn("*")}
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    words = ("credentials", "create", "--account", ACCOUNT, "--policy", policy, "--output", "json")
    made = json.loads(offline(world, store.url, *map(str, words)))
    key = (made["accessKeyId"], made["secretAccessKey"])
    with (
        Greenroom(world, store.url) as server,
        Greenroom(world, other.url, "--metrics=off", RUST_LOG="off") as silent,
    ):
        usual, stored, bare = in_turns(
            world, rate(world, server, requests), rate(world, server, requests, key=key), rate(world, silent, requests)
        )
    aim = at_most(1.25, "≤ 1.25 times the time")
    yield Line(
        "GetStage, embedded store, as it comes", "--metrics=off, RUST_LOG=off", "/s", usual, bare, aim, inverse=True
    )
    yield Line("GetStage with a stored key and a policy", "the key `test`", "/s", stored, usual, inverse=True)


def connections(world):
    """Not in the table: how many connections suit greenroom and the constant."""
    store = Sqlite(world)
    requests = gets(plain_stages(world, store, STAGES))
    with Greenroom(world, store.url) as server:
        headers, value = server.client.whole("GetStage", **requests[0][1])
        with Constant(world, headers, json.dumps(value)) as constant:
            for count in itertools.takewhile(lambda n: n <= 256, (2**n for n in range(2, 10))):
                own, other = (
                    rate(world, server, requests, connections=count),
                    rate(world, constant, requests, connections=count),
                )
                figures = in_turns(world, own, other)
                yield Line(
                    f"GetStage, embedded store, {count} connections",
                    "axum, a constant",
                    "/s",
                    *figures,
                    None,
                    costs(own, other),
                )
