"""Raw connections for clients that misbehave."""

import select
import socket
import struct
import time
from urllib.parse import urlsplit

WEBSOCKET_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


def connect(url, receive_buffer=None, source=None):
    """A TCP connection to the host of a URL; a small receive buffer makes unread answers pile up at the server."""
    target = urlsplit(url)
    stream = socket.socket()
    if receive_buffer:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source:
        stream.bind((source, 0))
    stream.settimeout(10)
    stream.connect((target.hostname, target.port))
    return stream


def open_websocket(endpoints, token):
    """An events WebSocket of a participant: the connection after the request for the upgrade."""
    stream = connect(endpoints.events, receive_buffer=4096)
    stream.sendall(
        f"GET /events/{endpoints.topic} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n".encode()
    )
    return stream


def frame(opcode, data=b""):
    """A short client frame; a mask of zeros leaves the data as it is."""
    return bytes([0x80 | opcode, 0x80 | len(data), 0, 0, 0, 0]) + data


def close_frame(code, reason):
    """A server's close frame."""
    body = struct.pack("!H", code) + reason.encode()
    return bytes([0x88, len(body)]) + body


def send_until_closed(stream, data, seconds):
    """Sends the same bytes again and again without reading, until the server closes the connection or time is over.
    Answers the bytes sent."""
    sent, end = 0, time.monotonic() + seconds
    stream.setblocking(False)
    while time.monotonic() < end:
        if not select.select([], [stream], [], 0.1)[1]:
            continue
        try:
            sent += stream.send(data)
        except BlockingIOError:
            continue
        except OSError:
            break
    stream.settimeout(10)
    return sent


def read_to_end(stream):
    """Everything that can still be read."""
    received = bytearray()
    try:
        while part := stream.recv(1 << 16):
            received += part
    except OSError:
        pass
    return bytes(received)
