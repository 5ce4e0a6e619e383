"""Two nodes on one store: the page uses one, its media the other.

Browsers drop the Authorization header on cross-origin redirects; the page sends it again.
"""

import socket
import time

import pytest
import requests

from clients import Server
from demo_page import DemoPage
from server import MASTER_KEY, Greenroom
from test_ends import assert_prompt

OFFER = """async () => {
  const peer = new RTCPeerConnection();
  peer.addTransceiver("audio", { direction: "sendonly" });
  peer.addTransceiver("video", { direction: "sendonly" });
  await peer.setLocalDescription();
  return peer.localDescription.sdp;
}"""


@pytest.fixture
def nodes(fresh_postgres):
    """Two nodes with the first one's public URL."""
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
    """A free port; a node's URL must be known before it starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def people(nodes, chromium):
    """Two pages on the first node."""
    context = chromium.new_context()
    yield [DemoPage(context, nodes[0].endpoint, name) for name in ("alice", "bob")]
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
        sent = demo.evaluate("greenroom.log.filter((one) => one.kind === 'http').map((one) => one.detail)")
        # An OPTIONS request for ICE servers precedes the POST.
        posts = [one for one in sent if one["method"] == "POST"]
        assert [(post["status"], post["redirected"]) for post in posts] == [(401, True), (201, False)], posts
        assert posts[1]["url"].startswith(f"{second.endpoint}/whip/")
    alice.click_button("Unpublish")
    bob.ended(published["participantId"])
    assert alice.console_errors == bob.console_errors == []


def test_disconnecting_on_the_other_node_reaches_pages_within_a_second(nodes, people):
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
    assert_prompt(closed["at"], answered, "the events WebSocket closed")
    assert_prompt(alice.ended(), answered, "the publication ended")
    assert_prompt(bob.ended(token["participantId"]), answered, "the others saw it")
