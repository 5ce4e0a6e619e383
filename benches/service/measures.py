"""Request rates of greenroom and of reference programs, in alternating rounds."""

import itertools
import json
import re
import statistics

from . import postgres
from .fill import Relational, Sqlite, numbered_id, insert_stages, stage_arn
from .report import Comparison, at_least, at_most
from .servers import ConstantServer, Greenroom, Moto, run_command
from .context import ACCOUNT, REGION

STAGES = 1000
POOL = 8


def alternate(context, *subjects, rounds=None):
    """Runs each subject once a round, in alternating order; returns the results of each subject."""
    figures = [[] for _ in subjects]
    for n in range(rounds or context.rounds):
        order = range(len(subjects)) if n % 2 == 0 else reversed(range(len(subjects)))
        for place in order:
            figures[place].append(subjects[place]())
    return figures


def rate(context, server, requests, **how):
    """A subject for `alternate`: requests per second."""
    costs = []

    def once():
        report = context.load(server, requests, **how)
        costs.append((report["driver_us"], report["subject_us"]))
        return report["rate"]

    once.costs = lambda: tuple(statistics.median(column) for column in zip(*costs, strict=True))
    return once


def gets(arns):
    return [("/GetStage", {"arn": arn}) for arn in arns]


def costs(own, other=None):
    driver, server = own.costs()
    text = f"CPU time per request: greenroom {server:.1f} µs, driver {driver:.1f} µs"
    return text if other is None else f"{text}, other server {other.costs()[1]:.1f} µs"


def get_stage_embedded(context):
    store = Sqlite(context)
    requests = gets(insert_stages(context, store, STAGES))
    with Greenroom(context, store.url) as server:
        headers, value = server.client.with_headers("GetStage", **requests[0][1])
        body = json.dumps(value, separators=(",", ":"))
        with ConstantServer(context, headers, body) as constant:
            own, other = rate(context, server, requests), rate(context, constant, requests)
            figures = alternate(context, own, other)
    yield Comparison(
        "GetStage, signed, SQLite",
        "axum server with a constant response of the same size",
        "/s",
        *figures,
        at_least(0.5),
        costs(own, other),
    )


def get_stage_postgres(context):
    store = Relational(context)
    requests = gets(insert_stages(context, store, STAGES))
    with Greenroom(context, store.url) as server:
        template = requests[7][1]["arn"]
        groups = context.postgres.capture(store.name, ACCOUNT, lambda: server.client("GetStage", arn=template))
        prelude = [f"\\set stage random(100000000000, {numbered_id(STAGES - 1)})"]
        script, defines = postgres.script(groups, prelude, {template.rpartition("/")[2]: "stage"})
        own = rate(context, server, requests)
        figures = alternate(context, own, lambda: context.bench(store.name, script, defines, clients=POOL))
    yield Comparison("GetStage, signed, PostgreSQL", f"pgbench, {script_words(groups)}", "/s", *figures, at_least(0.6), costs(own))


def script_words(groups):
    """A description of a script."""
    statements = sum(len(group) for group in groups)
    return f"statements of one request, sequential ({statements} in {len(groups)} transactions)"


def reference(context, store):
    """A copy of a database without other clients."""
    name = f"{store.name}_reference"
    context.postgres.create(name, store.name)
    return name


def create_stage_postgres(context):
    store = Relational(context)
    with Greenroom(context, store.url) as server:
        made = lambda: made_ids.append(server.client("CreateStage")["stage"]["arn"].rpartition("/")[2])
        made_ids = []
        made()
        groups = context.postgres.capture(store.name, ACCOUNT, made)
    other = reference(context, store)
    script, defines = postgres.script(groups, [postgres.unique_id("stage", 1)], {made_ids[-1]: "stage"})
    request = [("/CreateStage", {})]
    with Greenroom(context, store.url) as server, Greenroom(context, store.url, quotas="stages=100000000") as limited:
        own, bounded = rate(context, server, request), rate(context, limited, request)
        figures = alternate(context, own, lambda: context.bench(other, script, defines, clients=POOL), bounded)
    against = f"pgbench, {script_words(groups)}"
    note = f"without a stage quota; {costs(own)}"
    yield Comparison("CreateStage, signed, PostgreSQL", against, "/s", figures[0], figures[1], at_least(0.7), note)
    note = f"with a stage quota of 100,000,000; {costs(bounded)}"
    yield Comparison("CreateStage with a quota, PostgreSQL", against, "/s", figures[2], figures[1], None, note)


def tokens(context):
    store = Sqlite(context)
    arns = insert_stages(context, store, STAGES)
    sign = lambda: context.driver("sign", None, "--seconds", context.seconds)["rate"]
    requests = [("/CreateParticipantToken", {"stageArn": arn, "userId": "alice"}) for arn in arns]
    with Greenroom(context, store.url) as server:
        own = rate(context, server, requests)
        figures = alternate(context, own, sign)
    yield Comparison(
        "CreateParticipantToken, SQLite",
        "ES384 signatures on all cores",
        "/s",
        *figures,
        at_least(0.7),
        costs(own),
    )


def moto(context):
    store = Sqlite(context)
    arn = insert_stages(context, store, 1)[0]
    with Greenroom(context, store.url) as server, Moto(context) as other:
        channel = other.client("CreateChannel", name="bench")["channel"]["arn"]
        pairs = (
            ("GetStage", {"arn": arn}, "GetChannel", {"arn": channel}),
            ("CreateStage", {"name": "bench"}, "CreateChannel", {"name": "bench"}),
            ("CreateParticipantToken", {"stageArn": arn}, "CreateChannel", {"name": "bench"}),
        )
        for operation, body, nearest, others in pairs:
            figures = alternate(
                context,
                rate(context, server, [(f"/{operation}", body)], seconds=min(2, context.seconds)),
                rate(context, other, [(f"/{nearest}", others)], seconds=min(2, context.seconds)),
                rounds=min(3, context.rounds),
            )
            yield Comparison(f"{operation}, SQLite", f"moto's server, {nearest}", "/s", *figures, at_least(100))


def joins(context):
    """Participants that join and leave, over 64 stages and in one stage."""
    spread = 64
    count = 150 if context.quick else 1000
    store = Relational(context)
    arns = insert_stages(context, store, spread)
    scope = {"account": ACCOUNT, "region": REGION}
    with Greenroom(context, store.url) as server:
        stage = arns[0].rpartition("/")[2]
        new_token = lambda: server.client("CreateParticipantToken", stageArn=arns[0])["participantToken"]
        join = lambda token: context.driver(
            "joins", server, "--tokens", context.written("tokens", [f"{token['token']} {stage}"])
        )
        join(new_token())
        token = new_token()
        groups = context.postgres.capture(store.name, ACCOUNT, lambda: join(token))
        session = server.client("ListStageSessions", stageArn=arns[0])["stageSessions"][0]["sessionId"]
    connection = named(groups, "connections", "id")
    other = reference(context, store)
    context.postgres.sql(other, *sessions(scope, spread, session))
    known = {stage: "stage", session: "session", token["participantId"]: "participant", connection: "connection"}
    for title, many in (("over 64 stages", spread), ("in one stage", 1)):
        prelude = [
            f"\\set n random(0, {many - 1})",
            "\\set stage 100000000000 + :n",
            "\\set session 200000000000 + :n",
            postgres.unique_id("participant", 1),
            postgres.unique_id("connection", 2),
        ]
        script, defines = postgres.script(groups, prelude, known)
        with Greenroom(context, store.url) as server:
            stages = context.written("stages", arns[:many])
            words = ["--stages", stages, "--count", count, "--at-once", context.connections, "--pid", server.pid]
            runs = []
            join = lambda: runs.append(context.driver("joins", server, *words)) or runs[-1]["rate"]
            figures = alternate(
                context, join, lambda: context.bench(other, script, defines, 2 * context.seconds, clients=POOL)
            )
        median = lambda of: statistics.median(of(run) for run in runs)
        note = (
            f"{context.connections} concurrent, each leaves after the first stage state; join latency "
            f"{median(lambda run: run['join_us']['p50']) / 1000:.1f} ms (p50); CPU time per join and leave: "
            f"greenroom {median(lambda run: run['subject_us']):.0f} µs, "
            f"driver {median(lambda run: run['driver_us']):.0f} µs"
        )
        aim = at_least(0.5)
        yield Comparison(
            f"joins over the events WebSocket, PostgreSQL, {title}",
            f"pgbench, {script_words(groups)}",
            "/s",
            *figures,
            aim,
            note,
        )


def named(groups, table, column):
    """The value of a column in the INSERT statement of a row."""
    for sql, params in (statement for group in groups for statement in group):
        if head := re.match(rf"INSERT INTO {table}\s*\(([^)]*)\)\s*VALUES", sql):
            return params[[name.strip() for name in head[1].split(",")].index(column)]
    raise RuntimeError(f"no row of {table} was written")


def sessions(scope, many, session):
    """SQL that opens a session in each of the first `many` stages, with numbered ids."""
    of = f"account = '{scope['account']}' AND region = '{scope['region']}'"
    yield "CREATE TEMP TABLE template AS SELECT * FROM sessions " + f"WHERE {of} AND id = '{session}'"
    yield f"DELETE FROM sessions WHERE {of}"
    yield "UPDATE template SET ends_at = NULL"
    for n in range(many):
        yield f"UPDATE template SET stage_id = '{numbered_id(n)}', id = '{200_000_000_000 + n}'"
        yield "INSERT INTO sessions SELECT * FROM template"


def tail(context):
    """p99 latency at half of the maximum rate."""
    relational = Relational(context)
    on_postgres = insert_stages(context, relational, STAGES)
    embedded = Sqlite(context)
    on_sqlite = insert_stages(context, embedded, STAGES)
    creates = [("/CreateStage", {})]
    cases = (
        ("GetStage, SQLite", embedded, gets(on_sqlite)),
        ("GetStage, PostgreSQL", relational, gets(on_postgres)),
        ("CreateStage, PostgreSQL", relational, creates),
    )
    with Greenroom(context, embedded.url) as server:
        headers, value = server.client.with_headers("GetStage", **gets(on_sqlite)[0][1])
    body = json.dumps(value, separators=(",", ":"))
    servers = [(title, lambda store=store: Greenroom(context, store.url), requests) for title, store, requests in cases]
    axum_server = lambda: ConstantServer(context, headers, body)
    servers.append(("axum server with a constant response, for comparison", axum_server, gets(on_sqlite)))
    for title, serve, requests in servers:
        with serve() as server:
            maximum_rate = statistics.median(context.load(server, requests, seconds=1)["rate"] for _ in range(3))
            runs = [context.load(server, requests, rate=maximum_rate / 2, connections=128) for _ in range(context.rounds)]
        late = sum(run["late"] for run in runs)
        note = f"at {maximum_rate / 2:,.0f} requests/s on a fixed schedule; {late} late for lack of a free connection"
        aim = None if serve is axum_server else at_most(5)
        slow, usual = ([run["latency_us"][what] for run in runs] for what in ("p99", "p50"))
        yield Comparison(f"p99 at half of the maximum rate: {title}", "p50", "µs", slow, usual, aim, note)


def checks(context):
    """Cost of logs and metrics, and of a stored key with a policy."""
    # A SQLite file can be used by one server only.
    store, other = Sqlite(context), Sqlite(context)
    requests = gets(insert_stages(context, store, STAGES))
    insert_stages(context, other, STAGES)
    policy = context.file("policy")
    statement = {"Effect": "Allow", "Action": ["ivs:GetStage", "ivs:CreateStage"], "Resource": stage_arn("*")}
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    words = ("credentials", "create", "--account", ACCOUNT, "--policy", policy, "--output", "json")
    made = json.loads(run_command(context, store.url, *map(str, words)))
    key = (made["accessKeyId"], made["secretAccessKey"])
    with (
        Greenroom(context, store.url) as server,
        Greenroom(context, other.url, "--metrics=off", RUST_LOG="off") as silent,
    ):
        usual, stored, bare = alternate(
            context, rate(context, server, requests), rate(context, server, requests, key=key), rate(context, silent, requests)
        )
    aim = at_most(1.25, "≤ 1.25 times the time")
    yield Comparison(
        "GetStage, SQLite, default settings", "--metrics=off, RUST_LOG=off", "/s", usual, bare, aim, inverse=True
    )
    yield Comparison("GetStage with a stored key and a policy", "development key `test`", "/s", stored, usual, inverse=True)


def connections(context):
    """Rates by number of connections; not in the results table."""
    store = Sqlite(context)
    requests = gets(insert_stages(context, store, STAGES))
    with Greenroom(context, store.url) as server:
        headers, value = server.client.with_headers("GetStage", **requests[0][1])
        with ConstantServer(context, headers, json.dumps(value)) as constant:
            for count in itertools.takewhile(lambda n: n <= 256, (2**n for n in range(2, 10))):
                own, other = (
                    rate(context, server, requests, connections=count),
                    rate(context, constant, requests, connections=count),
                )
                figures = alternate(context, own, other)
                yield Comparison(
                    f"GetStage, SQLite, {count} connections",
                    "axum server with a constant response",
                    "/s",
                    *figures,
                    None,
                    costs(own, other),
                )
