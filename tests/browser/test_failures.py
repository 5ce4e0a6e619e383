"""The page's reports of failed media connections and of a reused token."""

import re

import pytest

from clients import Server
from demo_page import DemoPage
from server import Greenroom

# The discard port of this machine, where nothing answers.
UNREACHABLE = "127.0.0.1 9"


@pytest.fixture(scope="module")
def short_timeout_server():
    """A server with a media timeout of six seconds, and without TCP, which would be another way to it."""
    flags = ("--database-url", "sqlite::memory:", "--media-addr", "127.0.0.1:0", "--media-tcp-addr", "off", "--ice-timeout-seconds", "6")
    program = Greenroom(*flags, RUST_LOG="greenroom=debug").serving()
    yield Server("sqlite", program, "sqlite::memory:")
    assert program.end() == 0, program.logged()[-3000:]


def misdirect(route):
    """Replaces the candidates of an answer by an unreachable one."""
    if route.request.method != "POST":
        return route.continue_()
    response = route.fetch()
    sdp = re.sub(r"(a=candidate:\S+ \d+ udp \d+) \S+ \d+ ", rf"\g<1> {UNREACHABLE} ", response.text())
    route.fulfill(response=response, body=sdp)


def test_an_unreachable_media_address_is_reported_with_what_to_check(short_timeout_server, chromium):
    tenant = short_timeout_server.tenant()
    context = chromium.new_context()
    demo = DemoPage(context, short_timeout_server.endpoint, "alice").join(tenant.token(tenant.stage())["token"])
    demo.page.route("**/whip/**", misdirect)
    demo.page.get_by_label("Send", exact=True).select_option("pattern")
    demo.click_button("Publish")
    state = demo.page.locator("#tiles .mine .state")
    demo.until("document.querySelector('#tiles .mine .state')?.textContent.includes('no answer')")
    assert state.inner_text() == "connecting… no answer from 127.0.0.1:9 (UDP) yet"
    code, text = demo.error()
    assert code == "ICE_FAILED"
    assert "--media-public-ip" in text and "firewall" in text
    demo.ended()
    assert demo.evaluate("greenroom.phase") == "joined", "the page stays on the stage"
    demo.until("greenroom.publication === null")
    context.close()


def test_a_second_page_with_the_same_token_replaces_the_first(participant, pages):
    first = participant("alice")
    second = pages("alice-again").join(first.token)
    closed = first.closed()
    assert (closed["code"], closed["reason"]) == (4403, "TOKEN_REUSED")
    assert first.error()[0] == "TOKEN_REUSED"
    second.until(f"greenroom.participants.length === 1 && greenroom.participants[0].id === '{first.id}'")
    # If the first page reconnected, the server would close the second one within a second.
    with pytest.raises(AssertionError):
        second.until("greenroom.closed", seconds=3)
    assert second.evaluate("greenroom.phase") == "joined" and first.evaluate("greenroom.phase") == "left"
