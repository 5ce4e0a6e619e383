"""A TURN server as far as an Allocate over UDP: long-term credentials, with a fixed user or a shared secret."""

import base64
import hashlib
import hmac
import socket
import struct
import threading
import time

COOKIE = 0x2112A442
REALM, NONCE = b"example.org", b"a-nonce"
BINDING, ALLOCATE, REFRESH = 0x001, 0x003, 0x004


def attribute(name, value):
    return struct.pack("!HH", name, len(value)) + value + b"\0" * (-len(value) % 4)


def xored(name, host, port):
    ip = struct.unpack("!I", socket.inet_aton(host))[0] ^ COOKIE
    return attribute(name, struct.pack("!BBHI", 0, 1, port ^ (COOKIE >> 16), ip))


class TurnServer:
    """Answers on a port of the loopback address, and keeps the usernames that it has allocated for."""

    def __init__(self, user=None, password=None, secret=None):
        self.user, self.password, self.secret = user, password, secret
        self.allocated, self.released = [], []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def close(self):
        self.socket.close()

    def _run(self):
        while True:
            try:
                data, source = self.socket.recvfrom(2048)
            except OSError:
                return
            answer = self._answer(data, source)
            if answer:
                self.socket.sendto(answer, source)

    def _answer(self, data, source):
        kind, length, cookie = struct.unpack("!HHI", data[:8])
        if cookie != COOKIE or kind not in (BINDING, ALLOCATE, REFRESH):
            return None
        if kind == BINDING:
            return self._message(kind | 0x100, data, xored(0x0020, *source))
        found, at = {}, 20
        while at < 20 + length:
            name, size = struct.unpack("!HH", data[at : at + 4])
            found[name] = (data[at + 4 : at + 4 + size], at)
            at += 4 + size + -size % 4
        if 0x0008 not in found:
            return self._refusal(kind, data, 401, b"Unauthorized")
        username = found[0x0006][0].decode()
        key = self._key(username)
        if key is None or not self._is_signed(data, found, key):
            return self._refusal(kind, data, 401, b"Unauthorized")
        if kind == REFRESH:
            self.released.append(username)
            return self._message(kind | 0x100, data, attribute(0x000D, bytes(4)))
        self.allocated.append(username)
        body = xored(0x0016, "127.0.0.1", 50000) + xored(0x0020, *source) + attribute(0x000D, struct.pack("!I", 600))
        return self._message(kind | 0x100, data, body, key)

    def _key(self, username):
        """The key of a user; of a shared secret, if the time in the username is not over."""
        password = self.password if username == self.user else None
        if self.secret and int(username.split(":")[0]) > time.time():
            password = base64.b64encode(hmac.new(self.secret.encode(), username.encode(), "sha1").digest()).decode()
        return hashlib.md5(b":".join([username.encode(), REALM, password.encode()])).digest() if password else None

    @staticmethod
    def _is_signed(data, found, key):
        tag, at = found[0x0008]
        signed = data[:2] + struct.pack("!H", at + 24 - 20) + data[4:at]
        return hmac.compare_digest(tag, hmac.new(key, signed, "sha1").digest())

    def _refusal(self, kind, data, code, text):
        body = attribute(0x0009, struct.pack("!HBB", 0, code // 100, code % 100) + text)
        return self._message(kind | 0x110, data, body + attribute(0x0014, REALM) + attribute(0x0015, NONCE))

    @staticmethod
    def _message(kind, request, body, key=None):
        if key is None:
            return struct.pack("!HH", kind, len(body)) + request[4:20] + body
        head = struct.pack("!HH", kind, len(body) + 24) + request[4:20]
        return head + body + attribute(0x0008, hmac.new(key, head + body, "sha1").digest())
