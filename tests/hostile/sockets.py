"""Raw connections for clients that misbehave."""

import select
import socket
import struct
import time
from urllib.parse import urlsplit

WEBSOCKET_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


def connect(url, receive_buffer=None, source=None):
    """A TCP connection to the host of a URL; with a small receive buffer, unread responses are buffered by the server."""
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
    """A connection on which the upgrade to a participant's events WebSocket was requested."""
    stream = connect(endpoints.events, receive_buffer=4096)
    stream.sendall(
        f"GET /events/{endpoints.topic} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n".encode()
    )
    return stream


def frame(opcode, data=b""):
    """A short client frame, with a zero mask."""
    return bytes([0x80 | opcode, 0x80 | len(data), 0, 0, 0, 0]) + data


def close_frame(code, reason):
    """A server's close frame."""
    body = struct.pack("!H", code) + reason.encode()
    return bytes([0x88, len(body)]) + body


def send_until_closed(stream, data, seconds):
    """Sends the same bytes repeatedly without reading, until the server closes the connection or the time is up. Returns
    the number of bytes sent."""
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
    """Reads until the end of the stream or an error."""
    received = bytearray()
    try:
        while part := stream.recv(1 << 16):
            received += part
    except OSError:
        pass
    return bytes(received)
