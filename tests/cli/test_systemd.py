"""The unit for systemd: systemd takes it, it is well confined, and what it tells the program is what the program knows."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from server import MASTER_KEY, Greenroom, binary, run

FOLDER = Path(__file__).resolve().parents[2] / "docs/deploy/systemd"
UNIT = FOLDER / "greenroom.service"
ENVIRONMENT = FOLDER / "greenroom.env.example"


def values(name):
    """The values of a setting of the unit, in their order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.M)


@pytest.fixture
def analyze(tmp_path):
    """Runs `systemd-analyze` on the unit, whose program is where it is on this machine."""
    if shutil.which("systemd-analyze") is None and os.environ.get("CI") == "true":
        pytest.fail("systemd-analyze is missing, and CI checks the unit")
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing on this machine")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/greenroom", os.path.abspath(binary("GREENROOM_BIN"))))

    def analyzed(*arguments):
        command = ["systemd-analyze", *arguments, unit]
        return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"SYSTEMD_COLORS": "0"})

    return analyzed


def test_systemd_understands_every_line_of_the_unit(analyze):
    verified = analyze("verify")
    assert (verified.stdout, verified.stderr, verified.returncode) == ("", "", 0)


def test_the_service_is_exposed_to_the_network_and_to_little_else(analyze):
    # Of ten points; what a service has by default is 9.6.
    rated = analyze("security", "--offline=true", "--threshold=15", "--no-pager")
    assert rated.returncode == 0, rated.stdout


@pytest.mark.parametrize("file", [UNIT, ENVIRONMENT], ids=lambda file: file.name)
def test_every_setting_is_one_that_the_program_reads(file, settings):
    used = set(re.findall(r"GREENROOM_[A-Z_]+", file.read_text()))
    assert used and used <= settings.keys(), used - settings.keys()


def test_the_command_is_one_of_the_program():
    [command] = values("ExecStart")
    program, *arguments = command.split()
    assert run(*arguments, "--help").returncode == 0
    assert f"install -m 755 greenroom {Path(program).parent}/" in UNIT.read_text()


def test_the_environment_file_is_the_one_that_the_example_is_for():
    [file] = values("EnvironmentFile")
    assert file.removeprefix("-") in ENVIRONMENT.read_text().splitlines()[0]


def test_a_server_with_the_example_s_settings_starts(tmp_path):
    lines = [line for line in ENVIRONMENT.read_text().splitlines() if line and not line.startswith("#")]
    given = dict(setting.split("=", 1) for setting in [*values("Environment"), *lines])
    given["GREENROOM_LISTEN"] = given["GREENROOM_LISTEN"].replace(":4600", ":0")
    given["GREENROOM_DATABASE_URL"] = given["GREENROOM_DATABASE_URL"].replace("/var/lib/greenroom", str(tmp_path))
    program = Greenroom("serve", **given)
    try:
        program.serving()
        assert program.end() == 0
    finally:
        program.kill()
    # Of this the unit makes the folder, and nothing else can be written.
    assert values("StateDirectory") == ["greenroom"]
    assert all(Path(made).name.startswith("greenroom.db") for made in os.listdir(tmp_path))


def test_the_service_is_given_longer_to_stop_than_it_takes(settings):
    [most] = values("TimeoutStopSec")
    assert int(most) > 2 * int(settings["GREENROOM_SHUTDOWN_SECONDS"])


def test_there_are_descriptors_for_as_many_connections_as_are_let_in(settings):
    [most] = values("LimitNOFILE")
    assert int(most) > 2 * int(settings["GREENROOM_MAX_CONNECTIONS"])


def test_only_a_failure_that_may_pass_is_followed_by_another_start(tmp_path):
    assert values("Restart") == ["on-failure"]
    [final] = values("RestartPreventExitStatus")
    assert run("serve", "--listen", "nowhere").returncode == int(final)
    listen = ("serve", "--listen", "127.0.0.1:0")
    away = run(*listen, "--database-url", f"sqlite://{tmp_path}/no/such/folder/x.db")
    gone = run(*listen, "--database-url", "postgres://nobody@127.0.0.1:1/x", GREENROOM_MASTER_KEY=MASTER_KEY)
    assert (away.returncode, gone.returncode) == (int(final), 1)
