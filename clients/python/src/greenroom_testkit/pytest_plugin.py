"""Fixtures for pytest: a server for the session, an account of its own for each test.

With pytest-xdist each worker starts its own server, so that a test can move the clock. With `--greenroom-shared` the
workers share one server, which the main process starts; the clock of a shared server cannot be moved.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from .client import Greenroom
from .credentials import Credentials
from .errors import GreenroomError
from .process import last_lines
from .server import DEFAULT_REGION, Server

JOURNAL_ENTRIES = 20
SHARED = pytest.StashKey[Server]()
LOG_START = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("greenroom", "greenroom, a server of Amazon IVS Real-Time")
    group.addoption("--greenroom-endpoint", metavar="URL", help="use a server that runs (default: GREENROOM_ENDPOINT)")
    group.addoption("--greenroom-bin", metavar="FILE", help="the server's program (default: GREENROOM_BIN, PATH)")
    group.addoption("--greenroom-image", metavar="IMAGE", help="start a container of this image (default: GREENROOM_IMAGE)")
    group.addoption("--greenroom-region", metavar="REGION", default=DEFAULT_REGION, help="default: %(default)s")
    group.addoption(
        "--greenroom-shared",
        action="store_true",
        help="one server for all workers of pytest-xdist, instead of one each",
    )
    group.addoption(
        "--greenroom-exclusive",
        action="store_true",
        help="no other test uses the server of --greenroom-endpoint: tests may move its clock",
    )
    parser.addini("greenroom_arguments", "further flags of the server", type="args", default=[])


def start_server(config: pytest.Config) -> Server:
    """The server of the options. Under `--greenroom-shared` that of the main process."""
    shared: dict[str, str] | None = getattr(config, "workerinput", {}).get("greenroom")
    if shared:
        key = Credentials(shared["key"], shared["secret"]) if shared["key"] else None
        return Server(shared["endpoint"], region=shared["region"], credentials=key, exclusive=False)
    option = config.getoption
    return Server.start(
        endpoint=option("--greenroom-endpoint"),
        binary=option("--greenroom-bin"),
        image=option("--greenroom-image"),
        region=option("--greenroom-region"),
        arguments=config.getini("greenroom_arguments"),
        exclusive=True if option("--greenroom-exclusive") else None,
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Of pytest-xdist, in the main process: tells a new worker which server to use."""
    config: pytest.Config = node.config
    if not config.getoption("--greenroom-shared"):
        return
    if SHARED not in config.stash:
        config.stash[SHARED] = start_server(config)
    server = config.stash[SHARED]
    key = server.credentials
    node.workerinput["greenroom"] = {
        "endpoint": server.endpoint,
        "region": server.region,
        "key": key.access_key_id if key else "",
        "secret": key.secret_access_key if key else "",
    }


def pytest_unconfigure(config: pytest.Config) -> None:
    if server := config.stash.get(SHARED, None):
        server.stop()


@pytest.fixture(scope="session")
def greenroom_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    """A server for the session."""
    server = start_server(pytestconfig)
    yield server
    server.stop()


@pytest.fixture
def greenroom(greenroom_server: Server, request: pytest.FixtureRequest) -> Iterator[Greenroom]:
    """The control client of a new account. At the end the clock resumes, and the account is reset."""
    request.node.stash[LOG_START] = greenroom_server.log_mark()
    client = greenroom_server.isolated()
    yield client
    client.clock._resume_if_changed()
    client.reset()


@pytest.fixture
def ivs(greenroom: Greenroom) -> Any:
    """The boto3 client `ivs-realtime` of the test's account."""
    return greenroom.client("ivs-realtime")


@pytest.fixture
def greenroom_environment(greenroom: Greenroom, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Directs programs that read AWS's environment variables to the test's account, for the time of the test."""
    # The default session of boto3 has the credentials of the first test.
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    settings = greenroom.environment()
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Attaches the last calls and the log of the server to the report of a failed test."""
    outcome = yield
    report = outcome.get_result()
    used: dict[str, Any] = getattr(item, "funcargs", {})
    client = used.get("greenroom")
    if report.when == "teardown" or not report.failed or not isinstance(client, Greenroom):
        return
    report.sections.append((f"greenroom: last calls of account {client.account}", journal_of(client)))
    server = used.get("greenroom_server") or item._request.getfixturevalue("greenroom_server")  # type: ignore[attr-defined]
    try:
        log = server.log(item.stash.get(LOG_START, 0))
    except GreenroomError as error:
        log = f"the log cannot be read: {error}"
    if log:
        report.sections.append(("greenroom: log of the server during the test", last_lines(log)))


def journal_of(client: Greenroom) -> str:
    """The last calls as text."""
    try:
        entries = client.journal.last(JOURNAL_ENTRIES)
    except GreenroomError as error:
        return f"the journal cannot be read: {error}"
    return "\n".join(map(str, entries)) or "no calls"
