"""A Postgres to test against, and databases of their own in it."""

import os
import uuid
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest


@pytest.fixture(scope="session")
def postgres():
    """The Postgres to test against. Its absence is a failure in CI, where no engine may go untested."""
    url = os.environ.get("GREENROOM_TEST_POSTGRES")
    if url is None and os.environ.get("CI") == "true":
        pytest.fail("GREENROOM_TEST_POSTGRES names no Postgres, and CI tests every engine")
    if url is None:
        pytest.skip("GREENROOM_TEST_POSTGRES names no Postgres (postgres://user@host:port/database)")
    return url


@pytest.fixture(scope="session")
def fresh_postgres(request):
    """A function that makes a database of its own for each caller; all are dropped at the end."""
    made = []

    def make():
        url = request.getfixturevalue("postgres")
        name = f"greenroom_test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        made.append((url, name))
        return urlsplit(url)._replace(path=f"/{name}").geturl()

    yield make
    for url, name in made:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def outage(postgres, database):
    """No connection to the database lives, and no new one is let in."""
    name = name_of(database)
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        cut_off(admin, name)
        yield
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def name_of(database):
    return urlsplit(database).path.removeprefix("/")


def cut_off(admin, name):
    admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name])
