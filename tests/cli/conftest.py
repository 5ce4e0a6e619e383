"""Fixtures: a test server for each test, and the `aws` and `curl` commands configured for it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from conformance import ACCOUNT
from server import TestServer, run
from resources import PUBLIC_KEYS, Resources


@pytest.fixture(scope="session")
def settings():
    """The environment variables in the program's help text, and their defaults."""
    help_text = run("serve", "--help").stdout
    found = dict(re.findall(r"\[env: (GREENROOM_[A-Z_]+)=?\](?:\s+\[default: (\S+)\])?", help_text))
    assert found["GREENROOM_SHUTDOWN_SECONDS"] == "10"
    return found


@pytest.fixture
def store(tmp_path):
    """The path of the SQLite database."""
    return tmp_path / "greenroom.db"


@pytest.fixture
def test_server(store):
    # The clients' clocks run on while the test server's clock is advanced.
    server = TestServer("--database-url", f"sqlite://{store}", "--clock-skew-seconds", "1000000000")
    yield server
    assert server.stop() == 0, server.logged()


@pytest.fixture
def resources(test_server):
    """A function that returns the `Resources` of a region, in the account of the examples."""

    def in_region(region):
        client = boto3.client(
            "ivs-realtime",
            endpoint_url=test_server.endpoint,
            region_name=region,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="test",
        )
        return Resources(client, test_server)

    return in_region


@pytest.fixture
def shell(test_server, tmp_path):
    """Runs a command line in bash, with its own home, configuration and working directory."""
    # Version 1 prints timestamps unmodified unless configured to print them as version 2 and the examples do.
    (tmp_path / "config").write_text("[default]\ncli_timestamp_format = iso8601\n")
    (tmp_path / "public.pem").write_text(PUBLIC_KEYS[0] + "\n")

    def run(command, region):
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_ENDPOINT_URL": test_server.endpoint,
            "AWS_DEFAULT_REGION": region,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        return subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def curl(test_server, shell):
    """Runs `curl` with a signature and raw arguments; returns the status and the response."""
    if shutil.which("curl") is None and os.environ.get("CI") == "true":
        pytest.fail("curl is missing, and CI requires it")
    if shutil.which("curl") is None:
        pytest.skip("curl is missing on this machine")

    def run(path, arguments="", user=f"{ACCOUNT}:test", region="us-east-1"):
        signature = f"--aws-sigv4 aws:amz:{region}:ivs --user {user} -H 'Content-Type: application/json'"
        ran = shell(f"curl -sS -w '\\n%{{http_code}}' {signature} {arguments} '{test_server.endpoint}{path}'", region)
        assert (ran.stderr, ran.returncode) == ("", 0)
        body, _, status = ran.stdout.rpartition("\n")
        return int(status), json.loads(body)

    return run
