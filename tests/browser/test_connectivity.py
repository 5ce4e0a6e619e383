"""Clients whose network blocks UDP."""

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import requests

import browser
from clients import Server
from media_pages import PICTURE, MediaPage, MediaPages, publishing
from record import eventually
from server import Greenroom

SMALL = {**PICTURE, "width": 480, "height": 270}
PAIR = """async () => {
  const reports = await peer.getStats();
  const pair = [...reports.values()].find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
  if (!pair) return null;
  const [local, remote] = [reports.get(pair.localCandidateId), reports.get(pair.remoteCandidateId)];
  return { type: local.candidateType, relay: local.relayProtocol, protocol: remote.protocol, address: `${remote.address}:${remote.port}` };
}"""
CONNECTED = "states.find(([, state]) => state === 'connected')"


def without_udp(answer):
    """The answer as a client sees it whose network blocks UDP."""
    return re.sub(r"^a=candidate:\S+ 1 udp .*\r\n", "", answer, flags=re.MULTILINE | re.IGNORECASE)


def ice_servers(response):
    """The ICE servers of `Link` headers (RFC 9725, section 4.6)."""
    servers = []
    for url, text in re.findall(r'<([^>]*)>((?:; [a-z-]+="[^"]*")*)', response.headers["Link"]):
        members = dict(re.findall(r'([a-z-]+)="([^"]*)"', text))
        if members["rel"] == "ice-server":
            servers.append({"urls": url, "username": members["username"], "credential": members["credential"]})
    return servers


class Client:
    """A page without UDP: it uses TCP, or is `relayed` by the TURN servers that the server names."""

    def __init__(self, pages, url, token, offer, relayed):
        self.media = MediaPage(pages)
        self.page = self.media.page
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        if relayed:
            configuration = {"iceServers": ice_servers(requests.options(url, headers=headers, timeout=30)), "iceTransportPolicy": "relay"}
            self.page.evaluate("(found) => (window.configuration = found)", configuration)
        sdp = self.page.evaluate(*offer)
        answered = requests.post(url, data=sdp, headers=headers, timeout=30)
        assert answered.status_code == 201, answered.text
        self.page.evaluate("(sdp) => accept(sdp)", answered.text if relayed else without_udp(answered.text))

    def connects_over(self, protocol):
        at, _ = self.media.until(CONNECTED)
        # CI shows it with -s: at most 3 s on an idle machine.
        print(f"connected over {protocol} after {at - self.page.evaluate('began'):.0f} ms")
        pair = eventually(lambda: self.page.evaluate(PAIR))
        assert pair["protocol"] == protocol, pair
        return pair


@pytest.fixture
def media_pages(chromium):
    with MediaPages(chromium, None) as pages:
        yield pages


@pytest.fixture
def untrusting_chromium(chromium):
    """A browser that does not check certificates."""
    options = {"executable_path": browser.executable(), "args": [*browser.FLAGS, "--ignore-certificate-errors"]}
    running = chromium.browser_type.launch(**options)
    yield running
    running.close()


@pytest.fixture
def clients(media_pages):
    """A publisher and a viewer of a new stage on a server."""
    return clients_on(media_pages)


def clients_on(media_pages):
    def start(tenant, relayed=False):
        protocol = "udp" if relayed else "tcp"
        stage = tenant.stage(name="blocked")
        whip = tenant.ivs.get_stage(arn=stage)["stage"]["endpoints"]["whip"]
        sender, receiver = tenant.token(stage), tenant.token(stage)
        options = publishing(picture=SMALL)
        publisher = Client(media_pages, whip, sender["token"], ("(options) => publish(options)", options), relayed)
        publisher.connects_over(protocol)
        url = f"{whip}/subscribe/{sender['participantId']}"
        return publisher, Client(media_pages, url, receiver["token"], ("() => view('')",), relayed)

    return start


def test_media_flow_over_tcp_alone(tenant, clients):
    _, viewer = clients(tenant)
    viewer.connects_over("tcp")
    viewer.media.shows(480)


def test_one_port_serves_the_api_and_media_over_udp_and_tcp(clients):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = "127.0.0.1:%d" % free.getsockname()[1]
    store = "sqlite::memory:"
    program = Greenroom("--database-url", store, "--media-addr", address, GREENROOM_LISTEN=address).serving()
    try:
        assert program.endpoint == f"http://{address}"
        _, viewer = clients(Server("sqlite", program, store).tenant())
        assert viewer.connects_over("tcp")["address"] == address
        viewer.media.shows(480)
    finally:
        assert program.end() == 0


@pytest.fixture
def coturn(tmp_path):
    """Starts coturn for a configuration; returns its port for TLS."""
    program = shutil.which("turnserver")
    assert program, "turnserver is missing: apt-get install coturn"
    running = []

    def start(*lines):
        certificate = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
        names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
        files = ("-keyout", tmp_path / "turn.key", "-out", tmp_path / "turn.pem")
        subprocess.run([*certificate, *names, *files], check=True, capture_output=True)
        with socket.create_server(("127.0.0.1", 0)) as plain, socket.create_server(("127.0.0.1", 0)) as tls:
            ports = [one.getsockname()[1] for one in (plain, tls)]
        common = (
            f"listening-port={ports[0]}", f"tls-listening-port={ports[1]}", "listening-ip=127.0.0.1", "relay-ip=127.0.0.1",
            f"cert={tmp_path / 'turn.pem'}", f"pkey={tmp_path / 'turn.key'}", "realm=example.org", "no-udp", "no-tcp", "no-dtls",
            "no-cli", "cli-password=unused", "allow-loopback-peers", "fingerprint", "log-file=stdout", f"pidfile={tmp_path / 'pid'}",
            f"userdb={tmp_path / 'users'}",
        )  # fmt: skip
        Path(tmp_path / "turn.conf").write_text("\n".join([*common, *lines, ""]))
        log = (tmp_path / "turn.log").open("wb")
        running.append(subprocess.Popen([program, "-c", tmp_path / "turn.conf"], stdout=log, stderr=log))
        listens = lambda: socket.socket().connect_ex(("127.0.0.1", ports[1])) == 0  # noqa: E731
        assert eventually(listens), (tmp_path / "turn.log").read_text()
        return ports[1]

    yield start
    for program in running:
        program.kill()
        program.wait()
    print((tmp_path / "turn.log").read_text()[-4000:])


@pytest.mark.parametrize("shared", [True, False], ids=["shared secret", "fixed user"])
def test_media_are_relayed_over_tls(shared, coturn, untrusting_chromium):
    """By coturn, with both kinds of credentials."""
    lines = ("use-auth-secret", "static-auth-secret=north") if shared else ("lt-cred-mech", "user=me:p@ss,word")
    port = coturn(*lines)
    server = f"turns:127.0.0.1:{port}?transport=tcp"
    store = "sqlite::memory:"
    flags = ("--turn-secret", "north", "--ice-servers", server)
    if not shared:
        flags = ("--ice-servers", server.replace("127", "me:p%40ss%2Cword@127"))
    program = Greenroom("--database-url", store, "--media-addr", "127.0.0.1:0", *flags).serving()
    try:
        with MediaPages(untrusting_chromium, None) as pages:
            _, viewer = clients_on(pages)(Server("sqlite", program, store).tenant(), relayed=True)
            pair = viewer.connects_over("udp")
            assert (pair["type"], pair["relay"]) == ("relay", "tls")
            viewer.media.shows(480)
    finally:
        assert program.end() == 0
