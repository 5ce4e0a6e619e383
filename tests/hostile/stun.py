"""An ICE client as small as it can be: it makes connectivity checks (RFC 8445, RFC 8489), and times the answers."""

import hashlib
import hmac
import math
import os
import re
import socket
import struct
import threading
import time
import zlib

COOKIE = 0x2112A442
BINDING_REQUEST, BINDING_SUCCESS = 0x0001, 0x0101
USERNAME, MESSAGE_INTEGRITY, PRIORITY, FINGERPRINT, ICE_CONTROLLING = 0x0006, 0x0008, 0x0024, 0x8028, 0x802A
# How long an answer is waited for, and how far two checks are apart.
PATIENCE_SECONDS, APART_SECONDS = 10, 0.02


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def header(length, transaction):
    return struct.pack("!HHI", BINDING_REQUEST, length, COOKIE) + transaction


def binding_request(username, password):
    """A binding request and its transaction id."""
    transaction = os.urandom(12)
    body = attribute(USERNAME, username.encode())
    body += attribute(PRIORITY, struct.pack("!I", 0x6E0001FF)) + attribute(ICE_CONTROLLING, bytes(8))
    # Either sum is of what is before it, with a length that counts it in.
    signed = header(len(body) + 24, transaction) + body
    body += attribute(MESSAGE_INTEGRITY, hmac.new(password.encode(), signed, hashlib.sha1).digest())
    summed = header(len(body) + 8, transaction) + body
    crc = (zlib.crc32(summed) ^ 0x5354554E) & 0xFFFFFFFF
    return summed + attribute(FINGERPRINT, struct.pack("!I", crc)), transaction


def value(sdp, name):
    return re.search(rf"^a={name}:(\S+)", sdp, re.MULTILINE).group(1)


class Prober:
    """Checks the connectivity of a connection again and again, from one socket, in a thread of its own."""

    def __init__(self, offer, answer):
        self.username = f"{value(answer, 'ice-ufrag')}:{value(offer, 'ice-ufrag')}"
        self.password = value(answer, "ice-pwd")
        words = re.search(r"^a=candidate:(.*)$", answer, re.MULTILINE).group(1).split()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect((words[4], int(words[5])))

    def check(self):
        """Seconds until a check is answered."""
        request, transaction = binding_request(self.username, self.password)
        began = time.monotonic()
        self.socket.send(request)
        while True:
            answer = self.socket.recv(2048)
            kind, _, cookie = struct.unpack("!HHI", answer[:8])
            if cookie == COOKIE and answer[8:20] == transaction:
                assert kind == BINDING_SUCCESS, hex(kind)
                return time.monotonic() - began

    def while_doing(self, work):
        """Does some work in another thread, and checks until it is done; how long each check took, in their order of
        length."""
        failures, taken = [], []

        def run():
            try:
                work()
            except Exception as failure:
                failures.append(failure)

        worker = threading.Thread(target=run)
        worker.start()
        while worker.is_alive():
            taken.append(self.check())
            time.sleep(APART_SECONDS)
        worker.join()
        if failures:
            raise failures[0]
        return sorted(taken)


def p99(taken):
    return taken[math.ceil(0.99 * (len(taken) - 1))]
