"""Pages of long lists beside those of short ones."""

from .fill import ENGINES, Session, Stages
from .measures import in_turns, rate
from .report import Line, at_most
from .servers import Greenroom


def big(world, engine):
    count = 20_000 if world.quick else 1_000_000
    return world.once(f"{engine} {count}", lambda: Stages(world, engine, count))


def list_stages(world):
    for engine in ENGINES:
        many, few = big(world, engine), Stages(world, engine, 1000)
        yield from compared(world, f"ListStages, page of 100, {engine}", many, few, many.pages, few.pages)


def list_participants(world):
    for engine in ENGINES:
        many, few = sessions(world, engine), Session(world, engine, 100)
        title = f"ListParticipants, page of 100, {engine}"
        yield from compared(world, title, many, few, many.pages, few.pages)
        of = f"ListParticipantEvents, {engine}"
        yield from compared(world, of, many, few, {"each": many.events}, {"each": few.events})


def sessions(world, engine):
    count = 5_000 if world.quick else 100_000
    return world.once(f"{engine} session {count}", lambda: Session(world, engine, count))


def compared(world, title, many, few, ours, theirs):
    """The time of each page of a long list as a ratio to that of a short one."""
    seconds = world.seconds / 2
    with Greenroom(world, many.store.url) as server, Greenroom(world, few.store.url) as other:
        for place in ours:
            listed = lambda pages: pages[place] if isinstance(pages[place], list) else [pages[place]]
            own, short = (
                rate(world, server, listed(ours), seconds=seconds),
                rate(world, other, listed(theirs), seconds=seconds),
            )
            figures = in_turns(world, own, short, rounds=min(3, world.rounds))
            what = f"{title}, {place} one, of {many.count:,}"
            yield Line(what, f"of {few.count:,}", "/s", *figures, at_most(1.2, "≤ 1.2 times the time"), inverse=True)
