"""Encoder configurations: create, get, list and delete."""

import pytest

from tenant import check_arn, conflicting, invalid, missing, over_quota

DEFAULTS = {"width": 1280, "height": 720, "framerate": 30.0, "bitrate": 2500000}


def created(tenant, **members):
    return tenant.ivs.create_encoder_configuration(**members)["encoderConfiguration"]


@pytest.mark.parametrize("members", [{}, {"video": {}}])
def test_an_encoder_needs_no_member_and_answers_every_default(tenant, members):
    encoder = created(tenant, **members)
    check_arn(tenant, "encoder-configuration", encoder["arn"])
    assert encoder == {"arn": encoder["arn"], "name": "", "video": DEFAULTS, "tags": {}}


def test_an_encoder_keeps_every_member_that_it_was_given(tenant, ivs):
    members = {
        "name": "HD_1",
        "video": {"width": 1080, "height": 1920, "framerate": 29.97, "bitrate": 8500000},
        "tags": {"a": "b"},
    }
    encoder = created(tenant, **members)
    assert encoder == {"arn": encoder["arn"], **members}
    assert ivs.get_encoder_configuration(arn=encoder["arn"])["encoderConfiguration"] == encoder
    summary = {"arn": encoder["arn"], "name": "HD_1", "tags": {"a": "b"}}
    assert ivs.list_encoder_configurations()["encoderConfigurations"] == [summary]


@pytest.mark.parametrize("member", DEFAULTS)
def test_each_member_of_the_video_has_its_own_default(tenant, member):
    video = {"width": 640, "height": 360, "framerate": 15.0, "bitrate": 500000}
    del video[member]
    assert created(tenant, video=video)["video"] == {**video, member: DEFAULTS[member]}


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (2, 2), (1440, 1440)])
def test_a_picture_of_even_sides_and_at_most_2073600_pixels_is_taken(tenant, width, height):
    video = created(tenant, video={"width": width, "height": height})["video"]
    assert (video["width"], video["height"]) == (width, height)


@pytest.mark.parametrize(
    ("video", "culprit"),
    [
        ({"width": 1279}, "width"),
        ({"height": 719}, "height"),
        ({"width": 1920, "height": 1082}, "2073600"),
        ({"width": 1920, "height": 1920}, "2073600"),
        ({"height": 1920}, "2073600"),
    ],
)
def test_a_picture_with_an_odd_side_or_too_many_pixels_is_invalid(tenant, video, culprit):
    with invalid("video", culprit):
        created(tenant, video=video)
    assert tenant.ivs.list_encoder_configurations()["encoderConfigurations"] == []


@pytest.mark.parametrize("operation", ["get_encoder_configuration", "delete_encoder_configuration"])
def test_an_encoder_that_does_not_exist_here_is_not_found(operation, tenant, greenroom):
    for arn in (tenant.arn("encoder-configuration"), greenroom.tenant().encoder(), tenant.elsewhere().encoder()):
        with missing(arn):
            getattr(tenant.ivs, operation)(arn=arn)
    with invalid("'arn'"):
        getattr(tenant.ivs, operation)(arn=tenant.stage())


def test_a_deleted_encoder_is_gone(tenant, ivs):
    gone, stays = tenant.encoder(), tenant.encoder()
    ivs.delete_encoder_configuration(arn=gone)
    with missing(gone):
        ivs.get_encoder_configuration(arn=gone)
    with missing(gone):
        ivs.delete_encoder_configuration(arn=gone)
    assert [e["arn"] for e in ivs.list_encoder_configurations()["encoderConfigurations"]] == [stays]


def test_an_encoder_in_use_stays_until_the_composition_has_ended(tenant, ivs):
    composition = tenant.composition(tenant.stage())
    encoder = composition["destinations"][0]["configuration"]["channel"]["encoderConfigurationArn"]
    with conflicting():
        ivs.delete_encoder_configuration(arn=encoder)
    ivs.stop_composition(arn=composition["arn"])
    with conflicting():
        ivs.delete_encoder_configuration(arn=encoder)
    tenant.advance(1)
    ivs.delete_encoder_configuration(arn=encoder)


def test_an_account_has_twenty_encoders(tenant, ivs):
    first, *_ = [tenant.encoder() for _ in range(20)]
    with over_quota():
        tenant.encoder()
    ivs.delete_encoder_configuration(arn=first)
    tenant.encoder()
