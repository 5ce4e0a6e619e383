"""Effects of an attack on the server process and on other clients: memory, CPU time, latency, metrics."""

import threading
import time
from contextlib import contextmanager
from pathlib import Path

import requests


def rss_mb(server):
    """The resident memory (RSS) of a server process, in megabytes."""
    status = Path(f"/proc/{server.test_server.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1024


def cpu_seconds(server):
    """The CPU time of a server process since its start, in seconds."""
    fields = Path(f"/proc/{server.test_server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Peak:
    """The highest sample, and its growth over the first."""

    def __init__(self, first):
        self.first = self.highest = first

    @property
    def growth(self):
        return self.highest - self.first


@contextmanager
def peak_rss(server):
    """Samples the resident memory of a server, in megabytes, while the body runs."""
    peak, stop = Peak(rss_mb(server)), threading.Event()

    def watch():
        while not stop.wait(0.05):
            peak.highest = max(peak.highest, rss_mb(server))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()
        peak.highest = max(peak.highest, rss_mb(server))


class Latencies:
    """Response times, in seconds."""

    def __init__(self):
        self.samples = []

    @contextmanager
    def measured(self):
        start = time.monotonic()
        yield
        self.samples.append(time.monotonic() - start)

    def percentile(self, quantile):
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


def metric_value(server, name):
    """The value of an integer metric."""
    page = requests.get(f"{server.endpoint}/metrics", timeout=10).text
    return next(int(line.removeprefix(f"{name} ")) for line in page.splitlines() if line.startswith(f"{name} "))


def refused_total(server, reason):
    """The number of requests and connections rejected or closed by a limit."""
    return metric_value(server, f'greenroom_refused_total{{reason="{reason}"}}')
