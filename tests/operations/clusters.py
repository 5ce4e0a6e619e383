"""PostgreSQL servers of a test's own, which it may stop, kill and promote; what stands between them and greenroom."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

PATIENCE_SECONDS = 180


def server_programs():
    """The folder of the newest server programs, which Debian keeps off the PATH. CI has them, or fails."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    found = folders[-1] if folders else shutil.which("initdb")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("there are no PostgreSQL server programs here, and CI tests every engine")
    if found is None:
        pytest.skip("there are no PostgreSQL server programs here (Debian: postgresql)")
    return Path(found).resolve().parent


def unprivileged():
    """PostgreSQL refuses to run as root: whom to run it as, as `subprocess` wants to be told."""
    if os.geteuid() != 0:
        return {}
    names = {user.pw_name for user in pwd.getpwall()}
    user = pwd.getpwnam(next(name for name in ("postgres", "nobody") if name in names))
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def until(condition, what, seconds=PATIENCE_SECONDS):
    """Waits for a condition, and answers how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


class Cluster:
    """One PostgreSQL server with its files. Nothing is written through to the disk: the machine does not crash."""

    def __init__(self, folder, port=None):
        self.programs, self.as_whom = server_programs(), unprivileged()
        self.port, self.process = port or free_port(), None
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.data = self.folder / "data"
        if self.as_whom:
            os.chown(self.folder, self.as_whom["user"], self.as_whom["group"])

    def url(self, port=None):
        return f"postgres://postgres@127.0.0.1:{port or self.port}/postgres"

    def run(self, program, *arguments):
        command = [self.programs / program, *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, **self.as_whom)
        assert done.returncode == 0, done.stdout + done.stderr

    def make(self):
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        with open(self.data / "pg_hba.conf", "a") as rules:
            rules.write("host replication all 127.0.0.1/32 trust\n")
        return self

    def copy_of(self, primary, name):
        """A standby of `primary` that is called `name`."""
        self.run("pg_basebackup", "-D", self.data, "-d", primary.url() + f"?application_name={name}", "-R", "-X", "stream",
                 "-c", "fast", "--no-sync")
        return self

    def start(self):
        """Starts it, and waits until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "max_connections": 100,
            "wal_level": "replica",
            "hot_standby": "on",
        }
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [self.programs / "postgres", "-D", self.data, *flags],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            **self.as_whom,
        )
        until(self.answers, lambda: (self.folder / "log").read_text()[-2000:])
        return self

    def answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, text, *values):
        with psycopg.connect(self.url(), autocommit=True, connect_timeout=5) as conn:
            cursor = conn.execute(text, values)
            return cursor.fetchall() if cursor.description else None

    def stop(self):
        """Has it end its connections and stop."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE_SECONDS)

    def kill(self):
        """Kills every process of it at once, as a power cut would."""
        self.signal_all(signal.SIGSTOP)
        self.signal_all(signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)

    def freeze(self):
        """Stops every process of it where it is: connections stay open and unanswered, as when a host is gone."""
        self.signal_all(signal.SIGSTOP)

    def thaw(self):
        self.signal_all(signal.SIGCONT)

    def signal_all(self, number):
        """To the first of its processes, and to each of those that it has made: they are in groups of their own."""
        for process in [self.process.pid, *self.children()]:
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def children(self):
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(FileNotFoundError, ProcessLookupError):
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                found += [int(folder.name)] * (parent == self.process.pid)
        return found

    def remove(self):
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def new_cluster():
    """A function that makes the files of a server; all are gone at the end."""
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o711)
    made = []

    def make(**options):
        made.append(Cluster(folder, **options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.remove()
    shutil.rmtree(folder, ignore_errors=True)


class Address:
    """An address that stands for the server in office, as a virtual IP or a load balancer's does."""

    def __init__(self, port):
        self.target, self.open = port, set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                return
            server.settimeout(None)
            with server:
                other = threading.Thread(target=pump, args=(server, client), daemon=True)
                other.start()
                pump(client, server)
                other.join()

    def moves_to(self, port):
        self.target = port

    def close(self):
        self.listener.close()


def pump(source, sink):
    """Hands bytes on until one side ends, then ends the other."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@contextmanager
def address_of(cluster):
    address = Address(cluster.port)
    try:
        yield address
    finally:
        address.close()
