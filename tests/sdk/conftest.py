"""One server per storage engine for the whole run, and a fresh account in it for each test."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from clients import Server
from leaks import assert_no_secret
from server import MASTER_KEY, Greenroom, TestServer
from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)

SMALL_QUOTAS = (
    "stages=2,public-keys=1,encoder-configurations=2,storage-configurations=2,"
    "ingest-configurations=2,compositions=2,compositions-per-stage=1,participant-replicas=1"
)

# The clock of a server under test stands still or is moved by days, and the signatures of its clients are of today.
ANY_CLOCK = ("--clock-skew-seconds", "1000000000")

# hypothesis keeps notes of its own, which do not belong beside the tests.
set_hypothesis_home_dir(os.path.join(tempfile.gettempdir(), "greenroom-hypothesis"))


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def engine(request):
    return request.param


@pytest.fixture(scope="session")
def start_test_server(engine, fresh_postgres, tmp_path_factory):
    """A function that starts a server on the current engine with further flags; all are stopped at the end."""
    running = []

    def start(*flags):
        if engine == "sqlite":
            url = f"sqlite://{tmp_path_factory.mktemp('store')}/greenroom.db"
        else:
            url = fresh_postgres()
        skew = () if "--clock-skew-seconds" in flags else ANY_CLOCK
        test_server = TestServer("--database-url", url, *skew, *flags, GREENROOM_MASTER_KEY=MASTER_KEY, RUST_LOG="trace")
        running.append(test_server)
        return Server(engine, test_server, url)

    yield start
    codes = [test_server.stop() for test_server in running]
    assert codes == [0] * len(codes), [test_server.logged()[-2000:] for test_server in running]
    # Whatever the whole suite has sent and been answered: the fullest log has no secret in it.
    for test_server in running:
        assert_no_secret(test_server.logged())


@pytest.fixture(scope="session")
def greenroom(start_test_server):
    """The server that most tests share, with the default quotas."""
    return start_test_server()


@pytest.fixture(scope="session")
def frugal(start_test_server):
    """A server with the smallest quotas that can still be filled."""
    return start_test_server("--quotas", SMALL_QUOTAS)


@pytest.fixture
def tenant(greenroom):
    """A fresh account in us-east-1."""
    return greenroom.tenant()


@pytest.fixture
def ivs(tenant):
    """The boto3 client of the fresh account."""
    return tenant.ivs


@pytest.fixture
def frugal_tenant(frugal):
    """A fresh account on the server with small quotas."""
    return frugal.tenant()


@pytest.fixture
def database(tmp_path):
    """The address of an embedded store of the test's own."""
    return f"sqlite://{tmp_path}/greenroom.db"


@pytest.fixture
def store(engine, database, fresh_postgres):
    """The address of a store of the test's own, of either engine."""
    return database if engine == "sqlite" else fresh_postgres()


@pytest.fixture
def start_greenroom():
    """A function that starts the real server; whatever still runs at the end of the test is killed."""
    running = []

    def start(*flags, **env):
        program = Greenroom(*flags, **env)
        running.append(program)
        return program

    yield start
    for program in running:
        program.kill()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Puts the coverage test of each engine after all other tests, and drops it when only a part of the suite runs."""
    last = [item for item in items if item.path.name == "test_coverage.py"]
    files = {item.path for item in items}
    whole = files >= set(Path(__file__).parent.glob("test_*.py"))
    narrowed = config.option.keyword or config.option.markexpr or any("::" in arg for arg in config.args)
    items[:] = [item for item in items if item not in last]
    if whole and not narrowed:
        items.extend(last)
    else:
        config.hook.pytest_deselected(items=last)
