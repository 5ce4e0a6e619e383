"""Servers on each storage engine, and a fresh account and stage for each test."""

import pytest

from endpoints import endpoints, stage, tenant  # noqa: F401 (fixtures)
from running import engine, new_file, new_store, pytest_pyfunc_call, start_server  # noqa: F401 (fixtures)
from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)


@pytest.fixture(scope="session")
def start_node(start_server, new_store):
    """Starts a server on the current engine, with its own store unless one is given."""
    return lambda *flags, store=None, **env: start_server(store or new_store(), *flags, **env)


@pytest.fixture(scope="session")
def node(start_node):
    """The server that most tests share; sessions end quickly."""
    return start_node("--session-end-seconds", "1")


@pytest.fixture(scope="session")
def impatient_node(start_node):
    """A server with short timeouts."""
    return start_node("--events-timeout-seconds", "2", "--ice-timeout-seconds", "3", "--body-timeout-seconds", "1")
