"""Servers under attack: in each test one client misuses the service, and others must not be affected."""

import pytest

from endpoints import StageEndpoints
from running import new_file, new_store, pytest_pyfunc_call, start_server  # noqa: F401 (fixtures)
from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)


@pytest.fixture(scope="session")
def engine():
    """SQLite only: the attacks do not reach the store."""
    return "sqlite"


@pytest.fixture
def start_node(start_server, new_store):
    """A function that starts a server on a new store."""
    return lambda *flags, **env: start_server(new_store(), *flags, **env)


def endpoints_of(server):
    """The endpoints of a new stage in a new account."""
    tenant = server.tenant()
    return StageEndpoints(tenant, tenant.stage())
