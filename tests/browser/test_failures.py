"""What the page says when media do not come about, and when somebody else uses its token."""

import re

import pytest

from clients import Server
from demo import Demo
from server import Greenroom

# The discard port of this machine: nothing answers there, as at a media address that clients cannot reach.
NOWHERE = "127.0.0.1 9"


@pytest.fixture(scope="module")
def impatient():
    """A server that gives media connections up after six seconds."""
    flags = ("--database-url", "sqlite::memory:", "--media-addr", "127.0.0.1:0", "--ice-timeout-seconds", "6")
    program = Greenroom(*flags, RUST_LOG="greenroom=debug").serving()
    yield Server("sqlite", program, "sqlite::memory:")
    assert program.end() == 0, program.logged()[-3000:]


def misdirect(route):
    """Answers an offer with a candidate where nobody is."""
    if route.request.method != "POST":
        return route.continue_()
    response = route.fetch()
    sdp = re.sub(r"(a=candidate:\S+ \d+ udp \d+) \S+ \d+ ", rf"\g<1> {NOWHERE} ", response.text())
    route.fulfill(response=response, body=sdp)


def test_a_media_address_that_cannot_be_reached_is_named_with_what_to_check(impatient, chromium):
    tenant = impatient.tenant()
    context = chromium.new_context()
    demo = Demo(context, impatient.endpoint, "alice").join(tenant.token(tenant.stage())["token"])
    demo.page.route("**/whip/**", misdirect)
    demo.page.get_by_label("Send", exact=True).select_option("pattern")
    demo.press("Publish")
    state = demo.page.locator("#tiles .mine .state")
    demo.until("document.querySelector('#tiles .mine .state')?.textContent.includes('no answer')")
    assert state.inner_text() == "connecting… no answer from 127.0.0.1:9 (UDP) yet"
    code, text = demo.error()
    assert code == "ICE_FAILED"
    assert "--media-public-ip" in text and "firewall" in text
    demo.ended()
    assert demo.know("greenroom.phase") == "joined", "the page stays on the stage"
    demo.until("greenroom.publication === null")
    context.close()


def test_a_second_page_with_the_same_token_ends_the_first_for_good(participant, pages):
    first = participant("alice")
    second = pages("alice-again").join(first.token)
    closed = first.closed()
    assert (closed["code"], closed["reason"]) == (4403, "TOKEN_REUSED")
    assert first.error()[0] == "TOKEN_REUSED"
    second.until(f"greenroom.participants.length === 1 && greenroom.participants[0].id === '{first.id}'")
    # A page that came back would have closed the second one, which the server does within a second.
    with pytest.raises(AssertionError):
        second.until("greenroom.closed", seconds=3)
    assert second.know("greenroom.phase") == "joined" and first.know("greenroom.phase") == "left"
