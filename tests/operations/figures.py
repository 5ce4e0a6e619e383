"""The page of metrics, read by the parsers of Prometheus' own client library."""

import time

import requests
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

PATIENCE_SECONDS = 40
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Page:
    """A page as it was at one moment."""

    def __init__(self, families):
        self.families = {family.name: family for family in families}
        self.values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name, **labels):
        """The value of one series; 0 if there is none."""
        return self.values.get((name, frozenset(labels.items())), 0)

    def has(self, name):
        return any(series == name for series, _ in self.values)

    def labels(self):
        """Every label with every value that it has."""
        return {pair for _, labels in self.values for pair in labels}


def fetch(url, accept=None):
    answer = requests.get(url, headers={"Accept": accept} if accept else {}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer


def page(server, url=None):
    return Page(text_string_to_metric_families(fetch(url or f"{server.endpoint}/metrics").text))


def openmetrics_page(server):
    answer = fetch(f"{server.endpoint}/metrics", OPENMETRICS)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    return Page(openmetrics_parser.text_string_to_metric_families(answer.text))


def wait_for_page(server, holds):
    """The first page that something holds of."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds(seen := page(server)):
        assert time.monotonic() < deadline, "the figures are not what they should be"
        time.sleep(0.1)
    return seen


__all__ = ["Page", "fetch", "openmetrics_page", "page", "wait_for_page"]
