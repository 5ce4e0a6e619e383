"""schemathesis over the server's own document: no 500, and no answer outside the document."""

import re

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from aws_model import BY_NAME
from keys import pem
from server import run
from signing import SignedRequests

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = {GenerationMode.POSITIVE: 25, GenerationMode.NEGATIVE: 15}
ARN = re.compile(r"arn:aws:ivs:[a-z0-9-]+:[0-9]+:([a-z-]+)/[a-zA-Z0-9-]+")


@pytest.fixture(scope="module")
def document():
    return schemathesis.openapi.from_dict(yaml.safe_load(run("openapi").stdout))


@pytest.fixture(scope="module")
def session():
    with requests.Session() as session:
        yield session


@pytest.fixture
def existing(tenant):
    """One resource of each kind, so that generated requests find something: by kind of ARN or by member."""
    stage = tenant.stage()
    session, participant = tenant.publish(stage)
    return {
        "stage": stage,
        "public-key": tenant.ivs.import_public_key(publicKeyMaterial=pem())["publicKey"]["arn"],
        "encoder-configuration": tenant.encoder(),
        "storage-configuration": tenant.storage(),
        "ingest-configuration": tenant.ingest()["arn"],
        "composition": tenant.composition(stage)["arn"],
        "channel": tenant.arn("channel"),
        "sessionId": session,
        "participantId": participant,
        "destinationStageArn": tenant.stage(),
        "publicKeyMaterial": pem(),
    }


def furnished(value, existing, member=None):
    """A generated body whose ARNs and ids are replaced with those of what exists."""
    if isinstance(value, dict):
        return {name: furnished(inner, existing, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [furnished(inner, existing) for inner in value]
    if isinstance(value, str):
        arn = ARN.fullmatch(value)
        return existing.get(member) or (existing.get(arn[1], value) if arn else value)
    return value


@pytest.mark.parametrize("mode", EXAMPLES, ids=["what_the_document_allows", "what_it_forbids"])
@pytest.mark.parametrize("name", BY_NAME)
def test_no_generated_request_gets_an_answer_outside_the_document(tenant, existing, document, session, name, mode):
    operation = next(
        found.ok() for found in document.get_all_operations() if found.ok().definition.raw["operationId"] == name
    )
    session.auth = SignedRequests(tenant.account)
    # An ARN holds a slash, which schemathesis does not make up in a path.
    fixed = mode is GenerationMode.POSITIVE and operation.path_parameters
    in_path = {"resourceArn": existing["stage"]} if fixed else None
    if name == "StopParticipantReplication":
        tenant.ivs.start_participant_replication(
            sourceStageArn=existing["stage"],
            destinationStageArn=existing["destinationStageArn"],
            participantId=existing["participantId"],
        )
    statuses = set()

    @settings(
        max_examples=EXAMPLES[mode],
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode, path_parameters=in_path))
    def hold(case):
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            case.body = furnished(case.body, existing)
        base_url = tenant.server.endpoint
        answer = case.call_and_validate(base_url=base_url, session=session, checks=CHECKS)
        statuses.add(answer.status_code)

    hold()
    assert statuses
    if mode is GenerationMode.POSITIVE:
        assert 200 in statuses, statuses
