"""Real servers under attack: each test is one client that misuses the service, and one that must not notice."""

import pytest

from endpoints import StageEndpoints
from running import new_file, new_store, pytest_pyfunc_call, start_server  # noqa: F401 (fixtures)
from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)


@pytest.fixture(scope="session")
def engine():
    """The embedded store alone: what is attacked here lies before the store."""
    return "sqlite"


@pytest.fixture
def start_node(start_server, new_store):
    """A function that starts a server on an empty store of its own."""
    return lambda *flags, **env: start_server(new_store(), *flags, **env)


def endpoints_of(server):
    """The participants' endpoints of a new stage, in a fresh account."""
    tenant = server.tenant()
    return StageEndpoints(tenant, tenant.stage())
