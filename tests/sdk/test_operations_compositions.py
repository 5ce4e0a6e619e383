"""Compositions: start, get, list and stop, and the life between."""

import pytest

from tenant import check_arn, conflicting, invalid, is_id, missing, over_quota

GRID = {
    "featuredParticipantAttribute": "",
    "omitStoppedVideo": False,
    "videoAspectRatio": "VIDEO",
    "videoFillMode": "",
    "gridGap": 2,
    "participantOrderAttribute": "",
}
PIP = {
    "featuredParticipantAttribute": "",
    "omitStoppedVideo": False,
    "videoFillMode": "COVER",
    "gridGap": 0,
    "pipParticipantAttribute": "",
    "pipBehavior": "STATIC",
    "pipOffset": 0,
    "pipPosition": "BOTTOM_RIGHT",
    "participantOrderAttribute": "",
}
EVERY_GRID_MEMBER = {
    "featuredParticipantAttribute": "host",
    "omitStoppedVideo": True,
    "videoAspectRatio": "SQUARE",
    "videoFillMode": "CONTAIN",
    "gridGap": 7,
    "participantOrderAttribute": "seat",
}
EVERY_PIP_MEMBER = {
    "featuredParticipantAttribute": "host",
    "omitStoppedVideo": True,
    "videoFillMode": "FILL",
    "gridGap": 1,
    "pipParticipantAttribute": "guest",
    "pipBehavior": "DYNAMIC",
    "pipOffset": 9,
    "pipPosition": "TOP_LEFT",
    "pipWidth": 320,
    "pipHeight": 180,
    "participantOrderAttribute": "seat",
}


def found(tenant, arn):
    return tenant.ivs.get_composition(arn=arn)["composition"]


def states(composition):
    return [composition["state"], *(destination["state"] for destination in composition["destinations"])]


def to_channel(tenant, **members):
    return {"channel": {"channelArn": tenant.arn("channel"), "encoderConfigurationArn": tenant.encoder()}, **members}


def to_bucket(tenant, **members):
    s3 = {"storageConfigurationArn": tenant.storage(), "encoderConfigurationArns": [tenant.encoder()]}
    return {"s3": {**s3, **members}}


def test_a_composition_answers_its_destinations_and_every_default(tenant):
    stage = tenant.stage()
    channel, bucket = to_channel(tenant), to_bucket(tenant)
    composition = tenant.composition(stage, destinations=[channel, bucket])
    check_arn(tenant, "composition", composition["arn"])
    assert composition["stageArn"] == stage
    assert composition["layout"] == {"grid": GRID}
    assert composition["tags"] == {}
    assert "endTime" not in composition
    assert states(composition) == ["STARTING"] * 3
    first, second = composition["destinations"]
    assert first["configuration"] == {"name": "", **channel}
    recording = {"format": "HLS", "hlsConfiguration": {"targetSegmentDurationSeconds": 2}}
    told = second["configuration"]
    assert told["name"] == ""
    assert told["s3"].items() >= {**bucket["s3"], "recordingConfiguration": recording}.items()
    assert is_id(first["id"]) and is_id(second["id"]) and first["id"] != second["id"]
    names = [arn.rpartition("/")[2] for arn in (stage, composition["arn"])]
    assert second["detail"] == {"s3": {"recordingPrefix": "/".join([*names, second["id"], "composite"])}}
    assert found(tenant, composition["arn"]) == composition


def test_a_composition_keeps_every_member_that_it_was_given(tenant):
    recording = {"format": "HLS", "hlsConfiguration": {"targetSegmentDurationSeconds": 10}}
    thumbnails = [{"targetIntervalSeconds": 86400, "storage": ["LATEST", "SEQUENTIAL"]}]
    bucket = to_bucket(tenant, recordingConfiguration=recording, thumbnailConfigurations=thumbnails)
    destinations = [{"name": "archive", **bucket}, to_channel(tenant, name="live")]
    composition = tenant.composition(
        tenant.stage(), destinations=destinations, layout={"grid": EVERY_GRID_MEMBER}, tags={"a": "b"}
    )
    assert [d["configuration"] for d in composition["destinations"]] == destinations
    assert composition["layout"] == {"grid": EVERY_GRID_MEMBER}
    assert composition["tags"] == {"a": "b"}


def test_thumbnails_have_defaults(tenant):
    bucket = to_bucket(tenant, thumbnailConfigurations=[{}])
    composition = tenant.composition(tenant.stage(), destinations=[bucket])
    told = composition["destinations"][0]["configuration"]["s3"]["thumbnailConfigurations"]
    assert told == [{"targetIntervalSeconds": 60, "storage": ["SEQUENTIAL"]}]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"grid": GRID}),
        ({"grid": {}}, {"grid": GRID}),
        ({"pip": {}}, {"pip": PIP}),
        ({"pip": EVERY_PIP_MEMBER}, {"pip": EVERY_PIP_MEMBER}),
        ({"grid": {"gridGap": 0}}, {"grid": {**GRID, "gridGap": 0}}),
    ],
)
def test_a_layout_is_told_with_its_defaults(tenant, given, told):
    assert tenant.composition(tenant.stage(), layout=given)["layout"] == told


def test_a_layout_is_either_a_grid_or_a_picture_in_picture(tenant):
    with invalid("layout"):
        tenant.composition(tenant.stage(), layout={"grid": {}, "pip": {}})


def test_there_is_at_most_one_destination_of_each_kind_and_each_has_a_kind(tenant):
    channel, bucket = to_channel(tenant), to_bucket(tenant)
    for destinations in ([channel, channel], [bucket, bucket], [{}], [{"name": "n"}], [{**channel, **bucket}]):
        with invalid("destinations"):
            tenant.composition(tenant.stage(), destinations=destinations)
    with invalid("'destinations'", "less than or equal to 2"):
        tenant.composition(tenant.stage(), destinations=[channel, bucket, bucket])


def test_everything_that_a_composition_names_must_exist(tenant, greenroom):
    stranger, stage = greenroom.tenant(), tenant.stage()
    for stage_arn in (tenant.arn("stage"), stranger.stage(), tenant.elsewhere().stage()):
        with missing(stage_arn):
            tenant.composition(stage_arn)
    for encoder in (tenant.arn("encoder-configuration"), stranger.encoder()):
        channel = {"channelArn": tenant.arn("channel"), "encoderConfigurationArn": encoder}
        with missing(encoder):
            tenant.composition(stage, destinations=[{"channel": channel}])
        with missing(encoder):
            tenant.composition(stage, destinations=[to_bucket(tenant, encoderConfigurationArns=[encoder])])
    for storage in (tenant.arn("storage-configuration"), stranger.storage()):
        with missing(storage):
            tenant.composition(stage, destinations=[to_bucket(tenant, storageConfigurationArn=storage)])
    for channel in (stranger.arn("channel"), tenant.elsewhere().arn("channel")):
        with missing(channel):
            tenant.composition(stage, destinations=[{"channel": {"channelArn": channel}}])
    assert tenant.ivs.list_compositions()["compositions"] == []


def test_a_composition_starts_runs_and_is_stopped(tenant, ivs):
    stage = tenant.stage()
    tenant.publish(stage)
    arn = tenant.composition(stage)["arn"]
    tenant.advance(1)
    assert states(found(tenant, arn)) == ["STARTING"] * 2
    tenant.advance(1)
    active = found(tenant, arn)
    assert states(active) == ["ACTIVE"] * 2
    assert (active["destinations"][0]["startTime"] - active["startTime"]).total_seconds() in (0, 2)
    tenant.advance(100)
    assert found(tenant, arn) == active
    ivs.stop_composition(arn=arn)
    stopping = found(tenant, arn)
    assert states(stopping) == ["STOPPING"] * 2
    assert "endTime" not in stopping
    tenant.advance(1)
    stopped = found(tenant, arn)
    assert states(stopped) == ["STOPPED"] * 2
    assert (stopped["endTime"] - active["startTime"]).total_seconds() == 103
    assert stopped["destinations"][0]["endTime"] == stopped["endTime"]
    ivs.stop_composition(arn=arn)
    assert found(tenant, arn) == stopped


def test_an_ended_composition_is_gone_after_five_minutes(tenant, ivs):
    arn = tenant.composition(tenant.stage())["arn"]
    ivs.stop_composition(arn=arn)
    tenant.advance(1)
    tenant.advance(299)
    assert found(tenant, arn)["state"] == "STOPPED"
    assert len(ivs.list_compositions()["compositions"]) == 1
    tenant.advance(1)
    for call in (ivs.get_composition, ivs.stop_composition):
        with missing(arn):
            call(arn=arn)
    with missing(arn):
        ivs.list_tags_for_resource(resourceArn=arn)
    assert ivs.list_compositions()["compositions"] == []


def test_a_composition_without_publishers_ends_after_a_minute(tenant):
    stage = tenant.stage()
    tenant.join(stage)
    arn = tenant.composition(stage)["arn"]
    tenant.advance(59)
    assert found(tenant, arn)["state"] == "ACTIVE"
    tenant.advance(2)
    assert found(tenant, arn)["state"] == "STOPPED"


def test_a_composition_ends_a_minute_after_the_last_publisher_has_gone(tenant):
    stage = tenant.stage()
    _, first = tenant.publish(stage)
    _, second = tenant.publish(stage)
    arn = tenant.composition(stage)["arn"]
    tenant.advance(300)
    tenant.act("unpublish", stage, first)
    tenant.advance(300)
    tenant.act("leave", stage, second)
    tenant.advance(59)
    assert found(tenant, arn)["state"] == "ACTIVE"
    tenant.act("publish", stage, first)
    tenant.advance(300)
    assert found(tenant, arn)["state"] == "ACTIVE"
    tenant.act("unpublish", stage, first)
    tenant.advance(59)
    assert found(tenant, arn)["state"] == "ACTIVE"
    tenant.advance(2)
    assert found(tenant, arn)["state"] == "STOPPED"


def test_a_composition_lives_for_a_day_at_most(tenant):
    stage = tenant.stage()
    tenant.publish(stage)
    arn = tenant.composition(stage)["arn"]
    tenant.advance(24 * 3600 - 1)
    assert found(tenant, arn)["state"] == "ACTIVE"
    tenant.advance(2)
    assert found(tenant, arn)["state"] == "STOPPED"


def test_the_same_token_and_request_answer_the_same_composition(tenant, ivs):
    stage, destinations = tenant.stage(), [to_channel(tenant)]
    request = {"stageArn": stage, "destinations": destinations, "idempotencyToken": "once"}
    first = ivs.start_composition(**request)["composition"]
    assert ivs.start_composition(**request)["composition"] == first
    assert len(ivs.list_compositions()["compositions"]) == 1
    with conflicting():
        ivs.start_composition(**request, tags={"a": "b"})
    other = ivs.start_composition(**{**request, "idempotencyToken": "twice"})["composition"]
    assert other["arn"] != first["arn"]


@pytest.mark.parametrize("operation", ["get_composition", "stop_composition"])
def test_a_composition_that_does_not_exist_here_is_not_found(operation, tenant, greenroom):
    others = [tenant.arn("composition")]
    others += [other.composition(other.stage())["arn"] for other in (greenroom.tenant(), tenant.elsewhere())]
    for arn in others:
        with missing(arn):
            getattr(tenant.ivs, operation)(arn=arn)
    with invalid("'arn'"):
        getattr(tenant.ivs, operation)(arn=tenant.stage())


def test_the_list_is_newest_first_and_takes_both_filters(tenant, ivs):
    stage, other = tenant.stage(), tenant.stage()
    encoder, channel = tenant.encoder(), tenant.arn("channel")
    shared = [{"channel": {"channelArn": channel, "encoderConfigurationArn": encoder}}]
    first = tenant.composition(stage, destinations=shared, tags={"a": "b"})
    tenant.advance(1)
    second = tenant.composition(other, destinations=shared)["arn"]
    tenant.advance(1)
    third = tenant.composition(stage)["arn"]

    def arns(**filters):
        whole = [c["arn"] for c in ivs.list_compositions(**filters)["compositions"]]
        assert [c["arn"] for c in tenant.walk("ListCompositions", 1, **filters)] == whole
        return whole

    assert arns() == [third, second, first["arn"]]
    assert arns(filterByStageArn=stage) == [third, first["arn"]]
    assert arns(filterByEncoderConfigurationArn=encoder) == [second, first["arn"]]
    assert arns(filterByStageArn=stage, filterByEncoderConfigurationArn=encoder) == [first["arn"]]
    assert arns(filterByStageArn=tenant.arn("stage")) == []
    told = ivs.list_compositions(filterByStageArn=stage)["compositions"][-1]
    assert told.keys() >= {"arn", "stageArn", "state", "destinations", "tags", "startTime"}
    assert (told["stageArn"], told["state"], told["tags"]) == (stage, "ACTIVE", {"a": "b"})
    assert told["destinations"][0]["id"] == first["destinations"][0]["id"]


def test_a_stage_has_five_compositions_at_once(tenant, ivs):
    stage, destinations = tenant.stage(), [to_channel(tenant)]
    first, *_ = [tenant.composition(stage, destinations=destinations)["arn"] for _ in range(5)]
    with over_quota():
        tenant.composition(stage, destinations=destinations)
    tenant.composition(tenant.stage(), destinations=destinations)
    ivs.stop_composition(arn=first)
    tenant.advance(1)
    tenant.composition(stage, destinations=destinations)


def test_an_account_has_a_quota_of_compositions_that_have_not_ended(frugal_tenant):
    destinations = [to_channel(frugal_tenant)]
    first, second = frugal_tenant.stage(), frugal_tenant.stage()
    for stage in (first, second):
        frugal_tenant.composition(stage, destinations=destinations)
    frugal_tenant.ivs.delete_stage(arn=first)
    third = frugal_tenant.stage()
    with over_quota():
        frugal_tenant.composition(third, destinations=destinations)
    frugal_tenant.advance(1)
    frugal_tenant.composition(third, destinations=destinations)
