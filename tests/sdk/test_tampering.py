"""A request that was right when it was signed, with anything in it changed since: refused, and nothing comes of it."""

import random
import re
import string

import pytest

from aws_model import BY_NAME
from tenant import method_of
from wire import Wire
from world import furnish, listing, rows

SAMPLES = 6
IN_PATH = string.ascii_letters + string.digits + "%._-~:/"


class Captured(Exception):
    """What an SDK was about to send, instead of an answer."""

    def __init__(self, request):
        super().__init__(request.url)
        self.method, self.body = request.method, request.body or b""
        self.path = "/" + request.url.split("/", 3)[3]
        text = {name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()}
        self.headers = {**text, "Host": request.url.split("/")[2]}
        self.headers.pop("Content-Length", None)


def stop(request, **_):
    raise Captured(request)


class Safe:
    """A server with one furnished account, and a key for it whose session token is signed as well."""

    def __init__(self, server):
        self.server, self.owner = server, server.tenant()
        self.requests = furnish(self.owner)
        key = server.credentials("create", "--account", self.owner.account, "--session-token")
        self.key, secret, token = key["accessKeyId"], key["secretAccessKey"], key["sessionToken"]
        self.ivs = server.client(self.key, secret=secret, token=token)
        self.ivs.meta.events.register("before-send.ivs-realtime", stop)
        self.wire = Wire(server.endpoint, self.key, "us-east-1")

    def captured(self, operation):
        with pytest.raises(Captured) as caught:
            getattr(self.ivs, method_of(operation))(**self.requests[operation])
        return caught.value

    def send(self, method, path, headers, body):
        return self.wire.send_as_it_is(method, path, body, headers)


@pytest.fixture(scope="module")
def safe(start_test_server):
    return Safe(start_test_server())


def spots(rng, text, alphabet, samples=SAMPLES):
    """Copies of a text in which one character is another one of the alphabet."""
    for at in sorted(rng.sample(range(len(text)), min(samples, len(text)))):
        other = rng.choice([c for c in alphabet if c != text[at]])
        yield f"character {at} is {other!r}", text[:at] + other + text[at + 1 :]


def methods(one, rng):
    for method in ("GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", one.method.lower()):
        if method != one.method:
            yield f"method {method}", (method, one.path, one.headers, one.body)


def paths(one, rng):
    path, _, query = one.path.partition("?")
    end = f"?{query}" if query else ""
    for what, changed in spots(rng, path[1:], IN_PATH, 2 * SAMPLES):
        yield f"path: {what}", (one.method, f"/{changed}{end}", one.headers, one.body)
    for changed in (f"{path}/", f"/{path}", path.replace("/", "/./", 1), f"/x/..{path}", path.lower(), f"{path}%00"):
        yield f"path {changed}", (one.method, changed + end, one.headers, one.body)
    if "%" in path:
        for changed in (path.replace("%", "%25"), path.replace("%3A", ":"), path.replace("%3A", "%3a")):
            yield f"path {changed}", (one.method, changed + end, one.headers, one.body)


def queries(one, rng):
    path, _, query = one.path.partition("?")
    for what, changed in spots(rng, query, string.ascii_letters + "&=", 2 * SAMPLES):
        yield f"query: {what}", (one.method, f"{path}?{changed}", one.headers, one.body)
    more = f"{query}&" if query else ""
    for changed in ("x=1", "x", "tagKeys=second"):
        yield f"query with {changed}", (one.method, f"{path}?{more}{changed}", one.headers, one.body)
    if query:
        yield "no query", (one.method, path, one.headers, one.body)


def bodies(one, rng):
    body = one.body
    for at in sorted(rng.sample(range(len(body)), min(2 * SAMPLES, len(body)))):
        bit = 1 << rng.randrange(8)
        changed = body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :]
        yield f"body: bit {bit} of byte {at}", (one.method, one.path, one.headers, changed)
    for title, changed in {"longer": body + b" ", "begun otherwise": b"\n" + body, "other": b'{"a":1}'}.items():
        yield f"body {title}", (one.method, one.path, one.headers, changed)
    if body:
        yield "body shorter", (one.method, one.path, one.headers, body[:-1])
        yield "no body", (one.method, one.path, one.headers, b"")


def signed_headers(one, rng):
    for name in re.search(r"SignedHeaders=([^,]+)", one.headers["Authorization"])[1].split(";"):
        name = next(known for known in one.headers if known.lower() == name)
        value = one.headers[name]
        for what, changed in spots(rng, value, string.ascii_letters + string.digits):
            yield f"{name}: {what}", (one.method, one.path, {**one.headers, name: changed}, one.body)
        if name != "Host":
            without = {known: value for known, value in one.headers.items() if known != name}
            yield f"no {name}", (one.method, one.path, without, one.body)
        yield f"{name} longer", (one.method, one.path, {**one.headers, name: f"{value}0"}, one.body)
    for name in ("x-amz-target", "x-amz-content-sha256", "X-Amz-User-Agent"):
        yield f"{name} added", (one.method, one.path, {**one.headers, name: "0"}, one.body)


def dates(one, rng):
    day, time = one.headers["X-Amz-Date"][:8], one.headers["X-Amz-Date"][9:15]
    second = "1" if time[-1] == "0" else "0"
    for changed in (f"{day}T{time[:5]}{second}Z", f"2015{day[4:]}T{time}Z", f"{day}T{time}z", f"{day}T{time}", ""):
        yield f"date {changed}", (one.method, one.path, {**one.headers, "X-Amz-Date": changed}, one.body)


def authorizations(one, rng):
    given = one.headers["Authorization"]
    credential = re.search(r"Credential=([^,]+)", given)[1]
    signature = re.search(r"Signature=([0-9a-f]{64})", given)[1]
    signed = re.search(r"SignedHeaders=([^,]+)", given)[1]
    parts = credential.split("/")
    found = []
    for at, part in enumerate(parts):
        alphabet = string.digits if part.isdigit() else string.ascii_lowercase + string.digits
        for what, changed in spots(rng, part, alphabet if at else alphabet.upper()):
            found.append((f"scope part {at}: {what}", credential, "/".join([*parts[:at], changed, *parts[at + 1 :]])))
    found += [(f"signature: {what}", signature, text) for what, text in spots(rng, signature, "0123456789abcdef", 12)]
    others = (signature[:-1], f"{signature}0", signature.upper(), "0" * 64)
    found += [(f"signature {text}", signature, text) for text in others]
    others = (signed.replace("host;", ""), f"{signed};x-other", "host")
    found += [(f"signed headers {text}", signed, text) for text in others]
    found.append(("algorithm", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"))
    for title, old, new in found:
        yield title, (one.method, one.path, {**one.headers, "Authorization": given.replace(old, new)}, one.body)


# Where a change may make another error of the protocol first: no such operation, or no ARN.
LOOSE = [methods, paths]
STRICT = [queries, bodies, signed_headers, dates, authorizations]


@pytest.mark.parametrize("operation", BY_NAME)
def test_a_changed_request_is_refused_and_does_nothing(safe, operation):
    one = safe.captured(operation)
    before = rows(safe.server), listing(safe.owner.wire)
    wrong, tried = [], 0
    for kind in LOOSE + STRICT:
        for title, request in kind(one, random.Random(f"{operation} {kind.__name__}")):
            answer = safe.send(*request)
            tried += 1
            if answer.status not in ((400, 403, 404) if kind in LOOSE else (403,)):
                wrong.append(f"{title}: {answer.status} {answer.fault} {answer.body[:200]!r}")
    assert not wrong, "\n".join(wrong)
    assert tried > 80
    assert (rows(safe.server), listing(safe.owner.wire)) == before
    answer = safe.send(one.method, one.path, one.headers, one.body)
    assert answer.status == 200, "as it was captured, it is right"


def test_a_signature_of_one_operation_opens_no_other(safe):
    """Whole heads of requests are put before other paths and bodies."""
    requests = [safe.captured(operation) for operation in BY_NAME]
    before = rows(safe.server)
    rng = random.Random("other heads")
    for one in requests:
        for other in rng.sample(requests, 8):
            if one is not other:
                assert safe.send(other.method, other.path, one.headers, other.body).status == 403
                assert safe.send(one.method, one.path, one.headers, other.body + b" ").status == 403
    assert rows(safe.server) == before
