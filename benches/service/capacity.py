"""Capacity of a node and of a PostgreSQL core: absolute results."""

import json
import re
import subprocess
import time
import urllib.request

from . import processes
from .fill import ENGINES, Relational, Sqlite, insert_stages
from .lists import big, sessions
from .measures import STAGES, gets
from .report import Measurement
from .servers import ConstantServer, Greenroom


def capacity(context):
    yield from requests(context)
    yield from commits(context)
    yield from joins(context)
    yield from events(context)
    yield from participant_memory(context)
    yield from storage(context)


def mixed(arns):
    """A mix of 70 % GetStage and 10 % each of ListStages, CreateParticipantToken and CreateStage."""
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


def requests(context):
    for engine, make in ENGINES.items():
        store = make(context)
        arns = insert_stages(context, store, STAGES)
        cases = {
            "GetStage": gets(arns),
            "CreateStage": [("/CreateStage", {})],
            "CreateParticipantToken": [("/CreateParticipantToken", {"stageArn": arn}) for arn in arns],
            "ListStages, pages of 100": [("/ListStages", {"maxResults": 100})],
            "mixed load": list(mixed(arns)),
        }
        with Greenroom(context, store.url) as server:
            for name, asked in cases.items():
                rate, own, theirs, driver = measured(context, server, engine, asked)
                note = f"CPU time per request: {shares(own, theirs)}; driver {driver:.0f} µs"
                yield Measurement(f"{name}, {engine}", rate, "requests/s", note)


def shares(own, theirs):
    """CPU time per request, and the resulting maximum rate of a core."""
    both = (("greenroom", own), ("PostgreSQL", theirs))
    return ", ".join(f"{name} {took:,.0f} µs ({1e6 / took:,.0f}/s per core)" for name, took in both if took)


def measured(context, server, engine, asked):
    """Requests per second, and CPU time per request of greenroom, PostgreSQL and the driver."""
    spent = lambda: context.postgres.cpu() if engine == "PostgreSQL" else 0.0
    before = spent()
    report = context.load(server, asked)
    # PostgreSQL's CPU time includes the warm-up.
    done = sum(report["statuses"].values())
    return report["rate"], report["subject_us"], (spent() - before) * 1e6 / done, report["driver_us"]


def commits(context):
    """Commits per second, sequential and concurrent: the limit of the disk."""
    context.postgres.create("commits")
    context.postgres.sql("commits", "CREATE TABLE written (n BIGINT)")
    for title, clients in (
        ("sequential", 1),
        ("on 8 connections", 8),
        ("on 32 connections", 32),
    ):
        rate = context.bench("commits", "INSERT INTO written VALUES (:seq);\n", {}, clients=clients)
        yield Measurement(f"commits {title}, PostgreSQL", rate, "/s", "by pgbench, one row per commit, on this machine's disk")


def joins(context):
    store = Relational(context)
    arns = insert_stages(context, store, 64)
    count = 150 if context.quick else 1000
    with Greenroom(context, store.url) as server:
        words = [
            "--stages",
            context.written("stages", arns),
            "--count",
            count,
            "--at-once",
            context.connections,
            "--pid",
            server.pid,
        ]
        tokens = [("/CreateParticipantToken", {"stageArn": arn}) for arn in arns]
        each = measured(context, server, "PostgreSQL", tokens)[2]
        before = context.postgres.cpu()
        report = context.driver("joins", server, *words)
        spent = (context.postgres.cpu() - before) * 1e6 / count - each
    note = f"CPU time per join and leave: {shares(report['subject_us'], spent)}; spread over 64 stages"
    yield Measurement("joins over the events WebSocket, PostgreSQL", report["rate"], "joins/s", note)


def events(context):
    """Events per second from the outbox to the log, and to targets."""
    count = 3_000 if context.quick else 30_000
    for engine, make in ENGINES.items():
        store = make(context)
        with Greenroom(context, store.url, "--extended-events=on") as server:
            (arn,) = [server.client("CreateStage")["stage"]["arn"]]
            context.driver("joins", server, "--stages", context.written("stages", [arn]), "--count", 1)
            processes.until(lambda: int(first(store.run("SELECT COUNT(*) FROM events"))) >= 2, "no event was logged")
        template = first(store.run("SELECT MIN(position) FROM events"))
        fill_outbox(store, template, count)
        lines = context.file("events").with_suffix(".jsonl")
        target = f'type = "file"\npath = "{lines}"'
        rates = delivered(context, store, target, count)
        yield Measurement(f"events from the outbox to the log, {engine}", rates["greenroom_outbox_relayed_total"], "events/s")
        yield Measurement(
            f"events delivered to a file, {engine}", rates[DELIVERED], "events/s", "concurrently with the relay to the log"
        )
        if engine == "PostgreSQL":
            size = int(store.run("SELECT pg_total_relation_size('events')"))
            yield Measurement("size of an event in the log, PostgreSQL", size / count, "bytes", "including indexes")
        secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        with ConstantServer(context, [], "") as receiver:
            target = f'type = "webhook"\nurl = "http://{receiver.address}/"\nsecret = "{secret}"\nconcurrency = 32'
            rates = delivered(context, store, target, count, relayed=False)
        yield Measurement(
            f"events delivered to a webhook, {engine}", rates[DELIVERED], "events/s", "signed, concurrency 32, 500 stages"
        )


DELIVERED = "greenroom_event_target_delivered_total"


def first(answer):
    """The single value of a query, on either engine."""
    return answer[0][0] if isinstance(answer, list) else answer


def fill_outbox(store, template, count):
    """Fills the outbox with copies of an event, in 500 stages."""
    n = "CAST(n AS TEXT)"
    columns = "account, region, stage_id, number, id, kind, body, written_at"
    stage, name = "SUBSTR(MD5(CAST(n % 500 AS TEXT)), 1, 12)", f"SUBSTR(MD5({n}), 1, 32)"
    chosen = f"account, region, {stage}, n, {name}, kind, body, written_at"
    series = (
        f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "
        f"INSERT INTO outbox ({columns}) SELECT {chosen} FROM numbers, events WHERE position = {template}"
    )
    store.run(series)


def delivered(context, store, target, count, relayed=True):
    """Events per second by metric, from the first nonzero sample to the sample with all events."""
    name = f"target-{context.serial}"
    config = context.written("targets", [f'[[target]]\nname = "{name}"\nfrom = "oldest"\n{target}'])
    watched = [DELIVERED, *(["greenroom_outbox_relayed_total"] if relayed else [])]
    samples_by_metric = {series: [] for series in watched}
    with Greenroom(context, store.url, "--events-config", config) as server:
        end = time.monotonic() + 300
        while any(not samples or samples[-1][1] < count for samples in samples_by_metric.values()):
            if time.monotonic() > end:
                raise TimeoutError(f"events were not delivered: {samples_by_metric}")
            with urllib.request.urlopen(f"http://{server.address}/metrics") as page:
                text = page.read().decode()
            for series, samples in samples_by_metric.items():
                value = sum(float(found) for found in re.findall(rf"^{series}(?:{{[^}}]*}})? (\S+)", text, re.M))
                if value and (not samples or samples[-1][1] < count):
                    samples.append((time.monotonic(), value))
            time.sleep(0.02)
    rates = {}
    for series, samples in samples_by_metric.items():
        (start, first_value), (end_time, last_value) = samples[0], samples[-1]
        rates[series] = (last_value - first_value) / (end_time - start) if end_time > start else float("nan")
    return rates


def participant_memory(context):
    """Memory of a node per participant."""
    count = 200 if context.quick else 1500
    for title, stages in (("ten per stage", count // 10), ("all in one stage", 1)):
        store = Sqlite(context)
        arns = insert_stages(context, store, stages)
        with Greenroom(context, store.url) as server:
            file = context.written("stages", arns)
            command = [context.driver_program, "joins", "--target", server.address, "--stages", file]
            subprocess.run([*map(str, command), "--count", "50"], check=True, capture_output=True)
            time.sleep(1)
            before = processes.memory(server.pid)
            driver = subprocess.Popen(
                [*map(str, command), "--count", str(count), "--hold"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            context.running.append(driver)
            line = driver.stdout.readline()
            if not line:
                raise RuntimeError(f"the driver ended with {driver.wait()} while {count:,} participants were connected")
            joined = json.loads(line)["joined"]
            time.sleep(2)
            each = (processes.memory(server.pid) - before) / joined / 1024
            driver.communicate("\n")
            context.running.remove(driver)
        yield Measurement(f"memory of a participant on the events WebSocket, {title}", each, "KiB", f"{joined:,} connected")


def storage(context):
    for engine in ENGINES:
        stages, session = big(context, engine), sessions(context, engine)
        yield Measurement(f"size of a stage in the store, {engine}", stages.bytes_each, "bytes", "including indexes")
        yield Measurement(f"size of a participant in the store, {engine}", session.bytes_each, "bytes", "including indexes")
        yield Measurement(f"size of a participant event in the store, {engine}", session.bytes_each_event, "bytes")
