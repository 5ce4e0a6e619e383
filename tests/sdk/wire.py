"""Requests by hand: signed as an SDK signs them, but with any method, path and bytes."""

import http.client
import json
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from aws_model import BY_NAME, answer_problems

SECRET = "test"


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def fault(self):
        """The fault's name, or None for a success."""
        return self.headers.get("x-amzn-errortype")

    @property
    def text(self):
        """The fault's text."""
        return self.json["message"]


class Wire:
    """One account's connection to a server, in one region."""

    def __init__(self, endpoint, account, region, watch=lambda *_: None):
        self.endpoint, self.account, self.region, self.watch = endpoint, account, region, watch
        self.connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=30)

    def send(self, method, path, body=b"", headers=(), signed=True):
        """One request with exactly these bytes, and its answer."""
        headers = dict(headers)
        if signed:
            headers |= self._signature(method, path, body)
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        answer = Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )
        return answer

    def call(self, operation, document=None, **options):
        """One operation with a JSON value as its input, whatever it is; the answer is held to the model."""
        method, path, body = placed(operation, {} if document is None else document)
        return self.checked(operation, self.send(method, path, body, **options))

    def call_bytes(self, operation, body, **options):
        """One operation of the `POST /Name` kind with these bytes as its body; the answer is held to the model."""
        return self.checked(operation, self.send("POST", f"/{operation}", body, **options))

    def checked(self, operation, answer):
        """Asserts that an answer is one that the model allows, and notes it."""
        model = BY_NAME.get(operation)
        found = list(answer_problems(model, answer.status, answer.headers, answer.body))
        assert not found, f"{operation} answered {answer.status} {answer.body[:500]!r}: {found}"
        if model:
            self.watch(operation, answer.fault)
        return answer

    def _signature(self, method, path, body):
        request = AWSRequest(method, self.endpoint + path, data=body)
        SigV4Auth(Credentials(self.account, SECRET), "ivs", self.region).add_auth(request)
        return dict(request.headers.items())


def placed(operation, document):
    """Method, path and body of an operation whose members are `document`: some travel in the path and the query."""
    model = BY_NAME[operation]
    method, path = model.http["method"], model.http["requestUri"]
    if not isinstance(document, dict):
        return method, path, json.dumps(document).encode()
    document = dict(document)
    if "{resourceArn}" in path:
        path = path.replace("{resourceArn}", quote(str(document.pop("resourceArn")), safe=""))
    if "tagKeys" in document and method == "DELETE":
        path += "?" + urlencode([("tagKeys", key) for key in document.pop("tagKeys")])
    return method, path, b"" if method in ("GET", "DELETE") else json.dumps(document).encode()
