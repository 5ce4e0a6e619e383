"""What the policy of a key allows and denies, seen by a client with the key, and the text of denials."""

import pytest

from access import Holder, Keys, allow, client, denied, deny, policy
from clients import ACCOUNTS
from tenant import invalid, missing


@pytest.fixture
def holder(greenroom):
    """Creates a client whose key has these statements as its policy; ACCOUNT in them is replaced by the account."""
    return lambda *statements, **more: Holder(greenroom, *statements, **more)


def test_a_key_without_a_policy_may_do_everything(greenroom):
    ivs = client(greenroom, Keys(greenroom.database).create(str(next(ACCOUNTS))))
    arn = ivs.create_stage(tags={"a": "b"})["stage"]["arn"]
    ivs.delete_stage(arn=arn)


def test_what_no_statement_allows_is_denied(holder):
    alice = holder(allow("ivs:ListStages"))
    assert alice.ivs.list_stages()["stages"] == []
    with denied():
        alice.ivs.create_stage()
    with denied():
        alice.ivs.list_public_keys()


def test_a_denial_names_who_may_not_do_what_on_which_resource(holder):
    alice = holder(allow("ivs:ListStages"))
    with pytest.raises(alice.ivs.exceptions.AccessDeniedException) as caught:
        alice.ivs.create_stage()
    error = caught.value.response
    text = f"User: {alice.user} is not authorized to perform: ivs:CreateStage on resource: {alice.arn('stage')}"
    assert error["Error"]["Message"] == error["exceptionMessage"] == text
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_key_without_a_name_is_named_by_its_id_in_a_denial(holder):
    unnamed = holder(allow("ivs:ListStages"), name="")
    user = f"arn:aws:iam::{unnamed.account}:user/{unnamed.key['accessKeyId']}"
    with denied(f"User: {user} is not authorized to perform: ivs:ListPublicKeys on resource: *"):
        unnamed.ivs.list_public_keys()


def test_what_is_denied_changes_nothing(holder):
    alice = holder(allow(["ivs:Get*", "ivs:List*"]))
    stage = alice.owner.create_stage(name="kept", tags={"team": "blue"})["stage"]
    arn = stage["arn"]
    for attempt in (
        lambda: alice.ivs.create_stage(),
        lambda: alice.ivs.update_stage(arn=arn, name="changed"),
        lambda: alice.ivs.tag_resource(resourceArn=arn, tags={"team": "red"}),
        lambda: alice.ivs.untag_resource(resourceArn=arn, tagKeys=["team"]),
        lambda: alice.ivs.delete_stage(arn=arn),
        lambda: alice.ivs.create_participant_token(stageArn=arn),
    ):
        with denied():
            attempt()
    assert alice.owner.get_stage(arn=arn)["stage"] == alice.ivs.get_stage(arn=arn)["stage"] == stage
    assert [listed["arn"] for listed in alice.owner.list_stages()["stages"]] == [arn]


def test_one_resource_may_be_named(holder):
    owner = holder(allow())
    mine, other = (owner.ivs.create_stage()["stage"]["arn"] for _ in range(2))
    alice = holder(allow("ivs:GetStage", mine), account=owner.account)
    assert alice.ivs.get_stage(arn=mine)["stage"]["arn"] == mine
    with denied(f"ivs:GetStage on resource: {other}"):
        alice.ivs.get_stage(arn=other)


@pytest.mark.parametrize(
    ("resource", "action", "passes"),
    [
        ("arn:aws:ivs:us-east-1:ACCOUNT:stage/*", "ivs:GetStage", True),
        ("arn:aws:ivs:*:ACCOUNT:stage/*", "ivs:GetStage", True),
        ("arn:aws:ivs:*:*:stage/????????????", "ivs:GetStage", True),
        ("arn:aws:ivs:*", "ivs:GetStage", True),
        ("*", "ivs:GetStage", True),
        ("arn:aws:ivs:us-east-1:ACCOUNT:*", "ivs:G*", True),
        ("*", "IVS:getstage", True),
        ("*", "ivs:Get?tage", True),
        (["arn:aws:ivs:us-east-1:ACCOUNT:public-key/*", "*"], ["ivs:Delete*", "ivs:GetStage"], True),
        ("arn:aws:ivs:eu-west-1:ACCOUNT:stage/*", "ivs:GetStage", False),
        ("arn:aws:ivs:us-east-1:123456789012:stage/*", "ivs:GetStage", False),
        ("arn:aws:ivs:us-east-1:ACCOUNT:STAGE/*", "ivs:GetStage", False),
        ("arn:aws:ivs:us-east-1:ACCOUNT:stage/???????????", "ivs:GetStage", False),
        ("*", "ivs:GetStage?", False),
        ("*", "s3:GetStage", False),
        ("*", "ivs:ListStages", False),
    ],
)
def test_wildcards_match_as_in_iam(holder, resource, action, passes):
    alice = holder(allow(action, resource))
    arn = alice.owner.create_stage()["stage"]["arn"]
    assert_passes(passes, lambda: alice.ivs.get_stage(arn=arn))


@pytest.mark.parametrize(
    ("statement", "may_get", "may_list"),
    [
        ({"NotAction": "ivs:GetStage", "Resource": "*"}, False, True),
        ({"NotAction": ["ivs:Get*", "ivs:Delete*"], "Resource": "*"}, False, True),
        ({"NotAction": "ivs:List*", "Resource": "*"}, True, False),
        ({"Action": "*", "NotResource": "arn:aws:ivs:*:*:stage/*"}, False, False),
        ({"Action": "*", "NotResource": "arn:aws:ivs:us-east-1:ACCOUNT:stage/*_*x*"}, True, True),
        ({"Action": "*", "NotResource": ["arn:aws:ivs:eu-west-1:*:*", "arn:aws:ivs:*:*:composition/*"]}, True, True),
        ({"NotAction": "ivs:ListStages", "NotResource": "arn:aws:s3:::bucket"}, True, False),
    ],
)
def test_not_action_and_not_resource_mean_all_the_others(holder, statement, may_get, may_list):
    alice = holder({"Effect": "Allow", **statement})
    arn = alice.owner.create_stage()["stage"]["arn"]
    assert_passes(may_get, lambda: alice.ivs.get_stage(arn=arn))
    assert_passes(may_list, alice.ivs.list_stages)


def assert_passes(passes, attempt):
    if passes:
        attempt()
    else:
        with denied():
            attempt()


def test_an_explicit_deny_wins_wherever_it_stands(holder):
    for statements in ([allow(), deny("ivs:Delete*")], [deny("ivs:Delete*"), allow(), allow("ivs:DeleteStage")]):
        alice = holder(*statements)
        arn = alice.ivs.create_stage()["stage"]["arn"]
        with denied("ivs:DeleteStage", arn):
            alice.ivs.delete_stage(arn=arn)
        assert alice.ivs.get_stage(arn=arn)


def test_a_deny_of_all_others_binds_too(holder):
    not_stages = {"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:ivs:*:ACCOUNT:stage/*"}
    alice = holder(allow(), not_stages)
    alice.ivs.create_stage()
    with denied():
        alice.ivs.create_encoder_configuration()
    with denied("resource: *"):
        alice.ivs.list_storage_configurations()


def test_a_resource_made_with_tags_must_be_allowed_to_be_tagged(holder):
    alice = holder(allow("ivs:CreateStage"))
    alice.ivs.create_stage()
    alice.ivs.create_stage(tags={})
    with denied(f"ivs:TagResource on resource: {alice.arn('stage')}"):
        alice.ivs.create_stage(tags={"team": "blue"})
    assert len(alice.owner.list_stages()["stages"]) == 2


def test_what_is_not_valid_is_refused_as_such_and_what_is_not_there_only_to_whom_it_may_concern(holder):
    alice = holder(allow("ivs:GetStage"))
    with invalid("'name'"):
        alice.ivs.create_stage(name="not a name!")
    with missing(alice.arn("stage", "abcdefghijkl")):
        alice.ivs.get_stage(arn=alice.arn("stage", "abcdefghijkl"))
    with denied():
        alice.ivs.delete_stage(arn=alice.arn("stage", "abcdefghijkl"))


def test_no_policy_opens_another_account(holder, tenant):
    alice = holder(allow("*", "*"))
    theirs = tenant.stage()
    with missing(theirs):
        alice.ivs.get_stage(arn=theirs)
    with missing(theirs):
        alice.ivs.delete_stage(arn=theirs)
    assert tenant.ivs.get_stage(arn=theirs)


def test_a_policy_is_shown_as_it_was_given(holder, greenroom):
    alice = holder(allow("ivs:GetStage"), deny("ivs:Delete*"))
    keys = Keys(greenroom.database)
    shown = keys.show(alice.key)["policy"]
    assert shown == alice.key["policy"] == policy(allow("ivs:GetStage"), deny("ivs:Delete*"))
    assert "ivs:Delete*" in keys.say("show", alice.key["accessKeyId"])
