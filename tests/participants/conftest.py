"""Real servers on each storage engine, and a fresh account and stage in one for each test."""

import asyncio
import inspect

import pytest

from clients import Server
from doors import Doors
from leaks import assert_no_secret
from server import MASTER_KEY, Greenroom
from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)

# Everything that the service writes; of the media library what is out of order.
LOG = "trace,str0m=warn"


def pytest_pyfunc_call(pyfuncitem):
    """Runs a test that is a coroutine."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), 120))
    return True


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def engine(request):
    return request.param


@pytest.fixture(scope="session")
def new_store(engine, fresh_postgres, tmp_path_factory):
    """A function that makes an empty store on the current engine, and answers its URL."""

    def make():
        return fresh_postgres() if engine == "postgres" else f"sqlite://{tmp_path_factory.mktemp('store')}/greenroom.db"

    return make


@pytest.fixture(scope="session")
def start_server():
    """A function that starts a server on a store. Those that still run at the end are asked to end, and must do so in
    good order; whatever was said to any of them, no log has a secret."""
    started = []

    def start(store, *flags, listen="127.0.0.1:0"):
        flags = ("--database-url", store, "--media-addr", "127.0.0.1:0", "--shutdown-seconds", "10", *flags)
        program = Greenroom(*flags, RUST_LOG=LOG, GREENROOM_MASTER_KEY=MASTER_KEY, GREENROOM_LISTEN=listen).serving()
        started.append(program)
        return Server("postgres" if store.startswith("postgres") else "sqlite", program, store)

    yield start
    codes = {program.end() for program in started if program.process.poll() is None}
    assert codes <= {0}, [program.logged()[-2000:] for program in started]
    for program in started:
        assert_no_secret(program.logged())
        assert "by a bug" not in program.logged()


@pytest.fixture(scope="session")
def start_node(start_server, new_store):
    """A function that starts a server on the current engine, on a store of its own unless one is named."""
    return lambda *flags, store=None: start_server(store or new_store(), *flags)


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
