"""A client of the test API."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import quote

import boto3
import requests
from botocore.config import Config

from signing import Signature

ROOT = "/_greenroom/test"
SNAPSHOT = "application/vnd.greenroom.snapshot+jsonl"
SDK = boto3.Session()


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

    def everything(self):
        """The same server's test API for all accounts."""
        return Control(self.endpoint, self.signature, all="true")

    def send(self, method, path, value=None, body=b"", content_type=None, timeout=120, **query):
        """Sends a request; returns the response as it is. `value` is sent as JSON."""
        if value is not None:
            body, content_type = json.dumps(value).encode(), content_type or "application/json"
        headers = {"Content-Type": content_type} if content_type else {}
        query = self.selection | query
        text = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in sorted(query.items()))
        url = f"{self.endpoint}{ROOT}{path}" + (f"?{text}" if text else "")
        if self.signature:
            headers = self.signature.headers(method, url, body, headers)
        return requests.request(method, url, data=body, headers=headers, timeout=timeout)

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

    def get(self, path, **query):
        return self.call("GET", path, **query)

    def delete(self, path):
        return self.call("DELETE", path)

    # Faults

    def fault(self, effect, match=None, **members):
        """Adds a fault rule; returns its id."""
        return self.call("POST", "/faults", {"match": match or {}, "effect": effect, **members})["id"]

    def counts(self, fault):
        """How often a rule has matched, and how often it had its effect."""
        rule = self.get(f"/faults/{fault}")
        return rule["matched"], rule["applied"]

    # Journal

    def entries(self, **query):
        return self.get("/journal", **query)["entries"]

    def wait(self, **members):
        return self.call("POST", "/wait", members)

    @contextmanager
    def waiting(self, **members):
        """Starts a long poll; yields a future of its response."""
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self.wait, **members)
            time.sleep(0.2)
            assert not future.done(), future.result()
            yield future

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


def sdk(endpoint, account, attempts=1, mode="standard", region="us-east-1"):
    """A boto3 client with a number of attempts, whose responses need not be of the model."""
    return SDK.client(
        "ivs-realtime",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=account,
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": attempts, "mode": mode}, read_timeout=30),
    )
