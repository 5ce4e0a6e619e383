"""The documentation: every command in it works, and its output is the documented one."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import botocore.session
import pytest
import requests
import yaml

from documentation import ENDPOINT, TOP, blocks, masked, page, pages, rows, section
from server import Greenroom, binary, environment, run


@pytest.fixture
def with_test_address(test_server):
    """Replaces the documented address in a text by the address of the test server."""
    return lambda text: text.replace(ENDPOINT, test_server.endpoint.removeprefix("http://"))


@pytest.fixture
def with_commands(shell, with_test_address):
    """Runs a script against a running server, with `greenroom` as a shell function."""

    def run_script(script):
        command = f"greenroom() {{ {shlex.quote(str(Path(binary('GREENROOM_BIN')).resolve()))} \"$@\"; }}\n"
        result = shell(with_test_address(f"set -e\n{command}{script}"), "us-east-1")
        assert result.returncode == 0, result.stdout + result.stderr
        return result

    return run_script


@pytest.fixture
def in_directory(tmp_path):
    """Runs scripts in a directory with the program, its database and the documented policy."""
    (tmp_path / "greenroom").symlink_to(Path(binary("GREENROOM_BIN")).resolve())
    [policy] = blocks("json", page("docs/reference/policies.md"))
    (tmp_path / "back-end.json").write_text(policy)

    def run_in_directory(script, **more):
        settings = {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}", **more}
        command = ["bash", "-c", f"set -e\n{script}"]
        return subprocess.run(command, cwd=tmp_path, env=environment(**settings), capture_output=True, text=True)

    return run_in_directory


# The tour


def test_the_tour_with_the_aws_cli_prints_the_documented_output(shell, with_test_address):
    tour = section("docs/start/tour.md", "With the aws CLI")
    result = shell(with_test_address("set -e\n" + "".join(blocks("sh", tour))), "us-east-1")
    assert (result.stderr, result.returncode) == ("", 0)
    *printed, refusal = blocks("text", tour)
    assert "ResourceNotFoundException" in refusal
    expected = [line for line in masked(with_test_address("".join(printed))).splitlines() if "…" not in line]
    printed_lines = iter(masked(result.stdout).splitlines())
    assert [line for line in expected if line not in printed_lines] == [], result.stdout


def test_the_tour_with_boto3_prints_the_documented_output(with_test_address):
    tour = section("docs/start/tour.md", "With boto3")
    [program], [printed] = blocks("python", tour), blocks("text", tour)
    result = subprocess.run([sys.executable, "-c", with_test_address(program)], capture_output=True, text=True, env=environment())
    assert (result.stderr, result.returncode) == ("", 0)
    assert masked(result.stdout) == masked(printed)


def test_the_tour_in_a_browser_and_in_a_terminal_shows_the_session(with_commands):
    browser, terminal = (section("docs/start/tour.md", title) for title in ("In a browser", "In a terminal"))
    [tokens, record], [join] = blocks("sh", browser), blocks("sh", terminal)
    # `greenroom join` opens the session instead of the demo pages.
    result = with_commands(f"{tokens}\n{join}\n{record}")
    assert '"published": true' in result.stdout


def test_the_commands_that_create_a_key_print_the_documented_output(in_directory):
    creating = section("docs/run/access-keys.md", "Creating keys")
    [script], [printed] = blocks("sh", creating), blocks("text", creating)
    result = in_directory(script)
    assert (result.stderr, result.returncode) == ("", 0)
    assert masked(result.stdout) == masked(printed)


def test_a_documented_key_is_denied_with_the_documented_error(in_directory, tmp_path):
    created = in_directory("greenroom credentials create --account 123456789012 --name back-end --policy back-end.json")
    key, secret = re.search(r"access key id +(\S+)\n +secret access key +(\S+)", created.stdout).groups()
    server = Greenroom("--database-url", f"sqlite://{tmp_path}/greenroom.db", "--dev-credentials=off")
    try:
        result = in_directory(
            "aws ivs-realtime create-stage --name lobby >/dev/null && aws ivs-realtime list-stages",
            AWS_ENDPOINT_URL_IVS_REALTIME=server.serving().endpoint,
            AWS_ACCESS_KEY_ID=key,
            AWS_SECRET_ACCESS_KEY=secret,
            AWS_DEFAULT_REGION="us-east-1",
        )
    finally:
        server.kill()
    [printed] = blocks("text", page("docs/reference/policies.md"))
    assert " ".join(printed.split()) in " ".join(result.stderr.split())
    assert result.returncode != 0


KIT = TOP / "clients/python/src"


@pytest.fixture
def run_tests(tmp_path):
    """Runs pytest on a file of tests, with the kit as if it were installed."""

    def run(text):
        (tmp_path / "test_it.py").write_text(text)
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "greenroom_testkit.pytest_plugin"],
            cwd=tmp_path,
            env=environment(GREENROOM_BIN=str(Path(binary("GREENROOM_BIN")).resolve()), PYTHONPATH=str(KIT)),
            capture_output=True,
            text=True,
        )

    return run


def test_the_pytest_examples_pass(run_tests):
    result = run_tests("\n".join(blocks("python", page("docs/test/pytest.md"))))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 passed" in result.stdout


def test_the_example_of_the_kit_s_readme_passes(run_tests):
    example, _ = blocks("python", page("clients/python/README.md"))
    result = run_tests(example)
    assert result.returncode == 0, result.stdout + result.stderr


def test_accounts_are_isolated_as_documented(run_tests):
    [example] = blocks("python", page("docs/test/isolation.md"))
    result = run_tests(
        f"{example}\n\n"
        "def test_accounts(greenroom_server):\n"
        "    one, other = new_client(greenroom_server.endpoint), new_client(greenroom_server.endpoint)\n"
        '    one.create_stage(name="lobby")\n'
        '    assert other.list_stages()["stages"] == []\n'
    )
    assert result.returncode == 0, result.stdout + result.stderr


# Commands: each shell block is run by the runner in RUNNERS


def against_server(script, request):
    """Runs against a running server, with a stage and a token in variables."""
    make = (
        'STAGE=$(aws ivs-realtime create-stage --name docs --query stage.arn --output text)\n'
        'TOKEN=$(aws ivs-realtime create-participant-token --stage-arn "$STAGE" --query participantToken.token --output text)\n'
        'export GREENROOM_TOKEN=$TOKEN\n'
    )
    request.getfixturevalue("with_commands")(make + script)


def starts_servers(script, request):
    """Each `greenroom --…` line starts a server; preceding lines are run unchanged."""
    in_directory, folder = request.getfixturevalue("in_directory"), request.getfixturevalue("tmp_path")
    before, _, _ = script.partition("\ngreenroom ") if not script.startswith("greenroom ") else ("", "", "")
    commands = re.findall(r"^greenroom (--.*?)(?: +#.*)?$", script.replace("\\\n", " "), re.MULTILINE)
    assert commands
    pem = set(re.findall(r"(?<= )[\w-]+\.(?:pem|key)\b", " ".join(commands)))
    certificate = blocks("sh", section("docs/run/tls.md", "TLS by greenroom"))[1]
    created = re.search(r"^openssl req .*$", certificate.replace("\\\n", " "), re.MULTILINE).group()
    assert not pem or in_directory(created).returncode == 0
    for name in pem - {"key.pem", "cert.pem"}:
        (folder / name).write_bytes((folder / ("key.pem" if name.endswith(".key") else "cert.pem")).read_bytes())
    exports = "".join(re.findall(r"^export .*\n", before + "\n", re.MULTILINE))
    printed = in_directory(f"{exports}env").stdout if "POSTGRES" not in script and "postgres" not in script else ""
    settings = dict(line.split("=", 1) for line in printed.splitlines() if line.startswith("GREENROOM_"))
    for command in commands:
        # Port 0, so that tests do not compete for a fixed port.
        flags = shlex.split(re.sub(r"0\.0\.0\.0:\d+", "0.0.0.0:0", command))
        flags = [str(folder / flag) if flag in pem else flag for flag in flags]
        flags += [] if any("--listen" in flag for flag in flags) else ["--listen", "127.0.0.1:0"]
        if settings.get("GREENROOM_ACCESS_KEY_ID"):
            settings["GREENROOM_DATABASE_URL"] = f"sqlite://{folder}/first.db"
        else:
            settings["GREENROOM_DATABASE_URL"] = f"sqlite://{folder}/greenroom.db"
        program = Greenroom(*flags, **settings)
        try:
            while not (line := program.line()).startswith("  media "):
                pass
        finally:
            program.kill()
        if "0.0.0.0" in command:
            assert "--media-public-ip" not in line, "media reach clients on other machines"


def on_store(script, request):
    """Commands on a store: run unchanged, in a temporary directory."""
    in_directory, folder = request.getfixturevalue("in_directory"), request.getfixturevalue("tmp_path")
    settings = {"GREENROOM_DATABASE_URL": f"sqlite://{folder}/greenroom.db"}
    assert in_directory("greenroom migrate", **settings).returncode == 0
    if "backup.jsonl" in script:
        script = re.sub(r"postgres://\S+", "sqlite://moved.db", script).replace("=…", "=$(openssl rand -base64 32)")
        if "greenroom export" not in script:
            script = f"export GREENROOM_EXPORT_KEY=$(openssl rand -base64 32)\ngreenroom export backup.jsonl\n{script}"
            script = re.sub(r"^jq ", "command -v jq >/dev/null || exit 0; jq ", script, flags=re.MULTILINE)
    script = re.sub(r"systemd-run .*?\n    greenroom", "greenroom", script.replace("\\\n    -p", " -p"), flags=re.DOTALL)
    result = in_directory(script, **settings)
    assert result.returncode == 0, result.stdout + result.stderr


def check_only(script, request):
    """Checks commands of programs that tests cannot run (docker, kubectl, sysctl, cargo): files, settings and subcommands
    that they name must exist."""
    known = {"docker", "kubectl", "sysctl", "cargo", "greenroom", "scripts/test", ".ci/run", "export", "echo"}
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[0] in known, line
        if words[0].startswith(("scripts/", ".ci/")):
            assert os.access(TOP / words[0], os.X_OK), line
        for word in words:
            if word.startswith("docs/"):
                assert (TOP / word).exists(), line
            if "=" in word and words[0] == "sysctl":
                assert Path("/proc/sys", word.split("=")[0].replace(".", "/")).exists(), line
        for name in re.findall(r"-e (GREENROOM_[A-Z_]+)=", line):
            assert f"[env: {name}" in run("serve", "--help").stdout, line
        if words[:1] == ["greenroom"] and len(words) > 1 and not words[1].startswith("-"):
            assert run(*words[1:2], "--help").returncode == 0, line


def on_test_api(script, request):
    """Requests to the test API of a running server; the line that starts one is left out."""
    in_directory = request.getfixturevalue("in_directory")
    script = re.sub(r"^greenroom serve --test-api=on\n", "", script)
    script = script.replace("curl ", "curl --fail-with-body ").replace('"timeoutSeconds": 10', '"timeoutSeconds": 0.1')
    server = Greenroom("--database-url", "sqlite::memory:", "--test-api=on")
    try:
        result = in_directory(script.replace(ENDPOINT, server.serving().endpoint.removeprefix("http://")))
    finally:
        server.kill()
    assert result.returncode == 0, result.stdout + result.stderr


def covered_elsewhere(script, request):
    """Covered by a separate test in this file or in the tests of FFmpeg and of deployments."""


# The runner of each block of a page, in page order.
RUNNERS = {
    "README.md": [check_only, check_only, against_server],
    "CONTRIBUTING.md": [check_only],
    "docs/start/install.md": [check_only, check_only, on_store],
    "docs/start/tour.md": [covered_elsewhere] * 8,
    "docs/start/first-call.md": [against_server],
    # The kits are installed, and their examples run, by the suites of the kits.
    "docs/test/pytest.md": [covered_elsewhere],
    "docs/test/javascript.md": [covered_elsewhere],
    "docs/test/ci.md": [covered_elsewhere],
    "docs/test/containers.md": [check_only, check_only],
    "docs/test/test-api.md": [on_test_api] * 5,
    "docs/clients/sdks.md": [against_server, against_server, against_server],
    "docs/clients/encoders.md": [
        *[against_server] * 2,
        # The commands of encoders run in tests/participants.
        *[covered_elsewhere] * 2,
        starts_servers,
        against_server,
        *[covered_elsewhere] * 2,
        starts_servers,
    ],
    "docs/observe/media.md": [against_server],
    "docs/clients/join-and-load.md": [against_server, against_server],
    "docs/run/checklist.md": [starts_servers],
    "docs/run/configuration.md": [on_store],
    "docs/reference/tokens.md": [on_store],
    "docs/run/access-keys.md": [covered_elsewhere, starts_servers],
    "docs/run/network.md": [check_only],
    "docs/run/tls.md": [starts_servers, starts_servers],
    "docs/run/stores.md": [starts_servers],
    "docs/run/systemd.md": [on_store],
    "docs/run/kubernetes.md": [check_only],
    "docs/run/backup.md": [on_store, on_store],
    # The commands on recordings run in tests/operations.
    "docs/run/recording.md": [against_server, covered_elsewhere],
    "docs/run/storage.md": [starts_servers, starts_servers],
}


def commands():
    for name in pages():
        found = blocks("sh", page(name))
        runners = RUNNERS.get(name, [])
        assert len(found) == len(runners), f"{name} has {len(found)} shell blocks, and RUNNERS has {len(runners)} entries for it"
        for number, (script, runner) in enumerate(zip(found, runners), 1):
            if runner is not covered_elsewhere:
                yield pytest.param(script, runner, id=f"{name}-{number}")


@pytest.mark.parametrize(("script", "runner"), list(commands()))
def test_a_shell_block_works(script, runner, request):
    runner(script, request)


def test_the_documented_ci_server_becomes_healthy(in_directory):
    [script] = blocks("sh", page("docs/test/ci.md"))
    script = script.replace("greenroom --database-url", "greenroom --listen 127.0.0.1:46117 --database-url")
    result = in_directory(f"{script}kill %1\nwait %1", GREENROOM_LISTEN="127.0.0.1:46117")
    assert result.returncode == 0, result.stderr


# Comparison


def test_every_statement_about_another_tool_has_a_source():
    _, *table = rows(page("docs/test/comparison.md"))
    assert {len(row) for row in table} == {7}
    unsourced = [(row[0], cell) for row in table for cell in row[2:] if cell != "–" and "](https://" not in cell]
    assert unsourced == []


# Reference


def test_the_configuration_file_example_is_valid(tmp_path):
    [example] = blocks("toml", page("docs/run/configuration.md"))
    (tmp_path / "greenroom.toml").write_text(example)
    checked = run("config", "check", "--config", str(tmp_path / "greenroom.toml"), GREENROOM_MASTER_KEY="A" * 43 + "=")
    assert checked.returncode == 0, checked.stderr
    assert "unlimited" in checked.stdout


def test_every_operation_is_documented_once():
    names = [name for name, *_ in rows(page("docs/reference/operations.md")) if re.fullmatch("([A-Z][a-z0-9]+)+", name)]
    model = botocore.session.get_session().get_service_model("ivs-realtime")
    assert sorted(names) == sorted(model.operation_names)


def test_the_readme_is_short_and_starts_with_the_two_commands():
    readme = page("README.md")
    assert len(readme.encode()) <= 8 * 1024
    first_screen = "\n".join(readme.splitlines()[:20])
    assert "cargo run --release" in first_screen and "scripts/test" in first_screen


def test_the_server_serves_every_page_of_the_navigation(test_server):
    navigation = yaml.safe_load(page("mkdocs.yml"))["nav"]
    named = [path for section in navigation for pages in section.values() if isinstance(pages, list) for one in pages for path in one.values()]
    assert sorted(f"docs/{path}" for path in [*named, "index.md"]) == [name for name in pages() if name.startswith("docs/")]
    home = requests.get(test_server.endpoint, timeout=30).text
    assert re.findall(r'href="_greenroom/docs/([^"]+)"', home) == named
    for path in named:
        answer = requests.get(f"{test_server.endpoint}/_greenroom/docs/{path}", timeout=30)
        assert (answer.status_code, answer.content.decode()) == (200, page(f"docs/{path}")), path
