"""The HTTP doors: publishing by RFC 9725, subscribing likewise, and what they refuse."""

import asyncio
import base64
import hmac
import http.client
import re
import time
from urllib.parse import urlsplit

import pytest

from doors import FRAGMENT, SDP, Doors, until
from offers import offer
from peers import PATIENCE_SECONDS, Refused, publish, view

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
}
EXPOSED = {"Location", "Link", "ETag", "Accept-Patch", "Accept-Post"}
ALLOWED = {"Authorization", "Content-Type", "If-Match", "Greenroom-Connection-Token"}


def code(answer):
    return answer.status_code, answer.json()["code"]


@pytest.fixture(scope="session")
def iced(start_node):
    """A server that names ICE servers."""
    return start_node("--ice-servers", "stun:stun.example.org:3478,turn:turn.example.org?transport=udp")


@pytest.fixture
def iced_doors(iced):
    tenant = iced.tenant()
    return Doors(tenant, tenant.stage())


# Publishing


async def test_an_offer_is_answered_as_the_rfc_has_it(iced_doors):
    token, participant = iced_doors.token()
    answer = await iced_doors.ask("POST", "", token, offer(), SDP)
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == SDP
    assert re.fullmatch(r'"[A-Za-z0-9]+"', answer.headers["ETag"])
    location = answer.headers["Location"]
    assert re.fullmatch(re.escape(iced_doors.whip) + r"/resource/[A-Za-z0-9]{16}", location), "absolute"
    servers = ["stun:stun.example.org:3478", "turn:turn.example.org?transport=udp"]
    assert answer.headers["Link"].split(", ") == [f'<{server}>; rel="ice-server"' for server in servers]
    assert answer.headers["Accept-Patch"] == FRAGMENT
    assert answer.headers.items() >= CORS.items()
    assert EXPOSED <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    assert "a=ice-lite" in answer.text and "a=candidate:" in answer.text and "a=setup:passive" in answer.text
    assert iced_doors.participant(participant)["published"] is False, "nothing was sent yet"


@pytest.mark.parametrize("path", ["", "/", "//", "/publish", "/publish/{id}", "/publish/{id}/", "?x=1"])
async def test_a_slash_too_many_does_not_matter(doors, path):
    token, participant = doors.token()
    answer = await doors.ask("POST", path.format(id=participant), token, offer(), SDP)
    assert answer.status_code == 201


async def test_the_root_is_whip_for_an_offer(doors):
    """AWS's samples publish at the root of AWS's host."""
    token, participant = doors.token()
    root = doors.whip.removesuffix("/whip") + "/"
    answer = await doors.ask("POST", root, token, offer(), f"{SDP}; charset=utf-8")
    assert (answer.status_code, answer.headers["Content-Type"]) == (201, SDP)
    assert answer.headers["Location"].startswith(doors.whip + "/resource/")
    assert answer.headers.items() >= CORS.items()
    publisher = await publish(root, token)
    await doors.recorded(participant, "JOINED", "PUBLISH_STARTED")
    await publisher.stop()
    assert code(await doors.ask("POST", root, None, offer(), SDP)) == code(await doors.ask("POST", "", None, offer(), SDP))


async def test_the_root_answers_options_as_the_path_of_whip_does(iced_doors):
    root = iced_doors.whip.removesuffix("/whip") + "/"
    answers = [await iced_doors.ask("OPTIONS", path) for path in (root, "")]
    told = [{name: answer.headers[name] for name in ("Allow", "Accept-Post", "Link", *CORS)} for answer in answers]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert told[0] == told[1] and told[0]["Accept-Post"] == SDP


@pytest.mark.parametrize(("method", "kind"), [("POST", "application/json"), ("POST", None), ("PUT", SDP), ("DELETE", None)])
async def test_the_root_is_nothing_else(doors, method, kind):
    answer = await doors.ask(method, doors.whip.removesuffix("/whip") + "/", doors.token()[0], b"{}", kind)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (404, "UnknownOperationException")


async def test_publishing_begins_with_the_media_and_ends_with_the_connection(doors):
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    async with doors.join(bob) as watcher:
        peer = await publish(doors.whip, alice)
        await watcher.sees(alice_id + "*", bob_id)
        alice_now = doors.participant(alice_id)
        assert (alice_now["published"], alice_now["protocol"], alice_now["state"]) == (True, "WHIP", "CONNECTED")
        assert await peer.stop() == 200
        await watcher.sees(bob_id)
    assert doors.events_of(alice_id) == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]


async def test_a_second_publish_takes_the_place_of_the_first(doors):
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    first = await publish(doors.whip, alice)
    await doors.recorded(alice_id, "JOINED", "PUBLISH_STARTED")
    viewer = await view(doors.whip, bob, alice_id)
    await viewer.sees(3)
    second = await publish(doors.whip, alice)
    await first.over()
    await viewer.over()
    await second.connected()
    again = await view(doors.whip, bob, alice_id)
    await again.sees(3)
    assert await first.stop() == 200, "it ended not long ago"
    assert await again.stop() == 200
    assert await second.stop() == 200
    expected = ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]
    await doors.recorded(alice_id, *expected)


# Subscribing


async def test_a_subscription_is_recorded_with_whom_it_is_to(doors):
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    publisher = await publish(doors.whip, alice)
    await publisher.connected()
    viewer = await view(doors.whip, bob, alice_id)
    await viewer.sees(3)
    await doors.recorded(bob_id, "JOINED", f"SUBSCRIBE_STARTED {alice_id}")
    assert await viewer.stop() == 200
    assert doors.events_of(bob_id) == ["JOINED", f"SUBSCRIBE_STARTED {alice_id}", f"SUBSCRIBE_STOPPED {alice_id}", "LEFT"]
    await publisher.stop()


async def test_a_publisher_that_stops_ends_its_subscriptions(doors):
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    async with doors.join(bob) as guest:
        publisher = await publish(doors.whip, alice)
        await guest.sees(alice_id + "*", bob_id)
        viewer = await view(doors.whip, bob, alice_id)
        await viewer.sees(3)
        await publisher.stop()
        await viewer.over()
        await guest.sees(bob_id)
        await doors.recorded(bob_id, "JOINED", f"SUBSCRIBE_STARTED {alice_id}", f"SUBSCRIBE_STOPPED {alice_id}")
    await doors.recorded(
        bob_id, "JOINED", f"SUBSCRIBE_STARTED {alice_id}", f"SUBSCRIBE_STOPPED {alice_id}", "LEFT"
    )


async def test_somebody_who_does_not_publish_is_not_found(doors):
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    async with doors.join(alice) as one, doors.join(bob) as two:
        await two.sees(alice_id, bob_id)
        for remote in (alice_id, "nobody"):
            answer = await doors.ask("POST", f"/subscribe/{remote}", bob, offer("recvonly"), SDP)
            assert code(answer) == (404, "PUBLISHER_NOT_FOUND")
        assert await one.answered("PING") == {"type": "PONG"}
    events = [event.split()[0] + " " + event.split()[-1] for event in doors.events_of(bob_id)]
    assert "SUBSCRIBE_ERROR PUBLISHER_NOT_FOUND" in events


async def test_quotas_are_kept(start_node):
    node = start_node("--quotas", "publishers=1,subscribers=1")
    tenant = node.tenant()
    doors = Doors(tenant, tenant.stage())
    (alice, alice_id), (bob, bob_id), (carol, carol_id) = doors.token(), doors.token(), doors.token()
    publisher = await publish(doors.whip, alice)
    await publisher.connected()
    async with doors.join(bob) as guest:
        await guest.sees(alice_id + "*", bob_id)
        with pytest.raises(Refused) as refused:
            await publish(doors.whip, bob)
        assert (refused.value.status, refused.value.code) == (403, "QUOTA_EXCEEDED")
        viewer = await view(doors.whip, bob, alice_id)
        await viewer.sees(3)
        answer = await doors.ask("POST", f"/subscribe/{alice_id}", carol, offer("recvonly"), SDP)
        assert code(answer) == (403, "QUOTA_EXCEEDED")
        assert await viewer.stop() == 200
    assert doors.events_of(bob_id)[:2] == ["JOINED", "PUBLISH_ERROR QUOTA_EXCEEDED"]
    again = await publish(doors.whip, alice)
    await again.connected()
    await again.stop()


# Resources


async def test_a_connection_is_ended_by_its_own_participant_alone_and_more_than_once(doors):
    (alice, alice_id), (bob, _) = doors.token(), doors.token()
    made = await doors.ask("POST", "", alice, offer(), SDP)
    resource = made.headers["Location"]
    assert code(await doors.ask("DELETE", resource, bob)) == (404, "CONNECTION_NOT_FOUND")
    assert code(await doors.ask("DELETE", resource)) == (401, "TOKEN_MISSING")
    assert code(await doors.ask("DELETE", "/resource/abcdefghijklmnop", alice)) == (404, "CONNECTION_NOT_FOUND")
    assert doors.participant(alice_id)["state"] == "CONNECTED"
    for _ in range(3):
        ended = await doors.ask("DELETE", resource, alice)
        assert (ended.status_code, ended.content) == (200, b"")
        assert doors.participant(alice_id)["state"] == "DISCONNECTED", "the record has it before the answer"
    assert code(await doors.ask("DELETE", resource, bob)) == (404, "CONNECTION_NOT_FOUND")


async def test_candidates_may_trickle_for_the_ice_session_that_there_is(doors):
    (alice, _), (bob, _) = doors.token(), doors.token()
    sent = offer()
    made = await doors.ask("POST", "", alice, sent, SDP)
    resource, tag = made.headers["Location"], made.headers["ETag"]
    ufrag, password = credentials(sent)
    some = fragment(ufrag, password, sent)

    async def patch(body=some, token=alice, kind=FRAGMENT, **headers):
        return await doors.ask("PATCH", resource, token, body, kind, **headers)

    assert code(await patch()) == (428, "PRECONDITION_REQUIRED")
    assert code(await patch(If_Match='"another"')) == (412, "PRECONDITION_FAILED")
    assert code(await patch(If_Match=tag, kind=SDP)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert code(await patch(If_Match=tag, token=bob)) == (404, "CONNECTION_NOT_FOUND")
    assert code(await patch(If_Match=tag, body="nonsense")) == (400, "MALFORMED_OFFER")
    for good in (tag, "*", '"*"'):
        taken = await patch(If_Match=good)
        assert (taken.status_code, taken.content) == (204, b""), taken.text

    restarted = await patch(fragment("abcd", "a" * 24, sent), If_Match='"*"')
    assert restarted.status_code == 200, restarted.text
    assert restarted.headers["Content-Type"] == FRAGMENT
    new = restarted.headers["ETag"]
    assert new != tag
    assert "a=ice-ufrag:" in restarted.text and "a=ice-pwd:" in restarted.text
    assert code(await patch(If_Match=tag)) == (412, "PRECONDITION_FAILED")
    assert (await patch(fragment("abcd", "a" * 24, sent), If_Match=new)).status_code == 204


def credentials(sdp):
    return (re.search(rf"a=ice-{name}:(\S+)", sdp)[1] for name in ("ufrag", "pwd"))


def fragment(ufrag, password, sdp):
    """Candidates as RFC 8840 writes them."""
    section = re.search(r"m=audio .*", sdp)[0].strip()
    candidate = "a=candidate:1 1 udp 2122260223 127.0.0.1 40000 typ host"
    return f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n{section}\r\na=mid:0\r\n{candidate}\r\na=end-of-candidates\r\n"


# What browsers and the curious ask


@pytest.mark.parametrize(
    ("path", "methods", "accepts"),
    [
        ("", "POST", ("Accept-Post", SDP)),
        ("/publish/x", "POST", ("Accept-Post", SDP)),
        ("/subscribe/x", "POST", ("Accept-Post", SDP)),
        ("/resource/x", "DELETE, PATCH", ("Accept-Patch", FRAGMENT)),
    ],
)
async def test_paths_say_what_they_take(iced_doors, path, methods, accepts):
    answer = await iced_doors.ask("OPTIONS", path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Allow"] == f"{methods}, OPTIONS"
    assert answer.headers[accepts[0]] == accepts[1]
    assert answer.headers.items() >= CORS.items()
    assert ALLOWED <= set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    assert answer.headers["Link"].startswith("<stun:stun.example.org:3478>")
    for method in ("GET", "HEAD", "PUT"):
        answer = await iced_doors.ask(method, path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, f"{methods}, OPTIONS")
        assert answer.headers.items() >= CORS.items()


# TURN

TURN_SECRET = "north-of-the-wall"


@pytest.fixture(scope="session")
def turned(start_node):
    """A server with a TURN server of a shared secret, one with a user of its own, and a STUN server."""
    servers = "turn:turn.example.org:3478?transport=udp,turns:me:p%40ss%22%2C@turn.example.org,stun:stun.example.org"
    return start_node("--ice-servers", servers, "--turn-ttl-seconds", "600", GREENROOM_TURN_SECRET=TURN_SECRET)


@pytest.fixture
def turned_doors(turned):
    tenant = turned.tenant()
    return Doors(tenant, tenant.stage())


STUN_LINK = '<stun:stun.example.org>; rel="ice-server"'


def credentials_in(link, participant):
    """Asserts that a Link header has a participant's credentials for each TURN server, and answers when they expire."""
    made, own, stun = re.split(r", (?=<)", link)
    form = r'<turn:turn\.example\.org:3478\?transport=udp>; rel="ice-server"; username="(\d+):(\w+)"; credential="([^"]+)"'
    expiry, user, credential = re.fullmatch(form + '; credential-type="password"', made).groups()
    assert user == participant
    right = hmac.new(TURN_SECRET.encode(), f"{expiry}:{user}".encode(), "sha1").digest()
    assert credential == base64.b64encode(right).decode()
    fixed = r'<turns:turn.example.org>; rel="ice-server"; username="me"; credential="p@ss\","; credential-type="password"'
    assert (own, stun) == (fixed, STUN_LINK)
    return int(expiry)


async def test_turn_servers_are_named_with_credentials_of_the_participant(turned_doors):
    token, participant = turned_doors.token()
    answer = await turned_doors.ask("POST", "", token, offer(), SDP)
    assert answer.status_code == 201
    assert abs(credentials_in(answer.headers["Link"], participant) - time.time() - 600) < 60
    asked = await turned_doors.ask("OPTIONS", f"/publish/{participant}", token)
    assert (asked.status_code, asked.headers["Cache-Control"]) == (204, "no-store")
    assert credentials_in(asked.headers["Link"], participant)


@pytest.mark.parametrize("path", ["", "/publish/x", "/subscribe/x", "/resource/x"])
async def test_without_a_valid_token_nobody_gets_credentials(turned_doors, path):
    plain = await turned_doors.ask("OPTIONS", path)
    assert (plain.status_code, plain.headers["Link"]) == (204, STUN_LINK)
    token, _ = turned_doors.token()
    for wrong in ("nonsense", token[:-4] + "AAAA"):
        refused = await turned_doors.ask("OPTIONS", path, wrong)
        assert refused.status_code == 401 and "Link" not in refused.headers


async def test_credentials_do_not_stand_in_the_log(turned, turned_doors):
    token, participant = turned_doors.token()
    links = (await turned_doors.ask("OPTIONS", "", token)).headers["Link"]
    await turned_doors.ask("POST", "", token, offer(), SDP)
    made = re.search(r'credential="([^"]+)"', links).group(1)
    log = turned.test_server.logged()
    for secret in (TURN_SECRET, made, "p@ss", "p%40ss"):
        assert secret not in log


def test_a_turn_server_that_browsers_would_not_use_is_pointed_out(iced):
    warned = [line for line in iced.test_server.logged().splitlines() if "TURN server without credentials" in line]
    assert len(warned) == 1 and "turn:turn.example.org" in warned[0]


async def test_the_events_path_tells_browsers_too(doors):
    answer = await doors.ask("OPTIONS", doors.events.replace("ws", "http", 1) + "/" + doors.topic)
    assert answer.status_code == 204 and answer.headers["Allow"] == "GET, OPTIONS"


@pytest.mark.parametrize("path", ["/what", "/publish/a/b", "/subscribe", "/resource", "/publish/a%20b", "/subscribe/%ff"])
async def test_other_paths_are_refused_in_the_same_form(doors, path):
    token, _ = doors.token()
    answer = await doors.ask("POST", path, token, offer(), SDP)
    assert code(answer) in {(404, "NOT_FOUND"), (400, "MALFORMED_REQUEST")}
    assert answer.headers.items() >= CORS.items()


# Hostile offers


HOSTILE = {
    "nothing": "",
    "words": "hello",
    "no sections": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
    "zeros": "\0" * 1000,
    "no fingerprint": lambda sdp: re.sub(r"a=fingerprint:.*\r\n", "", sdp),
    "no credentials": lambda sdp: re.sub(r"a=ice-(ufrag|pwd):.*\r\n", "", sdp),
    "an answer's direction": lambda sdp: sdp.replace("a=sendonly", "a=recvonly"),
    "cut off": lambda sdp: sdp[: len(sdp) // 2],
    "the same sections again": lambda sdp: sdp + sdp[sdp.index("m=") :],
    "dozens of sections": lambda sdp: sdp + sdp[sdp.index("m=") :] * 40,
    "numbers out of range": lambda sdp: re.sub(r"UDP/TLS/RTP/SAVPF [\d ]+", "UDP/TLS/RTP/SAVPF 999999999999", sdp),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_an_offer_that_is_none_is_refused(doors, case):
    token, participant = doors.token()
    sent = HOSTILE[case]
    sent = sent if isinstance(sent, str) else sent(offer())
    answer = await doors.ask("POST", "", token, sent.encode(), SDP)
    assert answer.status_code in (400, 406, 413), answer.text
    assert answer.json()["code"] in ("MALFORMED_OFFER", "OFFER_TOO_LARGE", "INVALID_AUDIO_CODEC", "INVALID_VIDEO_CODEC")
    assert doors.sessions() == [], "nobody has joined by it"


async def test_an_offer_without_a_codec_of_ours_is_refused_and_recorded(doors):
    token, participant = doors.token()
    other = re.sub(r"a=rtpmap:(\d+) (VP8|H264)/90000", r"a=rtpmap:\1 AV1/90000", offer())
    silent = re.sub(r"opus/48000/2", "L16/48000/2", offer())
    async with doors.join(token) as guest:
        await guest.sees(participant)
        assert code(await doors.ask("POST", "", token, other, SDP)) == (406, "INVALID_VIDEO_CODEC")
        assert code(await doors.ask("POST", "", token, silent, SDP)) == (406, "INVALID_AUDIO_CODEC")
    errors = ["PUBLISH_ERROR INVALID_VIDEO_CODEC", "PUBLISH_ERROR INVALID_AUDIO_CODEC"]
    await doors.recorded(participant, "JOINED", *errors, "LEFT")


async def test_video_that_cannot_be_agreed_is_refused_with_its_formats(doors):
    token, participant = doors.token()
    high10 = re.sub(r"profile-level-id=\w+", "profile-level-id=6e001f", without_vp8(offer()))
    alone = re.sub(r"profile-level-id=\w+", "profile-level-id=6e001f", without_vp8(offer(kinds=("video",))))
    async with doors.join(token) as guest:
        await guest.sees(participant)
        for sent in (high10, alone):
            answer = await doors.ask("POST", "", token, sent, SDP)
            assert code(answer) == (406, "INVALID_VIDEO_CODEC")
            message = answer.json()["message"]
            assert "H264 profile-level-id=6e001f" in message and "640cxx" in message, message
        await doors.recorded(participant, "JOINED", "PUBLISH_ERROR INVALID_VIDEO_CODEC")


@pytest.mark.parametrize("kinds", [("video",), ("audio", "video")])
async def test_constrained_high_is_agreed_to(doors, kinds):
    token, _ = doors.token()
    sent = re.sub(r"profile-level-id=\w+", "profile-level-id=640c1f", without_vp8(offer(kinds=kinds)))
    answer = await doors.ask("POST", "", token, sent, SDP)
    assert answer.status_code == 201, answer.text
    assert "profile-level-id=640c1f" in answer.text and "m=video 0" not in answer.text


def without_vp8(sdp):
    return re.sub(r"VP8/90000", "VP9/90000", sdp)


async def test_parameters_of_opus_are_the_clients(doors):
    (alice, alice_id), (bob, _) = doors.token(), doors.token()
    asked = "stereo=1;sprop-stereo=1;usedtx=1;maxaveragebitrate=96000"
    stereo = lambda sdp: re.sub(r"(a=rtpmap:(\d+) opus/48000/2)", rf"\1\r\na=fmtp:\2 {asked}", sdp)  # noqa: E731
    answer = await doors.ask("POST", "", alice, stereo(offer()), SDP)
    parameters = re.search(r"a=fmtp:\d+ (minptime.*)", answer.text)[1].strip().split(";")
    assert {"stereo=1", "usedtx=1", "maxaveragebitrate=96000"} <= set(parameters), answer.text
    publisher = await publish(doors.whip, alice)
    await publisher.connected()
    await doors.recorded(alice_id, "JOINED", "PUBLISH_STARTED")
    answer = await doors.ask("POST", f"/subscribe/{alice_id}", bob, stereo(offer("recvonly")), SDP)
    assert answer.status_code == 201, answer.text
    assert "sprop-stereo=1" in re.search(r"a=fmtp:\d+ (minptime.*)", answer.text)[1]
    await publisher.stop()


async def test_refusals_are_in_words_of_our_own(doors):
    token, _ = doors.token()
    cases = {
        "the audio section has no a=mid": re.sub(r"a=mid:0\r\n", "", offer()),
        "a=group:BUNDLE": re.sub(r"a=group:BUNDLE.*\r\n", "", offer()),
        "no a=fingerprint": re.sub(r"a=fingerprint:.*\r\n", "", offer()),
        "UDP/TLS/RTP/SAVPF": offer().replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
    }
    for words, sent in cases.items():
        answer = await doors.ask("POST", "", token, sent, SDP)
        assert code(answer) == (400, "MALFORMED_OFFER")
        message = answer.json()["message"]
        assert words in message and "0x" not in message and "\n" not in message, message


async def test_a_padded_offer_is_refused_by_the_limit_that_it_exceeds(doors):
    token, _ = doors.token()
    padding = "".join(f"a=ssrc:{number} cname:x\r\n" for number in range(5_000, 6_900))
    answer = await doors.ask("POST", "", token, offer() + padding, SDP)
    assert code(answer) == (413, "OFFER_TOO_LARGE")
    assert re.search(r"the video section has 19\d\d a=ssrc lines; the limit is 64", answer.json()["message"])
    sections = "".join(f"m=application 9 UDP/DTLS/SCTP x\r\na=mid:d{number}\r\n" for number in range(70))
    answer = await doors.ask("POST", "", token, offer() + sections, SDP)
    assert code(answer) == (413, "OFFER_TOO_LARGE")
    assert "more than 64 sections" in answer.json()["message"]
    assert (await doors.ask("POST", "", token, offer(), SDP)).status_code == 201


async def test_the_size_of_offers_can_be_set(start_node):
    tenant = start_node("--max-offer-bytes", "8192", "--max-offer-sections", "2").tenant()
    doors = Doors(tenant, tenant.stage())
    token, _ = doors.token()
    assert (await doors.ask("POST", "", token, offer(), SDP)).status_code == 201
    answer = await doors.ask("POST", "", token, offer() + "a=x\r\n" * 2000, SDP)
    assert code(answer) == (413, "TOO_LARGE") and "8192" in answer.json()["message"]
    three = offer() + "m=application 9 UDP/DTLS/SCTP x\r\na=mid:d\r\n"
    assert code(await doors.ask("POST", "", token, three, SDP)) == (413, "OFFER_TOO_LARGE")


async def test_a_subscriber_without_the_publishers_codec_is_refused(doors):
    (alice, alice_id), (bob, _) = doors.token(), doors.token()
    publisher = await publish(doors.whip, alice, "VP8")
    await publisher.connected()
    await doors.recorded(alice_id, "JOINED", "PUBLISH_STARTED")
    other = re.sub(r"a=rtpmap:(\d+) VP8/90000", r"a=rtpmap:\1 AV1/90000", offer("recvonly"))
    assert code(await doors.ask("POST", f"/subscribe/{alice_id}", bob, other, SDP)) == (406, "CODEC_MISMATCH")
    await publisher.stop()


async def test_a_subscriber_whose_sections_disagree_about_a_payload_type_is_refused(doors):
    (alice, alice_id), (bob, _) = doors.token(), doors.token()
    publisher = await publish(doors.whip, alice, "VP8")
    await publisher.connected()
    await doors.recorded(alice_id, "JOINED", "PUBLISH_STARTED")
    number = re.search(r"a=rtpmap:(\d+) VP8/90000", offer("recvonly"))[1]
    other = re.sub(r"(a=rtpmap:\d+ opus/48000/2)", rf"\1\r\na=rtpmap:{number} H264/90000", offer("recvonly"))
    answer = await doors.ask("POST", f"/subscribe/{alice_id}", bob, other, SDP)
    assert code(answer) == (400, "MALFORMED_OFFER")
    assert f"payload type {number} has more than one definition" in answer.json()["message"]
    await publisher.stop()


async def test_bodies_are_held_to_their_type_and_size(doors):
    token, _ = doors.token()
    for kind in (None, "text/plain", "application/json", "application/sdpx"):
        assert code(await doors.ask("POST", "", token, offer(), kind)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    for size in (256 * 1024 + 1, 500_000):
        assert code(await doors.ask("POST", "", token, b"x" * size, SDP)) == (413, "TOO_LARGE")
    assert code(await doors.ask("POST", "", token, b"\xff\xfe", SDP)) == (400, "MALFORMED_OFFER")
    made = await doors.ask("POST", "", token, offer(), "Application/SDP; charset=utf-8")
    assert made.status_code == 201


async def test_a_body_that_does_not_arrive_is_not_waited_for(hasty):
    tenant = hasty.tenant()
    doors = Doors(tenant, tenant.stage())
    token, _ = doors.token()

    def ask():
        connection = http.client.HTTPConnection(urlsplit(doors.whip).netloc, timeout=PATIENCE_SECONDS)
        connection.putrequest("POST", "/whip")
        for name, value in (("Authorization", f"Bearer {token}"), ("Content-Type", SDP), ("Content-Length", "100")):
            connection.putheader(name, value)
        connection.endheaders(b"v=0")
        answer = connection.getresponse()
        return answer.status, answer.read()

    status, body = await asyncio.to_thread(ask)
    assert status == 408 and b'"TIMEOUT"' in body


# Time


async def test_a_client_that_gives_no_sign_of_life_is_gone(hasty):
    tenant = hasty.tenant()
    doors = Doors(tenant, tenant.stage())
    token, participant = doors.token()
    made = await doors.ask("POST", "", token, offer(), SDP)
    assert made.status_code == 201
    await until(lambda: doors.participant(participant)["state"] == "DISCONNECTED")
    assert doors.events_of(participant) == ["JOINED", "PUBLISH_ERROR INTERNAL_SERVER_EXCEPTION", "LEFT"]
    assert (await doors.ask("DELETE", made.headers["Location"], token)).status_code == 200


async def test_nobody_publishes_or_watches_for_ever(start_node):
    node = start_node("--stream-max-seconds", "3")
    tenant = node.tenant()
    doors = Doors(tenant, tenant.stage())
    (alice, alice_id), (bob, bob_id) = doors.token(), doors.token()
    publisher = await publish(doors.whip, alice)
    await publisher.connected()
    viewer = await view(doors.whip, bob, alice_id)
    await viewer.sees(3)
    await publisher.over()
    await viewer.over()
    for participant in (alice_id, bob_id):
        await until(lambda: doors.participant(participant)["state"] == "DISCONNECTED")  # noqa: B023
    assert "PUBLISH_ERROR STREAM_DURATION_EXCEEDED" in doors.events_of(alice_id)
    assert doors.events_of(alice_id)[-1] == "LEFT"


async def test_what_software_a_participant_uses_is_recorded(doors):
    token, participant = doors.token()
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
    headers = {"User-Agent": agent, "Greenroom-Sdk-Version": "1.2.3"}
    async with doors.join(token, headers=headers) as guest:
        await guest.sees(participant)
    found = doors.participant(participant)
    names = ("browserName", "browserVersion", "osName", "osVersion", "sdkVersion", "ispName", "protocol")
    assert [found[name] for name in names] == ["Chrome", "131.0.0.0", "Windows", "10", "1.2.3", "", "UNKNOWN"]
