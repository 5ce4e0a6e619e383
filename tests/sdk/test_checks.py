"""The checks themselves: an answer that the model does not allow is found out."""

import json

import pytest

from aws_model import BY_NAME, answer_problems

HEADERS = {"Content-Type": "application/json", "X-Amzn-RequestId": "1"}
STAGE = {"arn": "arn:aws:ivs:us-east-1:000000000000:stage/abcdefghijkl", "name": "a", "tags": {}}
SESSION = {"sessionId": "st-abcdefghijklm", "startTime": "2026-01-01T00:00:00Z"}
PARTICIPANT = {"participantId": "a", "state": "CONNECTED", "published": True}


def found(operation, document, status=200, **headers):
    headers = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return list(answer_problems(BY_NAME[operation], status, headers, json.dumps(document).encode()))


def test_good_answers_have_no_problems():
    assert found("GetStage", {"stage": STAGE}) == []
    assert found("GetStageSession", {"stageSession": SESSION}) == []
    assert found("DeleteStage", {}) == []


@pytest.mark.parametrize(
    ("operation", "document", "word"),
    [
        ("GetStage", {"stage": {**STAGE, "owner": "x"}}, "owner is not a member"),
        ("GetStage", {"stage": {"name": "a"}}, "arn is required"),
        ("GetStage", {"stage": {**STAGE, "arn": "x"}}, "does not match"),
        ("GetStage", {"stage": {**STAGE, "arn": STAGE["arn"] + "\n"}}, "does not match"),
        ("GetStage", {"stage": {**STAGE, "name": None}}, "not a string"),
        ("GetStage", {"stage": {**STAGE, "name": "a" * 129}}, "above 128"),
        ("GetStage", {"stage": {**STAGE, "tags": {"a": 1}}}, "not a string"),
        ("GetStage", {"stage": []}, "not an object"),
        ("ListStages", {"stages": {}}, "not a list"),
        ("ListStages", {}, "stages is required"),
        ("GetStageSession", {"stageSession": {**SESSION, "startTime": 5}}, "not ISO 8601"),
        ("GetStageSession", {"stageSession": {**SESSION, "startTime": "2026-01-01T00:00:00+01:00"}}, "not ISO 8601"),
        ("GetParticipant", {"participant": {**PARTICIPANT, "state": "AWAY"}}, "not one of"),
        ("GetParticipant", {"participant": {**PARTICIPANT, "published": 1}}, "not a boolean"),
        ("DeleteStage", {"stage": STAGE}, "not a member"),
        ("StartParticipantReplication", {}, "header Access-Control-Allow-Origin is missing"),
    ],
)
def test_an_answer_outside_the_model_is_found_out(operation, document, word):
    assert word in "; ".join(found(operation, document))


TEXT = {"exceptionMessage": "no", "message": "no"}


@pytest.mark.parametrize(
    ("document", "status", "fault", "word"),
    [
        (TEXT, 404, "ConflictException", "declared neither"),
        (TEXT, 400, "ResourceNotFoundException", "has status 400"),
        (TEXT, 404, "ResourceNotFoundException", "header Cache-Control is missing"),
        (TEXT, 500, "SerializationException", "has status 500"),
        ({"message": "no"}, 404, "ResourceNotFoundException", "the fault's body"),
        ({**TEXT, "message": "other"}, 404, "ResourceNotFoundException", "differ"),
    ],
)
def test_a_fault_outside_the_model_is_found_out(document, status, fault, word):
    assert word in "; ".join(found("GetStage", document, status, x_amzn_ErrorType=fault))
