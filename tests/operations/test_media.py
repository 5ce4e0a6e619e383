"""Statistics of media: the signed endpoint, `greenroom inspect`, and the metrics that are made of them."""

import json
import re
import socket
from urllib.parse import quote, urlsplit

import pytest

from endpoints import StageEndpoints, wait_until
from figures import page
from peers import publish, view
from server import run

PATH = "/_greenroom/media"
HOSTILE = "\x1b[2J\u202eevil\x07\n"


@pytest.fixture(scope="module")
def server(start_server, new_store):
    return start_server(new_store())


@pytest.fixture
def tenant(server):
    return server.tenant()


@pytest.fixture
def endpoints(tenant):
    return StageEndpoints(tenant, tenant.stage())


def read(server, tenant, stage, **parameters):
    """The answer of a server."""
    query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in ({"stageArn": stage} | parameters).items())
    return server.wire(tenant.account, tenant.region).send("GET", f"{PATH}?{query}")


def inspect(server, tenant, stage, *more):
    keys = {"AWS_ACCESS_KEY_ID": tenant.account, "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": server.endpoint}
    return run("inspect", stage, *more, **keys)


@pytest.fixture
def nodes(start_server, fresh_postgres):
    """Two nodes on one store, each reached by its own URL."""

    def start(store):
        with socket.create_server(("127.0.0.1", 0)) as free:
            listen = "127.0.0.1:%d" % free.getsockname()[1]
        return start_server(store, "--public-url", "http://ivs.example.org", "--node-url", f"http://{listen}", listen=listen)

    first = start(fresh_postgres())
    return first, start(first.database)


async def test_the_connections_of_a_stage_and_of_a_participant_are_shown(server, tenant, endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(userId=HOSTILE), endpoints.token()
    publisher = await publish(endpoints.whip, alice)
    viewer = await view(endpoints.whip, bob, alice_id)
    await viewer.receives_video(60)

    def shown(**parameters):
        answer = read(server, tenant, endpoints.stage, **parameters)
        assert answer.status == 200, answer
        return answer.json

    await wait_until(lambda: shown(participantId=bob_id)["connections"][0]["roundTripSeconds"] is not None)
    first, second = shown()["connections"]
    assert (first["participantId"], first["role"], first["userId"]) == (alice_id, "publish", HOSTILE)
    assert (second["participantId"], second["role"], second["remoteParticipantId"]) == (bob_id, "subscribe", alice_id)
    assert publisher.resource.endswith(first["connectionId"])
    for one in (first, second):
        assert one["connected"] and one["bitsPerSecond"] > 0 and one["ageSeconds"] > 0
        assert one["candidatePair"]["protocol"] == "udp" and re.search(r":\d+$", one["candidatePair"]["remote"])
        assert {track["kind"] for track in one["tracks"]} == {"audio", "video"}
        assert all(track["packets"] > 0 and track["codec"] for track in one["tracks"])
    [layer] = next(track for track in first["tracks"] if track["kind"] == "video")["layers"]
    assert (layer["width"], layer["height"], layer["live"]) == (320, 240, True)
    sent = next(track for track in second["tracks"] if track["kind"] == "video")
    assert sent["sentLayer"] == sent["wantedLayer"] == {"encodingId": "", "width": 320, "height": 240}
    assert sent["limitation"] == "none"

    page_ = shown(limit=1)
    assert [one["participantId"] for one in page_["connections"]] == [alice_id] and page_["next"] == first["sequence"]
    assert [one["participantId"] for one in shown(after=page_["next"])["connections"]] == [bob_id]
    assert shown(participantId="nobody") == {"connections": [], "next": None, "node": server.endpoint}

    ended = inspect(server, tenant, endpoints.stage, "--once")
    assert ended.returncode == 0, ended.stderr
    assert alice_id in ended.stdout and bob_id in ended.stdout and "320x240" in ended.stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", ended.stdout), ended.stdout
    assert r"\u{1b}[2J\u{202e}evil\u{7}\n" in ended.stdout
    ended = inspect(server, tenant, endpoints.stage, bob_id, "--once", "--output", "json")
    [one] = json.loads(ended.stdout)["connections"]
    assert one["participantId"] == bob_id
    assert await viewer.stop() == 200
    assert await publisher.stop() == 200
    assert shown()["connections"] == []


def test_a_stage_of_another_account_and_invalid_queries_are_refused(server, tenant, endpoints):
    def refused(stage, **parameters):
        answer = read(server, tenant, stage, **parameters)
        return answer.status, answer.fault

    other = server.tenant()
    assert refused(other.stage()) == (404, "ResourceNotFoundException")
    assert refused(tenant.arn("stage")) == (404, "ResourceNotFoundException")
    assert refused("nonsense") == (400, "ValidationException")
    assert refused(endpoints.stage, limit=0) == (400, "ValidationException")
    assert refused(endpoints.stage, participantId="a b") == (400, "ValidationException")
    assert refused(endpoints.stage, unknown=1) == (400, "ValidationException")
    ended = inspect(server, tenant, tenant.arn("stage"), "--once")
    assert ended.returncode == 1 and "ResourceNotFoundException" in ended.stderr, ended.stderr
    ended = inspect(server, tenant, "nonsense", "--once")
    assert ended.returncode == 1 and "ARN" in ended.stderr, ended.stderr
    unsigned = server.wire(tenant.account, tenant.region).send("GET", PATH, signed=False)
    assert unsigned.status == 403, unsigned


async def test_metrics_have_sums_and_histograms(server, endpoints):
    (alice, alice_id), (bob, _) = endpoints.token(), endpoints.token()
    publisher = await publish(endpoints.whip, alice)
    viewer = await view(endpoints.whip, bob, alice_id)
    await viewer.receives_video(30)

    def value(name, **labels):
        return page(server).value(name, **labels)

    for role in ("publish", "subscribe"):
        await wait_until(lambda: value("greenroom_media_rtp_packets_total", role=role) > 30)
        assert value("greenroom_media_rtp_bytes_total", role=role) > 1000
    for histogram in ("round_trip_seconds", "loss_ratio", "jitter_seconds"):
        await wait_until(lambda: value(f"greenroom_media_{histogram}_count", role="subscribe") > 0)
    assert value("greenroom_media_connection_bits_per_second_count", role="publish") > 0
    assert value("greenroom_media_ice_seconds_count", role="subscribe") > 0
    assert value("greenroom_media_dtls_seconds_count", role="publish") > 0
    assert value("greenroom_media_video_subscriptions", limitation="none") >= 1
    before = value("greenroom_media_rtp_packets_total", role="subscribe")
    await viewer.stop()
    await publisher.stop()
    assert value("greenroom_media_rtp_packets_total", role="subscribe") >= before


async def test_another_node_redirects_and_the_command_follows(nodes):
    here, there = nodes
    tenant = here.tenant()
    endpoints = StageEndpoints(tenant, tenant.stage()).on(here)
    alice, alice_id = endpoints.token()
    publisher = await publish(endpoints.whip, alice)
    await publisher.wait_connected()
    answer = read(there, tenant, endpoints.stage)
    assert answer.status == 307, answer
    location = urlsplit(answer.headers["location"])
    assert (f"http://{location.netloc}", location.path) == (here.endpoint, PATH)
    assert answer.json["node"] == here.endpoint
    ended = inspect(there, tenant, endpoints.stage, "--once", "--output", "json")
    assert ended.returncode == 0, ended.stderr
    shown = json.loads(ended.stdout)
    assert [one["participantId"] for one in shown["connections"]] == [alice_id] and shown["node"] == here.endpoint
    assert await publisher.stop() == 200
