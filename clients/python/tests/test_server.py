"""Starting and finding a server: against the real program."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom_testkit import Server, ServerError, TestApiMissing
from greenroom_testkit.containers import GreenroomContainer


@pytest.fixture
def no_settings(monkeypatch):
    for name in list(os.environ):
        if name.startswith("GREENROOM_"):
            monkeypatch.delenv(name)


def test_a_server_starts_and_stops(program):
    with Server.start(binary=program) as server:
        client = server.isolated()
        arn = client.client().create_stage(name="lobby")["stage"]["arn"]
        assert f":{client.account}:stage/" in arn
        assert "ready" in server.log()
    assert not server.is_ready()
    assert server.log() == ""


def test_a_temporary_store_and_further_settings(program):
    flags = {"arguments": ["--quotas", "stages=1"], "environment": {"GREENROOM_REGIONS": "eu-west-1"}}
    with Server.start(binary=program, store="temporary", region="eu-west-1", **flags) as server:
        ivs = server.isolated().client()
        arn = ivs.create_stage(name="lobby")["stage"]["arn"]
        assert arn.startswith("arn:aws:ivs:eu-west-1:")
        with pytest.raises(ivs.exceptions.ServiceQuotaExceededException):
            ivs.create_stage(name="second")


def test_a_server_that_does_not_start_is_an_error_with_its_log(program):
    with pytest.raises(ServerError, match="(?s)exit code 2.*--no-such-flag"):
        Server.start(binary=program, arguments=["--no-such-flag"])


def test_a_program_that_is_missing_is_an_error():
    with pytest.raises(ServerError, match="/no/such/program: No such file"):
        Server.start(binary="/no/such/program")


def test_the_program_is_found_on_the_path(program, no_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match="GREENROOM_BIN"):
        Server.start()
    (tmp_path / "greenroom").symlink_to(Path(program).resolve())
    with Server.start() as server:
        assert server.is_ready()


def test_an_endpoint_that_runs_is_used_and_not_stopped(greenroom_server, no_settings, monkeypatch):
    monkeypatch.setenv("GREENROOM_ENDPOINT", greenroom_server.endpoint)
    with Server.start() as server:
        assert server.endpoint == greenroom_server.endpoint
        assert server.isolated().client().list_stages()["stages"] == []
    assert greenroom_server.is_ready()


def test_an_endpoint_that_does_not_answer_is_an_error(no_settings):
    with pytest.raises(ServerError, match="http://127.0.0.1:9 is not ready"):
        Server.start(endpoint="http://127.0.0.1:9")


def test_the_test_api_is_missing_without_its_flag(program, tmp_path):
    script = tmp_path / "greenroom"
    script.write_text(f'#!/bin/bash\nexec {program} "${{@/--test-api=on/--test-api=off}}"\n')
    script.chmod(0o755)
    with Server.start(binary=str(script)) as server, pytest.raises(TestApiMissing, match="--test-api=on"):
        server.account().reset()


def test_the_server_stops_with_the_program_that_started_it(program):
    script = (
        "from greenroom_testkit import Server\n"
        f"server = Server.start(binary={program!r})\n"
        "print(server.endpoint, flush=True)\n"
        "raise SystemExit(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert not Server(done.stdout.strip()).is_ready()


@pytest.fixture
def script(program, tmp_path):
    """A program that notes its process id in the file `pid`, and its log in the file `log`."""
    script = tmp_path / "greenroom"
    script.write_text(f'#!/bin/bash\necho $$ >{tmp_path}/pid\nexec {program} "$@" 2>{tmp_path}/log\n')
    script.chmod(0o755)
    return str(script)


def test_the_server_ends_with_a_program_that_ends_by_a_signal(script, tmp_path):
    code = (
        "import signal\n"
        "from greenroom_testkit import Server\n"
        f"print(Server.start(binary={script!r}).endpoint, flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        server = Server(holder.stdout.readline().strip())
        assert server.is_ready()
        process = os.pidfd_open(int((tmp_path / "pid").read_text()))
        holder.kill()
    ended, _, _ = select.select([process], [], [], 60)
    os.close(process)
    assert ended and not server.is_ready()
    log = (tmp_path / "log").read_text()
    assert "standard input closed" in log and "stopped" in log


def test_a_start_that_is_interrupted_leaves_no_server(script, tmp_path, monkeypatch):
    def interrupt(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "is_ready", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Server.start(binary=script)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIG_DFL)


def test_an_image_is_started_with_signed_requests(docker):
    with Server.start(image="greenroom:test") as server:
        assert server.credentials is not None
        one, other = server.isolated(), server.isolated()
        one.client().create_stage(name="lobby")
        assert [stage["name"] for stage in one.client().list_stages()["stages"]] == ["lobby"]
        assert other.client().list_stages()["stages"] == []
        assert one.reset()["stages"] == 1
        assert "ready" in server.log()
    calls = docker.read_text()
    assert "greenroom:test" in calls and "rm --force" in calls
    assert server.credentials.secret_access_key not in calls


def test_an_image_that_ends_is_an_error_with_its_log(docker):
    with pytest.raises(ServerError, match="(?s)the server ended.*--no-such-flag"):
        Server.start(image="greenroom:test", arguments=["--no-such-flag"])


def test_docker_that_refuses_is_an_error(docker, monkeypatch):
    monkeypatch.setenv("FAKE_DOCKER_PROGRAM", "")
    with pytest.raises(ServerError, match="Cannot connect to the Docker daemon"):
        Server.start(image="greenroom:test")
    monkeypatch.setenv("GREENROOM_DOCKER", "/no/such/docker")
    with pytest.raises(ServerError, match="/no/such/docker is missing"):
        Server.start(image="greenroom:test")


def test_a_container_of_testcontainers_is_started_and_stopped(docker_client):
    with GreenroomContainer("greenroom:test", region="eu-west-1") as container:
        greenroom = container.server().isolated()
        greenroom.client().create_stage(name="lobby")
        assert (greenroom.region, greenroom.reset()["stages"]) == ("eu-west-1", 1)
    assert not container.server().is_ready()
    assert docker_client.images == ["greenroom:test"]


def test_a_container_of_testcontainers_that_ends_is_an_error_with_its_log(docker_client):
    container = GreenroomContainer("greenroom:test").with_env("GREENROOM_QUOTAS", "no-such-quota=1")
    with pytest.raises(ServerError, match="(?s)the server ended.*no-such-quota"):
        container.start()
