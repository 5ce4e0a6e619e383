"""Requests by hand: signed as an SDK signs them, but with any method, path and bytes."""

import http.client
import json
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from aws_model import BY_NAME, answer_problems
from signing import SECRET, Signature

# Whose requests are, where it does not matter.
ACCOUNT = "210000000100"


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
    """An access key's connection to a server, in one region. An account is a key: the development key of its number."""

    def __init__(self, endpoint, account, region, watch=lambda *_: None, secret=SECRET, token=None):
        self.endpoint, self.account, self.region, self.watch = endpoint, account, region, watch
        self.signature = Signature(account, secret, token, region)
        self.connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=30)

    def send(self, method, path, body=b"", headers=(), signed=True, signature=None):
        """One request with exactly these bytes, and its answer. All of its headers are signed, unless it is not."""
        headers = dict(headers)
        if signed:
            headers = (signature or self.signature).headers(method, self.endpoint + path, body, headers)
        return self.send_as_it_is(method, path, body, headers)

    def send_as_it_is(self, method, path, body, headers):
        """One request with exactly these headers, and its answer.

        Pairs instead of a dict may repeat a name. A header that is `None` is left out: so is the host, if it is that.
        """
        pairs = headers.items() if isinstance(headers, dict) else headers
        given = {name.lower() for name, _ in pairs}
        self.connection.putrequest(method, path, skip_host="host" in given, skip_accept_encoding=True)
        for name, value in pairs:
            if value is not None:
                self.connection.putheader(name, value)
        if "content-length" not in given and (body or method not in ("GET", "DELETE", "HEAD", "OPTIONS")):
            self.connection.putheader("content-length", str(len(body)))
        self.connection.endheaders(body)
        response = self.connection.getresponse()
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )

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


def head(path, body=b"", method="POST", version="1.1", account=ACCOUNT):
    """The first lines of a signed request for the host `x`, ready for further headers."""
    signed = Signature(account).headers(method, f"http://x{path}", body)
    lines = [f"{method} {path} HTTP/{version}", "host: x", *(f"{name}: {value}" for name, value in signed.items())]
    return "".join(f"{line}\r\n" for line in lines).encode()


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
        path += "?" + urlencode([("tagKeys", key) for key in document.pop("tagKeys")], quote_via=quote)
    return method, path, b"" if method in ("GET", "DELETE") else json.dumps(document).encode()
