"""The command line: help, errors, the configuration file, completions, man pages, the flag reference."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from server import run

TOP = Path(__file__).resolve().parents[2]
GROUPS = ["Network", "Store", "Media", "Sessions", "Security", "Limits", "Recording", "Events", "Telemetry", "Testing"]


def usage(*arguments, **variables):
    """The message of a usage error, which is one line."""
    result = run(*arguments, **variables)
    assert result.returncode == 2, result.stderr
    [line] = result.stderr.splitlines()
    return line.removeprefix("greenroom: ")


@pytest.fixture
def file(tmp_path):
    """Writes a configuration file; returns its path."""

    def write(text):
        path = tmp_path / "greenroom.toml"
        path.write_text(text)
        return str(path)

    return write


def settings(*arguments, **variables):
    """The effective settings: value and source by name."""
    result = run("config", "check", "--output", "json", *arguments, **variables)
    assert (result.stderr, result.returncode) == ("", 0)
    return {setting["name"]: (setting["value"], setting["source"]) for setting in json.loads(result.stdout)}


def test_help_is_grouped_and_has_a_short_and_a_long_form():
    short, long = run("serve", "-h").stdout, run("serve", "--help").stdout
    for text in (short, long):
        headings = re.findall(r"^(\w+):$", text, re.MULTILINE)
        assert headings == ["Options", *GROUPS]
    assert "Port 0 takes a free one." in long and "Port 0" not in short
    assert len(short) < len(long)


def test_help_lists_only_the_options_of_its_command():
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
    result = run(*(argument.format(url=url) for argument in arguments))
    assert result.returncode == 0, result.stderr
    [key] = json.loads(result.stdout)
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
def test_a_usage_error_has_a_suggestion_and_names_the_help(arguments, parts):
    line = usage(*arguments)
    assert all(part in line for part in parts), line


def test_flags_override_variables_override_the_file_override_defaults(file):
    path = file('listen = "1"\nmax-connections = 2\nmax-in-flight = 3\n[security]\ndev-credentials = true\n')
    found = settings("--config", path, "--listen", "4", GREENROOM_MAX_CONNECTIONS="5")
    assert found["listen"] == ("4", "--listen")
    assert found["max-connections"] == (5, "GREENROOM_MAX_CONNECTIONS")
    assert found["max-in-flight"] == (3, f"{path}:3")
    assert found["dev-credentials"] == ("on", f"{path}:5")
    assert found["idle-timeout-seconds"] == (75, "default")
    assert found["node-url"] == (None, None)


def test_a_variable_names_the_configuration_file_for_all_commands(file, store):
    path = file(f'database-url = "sqlite://{store}"\nlisten = "1"\n')
    assert run("migrate", GREENROOM_CONFIG=path).returncode == 0
    assert store.exists()


def test_secrets_are_redacted(file):
    secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYyE="
    path = file(f'master-key = "{secret}"\nice-servers = ["turn:me:hush@turn.example.org", "stun:a"]\n')
    url = "postgres://me:hush@db.example.org/green"
    printed = run("config", "check", "--config", path, "--database-url", url, "--turn-secret", "hush").stdout
    assert secret not in printed and "hush" not in printed
    assert 'database-url = "postgres://db.example.org/green"' in printed
    assert 'ice-servers = "turn:turn.example.org,stun:a"' in printed
    assert printed.count('"***"') == 2


def test_printed_settings_are_a_valid_configuration_file(file):
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
def test_an_invalid_file_is_rejected_with_the_line_number(file, text, line, part):
    path = file(text)
    for command in (("config", "check"), ("serve",)):
        message = usage(*command, "--config", path)
        assert message.startswith(f"{path}:{line}: ") and part in message, message


def test_a_missing_file_and_an_invalid_variable_are_named(tmp_path):
    assert usage("--config", str(tmp_path / "none.toml")).startswith(f"cannot read {tmp_path}/none.toml: ")
    assert usage("config", "check", GREENROOM_LISTEN="nowhere").startswith("GREENROOM_LISTEN: invalid value 'nowhere'")


def test_conflicting_settings_and_misspelt_variables_are_reported():
    assert "only for loopback addresses" in usage("config", "check", "--listen", "0.0.0.0:4600")
    result = run("config", "check", GREENROOM_LISTN="1")
    assert result.returncode == 0
    assert "no setting has the variable GREENROOM_LISTN; did you mean GREENROOM_LISTEN?" in result.stderr


@pytest.mark.parametrize("flags", [("--version", "--verbose"), ("-V", "-v"), ("-vV",)])
def test_the_verbose_version_has_the_build(flags):
    lines = run(*flags).stdout.splitlines()
    assert lines[0] == run("-V").stdout.strip()
    assert [line.split()[0] for line in lines] == ["greenroom", "commit", "build", "schema"]


@pytest.mark.parametrize(("shell", "check"), [("bash", ["bash", "-n"]), ("zsh", None), ("fish", None)])
def test_completions_are_printed(shell, check):
    script = run("completions", shell).stdout
    assert "max-connections" in script and "credentials" in script
    if check:
        assert subprocess.run(check, input=script, text=True).returncode == 0


def test_every_command_has_a_man_page(tmp_path):
    assert run("man", str(tmp_path / "man")).returncode == 0
    pages = {path.name for path in (tmp_path / "man").iterdir()}
    assert {"greenroom.1", "greenroom-serve.1", "greenroom-keys-retire.1"} <= pages
    assert "--media-public-ip" in (tmp_path / "man" / "greenroom-serve.1").read_text().replace("\\", "")


def test_the_flag_reference_is_current():
    printed = run("docs", "flags").stdout
    assert (TOP / "docs/reference/flags.md").read_text() == printed, "write the output of `greenroom docs flags` to docs/reference/flags.md"
