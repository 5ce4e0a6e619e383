"""Real servers on each storage engine, and a fresh account and stage in one for each test."""

import pytest

from doors import Doors
from running import engine, new_file, new_store, pytest_pyfunc_call, start_server  # noqa: F401 (fixtures)
from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)


@pytest.fixture(scope="session")
def start_node(start_server, new_store):
    """A function that starts a server on the current engine, on a store of its own unless one is named."""
    return lambda *flags, store=None, **env: start_server(store or new_store(), *flags, **env)


@pytest.fixture(scope="session")
def node(start_node):
    """The server that most tests share: it is patient with sockets, and quick to end a session."""
    return start_node("--session-end-seconds", "1")


@pytest.fixture(scope="session")
def hasty(start_node):
    """A server that waits for nobody."""
    return start_node("--events-timeout-seconds", "2", "--ice-timeout-seconds", "3", "--body-timeout-seconds", "1")


@pytest.fixture
def tenant(node):
    """A fresh account."""
    return node.tenant()


@pytest.fixture
def stage(tenant):
    """A stage of that account: its ARN."""
    return tenant.stage()


@pytest.fixture
def doors(tenant, stage):
    """The doors of that stage."""
    return Doors(tenant, stage)
