"""Every operation asks a policy for its action on its resources, no less and no more."""

import json
import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from access import Holder, Keys, allow, client, denied, deny
from asks import ROWS
from aws_model import BY_NAME

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/policies.md").read_text()

# Answered once a policy has let a request through: nothing in the requests' ARNs exists.
OF_THE_OPERATION_ITSELF = ("ResourceNotFoundException", "ValidationException")

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.operation)


def fault(send):
    """The fault that a request is refused with, if any."""
    try:
        send()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


def test_every_operation_has_a_row():
    assert {row.operation for row in ROWS} == BY_NAME.keys()


@every_row
def test_an_operation_passes_a_policy_that_allows_exactly_what_it_asks_for(greenroom, row):
    owner = Holder(greenroom, deny())
    pairs = row.asked_in(owner.account)
    alice = Holder(greenroom, *(allow(action, arn) for action, arn in pairs), account=owner.account)
    assert fault(lambda: row.send(alice.ivs, alice.account)) in (None, *OF_THE_OPERATION_ITSELF)


@every_row
def test_an_operation_is_denied_by_a_policy_that_allows_everything_else(greenroom, row):
    account = Holder(greenroom, deny()).account
    for action, arn in row.asked_in(account):
        everything_else = [
            {"Effect": "Allow", "NotAction": action, "Resource": "*"},
            {"Effect": "Allow", "Action": action, "NotResource": arn},
        ]
        alice = Holder(greenroom, *everything_else, account=account)
        with denied(f"User: {alice.user} is not authorized to perform: {action} on resource: {arn}"):
            row.send(alice.ivs, account)


def example():
    """The least-privilege policy of the documentation."""
    [text] = [block for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if "2012-10-17" in block]
    return json.loads(text)


@pytest.fixture
def back_end(greenroom):
    """A key under the example, and the account that it speaks of."""
    document = example()
    [account] = set(re.findall(r"\d{12}", json.dumps(document)))
    return Keys(greenroom.database).create(account, "--name", "back-end", policy=document)


def test_the_example_of_the_readme_carries_a_back_end_that_makes_stages_and_tokens(greenroom, back_end):
    ivs = client(greenroom, back_end)
    created = ivs.create_stage(name="lobby", participantTokenConfigurations=[{"userId": "alice"}])
    assert created["participantTokens"][0]["token"]
    arn = created["stage"]["arn"]
    assert ivs.create_participant_token(stageArn=arn, userId="bob")["participantToken"]["token"]


def test_the_example_of_the_readme_allows_nothing_else(greenroom, back_end):
    ivs = client(greenroom, back_end)
    for row in ROWS:
        if row.operation not in ("CreateStage", "CreateParticipantToken") or row.tagged:
            with denied("user/back-end is not authorized to perform"):
                row.send(ivs, back_end["account"])
    elsewhere = client(greenroom, back_end, "eu-west-1")
    for row in ROWS:
        with denied("user/back-end is not authorized to perform"):
            row.send(elsewhere, back_end["account"])
