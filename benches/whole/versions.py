"""This version of greenroom against an earlier one, in turns."""

import contextlib

from .fill import Relational, Sqlite, plain_stages
from .measures import STAGES, costs, gets, in_turns, rate
from .report import Line, at_most
from .servers import Greenroom

SPREAD = 64
# How much longer each may take.
BOUNDS = {"GetStage": 1.25, "CreateParticipantToken": 1.25, "CreateStage": 1.4}
ENGINES = {"embedded store": Sqlite, "PostgreSQL": Relational}


@contextlib.contextmanager
def program(world, path):
    """Servers and commands inside the block are of this program."""
    own, world.greenroom = world.greenroom, path
    try:
        yield
    finally:
        world.greenroom = own


def before(world):
    """Reads, creations, tokens and joins of this version and of the one given by --before."""
    for engine, make in ENGINES.items():
        # Each version has a store of its own, as the schemas may differ.
        with contextlib.ExitStack() as stack:
            servers, requests = [], []
            for path in (world.greenroom, world.before):
                with program(world, path):
                    store = make(world)
                    arns = plain_stages(world, store, STAGES)
                    servers.append(stack.enter_context(Greenroom(world, store.url)))
                    requests.append(operations(arns))
            for title, most in BOUNDS.items():
                subjects = [rate(world, server, found[title]) for server, found in zip(servers, requests, strict=True)]
                figures = in_turns(world, *subjects)
                aim = at_most(most, f"≤ {most:g} times the time")
                note = costs(*subjects)
                yield Line(f"{title}, {engine}", "the earlier version", "/s", *figures, aim, note, inverse=True)
    with contextlib.ExitStack() as stack:
        subjects = []
        for path in (world.greenroom, world.before):
            with program(world, path):
                store = Relational(world)
                stages = world.written("stages", plain_stages(world, store, SPREAD))
                server = stack.enter_context(Greenroom(world, store.url))
            count = 150 if world.quick else 1000
            words = ["--stages", stages, "--count", count, "--at-once", world.connections, "--pid", server.pid]
            subjects.append(lambda server=server, words=words: world.driver("joins", server, *words)["rate"])
        figures = in_turns(world, *subjects)
    title = f"joins over the events WebSocket, PostgreSQL, spread over {SPREAD} stages"
    yield Line(title, "the earlier version", "/s", *figures, None, inverse=True)


def operations(arns):
    """The requests of each operation."""
    return {
        "GetStage": gets(arns),
        "CreateParticipantToken": [("/CreateParticipantToken", {"stageArn": arn, "userId": "alice"}) for arn in arns],
        "CreateStage": [("/CreateStage", {})],
    }
