"""`greenroom doctor`: right settings pass, and each wrong one is named with a way out."""

import json
import os
import socket
from urllib.parse import urlsplit

import pytest

from s3_server import CREDENTIALS, S3Server
from server import MASTER_KEY, Greenroom, run
from turn_server import TurnServer

HERE = ("--listen", "127.0.0.1:0")


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """Runs it in an empty folder: what it found by check, and its exit code."""
    monkeypatch.chdir(tmp_path)

    def examine(*flags, **env):
        flags = flags if "--listen" in flags else (*HERE, *flags)
        ended = run("doctor", "--output", "json", *flags, **env)
        assert ended.stderr == ""
        report = json.loads(ended.stdout)
        found = {}
        for one in report["checks"]:
            found.setdefault(one["check"], []).append((one["status"], one["message"]))
        assert report["failed"] == sum(one["status"] == "failed" for one in report["checks"])
        assert ended.returncode == (1 if report["failed"] else 0), report
        return found

    yield examine
    assert not list(tmp_path.glob("greenroom.db*")), "no store is made"


@pytest.fixture
def turn_server():
    started = []

    def start(**credentials):
        started.append(TurnServer(**credentials))
        return started[-1]

    yield start
    for server in started:
        server.close()


def test_the_default_settings_pass(doctor):
    found = doctor()
    fine = ["exposure", "api", "media port", "media address", "database"]
    assert {name: found[name][0][0] for name in fine} == dict.fromkeys(fine, "ok")
    assert "127.0.0.1" in found["media address"][0][1] and "UDP comes through" in found["media address"][0][1]
    assert {"open files", "buffers"} <= found.keys()


def test_human_output_has_status_check_and_text(tmp_path):
    ended = run("doctor", *HERE, GREENROOM_DATABASE_URL=f"sqlite://{tmp_path}/greenroom.db")
    lines = ended.stdout.splitlines()
    assert ended.returncode == 0 and len(lines) >= 7
    assert all(line.split()[0] in ("ok", "warning", "skipped") for line in lines)
    assert any(line.startswith("ok       api            TCP 127.0.0.1:0 is free") for line in lines)


def test_settings_that_expose_or_hide_the_server_are_reported(doctor):
    found = doctor("--listen", "0.0.0.0:0")
    assert found["exposure"][0][0] == "failed" and "--dev-credentials=off" in found["exposure"][0][1]
    assert found["exposure"][1][0] == "warning" and "--public-url" in found["exposure"][1][1]
    if any(status == "warning" for status, _ in found["media address"]):
        assert "--media-public-ip" in found["media address"][0][1]
    right = ("--dev-credentials=off", "--public-url", "https://ivs.example.com")
    found = doctor("--listen", "0.0.0.0:0", *right, "--media-public-ip", own_address())
    assert (found["exposure"][0][0], found["media address"][0][0]) == ("ok", "ok"), found


def own_address():
    """An address of this machine that is not loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return asking.getsockname()[0]


def test_an_advertised_address_that_the_machine_does_not_have_is_a_warning(doctor):
    [(status, text)] = doctor("--media-public-ip", "203.0.113.7")["media address"]
    assert status == "warning" and "203.0.113.7 is not an address of this machine" in text and "NAT" in text
    [(status, text)] = doctor("--media-public-ip", "0.0.0.0")["media address"]
    assert status == "failed"


def test_names_of_media_addresses_are_resolved(doctor):
    [(status, text)] = doctor("--media-public-ip", "localhost")["media address"]
    assert status == "ok" and "127.0.0.1" in text
    [(status, text)] = doctor("--media-public-ip", "nothing.invalid")["media address"]
    assert status == "failed" and "nothing.invalid cannot be resolved" in text


def test_a_port_in_use_is_distinguished_from_a_running_greenroom(doctor, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        tcp = other.getsockname()[1]
        found = doctor("--listen", f"127.0.0.1:{tcp}", "--media-addr", f"127.0.0.1:{udp.getsockname()[1]}")
    assert found["api"][0][0] == "failed" and "--listen" in found["api"][0][1]
    assert found["media port"][0][0] == "failed" and "--media-addr" in found["media port"][0][1]
    server = Greenroom("--database-url", "sqlite::memory:")
    try:
        listen = urlsplit(server.serving().endpoint).netloc
        while not (line := server.line()).lstrip().startswith("media"):
            pass
        media = line.split("udp://")[1].split(",")[0].strip()
        found = doctor("--listen", listen, "--media-addr", media, "--database-url", "sqlite::memory:")
    finally:
        server.kill()
    assert found["api"][0][0] == "ok" and "answers on" in found["api"][0][1]
    assert found["media port"][0][0] == "skipped" and "running server" in found["media port"][0][1]


def test_an_address_that_the_machine_does_not_have_cannot_be_listened_on(doctor):
    found = doctor("--listen", "203.0.113.7:4600", "--dev-credentials=off")
    assert found["api"][0][0] == "failed" and "does not have the address 203.0.113.7" in found["api"][0][1]


def test_a_turn_server_takes_the_credentials_of_its_url(doctor, turn_server):
    server = turn_server(user="me", password="p@ss")
    right = f"turn:me:p%40ss@127.0.0.1:{server.port}"
    [(status, text)] = doctor("--ice-servers", right)["turn"]
    assert status == "ok" and "relays by 127.0.0.1:50000" in text and "p@ss" not in text
    assert (server.allocated, server.released) == (["me"], ["me"]), "the allocation is given back"
    [(status, text)] = doctor("--ice-servers", right.replace("p%40ss", "wrong"))["turn"]
    assert status == "failed" and "401" in text and "credentials" in text and "wrong" not in text


def test_a_turn_server_takes_the_credentials_of_the_shared_secret(doctor, turn_server):
    server = turn_server(secret="north")
    url = f"turn:127.0.0.1:{server.port}"
    [(status, _)] = doctor("--ice-servers", url, GREENROOM_TURN_SECRET="north")["turn"]
    assert status == "ok" and server.allocated[0].endswith(":doctor")
    [(status, text)] = doctor("--ice-servers", url, GREENROOM_TURN_SECRET="south")["turn"]
    assert status == "failed" and "--turn-secret" in text and "south" not in text
    [(status, text)] = doctor("--ice-servers", url)["turn"]
    assert status == "warning" and "--turn-secret" in text


def test_silent_or_missing_servers_fail_in_time(doctor, turn_server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        [(status, text)] = doctor("--ice-servers", f"turn:u:p@127.0.0.1:{silent.getsockname()[1]}")["turn"]
        assert status == "failed" and "no response within 3 s" in text
    [(status, text)] = doctor("--ice-servers", "stun:nowhere.invalid")["stun"]
    assert status == "failed" and "nowhere.invalid" in text
    [(status, text)] = doctor("--ice-servers", f"stun:127.0.0.1:{turn_server().port}")["stun"]
    assert status == "ok" and "sees this machine as 127.0.0.1:" in text


def test_the_check_of_a_store_does_not_change_it(doctor, tmp_path_factory):
    file = tmp_path_factory.mktemp("store") / "greenroom.db"
    url = f"sqlite://{file}"
    [(status, text)] = doctor("--database-url", url)["database"]
    assert status == "ok" and "not there yet" in text and not file.exists()
    assert run("migrate", "--database-url", url).returncode == 0
    (status, text), (writable, _) = doctor("--database-url", url)["database"]
    assert (status, writable) == ("ok", "ok") and "schema" in text
    file.write_bytes(b"no database" * 1000)
    assert doctor("--database-url", url)["database"][0][0] == "failed"
    [(status, text)] = doctor("--database-url", "sqlite:///no/such/folder/greenroom.db")["database"]
    assert status == "failed" and "/no/such/folder" in text


def test_the_schema_and_the_clock_of_postgres_are_checked(doctor, fresh_postgres):
    url = fresh_postgres()
    found = doctor("--database-url", url, GREENROOM_MASTER_KEY=MASTER_KEY)
    assert [status for status, _ in found["database"]] == ["ok", "ok"] and "is empty" in found["database"][0][1]
    assert run("migrate", "--database-url", url).returncode == 0
    found = doctor("--database-url", url)
    assert "schema" in found["database"][0][1] and found["clock"][0][0] == "ok"
    assert found["master key"][0][0] == "failed" and "GREENROOM_MASTER_KEY" in found["master key"][0][1]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    gone = f"postgres://me:hush-hush@127.0.0.1:{port}/green"
    [(status, text)] = doctor("--database-url", gone, GREENROOM_MASTER_KEY=MASTER_KEY)["database"]
    assert status == "failed" and "hush" not in text


def test_the_folder_of_recordings_must_be_writable(doctor, tmp_path):
    [(status, text)] = doctor()["storage"]
    assert (status, text) == ("ok", "recordings is writable") and list(tmp_path.iterdir()) == []
    [(status, text)] = doctor("--storage", "folder:/proc/recordings")["storage"]
    assert status == "failed" and text.startswith("/proc/recordings: ")
    (tmp_path / "file").write_text("")
    [(status, text)] = doctor("--storage", f"folder:{tmp_path}/file")["storage"]
    assert status == "failed" and "AccessDenied" in text
    (tmp_path / "buckets.toml").write_text('[[bucket]]\nname = "films"\n')
    buckets = ("--storage-config", "buckets.toml")
    assert doctor(*buckets)["storage"] == [("ok", "recordings/films is writable")]
    [(status, text)] = doctor(*buckets, "--storage-create-buckets", "off")["storage"]
    assert status == "failed" and "NoSuchBucket" in text and "create the bucket" in text
    (tmp_path / "buckets.toml").write_text('[[bucket]]\nname = "films"\ntype = "ftp"\n')
    [(status, text)] = doctor(*buckets)["storage"]
    assert status == "failed" and "buckets.toml" in text and "type" in text


def test_each_bucket_of_s3_is_asked_for(doctor, tmp_path, start_server, new_file):
    (tmp_path / "buckets.toml").write_text('[[bucket]]\nname = "films"\n[[bucket]]\nname = "nowhere"\n')
    with S3Server("films") as s3:
        flags = ("--storage", "s3", "--s3-endpoint", s3.endpoint)
        buckets = (*flags, "--storage-config", "buckets.toml")
        missing = ("failed", f"s3://nowhere at {s3.endpoint}: NoSuchBucket: The specified bucket does not exist.: create the bucket")
        there = ("ok", f"s3://films at {s3.endpoint} is there")
        assert doctor(*buckets, **CREDENTIALS)["storage"] == [there, missing]
        server = start_server(new_file())
        server.tenant().storage()
        stored = doctor(*buckets, "--database-url", server.database, **CREDENTIALS)["storage"]
        assert [status for status, _ in stored] == ["ok", "failed", "failed"] and "s3://recordings at " in stored[2][1]
        [(status, text)] = doctor(*flags, **CREDENTIALS)["storage"]
        assert status == "ok" and "answers; no bucket is named yet" in text
        [(status, text)] = doctor(*flags, **CREDENTIALS | {"AWS_ACCESS_KEY_ID": "stranger"})["storage"]
        assert status == "warning" and "s3:ListBucket" in text
        [(status, text)] = doctor(*flags, AWS_EC2_METADATA_DISABLED="true")["storage"]
        assert status == "failed" and "CredentialsError" in text and "AWS_ACCESS_KEY_ID" in text
    [(status, text)] = doctor(*flags, **CREDENTIALS)["storage"]
    assert status == "failed" and "ConnectionError" in text and "--s3-endpoint" in text


def test_the_limits_of_the_machine_are_compared_with_the_settings(doctor):
    assert doctor("--max-connections", "10", "--max-rtmp-connections", "10")["open files"][0][0] == "ok"
    [(status, text)] = doctor("--max-connections", str(2**31))["open files"]
    assert status == "warning" and "ulimit" in text
    with open("/proc/sys/net/core/rmem_max") as file:
        enough = int(file.read()) >= 4 << 20
    assert doctor()["buffers"][0][0] == ("ok" if enough else "warning")


def test_the_ports_and_the_certificate_of_encoders_are_checked(doctor, tmp_path):
    found = doctor()
    assert [found[name][0][0] for name in ("rtmp port", "rtmps port", "rtmps cert")] == ["ok"] * 3
    assert "self-signed" in found["rtmps cert"][0][1]
    assert not {"rtmp port", "rtmps port", "rtmps cert"} & doctor("--rtmp-listen", "off", "--rtmps-listen", "off").keys()
    every = ("--listen", "0.0.0.0:0", "--dev-credentials=off")
    [(status, text)] = doctor(*every)["rtmps port"]
    assert status == "skipped" and "--rtmps-tls-cert" in text
    [(status, text)] = doctor(*every, "--rtmps-listen", "0.0.0.0:0")["rtmps port"]
    assert status == "failed" and "--rtmps-tls-cert" in text
    (tmp_path / "cert.pem").write_text("nothing")
    [(status, text)] = doctor("--rtmps-tls-cert", "cert.pem", "--rtmps-tls-key", "cert.pem")["rtmps port"]
    assert status == "failed" and "cert.pem" in text


def test_a_port_of_encoders_in_use_is_distinguished_from_a_running_greenroom(doctor):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        [(status, text)] = doctor("--rtmp-listen", f"127.0.0.1:{port}")["rtmp port"]
        assert status == "failed" and "--rtmp-listen" in text
        [(status, text)] = doctor("--listen", f"127.0.0.1:{port - 2}")["rtmp port"]
        assert status == "warning" and "will be off" in text
    server = Greenroom("--database-url", "sqlite::memory:")
    try:
        listen = urlsplit(server.serving().endpoint).netloc
        while not (line := server.line()).lstrip().startswith("encoders"):
            pass
        rtmp, rtmps = (urlsplit(url.strip(",")).netloc for url in line.split()[1:3])
        listeners = ("--rtmp-listen", rtmp, "--rtmps-listen", rtmps, "--database-url", "sqlite::memory:")
        found = doctor("--listen", listen, *listeners)
        swapped = doctor("--listen", listen, "--rtmp-listen", rtmps, "--rtmps-listen", rtmp, "--database-url", "sqlite::memory:")
    finally:
        server.kill()
    for name in ("rtmp port", "rtmps port"):
        [(status, text)] = found[name]
        assert status == "ok" and "answers encoders" in text
        assert swapped[name][0][0] == "failed"


def test_an_unreadable_certificate_fails(doctor, tmp_path):
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("nothing")
    found = doctor("--tls-cert", "cert.pem", "--tls-key", "key.pem")
    assert found["certificate"][0][0] == "failed"
    os.remove(tmp_path / "key.pem")
    assert doctor("--tls-cert", "cert.pem", "--tls-key", "key.pem")["certificate"][0][0] == "failed"
