"""The demo page: headers, errors, permissions and accessibility."""

import re
import time

import pytest
import requests

from signer import Signer

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; media-src 'self' blob:; "
    "connect-src {}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


def test_the_page_may_connect_to_this_service_only(greenroom):
    answer = requests.get(f"{greenroom.endpoint}/_greenroom/demo")
    http, ws = greenroom.endpoint, greenroom.endpoint.replace("http", "ws")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY.format(f"'self' {http} {ws}")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_only_the_pages_files_are_served(greenroom):
    page = requests.get(f"{greenroom.endpoint}/_greenroom/demo").text
    names = re.findall(r'(?:src|href)="(demo/[^"]+)"', page)
    assert sorted(names) == ["demo/demo.css", "demo/demo.js"]
    for name in names:
        answer = requests.get(f"{greenroom.endpoint}/_greenroom/{name}")
        kind = "text/css" if name.endswith("css") else "text/javascript"
        assert (answer.status_code, answer.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
        assert answer.headers["x-content-type-options"] == "nosniff"
    for name in ("index.html", "demo.rs", "..%2Fmod.rs", ""):
        assert requests.get(f"{greenroom.endpoint}/_greenroom/demo/{name}").status_code >= 400


def test_a_token_is_removed_from_the_url(tenant, stage, pages):
    token = tenant.token(stage)
    demo = pages().open(token["token"])
    demo.click_button("Join the stage")
    demo.until("greenroom.phase === 'joined'")
    assert demo.page.url.endswith("/_greenroom/demo")
    assert demo.page.get_by_role("status").inner_text() == f"Joined as {token['participantId']}"


@pytest.mark.parametrize("text", ["nonsense", "a.b.c", "eyJhbGciOiJFUzM4NCJ9.e30.AAAA"])
def test_a_malformed_token_is_reported(pages, text):
    demo = pages().submit_token(text)
    code, message = demo.error()
    assert code == "TOKEN_MALFORMED" and "not a participant token" in message


def test_an_error_is_shown_with_code_and_text(tenant, stage, pages, screenshot):
    signer = Signer(tenant, stage)
    past = int(time.time()) - 100
    demo = pages().submit_token(signer.token(signer.claims(iat=past, exp=past + 50)))
    code, message = demo.error()
    assert code == "TOKEN_EXPIRED" and len(message) > 10
    assert demo.closed()["code"] == 4401
    screenshot(demo, "refused")
    demo.click_button("Dismiss this error")
    demo.page.get_by_role("alert").wait_for(state="hidden")


def test_a_token_with_a_wrong_signature_is_rejected(tenant, stage, pages):
    signer, other_signer = Signer(tenant, stage), Signer(tenant, stage)
    other_signer.kid = signer.kid
    demo = pages().submit_token(other_signer.token(signer.claims()))
    assert demo.error()[0] == "TOKEN_SIGNATURE_INVALID"


def test_the_token_of_a_deleted_stage_is_rejected(tenant, stage, pages):
    token = tenant.token(stage)["token"]
    tenant.ivs.delete_stage(arn=stage)
    demo = pages().submit_token(token)
    assert demo.error()[0] == "STAGE_DELETED" and demo.closed()["code"] == 4404


def test_the_publish_button_is_disabled_without_capability(participant):
    alice = participant("alice", capabilities=["SUBSCRIBE"])
    assert alice.page.get_by_role("button", name="Publish", exact=True).is_disabled()


def test_nothing_is_received_without_subscribe_capability(participant):
    alice = participant("alice").publish("pattern")
    bob = participant("bob", capabilities=["PUBLISH"])
    bob.tile(alice.id).get_by_text("not received").wait_for()
    assert bob.evaluate("greenroom.error") is None


def test_a_token_exchange_changes_user_and_capabilities(tenant, stage, pages, participant):
    signer = Signer(tenant, stage)
    claims = signer.claims(user_id="alice", attributes={"role": "guest"})
    alice = pages("alice").join(signer.token(claims)).publish("pattern")
    bob = participant("bob")
    bob.receives(claims["jti"])

    changed = {"user_id": "ally", "attributes": {"role": "host"}}
    exchange(alice, signer.token({**claims, **changed, "iat": claims["iat"] + 1}))
    alice.until("greenroom.participants.some((one) => one.userId === 'ally')")
    bob.tile(claims["jti"]).get_by_text("role: host").wait_for()
    assert alice.evaluate("greenroom.publication.state") == "connected"

    exchange(alice, signer.token({**claims, "iat": claims["iat"] + 2, "capabilities": {"allow_subscribe": True}}))
    alice.ended()
    bob.ended(claims["jti"])
    assert alice.evaluate("greenroom.capabilities") == ["SUBSCRIBE"] and alice.evaluate("greenroom.phase") == "joined"


def test_an_exchange_for_another_participant_changes_nothing(tenant, stage, pages):
    signer = Signer(tenant, stage)
    alice = pages("alice").join(signer.token(signer.claims(user_id="alice")))
    exchange(alice, signer.token(signer.claims(user_id="mallory")))
    assert alice.error()[0] == "TOKEN_EXCHANGE_FAILED"
    assert alice.evaluate("greenroom.phase") == "joined"
    assert alice.evaluate("greenroom.participants.map((one) => one.userId)") == ["alice"]


def exchange(demo, token):
    box = demo.page.get_by_label("Another self-signed token of this participant")
    if not box.is_visible():
        demo.page.get_by_text("Exchange the token").click()
    box.fill(token)
    demo.click_button("Exchange")


def test_names_of_participants_are_escaped(participant):
    name = "<img src=x onerror=alert(1)>"
    alice = participant(name, attributes={name: name}).publish("pattern")
    bob = participant("bob")
    bob.receives(alice.id)
    assert bob.tile(alice.id).locator(".who strong").inner_text() == name
    assert bob.evaluate("document.querySelectorAll('img').length") == 0


def test_all_controls_are_labelled_and_reachable_by_keyboard(participant):
    alice, bob = participant("alice").publish("pattern"), participant("bob")
    bob.receives(alice.id)
    nameless = bob.evaluate(
        """[...document.querySelectorAll('button, input, select, textarea, meter, video, summary')]
        .filter((e) => e.checkVisibility())
        .filter((e) => !(e.ariaLabel || e.labels?.length || e.textContent.trim()))
        .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    assert bob.evaluate("document.documentElement.lang") == "en"
    reached = set()
    for _ in range(30):
        bob.page.keyboard.press("Tab")
        reached.add(bob.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert {"source", "codec", "layers", "publish", "subscribe-all", "leave", "Stop receiving", "log"} <= reached


def test_the_screenshot_in_the_readme(participant, screenshot):
    """Kept as `demo.png`; docs/images/demo.png is a copy of it."""
    host = participant("alice", attributes={"role": "host"}).publish("pattern")
    guest = participant("bob", attributes={"role": "guest", "seat": "2"}).publish("camera")
    viewer = participant("carol", attributes={"role": "guest", "seat": "3"}).publish("pattern")
    participant("dave", capabilities=["SUBSCRIBE"])
    viewer.receives(host.id, "video.framesPerSecond > 0")
    viewer.receives(guest.id, "video.framesPerSecond > 0")
    viewer.until("greenroom.participants.length === 4 && greenroom.publication.video.frames > 100")
    viewer.page.set_viewport_size({"width": 1440, "height": 640})
    screenshot(viewer, "demo")
