"""Two nodes and one store: a page speaks to one of them, and its media are at the other.

A browser follows a redirection to another origin, but takes the token off on the way; the page puts it back.
"""

import socket
import time

import pytest
import requests

from clients import Server
from demo import Demo
from server import MASTER_KEY, Greenroom
from test_ends import check_in_time

OFFER = """async () => {
  const peer = new RTCPeerConnection();
  peer.addTransceiver("audio", { direction: "sendonly" });
  peer.addTransceiver("video", { direction: "sendonly" });
  await peer.setLocalDescription();
  return peer.localDescription.sdp;
}"""


@pytest.fixture
def nodes(fresh_postgres):
    """Two nodes; clients are told of the first."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    database, running = fresh_postgres(), []
    for address in addresses:
        flags = ("--listen", address, "--public-url", f"http://{addresses[0]}", "--node-url", f"http://{address}")
        shared = ("--database-url", database, "--media-addr", "127.0.0.1:0")
        running.append(Greenroom(*flags, *shared, GREENROOM_MASTER_KEY=MASTER_KEY).serving())
    yield [Server("postgres", program, database) for program in running]
    codes = [program.end() for program in running]
    assert codes == [0, 0], [program.logged()[-3000:] for program in running]


def free_port():
    """A port that was free a moment ago: a node must know its own before it is started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def people(nodes, chromium):
    """Two pages of the first node."""
    context = chromium.new_context()
    yield [Demo(context, nodes[0].endpoint, name) for name in ("alice", "bob")]
    context.close()


def test_a_page_publishes_and_receives_through_the_other_node(nodes, people):
    (first, second), (alice, bob) = nodes, people
    tenant = first.tenant()
    stage = tenant.stage()

    token = tenant.token(stage)["token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    offer = alice.page.evaluate(OFFER)
    claimed = requests.post(f"{second.endpoint}/whip", data=offer, headers=headers)
    assert claimed.status_code == 201 and claimed.headers["location"].startswith(f"{second.endpoint}/")

    published = tenant.token(stage, userId="alice")
    alice.join(published["token"]).publish("pattern")
    bob.join(tenant.token(stage, userId="bob")["token"]).receives(published["participantId"])
    for demo in (alice, bob):
        sent = demo.know("greenroom.log.filter((one) => one.kind === 'http').map((one) => one.detail)")
        # Before, the page asks for ICE servers.
        posts = [one for one in sent if one["method"] == "POST"]
        assert [(post["status"], post["redirected"]) for post in posts] == [(401, True), (201, False)], posts
        assert posts[1]["url"].startswith(f"{second.endpoint}/whip/")
    alice.press("Unpublish")
    bob.ended(published["participantId"])
    assert alice.complaints == bob.complaints == []


def test_who_is_disconnected_at_the_other_node_sees_it_within_a_second(nodes, people):
    (first, second), (alice, bob) = nodes, people
    tenant = first.tenant()
    stage = tenant.stage()
    token = tenant.token(stage)
    alice.join(token["token"]).publish("pattern")
    bob.join(tenant.token(stage)["token"]).receives(token["participantId"])
    second.tenant(tenant.account).ivs.disconnect_participant(stageArn=stage, participantId=token["participantId"])
    answered = time.time()
    closed = alice.closed()
    assert closed["reason"] == "PARTICIPANT_DISCONNECTED"
    check_in_time(closed["at"], answered, "the events WebSocket closed")
    check_in_time(alice.ended(), answered, "the publication ended")
    check_in_time(bob.ended(token["participantId"]), answered, "the others saw it")
