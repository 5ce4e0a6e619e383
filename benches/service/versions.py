"""This version of greenroom compared with an earlier one, in alternating rounds."""

import contextlib

from .fill import ENGINES, Relational, insert_stages
from .measures import STAGES, alternate, costs, gets, rate
from .report import Comparison, at_most
from .servers import Greenroom

SPREAD = 64
# Maximum time of each operation, as a multiple of the earlier version's.
BOUNDS = {"GetStage": 1.25, "CreateParticipantToken": 1.25, "CreateStage": 1.4}


@contextlib.contextmanager
def program(context, path):
    """Runs servers and commands inside the block with this program."""
    own, context.greenroom = context.greenroom, path
    try:
        yield
    finally:
        context.greenroom = own


def before(context):
    """Compares reads, creations, tokens and joins with the version given by --before."""
    for engine, make in ENGINES.items():
        # Each version has its own store, as the schemas may differ.
        with contextlib.ExitStack() as stack:
            servers, requests = [], []
            for path in (context.greenroom, context.before):
                with program(context, path):
                    store = make(context)
                    arns = insert_stages(context, store, STAGES)
                    servers.append(stack.enter_context(Greenroom(context, store.url)))
                    requests.append(operations(arns))
            for title, maximum in BOUNDS.items():
                subjects = [rate(context, server, found[title]) for server, found in zip(servers, requests, strict=True)]
                figures = alternate(context, *subjects)
                aim = at_most(maximum, f"≤ {maximum:g} times the time")
                note = costs(*subjects)
                yield Comparison(f"{title}, {engine}", "the earlier version", "/s", *figures, aim, note, inverse=True)
    with contextlib.ExitStack() as stack:
        subjects = []
        for path in (context.greenroom, context.before):
            with program(context, path):
                store = Relational(context)
                stages = context.written("stages", insert_stages(context, store, SPREAD))
                server = stack.enter_context(Greenroom(context, store.url))
            count = 150 if context.quick else 1000
            words = ["--stages", stages, "--count", count, "--at-once", context.connections, "--pid", server.pid]
            subjects.append(lambda server=server, words=words: context.driver("joins", server, *words)["rate"])
        figures = alternate(context, *subjects)
    title = f"joins over the events WebSocket, PostgreSQL, over {SPREAD} stages"
    yield Comparison(title, "the earlier version", "/s", *figures, None, inverse=True)


def operations(arns):
    """Requests of each operation, by name."""
    return {
        "GetStage": gets(arns),
        "CreateParticipantToken": [("/CreateParticipantToken", {"stageArn": arn, "userId": "alice"}) for arn in arns],
        "CreateStage": [("/CreateStage", {})],
    }
