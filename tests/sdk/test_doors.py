"""Every operation refuses callers without permission, with the right error, and changes nothing."""

import json

import pytest

from aws_model import BY_NAME, fault_of
from signing import SECRET
from world import arns, furnish, listing, rows

REFUSALS = {
    "no_signature": ("MissingAuthenticationTokenException", "Missing Authentication Token"),
    "a_wrong_secret": ("InvalidSignatureException", "The request signature we calculated does not match the signature"),
    "an_unknown_key": ("UnrecognizedClientException", "The security token included in the request is invalid"),
    "a_disabled_key": ("UnrecognizedClientException", "The security token included in the request is invalid"),
    "an_expired_key": ("ExpiredTokenException", "The security token included in the request is expired"),
}

# What operations that name no resource ask for: one of a kind that is to be made or listed, or everything.
OF_A_KIND = {
    "CreateEncoderConfiguration": "encoder-configuration",
    "CreateIngestConfiguration": "ingest-configuration",
    "CreateStage": "stage",
    "CreateStorageConfiguration": "storage-configuration",
    "ImportPublicKey": "public-key",
    "ListStages": "stage",
}
OF_EVERYTHING = [
    "ListEncoderConfigurations",
    "ListIngestConfigurations",
    "ListPublicKeys",
    "ListStorageConfigurations",
    "RevokeConnectionToken",
]

# What another account gets for a request with this account's ARNs, where it is not that they do not exist.
INVALID_ELSEWHERE = ["CreateIngestConfiguration"]
EMPTY_ELSEWHERE = [
    name
    for name, model in BY_NAME.items()
    if name.startswith("List") and not fault_of(model, "ResourceNotFoundException")
]
MADE_ELSEWHERE = ["CreateEncoderConfiguration", "CreateStage", "CreateStorageConfiguration", "ImportPublicKey"]
INDIFFERENT = ["RevokeConnectionToken"]


class House:
    """A server with one furnished account, and keys for it and for another account."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.owner, self.stranger = server.tenant(), server.tenant()
        self.good, self.disabled = self.key("--name", "good"), self.key("--name", "disabled")
        self.expired = self.key("--name", "expired", "--expires-in", "1")
        server.credentials("disable", self.disabled["accessKeyId"])
        server.test_server.advance(24 * 60 * 60)
        self.requests = furnish(self.owner)

    def key(self, *flags, account=None):
        return self.server.credentials("create", "--account", account or self.owner.account, *flags)

    def wire(self, key, secret=None):
        return self.server.wire(key["accessKeyId"], secret=secret or key["secretAccessKey"])

    def without(self, operation):
        """A key that may do everything but one operation."""
        statement = {"Effect": "Allow", "NotAction": f"ivs:{operation}", "Resource": "*"}
        policy = self.folder / f"{operation}.json"
        policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        return self.key("--name", f"without-{operation}", "--policy", str(policy))

    def ask(self, operation, way):
        """The answer to a request that would be right, had it another key."""
        key, secret = {
            "no_signature": (self.good, None),
            "a_wrong_secret": (self.good, self.good["secretAccessKey"][::-1]),
            "an_unknown_key": ({"accessKeyId": "AKIAIOSFODNN7EXAMPLE", "secretAccessKey": SECRET}, None),
            "a_disabled_key": (self.disabled, None),
            "an_expired_key": (self.expired, None),
        }[way]
        return self.wire(key, secret).call(operation, self.requests[operation], signed=way != "no_signature")


@pytest.fixture(scope="module")
def house(start_test_server, tmp_path_factory):
    return House(start_test_server(), tmp_path_factory.mktemp("policies"))


@pytest.fixture
def untouched(house):
    """Fails the test that changes anything in the store."""
    before = rows(house.server)
    yield
    assert rows(house.server) == before


@pytest.mark.parametrize("operation", BY_NAME)
@pytest.mark.parametrize("way", REFUSALS)
def test_the_door_stays_shut_for(house, untouched, operation, way):
    answer = house.ask(operation, way)
    fault, text = REFUSALS[way]
    assert (answer.status, answer.fault) == (403, fault)
    assert answer.text.startswith(text)


@pytest.mark.parametrize("operation", BY_NAME)
def test_a_policy_that_leaves_out_an_operation_denies_it_and_nothing_else(house, untouched, operation):
    wire = house.wire(house.without(operation))
    answer = wire.call(operation, house.requests[operation])
    user = f"arn:aws:iam::{house.owner.account}:user/without-{operation}"
    asked = f"is not authorized to perform: ivs:{operation} on resource: {asked_for(house.owner, operation, house)}"
    assert (answer.status, answer.fault, answer.text) == (403, "AccessDeniedException", f"User: {user} {asked}")
    other = "ListStages" if operation != "ListStages" else "ListPublicKeys"
    assert wire.call(other).status == 200


def asked_for(tenant, operation, house):
    """The resource that a refusal names: the first that the operation is on."""
    if operation in OF_A_KIND:
        return tenant.arn(OF_A_KIND[operation], "*")
    return "*" if operation in OF_EVERYTHING else arns(house.requests[operation])[0]


@pytest.mark.parametrize("operation", [name for name in BY_NAME if name not in MADE_ELSEWHERE + INDIFFERENT])
def test_the_arns_of_another_account_lead_nowhere(house, untouched, operation):
    wire = house.wire(house.key(account=house.stranger.account))
    answer = wire.call(operation, house.requests[operation])
    if operation in EMPTY_ELSEWHERE:
        assert answer.status == 200
        assert [value for value in answer.json.values() if value] == []
    elif operation in INVALID_ELSEWHERE:
        assert (answer.status, answer.fault) == (400, "ValidationException")
    else:
        assert (answer.status, answer.fault) == (404, "ResourceNotFoundException")
        assert answer.text in [f"Resource: {arn} not found" for arn in arns(house.requests[operation])]


@pytest.mark.parametrize("operation", MADE_ELSEWHERE + INDIFFERENT)
def test_what_another_account_does_without_naming_an_arn_stays_in_that_account(house, operation):
    before = listing(house.owner.wire)
    other = house.server.tenant()
    answer = house.wire(house.key(account=other.account)).call(operation, house.requests[operation])
    assert answer.status == 200
    assert all(arn.startswith(f"arn:aws:ivs:us-east-1:{other.account}:") for arn in arns(answer.json))
    assert listing(house.owner.wire) == before


def test_a_key_that_was_refused_was_not_used(house):
    for operation in BY_NAME:
        for way in REFUSALS:
            house.ask(operation, way)
    for key in (house.good, house.disabled, house.expired):
        assert house.server.credentials("show", key["accessKeyId"])["lastUsedAt"] is None


def test_the_same_requests_are_answered_when_the_key_is_good(house):
    """The proof of the table: nothing but the key was wrong with what it sent."""
    other = house.server.tenant()
    wire = house.wire(house.key(account=other.account))
    requests = furnish(other)
    assert requests.keys() == BY_NAME.keys()
    assert {operation: wire.call(operation, members).fault for operation, members in requests.items()} == dict.fromkeys(
        BY_NAME
    )
