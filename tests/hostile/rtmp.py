"""An RTMP client that can misbehave, and FLV tags to send."""

import functools
import io
import os
import socket
import ssl
import struct
import subprocess
import time

import imageio_ffmpeg

import amf
from flv import tags

SET_CHUNK_SIZE, COMMAND, AGGREGATE = 1, 20, 22
CHUNK_BYTES = 4096
TIMEOUT_SECONDS = 10


@functools.cache
def recorded(seconds=2):
    """The tags of a small stream: H.264 320×180 at 30 fps with a key frame each second, AAC 48 kHz."""
    picture, sound = f"testsrc2=size=320x180:rate=30:duration={seconds}", f"sine=sample_rate=48000:duration={seconds}"
    options = "-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -pix_fmt yuv420p -g 30 -c:a aac -f flv -"
    inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *inputs, *options.split()]
    data = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    return tuple(tags(io.BytesIO(data)))


class RtmpClient:
    """A connection of an encoder."""

    def __init__(self, address, tls=False, source=None):
        self.socket = socket.create_connection(address, TIMEOUT_SECONDS, source and (source, 0))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.received, self.partial, self.headers = b"", {}, {}
        self.sent_chunk, self.read_chunk = 128, 128

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # Raw bytes

    def send(self, data):
        self.socket.sendall(data)

    def read(self, size):
        while len(self.received) < size:
            part = self.socket.recv(65536)
            if not part:
                raise ConnectionError("closed by the server")
            self.received += part
        data, self.received = self.received[:size], self.received[size:]
        return data

    def is_closed(self, seconds=TIMEOUT_SECONDS):
        """Whether the server closes the connection in this time."""
        end = time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0:
                self.socket.settimeout(left)
                if not self.socket.recv(65536):
                    return True
        except TimeoutError:
            return False
        except OSError:
            return True
        return False

    # Messages

    def chunk(self, body, kind, length=None, stream=0, timestamp=0, chunk_stream=3):
        """The first chunk of a message, with a length that may be false."""
        length = len(body) if length is None else length
        small = min(timestamp, 0xFFFFFF)
        header = basic_header(0, chunk_stream) + small.to_bytes(3, "big") + length.to_bytes(3, "big")
        header += bytes([kind]) + struct.pack("<I", stream)
        return header + (struct.pack("!I", timestamp) if small == 0xFFFFFF else b"") + body

    def message(self, kind, body, stream=0, timestamp=0, chunk_stream=3):
        parts = [body[at : at + self.sent_chunk] for at in range(0, len(body), self.sent_chunk)] or [b""]
        data = self.chunk(parts[0], kind, len(body), stream, timestamp, chunk_stream)
        again = struct.pack("!I", timestamp) if timestamp >= 0xFFFFFF else b""
        return data + b"".join(basic_header(3, chunk_stream) + again + part for part in parts[1:])

    def send_message(self, kind, body, **options):
        self.send(self.message(kind, body, **options))

    def receive(self):
        """The next message of the server: its type and its body."""
        while True:
            first = self.read(1)[0]
            form, number = first >> 6, first & 63
            self.headers[number] = header = self.header(form, number)
            length, kind = header
            begun = self.partial.setdefault(number, bytearray())
            begun += self.read(min(self.read_chunk, length - len(begun)))
            if len(begun) < length:
                continue
            body = bytes(self.partial.pop(number))
            if kind == SET_CHUNK_SIZE:
                self.read_chunk = int.from_bytes(body, "big")
            return kind, body

    def header(self, form, number):
        length, kind = self.headers.get(number, (0, 0))
        if form < 2:
            fields = self.read(11 if form == 0 else 7)
            return int.from_bytes(fields[3:6], "big"), fields[6]
        self.read(3 if form == 2 else 0)
        return length, kind

    # The session

    def shake_hands(self):
        self.send(b"\x03" + bytes(8) + os.urandom(1528))
        assert self.read(1) == b"\x03"
        first = self.read(1536)
        self.read(1536)
        self.send(first)
        return self

    def command(self, name, transaction, *arguments, stream=0):
        self.send_message(COMMAND, amf.encode(name, transaction, *arguments), stream=stream)

    def answer(self, *names):
        """The next command of the server with one of these names: its values."""
        while True:
            kind, body = self.receive()
            if kind == COMMAND and (values := amf.decode(body))[0] in names:
                return values

    def connect(self, app="app"):
        self.shake_hands()
        self.send_message(SET_CHUNK_SIZE, struct.pack("!I", CHUNK_BYTES), chunk_stream=2)
        self.sent_chunk = CHUNK_BYTES
        self.command("connect", 1, {"app": app, "type": "nonprivate", "flashVer": "hostile", "tcUrl": "rtmp://x/app"})
        assert self.answer("_result", "_error")[0] == "_result"
        return self

    def publish(self, key, app="app"):
        """Publishes; returns the code and the description of the server's status."""
        self.connect(app)
        self.command("createStream", 2, None)
        self.stream = int(self.answer("_result")[3])
        self.command("publish", 3, None, key, "live", stream=self.stream)
        return self.status()

    def status(self):
        found = self.answer("onStatus")[3]
        return found["code"], found["description"]

    def send_tag(self, tag, offset=0):
        at = (tag.timestamp + offset) % 2**32
        self.send_message(tag.kind, tag.body, stream=self.stream, timestamp=at, chunk_stream=tag.kind)


def basic_header(form, chunk_stream):
    if chunk_stream < 64:
        return bytes([form << 6 | chunk_stream])
    if chunk_stream < 320:
        return bytes([form << 6, chunk_stream - 64])
    return bytes([form << 6 | 1]) + struct.pack("<H", chunk_stream - 64)
