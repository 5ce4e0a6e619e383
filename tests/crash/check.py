"""The checks: the service against the ledgers after each kill, and everything against everything at the end.

Each function returns the problems that it has found, as texts."""

import json
from collections import Counter, defaultdict

import log

# The names of participants' events in the log.
TOLD = {
    "JOINED": "Participant Joined",
    "LEFT": "Participant Left",
    "PUBLISH_STARTED": "Participant Published",
    "PUBLISH_STOPPED": "Participant Unpublished",
    "PUBLISH_ERROR": "Participant Publish Error",
    "SUBSCRIBE_STARTED": "Participant Subscribed",
    "SUBSCRIBE_STOPPED": "Participant Unsubscribed",
    "SUBSCRIBE_ERROR": "Participant Subscribe Error",
    "JOIN_ERROR": "Participant Join Error",
    "TOKEN_EXCHANGED": "Token Exchanged",
}
SESSION_STARTED, SESSION_ENDED = "Session Started", "Session Ended"
AUDITED = "AWS API Call via CloudTrail"
STAGE, COMPOSITION = "IVS Stage Update", "IVS Composition State Change"
STOPPED = ("STOPPING", "STOPPED")


# After each kill


def after_a_kill(record, client, some=None):
    """Whether every acknowledged write of a client is there; of all of its stages, or of so many."""
    problems = unanswered(record, client)
    stages = list(client.ledger.stages.values())
    doubtful = [stage for stage in stages if len(stage.states) > 1]
    sample = stages if some is None else client.random.sample(stages, min(some, len(stages)))
    for stage in {stage.key: stage for stage in doubtful + sample}.values():
        problems += stage.seen(record.stage(stage.key))
        problems += compositions(record, stage)
    return problems


def unanswered(record, client):
    """A stage whose creation went unanswered is there as it was asked for, or not at all."""
    asked, client.ledger.created = client.ledger.created, []
    if not asked:
        return []
    found = record.stages()
    for state in asked:
        for arn in [arn for arn, seen in found.items() if seen["name"] == state["name"]]:
            client.keep({"arn": arn}, found[arn])
            if found[arn] != state:
                return [f"{arn}: half made: {found[arn]}, and {state} was asked for"]
    return []


def compositions(record, stage):
    problems = []
    for arn, stopped in stage.compositions.items():
        state = record.composition(arn)
        if state is None or (stopped and state not in STOPPED):
            problems.append(f"{arn}: {state}, and its {'stop' if stopped else 'start'} was acknowledged")
    return problems


# At the end


def invented(record, clients):
    """Every resource of an account was requested by a client."""
    stages = {arn for client in clients for arn in client.ledger.stages}
    known = {arn for client in clients for stage in client.ledger.stages.values() for arn in stage.compositions}
    return [f"{arn}: no client requested it" for arn in record.stages() if arn not in stages] + [
        f"{arn}: no client requested it" for arn in record.compositions() if arn not in known
    ]


def whole(store):
    """The log has no gaps, and of each stage has as many events as were numbered."""
    found, problems = log.entries(store), []
    if [entry.position for entry in found] != list(range(1, log.ends(store) + 1)):
        problems.append(f"the log has gaps: {len(found)} entries, the last is to be {log.ends(store)}")
    if len({entry.id for entry in found}) != len(found):
        problems.append("an id stands in the log twice")
    stages, counted = log.by_stage(found), log.numbers(store)
    for stage in stages.keys() | counted.keys():
        numbers = [entry.number for entry in stages.get(stage, [])]
        if numbers != list(range(1, counted.get(stage, 0) + 1)):
            problems.append(f"{stage}: events {numbers}, and there were {counted.get(stage, 0)}")
    return problems


def delivered(store, arrivals, where):
    """Everything in the log has arrived, nothing else has, each copy is the same, and of each stage in order."""
    found = log.entries(store)
    bodies = {entry.id: entry.body for entry in found}
    missing = [entry.id for entry in found if entry.id not in arrivals.first]
    problems = [f"{where}: never arrived: {bodies[id]!r}" for id in missing]
    problems += [f"{where}: arrived and is not in the log: {id}" for id in arrivals.first if id not in bodies]
    problems += [f"{where}: arrived in two forms: {id}" for id in arrivals.different]
    problems += [
        f"{where}: {id} differs from the log" for id, body in arrivals.first.items() if bodies.get(id, body) != body
    ]
    place = {id: place for place, id in enumerate(arrivals.first)}
    for stage, entries in log.by_stage(found).items():
        order = [place[entry.id] for entry in entries if entry.id in place]
        if order != sorted(order):
            problems.append(f"{where}: {stage}: out of order: {order}")
    return problems


class Telling:
    """Events, grouped by what they are about."""

    def __init__(self, arrivals):
        self.stages, self.compositions, self.audited = defaultdict(list), defaultdict(list), Counter()
        for body in arrivals.first.values():
            event = json.loads(body)
            if event["detail-type"] == AUDITED:
                self.audited[event["detail"]["requestID"]] += 1
            elif event["detail-type"] == COMPOSITION:
                self.compositions[event["resources"][0]].append(event["detail"])
            else:
                self.stages[event["resources"][0]].append(event["detail"])

    def of(self, stage, name):
        """Ids of the participants of a stage with an event of this name, in order."""
        return [detail["participant_id"] for detail in self.stages[stage] if detail["event_name"] == name]


def joins(telling, client):
    """Every join has one event, in that order, and so has every leave."""
    problems = []
    for arn, stage in client.ledger.stages.items():
        joined, left = telling.of(arn, TOLD["JOINED"]), telling.of(arn, TOLD["LEFT"])
        sure = [participant for participant in joined if participant in stage.joined]
        if sure != stage.joined:
            problems.append(f"{arn}: {stage.joined} were let in, and told of were {sure}")
        if strangers := set(joined) - set(stage.joined) - set(stage.perhaps):
            problems.append(f"{arn}: {strangers} never came")
        if Counter(joined) != Counter(left):
            problems.append(f"{arn}: {joined} joined, and {left} left")
    return problems


def against_the_record(record, telling, arn):
    """The log of a stage has the events of its participants, in the same order."""
    told, problems = telling.stages[arn], []
    for session in record.sessions(arn):
        here = [detail for detail in told if detail["session_id"] == session["sessionId"]]
        names = [detail["event_name"] for detail in here]
        around = [name for name in names if name in (SESSION_STARTED, SESSION_ENDED)]
        if "endTime" not in session or around != [SESSION_STARTED, SESSION_ENDED] or names[:: len(names) - 1] != around:
            problems.append(f"{arn}: {session}: does not begin and end once: {names}")
        by_participant = defaultdict(list)
        for detail in here:
            if "participant_id" in detail:
                by_participant[detail["participant_id"]].append(detail["event_name"])
        recorded = record.events(arn, session["sessionId"])
        for participant in recorded.keys() | by_participant.keys():
            expected = [TOLD.get(name, name) for name in recorded.get(participant, [])]
            if by_participant[participant] != expected:
                problems.append(f"{arn}: {participant}: recorded {expected}, told {by_participant[participant]}")
    return problems


def composed(telling, client):
    """A composition has each event once and in order: its start, its end, and those of its one destination."""
    problems = []
    for stage in client.ledger.stages.values():
        for arn in stage.compositions:
            names = [detail["event_name"] for detail in telling.compositions[arn]]
            if names not in COURSES:
                problems.append(f"{arn}: {names}")
    return problems


WHOLE = ["Session Start", "Destination Start", "Destination End"]
COURSES = [[*course, end] for course in (WHOLE, []) for end in ("Session End", "Session Failure")]


def audited(telling, client):
    """Every acknowledged call that changed something is in the audit trail, once."""
    return [
        f"{operation} {request}: {telling.audited[request]} times in the audit trail"
        for operation, request in client.ledger.calls
        if telling.audited[request] != 1
    ]
