"""The layer extension of WHEP: subscribers limit and pause what they are sent."""

import asyncio
import json
import re

import pytest

from endpoints import SDP
from offers import offer
from peers import publish, view

JSON = "application/json"
RELATION = 'rel="urn:ietf:params:whep:ext:core:layer"'


def code(answer):
    return answer.status_code, answer.json()["code"]


async def choose(endpoints, resource, token, kind=JSON, /, **choice):
    return await endpoints.send_async("POST", resource + "/layer", token, json.dumps(choice), kind)


async def test_the_answer_announces_the_extension_to_subscribers(endpoints):
    (alice, alice_id), (bob, _) = endpoints.token(), endpoints.token()
    published = await endpoints.send_async("POST", "", alice, offer(), SDP)
    assert RELATION not in published.headers.get("Link", "")
    made = await endpoints.send_async("POST", f"/subscribe/{alice_id}", bob, offer("recvonly"), SDP)
    resource = made.headers["Location"]
    assert made.headers["Link"] == f"<{resource}/layer>; {RELATION}"
    answer = await endpoints.send_async("OPTIONS", resource + "/layer")
    assert (answer.status_code, answer.headers["Allow"]) == (204, "POST, OPTIONS")
    assert answer.headers["Accept-Post"] == JSON and "Link" not in answer.headers
    answer = await endpoints.send_async("GET", resource + "/layer", bob)
    assert code(answer) == (405, "METHOD_NOT_ALLOWED")


async def test_a_subscription_is_paused_and_resumed(endpoints):
    (alice, alice_id), (bob, _) = endpoints.token(), endpoints.token()
    publisher = await publish(endpoints.whip, alice)
    viewer = await view(endpoints.whip, bob, alice_id)
    await viewer.receives_video(3)
    paused = await choose(endpoints, viewer.resource, bob, paused=True)
    assert (paused.status_code, paused.content) == (200, b"")
    assert paused.headers["Access-Control-Allow-Origin"] == "*"
    await settled(viewer)
    assert (await choose(endpoints, viewer.resource, bob, maxHeight=360)).status_code == 200
    before = viewer.video_frames
    await viewer.receives_video(before + 3)
    assert await viewer.stop() == 200
    assert code(await choose(endpoints, viewer.resource, bob)) == (404, "CONNECTION_NOT_FOUND")
    assert await publisher.stop() == 200


async def settled(viewer):
    """Waits until no frames arrive any more."""
    async with asyncio.timeout(20):
        frames = None
        while frames != (frames := (viewer.video_frames, viewer.audio_frames)):
            await asyncio.sleep(1)


async def test_requests_are_authorized_and_parsed_strictly(endpoints):
    (alice, alice_id), (bob, _), (carol, _) = endpoints.token(), endpoints.token(), endpoints.token()
    published = await endpoints.send_async("POST", "", alice, offer(), SDP)
    sent = offer("recvonly")
    made = await endpoints.send_async("POST", f"/subscribe/{alice_id}", bob, sent, SDP)
    resource = made.headers["Location"]
    assert code(await choose(endpoints, resource, None)) == (401, "TOKEN_MISSING")
    assert code(await choose(endpoints, resource, carol)) == (404, "CONNECTION_NOT_FOUND")
    assert code(await choose(endpoints, published.headers["Location"], alice)) == (422, "UNPROCESSABLE")
    assert code(await choose(endpoints, resource, bob, SDP)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert code(await choose(endpoints, resource, bob, mediaId="nonsense", paused=True)) == (422, "UNPROCESSABLE")
    refused = await choose(endpoints, resource, bob, maxheight=360)
    assert code(refused) == (400, "MALFORMED_REQUEST") and "maxheight" in refused.json()["message"]
    for mid in [*re.findall(r"a=mid:(\S+)", made.text), None]:
        assert (await choose(endpoints, resource, bob, mediaId=mid, maxHeight=180, paused=True)).status_code == 200


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"nonsense"])
async def test_a_body_that_is_not_json_is_malformed(endpoints, body):
    (alice, alice_id), (bob, _) = endpoints.token(), endpoints.token()
    await endpoints.send_async("POST", "", alice, offer(), SDP)
    made = await endpoints.send_async("POST", f"/subscribe/{alice_id}", bob, offer("recvonly"), SDP)
    answer = await endpoints.send_async("POST", made.headers["Location"] + "/layer", bob, body, JSON)
    assert answer.status_code == 400, answer.text
