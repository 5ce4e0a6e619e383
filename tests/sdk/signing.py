"""Signature Version 4: botocore's own signer, with whatever time, scope and encoding a test wants."""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SECRET = "test"
SECONDS = "%Y%m%dT%H%M%SZ"


def now():
    """The present as signatures write it."""
    return datetime.now(UTC).strftime(SECONDS)


@dataclass(frozen=True)
class Signature:
    """Who signs, for what and when. What is not given is right."""

    key: str
    secret: str = SECRET
    token: str | None = None
    region: str = "us-east-1"
    service: str = "ivs"
    terminator: str = "aws4_request"
    at: str | None = None
    day: str | None = None
    path_encoded_once: bool = False

    def headers(self, method, url, body=b"", headers=()):
        """The headers of a request, all of them signed: those given, the date, the token and `Authorization`."""
        request = AWSRequest(method, url, headers=dict(headers), data=body)
        Signer(self).add_auth(request)
        return dict(request.headers.items())


class Signer(SigV4Auth):
    """botocore's signer, told what to put into the scope."""

    def __init__(self, terms):
        super().__init__(Credentials(terms.key, terms.secret, terms.token), terms.service, terms.region)
        self.at = terms.at or now()
        self.parts = [terms.day or self.at[:8], terms.region, terms.service, terms.terminator]
        self.path_encoded_once = terms.path_encoded_once

    def add_auth(self, request):
        request.context["timestamp"] = self.at
        self._modify_request_before_signing(request)
        signature = self.signature(self.string_to_sign(request, self.canonical_request(request)), request)
        self._inject_signature_to_request(request, signature)

    def scope(self, request):
        return "/".join([self.credentials.access_key, *self.parts])

    def credential_scope(self, request):
        return "/".join(self.parts)

    def signature(self, string_to_sign, request):
        key = f"AWS4{self.credentials.secret_key}".encode()
        for part in self.parts:
            key = self._sign(key, part)
        return self._sign(key, string_to_sign, hex=True)

    def _normalize_url_path(self, path):
        return path if self.path_encoded_once else super()._normalize_url_path(path)


class SignedRequests:
    """For the `requests` library: signs each request just before it is sent."""

    def __init__(self, key, region="us-east-1"):
        self.signature = Signature(key, region=region)

    def __call__(self, request):
        # The library writes a space as +, which the form of signatures does not know.
        query = urlsplit(request.url).query
        request.url = request.url.replace(f"?{query}", f"?{query.replace('+', '%20')}")
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        request.headers.update(self.signature.headers(request.method, request.url, body))
        return request
