"""pgbouncer, as an operator runs it in front of PostgreSQL."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from clusters import free_port, unprivileged, until


class Pooler:
    """A pgbouncer in transaction mode with `size` connections to the server for everybody together."""

    def __init__(self, program, folder, cluster, size):
        self.port, as_whom = free_port(), unprivileged()
        (folder / "users").write_text('"postgres" ""\n')
        (folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host=127.0.0.1 port={cluster.port}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder}/users\nadmin_users = postgres\n"
            f"pool_mode = transaction\ndefault_pool_size = {size}\nmax_client_conn = 500\n"
            f"logfile = {folder}/log\n"
        )
        if as_whom:
            for path in (folder, folder / "users", folder / "pgbouncer.ini"):
                os.chown(path, as_whom["user"], as_whom["group"])
        self.process = subprocess.Popen(
            [program, "-q", folder / "pgbouncer.ini"], stdin=subprocess.DEVNULL, start_new_session=True, **as_whom
        )
        until(self.answers, lambda: (folder / "log").read_text()[-2000:])

    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def answers(self):
        try:
            self.show("VERSION")
        except psycopg.OperationalError:
            return False
        return True

    def show(self, what):
        """What it says of itself: a list of dictionaries."""
        console = f"postgres://postgres@127.0.0.1:{self.port}/pgbouncer"
        with psycopg.connect(console, autocommit=True, cursor_factory=psycopg.ClientCursor) as conn:
            cursor = conn.execute(f"SHOW {what}")
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row)) for row in cursor.fetchall()] if names else []

    def end(self):
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def new_pooler():
    """A function that puts a pooler in front of a server."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("there is no pgbouncer here, and CI tests with it (Debian: pgbouncer)")
    if program is None:
        pytest.skip("there is no pgbouncer here (Debian: pgbouncer)")
    made = []

    def make(cluster, size):
        folder = Path(tempfile.mkdtemp())
        made.append((Pooler(program, folder, cluster, size), folder))
        return made[-1][0]

    yield make
    for pooler, folder in made:
        pooler.end()
        shutil.rmtree(folder, ignore_errors=True)
