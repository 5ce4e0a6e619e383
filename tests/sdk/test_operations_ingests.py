"""Ingest configurations: create, get, list, update and delete."""

import re

import pytest

from tenant import check_arn, conflicting, invalid, is_id, missing, over_quota


def found(tenant, arn):
    return tenant.ivs.get_ingest_configuration(arn=arn)["ingestConfiguration"]


def updated(tenant, arn, **members):
    return tenant.ivs.update_ingest_configuration(arn=arn, **members)["ingestConfiguration"]


def listed(tenant, **filters):
    return tenant.ivs.list_ingest_configurations(**filters)["ingestConfigurations"]


def check_stream_key(tenant, key, arn):
    account, region, name, random = re.fullmatch(r"rt_(\d+)_([a-z0-9-]+)_([^_]+)_([a-zA-Z0-9]{24,})", key).groups()
    assert (account, region, name) == (tenant.account, tenant.region, arn.rpartition("/")[2])
    return random


def test_an_ingest_needs_a_protocol_and_answers_every_default(tenant):
    ingest = tenant.ingest()
    check_arn(tenant, "ingest-configuration", ingest["arn"])
    check_stream_key(tenant, ingest["streamKey"], ingest["arn"])
    assert is_id(ingest["participantId"])
    assert ingest["ingestProtocol"] == "RTMPS"
    assert ingest["state"] == "INACTIVE"
    assert (ingest["name"], ingest["stageArn"], ingest["userId"], ingest["tags"]) == ("", "", "", {})
    assert "redundantIngestCredentials" not in ingest
    assert ingest["redundantIngest"] is False
    assert found(tenant, ingest["arn"]) == ingest


def test_an_ingest_keeps_every_member_that_it_was_given(tenant):
    members = {
        "name": "Cam_1",
        "stageArn": tenant.stage(),
        "userId": "camera ✓",
        "attributes": {"a": "b"},
        "ingestProtocol": "RTMP",
        "tags": {"c": "d"},
    }
    ingest = tenant.ingest(insecureIngest=True, redundantIngest=True, **members)
    assert {name: ingest[name] for name in members} == members
    assert ingest["redundantIngest"] is True
    assert found(tenant, ingest["arn"]) == ingest


def test_redundant_ingest_has_two_credentials_of_their_own(tenant):
    ingest = tenant.ingest(redundantIngest=True)
    credentials = ingest["redundantIngestCredentials"]
    randoms = {check_stream_key(tenant, c["streamKey"], ingest["arn"]) for c in [*credentials, ingest]}
    assert len(randoms) == 3
    assert len({ingest["participantId"], *(c["participantId"] for c in credentials)}) == 3


@pytest.mark.parametrize(("given", "told"), [("rtmps", "RTMPS"), ("rtmp", "RTMP"), ("RTMP", "RTMP")])
def test_the_protocol_may_be_written_in_lower_case_and_is_told_in_upper_case(tenant, given, told):
    assert tenant.ingest(ingestProtocol=given, insecureIngest=True)["ingestProtocol"] == told


@pytest.mark.parametrize("members", [{}, {"insecureIngest": False}])
def test_rtmp_needs_insecure_ingest(tenant, members):
    with invalid("insecureIngest"):
        tenant.ingest(ingestProtocol="RTMP", **members)


def test_attributes_hold_1024_bytes_of_utf_8(tenant):
    assert tenant.ingest(attributes={"ä": "ö" * 511})["attributes"] == {"ä": "ö" * 511}
    with invalid("attributes"):
        tenant.ingest(attributes={"ä": "ö" * 511 + "x"})


def test_an_ingest_is_not_made_for_a_stage_that_does_not_exist_here(tenant, greenroom):
    for stage in (tenant.arn("stage"), greenroom.tenant().stage(), tenant.elsewhere().stage()):
        with invalid(stage):
            tenant.ingest(stageArn=stage)
    assert listed(tenant) == []


def test_a_summary_has_no_secrets(tenant):
    ingest = tenant.ingest(name="n", userId="u", redundantIngest=True, tags={"a": "b"})
    kept = ["name", "arn", "ingestProtocol", "stageArn", "participantId", "state", "userId", "redundantIngest"]
    assert listed(tenant) == [{name: ingest[name] for name in kept}]


def test_an_update_attaches_moves_and_detaches_the_stage(tenant):
    first, second = tenant.stage(), tenant.stage()
    ingest = tenant.ingest()
    for stage in (first, second, ""):
        assert updated(tenant, ingest["arn"], stageArn=stage) == {**ingest, "stageArn": stage}
        assert updated(tenant, ingest["arn"]) == {**ingest, "stageArn": stage}
        assert found(tenant, ingest["arn"]) == {**ingest, "stageArn": stage}


def test_an_update_gives_and_takes_redundant_credentials(tenant):
    ingest = tenant.ingest()
    redundant = updated(tenant, ingest["arn"], redundantIngest=True)
    assert len(redundant["redundantIngestCredentials"]) == 2
    assert updated(tenant, ingest["arn"], redundantIngest=True) == redundant
    single = updated(tenant, ingest["arn"], redundantIngest=False)
    assert single == ingest
    assert found(tenant, ingest["arn"]) == ingest


def test_an_update_names_a_stage_that_exists_here(tenant, greenroom):
    ingest = tenant.ingest()
    for stage in (tenant.arn("stage"), greenroom.tenant().stage(), tenant.elsewhere().stage()):
        with missing(stage):
            updated(tenant, ingest["arn"], stageArn=stage)
    assert found(tenant, ingest["arn"]) == ingest


def test_an_active_ingest_is_neither_updated_nor_deleted_without_force(tenant, ivs):
    arn = tenant.ingest(stageArn=tenant.stage())["arn"]
    tenant.test_server.do("ingest", configuration=arn, state="ACTIVE")
    assert found(tenant, arn)["state"] == "ACTIVE"
    for call in (
        lambda: ivs.update_ingest_configuration(arn=arn, stageArn=""),
        lambda: ivs.delete_ingest_configuration(arn=arn),
        lambda: ivs.delete_ingest_configuration(arn=arn, force=False),
    ):
        with conflicting():
            call()
    ivs.delete_ingest_configuration(arn=arn, force=True)
    with missing(arn):
        found(tenant, arn)


def test_an_ingest_that_stopped_can_be_deleted(tenant, ivs):
    arn = tenant.ingest(stageArn=tenant.stage())["arn"]
    tenant.test_server.do("ingest", configuration=arn, state="ACTIVE")
    tenant.test_server.do("ingest", configuration=arn, state="INACTIVE")
    updated(tenant, arn, stageArn="")
    ivs.delete_ingest_configuration(arn=arn)
    with missing(arn):
        ivs.delete_ingest_configuration(arn=arn)


@pytest.mark.parametrize(
    "operation", ["get_ingest_configuration", "update_ingest_configuration", "delete_ingest_configuration"]
)
def test_an_ingest_that_does_not_exist_here_is_not_found(operation, tenant, greenroom):
    others = [tenant.arn("ingest-configuration")]
    others += [other.ingest()["arn"] for other in (greenroom.tenant(), tenant.elsewhere())]
    for arn in others:
        with missing(arn):
            getattr(tenant.ivs, operation)(arn=arn)
    with invalid("'arn'"):
        getattr(tenant.ivs, operation)(arn=tenant.stage())


def test_one_filter_at_a_time_narrows_the_list(tenant):
    stage = tenant.stage()
    idle = tenant.ingest()["arn"]
    tenant.advance(1)
    attached = tenant.ingest(stageArn=stage)["arn"]
    tenant.advance(1)
    active = tenant.ingest(stageArn=stage)["arn"]
    tenant.test_server.do("ingest", configuration=active, state="ACTIVE")

    def arns(**filters):
        whole = [i["arn"] for i in listed(tenant, **filters)]
        assert [i["arn"] for i in tenant.walk("ListIngestConfigurations", 1, **filters)] == whole
        return whole

    assert arns() == [idle, attached, active]
    assert arns(filterByStageArn=stage) == [attached, active]
    assert arns(filterByStageArn=tenant.arn("stage")) == []
    assert arns(filterByState="ACTIVE") == [active]
    assert arns(filterByState="INACTIVE") == [idle, attached]
    with invalid("filter"):
        listed(tenant, filterByStageArn=stage, filterByState="ACTIVE")


def test_an_ingest_beyond_the_quota_is_refused_until_one_is_deleted(frugal_tenant):
    first = frugal_tenant.ingest()
    frugal_tenant.ingest()
    with over_quota():
        frugal_tenant.ingest()
    frugal_tenant.ivs.delete_ingest_configuration(arn=first["arn"])
    frugal_tenant.ingest()
