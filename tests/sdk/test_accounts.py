"""Accounts and regions in one server: each sees what is its own and nothing else, whatever it asks for."""

import json

import pytest

from aws_model import BY_NAME, fault_of
from keys import pem
from world import GETTERS, arns, furnish, listing, rows

# They name no other resource, and make or note something of their own.
WITHOUT_AN_ARN = [
    "CreateEncoderConfiguration",
    "CreateStage",
    "CreateStorageConfiguration",
    "ImportPublicKey",
    "RevokeConnectionToken",
]
WITH_AN_ARN = [name for name in BY_NAME if name not in WITHOUT_AN_ARN]
INVALID_ELSEWHERE = ["CreateIngestConfiguration"]
WITH_A_PARTICIPANT = [
    "GetParticipant",
    "GetStageSession",
    "ListParticipantEvents",
    "ListParticipantReplicas",
    "ListParticipants",
    "StartParticipantReplication",
    "StopParticipantReplication",
]


class Neighbours:
    """Four tenants of one server: two accounts, each in two regions, and everything is going on in each."""

    def __init__(self, server):
        self.server = server
        one, two = server.tenant(), server.tenant()
        self.tenants = [one, one.elsewhere(), two, two.elsewhere()]
        self.requests = [furnish(tenant) for tenant in self.tenants]

    def pairs(self, operation):
        """Each tenant, its own request, and each other tenant and its request."""
        for tenant, own in zip(self.tenants, self.requests, strict=True):
            for other, foreign in zip(self.tenants, self.requests, strict=True):
                if tenant is not other:
                    yield tenant, own[operation], other, foreign[operation]

    def others(self, tenant):
        """Everything that the other tenants have."""
        return [listing(other.wire) for other in self.tenants if other is not tenant]


@pytest.fixture(scope="module")
def neighbours(start_test_server):
    return Neighbours(start_test_server())


@pytest.fixture
def untouched(neighbours):
    """Fails the test that changes anything in the store."""
    before = rows(neighbours.server)
    yield
    assert rows(neighbours.server) == before


def scope(tenant):
    return f"arn:aws:ivs:{tenant.region}:{tenant.account}:"


def is_own(tenant, answer):
    """Whether everything in an answer is of this tenant."""
    return all(arn.startswith(scope(tenant)) for arn in arns(answer.json))


def check_elsewhere(operation, request, answer):
    """Asserts that a request which names what is not there was answered so."""
    if operation in INVALID_ELSEWHERE:
        assert (answer.status, answer.fault) == (400, "ValidationException")
    elif fault_of(BY_NAME[operation], "ResourceNotFoundException"):
        assert (answer.status, answer.fault) == (404, "ResourceNotFoundException")
    else:
        assert answer.status == 200
        if arns(request):
            assert [value for value in answer.json.values() if value] == []


@pytest.mark.parametrize("operation", WITH_AN_ARN)
def test_resources_of_another_account_are_not_accessible(neighbours, untouched, operation):
    for tenant, _, _, foreign in neighbours.pairs(operation):
        answer = tenant.wire.call(operation, foreign)
        check_elsewhere(operation, foreign, answer)
        assert answer.status != 200 or is_own(tenant, answer)


@pytest.mark.parametrize("operation", WITH_AN_ARN)
def test_the_id_of_a_resource_of_another_account_is_not_found(neighbours, untouched, operation):
    """The ARNs are of the caller's own account and region; only the ids in them are not."""
    for tenant, _, other, foreign in neighbours.pairs(operation):
        request = json.loads(json.dumps(foreign).replace(scope(other), scope(tenant)))
        answer = tenant.wire.call(operation, request)
        check_elsewhere(operation, request, answer)
        assert answer.status != 200 or is_own(tenant, answer)


@pytest.mark.parametrize("operation", WITH_A_PARTICIPANT)
def test_the_sessions_and_participants_of_another_one_are_not_in_an_own_stage(neighbours, untouched, operation):
    for tenant, own, _, foreign in neighbours.pairs(operation):
        request = {**foreign, **{name: value for name, value in own.items() if name.lower().endswith("arn")}}
        assert request not in (own, foreign)
        check_elsewhere(operation, request, tenant.wire.call(operation, request))


@pytest.mark.parametrize("operation", GETTERS)
def test_a_page_token_of_another_one_leads_to_no_page_of_theirs(neighbours, untouched, operation):
    for tenant, _, other, _ in neighbours.pairs(operation):
        token = other.wire.call(operation, {"maxResults": 1}).json["nextToken"]
        answer = tenant.wire.call(operation, {"nextToken": token})
        assert answer.fault == "ValidationException" or (answer.status == 200 and is_own(tenant, answer))


def test_what_each_lists_is_its_own(neighbours):
    seen = [set(arns(list(listing(tenant.wire).values()))) for tenant in neighbours.tenants]
    for tenant, found in zip(neighbours.tenants, seen, strict=True):
        assert len(found) > 10
        assert all(arn.startswith(scope(tenant)) for arn in found)


@pytest.mark.parametrize("operation", BY_NAME)
def test_what_one_does_changes_nothing_of_another_one(neighbours, operation):
    """After this, what the requests were for is no longer there."""
    for tenant, requests in zip(neighbours.tenants, neighbours.requests, strict=True):
        before = set(rows(neighbours.server))
        answer = tenant.wire.call(operation, requests[operation])
        assert answer.status == 200, answer
        assert is_own(tenant, answer)
        for table, row in before ^ set(rows(neighbours.server)):
            assert row.startswith(f"('{tenant.account}', '{tenant.region}', "), table


def test_changes_are_not_visible_to_other_accounts(start_test_server):
    neighbours = Neighbours(start_test_server())
    for tenant, requests in zip(neighbours.tenants, neighbours.requests, strict=True):
        others, mine = neighbours.others(tenant), listing(tenant.wire)
        assert [tenant.wire.call(*request).status for request in requests.items()] == [200] * len(BY_NAME)
        assert neighbours.others(tenant) == others
        assert listing(tenant.wire) != mine


def test_what_is_one_of_a_kind_is_so_in_each_account_and_region(start_test_server):
    one = start_test_server().tenant()
    two = one.server.tenant()
    tenants = [one, one.elsewhere(), two, two.elsewhere()]
    key, made, started = pem(), [], []
    for tenant in tenants:
        made.append(tenant.ivs.import_public_key(publicKeyMaterial=key, name="same")["publicKey"]["arn"])
        started.append(tenant.composition(tenant.stage(name="same"), idempotencyToken="same")["arn"])
    assert len(set(made)) == len(set(started)) == len(tenants)
    assert [listed["arn"] for tenant in tenants for listed in tenant.ivs.list_compositions()["compositions"]] == started


def test_the_account_is_that_of_the_key_and_the_region_that_of_the_signature(start_test_server):
    server = start_test_server()
    accounts = ("210000000601", "210000000602")
    keys = [server.credentials("create", "--account", account) for account in accounts for _ in range(2)]
    for region in ("us-east-1", "ap-northeast-2"):
        for key in keys:
            wire = server.wire(key["accessKeyId"], region, secret=key["secretAccessKey"])
            made = wire.call("CreateStage").json["stage"]["arn"]
            assert made.startswith(f"arn:aws:ivs:{region}:{key['account']}:stage/")
            found = [stage["arn"] for stage in wire.call("ListStages").json["stages"]]
            assert made in found
            assert all(arn.startswith(made.rpartition("/")[0]) for arn in found)
            assert len(found) == 1 + keys.index(key) % 2
