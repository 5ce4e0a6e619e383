"""The documentation: every command in it runs, and what it prints is what is printed."""

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

from documents import ENDPOINT, TOP, blocks, masked, page, pages, rows, section
from server import Greenroom, binary, environment, run


@pytest.fixture
def here(test_server):
    """Replaces the address in a text by that of this test's server."""
    return lambda text: text.replace(ENDPOINT, test_server.endpoint.removeprefix("http://"))


@pytest.fixture
def with_commands(shell, here):
    """Runs a script against a running server, with `greenroom` as a command."""

    def run_script(script):
        command = f"greenroom() {{ {shlex.quote(str(Path(binary('GREENROOM_BIN')).resolve()))} \"$@\"; }}\n"
        ran = shell(here(f"set -e\n{command}{script}"), "us-east-1")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran

    return run_script


@pytest.fixture
def beside(tmp_path):
    """A folder with the program, its store and the policy of the documentation; runs scripts there."""
    (tmp_path / "greenroom").symlink_to(Path(binary("GREENROOM_BIN")).resolve())
    [policy] = blocks("json", page("docs/reference/policies.md"))
    (tmp_path / "back-end.json").write_text(policy)

    def run_there(script, **more):
        settings = {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}", **more}
        command = ["bash", "-c", f"set -e\n{script}"]
        return subprocess.run(command, cwd=tmp_path, env=environment(**settings), capture_output=True, text=True)

    return run_there


# Tours: what is typed, and what is printed


def test_the_tour_with_the_command_line_prints_what_is_printed(shell, here):
    tour = section("docs/start/tour.md", "With the aws CLI")
    ran = shell(here("set -e\n" + "".join(blocks("sh", tour))), "us-east-1")
    assert (ran.stderr, ran.returncode) == ("", 0)
    *printed, refusal = blocks("text", tour)
    assert "ResourceNotFoundException" in refusal
    expected = [line for line in masked(here("".join(printed))).splitlines() if "…" not in line]
    said = iter(masked(ran.stdout).splitlines())
    assert [line for line in expected if line not in said] == [], ran.stdout


def test_the_tour_with_boto3_prints_what_is_printed(here):
    tour = section("docs/start/tour.md", "With boto3")
    [program], [printed] = blocks("python", tour), blocks("text", tour)
    ran = subprocess.run([sys.executable, "-c", here(program)], capture_output=True, text=True, env=environment())
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert masked(ran.stdout) == masked(printed)


def test_the_tour_in_a_browser_and_in_a_terminal_finds_its_session(with_commands):
    browser, terminal = (section("docs/start/tour.md", title) for title in ("In a browser", "In a terminal"))
    [tokens, record], [join] = blocks("sh", browser), blocks("sh", terminal)
    # The session that pages would have opened is opened by the command.
    ran = with_commands(f"{tokens}\n{join}\n{record}")
    assert '"published": true' in ran.stdout


def test_the_commands_that_create_a_key_print_what_is_printed(beside):
    creating = section("docs/run/access-keys.md", "Creating keys")
    [script], [printed] = blocks("sh", creating), blocks("text", creating)
    ran = beside(script)
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert masked(ran.stdout) == masked(printed)


def test_a_key_created_as_printed_is_refused_as_printed(beside, tmp_path):
    made = beside("greenroom credentials create --account 123456789012 --name back-end --policy back-end.json")
    key, secret = re.search(r"access key id +(\S+)\n +secret access key +(\S+)", made.stdout).groups()
    server = Greenroom("--database-url", f"sqlite://{tmp_path}/greenroom.db", "--dev-credentials=off")
    try:
        ran = beside(
            "aws ivs-realtime create-stage --name lobby >/dev/null && aws ivs-realtime list-stages",
            AWS_ENDPOINT_URL_IVS_REALTIME=server.serving().endpoint,
            AWS_ACCESS_KEY_ID=key,
            AWS_SECRET_ACCESS_KEY=secret,
            AWS_DEFAULT_REGION="us-east-1",
        )
    finally:
        server.kill()
    [printed] = blocks("text", page("docs/reference/policies.md"))
    assert " ".join(printed.split()) in " ".join(ran.stderr.split())
    assert ran.returncode != 0


@pytest.mark.parametrize("name", ["docs/test/pytest.md", "docs/test/isolation.md"])
def test_the_examples_for_pytest_are_tests_that_pass(tmp_path, name):
    (tmp_path / "greenroom").symlink_to(Path(binary("GREENROOM_BIN")).resolve())
    fixture, example = blocks("python", page("docs/test/pytest.md"))
    if name.endswith("isolation.md"):
        [example] = blocks("python", page(name))
        example += (
            "\n\ndef test_accounts_are_isolated(ivs):\n"
            "    one, other = new_client(ivs.meta.endpoint_url), new_client(ivs.meta.endpoint_url)\n"
            '    one.create_stage(name="lobby")\n'
            '    assert other.list_stages()["stages"] == []\n'
        )
    (tmp_path / "conftest.py").write_text(fixture)
    (tmp_path / "test_it.py").write_text(example)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment(PATH=f"{tmp_path}:{os.environ['PATH']}"),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


# Commands: each block of a shell has a test of its kind


def with_a_server(script, request):
    """Against a running server, with a stage and a token in variables."""
    make = (
        'STAGE=$(aws ivs-realtime create-stage --name docs --query stage.arn --output text)\n'
        'TOKEN=$(aws ivs-realtime create-participant-token --stage-arn "$STAGE" --query participantToken.token --output text)\n'
        'export GREENROOM_TOKEN=$TOKEN\n'
    )
    request.getfixturevalue("with_commands")(make + script)


def starts_servers(script, request):
    """Each `greenroom --…` line starts a server; what comes before is run as it is."""
    beside, folder = request.getfixturevalue("beside"), request.getfixturevalue("tmp_path")
    before, _, _ = script.partition("\ngreenroom ") if not script.startswith("greenroom ") else ("", "", "")
    commands = re.findall(r"^greenroom (--.*?)(?: +#.*)?$", script.replace("\\\n", " "), re.MULTILINE)
    assert commands
    pem = set(re.findall(r"(?<= )[\w-]+\.(?:pem|key)\b", " ".join(commands)))
    certificate = blocks("sh", section("docs/run/tls.md", "TLS by greenroom"))[1]
    made = re.search(r"^openssl req .*$", certificate.replace("\\\n", " "), re.MULTILINE).group()
    assert not pem or beside(made).returncode == 0
    for name in pem - {"key.pem", "cert.pem"}:
        (folder / name).write_bytes((folder / ("key.pem" if name.endswith(".key") else "cert.pem")).read_bytes())
    exports = "".join(re.findall(r"^export .*\n", before + "\n", re.MULTILINE))
    printed = beside(f"{exports}env").stdout if "POSTGRES" not in script and "postgres" not in script else ""
    settings = dict(line.split("=", 1) for line in printed.splitlines() if line.startswith("GREENROOM_"))
    for command in commands:
        # Any address will do, and no port of the machine is to be taken.
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


def beside_a_store(script, request):
    """Commands beside a store: they run as printed, in a folder of their own."""
    beside, folder = request.getfixturevalue("beside"), request.getfixturevalue("tmp_path")
    settings = {"GREENROOM_DATABASE_URL": f"sqlite://{folder}/greenroom.db"}
    assert beside("greenroom migrate", **settings).returncode == 0
    if "backup.jsonl" in script:
        script = re.sub(r"postgres://\S+", "sqlite://moved.db", script).replace("=…", "=$(openssl rand -base64 32)")
        if "greenroom export" not in script:
            script = f"export GREENROOM_EXPORT_KEY=$(openssl rand -base64 32)\ngreenroom export backup.jsonl\n{script}"
            script = re.sub(r"^jq ", "command -v jq >/dev/null || exit 0; jq ", script, flags=re.MULTILINE)
    script = re.sub(r"systemd-run .*?\n    greenroom", "greenroom", script.replace("\\\n    -p", " -p"), flags=re.DOTALL)
    ran = beside(script, **settings)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def only_here(script, request):
    """Commands for programs that tests cannot run (docker, kubectl, sysctl, cargo): what they name exists."""
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


def in_another_test(script, request):
    """Has a test of its own in this file or another: tests of the tour, of keys, of FFmpeg and of deployments."""


# Which kind each page's blocks are of, in their order.
KINDS = {
    "README.md": [only_here, only_here, with_a_server],
    "CONTRIBUTING.md": [only_here],
    "docs/start/install.md": [only_here, only_here, beside_a_store],
    "docs/start/tour.md": [in_another_test] * 8,
    "docs/start/first-call.md": [with_a_server],
    "docs/test/ci.md": [in_another_test],
    "docs/test/containers.md": [only_here, only_here],
    "docs/clients/sdks.md": [with_a_server, with_a_server, with_a_server],
    "docs/clients/encoders.md": [in_another_test, starts_servers],
    "docs/clients/join-and-load.md": [with_a_server, with_a_server],
    "docs/run/checklist.md": [starts_servers],
    "docs/run/configuration.md": [beside_a_store],
    "docs/reference/tokens.md": [beside_a_store],
    "docs/run/access-keys.md": [in_another_test, starts_servers],
    "docs/run/network.md": [only_here],
    "docs/run/tls.md": [starts_servers, starts_servers],
    "docs/run/stores.md": [starts_servers],
    "docs/run/systemd.md": [beside_a_store],
    "docs/run/kubernetes.md": [only_here],
    "docs/run/backup.md": [beside_a_store, beside_a_store],
}


def commands():
    for name in pages():
        found = blocks("sh", page(name))
        kinds = KINDS.get(name, [])
        assert len(found) == len(kinds), f"{name} has {len(found)} blocks of commands, and KINDS has {len(kinds)} for it"
        for number, (script, kind) in enumerate(zip(found, kinds), 1):
            if kind is not in_another_test:
                yield pytest.param(script, kind, id=f"{name}-{number}")


@pytest.mark.parametrize(("script", "kind"), list(commands()))
def test_a_block_of_commands_runs(script, kind, request):
    kind(script, request)


def test_the_server_of_the_page_about_ci_becomes_healthy(beside):
    [script] = blocks("sh", page("docs/test/ci.md"))
    script = script.replace("greenroom --database-url", "greenroom --listen 127.0.0.1:46117 --database-url")
    ran = beside(f"{script}kill %1\nwait %1", GREENROOM_LISTEN="127.0.0.1:46117")
    assert ran.returncode == 0, ran.stderr


# Reference


def test_the_example_of_a_configuration_file_is_valid(tmp_path):
    [example] = blocks("toml", page("docs/run/configuration.md"))
    (tmp_path / "greenroom.toml").write_text(example)
    checked = run("config", "check", "--config", str(tmp_path / "greenroom.toml"), GREENROOM_MASTER_KEY="A" * 43 + "=")
    assert checked.returncode == 0, checked.stderr
    assert "unlimited" in checked.stdout


def test_every_operation_has_one_row():
    names = [name for name, *_ in rows(page("docs/reference/operations.md")) if re.fullmatch("([A-Z][a-z0-9]+)+", name)]
    model = botocore.session.get_session().get_service_model("ivs-realtime")
    assert sorted(names) == sorted(model.operation_names)


def test_the_readme_is_short_and_has_the_two_commands_on_its_first_screen():
    readme = page("README.md")
    assert len(readme.encode()) <= 8 * 1024
    first_screen = "\n".join(readme.splitlines()[:20])
    assert "cargo run --release" in first_screen and "scripts/test" in first_screen


def test_the_server_has_every_page_of_the_navigation(test_server):
    navigation = yaml.safe_load(page("mkdocs.yml"))["nav"]
    named = [path for section in navigation for pages in section.values() if isinstance(pages, list) for one in pages for path in one.values()]
    assert sorted(f"docs/{path}" for path in [*named, "index.md"]) == [name for name in pages() if name.startswith("docs/")]
    home = requests.get(test_server.endpoint, timeout=30).text
    assert re.findall(r'href="_greenroom/docs/([^"]+)"', home) == named
    for path in named:
        answer = requests.get(f"{test_server.endpoint}/_greenroom/docs/{path}", timeout=30)
        assert (answer.status_code, answer.content.decode()) == (200, page(f"docs/{path}")), path
