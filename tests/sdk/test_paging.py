"""Paging: every list operation is ordered and resumable, and its tokens are good for nothing else."""

import re

import pytest

from keys import pem
from tenant import invalid, items_of

TOKEN = re.compile(r"[a-zA-Z0-9+/=_-]{1,1024}")


def stages(tenant):
    return [create_apart(tenant, tenant.stage) for _ in range(5)], {}


def public_keys(tenant):
    ivs = tenant.ivs
    return [
        create_apart(tenant, lambda: ivs.import_public_key(publicKeyMaterial=pem())["publicKey"]["arn"])
        for _ in range(3)
    ], {}


def encoders(tenant):
    return [create_apart(tenant, tenant.encoder) for _ in range(5)], {}


def storages(tenant):
    return [create_apart(tenant, tenant.storage) for _ in range(5)], {}


def ingests(tenant):
    return [create_apart(tenant, lambda: tenant.ingest()["arn"]) for _ in range(5)], {}


def compositions(tenant):
    stage, encoder = tenant.stage(), tenant.encoder()
    channel = {"channelArn": tenant.arn("channel"), "encoderConfigurationArn": encoder}
    made = [
        create_apart(tenant, lambda: tenant.composition(stage, destinations=[{"channel": channel}])["arn"])
        for _ in range(5)
    ]
    return made[::-1], {}


def sessions(tenant):
    stage, made = tenant.stage(), []
    for _ in range(5):
        made.append(create_apart(tenant, lambda: tenant.join(stage)[0]))
        tenant.test_server.do("end-session", stage=stage)
    return made[::-1], {"stageArn": stage}


def participants(tenant):
    stage = tenant.stage()
    joined = [create_apart(tenant, lambda: tenant.join(stage)) for _ in range(5)]
    return [participant for _, participant in joined], {"stageArn": stage, "sessionId": joined[0][0]}


def events(tenant):
    """Events carry no id; these are told apart by their names, and were all written in one instant."""
    stage = tenant.stage()
    session, participant = tenant.join(stage)
    for verb in ("publish", "unpublish", "publish", "unpublish"):
        tenant.act(verb, stage, participant)
    published = ["PUBLISH_STARTED", "PUBLISH_STOPPED"]
    return ["JOINED", *published, *published], {
        "stageArn": stage,
        "sessionId": session,
        "participantId": participant,
    }


def replicas(tenant):
    source, destinations = tenant.stage(), [tenant.stage() for _ in range(5)]
    _, publisher = tenant.publish(source)
    for destination in destinations:
        create_apart(
            tenant,
            lambda to=destination: tenant.ivs.start_participant_replication(
                sourceStageArn=source, destinationStageArn=to, participantId=publisher
            ),
        )
    return destinations, {"sourceStageArn": source, "participantId": publisher}


def create_apart(tenant, make):
    """Makes something, and lets a second pass so that the order of creation is plain."""
    made = make()
    tenant.advance(1)
    return made


LISTS = {
    "ListStages": (stages, "arn"),
    "ListPublicKeys": (public_keys, "arn"),
    "ListEncoderConfigurations": (encoders, "arn"),
    "ListStorageConfigurations": (storages, "arn"),
    "ListIngestConfigurations": (ingests, "arn"),
    "ListCompositions": (compositions, "arn"),
    "ListStageSessions": (sessions, "sessionId"),
    "ListParticipants": (participants, "participantId"),
    "ListParticipantEvents": (events, "name"),
    "ListParticipantReplicas": (replicas, "destinationStageArn"),
}


@pytest.mark.parametrize("operation", LISTS)
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_pages_hold_the_whole_list_in_order_and_as_many_as_were_asked_for(tenant, operation, size):
    make, key = LISTS[operation]
    expected, where = make(tenant)
    size = min(size, 50) if operation == "ListParticipantReplicas" else size
    pages = tenant.pages(operation, size, **where)
    items = items_of(operation)
    assert [item[key] for page in pages for item in page[items]] == expected
    assert [len(page[items]) for page in pages[:-1]] == [size] * (len(pages) - 1)
    assert pages[-1][items] or len(pages) == 1
    assert len(pages) == -(-len(expected) // size)
    for page in pages[:-1]:
        assert TOKEN.fullmatch(page["nextToken"])
    assert "nextToken" not in pages[-1]


def mangled(token):
    """Tokens that are nearly the given one, or nothing like it."""
    middle = len(token) // 2
    swapped = "A" if token[middle] != "A" else "B"
    yield token[:-1]
    yield token[1:]
    yield token + "A"
    yield token[:middle] + swapped + token[middle + 1 :]
    yield token[:middle]
    yield "A"
    yield "AAAA"
    yield "=" * 8
    yield "e30="
    yield "A" * 1024
    yield token * 2


@pytest.mark.parametrize("operation", LISTS)
def test_a_mangled_or_foreign_token_is_invalid_everywhere(tenant, greenroom, operation):
    make, _ = LISTS[operation]
    _, where = make(tenant)
    wire = tenant.wire
    token = wire.call(operation, {**where, "maxResults": 1}).json["nextToken"]
    for nearly in mangled(token):
        if len(nearly) <= 1024:
            answer = wire.call(operation, {**where, "nextToken": nearly})
            assert (answer.fault, "nextToken" in answer.text) == ("ValidationException", True), nearly
    for stranger in (greenroom.tenant(), tenant.elsewhere()):
        answer = stranger.wire.call(operation, {**where, "nextToken": token})
        assert (answer.fault, "nextToken" in answer.text) == ("ValidationException", True), stranger
    for other in LISTS.keys() - {operation}:
        elsewhere = PLACES.get(other, lambda _: {})(tenant)
        answer = wire.call(other, {**elsewhere, "nextToken": token})
        assert (answer.fault, "nextToken" in answer.text) == ("ValidationException", True), other


SOMEWHERE = {"sessionId": "st-abcdefghijklm", "participantId": "someone"}
PLACES = {
    "ListStageSessions": lambda t: {"stageArn": t.arn("stage")},
    "ListParticipants": lambda t: {"stageArn": t.arn("stage"), "sessionId": SOMEWHERE["sessionId"]},
    "ListParticipantEvents": lambda t: {"stageArn": t.arn("stage"), **SOMEWHERE},
    "ListParticipantReplicas": lambda t: {"sourceStageArn": t.arn("stage"), "participantId": "someone"},
}


@pytest.mark.parametrize(
    ("operation", "change"),
    [
        ("ListStageSessions", {"stageArn": "another"}),
        ("ListParticipants", {"stageArn": "another"}),
        ("ListParticipants", {"sessionId": "st-abcdefghijklm"}),
        ("ListParticipants", {"filterByState": "CONNECTED"}),
        ("ListParticipants", {"filterByPublished": False}),
        ("ListParticipantEvents", {"participantId": "someone"}),
        ("ListParticipantReplicas", {"participantId": "someone"}),
        ("ListIngestConfigurations", {"filterByState": "INACTIVE"}),
        ("ListCompositions", {"filterByStageArn": "another"}),
    ],
)
def test_a_token_belongs_to_the_query_that_it_came_from(tenant, operation, change):
    make, _ = LISTS[operation]
    _, where = make(tenant)
    change = {name: tenant.stage() if value == "another" else value for name, value in change.items()}
    wire = tenant.wire
    token = wire.call(operation, {**where, "maxResults": 1}).json["nextToken"]
    assert wire.call(operation, {**where, "nextToken": token, "maxResults": 3}).status == 200
    answer = wire.call(operation, {**where, **change, "nextToken": token})
    assert (answer.fault, "nextToken" in answer.text) == ("ValidationException", True)


def test_an_empty_token_starts_at_the_beginning(tenant, ivs):
    arn = tenant.stage()
    assert [s["arn"] for s in ivs.list_stages(nextToken="")["stages"]] == [arn]


def test_a_page_holds_fifty_stages_unless_told_otherwise(tenant, ivs):
    for _ in range(51):
        tenant.stage()
    first = ivs.list_stages()
    assert len(first["stages"]) == 50
    assert len(ivs.list_stages(nextToken=first["nextToken"])["stages"]) == 1


@pytest.mark.parametrize("size", [0, 101])
def test_a_page_has_from_one_to_a_hundred_items(tenant, size):
    answer = tenant.wire.call("ListStages", {"maxResults": size})
    assert answer.fault == "ValidationException"
    assert f"Value '{size}' at 'maxResults'" in answer.text


def test_a_paginator_walks_250_stages_of_which_many_were_made_in_the_same_instant(tenant):
    expected = []
    for _ in range(5):
        expected += sorted(tenant.stage() for _ in range(50))
        tenant.advance(1)
    for size in (33, 100):
        assert [stage["arn"] for stage in tenant.walk("ListStages", size)] == expected


def test_a_paginator_can_be_left_and_taken_up_again(tenant):
    made, _ = stages(tenant)
    paginator = tenant.paginator("ListStages")
    first = paginator.paginate(PaginationConfig={"MaxItems": 3, "PageSize": 2}).build_full_result()
    rest = paginator.paginate(PaginationConfig={"StartingToken": first["NextToken"]}).build_full_result()
    assert [s["arn"] for s in first["stages"] + rest["stages"]] == made


def test_nothing_that_stays_is_skipped_or_repeated_while_others_come_and_go(tenant, ivs):
    made = [create_apart(tenant, tenant.stage) for _ in range(9)]
    page = ivs.list_stages(maxResults=3)
    assert [s["arn"] for s in page["stages"]] == made[:3]
    for gone in (made[0], made[2], made[3], made[7]):
        ivs.delete_stage(arn=gone)
    late = tenant.stage()
    page = ivs.list_stages(maxResults=3, nextToken=page["nextToken"])
    assert [s["arn"] for s in page["stages"]] == made[4:7]
    ivs.delete_stage(arn=made[6])
    page = ivs.list_stages(maxResults=3, nextToken=page["nextToken"])
    assert [s["arn"] for s in page["stages"]] == [made[8], late]
    assert "nextToken" not in page


def test_newer_items_do_not_push_older_ones_onto_the_next_page(tenant, ivs):
    made, where = sessions(tenant)
    page = ivs.list_stage_sessions(**where, maxResults=2)
    tenant.join(where["stageArn"])
    rest = ivs.list_stage_sessions(**where, nextToken=page["nextToken"])
    assert [s["sessionId"] for s in page["stageSessions"] + rest["stageSessions"]] == made


def test_a_token_of_the_wrong_alphabet_is_held_to_the_pattern(ivs):
    with invalid("'nextToken'", "regular expression"):
        ivs.list_stages(nextToken="not a token")
