"""Servers on each storage engine, test servers with a controllable clock, and webhook receivers."""

from contextlib import ExitStack

import pytest

from clients import Server
from receiver import Receiver, receiver, targets  # noqa: F401 (fixtures)
from running import assert_ended_well, engine, new_file, new_store, start_server  # noqa: F401 (fixtures)
from server import MASTER_KEY, TestServer
from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)

# Test servers have a stopped or advanced clock; clients sign requests with the current time.
ANY_CLOCK = ("--clock-skew-seconds", "1000000000")


@pytest.fixture(scope="session")
def start_test_server(engine, new_store):
    """A function that starts a test server, on a new store unless one is given. Servers that still run after the tests are
    stopped, and must stop gracefully."""
    started = []

    def start(*flags, store=None):
        store = store or new_store()
        flags = ("--database-url", store, *ANY_CLOCK, *flags)
        test_server = TestServer(*flags, GREENROOM_MASTER_KEY=MASTER_KEY, RUST_LOG="trace")
        started.append(test_server)
        return Server(engine, test_server, store)

    yield start
    assert_ended_well(started, TestServer.stop)


@pytest.fixture
def receivers():
    """A function that starts more receivers."""
    with ExitStack() as stack:
        yield lambda **members: stack.enter_context(Receiver(**members))
