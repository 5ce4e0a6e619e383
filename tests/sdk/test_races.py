"""Races: two clients at once at the last free place."""

import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from keys import pem

ROUNDS = 8


def outcomes(tenant, requests):
    """Sends requests at once, each on a connection of its own, and answers their faults."""
    start = Barrier(len(requests))

    def send(request):
        wire = tenant.wire
        wire.call("ListStages")
        start.wait(timeout=30)
        return wire.call(*request).fault

    with ThreadPoolExecutor(len(requests)) as pool:
        return sorted(pool.map(send, requests), key=str)


ONE_WINS = sorted([None, "ServiceQuotaExceededException"], key=str)


@pytest.mark.parametrize(
    ("operation", "member", "most"),
    [
        ("CreateStage", lambda: {}, 2),
        ("ImportPublicKey", lambda: {"publicKeyMaterial": pem()}, 1),
        ("CreateEncoderConfiguration", lambda: {}, 2),
        ("CreateStorageConfiguration", lambda: {"s3": {"bucketName": "abc"}}, 2),
        ("CreateIngestConfiguration", lambda: {"ingestProtocol": "RTMPS"}, 2),
    ],
)
def test_two_who_want_the_last_place_get_one_success_and_one_402(frugal, operation, member, most):
    for _ in range(ROUNDS):
        tenant = frugal.tenant()
        for _ in range(most - 1):
            assert tenant.wire.call(operation, member()).status == 200
        assert outcomes(tenant, [(operation, member()), (operation, member())]) == ONE_WINS


def test_two_who_start_the_last_composition_of_a_stage_get_one_success_and_one_402(frugal):
    for _ in range(ROUNDS):
        tenant = frugal.tenant()
        destinations = [{"channel": {"channelArn": tenant.arn("channel"), "encoderConfigurationArn": tenant.encoder()}}]
        request = ("StartComposition", {"stageArn": tenant.stage(), "destinations": destinations})
        assert outcomes(tenant, [request, request]) == ONE_WINS


def test_two_who_start_the_last_replication_of_a_participant_get_one_success_and_one_402(greenroom):
    for _ in range(ROUNDS):
        tenant = greenroom.tenant()
        source, *destinations = [tenant.stage() for _ in range(7)]
        _, publisher = tenant.publish(source)
        requests = [
            (
                "StartParticipantReplication",
                {"sourceStageArn": source, "destinationStageArn": to, "participantId": publisher},
            )
            for to in destinations
        ]
        for request in requests[:4]:
            assert tenant.wire.call(*request).status == 200
        assert outcomes(tenant, requests[4:]) == ONE_WINS


def test_the_same_key_imported_twice_at_once_is_imported_once(greenroom):
    for _ in range(ROUNDS):
        request = ("ImportPublicKey", {"publicKeyMaterial": pem()})
        assert outcomes(greenroom.tenant(), [request, request]) == sorted([None, "ConflictException"], key=str)


def test_the_same_composition_started_twice_at_once_is_one(greenroom):
    for _ in range(ROUNDS):
        tenant = greenroom.tenant()
        destinations = [{"channel": {"channelArn": tenant.arn("channel"), "encoderConfigurationArn": tenant.encoder()}}]
        stage = tenant.stage()
        request = ("StartComposition", {"stageArn": stage, "destinations": destinations, "idempotencyToken": "one"})
        assert outcomes(tenant, [request, request]) == [None, None]
        assert len(tenant.ivs.list_compositions()["compositions"]) == 1


def test_a_stage_deleted_twice_at_once_is_deleted_once(greenroom):
    for _ in range(ROUNDS):
        tenant = greenroom.tenant()
        request = ("DeleteStage", {"arn": tenant.stage()})
        assert outcomes(tenant, [request, request]) == sorted([None, "ResourceNotFoundException"], key=str)


def test_tags_added_at_once_stay_within_fifty(greenroom):
    for _ in range(ROUNDS):
        tenant = greenroom.tenant()
        arn = tenant.stage(tags={f"old-{n}": "x" for n in range(40)})
        requests = [
            ("TagResource", {"resourceArn": arn, "tags": {f"{who}-{n}": "x" for n in range(10)}}) for who in "ab"
        ]
        assert outcomes(tenant, requests) == sorted([None, "ValidationException"], key=str)
        assert len(tenant.ivs.list_tags_for_resource(resourceArn=arn)["tags"]) == 50


def test_a_storm_on_the_same_few_resources_meets_no_fault_that_is_not_declared(greenroom):
    tenant = greenroom.tenant()
    source, target = tenant.stage(), tenant.stage()
    _, publisher = tenant.publish(source)
    encoder, storage, ingest = tenant.encoder(), tenant.storage(), tenant.ingest()["arn"]
    replication = {"sourceStageArn": source, "destinationStageArn": target, "participantId": publisher}
    channel = {"channelArn": tenant.arn("channel"), "encoderConfigurationArn": encoder}
    recording = {"storageConfigurationArn": storage}
    storm = [
        ("StartParticipantReplication", replication),
        ("StopParticipantReplication", replication),
        ("DisconnectParticipant", {"stageArn": target, "participantId": publisher}),
        ("TagResource", {"resourceArn": source, "tags": {"a": "b"}}),
        ("UntagResource", {"resourceArn": source, "tagKeys": ["a"]}),
        ("UpdateStage", {"arn": source, "autoParticipantRecordingConfiguration": recording}),
        ("UpdateStage", {"arn": source, "autoParticipantRecordingConfiguration": {"storageConfigurationArn": ""}}),
        ("DeleteStorageConfiguration", {"arn": storage}),
        ("UpdateIngestConfiguration", {"arn": ingest, "stageArn": target, "redundantIngest": True}),
        ("UpdateIngestConfiguration", {"arn": ingest, "stageArn": "", "redundantIngest": False}),
        ("StartComposition", {"stageArn": target, "destinations": [{"channel": channel}]}),
        ("DeleteEncoderConfiguration", {"arn": encoder}),
        ("ListCompositions", {}),
        ("CreateParticipantToken", {"stageArn": target}),
        ("DeleteStage", {"arn": target}),
    ]

    def blow(seed):
        order = random.Random(seed).sample(storm[:-1], len(storm) - 1)
        wire = tenant.wire
        for operation, members in order * 3:
            wire.call(operation, members)
        return wire.call(*storm[-1]).fault

    with ThreadPoolExecutor(8) as pool:
        faults = list(pool.map(blow, range(8)))
    assert sorted(faults, key=str) == sorted([None, *["ResourceNotFoundException"] * 7], key=str)
    assert [s["arn"] for s in tenant.ivs.list_stages()["stages"]] == [source]
    assert tenant.ivs.list_participant_replicas(sourceStageArn=source, participantId=publisher)["replicas"] == []


def test_many_at_once_find_every_stage_they_made(greenroom):
    tenant = greenroom.tenant()
    assert outcomes(tenant, [("CreateStage", {})] * 20) == [None] * 20
    assert len(tenant.walk("ListStages", 7)) == 20
