"""The examples in the aws CLI's documentation, run by the aws CLI against this server."""

import json
import re
from dataclasses import replace

import pytest

from conformance import differences
from cli_examples import examples
from cases import CASES

EXAMPLES = examples()


def test_every_example_has_a_case():
    assert len(EXAMPLES) == 50
    assert sorted(example.key for example in EXAMPLES) == sorted(CASES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.file}-{example.number}")
def test_an_example_prints_the_documented_output(example, resources, shell):
    case = CASES[example.key]
    for correction in case.corrections:
        example = replace(example, **{correction.text: correction.apply(example)})
    region = region_of(example)
    with case.setup(resources(region)) as actual_ids:
        ran = shell(with_actual_ids(example.command, actual_ids), region)
        assert (ran.stderr, ran.returncode) == ("", 0)
        if example.output:
            printed = in_order(json.loads(example.output), case.events)
            assert differences(printed, json.loads(ran.stdout), actual_ids, region) == [], ran.stdout
        else:
            assert ran.stdout == ""


def region_of(example):
    """The region of the ARNs in an example; `us-west-2` if it has none."""
    regions = set(re.findall(r"arn:aws:ivs:([a-z0-9-]+):", example.command + example.output))
    assert len(regions) <= 1, regions
    return regions.pop() if regions else "us-west-2"


def with_actual_ids(command, actual_ids):
    """The command with the printed ids replaced by the actual ones in one pass, the longest first."""
    if not actual_ids:
        return command
    printed = "|".join(re.escape(text) for text in sorted(actual_ids, key=len, reverse=True))
    return re.sub(printed, lambda match: actual_ids[match.group()], command)


def in_order(printed, names):
    """The printed events, sorted in the order of these names, each of which is printed once."""
    if not names:
        return printed
    events = {event["name"]: event for event in printed["events"]}
    assert (len(printed["events"]), events.keys()) == (len(names), set(names))
    return {"events": [events[name] for name in names]}
