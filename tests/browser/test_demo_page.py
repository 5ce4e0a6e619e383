"""The page itself: what it is served as, what it shows of refusals, and who can use it."""

import re
import time

import pytest
import requests

from signer import Signer

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src {}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


def test_the_page_may_connect_to_this_service_alone(greenroom):
    answer = requests.get(f"{greenroom.endpoint}/_greenroom/demo")
    http, ws = greenroom.endpoint, greenroom.endpoint.replace("http", "ws")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY.format(f"'self' {http} {ws}")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_its_files_are_served_with_their_types_and_nothing_else_is(greenroom):
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


def test_a_token_in_the_address_is_taken_out_of_it(tenant, stage, pages):
    token = tenant.token(stage)
    demo = pages().open(token["token"])
    demo.press("Join the stage")
    demo.until("greenroom.phase === 'joined'")
    assert demo.page.url.endswith("/_greenroom/demo")
    assert demo.page.get_by_role("status").inner_text() == f"Joined as {token['participantId']}"


@pytest.mark.parametrize("text", ["nonsense", "a.b.c", "eyJhbGciOiJFUzM4NCJ9.e30.AAAA"])
def test_what_is_no_token_is_said_to_be_none(pages, text):
    demo = pages().try_to_join(text)
    code, message = demo.error()
    assert code == "TOKEN_MALFORMED" and "not a participant token" in message


def test_a_refusal_is_shown_with_its_code_and_text(tenant, stage, pages, picture):
    signer = Signer(tenant, stage)
    past = int(time.time()) - 100
    demo = pages().try_to_join(signer.token(signer.claims(iat=past, exp=past + 50)))
    code, message = demo.error()
    assert code == "TOKEN_EXPIRED" and len(message) > 10
    assert demo.closed()["code"] == 4401
    picture(demo, "refused")
    demo.press("Dismiss this error")
    demo.page.get_by_role("alert").wait_for(state="hidden")


def test_a_token_that_somebody_else_signed_is_refused(tenant, stage, pages):
    signer, stranger = Signer(tenant, stage), Signer(tenant, stage)
    stranger.kid = signer.kid
    demo = pages().try_to_join(stranger.token(signer.claims()))
    assert demo.error()[0] == "TOKEN_SIGNATURE_INVALID"


def test_the_token_of_a_deleted_stage_is_refused(tenant, stage, pages):
    token = tenant.token(stage)["token"]
    tenant.ivs.delete_stage(arn=stage)
    demo = pages().try_to_join(token)
    assert demo.error()[0] == "STAGE_DELETED" and demo.closed()["code"] == 4404


def test_who_may_not_publish_cannot_press_the_button(participant):
    alice = participant("alice", capabilities=["SUBSCRIBE"])
    assert alice.page.get_by_role("button", name="Publish", exact=True).is_disabled()


def test_who_may_not_subscribe_receives_nobody_and_no_errors(participant):
    alice = participant("alice").publish("pattern")
    bob = participant("bob", capabilities=["PUBLISH"])
    bob.tile(alice.id).get_by_text("not received").wait_for()
    assert bob.know("greenroom.error") is None


def test_an_exchanged_token_changes_who_one_is_and_what_one_may(tenant, stage, pages, participant):
    signer = Signer(tenant, stage)
    claims = signer.claims(user_id="alice", attributes={"role": "guest"})
    alice = pages("alice").join(signer.token(claims)).publish("pattern")
    bob = participant("bob")
    bob.receives(claims["jti"])

    changed = {"user_id": "ally", "attributes": {"role": "host"}}
    exchange(alice, signer.token({**claims, **changed, "iat": claims["iat"] + 1}))
    alice.until("greenroom.participants.some((one) => one.userId === 'ally')")
    bob.tile(claims["jti"]).get_by_text("role: host").wait_for()
    assert alice.know("greenroom.publication.state") == "connected"

    exchange(alice, signer.token({**claims, "iat": claims["iat"] + 2, "capabilities": {"allow_subscribe": True}}))
    alice.ended()
    bob.ended(claims["jti"])
    assert alice.know("greenroom.capabilities") == ["SUBSCRIBE"] and alice.know("greenroom.phase") == "joined"


def test_an_exchange_for_somebody_else_is_refused_and_nothing_changes(tenant, stage, pages):
    signer = Signer(tenant, stage)
    alice = pages("alice").join(signer.token(signer.claims(user_id="alice")))
    exchange(alice, signer.token(signer.claims(user_id="mallory")))
    assert alice.error()[0] == "TOKEN_EXCHANGE_FAILED"
    assert alice.know("greenroom.phase") == "joined"
    assert alice.know("greenroom.participants.map((one) => one.userId)") == ["alice"]


def exchange(demo, token):
    box = demo.page.get_by_label("Another self-signed token of this participant")
    if not box.is_visible():
        demo.page.get_by_text("Exchange the token").click()
    box.fill(token)
    demo.press("Exchange")


def test_what_others_call_themselves_is_text(participant):
    name = "<img src=x onerror=alert(1)>"
    alice = participant(name, attributes={name: name}).publish("pattern")
    bob = participant("bob")
    bob.receives(alice.id)
    assert bob.tile(alice.id).locator(".who strong").inner_text() == name
    assert bob.know("document.querySelectorAll('img').length") == 0


def test_everything_that_can_be_used_has_a_name_and_is_reached_by_keyboard(participant):
    alice, bob = participant("alice").publish("pattern"), participant("bob")
    bob.receives(alice.id)
    nameless = bob.know(
        """[...document.querySelectorAll('button, input, select, textarea, meter, video, summary')]
        .filter((e) => e.checkVisibility())
        .filter((e) => !(e.ariaLabel || e.labels?.length || e.textContent.trim()))
        .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    assert bob.know("document.documentElement.lang") == "en"
    reached = set()
    for _ in range(30):
        bob.page.keyboard.press("Tab")
        reached.add(bob.know("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert {"source", "codec", "layers", "publish", "subscribe-all", "leave", "Stop receiving", "log"} <= reached


def test_the_picture_in_the_readme_is_of_this_page(participant, picture):
    """Kept as `demo.png`; docs/images/demo.png is a copy of it."""
    host = participant("alice", attributes={"role": "host"}).publish("pattern")
    guest = participant("bob", attributes={"role": "guest", "seat": "2"}).publish("camera")
    viewer = participant("carol", attributes={"role": "guest", "seat": "3"}).publish("pattern")
    participant("dave", capabilities=["SUBSCRIBE"])
    viewer.receives(host.id, "video.framesPerSecond > 0")
    viewer.receives(guest.id, "video.framesPerSecond > 0")
    viewer.until("greenroom.participants.length === 4 && greenroom.publication.video.frames > 100")
    viewer.page.set_viewport_size({"width": 1440, "height": 640})
    picture(viewer, "demo")
