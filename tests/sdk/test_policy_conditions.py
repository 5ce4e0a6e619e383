"""Conditions: policies that look at tags, regions and addresses."""

import pytest

from botocore.exceptions import ClientError

from access import Holder, allow, client, denied, deny

BLUE, RED, NONE = {"team": "blue"}, {"team": "red"}, None


@pytest.fixture
def holder(greenroom):
    """Creates a client whose key has these statements as its policy; ACCOUNT in them is replaced by the account."""
    return lambda *statements, **more: Holder(greenroom, *statements, **more)


def passes(attempt):
    """Whether an attempt is not denied."""
    try:
        attempt()
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDeniedException", error
        return False
    return True


def condition(operator, key, value):
    return {operator: {key: value}}


# What a stage is made with, and whether a condition lets it.
OF_REQUESTS = {
    "a tag must have this value": (
        condition("StringEquals", "aws:RequestTag/team", "blue"),
        [(BLUE, True), (RED, False), (NONE, False), ({"team": "Blue"}, False), ({"other": "blue"}, False)],
    ),
    "a tag must have one of these values": (
        condition("StringEquals", "aws:RequestTag/team", ["blue", "red"]),
        [(BLUE, True), (RED, True), ({"team": "green"}, False)],
    ),
    "a tag must not have this value": (
        condition("StringNotEquals", "aws:RequestTag/team", "blue"),
        [(BLUE, False), (RED, True), (NONE, True)],
    ),
    "a tag must not have any of these values": (
        condition("StringNotEquals", "aws:RequestTag/team", ["blue", "red"]),
        [(BLUE, False), (RED, False), ({"team": "green"}, True)],
    ),
    "a tag must have this value in whatever case": (
        condition("StringEqualsIgnoreCase", "aws:RequestTag/team", "BLUE"),
        [(BLUE, True), ({"team": "bLuE"}, True), (RED, False)],
    ),
    "a tag must be like this": (
        condition("StringLike", "aws:RequestTag/team", "b*e"),
        [(BLUE, True), ({"team": "be"}, True), (RED, False), ({"team": "blues"}, False)],
    ),
    "a tag must not be like this": (
        condition("StringNotLike", "aws:RequestTag/team", "b?ue"),
        [(BLUE, False), (RED, True), ({"team": "bue"}, True), (NONE, True)],
    ),
    "a tag must have this value if it is there": (
        condition("StringEqualsIfExists", "aws:RequestTag/team", "blue"),
        [(BLUE, True), (RED, False), (NONE, True), ({"other": "x"}, True)],
    ),
    "a tag must be like this if it is there": (
        condition("StringLikeIfExists", "aws:RequestTag/team", "b*"),
        [(BLUE, True), (RED, False), (NONE, True)],
    ),
    "a tag must be there": (
        condition("Null", "aws:RequestTag/team", "false"),
        [(BLUE, True), (NONE, False), ({"other": "x"}, False)],
    ),
    "a tag must not be there": (
        condition("Null", "aws:RequestTag/team", True),
        [(BLUE, False), (NONE, True), ({"other": "x"}, True)],
    ),
    "a tag must be true": (
        condition("Bool", "aws:RequestTag/public", "true"),
        [({"public": "true"}, True), ({"public": "false"}, False), ({"public": "yes"}, False), (NONE, False)],
    ),
    "a tag must be false if it is there": (
        condition("BoolIfExists", "aws:RequestTag/public", False),
        [({"public": "true"}, False), ({"public": "false"}, True), (NONE, True)],
    ),
    "all keys must be among these": (
        condition("ForAllValues:StringEquals", "aws:TagKeys", ["team", "env"]),
        [(BLUE, True), ({"team": "x", "env": "y"}, True), ({"team": "x", "other": "y"}, False), (NONE, True)],
    ),
    "one key must be among these": (
        condition("ForAnyValue:StringEquals", "aws:TagKeys", ["team", "env"]),
        [(BLUE, True), ({"team": "x", "other": "y"}, True), ({"other": "y"}, False), (NONE, False)],
    ),
    "all keys must be like this": (
        condition("ForAllValues:StringLike", "aws:TagKeys", "app-*"),
        [({"app-a": "1", "app-b": "2"}, True), ({"app-a": "1", "b": "2"}, False)],
    ),
    "no key may be among these": (
        condition("ForAllValues:StringNotEquals", "aws:TagKeys", ["owner"]),
        [(BLUE, True), ({"owner": "x", "team": "y"}, False)],
    ),
    "tags must be given and all of their keys be among these": (
        {"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}, "Null": {"aws:TagKeys": "false"}},
        [(BLUE, True), (NONE, False), ({"team": "x", "other": "y"}, False)],
    ),
    "both of two keys must fit": (
        {"StringEquals": {"aws:RequestTag/team": "blue", "aws:RequestTag/env": ["dev", "test"]}},
        [({**BLUE, "env": "dev"}, True), ({**BLUE, "env": "prod"}, False), (BLUE, False)],
    ),
    "both of two operators must hold": (
        {"StringLike": {"aws:RequestTag/team": "b*"}, "StringNotEquals": {"aws:RequestTag/team": "black"}},
        [(BLUE, True), ({"team": "black"}, False), (RED, False)],
    ),
    "the name of a condition key is matched without regard to case": (
        condition("StringEquals", "AWS:requesttag/Team", "blue"),
        [(BLUE, True), (RED, False)],
    ),
}


@pytest.mark.parametrize("asked", OF_REQUESTS)
def test_a_policy_may_ask_of_the_tags_of_a_request_that(holder, asked):
    asks, cases = OF_REQUESTS[asked]
    alice = holder(allow("ivs:CreateStage"), allow("ivs:TagResource", Condition=asks))
    creator = holder(allow("ivs:CreateStage", Condition=asks), allow("ivs:TagResource"))
    for tags, may in cases:
        members = {} if tags is None else {"tags": tags}
        assert passes(lambda: creator.ivs.create_stage(**members)) is may, tags
        if tags:
            assert passes(lambda: alice.ivs.create_stage(**members)) is may, tags


OF_RESOURCES = {
    "a tag has this value": (condition("StringEquals", "aws:ResourceTag/team", "blue"), [True, False, False]),
    "a tag has not this value": (condition("StringNotEquals", "aws:ResourceTag/team", "blue"), [False, True, True]),
    "a tag is like this": (condition("StringLike", "aws:ResourceTag/team", "?e?"), [False, True, False]),
    "a tag is there": (condition("Null", "aws:ResourceTag/team", "false"), [True, True, False]),
    "a tag has this value if it is there": (
        condition("StringEqualsIfExists", "aws:ResourceTag/team", "blue"),
        [True, False, True],
    ),
}


@pytest.mark.parametrize("asked", OF_RESOURCES)
def test_a_policy_may_ask_of_a_resource_that(holder, asked):
    asks, expected = OF_RESOURCES[asked]
    owner = holder(allow()).owner
    stages = [owner.create_stage(tags=tags)["stage"]["arn"] for tags in (BLUE, RED, {})]
    account = stages[0].split(":")[4]
    alice = holder(allow(["ivs:GetStage", "ivs:CreateParticipantToken"], Condition=asks), account=account)
    assert [passes(lambda: alice.ivs.get_stage(arn=arn)) for arn in stages] == expected
    tokens = [passes(lambda: alice.ivs.create_participant_token(stageArn=arn)) for arn in stages]
    assert tokens == expected


def resources(owner):
    """One resource of each kind that can be made at once, tagged, and what reads it."""
    tags = {"tags": BLUE}
    encoder = owner.create_encoder_configuration(**tags)["encoderConfiguration"]["arn"]
    storage = owner.create_storage_configuration(s3={"bucketName": "bucket"}, **tags)["storageConfiguration"]["arn"]
    ingest = owner.create_ingest_configuration(ingestProtocol="RTMPS", **tags)["ingestConfiguration"]["arn"]
    yield "get_encoder_configuration", encoder
    yield "get_storage_configuration", storage
    yield "get_ingest_configuration", ingest


def test_resources_of_every_kind_have_their_tags_looked_at(holder):
    owner = holder(allow())
    made = list(resources(owner.owner))
    for team, may in (("blue", True), ("red", False)):
        asks = condition("StringEquals", "aws:ResourceTag/team", team)
        alice = holder(allow("ivs:Get*", Condition=asks), account=owner.account)
        for method, arn in made:
            assert passes(lambda: getattr(alice.ivs, method)(arn=arn)) is may, method


def test_a_tag_that_is_written_changes_what_the_next_request_may(holder):
    owner = holder(allow()).owner
    arn = owner.create_stage(tags=BLUE)["stage"]["arn"]
    asks = condition("StringEquals", "aws:ResourceTag/team", "blue")
    alice = holder(allow(Condition=asks), account=arn.split(":")[4])
    alice.ivs.tag_resource(resourceArn=arn, tags=RED)
    with denied():
        alice.ivs.get_stage(arn=arn)
    with denied():
        alice.ivs.tag_resource(resourceArn=arn, tags=BLUE)
    assert owner.get_stage(arn=arn)["stage"]["tags"] == RED


def test_keys_of_tags_that_are_taken_off_are_looked_at(holder):
    owner = holder(allow()).owner
    arn = owner.create_stage(tags={"team": "blue", "owner": "x"})["stage"]["arn"]
    protected = condition("ForAnyValue:StringEquals", "aws:TagKeys", "owner")
    alice = holder(allow(), deny("ivs:UntagResource", Condition=protected), account=arn.split(":")[4])
    alice.ivs.untag_resource(resourceArn=arn, tagKeys=["team"])
    with denied("ivs:UntagResource"):
        alice.ivs.untag_resource(resourceArn=arn, tagKeys=["team", "owner"])
    assert owner.get_stage(arn=arn)["stage"]["tags"] == {"owner": "x"}


@pytest.mark.parametrize(
    ("asks", "east", "west"),
    [
        (condition("StringEquals", "aws:RequestedRegion", "us-east-1"), True, False),
        (condition("StringNotEquals", "aws:RequestedRegion", ["us-east-1", "us-west-2"]), False, True),
        (condition("StringLike", "aws:RequestedRegion", "eu-*"), False, True),
    ],
)
def test_a_policy_may_ask_for_a_region(holder, greenroom, asks, east, west):
    alice = holder(allow("ivs:ListStages", Condition=asks))
    assert passes(client(greenroom, alice.key, "us-east-1").list_stages) is east
    assert passes(client(greenroom, alice.key, "eu-west-1").list_stages) is west


@pytest.mark.parametrize(
    ("asks", "may"),
    [
        (condition("IpAddress", "aws:SourceIp", "127.0.0.0/8"), True),
        (condition("IpAddress", "aws:SourceIp", "127.0.0.1"), True),
        (condition("IpAddress", "aws:SourceIp", ["203.0.113.0/24", "127.0.0.1/32"]), True),
        (condition("IpAddress", "aws:SourceIp", ["203.0.113.0/24", "2001:db8::/32"]), False),
        (condition("NotIpAddress", "aws:SourceIp", "203.0.113.0/24"), True),
        (condition("NotIpAddress", "aws:SourceIp", "127.0.0.0/8"), False),
        (condition("Null", "aws:SourceIp", "false"), True),
    ],
)
def test_a_policy_may_ask_for_an_address(holder, asks, may):
    assert passes(holder(allow("ivs:ListStages", Condition=asks)).ivs.list_stages) is may


def test_a_deny_binds_only_under_its_condition(holder):
    locked = condition("StringEquals", "aws:ResourceTag/locked", "yes")
    alice = holder(allow(), deny("ivs:DeleteStage", Condition=locked))
    free = alice.ivs.create_stage()["stage"]["arn"]
    kept = alice.ivs.create_stage(tags={"locked": "yes"})["stage"]["arn"]
    alice.ivs.delete_stage(arn=free)
    with denied():
        alice.ivs.delete_stage(arn=kept)
