"""HTTP requests to the test API, signed where the server requires it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast
from urllib.parse import quote, urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import Credentials as BotoCredentials
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session

from .credentials import Credentials
from .errors import ServerError, error_of

ROOT = "/_greenroom/test"
SNAPSHOT_TYPE = "application/vnd.greenroom.snapshot+jsonl"
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60

Json = dict[str, Any]


@lru_cache(maxsize=8)
def session(read_timeout: float) -> URLLib3Session:
    """A pool of connections. Proxies of the environment are not used."""
    return URLLib3Session(timeout=cast(Any, (CONNECT_TIMEOUT_SECONDS, read_timeout)), max_pool_connections=32)


def send(
    method: str,
    url: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    sign: tuple[Credentials, str] | None = None,
    read_timeout: float = READ_TIMEOUT_SECONDS,
) -> AWSResponse:
    """Sends a request. `sign` is the access key and the region of a signature."""
    request = AWSRequest(method=method, url=url, data=body, headers=dict(headers or {}))
    if sign:
        key, region = sign
        SigV4Auth(BotoCredentials(key.access_key_id, key.secret_access_key), "ivs", region).add_auth(request)
    try:
        return session(read_timeout).send(request.prepare())
    except BotoCoreError as error:
        raise ServerError(f"{method} {url}: no response from the server: {error}") from error


class Transport:
    """Requests to the test API of one server, for one account and region."""

    def __init__(
        self, endpoint: str, account: str, region: str, key: Credentials | None, all_key: Credentials | None
    ) -> None:
        """`key` signs the requests for the account, `all_key` those for all accounts; `None`: not signed."""
        self.endpoint = endpoint.rstrip("/")
        self.account = account
        self.region = region
        self._key = key
        self._all_key = all_key

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        all_accounts: bool = False,
        query: Mapping[str, object] | None = None,
        read_timeout: float = READ_TIMEOUT_SECONDS,
    ) -> Json:
        """Sends JSON, and returns the JSON of the response."""
        data = b"" if body is None else json.dumps(body).encode()
        content_type = "application/json"
        response = self.send(method, path, data, content_type, all_accounts, query, read_timeout)
        return cast(Json, json.loads(response or b"{}"))

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str = "",
        all_accounts: bool = False,
        query: Mapping[str, object] | None = None,
        read_timeout: float = READ_TIMEOUT_SECONDS,
    ) -> bytes:
        """Sends a body, and returns the body of the response; raises an error for an error response."""
        selection = {"all": "true"} if all_accounts else {"account": self.account, "region": self.region}
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = f"{self.endpoint}{ROOT}{path}?{urlencode({**selection, **given})}"
        headers = {"content-type": content_type} if body else {}
        key = self._all_key if all_accounts else self._key
        sign = (key, self.region) if key else None
        response = send(method, url, body=body, headers=headers, sign=sign, read_timeout=read_timeout)
        if response.status_code >= 300:
            raise _error(response, f"{method} {ROOT}{path}")
        return response.content


def segment(name: str) -> str:
    """A name as a segment of a path."""
    return quote(name, safe="")


def _error(response: AWSResponse, request: str) -> Exception:
    code = response.headers.get("x-amzn-errortype", "").split(":")[0] or "UnknownError"
    try:
        message = str(json.loads(response.content).get("message", ""))
    except (ValueError, AttributeError):
        message = response.content[:200].decode(errors="replace")
    return error_of(response.status_code, code, message, request)
