"""Usability of the demo page: hints for errors, a missing camera, TURN, keyboard focus, and axe."""

import time
from pathlib import Path

import pytest

from clients import Server
from demo_page import DemoPage
from server import Greenroom
from signer import Signer
from turn_server import TurnServer

AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"


def error_with_hint(demo):
    """Waits for an error; returns its code and the page's hint."""
    code, _ = demo.error()
    return code, demo.page.get_by_role("alert").locator("small").inner_text()


# Rejected tokens


def test_the_hint_for_an_expired_token_has_its_age(tenant, stage, pages):
    signer, past = Signer(tenant, stage), int(time.time()) - 1000
    demo = pages().submit_token(signer.token(signer.claims(iat=past - 600, exp=past + 100)))
    code, hint = error_with_hint(demo)
    assert code == "TOKEN_EXPIRED" and "It expired 15 minutes ago" in hint and "new one" in hint


def test_hints_for_other_errors(tenant, stage, pages):
    demo = pages().submit_token("nonsense")
    assert error_with_hint(demo) == ("TOKEN_MALFORMED", HINT)
    signer = Signer(tenant, stage)
    demo.submit_token(signer.token(signer.claims())[:-8] + "AAAAAAAA")
    code, hint = error_with_hint(demo)
    assert code == "TOKEN_SIGNATURE_INVALID" and "Copy it again" in hint
    token = tenant.token(stage)["token"]
    tenant.ivs.delete_stage(arn=stage)
    demo.submit_token(token)
    code, hint = error_with_hint(demo)
    assert code == "STAGE_DELETED" and stage in hint and "no longer exists" in hint


HINT = "Copy the whole token: three parts with two dots between them, as create-participant-token prints it."


def test_the_hint_for_a_token_of_another_server_names_it(tenant, stage, pages):
    signer = Signer(tenant, stage)
    demo = pages()
    demo.submit_token(signer.token(signer.claims(events_url="ws://127.0.0.1:9/events")))
    code, hint = error_with_hint(demo)
    demo.console_errors.clear()  # the content security policy blocks the connection
    assert code == "CLOSED_1006" and "ws://127.0.0.1:9/events could not be reached" in hint


def test_quotes_and_line_breaks_in_a_token_are_ignored(tenant, stage, pages):
    token = tenant.token(stage)["token"]
    pages().join(f'"{token[:80]}\n{token[80:]}",')


def test_the_hint_for_an_unreachable_address_names_it(greenroom, participant):
    alice = participant("alice")
    alice.page.route("**/whip/**", lambda route: route.abort())
    alice.page.get_by_label("Send", exact=True).select_option("pattern")
    alice.click_button("Publish")
    code, hint = error_with_hint(alice)
    assert code == "NOT_REACHED" and "--public-url" in hint
    assert greenroom.endpoint in alice.error()[1]


# Camera


@pytest.mark.parametrize(("name", "reason"), [("NotFoundError", "no camera"), ("NotAllowedError", "not allowed")])
def test_without_a_camera_the_test_pattern_is_published(tenant, stage, pages, participant, name, reason):
    token = tenant.token(stage, userId="alice")
    alice = pages("alice")
    alice.page.add_init_script(
        f"MediaDevices.prototype.getUserMedia = () => Promise.reject(new DOMException('gone', '{name}'))"
    )
    alice.join(token["token"]).publish("camera")
    bob = participant("bob")
    bob.receives(token["participantId"])
    assert reason in alice.page.locator("#notice").inner_text()
    assert "test pattern is published instead" in alice.page.locator("#notice").inner_text()
    assert alice.page.get_by_label("Send", exact=True).input_value() == "pattern"


# TURN


@pytest.fixture
def relayed():
    """A server with a TURN server."""
    turn = TurnServer(secret="north")
    flags = ("--database-url", "sqlite::memory:", "--media-addr", "127.0.0.1:0")
    servers = f"stun:127.0.0.1:{turn.port},turn:127.0.0.1:{turn.port}?transport=udp"
    program = Greenroom(*flags, "--ice-servers", servers, GREENROOM_TURN_SECRET="north").serving()
    yield Server("sqlite", program, "sqlite::memory:"), turn
    assert program.end() == 0
    turn.close()


def test_the_page_uses_the_turn_server_with_its_own_credentials(relayed, chromium):
    server, turn = relayed
    tenant = server.tenant()
    token = tenant.token(tenant.stage(), userId="alice")
    context = chromium.new_context()
    context.add_init_script(RECORD_PEER_CONNECTIONS)
    alice = DemoPage(context, server.endpoint, "alice").join(token["token"]).publish("pattern")
    configured = alice.evaluate("peers[0].getConfiguration().iceServers")
    urls = [url for one in configured for url in ([one["urls"]] if isinstance(one["urls"], str) else one["urls"])]
    assert urls == [f"stun:127.0.0.1:{turn.port}", f"turn:127.0.0.1:{turn.port}?transport=udp"]
    username = configured[1]["username"]
    assert username.endswith(f":{token['participantId']}") and configured[1]["credential"]
    # Whether Chromium allocates before it is connected without TURN is a race; test_connectivity.py relays by a TURN server.
    context.close()


RECORD_PEER_CONNECTIONS = """
window.peers = [];
const Original = RTCPeerConnection;
window.RTCPeerConnection = class extends Original {
  constructor(...args) { super(...args); peers.push(this); }
};
"""


# Keyboard focus


def test_the_focus_moves_when_its_element_disappears(tenant, stage, pages):
    focused = "document.activeElement.id"
    alice = pages("alice").open()
    alice.page.get_by_label("Participant token").fill(tenant.token(stage)["token"])
    alice.page.get_by_role("button", name="Join the stage").press("Enter")
    alice.until(f"{focused} === 'publish'")
    alice.page.get_by_label("Send", exact=True).select_option("pattern")
    alice.page.get_by_role("button", name="Publish", exact=True).press("Enter")
    alice.until(f"greenroom.publication?.state === 'connected' && {focused} === 'unpublish'")
    alice.page.get_by_role("button", name="Unpublish").press("Enter")
    alice.until(f"{focused} === 'publish'")
    alice.page.get_by_role("button", name="Leave").press("Enter")
    alice.until(f"greenroom.phase === 'left' && {focused} === 'token'")


def test_statistics_updates_keep_the_focus(participant):
    alice, bob = participant("alice").publish("pattern"), participant("bob")
    bob.receives(alice.id)
    button = bob.tile(alice.id).get_by_role("button", name="Stop receiving alice")
    button.focus()
    bob.evaluate("window.before = document.activeElement")
    frames = bob.evaluate(f"greenroom.subscriptions['{alice.id}'].video.frames")
    bob.until(f"greenroom.subscriptions['{alice.id}'].video.frames > {frames} + 30")
    assert bob.evaluate("document.activeElement === before")


# Axe


def axe_violations(demo):
    """Axe's violations on the page: rule and elements."""
    demo.page.evaluate(AXE.read_text() + "; null")
    found = demo.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(tenant, stage, pages, participant, screenshot, width, scheme):
    alice = participant("alice", attributes={"role": "host"}).publish("pattern")
    bob = pages("bob")
    bob.page.set_viewport_size({"width": width, "height": 860})
    bob.page.emulate_media(color_scheme=scheme)
    bob.submit_token("nonsense")
    screenshot(bob, f"axe-refused-{width}-{scheme}")
    assert axe_violations(bob) == []
    bob.join(tenant.token(stage, userId="bob")["token"]).publish("pattern")
    bob.receives(alice.id)
    for summary in bob.page.locator("summary:visible").all():
        summary.click()
    screenshot(bob, f"axe-joined-{width}-{scheme}")
    assert axe_violations(bob) == []
    assert bob.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no horizontal overflow"


@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_on_the_home_page(greenroom, pages, screenshot, width):
    demo = pages()
    demo.page.set_viewport_size({"width": width, "height": 600})
    demo.page.goto(greenroom.endpoint)
    screenshot(demo, f"home-{width}")
    assert axe_violations(demo) == []
    demo.page.get_by_role("link", name="Demo page").click()
    demo.until("document.title === 'greenroom demo'")
