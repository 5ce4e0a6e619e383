"""Consistency checks: the clients' expected state against the API after each kill; log, deliveries, audit trail and API
against each other at the end.

Each function returns the problems found, as strings."""

import json
from collections import Counter, defaultdict

import event_log

# Event names in the log, by event name in the API.
LOG_NAMES = {
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
AUDIT_RECORD = "AWS API Call via CloudTrail"
STAGE, COMPOSITION = "IVS Stage Update", "IVS Composition State Change"
STOPPED = ("STOPPING", "STOPPED")


# Checks after each kill


def lost_writes(reader, client, sample_size=None):
    """Acknowledged writes of a client that are lost, in all of its stages or in a random sample."""
    problems = partial_creations(reader, client)
    stages = list(client.expected.stages.values())
    uncertain = [stage for stage in stages if len(stage.states) > 1]
    sample = stages if sample_size is None else client.random.sample(stages, min(sample_size, len(stages)))
    for stage in {stage.key: stage for stage in uncertain + sample}.values():
        problems += stage.compare(reader.stage(stage.key))
        problems += lost_compositions(reader, stage)
    return problems


def partial_creations(reader, client):
    """Stages of unanswered creations that exist in part: each must exist completely or not at all."""
    requested, client.expected.unanswered_creations = client.expected.unanswered_creations, []
    if not requested:
        return []
    found = reader.stages()
    for state in requested:
        for arn in [arn for arn, actual in found.items() if actual["name"] == state["name"]]:
            client.track({"arn": arn}, found[arn])
            if found[arn] != state:
                return [f"{arn}: partially created: {found[arn]}, requested {state}"]
    return []


def lost_compositions(reader, stage):
    problems = []
    for arn, stopped in stage.compositions.items():
        state = reader.composition(arn)
        if state is None or (stopped and state not in STOPPED):
            problems.append(f"{arn}: {state} after its {'stop' if stopped else 'start'} was acknowledged")
    return problems


# Checks at the end


def unrequested_resources(reader, clients):
    """Resources of an account that no client requested."""
    stages = {arn for client in clients for arn in client.expected.stages}
    known = {arn for client in clients for stage in client.expected.stages.values() for arn in stage.compositions}
    return [f"{arn}: no client requested it" for arn in reader.stages() if arn not in stages] + [
        f"{arn}: no client requested it" for arn in reader.compositions() if arn not in known
    ]


def log_gaps(store):
    """Gaps and duplicates in the log, by position and by the numbers of each stage's events."""
    found, problems = event_log.entries(store), []
    if [entry.position for entry in found] != list(range(1, event_log.last_position(store) + 1)):
        problems.append(f"the log has gaps: {len(found)} entries, the last position is {event_log.last_position(store)}")
    if len({entry.id for entry in found}) != len(found):
        problems.append("an id is in the log twice")
    stages, counted = event_log.by_stage(found), event_log.event_counts(store)
    for stage in stages.keys() | counted.keys():
        numbers = [entry.number for entry in stages.get(stage, [])]
        if numbers != list(range(1, counted.get(stage, 0) + 1)):
            problems.append(f"{stage}: events {numbers}, expected {counted.get(stage, 0)}")
    return problems


def delivery_differences(store, arrivals, target):
    """Differences between the log and the deliveries to a target: missing, unknown, changed and out-of-order events."""
    found = event_log.entries(store)
    bodies = {entry.id: entry.body for entry in found}
    missing = [entry.id for entry in found if entry.id not in arrivals.first]
    problems = [f"{target}: never delivered: {bodies[id]!r}" for id in missing]
    problems += [f"{target}: delivered but not in the log: {id}" for id in arrivals.first if id not in bodies]
    problems += [f"{target}: delivered with different contents: {id}" for id in arrivals.different]
    problems += [
        f"{target}: {id} differs from the log" for id, body in arrivals.first.items() if bodies.get(id, body) != body
    ]
    position_of = {id: position for position, id in enumerate(arrivals.first)}
    for stage, entries in event_log.by_stage(found).items():
        order = [position_of[entry.id] for entry in entries if entry.id in position_of]
        if order != sorted(order):
            problems.append(f"{target}: {stage}: out of order: {order}")
    return problems


class DeliveredEvents:
    """Delivered events by stage and by composition, and counts of audit records by request id."""

    def __init__(self, arrivals):
        self.stages, self.compositions, self.audit_counts = defaultdict(list), defaultdict(list), Counter()
        for body in arrivals.first.values():
            event = json.loads(body)
            if event["detail-type"] == AUDIT_RECORD:
                self.audit_counts[event["detail"]["requestID"]] += 1
            elif event["detail-type"] == COMPOSITION:
                self.compositions[event["resources"][0]].append(event["detail"])
            else:
                self.stages[event["resources"][0]].append(event["detail"])

    def of(self, stage, name):
        """Ids of the participants with an event of this name in a stage, in order."""
        return [detail["participant_id"] for detail in self.stages[stage] if detail["event_name"] == name]


def join_problems(events, client):
    """Joins and leaves whose events are missing, duplicated or out of order."""
    problems = []
    for arn, stage in client.expected.stages.items():
        joined, left = events.of(arn, LOG_NAMES["JOINED"]), events.of(arn, LOG_NAMES["LEFT"])
        acknowledged = [participant for participant in joined if participant in stage.joined]
        if acknowledged != stage.joined:
            problems.append(f"{arn}: {stage.joined} were admitted, the events have {acknowledged}")
        if unknown := set(joined) - set(stage.joined) - set(stage.maybe_joined):
            problems.append(f"{arn}: {unknown} have events but never joined")
        if Counter(joined) != Counter(left):
            problems.append(f"{arn}: {joined} joined, {left} left")
    return problems


def api_differences(reader, events, arn):
    """Differences between the participant events in the API and in the log of a stage."""
    logged_events, problems = events.stages[arn], []
    for session in reader.sessions(arn):
        in_session = [detail for detail in logged_events if detail["session_id"] == session["sessionId"]]
        names = [detail["event_name"] for detail in in_session]
        session_events = [name for name in names if name in (SESSION_STARTED, SESSION_ENDED)]
        if "endTime" not in session or session_events != [SESSION_STARTED, SESSION_ENDED] or names[:: len(names) - 1] != session_events:
            problems.append(f"{arn}: {session}: does not start and end exactly once: {names}")
        by_participant = defaultdict(list)
        for detail in in_session:
            if "participant_id" in detail:
                by_participant[detail["participant_id"]].append(detail["event_name"])
        recorded = reader.events(arn, session["sessionId"])
        for participant in recorded.keys() | by_participant.keys():
            expected = [LOG_NAMES.get(name, name) for name in recorded.get(participant, [])]
            if by_participant[participant] != expected:
                problems.append(f"{arn}: {participant}: the API has {expected}, the log {by_participant[participant]}")
    return problems


def composition_problems(events, client):
    """Compositions whose events are not one of the valid sequences."""
    problems = []
    for stage in client.expected.stages.values():
        for arn in stage.compositions:
            names = [detail["event_name"] for detail in events.compositions[arn]]
            if names not in VALID_SEQUENCES:
                problems.append(f"{arn}: {names}")
    return problems


COMPLETE = ["Session Start", "Destination Start", "Destination End"]
VALID_SEQUENCES = [[*sequence, end] for sequence in (COMPLETE, []) for end in ("Session End", "Session Failure")]


def audit_problems(events, client):
    """Acknowledged mutating requests that do not have exactly one audit record."""
    return [
        f"{operation} {request}: {events.audit_counts[request]} times in the audit trail"
        for operation, request in client.expected.writes
        if events.audit_counts[request] != 1
    ]
