"""curl signs by itself (`--aws-sigv4`): its requests are accepted, in whatever way its version encodes a path."""

import json
import os
import re
import shutil
from urllib.parse import quote

import pytest

from likeness import ACCOUNT
from test_readme import ENDPOINT, README


@pytest.fixture
def curl(stagehand, shell):
    """Runs `curl` with a signature, the arguments as typed, and gives the status and the answer."""
    if shutil.which("curl") is None and os.environ.get("CI") == "true":
        pytest.fail("curl is missing, and CI tests what the README says of it")
    if shutil.which("curl") is None:
        pytest.skip("curl is missing on this machine")

    def run(path, arguments="", user=f"{ACCOUNT}:test", region="us-east-1"):
        signature = f"--aws-sigv4 aws:amz:{region}:ivs --user {user} -H 'Content-Type: application/json'"
        ran = shell(f"curl -sS -w '\\n%{{http_code}}' {signature} {arguments} '{stagehand.endpoint}{path}'", region)
        assert (ran.stderr, ran.returncode) == ("", 0)
        body, _, status = ran.stdout.rpartition("\n")
        return int(status), json.loads(body)

    return run


@pytest.fixture
def stage(curl):
    """The path under which the tags of a new stage are."""
    status, created = curl("/CreateStage", """-d '{"name": "hello", "tags": {"team": "blue"}}'""")
    assert status == 200
    arn = created["stage"]["arn"]
    assert arn.startswith(f"arn:aws:ivs:us-east-1:{ACCOUNT}:stage/")
    return f"/tags/{quote(arn, safe='')}"


def test_the_command_in_the_readme_creates_a_stage(curl, shell, stagehand):
    [command] = [block for block in re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S) if "--aws-sigv4" in block]
    ran = shell(command.replace(ENDPOINT, stagehand.endpoint.removeprefix("http://")), "us-east-1")
    assert ran.returncode == 0, ran.stderr
    stage = json.loads(ran.stdout)["stage"]
    assert stage["name"] == "hello"
    assert stage["arn"].startswith("arn:aws:ivs:us-east-1:000000000000:stage/")


def test_tags_are_read_written_and_taken_off(curl, stage):
    assert curl(stage) == (200, {"tags": {"team": "blue"}})
    assert curl(stage, """-d '{"tags": {"env": "dev", "owner": "carol"}}'""") == (200, {})
    assert curl(stage) == (200, {"tags": {"team": "blue", "env": "dev", "owner": "carol"}})
    assert curl(f"{stage}?tagKeys=owner", "-X DELETE") == (200, {})
    assert curl(stage) == (200, {"tags": {"team": "blue", "env": "dev"}})


def test_an_operation_without_input_is_signed_with_an_empty_body(curl, stage):
    status, listed = curl("/ListStages", "-X POST")
    assert (status, [stage["name"] for stage in listed["stages"]]) == (200, ["hello"])


@pytest.mark.parametrize(
    ("user", "fault"),
    [
        (f"{ACCOUNT}:wrong", "signature"),
        ("AKIAIOSFODNN7EXAMPLE:test", "security token"),
    ],
)
def test_a_wrong_secret_and_an_unknown_key_are_refused(curl, user, fault):
    for path in ("/ListStages", "/tags/arn%3Aaws%3Aivs%3Aus-east-1%3A000000000000%3Astage%2Fabcdefghijkl"):
        status, answer = curl(path, "-X POST -d '{}'", user=user)
        assert (status, fault in answer["message"]) == (403, True), answer


def test_a_request_without_a_signature_is_refused(curl, stagehand, shell):
    ran = shell(f"curl -sS -X POST '{stagehand.endpoint}/ListStages'", "us-east-1")
    assert json.loads(ran.stdout)["message"] == "Missing Authentication Token"
