"""The server under test, and a fake one for what a real one does not answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake import FakeServer
from fake_docker_client import FakeDockerClient

from greenroom_testkit import Greenroom, Server

pytest_plugins = ["pytester"]


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """An HTTP server that records requests, and sends the responses that the test has set."""
    with FakeServer() as server:
        yield server


@pytest.fixture
def client(fake: FakeServer) -> Greenroom:
    """A client of the fake server."""
    return Server(fake.endpoint).account("123456789012")


@pytest.fixture
def stage(ivs) -> str:
    """The ARN of a stage, `lobby`."""
    return ivs.create_stage(name="lobby")["stage"]["arn"]


@pytest.fixture
def docker(program, tmp_path, monkeypatch):
    """A command `docker` that runs the program as a container would. Its calls are in the file `calls`."""
    script = tmp_path / "docker"
    script.write_text(Path(__file__).with_name("fake_docker.py").read_text().replace("#!python", f"#!{sys.executable}"))
    script.chmod(0o755)
    monkeypatch.setenv("GREENROOM_DOCKER", str(script))
    monkeypatch.setenv("FAKE_DOCKER", str(tmp_path))
    monkeypatch.setenv("FAKE_DOCKER_PROGRAM", program)
    return tmp_path / "calls"


@pytest.fixture
def docker_client(program, tmp_path, monkeypatch):
    """The client that testcontainers uses, with the program in place of containers."""
    client = FakeDockerClient(program, tmp_path)
    monkeypatch.setattr("testcontainers.core.container.DockerClient", lambda **_: client)
    monkeypatch.setattr("testcontainers.core.config.testcontainers_config.ryuk_disabled", True)
    return client


@pytest.fixture(scope="session", autouse=True)
def program() -> str:
    """The server's program; the suite is of no use without it."""
    path = os.environ.get("GREENROOM_BIN", "")
    assert os.access(path, os.X_OK), f"GREENROOM_BIN must name the server's program, and is {path!r}"
    return path
