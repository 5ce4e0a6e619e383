"""Storage configurations: create, get, list and delete."""

import pytest

from tenant import check_arn, conflicting, invalid, missing, over_quota


def test_a_storage_keeps_every_member_that_it_was_given(tenant, ivs):
    members = {"name": "Bucket_1", "s3": {"bucketName": "my.bucket-1"}, "tags": {"a": "b"}}
    storage = ivs.create_storage_configuration(**members)["storageConfiguration"]
    check_arn(tenant, "storage-configuration", storage["arn"])
    assert storage == {"arn": storage["arn"], **members}
    assert ivs.get_storage_configuration(arn=storage["arn"])["storageConfiguration"] == storage
    assert ivs.list_storage_configurations()["storageConfigurations"] == [storage]


def test_a_storage_needs_neither_name_nor_tags(ivs):
    storage = ivs.create_storage_configuration(s3={"bucketName": "abc"})["storageConfiguration"]
    assert storage == {"arn": storage["arn"], "name": "", "s3": {"bucketName": "abc"}, "tags": {}}


@pytest.mark.parametrize("operation", ["get_storage_configuration", "delete_storage_configuration"])
def test_a_storage_that_does_not_exist_here_is_not_found(operation, tenant, greenroom):
    for arn in (tenant.arn("storage-configuration"), greenroom.tenant().storage(), tenant.elsewhere().storage()):
        with missing(arn):
            getattr(tenant.ivs, operation)(arn=arn)
    with invalid("'arn'"):
        getattr(tenant.ivs, operation)(arn=tenant.stage())


def test_a_deleted_storage_is_gone(tenant, ivs):
    gone, stays = tenant.storage(), tenant.storage()
    ivs.delete_storage_configuration(arn=gone)
    with missing(gone):
        ivs.get_storage_configuration(arn=gone)
    with missing(gone):
        ivs.delete_storage_configuration(arn=gone)
    assert [s["arn"] for s in ivs.list_storage_configurations()["storageConfigurations"]] == [stays]


def test_a_storage_that_a_stage_records_to_stays_until_the_stage_lets_go(tenant, ivs):
    storage = tenant.storage()
    recording = {"storageConfigurationArn": storage}
    first = tenant.stage(autoParticipantRecordingConfiguration=recording)
    second = tenant.stage()
    ivs.update_stage(arn=second, autoParticipantRecordingConfiguration=recording)
    with conflicting():
        ivs.delete_storage_configuration(arn=storage)
    ivs.delete_stage(arn=first)
    with conflicting():
        ivs.delete_storage_configuration(arn=storage)
    ivs.update_stage(arn=second, autoParticipantRecordingConfiguration={"storageConfigurationArn": ""})
    ivs.delete_storage_configuration(arn=storage)


def test_a_storage_that_a_composition_writes_to_stays_until_it_has_ended(tenant, ivs):
    storage = tenant.storage()
    s3 = {"storageConfigurationArn": storage, "encoderConfigurationArns": [tenant.encoder()]}
    composition = tenant.composition(tenant.stage(), destinations=[{"s3": s3}])
    with conflicting():
        ivs.delete_storage_configuration(arn=storage)
    ivs.stop_composition(arn=composition["arn"])
    tenant.advance(1)
    ivs.delete_storage_configuration(arn=storage)


def test_an_account_has_five_storages(tenant, ivs):
    first, *_ = [tenant.storage() for _ in range(5)]
    with over_quota():
        tenant.storage()
    ivs.delete_storage_configuration(arn=first)
    tenant.storage()
