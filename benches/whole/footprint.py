"""Start-up time and memory of a server; results of the other benches of this folder."""

import http.client
import json
import os
import subprocess
import time

from . import api, processes
from .fill import ENGINES, plain_stages
from .lists import big
from .measures import in_turns
from .report import Line, at_least, at_most
from .servers import Greenroom, Moto
from .world import ROOT, say

MIB = 2**20
# Measures that are benches of their own.
BENCHES = {"inside": ("greenroom", "shares"), "sfu": ("greenroom-media", "forwarding")}


def start(world):
    fresh = lambda: Greenroom(world, f"sqlite://{world.file('fresh')}.db")
    pair = ((fresh, "ListStages"), (lambda: Moto(world), "ListChannels"))
    world.venv()
    cold = in_turns(world, *(lambda make=make, ask=ask: first_answer(make(), ask) for make, ask in pair))
    yield Line(
        "cold start to the first signed answer, fresh embedded store",
        "moto's server",
        "ms",
        *cold,
        at_most(1 / 20, "≤ 1/20"),
    )
    rest = 1 if world.quick else 5
    idle = in_turns(
        world, *(lambda make=make, ask=ask: held(make(), ask, rest) for make, ask in pair), rounds=min(3, world.rounds)
    )
    note = f"RSS {rest} s after one request"
    yield Line("idle memory, embedded store", "moto's server", "MiB", *idle, at_most(1 / 3, "≤ 1/3"), note)


def first_answer(server, operation):
    """Milliseconds from the start of the process to its answer."""
    path, body = f"/{operation}", b"{}"
    headers = api.signed(server.address, path, body)
    begun = time.monotonic()
    server.begin()
    try:
        while True:
            connection = http.client.HTTPConnection(server.address, timeout=30)
            try:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                if answer.status == 200:
                    return (time.monotonic() - begun) * 1000
                said = f"{answer.status}: {answer.read(500)}"
            except OSError as error:
                said = error
            finally:
                connection.close()
            if server.process.poll() is not None or time.monotonic() > begun + 60:
                raise RuntimeError(f"{server.name} does not answer {operation}: {said}")
            time.sleep(0.001)
    finally:
        server.end()


def held(server, operation, rest):
    with server:
        server.client(operation)
        time.sleep(rest)
        return processes.memory(server.pid) / MIB


def memory(world):
    """Memory of a server after the same requests, with many stages in the store and with one."""
    for engine in ENGINES:
        many, few = big(world, engine), ENGINES[engine](world)
        (arn,) = plain_stages(world, few, 1)
        page = ("/ListStages", {"maxResults": 100})
        ours = [*many.pages.values(), *many.reads(3000)]
        theirs = [page] * 3 + [("/GetStage", {"arn": arn})] * 3000
        own, other = (lambda: after(world, many.store, ours)), (lambda: after(world, few, theirs))
        figures = in_turns(world, own, other, rounds=min(3, world.rounds))
        note = "RSS after the same number of pages, and of reads of stages from everywhere"
        yield Line(
            f"memory with {many.count:,} stages, {engine}", "with one stage", "MiB", *figures, at_most(1.5), note
        )


def after(world, store, requests):
    with Greenroom(world, store.url) as server:
        world.load(server, requests)
        return processes.memory(server.pid) / MIB


def inside(world):
    """Shares of verification, policy, logs and metrics in a request, measured in process."""
    report = bench(*BENCHES["inside"])
    without = report["without_us"]
    parts = ", ".join(f"{name} {took:.1f} µs" for name, took in report["parts"].items())
    what = "cost of verification, policy, logs and metrics, in process"
    yield Line(what, "GetStage with them off", "µs", [report["whole_us"] - without], [without], at_most(0.25), parts)


def sfu(world):
    quick = {"SFU_ROUNDS": "1", "SFU_SUBSCRIBERS": "50"} if world.quick else {}
    for row in bench(*BENCHES["sfu"], **quick)["rows"]:
        if row["bytes"] != 1200 or not row.get("thread_ratio"):
            continue
        aim = at_least(0.5) if row["subscribers"] == 50 else None
        yield Line(
            f"SFU: packets of {row['bytes']} bytes forwarded to {row['subscribers']} subscribers",
            "SRTP encryption alone",
            "/s and core",
            [row["thread"]],
            [row["encryption"]],
            aim,
            row["profile"],
        )


def bench(package, name, **environment):
    """The last line of a bench."""
    say(f"cargo bench --bench {name}")
    command = ["cargo", "bench", "--locked", "-q", "-p", package, "--bench", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment)
    if done.returncode:
        raise RuntimeError(f"cargo bench --bench {name}: {done.stderr[-500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
