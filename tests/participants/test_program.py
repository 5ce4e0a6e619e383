"""Flags about participants' media, and the start-up output."""

import socket

import pytest
import requests

from server import Greenroom, run

MEMORY = ("--database-url", "sqlite::memory:", "--listen", "127.0.0.1:0")


@pytest.fixture
def started():
    running = []

    def start(*flags):
        running.append(Greenroom(*MEMORY, *flags))
        return running[-1]

    yield start
    for program in running:
        program.kill()


def media(program):
    """The media line of the start-up output."""
    while not (line := program.line()).lstrip().startswith("media "):
        pass
    return line.split(maxsplit=1)[1]


def test_the_media_address_is_printed(started):
    address = media(started("--media-addr", "127.0.0.1:0"))
    assert address.startswith("udp://127.0.0.1:") and not address.endswith(":0")


def test_a_missing_public_media_address_is_pointed_out(started):
    everywhere = ("--media-addr", "0.0.0.0:0")
    assert "--media-public-ip" in media(started(*everywhere))
    assert "--media-public-ip" not in media(started(*everywhere, "--media-public-ip", "192.0.2.7,2001:db8::7"))


def test_a_name_is_a_public_media_address_if_it_can_be_resolved(started):
    assert media(started("--media-addr", "127.0.0.1:0", "--media-public-ip", "localhost,192.0.2.7")).startswith("udp://127.0.0.1:")
    ended = run(*MEMORY, "--media-public-ip", "nothing.invalid")
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert "--media-public-ip" in line and "nothing.invalid cannot be resolved" in line
    ended = run(*MEMORY, "--media-public-ip", "http://example.org")
    assert ended.returncode == 2 and "DNS name" in ended.stderr


def test_the_default_media_port_follows_the_listeners():
    for _ in range(20):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            try:
                taken.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            ended = run("--database-url", "sqlite::memory:", "--listen", f"127.0.0.1:{port}")
        assert ended.returncode == 1
        [line] = ended.stderr.splitlines()
        assert f"127.0.0.1:{port + 1}" in line and "--media-addr" in line
        return
    pytest.fail("no two consecutive ports are free")


@pytest.mark.parametrize("bad", ["example.org", "http://example.org", "stun:a b", "stun:<x>", "stun:ä", "turn:u@x", "stun:u:p@x"])
def test_an_invalid_ice_server_is_rejected(bad):
    ended = run(*MEMORY, "--ice-servers", f"stun:good.example.org,{bad}")
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert "--ice-servers" in line


def test_a_port_for_everything_tells_media_from_http_by_the_first_byte(started):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    text = "%s:%d" % address
    program = Greenroom("--database-url", "sqlite::memory:", "--media-addr", text, "--metrics", "on", GREENROOM_LISTEN=text)
    try:
        assert media(program) == f"udp://{text}, tcp://{text}"
        with socket.create_connection(address, 10) as connection:
            # A frame of 20 bytes that is no STUN message.
            connection.sendall(b"\0\x14\0\1" + bytes(18))
            assert connection.recv(1) == b""
        metrics = requests.get(f"http://{text}/metrics", timeout=10).text
        assert 'greenroom_media_tcp_refused_total{reason="not_ice"} 1' in metrics
        assert 'greenroom_media_tcp_unsent_total{reason="queue_full"} 0' in metrics
    finally:
        program.kill()


def test_tcp_can_be_off_elsewhere_or_in_use(started):
    assert media(started("--media-addr", "127.0.0.1:0", "--media-tcp-addr", "off")).count("tcp://") == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        ended = run(*MEMORY, "--media-tcp-addr", address)
        assert ended.returncode == 1 and "--media-tcp-addr" in ended.stderr
        program = started("--media-addr", address)
        assert media(program) == f"udp://{address}"
        program.kill()
        assert "media over TCP is off" in program.logged()
    ended = run(*MEMORY, "--media-tcp-addr", "on")
    assert ended.returncode == 2 and "or off" in ended.stderr
