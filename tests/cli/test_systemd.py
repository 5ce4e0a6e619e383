"""The systemd unit: valid, sandboxed, and consistent with the program."""

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
    """The values of a setting of the unit, in order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.M)


@pytest.fixture
def analyze(tmp_path):
    """Runs `systemd-analyze` on the unit, with the path of the program under test."""
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


def test_systemd_accepts_the_unit_without_warnings(analyze):
    verified = analyze("verify")
    assert (verified.stdout, verified.stderr, verified.returncode) == ("", "", 0)


def test_the_exposure_score_of_the_service_is_low(analyze):
    # The threshold is 1.5 of 10; a service without sandboxing has 9.6.
    rated = analyze("security", "--offline=true", "--threshold=15", "--no-pager")
    assert rated.returncode == 0, rated.stdout


@pytest.mark.parametrize("file", [UNIT, ENVIRONMENT], ids=lambda file: file.name)
def test_every_setting_exists(file, settings):
    used = set(re.findall(r"GREENROOM_[A-Z_]+", file.read_text()))
    assert used and used <= settings.keys(), used - settings.keys()


def test_the_unit_starts_an_existing_command():
    [command] = values("ExecStart")
    program, *arguments = command.split()
    assert run(*arguments, "--help").returncode == 0
    assert f"install -m 755 greenroom {Path(program).parent}/" in UNIT.read_text()


def test_the_unit_reads_the_environment_file_of_the_example():
    [file] = values("EnvironmentFile")
    assert file.removeprefix("-") in ENVIRONMENT.read_text().splitlines()[0]


def test_a_server_starts_with_the_settings_of_the_example(tmp_path):
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
    # systemd creates the state directory; the rest of the file system is read-only.
    assert values("StateDirectory") == ["greenroom"]
    assert all(Path(made).name.startswith("greenroom.db") for made in os.listdir(tmp_path))


def test_the_stop_timeout_exceeds_the_shutdown_time(settings):
    [limit] = values("TimeoutStopSec")
    assert int(limit) > 2 * int(settings["GREENROOM_SHUTDOWN_SECONDS"])


def test_the_file_descriptor_limit_exceeds_the_connection_limit(settings):
    [limit] = values("LimitNOFILE")
    assert int(limit) > 2 * int(settings["GREENROOM_MAX_CONNECTIONS"])


def test_only_transient_failures_are_restarted(tmp_path):
    assert values("Restart") == ["on-failure"]
    [no_restart_status] = values("RestartPreventExitStatus")
    assert run("serve", "--listen", "nowhere").returncode == int(no_restart_status)
    listen = ("serve", "--listen", "127.0.0.1:0")
    bad_path = run(*listen, "--database-url", f"sqlite://{tmp_path}/no/such/folder/x.db")
    unreachable = run(*listen, "--database-url", "postgres://nobody@127.0.0.1:1/x", GREENROOM_MASTER_KEY=MASTER_KEY)
    assert (bad_path.returncode, unreachable.returncode) == (int(no_restart_status), 1)
