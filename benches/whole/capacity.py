"""Capacity of a node and of a core of PostgreSQL: absolute figures."""

import json
import re
import subprocess
import time
import urllib.request

from . import processes
from .fill import ENGINES, Relational, Sqlite, plain_stages
from .lists import big, sessions
from .measures import STAGES, gets
from .report import Fact
from .servers import Constant, Greenroom


def capacity(world):
    yield from requests(world)
    yield from commits(world)
    yield from comings(world)
    yield from events(world)
    yield from connected(world)
    yield from disk(world)


def mixed(arns):
    """Of ten requests seven read a stage, and one each lists, makes a token and creates."""
    for n, arn in enumerate(arns):
        kind = n % 10
        if kind == 0:
            yield "/ListStages", {"maxResults": 10}
        elif kind == 1:
            yield "/CreateParticipantToken", {"stageArn": arn}
        elif kind == 2:
            yield "/CreateStage", {}
        else:
            yield "/GetStage", {"arn": arn}


def requests(world):
    for engine, make in ENGINES.items():
        store = make(world)
        arns = plain_stages(world, store, STAGES)
        cases = {
            "GetStage": gets(arns),
            "CreateStage": [("/CreateStage", {})],
            "CreateParticipantToken": [("/CreateParticipantToken", {"stageArn": arn}) for arn in arns],
            "ListStages, pages of 100": [("/ListStages", {"maxResults": 100})],
            "a mixed load": list(mixed(arns)),
        }
        with Greenroom(world, store.url) as server:
            for name, asked in cases.items():
                rate, own, theirs, driver = measured(world, server, engine, asked)
                note = f"processor time of a request: {shares(own, theirs)}; driver {driver:.0f} µs"
                yield Fact(f"{name}, {engine}", rate, "requests/s", note)


def shares(own, theirs):
    """Processor time of one, and so the maximum of a core."""
    both = (("greenroom", own), ("PostgreSQL", theirs))
    return ", ".join(f"{name} {took:,.0f} µs ({1e6 / took:,.0f}/s and core)" for name, took in both if took)


def measured(world, server, engine, asked):
    """Requests a second, and the processor time of one: greenroom's, PostgreSQL's, the driver's."""
    spent = lambda: world.postgres.cpu() if engine == "PostgreSQL" else 0.0
    before = spent()
    report = world.load(server, asked)
    # PostgreSQL is measured from outside: its warm-up is included.
    done = sum(report["statuses"].values())
    return report["rate"], report["subject_us"], (spent() - before) * 1e6 / done, report["driver_us"]


def commits(world):
    """The limit of the disk: commits a second, one after the other."""
    world.postgres.create("commits")
    world.postgres.sql("commits", "CREATE TABLE written (n BIGINT)")
    for title, clients in (
        ("one after the other", 1),
        ("of 8 connections at once", 8),
        ("of 32 connections at once", 32),
    ):
        rate = world.bench("commits", "INSERT INTO written VALUES (:seq);\n", {}, clients=clients)
        yield Fact(f"commits {title}, PostgreSQL", rate, "/s", "by pgbench: one row each, on the disk of this machine")


def comings(world):
    store = Relational(world)
    arns = plain_stages(world, store, 64)
    count = 150 if world.quick else 1000
    with Greenroom(world, store.url) as server:
        words = [
            "--stages",
            world.written("stages", arns),
            "--count",
            count,
            "--at-once",
            world.connections,
            "--pid",
            server.pid,
        ]
        tokens = [("/CreateParticipantToken", {"stageArn": arn}) for arn in arns]
        each = measured(world, server, "PostgreSQL", tokens)[2]
        before = world.postgres.cpu()
        report = world.driver("joins", server, *words)
        spent = (world.postgres.cpu() - before) * 1e6 / count - each
    note = f"processor time of one, coming and leaving: {shares(report['subject_us'], spent)}; spread over 64 stages"
    yield Fact("joins over the events WebSocket, PostgreSQL", report["rate"], "joins/s", note)


def events(world):
    """Events in the outbox: relayed to the log, and delivered."""
    count = 3_000 if world.quick else 30_000
    for engine, make in ENGINES.items():
        store = make(world)
        with Greenroom(world, store.url, "--extended-events=on") as server:
            (arn,) = [server.client("CreateStage")["stage"]["arn"]]
            world.driver("joins", server, "--stages", world.written("stages", [arn]), "--count", 1)
            processes.until(lambda: int(first(store.run("SELECT COUNT(*) FROM events"))) >= 2, "no event came")
        template = first(store.run("SELECT MIN(position) FROM events"))
        waiting(store, template, count)
        lines = world.file("events").with_suffix(".jsonl")
        target = f'type = "file"\npath = "{lines}"'
        rates = delivered(world, store, target, count)
        yield Fact(f"events from the outbox to the log, {engine}", rates["greenroom_outbox_relayed_total"], "events/s")
        yield Fact(
            f"events delivered to a file, {engine}", rates[DELIVERED], "events/s", "while they are moved to the log"
        )
        if engine == "PostgreSQL":
            size = int(store.run("SELECT pg_total_relation_size('events')"))
            yield Fact("an event in the log, PostgreSQL", size / count, "bytes", "with its indexes")
        secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        with Constant(world, [], "") as receiver:
            target = f'type = "webhook"\nurl = "http://{receiver.address}/"\nsecret = "{secret}"\nconcurrency = 32'
            rates = delivered(world, store, target, count, relayed=False)
        yield Fact(
            f"events delivered to a webhook, {engine}", rates[DELIVERED], "events/s", "signed, 32 at once, 500 stages"
        )


DELIVERED = "greenroom_event_target_delivered_total"


def first(answer):
    """The single value of a query, on either engine."""
    return answer[0][0] if isinstance(answer, list) else answer


def waiting(store, template, count):
    """Copies of an event in the outbox, of 500 stages."""
    n = "CAST(n AS TEXT)"
    columns = "account, region, stage_id, number, id, kind, body, written_at"
    stage, name = "SUBSTR(MD5(CAST(n % 500 AS TEXT)), 1, 12)", f"SUBSTR(MD5({n}), 1, 32)"
    chosen = f"account, region, {stage}, n, {name}, kind, body, written_at"
    series = (
        f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "
        f"INSERT INTO outbox ({columns}) SELECT {chosen} FROM numbers, events WHERE position = {template}"
    )
    store.run(series)


def delivered(world, store, target, count, relayed=True):
    """Events a second, by series: from the first sample with some to the one with all."""
    name = f"target-{world.serial}"
    config = world.written("targets", [f'[[target]]\nname = "{name}"\nfrom = "oldest"\n{target}'])
    watched = [DELIVERED, *(["greenroom_outbox_relayed_total"] if relayed else [])]
    looks = {series: [] for series in watched}
    with Greenroom(world, store.url, "--events-config", config) as server:
        end = time.monotonic() + 300
        while any(not seen or seen[-1][1] < count for seen in looks.values()):
            if time.monotonic() > end:
                raise TimeoutError(f"events did not come: {looks}")
            with urllib.request.urlopen(f"http://{server.address}/metrics") as page:
                text = page.read().decode()
            for series, seen in looks.items():
                value = sum(float(found) for found in re.findall(rf"^{series}(?:{{[^}}]*}})? (\S+)", text, re.M))
                if value and (not seen or seen[-1][1] < count):
                    seen.append((time.monotonic(), value))
            time.sleep(0.02)
    rates = {}
    for series, seen in looks.items():
        (begun, few), (ended, all_) = seen[0], seen[-1]
        rates[series] = (all_ - few) / (ended - begun) if ended > begun else float("nan")
    return rates


def connected(world):
    """Memory of a node for each participant."""
    count = 200 if world.quick else 1500
    for title, stages in (("ten to a stage", count // 10), ("all in one stage", 1)):
        store = Sqlite(world)
        arns = plain_stages(world, store, stages)
        with Greenroom(world, store.url) as server:
            file = world.written("stages", arns)
            command = [world.driver_program, "joins", "--target", server.address, "--stages", file]
            subprocess.run([*map(str, command), "--count", "50"], check=True, capture_output=True)
            time.sleep(1)
            before = processes.memory(server.pid)
            holder = subprocess.Popen(
                [*map(str, command), "--count", str(count), "--hold"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            world.running.append(holder)
            line = holder.stdout.readline()
            if not line:
                raise RuntimeError(f"the driver ended with {holder.wait()} while it held {count:,} participants")
            joined = json.loads(line)["joined"]
            time.sleep(2)
            each = (processes.memory(server.pid) - before) / joined / 1024
            holder.communicate("\n")
            world.running.remove(holder)
        yield Fact(f"memory of a participant on the events WebSocket, {title}", each, "KiB", f"{joined:,} connected")


def disk(world):
    for engine in ENGINES:
        stages, session = big(world, engine), sessions(world, engine)
        yield Fact(f"a stage in the store, {engine}", stages.bytes_each, "bytes", "with its indexes")
        yield Fact(f"a participant in the store, {engine}", session.bytes_each, "bytes", "with its indexes")
        yield Fact(f"an event of a participant in the store, {engine}", session.bytes_each_event, "bytes")
