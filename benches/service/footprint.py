"""Startup time and memory of a server; results of the in-process benchmarks."""

import http.client
import json
import os
import subprocess
import time

from . import api, processes
from .fill import ENGINES, insert_stages
from .lists import big
from .measures import alternate
from .report import Comparison, at_least, at_most
from .servers import Greenroom, Moto
from .context import ROOT, say

MIB = 2**20
# In-process benchmarks: package and bench name.
BENCHES = {"inside": ("greenroom", "shares"), "sfu": ("greenroom-media", "forwarding")}


def start(context):
    fresh = lambda: Greenroom(context, f"sqlite://{context.file('fresh')}.db")
    pair = ((fresh, "ListStages"), (lambda: Moto(context), "ListChannels"))
    context.venv()
    cold = alternate(context, *(lambda make=make, ask=ask: first_answer(make(), ask) for make, ask in pair))
    yield Comparison(
        "cold start to the first signed response, new SQLite store",
        "moto's server",
        "ms",
        *cold,
        at_most(1 / 20, "≤ 1/20"),
    )
    rest = 1 if context.quick else 5
    idle = alternate(
        context, *(lambda make=make, ask=ask: idle_memory(make(), ask, rest) for make, ask in pair), rounds=min(3, context.rounds)
    )
    note = f"RSS {rest} s after one request"
    yield Comparison("idle memory, SQLite", "moto's server", "MiB", *idle, at_most(1 / 3, "≤ 1/3"), note)


def first_answer(server, operation):
    """Milliseconds from the start of the process to its first response."""
    path, body = f"/{operation}", b"{}"
    headers = api.signed(server.address, path, body)
    begun = time.monotonic()
    server.start()
    try:
        while True:
            connection = http.client.HTTPConnection(server.address, timeout=30)
            try:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                if answer.status == 200:
                    return (time.monotonic() - begun) * 1000
                error_text = f"{answer.status}: {answer.read(500)}"
            except OSError as error:
                error_text = error
            finally:
                connection.close()
            if server.process.poll() is not None or time.monotonic() > begun + 60:
                raise RuntimeError(f"{server.name} does not respond to {operation}: {error_text}")
            time.sleep(0.001)
    finally:
        server.stop()


def idle_memory(server, operation, rest):
    with server:
        server.client(operation)
        time.sleep(rest)
        return processes.memory(server.pid) / MIB


def memory(context):
    """Memory after the same requests, with many stages in the store and with one."""
    for engine in ENGINES:
        many, few = big(context, engine), ENGINES[engine](context)
        (arn,) = insert_stages(context, few, 1)
        page = ("/ListStages", {"maxResults": 100})
        ours = [*many.pages.values(), *many.reads(3000)]
        theirs = [page] * 3 + [("/GetStage", {"arn": arn})] * 3000
        own, other = (lambda: memory_after(context, many.store, ours)), (lambda: memory_after(context, few, theirs))
        figures = alternate(context, own, other, rounds=min(3, context.rounds))
        note = "RSS after the same number of ListStages pages and of GetStage requests over the whole table"
        yield Comparison(
            f"memory with {many.count:,} stages, {engine}", "with one stage", "MiB", *figures, at_most(1.5), note
        )


def memory_after(context, store, requests):
    with Greenroom(context, store.url) as server:
        context.load(server, requests)
        return processes.memory(server.pid) / MIB


def inside(context):
    """Cost of signature verification, policy, logs and metrics, measured in process."""
    report = bench(*BENCHES["inside"])
    without = report["without_us"]
    parts = ", ".join(f"{name} {took:.1f} µs" for name, took in report["parts"].items())
    what = "cost of signature verification, policy, logs and metrics, in process"
    yield Comparison(what, "GetStage without them", "µs", [report["whole_us"] - without], [without], at_most(0.25), parts)


def sfu(context):
    quick = {"SFU_ROUNDS": "1", "SFU_SUBSCRIBERS": "50"} if context.quick else {}
    for row in bench(*BENCHES["sfu"], **quick)["rows"]:
        if row["bytes"] != 1200 or not row.get("thread_ratio"):
            continue
        aim = at_least(0.5) if row["subscribers"] == 50 else None
        yield Comparison(
            f"SFU: packets of {row['bytes']} bytes forwarded to {row['subscribers']} subscribers",
            "SRTP encryption only",
            "/s per core",
            [row["thread"]],
            [row["encryption"]],
            aim,
            row["profile"],
        )


def bench(package, name, **environment):
    """Runs a bench; returns the JSON in its last line."""
    say(f"cargo bench --bench {name}")
    command = ["cargo", "bench", "--locked", "-q", "-p", package, "--bench", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment)
    if done.returncode:
        raise RuntimeError(f"cargo bench --bench {name}: {done.stderr[-500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
