"""The conformance comparison: differences in ids and times are accepted, all others are reported."""

import pytest

from conformance import differences
from cli_examples import parse

REGION = "us-west-2"
STAGE = "arn:aws:ivs:us-west-2:123456789012:stage/"
PRINTED = {
    "arn": STAGE + "abcdABCDefgh",
    "sourceStageArn": STAGE + "abcdABCDefgh",
    "participantId": "ABCDEfghij01234KLMN5678",
    "streamKey": "rt_123456789012_us-west-2_abcdABCDefgh_abcd1234efgh5678",
    "recordingPrefix": "abcdABCDefgh/ABCDEfghij01234KLMN5678/composite",
    "startTime": "2023-10-16T23:24:00+00:00",
    "fingerprint": "12:a3:44:56:bc:7d:e8:9f:10:2g:34:hi:56:78:90:12",
    "token": "abcd1234defg5678",
    "whip": "https://9x0y8z7s6t5u.whip.example",
    "tags": {},
    "published": True,
    "framerate": 30,
    "name": "stage1",
    "mediaTypes": ["AUDIO_VIDEO"],
}
ACTUAL = PRINTED | {
    "arn": STAGE + "aaaaaaaaaaaa",
    "sourceStageArn": STAGE + "aaaaaaaaaaaa",
    "participantId": "bbbbbbbbbbbb",
    "streamKey": "rt_123456789012_us-west-2_aaaaaaaaaaaa_cccccccccccccccc",
    "recordingPrefix": "aaaaaaaaaaaa/bbbbbbbbbbbb/composite",
    "startTime": "2026-01-01T00:00:00.250000+00:00",
    "fingerprint": "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff",
    "token": "eyJh.eyJl.c2ln",
    "whip": "http://127.0.0.1:4600/whip",
    "framerate": 30.0,
    "attributes": {"more": "than printed"},
}


def test_ids_times_and_urls_of_the_same_form_conform():
    assert differences(PRINTED, ACTUAL, {}, REGION) == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("arn", STAGE + "tooshort"),
        ("arn", "arn:aws:ivs:us-west-2:123456789012:composition/aaaaaaaaaaaa"),
        ("arn", "arn:aws:ivs:us-east-1:123456789012:stage/aaaaaaaaaaaa"),
        ("arn", "arn:aws:ivs:us-west-2:000000000000:stage/aaaaaaaaaaaa"),
        ("sourceStageArn", STAGE + "dddddddddddd"),
        ("participantId", "b b"),
        ("streamKey", "rt_123456789012_us-east-1_aaaaaaaaaaaa_cccccccccccccccc"),
        ("streamKey", "rt_123456789012_us-west-2_dddddddddddd_cccccccccccccccc"),
        ("recordingPrefix", "aaaaaaaaaaaa/bbbbbbbbbbbb/individual"),
        ("recordingPrefix", "aaaaaaaaaaaa/dddddddddddd/composite"),
        ("startTime", "2026-01-01 00:00:00"),
        ("startTime", 1767225600),
        ("fingerprint", "00112233445566778899aabbccddeeff"),
        ("token", "abcd"),
        ("whip", "wss://127.0.0.1:4600"),
        ("tags", {"a": "b"}),
        ("tags", None),
        ("published", 1),
        ("published", False),
        ("framerate", 29),
        ("name", "stage2"),
        ("name", ""),
        ("mediaTypes", ["AUDIO_VIDEO", "AUDIO_ONLY"]),
        ("mediaTypes", []),
        ("mediaTypes", "AUDIO_VIDEO"),
    ],
)
def test_a_different_value_or_form_is_reported(member, value):
    found = differences(PRINTED, ACTUAL | {member: value}, {}, REGION)
    assert any(text.startswith((f"output.{member}:", f"output.{member}[")) for text in found), found


@pytest.mark.parametrize("member", PRINTED)
def test_a_missing_member_is_reported(member):
    actual = {name: value for name, value in ACTUAL.items() if name != member}
    assert any(text.startswith(f"output.{member}: ") for text in differences(PRINTED, actual, {}, REGION))


def test_a_printed_id_must_map_to_the_actual_id_of_the_setup():
    actual_ids = {"stage/abcdABCDefgh": "stage/dddddddddddd"}
    found = differences({"arn": PRINTED["arn"]}, {"arn": ACTUAL["arn"]}, actual_ids, REGION)
    assert len(found) == 1 and "dddddddddddd" in found[0]


def test_a_file_is_parsed_into_commands_and_outputs():
    text = """**Example 1: with output**

One ``thing`` example. ::

    aws ivs-realtime thing \\
        --name x

Output::

    {
        "a": 1
    }

For more information.

**Example 2: without**

Another. ::

    aws ivs-realtime thing

This command produces no output.
"""
    first, second = parse("thing", text)
    assert (first.key, first.command, first.output) == (
        ("thing", 1),
        "aws ivs-realtime thing \\\n    --name x",
        '{\n    "a": 1\n}',
    )
    assert (second.key, second.command, second.output) == (("thing", 2), "aws ivs-realtime thing", "")


def test_a_command_without_documented_output_is_an_error():
    with pytest.raises(ValueError, match="thing, example 1"):
        parse("thing", "    aws ivs-realtime thing\n\nNothing is said.\n")
