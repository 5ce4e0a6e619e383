"""The receiver of a webhook: it records every delivery, and fails now and then."""

import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Arrivals:
    """What has arrived somewhere, in order: the bytes of each id when it came first, and how often it came."""

    def __init__(self):
        self.first, self.copies, self.different = {}, {}, []
        self.lock = threading.Lock()

    def note(self, body, name=None):
        """Notes one delivery; `name` is what its sender calls it, if it says."""
        identity = json.loads(body)["id"]
        with self.lock:
            if self.first.setdefault(identity, body) != body or name not in (None, identity):
                self.different.append(identity)
            self.copies[identity] = self.copies.get(identity, 0) + 1

    def duplicates(self):
        return sum(self.copies.values()) - len(self.copies)


class Receiver:
    """An HTTP server of this process. One delivery in `rarity` it refuses, half of those after it has noted them."""

    def __init__(self, seed, rarity=200):
        self.arrivals, self.refused = Arrivals(), 0
        self.random, self.rarity = random.Random(f"{seed} receiver"), rarity
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(receiver.receive(body, self.headers["webhook-id"]))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            # A server that is killed leaves its deliveries half sent.
            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/events"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def receive(self, body, name):
        """The status that a delivery is answered with."""
        chance = self.random.randrange(2 * self.rarity)
        if chance != 0:
            self.arrivals.note(body, name)
        if chance > 1:
            return 204
        self.refused += 1
        return 503

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def arrived_in(path):
    """What stands in a file of JSON lines, and how many of its lines are torn."""
    arrivals, torn = Arrivals(), 0
    for line in path.read_bytes().split(b"\n") if path.exists() else []:
        try:
            json.loads(line or b"{}")
        except ValueError:
            torn += 1
            continue
        if line:
            arrivals.note(line)
    return arrivals, torn
