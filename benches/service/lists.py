"""Pages of long lists compared with pages of short lists."""

from .fill import ENGINES, Session, Stages
from .measures import alternate, rate
from .report import Comparison, at_most
from .servers import Greenroom


def big(context, engine):
    count = 20_000 if context.quick else 1_000_000
    return context.once(f"{engine} {count}", lambda: Stages(context, engine, count))


def list_stages(context):
    for engine in ENGINES:
        many, few = big(context, engine), Stages(context, engine, 1000)
        yield from compared(context, f"ListStages, page of 100, {engine}", many, few, many.pages, few.pages)


def list_participants(context):
    for engine in ENGINES:
        many, few = sessions(context, engine), Session(context, engine, 100)
        title = f"ListParticipants, page of 100, {engine}"
        yield from compared(context, title, many, few, many.pages, few.pages)
        of = f"ListParticipantEvents, {engine}"
        yield from compared(context, of, many, few, {"each": many.events}, {"each": few.events})


def sessions(context, engine):
    count = 5_000 if context.quick else 100_000
    return context.once(f"{engine} session {count}", lambda: Session(context, engine, count))


def compared(context, title, many, few, ours, theirs):
    """Compares the rate of each page of a long list with that of a short list."""
    seconds = context.seconds / 2
    with Greenroom(context, many.store.url) as server, Greenroom(context, few.store.url) as other:
        for place in ours:
            listed = lambda pages: pages[place] if isinstance(pages[place], list) else [pages[place]]
            own, short = (
                rate(context, server, listed(ours), seconds=seconds),
                rate(context, other, listed(theirs), seconds=seconds),
            )
            figures = alternate(context, own, short, rounds=min(3, context.rounds))
            what = f"{title}, {place} one, of {many.count:,}"
            yield Comparison(what, f"of {few.count:,}", "/s", *figures, at_most(1.2, "≤ 1.2 times the time"), inverse=True)
