"""The file of an embedded store: who may use it, who may read it, and what is said when it is damaged or its disk is full."""

import os
import random
import shutil
import socket
import sqlite3
import stat
import subprocess
import time
from contextlib import closing, contextmanager

import pytest

from server import MASTER_KEY, run

PATIENCE_SECONDS = 30
PAGE_BYTES = 4096


def one_line(ended, *words, code=1):
    """The one line that a program said that did not start; it names all of these."""
    assert ended.returncode == code, (ended.returncode, ended.stderr)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("greenroom: ")]
    assert len(lines) == 1 and "panicked" not in ended.stderr, ended.stderr
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


def start_fails(database, *flags, **env):
    """A server that is expected not to start; one that does is stopped."""
    try:
        return run("--listen", "127.0.0.1:0", "--database-url", database, *flags, **env)
    except subprocess.TimeoutExpired:
        pytest.fail("the server has started")


def until(condition, what, seconds=PATIENCE_SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def readiness(server):
    """The status of `/_greenroom/ready`, and the reasons that it names."""
    answer = server.wire().send("GET", "/_greenroom/ready", signed=False)
    return answer.status, [one["reason"] for one in answer.json.get("reasons", [])]


@pytest.mark.parametrize("way", ["same", "symlink", "symlink-folder", "hard-link", "no-lock-file"])
def test_a_second_server_on_one_file_is_refused_by_whatever_name(start_greenroom, tmp_path, database, way):
    first = start_greenroom("--database-url", database).serving()
    other = tmp_path / "other"
    other.mkdir()
    path = tmp_path / "greenroom.db"
    match way:
        case "symlink":
            (other / "link.db").symlink_to(path)
            path = other / "link.db"
        case "symlink-folder":
            (other / "folder").symlink_to(tmp_path)
            path = other / "folder" / "greenroom.db"
        case "hard-link":
            os.link(path, other / "hard.db")
            path = other / "hard.db"
        case "no-lock-file":
            (tmp_path / "greenroom.db.lock").unlink(missing_ok=True)
    line = one_line(start_fails(f"sqlite://{path}", GREENROOM_MASTER_KEY=MASTER_KEY), "--database-url")
    assert str(path.resolve()) in line
    assert first.create_stage()


def test_a_file_with_two_names_is_refused_also_to_commands(start_greenroom, tmp_path, database):
    server = start_greenroom("--database-url", database).serving()
    os.link(tmp_path / "greenroom.db", tmp_path / "hard.db")
    ended = run("credentials", "list", "--database-url", f"sqlite://{tmp_path}/hard.db")
    one_line(ended, "hard.db", "2 names", "remove")
    assert not (tmp_path / "hard.db-wal").exists()
    (tmp_path / "hard.db").unlink()
    assert run("credentials", "list", "--database-url", database).returncode == 0
    assert server.create_stage()


def test_commands_beside_a_server_work_and_the_file_is_free_after_it(start_greenroom, tmp_path, database):
    server = start_greenroom("--database-url", database).serving()
    (tmp_path / "link.db").symlink_to(tmp_path / "greenroom.db")
    (tmp_path / "link.db.key").symlink_to(tmp_path / "greenroom.db.key")
    for url in (database, f"sqlite://{tmp_path}/link.db"):
        made = run("credentials", "create", "--account", "210000000001", "--database-url", url)
        assert made.returncode == 0, made.stderr
    assert len(run("credentials", "list", "--database-url", database).stdout.splitlines()) == 2
    assert server.end() == 0
    assert start_greenroom("--database-url", f"sqlite://{tmp_path}/link.db").serving().create_stage()


def test_every_file_of_a_store_is_for_its_owner_alone(start_greenroom, tmp_path, database):
    mask = os.umask(0o022)
    try:
        start_greenroom("--database-url", database).serving().create_stage()
    finally:
        os.umask(mask)
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.iterdir()}
    assert modes.keys() >= {"greenroom.db", "greenroom.db-wal", "greenroom.db-shm", "greenroom.db.key"}, modes
    assert set(modes.values()) == {"0o600"}, modes


# Damage


def filled(start_greenroom, database, stages=300):
    """A store with some pages, whose server has ended."""
    server = start_greenroom("--database-url", database, "--sqlite-synchronous", "off", "--quotas", "stages=unlimited")
    wire = server.serving().wire()
    for number in range(stages):
        assert wire.call("CreateStage", {"name": f"stage-{number}-{'x' * 90}"}).status == 200
    assert server.end() == 0


def damage(path, kind):
    """Damages a file as a disk, a copy or a backup tool does."""
    size, rng = path.stat().st_size, random.Random(kind)
    with open(path, "r+b") as file:
        match kind:
            case "header":
                file.write(rng.randbytes(100))
            case "empty-header":
                file.write(bytes(100))
            case "truncated":
                file.truncate(size // 2 // PAGE_BYTES * PAGE_BYTES)
            case "cut-in-a-page":
                file.truncate(size - 1000)
            case "text":
                file.truncate(0)
                file.write(b"this is no database\n" * 500)
            case "zeros":
                for page in range(2, size // PAGE_BYTES - 1, 3):
                    file.seek(page * PAGE_BYTES)
                    file.write(bytes(PAGE_BYTES))
            case "garbage":
                for page in range(2, size // PAGE_BYTES - 1, 3):
                    file.seek(page * PAGE_BYTES)
                    file.write(rng.randbytes(PAGE_BYTES))
            case "page-headers":
                for page in range(2, size // PAGE_BYTES):
                    file.seek(page * PAGE_BYTES)
                    file.write(rng.randbytes(12))
            case "swapped":
                pages = list(range(2, size // PAGE_BYTES))
                contents = []
                for page in pages:
                    file.seek(page * PAGE_BYTES)
                    contents.append(file.read(PAGE_BYTES))
                for page, content in zip(pages, reversed(contents), strict=True):
                    file.seek(page * PAGE_BYTES)
                    file.write(content)
            case "schema":
                file.seek(100)
                file.write(rng.randbytes(PAGE_BYTES - 100))


@pytest.mark.parametrize(
    "kind",
    ["header", "empty-header", "truncated", "cut-in-a-page", "text", "zeros", "garbage", "page-headers", "swapped", "schema"],
)
def test_a_damaged_file_stops_the_start_with_one_line_that_says_what_to_do(start_greenroom, tmp_path, database, kind):
    filled(start_greenroom, database)
    path = tmp_path / "greenroom.db"
    damage(path, kind)
    before = path.read_bytes()
    one_line(start_fails(database), str(path), "damaged", "greenroom import", ".recover", "--database-check=off")
    assert path.read_bytes() == before, "it is left unchanged for recovery"


def test_the_log_of_a_damaged_file_is_left_as_it_was(start_greenroom, tmp_path, database):
    """After a crash, the log has what was written last."""
    filled(start_greenroom, database)
    path, copy = tmp_path / "greenroom.db", tmp_path / "crashed.db"
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TABLE beside (x)")
        conn.commit()
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    damage(copy, "garbage")
    files = [copy, tmp_path / "crashed.db-wal"]
    before = [file.read_bytes() for file in files]
    assert all(before)
    one_line(start_fails(f"sqlite://{copy}"), "damaged")
    assert [file.read_bytes() for file in files] == before


def test_the_check_can_be_left_out(start_greenroom, tmp_path, database):
    filled(start_greenroom, database)
    with closing(sqlite3.connect(tmp_path / "greenroom.db")) as conn:
        [(root,)] = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'tombstones' OR name LIKE 'compositions'")
    with open(tmp_path / "greenroom.db", "r+b") as file:
        file.seek((root - 1) * PAGE_BYTES)
        file.write(bytes([255]) * PAGE_BYTES)
    one_line(start_fails(database), "damaged")
    server = start_greenroom("--database-url", database, "--database-check", "off").serving()
    assert server.wire().call("ListStages").status == 200
    ended = run("--database-check", "sometimes", "--database-url", database)
    assert ended.returncode == 2 and "--database-check" in ended.stderr


def test_a_page_that_is_damaged_later_is_one_500_one_line_and_not_ready(start_greenroom, tmp_path, database):
    filled(start_greenroom, database)
    path = tmp_path / "greenroom.db"
    with closing(sqlite3.connect(path)) as conn:
        [(root,)] = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'stages'").fetchall()
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    server = start_greenroom("--database-url", database, "--quotas", "stages=unlimited").serving()
    assert readiness(server) == (200, [])
    with open(path, "r+b") as file:
        file.seek((root - 1) * PAGE_BYTES)
        file.write(bytes([255]) * PAGE_BYTES)
    # What is in the cache is dropped once something was written by another process.
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TABLE beside (x)")
        conn.commit()
    statuses = [server.wire().send("POST", "/ListStages", b"{}").status for _ in range(5)]
    assert statuses == [500, 503, 503, 503, 503]
    assert readiness(server) == (503, ["database-damaged"])
    for message in ('"database is damaged: ', "request failed"):
        assert server.wait_for_log(message).count(message) == 1
    assert server.wire().send("GET", "/_greenroom/health", signed=False).status == 200


# A full disk


@contextmanager
def small_disk(folder, size="3m"):
    """A file system with little room."""
    folder.mkdir()
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    options = f"size={size},uid={os.geteuid()}"
    if shutil.which("mount") is None or (as_root and shutil.which("sudo") is None):
        pytest.skip("no small file system can be made here")
    mounted = subprocess.run([*as_root, "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no small file system can be made here: that takes root, or sudo without a password")
    try:
        yield folder
    finally:
        subprocess.run([*as_root, "umount", "--lazy", folder], check=True)


def fill_up(folder, leave=0):
    """Takes the room that is left, but for some bytes."""
    filler, written = folder / "filler", 0
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                written += file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, written - leave))
    return filler


def test_a_full_disk_is_503_and_not_ready_until_there_is_room_again(start_greenroom, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        flags = ("--database-url", f"sqlite://{disk}/greenroom.db", "--database-min-free-mb", "0", "--node-lease-seconds", "2")
        server = start_greenroom(*flags, "--quotas", "stages=unlimited", GREENROOM_MASTER_KEY=MASTER_KEY).serving()
        wire = server.wire()
        assert wire.call("CreateStage").status == 200
        filler = fill_up(disk)
        # The log has room that it reuses: more is written than that.
        statuses = []
        until(lambda: statuses.append(wire.call("CreateStage", {"name": "x" * 128}).status) or 503 in statuses, statuses)
        assert set(statuses) <= {200, 503}
        assert wire.call("ListStages").status == 200
        until(lambda: readiness(server) == (503, ["database-not-writable"]), readiness(server))
        filler.unlink()
        until(lambda: readiness(server) == (200, []), readiness(server))
        assert wire.call("CreateStage").status == 200
        assert server.end() == 0
        log = server.logged()
        assert "database cannot be written" in log and "database can be written again" in log
        assert "request failed" not in log


def test_little_free_space_is_not_ready(start_greenroom, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        flags = ("--database-url", f"sqlite://{disk}/greenroom.db", "--database-min-free-mb", "1")
        server = start_greenroom(*flags, GREENROOM_MASTER_KEY=MASTER_KEY).serving()
        assert readiness(server) == (200, [])
        filler = fill_up(disk, leave=500_000)
        assert readiness(server) == (503, ["disk-space-low"])
        filler.unlink()
        assert readiness(server) == (200, [])
        assert server.wait_for_log("ready again").count('"not ready"') == 1


@pytest.mark.parametrize("new", [True, False], ids=["new-store", "old-store"])
def test_a_start_on_a_full_disk_says_so_and_leaves_nothing(start_greenroom, tmp_path, new):
    with small_disk(tmp_path / "disk") as disk:
        database = f"sqlite://{disk}/greenroom.db"
        if not new:
            assert start_greenroom("--database-url", database, GREENROOM_MASTER_KEY=MASTER_KEY).serving().end() == 0
        before = {path.name for path in disk.iterdir()} | {"filler"}
        fill_up(disk)
        ended = start_fails(database, GREENROOM_MASTER_KEY=MASTER_KEY)
        one_line(ended, "disk", "full", "free some space")
        assert {path.name for path in disk.iterdir()} - {"greenroom.db-wal", "greenroom.db-shm"} == before


# Starts that fail, and commands that read


def test_a_start_that_fails_leaves_no_files(tmp_path, database, start_greenroom):
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        address, media = (f"127.0.0.1:{one.getsockname()[1]}" for one in (taken, udp))
        for flags, flag in (
            (("--listen", address), "--listen"),
            (("--listen", "127.0.0.1:0", "--media-addr", media), "--media-addr"),
            (("--listen", "127.0.0.1:0", "--metrics-listen", address), "--metrics-listen"),
        ):
            one_line(run(*flags, "--database-url", database), flag, "another program uses this port")
            assert os.listdir(tmp_path) == []
    # After the store was made: its key file cannot be.
    (tmp_path / "greenroom.db.key").mkdir()
    ended = start_fails(database)
    assert len(ended.stderr.strip().splitlines()) == 1
    assert os.listdir(tmp_path) == ["greenroom.db.key"]


READS = [
    ("credentials", "list"),
    ("credentials", "show", "AKIAIOSFODNN7EXAMPLE"),
    ("credentials", "disable", "AKIAIOSFODNN7EXAMPLE"),
    ("credentials", "delete", "AKIAIOSFODNN7EXAMPLE"),
    ("keys", "rotate"),
    ("events", "targets"),
    ("events", "dead", "--target", "target"),
    ("events", "forget", "--target", "target"),
]


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_commands_about_a_store_make_none(tmp_path, database, fresh_postgres, command):
    one_line(run(*command, "--database-url", database), "there is no greenroom store", "greenroom.db", "migrate", code=2)
    assert os.listdir(tmp_path) == []
    ended = run(*command, "--database-url", fresh_postgres(), GREENROOM_MASTER_KEY=MASTER_KEY)
    one_line(ended, "there is no greenroom store", "migrate", code=2)


def test_a_store_of_a_newer_version_is_refused_and_left_alone(start_greenroom, tmp_path, database):
    assert start_greenroom("--database-url", database).serving().end() == 0
    path = tmp_path / "greenroom.db"
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'x', 1, x'00', 1)"
        )
        conn.commit()
    for ended in (start_fails(database), run("credentials", "list", "--database-url", database)):
        one_line(ended, "newer greenroom", "999", "run that version")
    assert path.exists()
