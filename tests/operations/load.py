"""Load on a service: clients that write without a break, and note what they were told."""

import itertools
import statistics
import threading
import time

import requests
from botocore.exceptions import BotoCoreError, ClientError


class Writers:
    """Clients that create stages, one after the other, until they are stopped; each call is made once, not repeated."""

    def __init__(self, endpoints, account, new_client, count=4):
        self.acknowledged, self.refused, self.lock = {}, [], threading.Lock()
        self.names, self.stopping = itertools.count(), threading.Event()
        clients = [new_client(endpoints[n % len(endpoints)], account) for n in range(count)]
        self.threads = [threading.Thread(target=self.write, args=(client,), daemon=True) for client in clients]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def write(self, client):
        while not self.stopping.is_set():
            name, began = f"load-{next(self.names)}", time.monotonic()
            try:
                client.create_stage(name=name)
            except (ClientError, BotoCoreError) as error:
                status = (getattr(error, "response", None) or {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
                with self.lock:
                    self.refused.append((began, time.monotonic() - began, status))
                time.sleep(0.02)
            else:
                with self.lock:
                    self.acknowledged[name] = time.monotonic()

    def count(self):
        return len(self.acknowledged)

    def refusals(self, since=0.0):
        """How long each refusal took whose request was sent after `since`, and the statuses."""
        told = [(took, status) for began, took, status in self.refused if began >= since]
        return [took for took, _ in told], sorted({str(status) for _, status in told})

    def lost(self, client):
        """Acknowledged writes that are not there."""
        there = {stage.get("name") for page in pages(client) for stage in page}
        return sorted(set(self.acknowledged) - there)


def pages(client):
    token = {}
    while True:
        answer = client.list_stages(maxResults=100, **token)
        yield answer["stages"]
        if not answer.get("nextToken"):
            return
        token = {"nextToken": answer["nextToken"]}


def status_of(endpoint, path):
    return requests.get(endpoint + path, timeout=30).status_code


def report(title, **figures):
    """Prints figures into the log of the run."""
    text = ", ".join(f"{name.replace('_', ' ')} {shown(value)}" for name, value in figures.items())
    print(f"\n{title}: {text}")


def shown(value):
    return f"{value:.2f}" if isinstance(value, float) else value


def spread(values):
    return f"median {statistics.median(values):.3f} s, longest {max(values):.3f} s" if values else "none"
