"""The examples of the documentation that use the kit or the test API: back end, containers, Go, Java."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
EXAMPLES = REPOSITORY / "docs/test/examples"


def run(*command, cwd, **env):
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_of_the_sample_back_end_pass():
    output = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=EXAMPLES / "backend")
    assert re.search(r"\b17 passed\b", output), output


@pytest.fixture
def endpoint(greenroom_server):
    return greenroom_server.endpoint


def test_the_example_in_go_works(endpoint, tmp_path):
    if not shutil.which("go"):
        pytest.skip("NOT CHECKED: there is no Go on this machine")
    shutil.copytree(EXAMPLES / "go", tmp_path / "go")
    env = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOCACHE": str(tmp_path / "cache"), "GREENROOM_ENDPOINT": endpoint}
    assert run("gofmt", "-l", ".", cwd=tmp_path / "go") == ""
    run("go", "vet", "./...", cwd=tmp_path / "go", **env)
    output = run("go", "test", "-count=1", "-v", "./...", cwd=tmp_path / "go", **env)
    assert output.count("--- PASS") == 2


def test_the_example_in_java_works(endpoint, tmp_path):
    if not shutil.which("javac"):
        pytest.skip("NOT CHECKED: there is no JDK on this machine")
    sources = map(str, (EXAMPLES / "java").glob("*.java"))
    run("javac", "-Xlint:all", "-Werror", "-d", str(tmp_path), *sources, cwd=tmp_path)
    output = run("java", "-ea", "-cp", str(tmp_path), "GreenroomTest", cwd=tmp_path, GREENROOM_ENDPOINT=endpoint)
    assert output == "5 checks passed\n"


def blocks(name):
    return re.findall(r"^```python\n(.*?)^```$", (REPOSITORY / name).read_text(), re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_page_containers_work(docker, docker_client):
    for example in blocks("docs/test/containers.md"):
        names = {}
        exec(f"{example}    reset = greenroom.reset()\n", names)
        assert names["greenroom"].credentials.access_key_id != names["greenroom"].account
    assert "run --detach" in docker.read_text() and docker_client.images == ["greenroom"]
