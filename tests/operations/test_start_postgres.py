"""PostgreSQL that a server cannot use at its start: one line each that says what to do, and no password in it."""

from urllib.parse import urlsplit

import psycopg
import pytest

from clusters import free_port, new_cluster  # noqa: F401 (fixture)
from server import MASTER_KEY, run

QUICK = ("--database-acquire-ms", "1000")


def line_of(url, *flags):
    ended = run("--listen", "127.0.0.1:0", *QUICK, *flags, "--database-url", url, GREENROOM_MASTER_KEY=MASTER_KEY)
    assert ended.returncode in (1, 2), ended.stderr
    [line] = ended.stderr.strip().splitlines()
    assert "sesame" not in line
    return line


def test_a_closed_port_is_named(postgres):
    line = line_of(f"postgres://me:open-sesame@127.0.0.1:{free_port()}/green")
    assert "nothing listens there" in line and "start PostgreSQL" in line


def test_a_host_that_does_not_exist_is_named():
    assert "name of the host is not known" in line_of("postgres://me:open-sesame@no-such-host.invalid/green")


def test_a_missing_database_is_named(postgres):
    url = urlsplit(postgres)._replace(path="/no_such_database").geturl()
    line = line_of(url)
    assert "no such database" in line and "createdb" in line


def test_a_wrong_password_is_named(new_cluster):  # noqa: F811
    cluster = new_cluster().make()
    rules = cluster.data / "pg_hba.conf"
    rules.write_text("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    cluster.start()
    with psycopg.connect(cluster.url(), autocommit=True) as conn:
        conn.execute("CREATE USER me PASSWORD 'right'")
    line = line_of(f"postgres://me:open-sesame@127.0.0.1:{cluster.port}/postgres")
    assert "refuses the user or the password" in line and "%40" in line
    # With the right one, the user may still not make tables.
    line = line_of(f"postgres://me:right@127.0.0.1:{cluster.port}/postgres")
    assert "permission denied" in line


@pytest.mark.parametrize("character", ["/", "#", "?", "%"])
def test_an_unencoded_password_is_reported_without_repeating_it(postgres, character):
    line = line_of(f"postgres://me:open{character}sesame@127.0.0.1:{urlsplit(postgres).port}/postgres")
    assert "percent-encoded" in line and "%2F" in line
