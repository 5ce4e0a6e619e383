"""One server and one browser for the run; an account, a stage and pages for each test."""

import re

import pytest
from playwright.sync_api import sync_playwright

import browser
from clients import Server
from demo_page import DemoPage
from server import Greenroom
from stores import fresh_postgres, postgres  # noqa: F401 (fixtures)

SIZE = {"width": 1280, "height": 860}
# Time from the last participant's leaving to the end of the session.
SESSION_END_SECONDS = 2


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """The folder of the server's recordings."""
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="session")
def greenroom(recordings):
    """A server on free ports."""
    store = "sqlite::memory:"
    flags = ("--database-url", store, "--media-addr", "127.0.0.1:0", "--session-end-seconds", str(SESSION_END_SECONDS))
    flags += ("--storage", f"folder:{recordings}", "--recording-spool-dir", str(recordings / "spool"))
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
    """The ARN of a stage of that account."""
    return tenant.stage(name="lobby")


@pytest.fixture
def pages(greenroom, chromium, request):
    """Opens pages, each in its own browser context. Fails on console errors; saves screenshots if the test fails."""
    made = []

    def make(name="user"):
        context = chromium.new_context(viewport=SIZE)
        made.append((context, DemoPage(context, greenroom.endpoint, name)))
        return made[-1][1]

    yield make
    if request.node.stash.get(FAILED, False):
        for demo in (demo for _, demo in made if not demo.page.is_closed()):
            save_screenshot(demo, f"failed-{request.node.name}-{demo.name}")
    for context, _ in made:
        context.close()
    console_errors = {demo.name: demo.console_errors for _, demo in made if demo.console_errors}
    assert not console_errors, console_errors


@pytest.fixture
def participant(tenant, stage, pages):
    """A new participant joins the stage in its own page."""

    def join(name, **members):
        token = tenant.token(stage, userId=name, **members)
        demo = pages(name).join(token["token"])
        demo.id, demo.token = token["participantId"], token["token"]
        return demo

    return join


@pytest.fixture
def screenshot():
    """Saves a screenshot of a page."""
    return save_screenshot


def save_screenshot(demo, name):
    browser.ARTIFACTS.mkdir(parents=True, exist_ok=True)
    demo.page.screenshot(path=browser.ARTIFACTS / (re.sub(r"[^\w-]+", "-", name) + ".png"))


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.failed:
        item.stash[FAILED] = True
    return report
