"""Requests signed by curl (`--aws-sigv4`): the documented command, and rejected requests."""

import json

import pytest

from conformance import ACCOUNT
from documentation import ENDPOINT, blocks, page


def test_the_documented_command_creates_a_stage(curl, shell, test_server):
    [command] = [block for block in blocks("sh", page("docs/clients/sdks.md")) if "--aws-sigv4" in block]
    ran = shell(command.replace(ENDPOINT, test_server.endpoint.removeprefix("http://")), "us-east-1")
    assert ran.returncode == 0, ran.stderr
    stage = json.loads(ran.stdout)["stage"]
    assert stage["name"] == "hello"
    assert stage["arn"].startswith("arn:aws:ivs:us-east-1:000000000000:stage/")


def test_an_operation_without_input_accepts_an_empty_body(curl):
    assert curl("/CreateStage", """-d '{"name": "hello"}'""")[0] == 200
    status, listed = curl("/ListStages", "-X POST")
    assert (status, [stage["name"] for stage in listed["stages"]]) == (200, ["hello"])


@pytest.mark.parametrize(
    ("user", "fault"),
    [
        (f"{ACCOUNT}:wrong", "signature"),
        ("AKIAIOSFODNN7EXAMPLE:test", "security token"),
    ],
)
def test_a_wrong_secret_and_an_unknown_key_are_rejected(curl, user, fault):
    for path in ("/ListStages", "/tags/arn%3Aaws%3Aivs%3Aus-east-1%3A000000000000%3Astage%2Fabcdefghijkl"):
        status, answer = curl(path, "-X POST -d '{}'", user=user)
        assert (status, fault in answer["message"]) == (403, True), answer


def test_an_unsigned_request_is_rejected(curl, test_server, shell):
    ran = shell(f"curl -sS -X POST '{test_server.endpoint}/ListStages'", "us-east-1")
    assert json.loads(ran.stdout)["message"] == "Missing Authentication Token"
