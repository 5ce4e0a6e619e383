"""Stages: create, get, list, update and delete."""

from urllib.parse import urlsplit

import pytest

from tenant import check_arn, conflicting, invalid, is_id, missing, over_quota, refused

RECORDING_DEFAULTS = {
    "storageConfigurationArn": "",
    "mediaTypes": ["AUDIO_VIDEO"],
    "thumbnailConfiguration": {"targetIntervalSeconds": 60, "storage": ["SEQUENTIAL"], "recordingMode": "DISABLED"},
    "recordingReconnectWindowSeconds": 0,
    "hlsConfiguration": {"targetSegmentDurationSeconds": 6},
    "recordParticipantReplicas": True,
}


def every_recording_member(storage):
    """A recording configuration in which no member has its default."""
    return {
        "storageConfigurationArn": storage,
        "mediaTypes": ["AUDIO_ONLY"],
        "thumbnailConfiguration": {"targetIntervalSeconds": 5, "storage": ["LATEST"], "recordingMode": "INTERVAL"},
        "recordingReconnectWindowSeconds": 300,
        "hlsConfiguration": {"targetSegmentDurationSeconds": 10},
        "recordParticipantReplicas": False,
    }


def test_a_stage_needs_no_member_and_answers_every_default(tenant, ivs):
    answer = ivs.create_stage()
    stage = answer["stage"]
    check_arn(tenant, "stage", stage["arn"])
    members = {"arn", "name", "tags", "activeSessionId", "autoParticipantRecordingConfiguration", "endpoints"}
    assert stage.keys() == members
    assert stage["name"] == stage["activeSessionId"] == ""
    assert stage["tags"] == {}
    assert stage["autoParticipantRecordingConfiguration"] == RECORDING_DEFAULTS
    assert "participantTokens" not in answer


def test_a_stage_keeps_every_member_that_it_was_given(tenant, ivs):
    recording = every_recording_member(tenant.storage())
    stage = ivs.create_stage(name="Stage_1-a", tags={"room": "green"}, autoParticipantRecordingConfiguration=recording)[
        "stage"
    ]
    assert stage["name"] == "Stage_1-a"
    assert stage["tags"] == {"room": "green"}
    assert stage["autoParticipantRecordingConfiguration"] == recording
    assert ivs.get_stage(arn=stage["arn"])["stage"] == stage


def test_empty_lists_and_absent_members_of_a_recording_mean_the_defaults(tenant, ivs):
    storage = tenant.storage()
    recording = {"storageConfigurationArn": storage, "mediaTypes": [], "thumbnailConfiguration": {"storage": []}}
    stage = ivs.create_stage(autoParticipantRecordingConfiguration=recording)["stage"]
    assert stage["autoParticipantRecordingConfiguration"] == {**RECORDING_DEFAULTS, "storageConfigurationArn": storage}


def test_the_endpoints_of_a_stage_derive_from_the_address_of_the_server(greenroom, ivs):
    address = urlsplit(greenroom.endpoint)
    endpoints = ivs.create_stage()["stage"]["endpoints"]
    assert endpoints.keys() == {"events", "whip", "rtmp", "rtmps"}
    assert endpoints["events"].startswith(f"ws://{address.netloc}")
    assert endpoints["whip"].startswith(f"http://{address.netloc}")
    assert endpoints["rtmp"].startswith(f"rtmp://{address.hostname}")
    assert endpoints["rtmps"].startswith(f"rtmps://{address.hostname}")
    assert endpoints["rtmp"].endswith("/app/") and endpoints["rtmps"].endswith("/app/")


def test_a_stage_comes_with_a_token_for_each_configuration_that_was_given(ivs):
    configurations = [
        {"userId": "alice", "duration": 30, "attributes": {"seat": "1"}, "capabilities": ["PUBLISH"]},
        {},
    ]
    tokens = ivs.create_stage(participantTokenConfigurations=configurations)["participantTokens"]
    first, second = tokens
    assert {k: first[k] for k in configurations[0]} == configurations[0]
    assert second.keys() == {"participantId", "token", "duration", "capabilities", "expirationTime"}
    assert second["duration"] == 720
    assert sorted(second["capabilities"]) == ["PUBLISH", "SUBSCRIBE"]
    assert is_id(first["participantId"]) and is_id(second["participantId"])
    assert first["participantId"] != second["participantId"]


def test_twelve_token_configurations_are_the_most_that_a_new_stage_takes(ivs):
    assert len(ivs.create_stage(participantTokenConfigurations=[{}] * 12)["participantTokens"]) == 12
    with invalid("'participantTokenConfigurations'", "less than or equal to 12"):
        ivs.create_stage(participantTokenConfigurations=[{}] * 13)


def test_a_stage_does_not_record_to_a_storage_that_does_not_exist(tenant, ivs):
    recording = {"storageConfigurationArn": tenant.arn("storage-configuration")}
    with invalid(recording["storageConfigurationArn"]):
        ivs.create_stage(autoParticipantRecordingConfiguration=recording)
    assert ivs.list_stages()["stages"] == []
    stage = tenant.stage()
    with missing(recording["storageConfigurationArn"]):
        ivs.update_stage(arn=stage, autoParticipantRecordingConfiguration=recording)


def test_an_update_changes_what_it_names_and_nothing_else(tenant, ivs):
    recording = every_recording_member(tenant.storage())
    stage = ivs.create_stage(name="before", tags={"a": "b"}, autoParticipantRecordingConfiguration=recording)["stage"]
    renamed = ivs.update_stage(arn=stage["arn"], name="after")["stage"]
    assert renamed == {**stage, "name": "after"}
    assert ivs.update_stage(arn=stage["arn"])["stage"] == renamed
    assert ivs.get_stage(arn=stage["arn"])["stage"] == renamed
    assert ivs.update_stage(arn=stage["arn"], name="")["stage"]["name"] == ""


def test_an_update_replaces_the_recording_whole(tenant, ivs):
    storage = tenant.storage()
    stage = tenant.stage(autoParticipantRecordingConfiguration=every_recording_member(storage))
    change = {"storageConfigurationArn": storage, "mediaTypes": ["NONE"]}
    updated = ivs.update_stage(arn=stage, autoParticipantRecordingConfiguration=change)["stage"]
    assert updated["autoParticipantRecordingConfiguration"] == {**RECORDING_DEFAULTS, **change}


def test_an_empty_storage_arn_disables_recording_and_resets_it(tenant, ivs):
    recording = every_recording_member(tenant.storage())
    stage = tenant.stage(autoParticipantRecordingConfiguration=recording)
    off = {**recording, "storageConfigurationArn": ""}
    updated = ivs.update_stage(arn=stage, autoParticipantRecordingConfiguration=off)["stage"]
    assert updated["autoParticipantRecordingConfiguration"] == RECORDING_DEFAULTS


def test_recording_cannot_be_changed_while_a_recording_runs(tenant, ivs):
    storage = tenant.storage()
    stage = tenant.stage(autoParticipantRecordingConfiguration={"storageConfigurationArn": storage})
    _, participant = tenant.publish(stage)
    tenant.act("recording", stage, participant, state="ACTIVE")
    change = {"arn": stage, "autoParticipantRecordingConfiguration": {"storageConfigurationArn": ""}}
    with conflicting():
        ivs.update_stage(**change)
    assert ivs.update_stage(arn=stage, name="meanwhile")["stage"]["name"] == "meanwhile"
    tenant.act("recording", stage, participant, state="STOPPED")
    recording = ivs.update_stage(**change)["stage"]["autoParticipantRecordingConfiguration"]
    assert recording == RECORDING_DEFAULTS


@pytest.mark.parametrize("operation", ["get_stage", "update_stage", "delete_stage"])
def test_a_stage_that_does_not_exist_here_is_not_found(operation, tenant, greenroom):
    others = [
        tenant.arn("stage"),
        greenroom.tenant().stage(),
        tenant.elsewhere().stage(),
    ]
    for arn in others:
        with missing(arn):
            getattr(tenant.ivs, operation)(arn=arn)


@pytest.mark.parametrize("operation", ["get_stage", "update_stage", "delete_stage"])
def test_the_arn_of_another_kind_is_invalid(operation, tenant):
    with invalid("'arn'", "regular expression"):
        getattr(tenant.ivs, operation)(arn=tenant.encoder())


def test_a_deleted_stage_is_gone_and_cannot_be_deleted_twice(tenant, ivs):
    stage, stays = tenant.stage(), tenant.stage()
    ivs.delete_stage(arn=stage)
    with missing(stage):
        ivs.get_stage(arn=stage)
    with missing(stage):
        ivs.delete_stage(arn=stage)
    with missing(stage):
        ivs.create_participant_token(stageArn=stage)
    assert [s["arn"] for s in ivs.list_stages()["stages"]] == [stays]


def test_deleting_a_stage_takes_its_session_participants_and_history_with_it(tenant, ivs):
    stage = tenant.stage()
    session, participant = tenant.publish(stage)
    ivs.delete_stage(arn=stage)
    with refused("ResourceNotFoundException", stage):
        ivs.get_stage_session(stageArn=stage, sessionId=session)
    with refused("ResourceNotFoundException", stage):
        tenant.participant(stage, session, participant)
    assert ivs.list_stage_sessions(stageArn=stage)["stageSessions"] == []
    assert ivs.list_participants(stageArn=stage, sessionId=session)["participants"] == []
    assert tenant.events(stage, session, participant) == []
    assert "error" in tenant.test_server.ask("join", stage=stage, participant=participant)


def test_deleting_a_stage_detaches_its_ingest_configurations(tenant, ivs):
    stage = tenant.stage()
    attached = tenant.ingest(stageArn=stage)
    ivs.delete_stage(arn=stage)
    found = ivs.get_ingest_configuration(arn=attached["arn"])["ingestConfiguration"]
    assert found["stageArn"] == ""
    assert found["streamKey"] == attached["streamKey"]


def test_deleting_a_stage_stops_its_compositions(tenant, ivs):
    stage = tenant.stage()
    composition = tenant.composition(stage)
    ivs.delete_stage(arn=stage)
    tenant.advance(1)
    found = ivs.get_composition(arn=composition["arn"])["composition"]
    assert found["state"] == "STOPPED"
    assert found["endTime"] >= found["startTime"]


def test_the_list_tells_of_each_stage_what_a_summary_has(tenant, ivs):
    arn = tenant.stage(name="one", tags={"a": "b"})
    assert ivs.list_stages()["stages"] == [
        {"arn": arn, "name": "one", "tags": {"a": "b"}, "activeSessionId": ""}
    ]
    session, _ = tenant.join(arn)
    assert ivs.list_stages()["stages"][0]["activeSessionId"] == session
    assert ivs.get_stage(arn=arn)["stage"]["activeSessionId"] == session
    assert ivs.update_stage(arn=arn, name="two")["stage"]["activeSessionId"] == session


def test_without_a_session_its_id_is_empty_wherever_a_stage_is_shown(tenant, ivs):
    made = ivs.create_stage()["stage"]
    shown = [
        made,
        ivs.get_stage(arn=made["arn"])["stage"],
        ivs.update_stage(arn=made["arn"], name="two")["stage"],
        *ivs.list_stages()["stages"],
    ]
    assert [stage["activeSessionId"] for stage in shown] == [""] * 4


def test_a_stage_beyond_the_quota_is_refused_until_one_is_deleted(frugal_tenant):
    stages = [frugal_tenant.stage(), frugal_tenant.stage()]
    with over_quota():
        frugal_tenant.stage()
    frugal_tenant.elsewhere().stage()
    frugal_tenant.ivs.delete_stage(arn=stages[0])
    frugal_tenant.stage()
