"""The command line: help, errors, the configuration file, completions, man pages, the reference of flags."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from server import run

TOP = Path(__file__).resolve().parents[2]
GROUPS = ["Network", "Store", "Media", "Sessions", "Security", "Limits", "Events", "Telemetry"]


def usage(*arguments, **variables):
    """The one line of a usage error."""
    ended = run(*arguments, **variables)
    assert ended.returncode == 2, ended.stderr
    [line] = ended.stderr.splitlines()
    return line.removeprefix("greenroom: ")


@pytest.fixture
def file(tmp_path):
    """Writes a configuration file, and gives its path."""

    def write(text):
        path = tmp_path / "greenroom.toml"
        path.write_text(text)
        return str(path)

    return write


def settings(*arguments, **variables):
    """The effective settings: name to value and source."""
    ended = run("config", "check", "--output", "json", *arguments, **variables)
    assert (ended.stderr, ended.returncode) == ("", 0)
    return {setting["name"]: (setting["value"], setting["source"]) for setting in json.loads(ended.stdout)}


def test_help_is_in_groups_short_with_h_and_long_with_help():
    short, long = run("serve", "-h").stdout, run("serve", "--help").stdout
    for text in (short, long):
        headings = re.findall(r"^(\w+):$", text, re.MULTILINE)
        assert headings == ["Options", *GROUPS]
    assert "Port 0 takes a free one." in long and "Port 0" not in short
    assert len(short) < len(long)


def test_a_command_shows_its_own_options_only():
    assert "--listen" not in run("migrate", "--help").stdout
    assert "--database-url" in run("migrate", "--help").stdout
    assert "--listen" not in run("--help").stdout.partition("Without a command")[0].replace("at --listen", "")
    assert "--config" not in run("join", "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "list", "--output", "json", "--database-url", "{url}"),
        ("--database-url", "{url}", "keys", "list", "--output=json"),
        ("keys", "--output", "json", "--database-url={url}", "list"),
    ],
)
def test_flags_precede_or_follow_their_command(arguments, store):
    url = f"sqlite://{store}"
    assert run("credentials", "create", "--account", "123456789012", "--database-url", url).returncode == 0
    ended = run(*(argument.format(url=url) for argument in arguments))
    assert ended.returncode == 0, ended.stderr
    [key] = json.loads(ended.stdout)
    assert key["state"] == "signing"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--lisen", "1"), ["'--lisen'", "did you mean '--listen'?", "(see greenroom serve --help)"]),
        (("migrat",), ["'migrat'", "did you mean 'migrate'?", "(see greenroom --help)"]),
        (("join",), ["--token", "(see greenroom join --help)"]),
        (("join", "--token", "x", "--listen", "1"), ["it is a flag of greenroom serve", "(see greenroom join --help)"]),
        (("keys", "rotate", "--all"), ["it is a flag of greenroom", "(see greenroom keys rotate --help)"]),
    ],
)
def test_an_error_names_a_way_out_and_the_help_of_its_command(arguments, parts):
    line = usage(*arguments)
    assert all(part in line for part in parts), line


def test_flags_win_over_variables_over_the_file_over_defaults(file):
    path = file('listen = "1"\nmax-connections = 2\nmax-in-flight = 3\n[security]\ndev-credentials = true\n')
    found = settings("--config", path, "--listen", "4", GREENROOM_MAX_CONNECTIONS="5")
    assert found["listen"] == ("4", "--listen")
    assert found["max-connections"] == (5, "GREENROOM_MAX_CONNECTIONS")
    assert found["max-in-flight"] == (3, f"{path}:3")
    assert found["dev-credentials"] == ("on", f"{path}:5")
    assert found["idle-timeout-seconds"] == (75, "default")
    assert found["node-url"] == (None, None)


def test_the_file_can_be_named_by_a_variable_and_serves_other_commands(file, store):
    path = file(f'database-url = "sqlite://{store}"\nlisten = "1"\n')
    assert run("migrate", GREENROOM_CONFIG=path).returncode == 0
    assert store.exists()


def test_secrets_are_hidden(file):
    secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYyE="
    path = file(f'master-key = "{secret}"\nice-servers = ["turn:me:hush@turn.example.org", "stun:a"]\n')
    url = "postgres://me:hush@db.example.org/green"
    printed = run("config", "check", "--config", path, "--database-url", url, "--turn-secret", "hush").stdout
    assert secret not in printed and "hush" not in printed
    assert 'database-url = "postgres://db.example.org/green"' in printed
    assert 'ice-servers = "turn:turn.example.org,stun:a"' in printed
    assert printed.count('"***"') == 2


def test_the_printed_settings_are_a_configuration_file(file):
    printed = run("config", "check", "--listen", "1", "--media-public-ip", "192.0.2.1,192.0.2.2").stdout
    again = settings("--config", file(printed))
    assert again["listen"][0] == "1" and again["media-public-ip"][0] == "192.0.2.1,192.0.2.2"
    value, source = again["max-connections"]
    assert value == 4096 and source.endswith(f"greenroom.toml:{line_of(printed, 'max-connections')}")


def line_of(text, name):
    return 1 + next(n for n, line in enumerate(text.splitlines()) if line.startswith(f"{name} "))


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("\nlisen = '1'", 2, "there is no setting 'lisen'; did you mean 'listen'?"),
        ("max-connections = '8'", 1, "'max-connections' takes an integer"),
        ("listen = 8", 1, "'listen' takes a string"),
        ("audit = 'maybe'", 1, "invalid value 'maybe' for '--audit"),
        ("[network]\n\nlisten = 'nowhere'", 3, "invalid value 'nowhere' for '--listen"),
        ("[media]\nlisten = '1'", 2, "'listen' belongs in [network]"),
        ("listen = '1'\nlisten = '2'", 2, "duplicate key"),
        ("listen = ", 1, ""),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(file, text, line, part):
    path = file(text)
    for command in (("config", "check"), ("serve",)):
        said = usage(*command, "--config", path)
        assert said.startswith(f"{path}:{line}: ") and part in said, said


def test_a_file_that_is_not_there_and_a_wrong_variable_are_named(tmp_path):
    assert usage("--config", str(tmp_path / "none.toml")).startswith(f"cannot read {tmp_path}/none.toml: ")
    assert usage("config", "check", GREENROOM_LISTEN="nowhere").startswith("GREENROOM_LISTEN: invalid value 'nowhere'")


def test_settings_that_contradict_each_other_and_misspelt_variables_are_found():
    assert "only for loopback addresses" in usage("config", "check", "--listen", "0.0.0.0:4600")
    ended = run("config", "check", GREENROOM_LISTN="1")
    assert ended.returncode == 0
    assert "no setting has the variable GREENROOM_LISTN; did you mean GREENROOM_LISTEN?" in ended.stderr


@pytest.mark.parametrize("flags", [("--version", "--verbose"), ("-V", "-v"), ("-vV",)])
def test_the_version_tells_the_build(flags):
    lines = run(*flags).stdout.splitlines()
    assert lines[0] == run("-V").stdout.strip()
    assert [line.split()[0] for line in lines] == ["greenroom", "commit", "build", "schema"]


@pytest.mark.parametrize(("shell", "check"), [("bash", ["bash", "-n"]), ("zsh", None), ("fish", None)])
def test_completions_are_printed(shell, check):
    script = run("completions", shell).stdout
    assert "max-connections" in script and "credentials" in script
    if check:
        assert subprocess.run(check, input=script, text=True).returncode == 0


def test_there_is_a_man_page_for_every_command(tmp_path):
    assert run("man", str(tmp_path / "man")).returncode == 0
    pages = {path.name for path in (tmp_path / "man").iterdir()}
    assert {"greenroom.1", "greenroom-serve.1", "greenroom-keys-retire.1"} <= pages
    assert "--media-public-ip" in (tmp_path / "man" / "greenroom-serve.1").read_text().replace("\\", "")


def test_the_reference_of_flags_is_current():
    printed = run("docs", "flags").stdout
    assert (TOP / "docs/reference/flags.md").read_text() == printed, "write the output of `greenroom docs flags` to docs/reference/flags.md"
