"""Fixtures of several suites: real servers on each storage engine, and tests that are coroutines."""

import asyncio
import inspect

import pytest

from clients import Server
from leaks import assert_no_secret
from server import MASTER_KEY, Greenroom

# Longer than any test takes on a machine that stalls.
PATIENCE_SECONDS = 600
# Everything that the service writes.
LOG = "trace"


def pytest_pyfunc_call(pyfuncitem):
    """Runs a test that is a coroutine."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), PATIENCE_SECONDS))
    return True


def assert_ended_well(started, end):
    """Asks those programs to end that still run, and asserts that they do so in good order. Whatever was said to any of
    them, no log has a secret."""
    codes = {end(program) for program in started if program.process.poll() is None}
    assert codes <= {0}, [program.logged()[-2000:] for program in started]
    for program in started:
        assert_no_secret(program.logged())
        assert "by a bug" not in program.logged()


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def engine(request):
    return request.param


@pytest.fixture(scope="session")
def new_file(tmp_path_factory):
    """A function that makes an empty store in SQLite, whichever engine is the current one, and answers its URL."""
    return lambda: f"sqlite://{tmp_path_factory.mktemp('store')}/greenroom.db"


@pytest.fixture(scope="session")
def new_store(engine, fresh_postgres, new_file):
    """A function that makes an empty store on the current engine, or the one that is named, and answers its URL."""
    return lambda on=None: fresh_postgres() if (on or engine) == "postgres" else new_file()


@pytest.fixture(scope="session")
def start_server(fresh_postgres, tmp_path_factory):
    """A function that starts a server on a store. Those that still run at the end are asked to end, and must do so in
    good order, before their databases are dropped; whatever was said to any of them, no log has a secret."""
    started = []

    def start(store, *flags, listen="127.0.0.1:0", **env):
        flags = ("--database-url", store, "--media-addr", "127.0.0.1:0", "--shutdown-seconds", "10", *flags)
        if not store.startswith("sqlite:///"):
            # There is no database file beside which recordings could be.
            folder = tmp_path_factory.mktemp("recordings")
            flags = ("--storage", f"folder:{folder}", "--recording-spool-dir", str(folder / "spool"), *flags)
        env = {"RUST_LOG": LOG, "GREENROOM_MASTER_KEY": MASTER_KEY, "GREENROOM_LISTEN": listen, **env}
        program = Greenroom(*flags, **env).serving()
        started.append(program)
        return Server("postgres" if store.startswith("postgres") else "sqlite", program, store)

    yield start
    assert_ended_well(started, Greenroom.end)
