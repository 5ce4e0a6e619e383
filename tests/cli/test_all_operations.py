"""All operations, signed and sent by curl and by the aws CLI."""

import json
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import awscli
import botocore
import pytest

from aws_model import BY_NAME
from operation_steps import STEPS, STORE, differences, run_steps
from wire import placed

REGION = "us-east-1"


def test_every_operation_has_one_step():
    assert sorted(step.operation for step in STEPS) == sorted(BY_NAME)


def test_every_step_is_verified_by_its_response_or_a_later_one():
    for index, step in enumerate(STEPS):
        later = {STORE, *(other.operation for other in STEPS[index + 1 :] if other.expected)}
        assert step.expected if not step.verified_in else step.verified_in in later, step.operation


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"stage": {"arn": "a"}},
        {"stage": {"arn": "b", "tags": {}}},
        {"stage": {"arn": "a", "tags": {"k": "v"}}},
        {"stage": {"arn": "a", "tags": {}}, "list": []},
        {"stage": {"arn": "a", "tags": {}}, "list": [{"arn": "c"}, {"arn": "c"}]},
        {"stage": {"arn": "a", "tags": {}}, "list": [{"arn": ""}]},
    ],
)
def test_an_unexpected_response_is_detected(answer):
    expected = {"stage": {"arn": "$known", "tags": {"k": None}}, "list": [{"arn": "$new"}]}
    assert list(differences(expected, answer, {"$known": "a"})) != []


@pytest.fixture
def revoked(store):
    """Reads the ids of revoked connection tokens from the store."""

    def read():
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
            return database.execute("SELECT id FROM revoked_connection_tokens").fetchall()

    return read


def test_every_operation_works_with_curl(curl, resources, revoked):
    def send(operation, members):
        method, path, body = placed(operation, members)
        data = f"-d {shlex.quote(body.decode())}" if body else ""
        status, answer = curl(path, f"-X {method} {data}", region=REGION)
        assert status == 200, f"{operation} returned {status} {answer}"
        return answer

    run_steps(resources(REGION), send)
    assert revoked() == [("abcdefgh-ijkl",)]


def command(operation, members):
    name = botocore.xform_name(operation, "-")
    return f"aws ivs-realtime {name} --cli-input-json {shlex.quote(json.dumps(members))}"


def test_every_operation_works_with_the_aws_cli(shell, resources, revoked):
    # The CLI ships its own, possibly older model; operations that it lacks use botocore's.
    missing = BY_NAME.keys() - operations_of_the_cli()
    newer = Path(botocore.__file__).parent / "data"

    def send(operation, members):
        line = command(operation, members)
        ran = shell(f"AWS_DATA_PATH={newer} {line}" if operation in missing else line, REGION)
        assert (ran.stderr, ran.returncode) == ("", 0), operation
        return json.loads(ran.stdout or "{}")

    run_steps(resources(REGION), send)
    assert revoked() == [("abcdefgh-ijkl",)]


def operations_of_the_cli():
    """The operations of the model that the aws CLI ships."""
    [model] = Path(awscli.__file__).parent.glob("botocore/data/ivs-realtime/*/service-2.json")
    return json.loads(model.read_text())["operations"].keys()


def test_the_aws_cli_rejects_the_few_operations_that_its_model_lacks(shell):
    missing = BY_NAME.keys() - operations_of_the_cli()
    assert len(missing) <= 2, missing
    for operation in missing:
        ran = shell(command(operation, {}), REGION)
        assert ran.returncode == 2 and "Invalid choice" in ran.stderr, ran.stderr
