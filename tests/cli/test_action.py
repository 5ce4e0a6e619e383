"""The GitHub Action: its shell steps, run as the runner does."""

import hashlib
import os
import re
import signal
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
import requests
import yaml

from server import binary, environment
from wire import Wire

TOP = Path(__file__).resolve().parents[2]
GITHUB = {"server_url": "https://github.example", "action_repository": "owner/greenroom"}
ACTION = yaml.safe_load((TOP / "action.yml").read_text())


class Runner:
    """A job of a runner: files for outputs, variables and the path, and the inputs with their defaults."""

    def __init__(self, folder, inputs):
        assert inputs.keys() <= ACTION["inputs"].keys()
        self.folder, self.outputs, self.variables = folder, {}, {}
        defaults = {name: self.value(each.get("default", "")) for name, each in ACTION["inputs"].items()}
        self.inputs = {**defaults, **inputs}
        self.paths = {name: folder / name for name in ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH")}

    def value(self, text):
        """A value with its expressions replaced."""
        text = re.sub(r"\$\{\{ github\.(\w+) \}\}", lambda found: GITHUB[found[1]], text)
        text = re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: self.inputs[found[1]], text)
        text = re.sub(r"\$\{\{ steps\.(\w+)\.outputs\.(\w+) \}\}", lambda found: self.outputs[found[1]][found[2]], text)
        assert "${{" not in text, text
        return text

    def run(self):
        """Runs all steps; returns the result of the first that fails, or of the last."""
        for step in ACTION["runs"]["steps"]:
            for path in self.paths.values():
                path.write_text("")
            env = {name: self.value(text) for name, text in step["env"].items()}
            files = {name: str(path) for name, path in self.paths.items()}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                env=environment(**env, **files, RUNNER_TEMP=str(self.folder)),
                capture_output=True,
                text=True,
                timeout=60,
            )
            if done.returncode != 0:
                return done
            pairs = [line.split("=", 1) for line in self.paths["GITHUB_OUTPUT"].read_text().splitlines()]
            self.outputs[step["id"]] = dict(pairs)
            self.variables |= dict(line.split("=", 1) for line in self.paths["GITHUB_ENV"].read_text().splitlines())
        return done


@pytest.fixture
def run_action(tmp_path):
    """Runs the action with inputs; its server is stopped at the end."""

    def run(**inputs):
        runner = Runner(tmp_path, {name.replace("_", "-"): value for name, value in inputs.items()})
        return runner, runner.run()

    yield run
    pid = tmp_path / "greenroom.pid"
    if pid.exists():
        with suppress(ProcessLookupError):  # of a server that has ended
            os.kill(int(pid.read_text()), signal.SIGKILL)


def test_the_action_starts_a_server_and_exports_its_address(run_action):
    runner, done = run_action(binary=binary("GREENROOM_BIN"), arguments="--quotas stages=1")
    assert done.returncode == 0, done.stdout + done.stderr
    endpoint = runner.outputs["start"]["endpoint"]
    assert runner.variables == {
        "GREENROOM_ENDPOINT": endpoint,
        "AWS_ENDPOINT_URL_IVS_REALTIME": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_SESSION_TOKEN": "",
        "AWS_SECURITY_TOKEN": "",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
    }
    wire = Wire(endpoint, "test", "us-east-1")
    assert wire.call("CreateStage").status == 200
    assert wire.call("CreateStage").fault == "ServiceQuotaExceededException"
    assert requests.get(f"{endpoint}/_greenroom/test/clock", timeout=30).status_code == 200
    assert "ready" in Path(runner.outputs["start"]["log"]).read_text()
    for output in ACTION["outputs"].values():
        assert runner.value(output["value"])


def test_the_action_installs_a_release(run_action, tmp_path):
    name = f"greenroom-v9.9.9-{os.uname().machine}-linux"
    releases = tmp_path / "releases"
    folder = releases / "v9.9.9"
    folder.mkdir(parents=True)
    with tarfile.open(folder / f"{name}.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(os.path.realpath(binary("GREENROOM_BIN")), f"{name}/greenroom")
    content = (folder / f"{name}.tar.gz").read_bytes()
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(content).hexdigest()}  {name}.tar.gz\n")
    runner, done = run_action(version="v9.9.9", releases=releases.as_uri())
    assert done.returncode == 0, done.stdout + done.stderr
    assert runner.outputs["install"]["binary"].endswith("greenroom-v9.9.9/greenroom")
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  {name}.tar.gz\n")
    _, done = run_action(version="v9.9.9", releases=releases.as_uri())
    assert done.returncode == 1 and "the checksum of" in done.stdout


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"version": "v1", "binary": "/bin/true"}, "version and binary cannot be used together"),
        ({"binary": "/no/such/program"}, "/no/such/program is not a program"),
        ({"version": "v0", "releases": "file:///no/such/folder"}, "cannot be downloaded"),
    ],
)
def test_an_input_that_is_wrong_fails_the_job_with_its_reason(run_action, inputs, message):
    _, done = run_action(**inputs)
    assert done.returncode == 1
    assert re.search(rf"^::error::greenroom: .*{message}", done.stdout, re.MULTILINE), done.stdout


def test_a_server_that_does_not_start_fails_the_job_with_its_log(run_action):
    _, done = run_action(binary=binary("GREENROOM_BIN"), arguments="--no-such-flag")
    assert done.returncode == 1
    assert "::error::greenroom: the server ended before it was ready" in done.stdout
    assert "--no-such-flag" in done.stdout
