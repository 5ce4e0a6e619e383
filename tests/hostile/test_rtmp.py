"""Encoders that misbehave before they publish, and their connections: the server ends them in time, within bounds, and serves
others."""

import os
import socket
import ssl
import struct
import time

import pytest

import amf
from encoders import MAX_GROWTH_MB, PROMPT_SECONDS, STARTED, Ingest, ingest  # noqa: F401 (fixture)
from flv import VIDEO
from metrics import peak_rss, refused_total, rss_mb
from record import eventually
from rtmp import COMMAND, SET_CHUNK_SIZE, RtmpClient


# Before publishing


def wrong_version(client):
    client.send(b"\x06" + os.urandom(1536))


def garbage(client):
    client.send(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(4096))


def half_a_handshake(client):
    client.send(b"\x03" + bytes(700))


def silence_after_the_handshake(client):
    client.shake_hands()


def publish_before_connect(client):
    client.shake_hands()
    client.command("publish", 1, None, "key", "live", stream=1)


def create_stream_before_connect(client):
    client.shake_hands()
    client.command("createStream", 1, None)


def media_before_publish(client):
    client.connect()
    for _ in range(300):
        client.send_message(VIDEO, os.urandom(4000), stream=1)


def deeply_nested_amf(client):
    client.shake_hands()
    client.send_message(COMMAND, amf.encode("connect", 1) + b"\x03\x00\x01a" * 10_000)


def large_array_in_amf(client):
    client.shake_hands()
    client.send_message(COMMAND, amf.encode("connect", 1) + b"\x0a\xff\xff\xff\xff" + b"\x05" * 100)


def command_without_a_name(client):
    client.shake_hands()
    client.send_message(COMMAND, b"")
    client.send_message(COMMAND, b"\x02\xff\xff")


def chunk_size_of_zero(client):
    client.shake_hands()
    client.send_message(SET_CHUNK_SIZE, struct.pack("!I", 0), chunk_stream=2)
    client.send_message(COMMAND, amf.encode("connect", 1, {"app": "app"}))


def continuation_without_a_beginning(client):
    client.shake_hands()
    client.send(bytes([3 << 6 | 9]) + bytes(128))


def endless_message(client):
    """16 MiB are announced, and more is sent."""
    client.shake_hands()
    client.send(client.chunk(bytes(128), COMMAND, length=0xFFFFFF))
    for _ in range(200_000):
        client.send(b"\xc3" + bytes(128))


def many_chunk_streams(client):
    """Each has a part of a message."""
    client.shake_hands()
    for number in range(2, 20_000):
        client.send(client.chunk(bytes(128), COMMAND, length=60_000, chunk_stream=number))


def slow_drip(client):
    hello = b"\x03" + os.urandom(1536)
    for byte in hello:
        client.send(bytes([byte]))
        time.sleep(0.1)


def endless_commands(client):
    client.connect()
    for number in range(100_000):
        client.command("createStream", number, None)


# With the reason in the metrics.
BEFORE = {
    wrong_version: "protocol",
    garbage: "protocol",
    half_a_handshake: "timeout",
    silence_after_the_handshake: "timeout",
    publish_before_connect: "protocol",
    create_stream_before_connect: "protocol",
    media_before_publish: "protocol",
    deeply_nested_amf: "protocol",
    large_array_in_amf: "protocol",
    command_without_a_name: "protocol",
    chunk_size_of_zero: "protocol",
    continuation_without_a_beginning: "protocol",
    endless_message: "protocol",
    many_chunk_streams: "protocol",
    slow_drip: "timeout",
    endless_commands: "protocol",
}


@pytest.mark.parametrize("attack", BEFORE, ids=lambda attack: attack.__name__)
def test_an_encoder_that_does_not_publish_is_disconnected(ingest, attack):
    began, before = time.monotonic(), ingest.ended(BEFORE[attack])
    with ingest.client() as client, peak_rss(ingest.server) as memory:
        try:
            attack(client)
        except OSError:
            pass  # the server has closed the connection
        assert client.is_closed(PROMPT_SECONDS)
    assert time.monotonic() - began < PROMPT_SECONDS
    eventually(lambda: ingest.ended(BEFORE[attack]) == before + 1)
    assert memory.growth < MAX_GROWTH_MB
    ingest.serves()


def test_playing_is_refused_with_a_reason(ingest):
    with ingest.client() as client:
        client.connect()
        client.command("createStream", 2, None)
        stream = int(client.answer("_result")[3])
        client.command("play", 3, None, ingest.key().key, stream=stream)
        code, description = client.status()
        assert code == "NetStream.Play.Failed" and "publish" in description
        assert client.is_closed()


def test_tls_and_plain_text_at_the_wrong_ports(ingest):
    with RtmpClient(ingest.rtmps) as client:
        client.send(b"\x03" + os.urandom(1536))
        assert client.is_closed(PROMPT_SECONDS)
    with RtmpClient(ingest.rtmps) as client:
        client.send(b"\x16\x03\x01\xff\xff" + os.urandom(4096))
        assert client.is_closed(PROMPT_SECONDS)
    with socket.create_connection(ingest.rtmp, 10) as connection, pytest.raises(OSError):
        ssl.create_default_context().wrap_socket(connection, server_hostname="localhost")
    with RtmpClient(ingest.rtmps, tls=True) as client:
        assert client.publish(ingest.key().key)[0] == STARTED
    ingest.serves()


# Connections


def test_a_hundred_idle_connections_need_little_memory(start_node):
    ingest = Ingest(start_node("--rtmp-timeout-seconds", "60", "--max-client-share", "100", RUST_LOG="info"))
    ingest.serves()
    before = rss_mb(ingest.server)
    clients = [ingest.client().connect() for _ in range(100)]
    grown = rss_mb(ingest.server) - before
    print(f"100 connections: {grown:.1f} MiB")
    assert grown < 10
    for client in clients:
        client.socket.close()


def test_connections_are_limited(start_node):
    """In all, and for each address."""
    flags = ("--max-rtmp-connections", "400", "--max-client-share", "30", "--rtmp-timeout-seconds", "60")
    ingest = Ingest(start_node(*flags, RUST_LOG="info"))
    clients = [ingest.client(source="127.0.0.2") for _ in range(120)]
    with ingest.client(source="127.0.0.2") as one_more:
        assert one_more.is_closed()
    assert refused_total(ingest.server, "client_rtmp_connections") == 1
    ingest.serves()
    clients += [ingest.client(source=f"127.0.0.{3 + n % 3}") for n in range(280)]
    with ingest.client(source="127.0.0.9") as one_more:
        assert one_more.is_closed()
    assert refused_total(ingest.server, "rtmp_connections") == 1
    assert not clients[0].is_closed(0.2)
    for client in clients:
        client.socket.close()
    eventually(lambda: served(ingest))


def served(ingest):
    try:
        ingest.serves()
    except OSError:
        return False  # the closed connections still count
    return True
