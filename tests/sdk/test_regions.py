"""Regions: which requests may be signed for, and quotas over all of them together."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from keys import pem
from server import run
from tenant import over_quota

AWS = ["ap-northeast-1", "ap-northeast-2", "ap-south-1", "eu-central-1", "eu-west-1", "us-east-1", "us-west-2"]
INVALID = "InvalidSignatureException"


@pytest.fixture(scope="module")
def limited(start_test_server):
    """A server with two regions, and quotas over both."""
    quotas = "stages=3,public-keys=2,encoder-configurations=1,storage-configurations=1,ingest-configurations=1,compositions=1"
    return start_test_server("--regions", "us-east-1,lab-1", "--region", "lab-1", "--account-quotas", quotas)


def test_the_regions_of_aws_are_served_and_no_others(greenroom):
    for region in AWS:
        assert greenroom.tenant(region=region).wire.call("ListStages").status == 200
    for region in ("us-east-2", "us-west-1", "eu-west-9", "us-east-11", "us-east", "lab-1"):
        answer = greenroom.tenant(region=region).wire.call("CreateStage")
        assert (answer.status, answer.fault) == (403, INVALID)
        assert f"valid region, not '{region}'" in answer.text and "us-east-1" in answer.text, answer.text


def test_an_operator_may_name_any_regions(limited):
    for region in ("us-east-1", "lab-1"):
        tenant = limited.tenant(region=region)
        assert f":{region}:" in tenant.stage()
    answer = limited.tenant(region="eu-west-1").wire.call("ListStages")
    assert (answer.fault, "us-east-1, lab-1" in answer.text) == (INVALID, True)


def test_a_region_without_end_is_not_repeated_whole(greenroom):
    answer = greenroom.wire("210000000104", region="a" * 300).call("ListStages")
    assert answer.fault == INVALID and len(answer.text) < 300


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--regions", "US-EAST-1"], ["--regions", "lower-case"]),
        (["--regions", ""], ["--regions"]),
        (["--region", "us-east-2"], ["--region", "us-east-2", "us-east-1", "--regions"]),
        (["--regions", "lab-1"], ["--region", "us-east-1", "lab-1"]),
        (["--account-quotas", "rooms=1"], ["--account-quotas", "rooms"]),
        (["--account-quotas", "publishers=1"], ["--account-quotas", "publishers", "--quotas"]),
    ],
)
def test_a_bad_setting_is_named(flags, words):
    ended = run(*flags, GREENROOM_LISTEN="127.0.0.1:0", GREENROOM_DATABASE_URL="sqlite::memory:")
    assert ended.returncode == 2
    [line] = ended.stderr.strip().splitlines()
    assert all(word in line for word in words), line


def test_quotas_of_an_account_count_all_regions(limited):
    east = limited.tenant()
    lab = limited.tenant(east.account, region="lab-1")
    makers = {
        "stages": (3, lambda tenant: tenant.stage()),
        "public keys": (2, lambda tenant: tenant.ivs.import_public_key(publicKeyMaterial=pem())),
        "encoders": (1, lambda tenant: tenant.encoder()),
        "storages": (1, lambda tenant: tenant.storage()),
        "ingests": (1, lambda tenant: tenant.ivs.create_ingest_configuration(ingestProtocol="RTMPS")),
    }
    for most, make in makers.values():
        for _, tenant in zip(range(most), itertools.cycle([east, lab]), strict=False):
            make(tenant)
        for tenant in (east, lab):
            with over_quota(f"The account {east.account} has reached its quota of {most}", "over all regions"):
                make(tenant)
    other = limited.tenant()
    assert other.stage(), "another account has quotas of its own"


def test_compositions_of_all_regions_are_counted_while_they_run(limited):
    east = limited.tenant()
    lab = limited.tenant(east.account, region="lab-1")
    encoder, stages = east.encoder(), [east.stage(), lab.stage()]
    running = start(east, stages[0], encoder)
    with over_quota("1 compositions over all regions"):
        start(lab, stages[1])
    east.ivs.stop_composition(arn=running)
    limited.test_server.advance(10)
    start(lab, stages[1])


def start(tenant, stage, encoder=None):
    channel = {"channelArn": tenant.arn("channel")} | ({"encoderConfigurationArn": encoder} if encoder else {})
    return tenant.ivs.start_composition(stageArn=stage, destinations=[{"channel": channel}])["composition"]["arn"]


def test_two_in_two_regions_who_want_the_last_place_get_one_success(limited):
    for _ in range(6):
        east = limited.tenant()
        lab = limited.tenant(east.account, region="lab-1")
        east.stage(), lab.stage()
        wires = [east.wire, lab.wire, east.wire, lab.wire]
        for wire in wires:
            wire.call("ListStages")
        with ThreadPoolExecutor(4) as pool:
            faults = list(pool.map(lambda wire: wire.call("CreateStage").fault, wires))
        assert sorted(faults, key=str) == sorted([None, *["ServiceQuotaExceededException"] * 3], key=str)
