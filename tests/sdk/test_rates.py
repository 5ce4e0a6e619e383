"""Rates of requests: AWS's, by account, region and operation, or the operator's own."""

from types import SimpleNamespace

import botocore.endpoint
import pytest
from botocore.config import Config

from access import Keys, allow, client, policy
from aws_model import BY_NAME
from clients import SDK
from server import run

TAGS = {"TagResource", "UntagResource", "ListTagsForResource"}
PUBLIC_KEYS = {"ImportPublicKey", "GetPublicKey", "ListPublicKeys", "DeletePublicKey"}
# What the tag operations need for a path.
NOTHING = {"resourceArn": "arn:aws:ivs:us-east-1:000000000000:stage/abcdefghijkl", "tagKeys": ["a"]}


def rate_of(operation):
    """AWS's rate of an operation, in requests a second (user guide, "Service Quotas", "API Call Rate Quotas")."""
    if operation == "CreateParticipantToken":
        return 50
    if operation in TAGS:
        return 10
    return 3 if operation in PUBLIC_KEYS else 5


@pytest.fixture(scope="session")
def limited(start_test_server):
    """A server with AWS's rates. Its clock stands still, so that nothing is refilled by itself."""
    return start_test_server("--rate-limits", "aws")


def passed(tenant, operation, attempts):
    """How many of so many requests were let through; the others must have been refused for their rate."""
    document = NOTHING if operation in TAGS else {}
    answers = [tenant.wire.call(operation, document) for _ in range(attempts)]
    refused = [answer for answer in answers if answer.status == 429]
    assert {answer.fault for answer in refused} <= {"TooManyRequestsException"}
    return attempts - len(refused)


@pytest.mark.parametrize("operation", BY_NAME)
def test_an_operation_is_refused_beyond_awss_rate(limited, operation):
    rate = rate_of(operation)
    assert passed(limited.tenant(), operation, rate + 2) == rate


def test_the_refusal_says_which_rate_was_exceeded(limited):
    tenant = limited.tenant()
    assert passed(tenant, "GetPublicKey", 3) == 3
    answer = tenant.wire.call("GetPublicKey")
    assert (answer.status, answer.fault) == (429, "TooManyRequestsException")
    assert answer.text == "Operation: ivs:GetPublicKey exceeded call rate: 3 a second"


def test_a_refused_request_does_nothing(limited):
    tenant = limited.tenant()
    for _ in range(5):
        tenant.stage()
    with pytest.raises(tenant.ivs.exceptions.ClientError):
        tenant.stage()
    assert len(tenant.ivs.list_stages()["stages"]) == 5


def test_a_second_on_the_clock_refills_and_no_more_than_that(limited):
    tenant = limited.tenant()
    for waited in (0, 1, 1, 60):
        limited.test_server.advance(waited)
        assert passed(tenant, "GetStage", 8) == 5


def test_what_was_not_used_up_is_not_saved(limited):
    tenant = limited.tenant()
    assert passed(tenant, "GetStage", 2) == 2
    limited.test_server.advance(1)
    assert passed(tenant, "GetStage", 8) == 5


def test_accounts_regions_and_operations_have_rates_of_their_own(limited):
    tenant = limited.tenant()
    assert passed(tenant, "ListStages", 6) == 5
    assert passed(tenant, "GetStage", 6) == 5
    assert passed(tenant.elsewhere(), "ListStages", 6) == 5
    assert passed(limited.tenant(), "ListStages", 6) == 5
    assert passed(tenant, "ListStages", 1) == 0


def test_the_keys_of_an_account_share_its_rate(limited):
    tenant = limited.tenant()
    keys = Keys(limited.database)
    one, other = (keys.create(tenant.account) for _ in range(2))
    for key in (one, other, one, other, one):
        client(limited, key).list_stages()
    for key in (one, other):
        with pytest.raises(tenant.ivs.exceptions.ClientError, match="TooManyRequestsException"):
            client(limited, key).list_stages()


def test_requests_with_invalid_signatures_do_not_count_towards_the_rate(limited):
    tenant = limited.tenant()
    stranger = limited.wire(tenant.account, secret="wrong")
    for _ in range(10):
        assert stranger.call("ListStages").fault == "InvalidSignatureException"
    assert passed(tenant, "ListStages", 6) == 5


def test_a_denied_request_counts(limited):
    tenant = limited.tenant()
    key = Keys(limited.database).create(tenant.account, policy=policy(allow("ivs:GetStage")))
    wire = limited.wire(key["accessKeyId"], secret=key["secretAccessKey"])
    faults = [wire.call("ListStages").fault for _ in range(6)]
    assert faults == ["AccessDeniedException"] * 5 + ["TooManyRequestsException"]


def test_by_default_there_are_no_rates(tenant):
    assert passed(tenant, "GetPublicKey", 30) == 30


def test_off_is_the_default_by_name(start_test_server):
    assert passed(start_test_server("--rate-limits", "off").tenant(), "GetPublicKey", 30) == 30


def test_single_rates_stand_beside_awss(start_test_server):
    tenant = start_test_server("--rate-limits", "aws,CreateStage=7,GetPublicKey=1").tenant()
    assert passed(tenant, "CreateStage", 9) == 7
    assert passed(tenant, "GetPublicKey", 3) == 1
    assert passed(tenant, "GetStage", 7) == 5


def test_single_rates_stand_alone(start_test_server):
    server = start_test_server("--rate-limits", "GetStage=2")
    tenant = server.tenant()
    assert passed(tenant, "GetStage", 4) == 2
    assert passed(tenant, "GetPublicKey", 30) == 30
    server.test_server.advance(1)
    assert passed(tenant, "GetStage", 4) == 2


NOT_RATES = [
    *("", "gcp", "5", "=5", "aws,", "aws,off", "CreateStage=5,aws"),
    *("CreateStage", "CreateStage=", "CreateStage=0", "CreateStage=-1", "CreateStage=1.5", "CreateStage=x"),
    *("GetUnicorn=5", "createstage=5"),
]


# An empty variable counts as unset.
@pytest.mark.parametrize(
    "value, by", [(value, by) for by in ("flag", "environment") for value in NOT_RATES if value or by == "flag"]
)
def test_a_bad_value_stops_the_program_with_one_line_that_names_it(value, by):
    settings = {"GREENROOM_LISTEN": "127.0.0.1:0", "GREENROOM_DATABASE_URL": "sqlite::memory:"}
    if by == "flag":
        ended = run(f"--rate-limits={value}", **settings)
    else:
        ended = run(**settings, GREENROOM_RATE_LIMITS=value)
    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = ended.stderr.strip().splitlines()
    assert "--rate-limits" in line


def patient(server, tenant, mode):
    """A client with botocore's own retries."""
    return SDK.client(
        "ivs-realtime",
        endpoint_url=server.endpoint,
        region_name=tenant.region,
        aws_access_key_id=tenant.account,
        aws_secret_access_key="test",
        config=Config(retries={"mode": mode, "total_max_attempts": 3}),
    )


@pytest.fixture
def waits(monkeypatch):
    """What botocore does in the place of waiting between attempts; every wait is noted."""

    def instead(do):
        noted = []

        def sleep(seconds):
            noted.append(seconds)
            do()

        monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=sleep))
        return noted

    return instead


@pytest.mark.parametrize("mode", ["standard", "legacy"])
def test_boto3_takes_the_refusal_for_throttling_and_tries_again(limited, waits, mode):
    tenant = limited.tenant()
    waited = waits(lambda: limited.test_server.advance(1))
    ivs = patient(limited, tenant, mode)
    retries = [ivs.list_public_keys()["ResponseMetadata"]["RetryAttempts"] for _ in range(7)]
    assert retries == [0, 0, 0, 1, 0, 0, 1]
    assert len(waited) == 2


@pytest.mark.parametrize("mode", ["standard", "legacy"])
def test_boto3_gives_up_with_the_refusal_when_no_time_passes(limited, waits, mode):
    tenant = limited.tenant()
    waited = waits(lambda: None)
    ivs = patient(limited, tenant, mode)
    for _ in range(3):
        ivs.list_public_keys()
    with pytest.raises(ivs.exceptions.ClientError) as caught:
        ivs.list_public_keys()
    error = caught.value.response
    assert error["Error"]["Code"] == "TooManyRequestsException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert error["ResponseMetadata"]["RetryAttempts"] == len(waited) == 2
