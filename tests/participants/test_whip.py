"""The HTTP endpoints: publishing by WHIP (RFC 9725), subscribing in the same way, and their errors."""

import asyncio
import base64
import hmac
import http.client
import re
import time
from urllib.parse import urlsplit

import pytest

from endpoints import FRAGMENT, SDP, StageEndpoints, wait_until
from offers import offer
from peers import TIMEOUT_SECONDS, OfferRejected, publish, view

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
}
EXPOSED = {"Location", "Link", "ETag", "Accept-Patch", "Accept-Post"}
ALLOWED = {"Authorization", "Content-Type", "If-Match", "Greenroom-Connection-Token"}


def code(answer):
    return answer.status_code, answer.json()["code"]


@pytest.fixture(scope="session")
def ice_node(start_node):
    """A server that is configured with ICE servers."""
    return start_node("--ice-servers", "stun:stun.example.org:3478,turn:turn.example.org?transport=udp")


@pytest.fixture
def ice_endpoints(ice_node):
    tenant = ice_node.tenant()
    return StageEndpoints(tenant, tenant.stage())


# Publishing


async def test_an_answer_follows_rfc_9725(ice_endpoints):
    token, participant = ice_endpoints.token()
    answer = await ice_endpoints.send_async("POST", "", token, offer(), SDP)
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == SDP
    assert re.fullmatch(r'"[A-Za-z0-9]+"', answer.headers["ETag"])
    location = answer.headers["Location"]
    assert re.fullmatch(re.escape(ice_endpoints.whip) + r"/resource/[A-Za-z0-9]{16}", location), "absolute"
    servers = ["stun:stun.example.org:3478", "turn:turn.example.org?transport=udp"]
    assert answer.headers["Link"].split(", ") == [f'<{server}>; rel="ice-server"' for server in servers]
    assert answer.headers["Accept-Patch"] == FRAGMENT
    assert answer.headers.items() >= CORS.items()
    assert EXPOSED <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    assert "a=ice-lite" in answer.text and "a=candidate:" in answer.text and "a=setup:passive" in answer.text
    assert ice_endpoints.participant(participant)["published"] is False, "no media has arrived yet"


@pytest.mark.parametrize("path", ["", "/", "//", "/publish", "/publish/{id}", "/publish/{id}/", "?x=1"])
async def test_extra_slashes_are_ignored(endpoints, path):
    token, participant = endpoints.token()
    answer = await endpoints.send_async("POST", path.format(id=participant), token, offer(), SDP)
    assert answer.status_code == 201


async def test_the_root_accepts_offers(endpoints):
    """AWS's samples publish to the root path."""
    token, participant = endpoints.token()
    root = endpoints.whip.removesuffix("/whip") + "/"
    answer = await endpoints.send_async("POST", root, token, offer(), f"{SDP}; charset=utf-8")
    assert (answer.status_code, answer.headers["Content-Type"]) == (201, SDP)
    assert answer.headers["Location"].startswith(endpoints.whip + "/resource/")
    assert answer.headers.items() >= CORS.items()
    publisher = await publish(root, token)
    await endpoints.wait_for_events(participant, "JOINED", "PUBLISH_STARTED")
    await publisher.stop()
    assert code(await endpoints.send_async("POST", root, None, offer(), SDP)) == code(await endpoints.send_async("POST", "", None, offer(), SDP))


async def test_the_root_answers_options_like_the_whip_path(ice_endpoints):
    root = ice_endpoints.whip.removesuffix("/whip") + "/"
    answers = [await ice_endpoints.send_async("OPTIONS", path) for path in (root, "")]
    headers = [{name: answer.headers[name] for name in ("Allow", "Accept-Post", "Link", *CORS)} for answer in answers]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert headers[0] == headers[1] and headers[0]["Accept-Post"] == SDP


@pytest.mark.parametrize(("method", "kind"), [("POST", "application/json"), ("POST", None), ("PUT", SDP), ("DELETE", None)])
async def test_other_requests_to_the_root_are_unknown_operations(endpoints, method, kind):
    answer = await endpoints.send_async(method, endpoints.whip.removesuffix("/whip") + "/", endpoints.token()[0], b"{}", kind)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (404, "UnknownOperationException")


async def test_publishing_starts_with_media_and_stops_with_the_connection(endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    async with endpoints.join(bob) as watcher:
        peer = await publish(endpoints.whip, alice)
        await watcher.wait_for_state(alice_id + "*", bob_id)
        alice_now = endpoints.participant(alice_id)
        assert (alice_now["published"], alice_now["protocol"], alice_now["state"]) == (True, "WHIP", "CONNECTED")
        assert await peer.stop() == 200
        await watcher.wait_for_state(bob_id)
    assert endpoints.events_of(alice_id) == ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]


async def test_a_second_publish_replaces_the_first(endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    first = await publish(endpoints.whip, alice)
    await endpoints.wait_for_events(alice_id, "JOINED", "PUBLISH_STARTED")
    viewer = await view(endpoints.whip, bob, alice_id)
    await viewer.receives_video(3)
    second = await publish(endpoints.whip, alice)
    await first.wait_closed()
    await viewer.wait_closed()
    await second.wait_connected()
    again = await view(endpoints.whip, bob, alice_id)
    await again.receives_video(3)
    assert await first.stop() == 200, "a recently closed connection"
    assert await again.stop() == 200
    assert await second.stop() == 200
    expected = ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]
    await endpoints.wait_for_events(alice_id, *expected)


# Subscribing


async def test_a_subscription_is_recorded_with_its_publisher(endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    publisher = await publish(endpoints.whip, alice)
    await publisher.wait_connected()
    viewer = await view(endpoints.whip, bob, alice_id)
    await viewer.receives_video(3)
    await endpoints.wait_for_events(bob_id, "JOINED", f"SUBSCRIBE_STARTED {alice_id}")
    assert await viewer.stop() == 200
    assert endpoints.events_of(bob_id) == ["JOINED", f"SUBSCRIBE_STARTED {alice_id}", f"SUBSCRIBE_STOPPED {alice_id}", "LEFT"]
    await publisher.stop()


async def test_a_publisher_that_stops_closes_its_subscriptions(endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    async with endpoints.join(bob) as client:
        publisher = await publish(endpoints.whip, alice)
        await client.wait_for_state(alice_id + "*", bob_id)
        viewer = await view(endpoints.whip, bob, alice_id)
        await viewer.receives_video(3)
        await publisher.stop()
        await viewer.wait_closed()
        await client.wait_for_state(bob_id)
        await endpoints.wait_for_events(bob_id, "JOINED", f"SUBSCRIBE_STARTED {alice_id}", f"SUBSCRIBE_STOPPED {alice_id}")
    await endpoints.wait_for_events(
        bob_id, "JOINED", f"SUBSCRIBE_STARTED {alice_id}", f"SUBSCRIBE_STOPPED {alice_id}", "LEFT"
    )


async def test_a_participant_that_does_not_publish_is_not_found(endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    async with endpoints.join(alice) as one, endpoints.join(bob) as two:
        await two.wait_for_state(alice_id, bob_id)
        for remote in (alice_id, "unknown"):
            answer = await endpoints.send_async("POST", f"/subscribe/{remote}", bob, offer("recvonly"), SDP)
            assert code(answer) == (404, "PUBLISHER_NOT_FOUND")
        assert await one.request("PING") == {"type": "PONG"}
    events = [event.split()[0] + " " + event.split()[-1] for event in endpoints.events_of(bob_id)]
    assert "SUBSCRIBE_ERROR PUBLISHER_NOT_FOUND" in events


async def test_quotas_are_enforced(start_node):
    node = start_node("--quotas", "publishers=1,subscribers=1")
    tenant = node.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    (alice, alice_id), (bob, bob_id), (carol, carol_id) = endpoints.token(), endpoints.token(), endpoints.token()
    publisher = await publish(endpoints.whip, alice)
    await publisher.wait_connected()
    async with endpoints.join(bob) as client:
        await client.wait_for_state(alice_id + "*", bob_id)
        with pytest.raises(OfferRejected) as refused:
            await publish(endpoints.whip, bob)
        assert (refused.value.status, refused.value.code) == (403, "QUOTA_EXCEEDED")
        viewer = await view(endpoints.whip, bob, alice_id)
        await viewer.receives_video(3)
        answer = await endpoints.send_async("POST", f"/subscribe/{alice_id}", carol, offer("recvonly"), SDP)
        assert code(answer) == (403, "QUOTA_EXCEEDED")
        assert await viewer.stop() == 200
    assert endpoints.events_of(bob_id)[:2] == ["JOINED", "PUBLISH_ERROR QUOTA_EXCEEDED"]
    again = await publish(endpoints.whip, alice)
    await again.wait_connected()
    await again.stop()


# Resources


async def test_only_its_participant_can_delete_a_connection_and_repeatedly(endpoints):
    (alice, alice_id), (bob, _) = endpoints.token(), endpoints.token()
    made = await endpoints.send_async("POST", "", alice, offer(), SDP)
    resource = made.headers["Location"]
    assert code(await endpoints.send_async("DELETE", resource, bob)) == (404, "CONNECTION_NOT_FOUND")
    assert code(await endpoints.send_async("DELETE", resource)) == (401, "TOKEN_MISSING")
    assert code(await endpoints.send_async("DELETE", "/resource/abcdefghijklmnop", alice)) == (404, "CONNECTION_NOT_FOUND")
    assert endpoints.participant(alice_id)["state"] == "CONNECTED"
    for _ in range(3):
        ended = await endpoints.send_async("DELETE", resource, alice)
        assert (ended.status_code, ended.content) == (200, b"")
        assert endpoints.participant(alice_id)["state"] == "DISCONNECTED", "recorded before the response"
    assert code(await endpoints.send_async("DELETE", resource, bob)) == (404, "CONNECTION_NOT_FOUND")


async def test_trickle_ice_needs_the_etag_of_the_ice_session(endpoints):
    (alice, _), (bob, _) = endpoints.token(), endpoints.token()
    sent = offer()
    made = await endpoints.send_async("POST", "", alice, sent, SDP)
    resource, tag = made.headers["Location"], made.headers["ETag"]
    ufrag, password = credentials(sent)
    some = fragment(ufrag, password, sent)

    async def patch(body=some, token=alice, kind=FRAGMENT, **headers):
        return await endpoints.send_async("PATCH", resource, token, body, kind, **headers)

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
    """A trickle ICE fragment (RFC 8840)."""
    section = re.search(r"m=audio .*", sdp)[0].strip()
    candidate = "a=candidate:1 1 udp 2122260223 127.0.0.1 40000 typ host"
    return f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n{section}\r\na=mid:0\r\n{candidate}\r\na=end-of-candidates\r\n"


# OPTIONS and other methods


@pytest.mark.parametrize(
    ("path", "methods", "accepts"),
    [
        ("", "POST", ("Accept-Post", SDP)),
        ("/publish/x", "POST", ("Accept-Post", SDP)),
        ("/subscribe/x", "POST", ("Accept-Post", SDP)),
        ("/resource/x", "DELETE, PATCH", ("Accept-Patch", FRAGMENT)),
    ],
)
async def test_options_lists_methods_and_media_types(ice_endpoints, path, methods, accepts):
    answer = await ice_endpoints.send_async("OPTIONS", path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Allow"] == f"{methods}, OPTIONS"
    assert answer.headers[accepts[0]] == accepts[1]
    assert answer.headers.items() >= CORS.items()
    assert ALLOWED <= set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    assert answer.headers["Link"].startswith("<stun:stun.example.org:3478>")
    for method in ("GET", "HEAD", "PUT"):
        answer = await ice_endpoints.send_async(method, path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, f"{methods}, OPTIONS")
        assert answer.headers.items() >= CORS.items()


# TURN

TURN_SECRET = "north-of-the-wall"


@pytest.fixture(scope="session")
def turn_node(start_node):
    """A server with a shared-secret TURN server, one with fixed credentials, and a STUN server."""
    servers = "turn:turn.example.org:3478?transport=udp,turns:me:p%40ss%22%2C@turn.example.org,stun:stun.example.org"
    return start_node("--ice-servers", servers, "--turn-ttl-seconds", "600", GREENROOM_TURN_SECRET=TURN_SECRET)


@pytest.fixture
def turn_endpoints(turn_node):
    tenant = turn_node.tenant()
    return StageEndpoints(tenant, tenant.stage())


STUN_LINK = '<stun:stun.example.org>; rel="ice-server"'


def credentials_in(link, participant):
    """Asserts that a Link header has a participant's credentials for each TURN server; returns their expiry."""
    made, own, stun = re.split(r", (?=<)", link)
    form = r'<turn:turn\.example\.org:3478\?transport=udp>; rel="ice-server"; username="(\d+):(\w+)"; credential="([^"]+)"'
    expiry, user, credential = re.fullmatch(form + '; credential-type="password"', made).groups()
    assert user == participant
    right = hmac.new(TURN_SECRET.encode(), f"{expiry}:{user}".encode(), "sha1").digest()
    assert credential == base64.b64encode(right).decode()
    fixed = r'<turns:turn.example.org>; rel="ice-server"; username="me"; credential="p@ss\","; credential-type="password"'
    assert (own, stun) == (fixed, STUN_LINK)
    return int(expiry)


async def test_turn_servers_have_credentials_of_the_participant(turn_endpoints):
    token, participant = turn_endpoints.token()
    answer = await turn_endpoints.send_async("POST", "", token, offer(), SDP)
    assert answer.status_code == 201
    assert abs(credentials_in(answer.headers["Link"], participant) - time.time() - 600) < 60
    asked = await turn_endpoints.send_async("OPTIONS", f"/publish/{participant}", token)
    assert (asked.status_code, asked.headers["Cache-Control"]) == (204, "no-store")
    assert credentials_in(asked.headers["Link"], participant)


@pytest.mark.parametrize("path", ["", "/publish/x", "/subscribe/x", "/resource/x"])
async def test_turn_credentials_need_a_valid_token(turn_endpoints, path):
    plain = await turn_endpoints.send_async("OPTIONS", path)
    assert (plain.status_code, plain.headers["Link"]) == (204, STUN_LINK)
    token, _ = turn_endpoints.token()
    for wrong in ("nonsense", token[:-4] + "AAAA"):
        refused = await turn_endpoints.send_async("OPTIONS", path, wrong)
        assert refused.status_code == 401 and "Link" not in refused.headers


async def test_turn_credentials_are_not_logged(turn_node, turn_endpoints):
    token, participant = turn_endpoints.token()
    links = (await turn_endpoints.send_async("OPTIONS", "", token)).headers["Link"]
    await turn_endpoints.send_async("POST", "", token, offer(), SDP)
    made = re.search(r'credential="([^"]+)"', links).group(1)
    log = turn_node.test_server.logged()
    for secret in (TURN_SECRET, made, "p@ss", "p%40ss"):
        assert secret not in log


def test_a_turn_server_without_credentials_is_warned_of(ice_node):
    ice_node.test_server.wait_for_log("TURN server without credentials")
    warned = [line for line in ice_node.test_server.log_lines() if "TURN server without credentials" in line]
    assert len(warned) == 1 and "turn:turn.example.org" in warned[0]


async def test_the_events_path_answers_options(endpoints):
    answer = await endpoints.send_async("OPTIONS", endpoints.events.replace("ws", "http", 1) + "/" + endpoints.topic)
    assert answer.status_code == 204 and answer.headers["Allow"] == "GET, OPTIONS"


@pytest.mark.parametrize("path", ["/what", "/publish/a/b", "/subscribe", "/resource", "/publish/a%20b", "/subscribe/%ff"])
async def test_unknown_paths_are_rejected_in_the_same_form(endpoints, path):
    token, _ = endpoints.token()
    answer = await endpoints.send_async("POST", path, token, offer(), SDP)
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
async def test_malformed_offers_are_rejected(endpoints, case):
    token, participant = endpoints.token()
    sent = HOSTILE[case]
    sent = sent if isinstance(sent, str) else sent(offer())
    answer = await endpoints.send_async("POST", "", token, sent.encode(), SDP)
    assert answer.status_code in (400, 406, 413), answer.text
    assert answer.json()["code"] in ("MALFORMED_OFFER", "OFFER_TOO_LARGE", "INVALID_AUDIO_CODEC", "INVALID_VIDEO_CODEC")
    assert endpoints.sessions() == [], "no participant has joined"


async def test_unsupported_codecs_are_rejected_and_recorded(endpoints):
    token, participant = endpoints.token()
    other = re.sub(r"a=rtpmap:(\d+) (VP8|H264)/90000", r"a=rtpmap:\1 AV1/90000", offer())
    silent = re.sub(r"opus/48000/2", "L16/48000/2", offer())
    async with endpoints.join(token) as client:
        await client.wait_for_state(participant)
        assert code(await endpoints.send_async("POST", "", token, other, SDP)) == (406, "INVALID_VIDEO_CODEC")
        assert code(await endpoints.send_async("POST", "", token, silent, SDP)) == (406, "INVALID_AUDIO_CODEC")
    errors = ["PUBLISH_ERROR INVALID_VIDEO_CODEC", "PUBLISH_ERROR INVALID_AUDIO_CODEC"]
    await endpoints.wait_for_events(participant, "JOINED", *errors, "LEFT")


async def test_unsupported_video_formats_are_listed(endpoints):
    token, participant = endpoints.token()
    high10 = re.sub(r"profile-level-id=\w+", "profile-level-id=6e001f", without_vp8(offer()))
    alone = re.sub(r"profile-level-id=\w+", "profile-level-id=6e001f", without_vp8(offer(kinds=("video",))))
    async with endpoints.join(token) as client:
        await client.wait_for_state(participant)
        for sent in (high10, alone):
            answer = await endpoints.send_async("POST", "", token, sent, SDP)
            assert code(answer) == (406, "INVALID_VIDEO_CODEC")
            message = answer.json()["message"]
            assert "H264 profile-level-id=6e001f" in message and "640cxx" in message, message
        await endpoints.wait_for_events(participant, "JOINED", "PUBLISH_ERROR INVALID_VIDEO_CODEC")


@pytest.mark.parametrize("kinds", [("video",), ("audio", "video")])
async def test_constrained_high_is_accepted(endpoints, kinds):
    token, _ = endpoints.token()
    sent = re.sub(r"profile-level-id=\w+", "profile-level-id=640c1f", without_vp8(offer(kinds=kinds)))
    answer = await endpoints.send_async("POST", "", token, sent, SDP)
    assert answer.status_code == 201, answer.text
    assert "profile-level-id=640c1f" in answer.text and "m=video 0" not in answer.text


def without_vp8(sdp):
    return re.sub(r"VP8/90000", "VP9/90000", sdp)


async def test_opus_parameters_mirror_the_clients(endpoints):
    (alice, alice_id), (bob, _) = endpoints.token(), endpoints.token()
    asked = "stereo=1;sprop-stereo=1;usedtx=1;maxaveragebitrate=96000"
    stereo = lambda sdp: re.sub(r"(a=rtpmap:(\d+) opus/48000/2)", rf"\1\r\na=fmtp:\2 {asked}", sdp)  # noqa: E731
    answer = await endpoints.send_async("POST", "", alice, stereo(offer()), SDP)
    parameters = re.search(r"a=fmtp:\d+ (minptime.*)", answer.text)[1].strip().split(";")
    assert {"stereo=1", "usedtx=1", "maxaveragebitrate=96000"} <= set(parameters), answer.text
    publisher = await publish(endpoints.whip, alice)
    await publisher.wait_connected()
    await endpoints.wait_for_events(alice_id, "JOINED", "PUBLISH_STARTED")
    answer = await endpoints.send_async("POST", f"/subscribe/{alice_id}", bob, stereo(offer("recvonly")), SDP)
    assert answer.status_code == 201, answer.text
    assert "sprop-stereo=1" in re.search(r"a=fmtp:\d+ (minptime.*)", answer.text)[1]
    await publisher.stop()


async def test_errors_do_not_expose_the_libraries_texts(endpoints):
    token, _ = endpoints.token()
    cases = {
        "the audio section has no a=mid": re.sub(r"a=mid:0\r\n", "", offer()),
        "a=group:BUNDLE": re.sub(r"a=group:BUNDLE.*\r\n", "", offer()),
        "no a=fingerprint": re.sub(r"a=fingerprint:.*\r\n", "", offer()),
        "UDP/TLS/RTP/SAVPF": offer().replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
    }
    for words, sent in cases.items():
        answer = await endpoints.send_async("POST", "", token, sent, SDP)
        assert code(answer) == (400, "MALFORMED_OFFER")
        message = answer.json()["message"]
        assert words in message and "0x" not in message and "\n" not in message, message


async def test_oversized_offers_are_rejected_with_the_limit(endpoints):
    token, _ = endpoints.token()
    padding = "".join(f"a=ssrc:{number} cname:x\r\n" for number in range(5_000, 6_900))
    answer = await endpoints.send_async("POST", "", token, offer() + padding, SDP)
    assert code(answer) == (413, "OFFER_TOO_LARGE")
    assert re.search(r"the video section has 19\d\d a=ssrc lines; the limit is 64", answer.json()["message"])
    sections = "".join(f"m=application 9 UDP/DTLS/SCTP x\r\na=mid:d{number}\r\n" for number in range(70))
    answer = await endpoints.send_async("POST", "", token, offer() + sections, SDP)
    assert code(answer) == (413, "OFFER_TOO_LARGE")
    assert "more than 64 sections" in answer.json()["message"]
    assert (await endpoints.send_async("POST", "", token, offer(), SDP)).status_code == 201


async def test_the_limits_of_offers_are_configurable(start_node):
    tenant = start_node("--max-offer-bytes", "8192", "--max-offer-sections", "2").tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    token, _ = endpoints.token()
    assert (await endpoints.send_async("POST", "", token, offer(), SDP)).status_code == 201
    answer = await endpoints.send_async("POST", "", token, offer() + "a=x\r\n" * 2000, SDP)
    assert code(answer) == (413, "TOO_LARGE") and "8192" in answer.json()["message"]
    three = offer() + "m=application 9 UDP/DTLS/SCTP x\r\na=mid:d\r\n"
    assert code(await endpoints.send_async("POST", "", token, three, SDP)) == (413, "OFFER_TOO_LARGE")


async def test_a_subscriber_without_the_publishers_codec_is_rejected(endpoints):
    (alice, alice_id), (bob, _) = endpoints.token(), endpoints.token()
    publisher = await publish(endpoints.whip, alice, "VP8")
    await publisher.wait_connected()
    await endpoints.wait_for_events(alice_id, "JOINED", "PUBLISH_STARTED")
    other = re.sub(r"a=rtpmap:(\d+) VP8/90000", r"a=rtpmap:\1 AV1/90000", offer("recvonly"))
    assert code(await endpoints.send_async("POST", f"/subscribe/{alice_id}", bob, other, SDP)) == (406, "CODEC_MISMATCH")
    await publisher.stop()


async def test_a_payload_type_with_two_definitions_is_rejected(endpoints):
    (alice, alice_id), (bob, _) = endpoints.token(), endpoints.token()
    publisher = await publish(endpoints.whip, alice, "VP8")
    await publisher.wait_connected()
    await endpoints.wait_for_events(alice_id, "JOINED", "PUBLISH_STARTED")
    number = re.search(r"a=rtpmap:(\d+) VP8/90000", offer("recvonly"))[1]
    other = re.sub(r"(a=rtpmap:\d+ opus/48000/2)", rf"\1\r\na=rtpmap:{number} H264/90000", offer("recvonly"))
    answer = await endpoints.send_async("POST", f"/subscribe/{alice_id}", bob, other, SDP)
    assert code(answer) == (400, "MALFORMED_OFFER")
    assert f"payload type {number} has more than one definition" in answer.json()["message"]
    await publisher.stop()


async def test_bodies_of_other_types_and_sizes_are_rejected(endpoints):
    token, _ = endpoints.token()
    for kind in (None, "text/plain", "application/json", "application/sdpx"):
        assert code(await endpoints.send_async("POST", "", token, offer(), kind)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    for size in (256 * 1024 + 1, 500_000):
        assert code(await endpoints.send_async("POST", "", token, b"x" * size, SDP)) == (413, "TOO_LARGE")
    assert code(await endpoints.send_async("POST", "", token, b"\xff\xfe", SDP)) == (400, "MALFORMED_OFFER")
    made = await endpoints.send_async("POST", "", token, offer(), "Application/SDP; charset=utf-8")
    assert made.status_code == 201


async def test_a_body_that_does_not_arrive_times_out(impatient_node):
    tenant = impatient_node.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    token, _ = endpoints.token()

    def ask():
        connection = http.client.HTTPConnection(urlsplit(endpoints.whip).netloc, timeout=TIMEOUT_SECONDS)
        connection.putrequest("POST", "/whip")
        for name, value in (("Authorization", f"Bearer {token}"), ("Content-Type", SDP), ("Content-Length", "100")):
            connection.putheader(name, value)
        connection.endheaders(b"v=0")
        answer = connection.getresponse()
        return answer.status, answer.read()

    status, body = await asyncio.to_thread(ask)
    assert status == 408 and b'"TIMEOUT"' in body


# Timeouts


async def test_a_silent_client_times_out(impatient_node):
    tenant = impatient_node.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    token, participant = endpoints.token()
    made = await endpoints.send_async("POST", "", token, offer(), SDP)
    assert made.status_code == 201
    await wait_until(lambda: endpoints.participant(participant)["state"] == "DISCONNECTED")
    assert endpoints.events_of(participant) == ["JOINED", "PUBLISH_ERROR INTERNAL_SERVER_EXCEPTION", "LEFT"]
    assert (await endpoints.send_async("DELETE", made.headers["Location"], token)).status_code == 200


async def test_the_duration_of_streams_is_limited(start_node):
    node = start_node("--stream-max-seconds", "3")
    tenant = node.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage())
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    publisher = await publish(endpoints.whip, alice)
    await publisher.wait_connected()
    viewer = await view(endpoints.whip, bob, alice_id)
    await viewer.receives_video(3)
    await publisher.wait_closed()
    await viewer.wait_closed()
    for participant in (alice_id, bob_id):
        await wait_until(lambda: endpoints.participant(participant)["state"] == "DISCONNECTED")  # noqa: B023
    assert "PUBLISH_ERROR STREAM_DURATION_EXCEEDED" in endpoints.events_of(alice_id)
    assert endpoints.events_of(alice_id)[-1] == "LEFT"


async def test_a_participants_software_is_recorded(endpoints):
    token, participant = endpoints.token()
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
    headers = {"User-Agent": agent, "Greenroom-Sdk-Version": "1.2.3"}
    async with endpoints.join(token, headers=headers) as client:
        await client.wait_for_state(participant)
    found = endpoints.participant(participant)
    names = ("browserName", "browserVersion", "osName", "osVersion", "sdkVersion", "ispName", "protocol")
    assert [found[name] for name in names] == ["Chrome", "131.0.0.0", "Windows", "10", "1.2.3", "", "UNKNOWN"]
