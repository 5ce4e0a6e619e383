"""A webhook receiver that records deliveries and sometimes fails."""

import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Arrivals:
    """Deliveries in order: the body of each id at its first delivery, and the number of deliveries."""

    def __init__(self):
        self.first, self.copies, self.different = {}, {}, []
        self.lock = threading.Lock()

    def record(self, body, name=None):
        """Records one delivery; `name` is the id in its header, if any."""
        identity = json.loads(body)["id"]
        with self.lock:
            if self.first.setdefault(identity, body) != body or name not in (None, identity):
                self.different.append(identity)
            self.copies[identity] = self.copies.get(identity, 0) + 1

    def duplicates(self):
        return sum(self.copies.values()) - len(self.copies)


class Receiver:
    """An HTTP server in this process. It rejects one delivery in `rarity`, half of these after recording them."""

    def __init__(self, seed, rarity=200):
        self.arrivals, self.rejected = Arrivals(), 0
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
            # Killed servers leave incomplete requests.
            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/events"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def receive(self, body, name):
        """The response status of a delivery."""
        chance = self.random.randrange(2 * self.rarity)
        if chance != 0:
            self.arrivals.record(body, name)
        if chance > 1:
            return 204
        self.rejected += 1
        return 503

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def read_jsonl(path):
    """The events in a JSON lines file, and the number of partial lines."""
    arrivals, partial = Arrivals(), 0
    for line in path.read_bytes().split(b"\n") if path.exists() else []:
        try:
            json.loads(line or b"{}")
        except ValueError:
            partial += 1
            continue
        if line:
            arrivals.record(line)
    return arrivals, partial
