"""The program itself: how it starts, what it prints, and how it ends."""

import json
import os
import re
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from server import ACCOUNT, MASTER_KEY, run
from tokens import verified
from wire import Wire, head

TOP = Path(__file__).resolve().parents[2]


def test_the_first_lines_tell_all_that_a_user_needs(start_greenroom, database):
    server = start_greenroom("--database-url", database).serving()
    answer = server.wire().send("GET", "/_greenroom/health")
    assert answer.json["engine"] == "sqlite"
    server.process.send_signal(signal.SIGTERM)
    printed = "\n".join([*server.lines, server.process.stdout.read()])
    assert server.endpoint in printed
    assert "greenroom.db" in printed
    assert "test" in printed
    assert f"{server.endpoint}/_greenroom/demo" in printed
    assert re.search(rf"aws ivs-realtime create-stage .*--endpoint-url {server.endpoint}\b", printed)


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_cleanly(start_greenroom, database, name):
    server = start_greenroom("--database-url", database).serving()
    server.create_stage()
    server.process.send_signal(name)
    assert server.wait() == 0


def test_an_idle_connection_does_not_hold_up_the_end(start_greenroom, database):
    server = start_greenroom("--database-url", database).serving()
    idle = server.wire()
    idle.call("ListStages")
    assert idle.connection.sock is not None
    assert server.end() == 0


def test_a_request_in_flight_is_finished_before_the_end(start_greenroom, database):
    server = start_greenroom("--database-url", database).serving()
    address = urlsplit(server.endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(head("/CreateStage", b"{}") + b"content-length: 2\r\nexpect: 100-continue\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        server.process.send_signal(signal.SIGTERM)
        connection.sendall(b"{}")
        assert connection.recv(10000).startswith(b"HTTP/1.1 200 ")
    assert server.wait() == 0


def test_serve_is_what_the_program_does_unless_told_otherwise(start_greenroom):
    for arguments in ((), ("serve",)):
        server = start_greenroom(*arguments, "--database-url", "sqlite::memory:").serving()
        assert server.create_stage()["stage"]["arn"]


def test_what_was_stored_is_there_after_a_restart(start_greenroom, database):
    first = start_greenroom("--database-url", database).serving()
    stage = first.create_stage(name="kept")["stage"]
    minted = first.wire().call("CreateParticipantToken", {"stageArn": stage["arn"]}).json["participantToken"]["token"]
    assert first.end() == 0
    second = start_greenroom("--database-url", database).serving()
    assert second.wire().call("ListStages").json["stages"][0]["arn"] == stage["arn"]
    assert verified(second.endpoint, minted)["resource"] == stage["arn"]


def test_what_was_stored_survives_a_kill(start_greenroom, database):
    first = start_greenroom("--database-url", database).serving()
    arn = first.create_stage()["stage"]["arn"]
    first.process.kill()
    first.process.wait()
    second = start_greenroom("--database-url", database).serving()
    assert second.wire().call("GetStage", {"arn": arn}).status == 200


SETTINGS = [
    ("listen", "nowhere"),
    ("listen", "127.0.0.1:99999"),
    ("listen", "99999"),
    ("listen", "example.org:4600"),
    ("ice-servers", "turn:user@turn.example.org"),
    ("database-url", "mysql://localhost/db"),
    ("database-url", "greenroom.db"),
    ("database-url", "sqlite:///no/such/directory/greenroom.db"),
    ("public-url", "not a url"),
    ("region", "Not A Region"),
    ("account", "123"),
    ("account", "12345678901x"),
    ("quotas", "stages=-1"),
    ("quotas", "stages"),
    ("quotas", "unicorns=5"),
    ("max-connections", "0"),
    ("max-header-bytes", "100"),
    ("body-timeout-seconds", "0"),
    ("trusted-proxies", "proxy.example.com"),
    ("composition-idle-seconds", "soon"),
    ("composition-start-seconds", "-1"),
]


@pytest.mark.parametrize(("setting", "value"), SETTINGS)
@pytest.mark.parametrize("by", ["flag", "environment"])
def test_a_bad_value_stops_the_program_with_one_clear_line(tmp_path, setting, value, by):
    safe = {"GREENROOM_LISTEN": "127.0.0.1:0", "GREENROOM_DATABASE_URL": "sqlite::memory:"}
    if by == "flag":
        ended = run(f"--{setting}={value}", **safe)
    else:
        ended = run(**{**safe, f"GREENROOM_{setting.upper().replace('-', '_')}": value})
    assert ended.returncode == 2
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    names = (setting, f"GREENROOM_{setting.upper().replace('-', '_')}", value.removeprefix("sqlite://"))
    assert any(name in lines[0] for name in names), lines
    assert "panicked" not in ended.stderr


def test_a_flag_that_does_not_exist_stops_the_program():
    ended = run("--unicorns", "5")
    assert ended.returncode == 2
    assert "--unicorns" in ended.stderr


def test_an_address_in_use_stops_the_program_with_one_clear_line(start_greenroom):
    server = start_greenroom("--database-url", "sqlite::memory:").serving()
    address = server.endpoint.removeprefix("http://")
    ended = run("--listen", address, "--database-url", "sqlite::memory:")
    assert ended.returncode != 0
    assert len(ended.stderr.strip().splitlines()) == 1
    assert f"{address}: another program uses this port" in ended.stderr and "--listen" in ended.stderr


@pytest.mark.parametrize("listen", ["0", "localhost:0", "127.0.0.1:0"])
def test_a_port_alone_or_localhost_listens_on_the_loopback_address(start_greenroom, listen):
    server = start_greenroom("--database-url", "sqlite::memory:", "--listen", listen).serving()
    assert server.endpoint.startswith("http://127.0.0.1:")
    assert server.create_stage()


def test_an_address_that_cannot_be_listened_on_is_answered_with_the_form_of_one():
    ended = run("--listen", "ivs.example.com:8080")
    assert "0.0.0.0:8080" in ended.stderr


def test_a_rejected_url_is_shown_without_its_password():
    for flag in ("--database-url=postgress://me:hush-hush@db/green", "--ice-servers=turn:me:hush-hush@a b"):
        ended = run(flag)
        assert ended.returncode == 2
        assert "hush" not in ended.stderr and "***@" in ended.stderr, ended.stderr


def test_empty_variables_count_as_unset(start_greenroom, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variables = set(re.findall(r"\[env: (GREENROOM_[A-Z_]+)", run("serve", "--help").stdout))
    assert len(variables) > 40
    empty = {name: "" for name in variables - {"GREENROOM_LISTEN"}}
    server = start_greenroom(**empty, RUST_LOG="").serving()
    assert server.create_stage()
    assert server.end() == 0
    # RUST_LOG counts as unset, too.
    server.wait_for_log('"message":"ready"')
    assert run("health", GREENROOM_LISTEN="", GREENROOM_TLS_CERT="").returncode in (0, 1), "not a usage error"
    assert set(re.findall(r"\[env: (GREENROOM_[A-Z_]+)", run("serve", "--help", **empty).stdout)) == variables


@pytest.mark.parametrize("command", ["keys", "events", "credentials"])
def test_a_group_of_commands_alone_prints_its_help(command):
    ended = run(command)
    assert ended.returncode == 2
    assert f"Usage: greenroom {command} <COMMAND>" in ended.stderr
    assert "Commands:" in ended.stderr and "Options:" in ended.stderr


def test_starting_ready_and_stopping_are_logged(start_greenroom):
    server = start_greenroom("--database-url", "sqlite::memory:").serving()
    assert server.end() == 0
    entries = [entry["fields"] for entry in server.log_entries()]
    told = {entry["message"]: entry for entry in entries}
    order = [entry["message"] for entry in entries]
    assert [line for line in order if line in LIFE] == LIFE
    assert told["starting"]["version"] and told["starting"]["store"] == "sqlite::memory:"
    assert told["ready"]["endpoint"] == server.endpoint and told["ready"]["media"]
    assert told["stopping"]["signal"] == "SIGTERM"


def test_a_server_ends_when_its_standard_input_closes(start_greenroom):
    ends, stays = (
        start_greenroom("--database-url", "sqlite::memory:", *flags).serving()
        for flags in (["--exit-on-stdin-close=on"], [])
    )
    ends.process.stdin.write("ignored\n")
    ends.process.stdin.flush()
    ends.create_stage()
    for server in (ends, stays):
        server.process.stdin.close()
    assert ends.wait() == 0
    entries = [entry["fields"] for entry in ends.log_entries()]
    assert [entry["message"] for entry in entries if entry["message"] in LIFE] == LIFE
    [stopping] = [entry for entry in entries if entry["message"] == "stopping"]
    assert stopping["reason"] == "standard input closed"
    stays.create_stage()
    assert stays.end() == 0


def test_a_signal_ends_a_server_that_watches_its_standard_input(start_greenroom):
    server = start_greenroom("--database-url", "sqlite::memory:", GREENROOM_EXIT_ON_STDIN_CLOSE="on").serving()
    assert server.end() == 0
    assert "SIGTERM" in server.logged()


LIFE = ["starting", "ready", "stopping", "stopped"]


def test_a_browser_finds_the_demo_and_the_documentation(start_greenroom):
    server = start_greenroom("--database-url", "sqlite::memory:").serving()
    wire = server.wire()
    home = wire.send("GET", "/", signed=False)
    assert home.status == 200 and home.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'href="(_greenroom/[^"]+)"', home.body.decode())
    pages = {f"_greenroom/{path.relative_to(TOP)}" for path in (TOP / "docs").rglob("*.md")} - {"_greenroom/docs/index.md"}
    assert set(links) - pages == {"_greenroom/demo", "_greenroom/demo/demo.css"} and pages <= set(links)
    for link in links:
        page = wire.send("GET", f"/{link}", signed=False)
        assert page.status == 200, link
        if link.startswith("_greenroom/docs/"):
            assert page.body == (TOP / link.removeprefix("_greenroom/")).read_bytes(), link
        else:
            assert len(page.body) > 1000, link
    assert wire.send("HEAD", "/", signed=False).status == 200
    assert wire.send("GET", "/_greenroom/docs/LICENSE", signed=False).status == 404
    for path, text in (("/_greenroom/docs/%ff", b"There is no such document"), ("/_greenroom/demo/%ff", b"No such file")):
        answer = wire.send("GET", path, signed=False)
        assert answer.status == 404 and text in answer.body, "not in the words of a library"


def test_a_signed_request_to_the_root_is_an_aws_clients(start_greenroom):
    server = start_greenroom("--database-url", "sqlite::memory:").serving()
    answer = server.wire().send("GET", "/")
    assert (answer.status, answer.fault) == (404, "UnknownOperationException")


def test_the_environment_sets_what_flags_set_and_flags_win(start_greenroom):
    server = start_greenroom(
        "--account",
        "210000000101",
        GREENROOM_DATABASE_URL="sqlite::memory:",
        GREENROOM_ACCOUNT="210000000102",
        GREENROOM_REGION="eu-central-1",
        GREENROOM_QUOTAS="stages=1",
        GREENROOM_PUBLIC_URL="https://live.example.test",
    ).serving()
    wire = Wire(server.endpoint, "test", "eu-central-1")
    stage = wire.call("CreateStage").json["stage"]
    assert stage["arn"].startswith("arn:aws:ivs:eu-central-1:210000000101:stage/")
    assert stage["endpoints"]["whip"].startswith("https://live.example.test")
    assert wire.call("CreateStage").status == 402
    assert server.end() == 0
    assert "eu-central-1" in server.process.stdout.read()


def test_the_times_of_compositions_are_settings(start_greenroom):
    server = start_greenroom(
        "--composition-start-seconds=0",
        "--composition-stop-seconds=0",
        "--composition-retention-seconds=86400",
        GREENROOM_DATABASE_URL="sqlite::memory:",
    ).serving()
    call = server.wire().call
    encoder = call("CreateEncoderConfiguration").json["encoderConfiguration"]["arn"]
    channel = {
        "channelArn": f"arn:aws:ivs:us-east-1:{ACCOUNT}:channel/abcdefghijkl",
        "encoderConfigurationArn": encoder,
    }
    stage = server.create_stage()["stage"]["arn"]
    started = call("StartComposition", {"stageArn": stage, "destinations": [{"channel": channel}]})
    arn = started.json["composition"]["arn"]
    assert call("GetComposition", {"arn": arn}).json["composition"]["state"] == "ACTIVE"
    assert call("StopComposition", {"arn": arn}).status == 200
    assert call("GetComposition", {"arn": arn}).json["composition"]["state"] == "STOPPED"


def test_a_second_server_on_the_same_file_is_refused(start_greenroom, database):
    first = start_greenroom("--database-url", database).serving()
    ended = run("--listen", "127.0.0.1:0", "--database-url", database)
    assert ended.returncode not in (0, 101)
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert "greenroom.db" in ended.stderr
    assert first.create_stage()


def test_nodes_that_start_at_once_on_one_postgres_share_stages_and_keys(start_greenroom, fresh_postgres):
    settings = {"GREENROOM_DATABASE_URL": fresh_postgres(), "GREENROOM_MASTER_KEY": MASTER_KEY}
    nodes = [node.serving() for node in [start_greenroom(**settings) for _ in range(4)]]
    first, *others = nodes
    arn = first.create_stage()["stage"]["arn"]
    for _ in range(2):
        for node in others:
            assert node.wire().call("GetStage", {"arn": arn}).status == 200
            assert verified(node.endpoint, first.token()) and verified(first.endpoint, node.token())
        ended = run("keys", "rotate", **settings)
        assert ended.returncode == 0, ended.stderr
    assert first.wire().send("GET", "/_greenroom/health").json["engine"] == "postgres"


def test_migrate_makes_the_store_and_exits(start_greenroom, tmp_path, database):
    for _ in range(2):
        ended = run("migrate", "--database-url", database)
        assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "greenroom.db").exists()
    assert start_greenroom("--database-url", database).serving().create_stage()


def test_migrate_beside_a_running_server_does_no_harm(start_greenroom, database):
    server = start_greenroom("--database-url", database).serving()
    assert run("migrate", "--database-url", database).returncode == 0
    assert server.create_stage()


def test_the_default_store_is_in_the_working_directory(tmp_path, monkeypatch, start_greenroom):
    monkeypatch.chdir(tmp_path)
    start_greenroom().serving().create_stage()
    assert (tmp_path / "greenroom.db").exists()
    assert os.listdir(tmp_path)


def test_help_and_version_are_printed_on_request():
    for flag in ("--help", "--version"):
        ended = run(flag)
        assert ended.returncode == 0
        assert "greenroom" in ended.stdout
    assert "GREENROOM_DATABASE_URL" in run("--help").stdout


def test_the_document_of_the_api_is_printed_as_yaml():
    ended = run("openapi")
    assert ended.returncode == 0
    assert yaml.safe_load(ended.stdout)["openapi"] == "3.1.0"
