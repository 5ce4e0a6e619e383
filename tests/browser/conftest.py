"""One server and one browser for the whole run; for each test an account, a stage, and as many pages as it needs."""

import re

import pytest
from playwright.sync_api import sync_playwright

import browser
from clients import Server
from demo import Demo
from server import Greenroom
from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)

SIZE = {"width": 1280, "height": 860}
# A session ends so long after its last participant has left.
SESSION_END_SECONDS = 2


@pytest.fixture(scope="session")
def greenroom():
    """The real server, on ports of its own."""
    store = "sqlite::memory:"
    flags = ("--database-url", store, "--media-addr", "127.0.0.1:0", "--session-end-seconds", str(SESSION_END_SECONDS))
    program = Greenroom(*flags, RUST_LOG="greenroom=debug").serving()
    yield Server("sqlite", program, store)
    code = program.end()
    browser.ARTIFACTS.mkdir(parents=True, exist_ok=True)
    (browser.ARTIFACTS / "browser-server.log").write_text(program.logged())
    assert code == 0, program.logged()[-3000:]


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser.executable(), args=browser.FLAGS)
        yield running
        running.close()


@pytest.fixture
def tenant(greenroom):
    """A fresh account."""
    return greenroom.tenant()


@pytest.fixture
def stage(tenant):
    """A stage of that account: its ARN."""
    return tenant.stage(name="lobby")


@pytest.fixture
def pages(greenroom, chromium, request):
    """Makes pages, each in a profile of its own. None may complain; all are kept as pictures if the test fails."""
    made = []

    def make(name="somebody"):
        context = chromium.new_context(viewport=SIZE)
        made.append((context, Demo(context, greenroom.endpoint, name)))
        return made[-1][1]

    yield make
    if request.node.stash.get(FAILED, False):
        for demo in (demo for _, demo in made if not demo.page.is_closed()):
            shoot(demo, f"failed-{request.node.name}-{demo.name}")
    for context, _ in made:
        context.close()
    complaints = {demo.name: demo.complaints for _, demo in made if demo.complaints}
    assert not complaints, complaints


@pytest.fixture
def participant(tenant, stage, pages):
    """Somebody new joins the stage in a page of their own."""

    def join(name, **members):
        token = tenant.token(stage, userId=name, **members)
        demo = pages(name).join(token["token"])
        demo.id, demo.token = token["participantId"], token["token"]
        return demo

    return join


@pytest.fixture
def picture():
    """Takes a picture of a page, which is kept."""
    return shoot


def shoot(demo, name):
    browser.ARTIFACTS.mkdir(parents=True, exist_ok=True)
    demo.page.screenshot(path=browser.ARTIFACTS / (re.sub(r"[^\w-]+", "-", name) + ".png"))


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.failed:
        item.stash[FAILED] = True
    return report
