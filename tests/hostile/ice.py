"""A minimal ICE client: sends connectivity checks (RFC 8445, RFC 8489) and measures the round-trip times."""

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
# Timeout of a check, and pause between two checks.
TIMEOUT_SECONDS, INTERVAL_SECONDS = 10, 0.02


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def header(length, transaction):
    return struct.pack("!HHI", BINDING_REQUEST, length, COOKIE) + transaction


def binding_request(username, password):
    """A binding request and its transaction id."""
    transaction = os.urandom(12)
    body = attribute(USERNAME, username.encode())
    body += attribute(PRIORITY, struct.pack("!I", 0x6E0001FF)) + attribute(ICE_CONTROLLING, bytes(8))
    # MESSAGE-INTEGRITY and FINGERPRINT cover all preceding bytes, with a message length that includes the attribute itself.
    authenticated = header(len(body) + 24, transaction) + body
    body += attribute(MESSAGE_INTEGRITY, hmac.new(password.encode(), authenticated, hashlib.sha1).digest())
    checked = header(len(body) + 8, transaction) + body
    crc = (zlib.crc32(checked) ^ 0x5354554E) & 0xFFFFFFFF
    return checked + attribute(FINGERPRINT, struct.pack("!I", crc)), transaction


def value(sdp, name):
    return re.search(rf"^a={name}:(\S+)", sdp, re.MULTILINE).group(1)


class Prober:
    """Sends connectivity checks for one connection from one socket."""

    def __init__(self, offer, answer):
        self.username = f"{value(answer, 'ice-ufrag')}:{value(offer, 'ice-ufrag')}"
        self.password = value(answer, "ice-pwd")
        words = re.search(r"^a=candidate:(.*)$", answer, re.MULTILINE).group(1).split()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.socket.connect((words[4], int(words[5])))

    def check(self):
        """The round-trip time of one check, in seconds."""
        request, transaction = binding_request(self.username, self.password)
        began = time.monotonic()
        self.socket.send(request)
        while True:
            answer = self.socket.recv(2048)
            kind, _, cookie = struct.unpack("!HHI", answer[:8])
            if cookie == COOKIE and answer[8:20] == transaction:
                assert kind == BINDING_SUCCESS, hex(kind)
                return time.monotonic() - began

    def round_trips_during(self, work):
        """Sends checks while `work` runs in another thread; returns their round-trip times, sorted."""
        failures, samples = [], []

        def run():
            try:
                work()
            except Exception as failure:
                failures.append(failure)

        worker = threading.Thread(target=run)
        worker.start()
        while worker.is_alive():
            samples.append(self.check())
            time.sleep(INTERVAL_SECONDS)
        worker.join()
        if failures:
            raise failures[0]
        return sorted(samples)


def p99(samples):
    return samples[math.ceil(0.99 * (len(samples) - 1))]
