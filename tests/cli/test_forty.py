"""All forty operations, signed and sent by the command line tools that people have: curl and the aws CLI."""

import json
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import awscli
import botocore
import pytest

from aws_model import BY_NAME
from forty import ROWS, STORE, differences, walk
from wire import placed

REGION = "us-east-1"


def test_each_operation_of_the_model_has_one_row():
    assert sorted(row.operation for row in ROWS) == sorted(BY_NAME)


def test_what_an_operation_did_shows_in_its_answer_or_in_a_later_one():
    for index, row in enumerate(ROWS):
        later = {STORE, *(other.operation for other in ROWS[index + 1 :] if other.shown)}
        assert row.shown if not row.seen_in else row.seen_in in later, row.operation


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
def test_an_answer_that_shows_something_else_is_found(answer):
    shown = {"stage": {"arn": "$known", "tags": {"k": None}}, "list": [{"arn": "$new"}]}
    assert list(differences(shown, answer, {"$known": "a"})) != []


@pytest.fixture
def revoked(store):
    """The ids of the connection tokens that the store has as revoked."""

    def read():
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
            return database.execute("SELECT id FROM revoked_connection_tokens").fetchall()

    return read


def test_curl_has_every_operation_do_its_work(curl, world, revoked):
    def send(operation, members):
        method, path, body = placed(operation, members)
        data = f"-d {shlex.quote(body.decode())}" if body else ""
        status, answer = curl(path, f"-X {method} {data}", region=REGION)
        assert status == 200, f"{operation} answered {status} {answer}"
        return answer

    walk(world(REGION), send)
    assert revoked() == [("abcdefgh-ijkl",)]


def command(operation, members):
    name = botocore.xform_name(operation, "-")
    return f"aws ivs-realtime {name} --cli-input-json {shlex.quote(json.dumps(members))}"


def test_the_aws_cli_has_every_operation_do_its_work(shell, world, revoked):
    # The CLI brings a model of its own, which may be older: what that lacks it is told with botocore's.
    lacking = BY_NAME.keys() - known_to_the_cli()
    newer = Path(botocore.__file__).parent / "data"

    def send(operation, members):
        line = command(operation, members)
        ran = shell(f"AWS_DATA_PATH={newer} {line}" if operation in lacking else line, REGION)
        assert (ran.stderr, ran.returncode) == ("", 0), operation
        return json.loads(ran.stdout or "{}")

    walk(world(REGION), send)
    assert revoked() == [("abcdefgh-ijkl",)]


def known_to_the_cli():
    """The operations of the model that the aws CLI brings along."""
    [model] = Path(awscli.__file__).parent.glob("botocore/data/ivs-realtime/*/service-2.json")
    return json.loads(model.read_text())["operations"].keys()


def test_the_few_operations_that_the_aws_cli_does_not_know_it_refuses_itself(shell):
    lacking = BY_NAME.keys() - known_to_the_cli()
    assert len(lacking) <= 2, lacking
    for operation in lacking:
        ran = shell(command(operation, {}), REGION)
        assert ran.returncode == 2 and "Invalid choice" in ran.stderr, ran.stderr
