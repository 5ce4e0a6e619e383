"""Tags: on every kind of resource that takes them."""

import pytest

from keys import pem
from tenant import invalid, missing

KINDS = ["stage", "public-key", "encoder", "storage", "ingest", "composition"]


def make(tenant, kind, tags):
    """A resource of a kind with these tags: its ARN, and a function that reads the tags it carries itself."""
    ivs = tenant.ivs
    match kind:
        case "stage":
            arn = tenant.stage(tags=tags)
            return arn, lambda: ivs.get_stage(arn=arn)["stage"]["tags"]
        case "public-key":
            arn = ivs.import_public_key(publicKeyMaterial=pem(), tags=tags)["publicKey"]["arn"]
            return arn, lambda: ivs.get_public_key(arn=arn)["publicKey"]["tags"]
        case "encoder":
            arn = tenant.encoder(tags=tags)
            return arn, lambda: ivs.get_encoder_configuration(arn=arn)["encoderConfiguration"]["tags"]
        case "storage":
            arn = tenant.storage(tags=tags)
            return arn, lambda: ivs.get_storage_configuration(arn=arn)["storageConfiguration"]["tags"]
        case "ingest":
            arn = tenant.ingest(tags=tags)["arn"]
            return arn, lambda: ivs.get_ingest_configuration(arn=arn)["ingestConfiguration"]["tags"]
        case "composition":
            arn = tenant.composition(tenant.stage(), tags=tags)["arn"]
            return arn, lambda: ivs.get_composition(arn=arn)["composition"]["tags"]


def tags_of(tenant, arn):
    return tenant.ivs.list_tags_for_resource(resourceArn=arn)["tags"]


@pytest.mark.parametrize("kind", KINDS)
def test_tags_are_added_replaced_and_removed(tenant, ivs, kind):
    arn, carried = make(tenant, kind, {"a": "1", "b": "2"})
    assert tags_of(tenant, arn) == carried() == {"a": "1", "b": "2"}
    ivs.tag_resource(resourceArn=arn, tags={"b": "changed", "c": ""})
    assert tags_of(tenant, arn) == carried() == {"a": "1", "b": "changed", "c": ""}
    ivs.untag_resource(resourceArn=arn, tagKeys=["a", "c", "never-there"])
    assert tags_of(tenant, arn) == carried() == {"b": "changed"}
    ivs.untag_resource(resourceArn=arn, tagKeys=["b"])
    assert tags_of(tenant, arn) == carried() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_resource_holds_fifty_tags_after_merging(tenant, ivs, kind):
    arn, carried = make(tenant, kind, {f"old-{n}": "x" for n in range(30)})
    ivs.tag_resource(resourceArn=arn, tags={f"new-{n}": "x" for n in range(20)})
    ivs.tag_resource(resourceArn=arn, tags={"old-0": "y"})
    with invalid("tags"):
        ivs.tag_resource(resourceArn=arn, tags={"one-too-many": "x"})
    assert len(carried()) == 50
    assert carried()["old-0"] == "y"


@pytest.mark.parametrize("kind", KINDS)
def test_keys_that_belong_to_aws_are_refused(tenant, ivs, kind):
    with invalid("aws:"):
        make(tenant, kind, {"aws:mine": "x"})
    arn, carried = make(tenant, kind, {"awsome": "fine"})
    with invalid("aws:"):
        ivs.tag_resource(resourceArn=arn, tags={"aws:mine": "x"})
    assert carried() == {"awsome": "fine"}


def test_keys_and_values_may_be_any_text_of_their_length(tenant, ivs):
    arn = tenant.stage()
    tags = {"k" * 128: "v" * 256, "ключ / + = . _ : @": "日本語", "🎭" * 128: "🎭" * 256, "a&b=c%20d": ""}
    ivs.tag_resource(resourceArn=arn, tags=tags)
    assert tags_of(tenant, arn) == tags
    ivs.untag_resource(resourceArn=arn, tagKeys=list(tags))
    assert tags_of(tenant, arn) == {}


def calls(tenant, arn):
    """The three tag operations on one resource."""
    return [
        lambda: tenant.ivs.list_tags_for_resource(resourceArn=arn),
        lambda: tenant.ivs.tag_resource(resourceArn=arn, tags={"a": "b"}),
        lambda: tenant.ivs.untag_resource(resourceArn=arn, tagKeys=["a"]),
    ]


@pytest.mark.parametrize(
    "kind",
    [
        "stage",
        "public-key",
        "encoder-configuration",
        "storage-configuration",
        "ingest-configuration",
        "composition",
    ],
)
def test_the_tags_of_a_resource_that_does_not_exist_are_not_found(tenant, kind):
    arn = tenant.arn(kind)
    for call in calls(tenant, arn):
        with missing(arn):
            call()


@pytest.mark.parametrize("kind", KINDS)
def test_the_tags_of_another_account_or_region_are_not_found(tenant, greenroom, kind):
    for other in (greenroom.tenant(), tenant.elsewhere()):
        arn, carried = make(other, kind, {"a": "kept"})
        for call in calls(tenant, arn):
            with missing(arn):
                call()
        assert carried() == {"a": "kept"}


@pytest.mark.parametrize("kind", ["channel", "recording-configuration", "participant"])
def test_the_tags_of_a_kind_that_this_service_has_not_are_invalid(tenant, kind):
    for call in calls(tenant, tenant.arn(kind)):
        with invalid():
            call()


def test_a_deleted_resource_has_no_tags(tenant, ivs):
    arn = tenant.stage(tags={"a": "b"})
    ivs.delete_stage(arn=arn)
    for call in calls(tenant, arn):
        with missing(arn):
            call()


@pytest.mark.parametrize("keys", [[""], ["k" * 129], [f"k{n}" for n in range(51)]])
def test_the_keys_to_remove_are_held_to_their_shape(tenant, keys):
    answer = tenant.wire.call("UntagResource", {"resourceArn": tenant.stage(), "tagKeys": keys})
    assert answer.fault == "ValidationException"
    assert "tagKeys" in answer.text


def test_removing_tags_needs_to_be_told_which(tenant):
    answer = tenant.wire.call("UntagResource", {"resourceArn": tenant.stage()})
    assert answer.fault == "ValidationException"
    assert "Value null at 'tagKeys' failed to satisfy constraint: Member must not be null" in answer.text
