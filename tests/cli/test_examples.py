"""The examples that the aws CLI ships, played with the real command against this server."""

import json
import re
from dataclasses import replace

import pytest

from conformance import differences
from rst import examples
from table import SCENES

EXAMPLES = examples()


def test_all_fifty_examples_have_a_scene():
    assert len(EXAMPLES) == 50
    assert sorted(example.key for example in EXAMPLES) == sorted(SCENES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.file}-{example.number}")
def test_an_example_prints_here_what_it_prints_in_the_documentation(example, world, shell):
    scene = SCENES[example.key]
    for correction in scene.corrections:
        example = replace(example, **{correction.text: correction.apply(example)})
    region = region_of(example)
    with scene.play(world(region)) as ours:
        ran = shell(with_our_ids(example.command, ours), region)
        assert (ran.stderr, ran.returncode) == ("", 0)
        if example.output:
            printed = in_order(json.loads(example.output), scene.events)
            assert differences(printed, json.loads(ran.stdout), ours, region) == [], ran.stdout
        else:
            assert ran.stdout == ""


def region_of(example):
    """The one region of all the ARNs in an example; any will do where there are none."""
    regions = set(re.findall(r"arn:aws:ivs:([a-z0-9-]+):", example.command + example.output))
    assert len(regions) <= 1, regions
    return regions.pop() if regions else "us-west-2"


def with_our_ids(command, ours):
    """The command with this server's ids in the place of the printed ones, in one pass, the longest first."""
    if not ours:
        return command
    printed = "|".join(re.escape(text) for text in sorted(ours, key=len, reverse=True))
    return re.sub(printed, lambda match: ours[match.group()], command)


def in_order(printed, names):
    """The printed events in the order of these names, each of which is printed once."""
    if not names:
        return printed
    events = {event["name"]: event for event in printed["events"]}
    assert (len(printed["events"]), events.keys()) == (len(names), set(names))
    return {"events": [events[name] for name in names]}
