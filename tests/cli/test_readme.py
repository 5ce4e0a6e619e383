"""What the README says: every flag, every operation, and the tour as it is printed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import botocore.session
import pytest

from server import Greenroom, binary, environment, run

TOP = Path(__file__).resolve().parents[2]
README = (TOP / "README.md").read_text()
FLAGS = (TOP / "docs/flags.md").read_text()
ENDPOINT = "127.0.0.1:4600"


def section(title):
    """The text under a heading, up to the next one of any level."""
    return re.search(rf"^#+ {title}\n(.*?)(?=^#+ |\Z)", README, re.MULTILINE | re.DOTALL).group(1)


def blocks(language, text):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def rows(text):
    """The cells of every table row, without the backquotes."""
    lines = re.findall(r"^\| (.*) \|$", text, re.MULTILINE)
    return [[cell.strip().strip("`") for cell in line.split(" | ")] for line in lines]


def masked(text):
    """Without what differs from run to run: ids and times."""
    text = re.sub(r'(stage/|participant |"participantId": ")[A-Za-z0-9]{12}', r"\1ID", text)
    text = re.sub(r"AKIA[A-Z0-9]{16}", "KEY", text)
    text = re.sub(r"(secret access key  )[A-Za-z0-9]{40}", r"\1SECRET", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[0-9:]+(Z|\+00:00)", "TIME", text)


@pytest.fixture
def here(test_server):
    """Gives a text with the endpoint of this test's server in the place of the printed one."""
    return lambda text: text.replace(ENDPOINT, test_server.endpoint.removeprefix("http://"))


def test_every_flag_stands_in_the_table_with_its_variable_and_its_default():
    [serve] = re.findall(r"^## greenroom serve$(.*?)^## ", FLAGS, re.MULTILINE | re.DOTALL)
    printed = {cells[0]: cells[1:3] for cells in rows(serve) if cells[0].startswith("--")}
    options = re.split(r"^ +(?=--)", run("serve", "--help").stdout, flags=re.MULTILINE)[1:]
    for option in options:
        flag = option.split()[0]
        assert flag in printed, flag
        variable, default = printed[flag]
        assert f"[env: {variable}" in option
        for named in re.findall(r"^ +\[default: (.*)\]$", option, re.MULTILINE):
            assert default == named, flag
    assert len(options) == len(printed)


def test_every_operation_has_one_row():
    names = [name for name, *_ in rows(section("Each operation")) if re.fullmatch("([A-Z][a-z0-9]+)+", name)]
    model = botocore.session.get_session().get_service_model("ivs-realtime")
    assert sorted(names) == sorted(model.operation_names)


def test_the_tour_with_the_command_line_prints_what_is_printed(shell, here):
    tour = section("With the aws CLI")
    ran = shell(here("set -e\n" + "".join(blocks("sh", tour))), "us-east-1")
    assert (ran.stderr, ran.returncode) == ("", 0)
    *printed, refusal = blocks("text", tour)
    assert "ResourceNotFoundException" in refusal
    expected = [line for line in masked(here("".join(printed))).splitlines() if "…" not in line]
    said = iter(masked(ran.stdout).splitlines())
    assert [line for line in expected if line not in said] == [], ran.stdout


def test_the_tour_with_boto3_prints_what_is_printed(here):
    tour = section("With boto3")
    [program], [printed] = blocks("python", tour), blocks("text", tour)
    ran = subprocess.run([sys.executable, "-c", here(program)], capture_output=True, text=True, env=environment())
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert masked(ran.stdout) == masked(printed)


def test_every_command_stands_in_the_readme():
    def commands(*path):
        listed = re.search(r"^Commands:\n(.*?)\n\n", run(*path, "--help").stdout, re.MULTILINE | re.DOTALL)
        names = re.findall(r"^  ([a-z]+)", listed.group(1), re.MULTILINE)
        return [name for name in names if name not in ("help", "serve")]

    printed = [cells[0] for cells in rows(section("Configuration")) if cells[0].startswith("greenroom ")]
    for name in commands():
        assert any(cell.split()[1].strip("`") == name for cell in printed), name
    [credentials] = [cell for cell in printed if cell.startswith("greenroom credentials ")]
    assert re.findall(r"[a-z]+", credentials.removeprefix("greenroom credentials ")) == commands("credentials")


@pytest.fixture
def beside(tmp_path):
    """A folder with the program, its store and the README's policy, and what runs commands there, in a shell."""
    (tmp_path / "greenroom").symlink_to(Path(binary("GREENROOM_BIN")).resolve())
    [policy] = blocks("json", section("Policies"))
    (tmp_path / "back-end.json").write_text(policy)

    def run_there(script, **more):
        settings = {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}", **more}
        command = ["bash", "-c", f"set -e\n{script}"]
        return subprocess.run(command, cwd=tmp_path, env=environment(**settings), capture_output=True, text=True)

    return run_there


@pytest.mark.parametrize("title", ["TLS and proxies", "Stores", "A key to start with"])
def test_the_commands_that_start_a_server_do_so_as_they_are_printed(beside, tmp_path, title):
    text = section(title).replace("\\\n", " ")
    made = re.search(r"^openssl req .*$", text, re.MULTILINE)
    if made:
        assert beside(made.group()).returncode == 0
    commands = re.findall(r"^greenroom (--.*?)(?: +#.*)?$", text, re.MULTILINE)
    assert commands
    for flags in (shlex.split(command.replace("0.0.0.0:4600", "0.0.0.0:0")) for command in commands):
        flags = [str(tmp_path / flag) if flag.endswith(".pem") else flag for flag in flags]
        program = Greenroom(*flags, GREENROOM_DATABASE_URL=f"sqlite://{tmp_path}/greenroom.db")
        try:
            while not (line := program.line()).startswith("  media "):
                pass
        finally:
            program.kill()
        assert "--media-public-ip" not in line, "media reach clients on other machines"


def test_every_document_that_is_linked_has_the_heading():
    links = re.findall(r"\]\((docs/\w+\.md)#([\w-]+)\)", README)
    assert len(links) > 5
    for file, anchor in links:
        headings = re.findall(r"^#+ (.*)$", (TOP / file).read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{file}#{anchor}"


def test_the_commands_that_make_a_key_print_what_is_printed(beside):
    making = section("Making keys")
    [script], [printed] = blocks("sh", making), blocks("text", making)
    ran = beside(script)
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert masked(ran.stdout) == masked(printed)


def test_a_key_made_as_printed_is_refused_as_printed(beside, tmp_path):
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
    [printed] = blocks("text", section("Policies"))
    assert " ".join(printed.split()) in " ".join(ran.stderr.split())
    assert ran.returncode != 0


def test_the_fixture_for_pytest_gives_a_client_of_a_server(tmp_path):
    (tmp_path / "greenroom").symlink_to(Path(binary("GREENROOM_BIN")).resolve())
    [fixture] = blocks("python", section("In CI"))
    (tmp_path / "conftest.py").write_text(fixture)
    (tmp_path / "test_it.py").write_text('def test_it(ivs):\n    assert ivs.list_stages()["stages"] == []\n')
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment(PATH=f"{tmp_path}:{os.environ['PATH']}"),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
