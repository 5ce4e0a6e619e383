"""Servers with the test API on each storage engine, and a fresh account for each test."""

import pytest

from control import Control
from endpoints import endpoints, stage, tenant  # noqa: F401 (fixtures)
from receiver import Receiver, receiver, table, targets  # noqa: F401 (fixtures)
from running import engine, new_file, new_store, pytest_pyfunc_call, start_server  # noqa: F401 (fixtures)
from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)


@pytest.fixture(scope="session")
def start_node(start_server, new_store):
    """Starts a server with the test API on the current engine, with its own store unless one is given."""
    return lambda *flags, store=None, **env: start_server(store or new_store(), "--test-api=on", *flags, **env)


# What the API shows does not depend on when it is asked.
FLAGS = ("--extended-events=on", "--composition-start-seconds=0", "--composition-idle-seconds=86400")


@pytest.fixture(scope="session")
def node(start_node):
    """The server that most tests share. It is never reset as a whole, and its clock runs."""
    return start_node(*FLAGS)


@pytest.fixture
def own_node(start_node):
    """A server of the test's own."""
    return start_node(*FLAGS)


@pytest.fixture
def other(node):
    """Another fresh account."""
    return node.tenant()


@pytest.fixture
def control(tenant):
    """The test API for the fresh account."""
    return Control.of(tenant)


# Servers whose clock is moved


@pytest.fixture(scope="module")
def webhook():
    """The webhook target of `server`."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(start_node, webhook, tmp_path_factory):
    """A server with a webhook target, whose clock the tests of the file move."""
    targets = tmp_path_factory.mktemp("targets") / "targets.toml"
    targets.write_text(table("hook", **webhook.target()))
    return start_node(
        "--extended-events=on", "--events-config", str(targets), "--session-end-seconds", "60",
        "--stream-max-seconds", "3600", "--event-retention-seconds", str(30 * 24 * 3600),
    )  # fmt: skip
