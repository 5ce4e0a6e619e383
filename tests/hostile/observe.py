"""What an attack does to the server's process and to its other clients."""

import threading
import time
from contextlib import contextmanager
from pathlib import Path

import requests


def rss_mb(server):
    """The resident memory of a server's process, in megabytes."""
    status = Path(f"/proc/{server.test_server.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1024


def cpu_seconds(server):
    """The processor time that a server's process has taken since its start."""
    fields = Path(f"/proc/{server.test_server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Peak:
    """The largest figure that was seen, and how much it is above the first."""

    def __init__(self, first):
        self.first = self.highest = first

    @property
    def growth(self):
        return self.highest - self.first


@contextmanager
def peak_rss(server):
    """Watches the resident memory of a server, in megabytes, while the body runs."""
    peak, over = Peak(rss_mb(server)), threading.Event()

    def watch():
        while not over.wait(0.05):
            peak.highest = max(peak.highest, rss_mb(server))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
        peak.highest = max(peak.highest, rss_mb(server))


class Latencies:
    """How long each of many answers took, in seconds."""

    def __init__(self):
        self.taken = []

    @contextmanager
    def measured(self):
        began = time.monotonic()
        yield
        self.taken.append(time.monotonic() - began)

    def percentile(self, share):
        ordered = sorted(self.taken)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def figure(server, name):
    """A whole number on the page of metrics."""
    page = requests.get(f"{server.endpoint}/metrics", timeout=10).text
    return next(int(line.removeprefix(f"{name} ")) for line in page.splitlines() if line.startswith(f"{name} "))


def refused(server, reason):
    """How many requests and connections a limit has refused or ended."""
    return figure(server, f'greenroom_refused_total{{reason="{reason}"}}')
