"""Clients of a running server, every answer to which is held to the model and noted."""

import itertools
import json
from dataclasses import dataclass

import boto3
from botocore.config import Config

from aws_model import answer_problems
from server import MASTER_KEY, TestServer, run
from signing import SECRET
from tenant import Tenant
from wire import Wire

ACCOUNTS = itertools.count(200000000000)
SDK = boto3.Session()

# What the whole run has seen: {(engine, operation, fault or None for a success)}.
SEEN = set()


@dataclass
class Server:
    """A running server, and clients for any account and region of it."""

    engine: str
    test_server: TestServer
    database: str

    @property
    def endpoint(self):
        return self.test_server.endpoint

    def client(self, account, region="us-east-1", secret=SECRET, token=None):
        """A boto3 client whose every answer is held to the model. An account is the development key of its number."""
        client = SDK.client(
            "ivs-realtime",
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id=account,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}),
        )
        client.meta.events.register("after-call.ivs-realtime", self._hold_to_the_model)
        return client

    def wire(self, account, region="us-east-1", secret=SECRET, token=None):
        return Wire(self.endpoint, account, region, self._note, secret, token)

    def credentials(self, verb, *arguments):
        """What `greenroom credentials` does beside the server, as the value that it prints."""
        store = ("--database-url", self.database, "--output", "json")
        ended = run("credentials", verb, *arguments, *store, GREENROOM_MASTER_KEY=MASTER_KEY)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def tenant(self, account=None, region="us-east-1"):
        """A tenant of this server: a fresh account unless one is named."""
        return Tenant(self, account or str(next(ACCOUNTS)), region)

    def _hold_to_the_model(self, http_response, model, **_):
        answer = http_response
        found = list(answer_problems(model, answer.status_code, answer.headers, answer.content))
        assert not found, f"{model.name} answered {answer.status_code} {answer.content[:500]!r}: {found}"
        self._note(model.name, answer.headers.get("x-amzn-ErrorType"))

    def _note(self, operation, fault):
        SEEN.add((self.engine, operation, fault))
