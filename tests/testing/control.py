"""A client of the test API."""

import json
from contextlib import contextmanager
from urllib.parse import quote

import requests

from signing import Signature

ROOT = "/_greenroom/test"
SNAPSHOT = "application/vnd.greenroom.snapshot+jsonl"


class Refused(Exception):
    """An error response of the test API."""

    def __init__(self, response):
        self.status, self.fault = response.status_code, response.headers.get("x-amzn-errortype")
        self.message = response.json()["message"]
        super().__init__(f"{self.status} {self.fault}: {self.message}")


class Control:
    """The test API of a server. Requests apply to the selection: an account and a region, or all."""

    def __init__(self, endpoint, signature=None, **selection):
        self.endpoint, self.signature, self.selection = endpoint, signature, selection

    @classmethod
    def of(cls, tenant):
        """The test API for an account and its region."""
        return cls(tenant.server.endpoint, account=tenant.account, region=tenant.region)

    @classmethod
    def all(cls, server):
        """The test API for all accounts."""
        return cls(server.endpoint, all="true")

    def send(self, method, path, value=None, body=b"", content_type=None, **query):
        """Sends a request; returns the response as it is. `value` is sent as JSON."""
        if value is not None:
            body, content_type = json.dumps(value).encode(), content_type or "application/json"
        headers = {"Content-Type": content_type} if content_type else {}
        query = self.selection | query
        text = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in sorted(query.items()))
        url = f"{self.endpoint}{ROOT}{path}" + (f"?{text}" if text else "")
        if self.signature:
            headers = self.signature.headers(method, url, body, headers)
        return requests.request(method, url, data=body, headers=headers, timeout=120)

    def call(self, method, path, value=None, **options):
        """Sends a request; returns the value of the response."""
        response = self.send(method, path, value, **options)
        if response.status_code != 200:
            raise Refused(response)
        assert response.headers["cache-control"] == "no-store"
        return response.json()

    def signed(self, key, secret, region="us-east-1", token=None):
        """The same, signed."""
        return Control(self.endpoint, Signature(key, secret, token, region), **self.selection)

    # State

    def reset(self):
        return self.call("POST", "/reset")["deleted"]

    def seed(self, document, **query):
        """Seeds a value as JSON, or a text as YAML."""
        if isinstance(document, str):
            return self.call("POST", "/seed", body=document.encode(), content_type="application/yaml", **query)
        return self.call("POST", "/seed", document, **query)

    def snapshot(self, name="base"):
        return self.call("PUT", f"/snapshots/{name}")

    def snapshots(self):
        return self.call("GET", "/snapshots")["snapshots"]

    def download(self, name="base"):
        response = self.send("GET", f"/snapshots/{name}")
        if response.status_code != 200:
            raise Refused(response)
        assert response.headers["content-type"] == SNAPSHOT
        return response.content

    def upload(self, file, name="base", content_type=SNAPSHOT):
        return self.call("PUT", f"/snapshots/{name}", body=file, content_type=content_type)

    def restore(self, name="base"):
        return self.call("POST", f"/snapshots/{name}/restore")["restored"]


@contextmanager
def refused(status, fault, *words):
    """The block is answered with this error, and its message has these words."""
    try:
        yield
    except Refused as error:
        assert (error.status, error.fault) == (status, fault), error
        for word in words:
            assert word in error.message, error
    else:
        raise AssertionError(f"not refused: {fault}")


def invalid(*words):
    return refused(400, "ValidationException", *words)


def missing(*words):
    return refused(404, "ResourceNotFoundException", *words)
