"""Signatures: what is refused, by which name and in which order, and the many forms that are right."""

import hashlib
import json
import re
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from clients import ACCOUNTS
from signing import SECRET, Signature, Signer, now

MISSING, INCOMPLETE = "MissingAuthenticationTokenException", "IncompleteSignatureException"
UNRECOGNIZED, EXPIRED, INVALID = "UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException"
BODY = b'{"name": "signed"}'


class Caller:
    """Signs requests to create a stage as one likes, and sends them."""

    def __init__(self, wire):
        self.wire = wire

    def headers(self, more=(), **terms):
        """The headers of a request, right unless told otherwise."""
        terms = {"key": self.wire.account, "region": self.wire.region, **terms}
        return Signature(**terms).headers("POST", f"{self.wire.endpoint}/CreateStage", BODY, more)

    def send(self, headers, path="/CreateStage", body=BODY):
        return self.wire.checked("CreateStage", self.wire.send_as_it_is("POST", path, body, headers))

    def refused(self, fault, headers, *words, **request):
        """Sends a request that is refused in this way and did nothing."""
        answer = self.send(headers, **request)
        assert (answer.status, answer.fault) == (403, fault), answer
        assert all(word in answer.text for word in words), answer.text
        assert self.wire.call("ListStages").json == {"stages": []}

    def accepted(self, headers, **request):
        assert self.send(headers, **request).status == 200


@pytest.fixture
def caller(tenant):
    return Caller(tenant.wire)


def test_a_request_without_a_signature_is_refused(caller):
    caller.refused(MISSING, {}, "Missing Authentication Token")
    caller.refused(MISSING, {"x-amz-date": now(), "x-amz-security-token": "x"}, "Missing Authentication Token")


def without(name):
    return lambda text: re.sub(rf"{name}=[^,]+(, )?", "", text)


def emptied(name):
    return lambda text: re.sub(rf"{name}=[^,]+", f"{name}=", text)


def twice(name):
    return lambda text: f"{text}, {re.search(rf'{name}=[^,]+', text)[0]}"


def replaced(old, new):
    return lambda text: text.replace(old, new)


FIELDS = ("Credential", "SignedHeaders", "Signature")
INCOMPLETE_FORMS = {
    "nothing": lambda _: "",
    "a bearer token": lambda _: "Bearer abc",
    "a name and a password": lambda _: "Basic dGVzdDp0ZXN0",
    "version 2": lambda _: "AWS test:frJIUN8DYpKDtOLCwo//yllqDzg=",
    "version 4A": replaced("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
    "another digest": replaced("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"),
    "the algorithm in lower case": replaced("AWS4-HMAC-SHA256", "aws4-hmac-sha256"),
    "the algorithm alone": lambda _: "AWS4-HMAC-SHA256",
    "fields without an algorithm": replaced("AWS4-HMAC-SHA256 ", ""),
    **{f"no {name}": without(name) for name in FIELDS},
    **{f"an empty {name}": emptied(name) for name in FIELDS},
    **{f"two of {name}": twice(name) for name in FIELDS},
    "a field too many": lambda text: f"{text}, Comment=x",
    "a credential of one part": lambda text: re.sub(r"Credential=[^,]+", "Credential=test", text),
    "a credential of four parts": replaced("/aws4_request", ""),
    "a credential of six parts": replaced("/aws4_request", "/aws4_request/x"),
    "a credential of slashes": lambda text: re.sub(r"Credential=[^,]+", "Credential=/////", text),
    "signed headers in upper case": replaced("host;", "Host;"),
    "signed headers unsorted": replaced("host;x-amz-date", "x-amz-date;host"),
    "signed headers named twice": replaced("host;", "host;host;"),
}


@pytest.mark.parametrize("form", INCOMPLETE_FORMS)
def test_an_authorization_that_is_not_whole_is_refused(caller, form):
    headers = caller.headers()
    caller.refused(INCOMPLETE, {**headers, "Authorization": INCOMPLETE_FORMS[form](headers["Authorization"])})


def test_what_is_not_supported_is_named_in_the_refusal(caller):
    headers = caller.headers()
    asymmetric = headers["Authorization"].replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")
    caller.refused(INCOMPLETE, {**headers, "Authorization": asymmetric}, "4A", "not supported", "AWS4-HMAC-SHA256")
    for payload in ("UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
        caller.refused(INVALID, caller.headers({"x-amz-content-sha256": payload}), payload, "not supported")


@pytest.mark.parametrize("with_header", [False, True])
def test_a_presigned_address_is_refused(caller, with_header):
    request = AWSRequest("POST", f"{caller.wire.endpoint}/CreateStage", data=BODY)
    SigV4QueryAuth(Credentials(caller.wire.account, SECRET), "ivs", caller.wire.region).add_auth(request)
    path = request.url.removeprefix(caller.wire.endpoint)
    assert "X-Amz-Signature=" in path
    headers = caller.headers() if with_header else {}
    caller.refused(INCOMPLETE, headers, "query", "not supported", "Authorization", path=path)


def test_two_authorizations_are_refused_even_if_both_are_right(caller):
    pairs = list(caller.headers().items())
    caller.refused(INCOMPLETE, [*pairs, *(pair for pair in pairs if pair[0] == "Authorization")], "Authorization")


@pytest.mark.parametrize(
    "date",
    ["", "now", "2026-01-01T00:00:00Z", "20261301T000000Z", "20260101T250000Z", "20260101T000000", "20260101T000000+1"],
)
def test_a_date_of_another_form_is_refused(caller, date):
    caller.refused(INCOMPLETE, {**caller.headers(), "X-Amz-Date": date}, "X-Amz-Date")


def test_a_request_has_one_date(caller):
    headers = caller.headers()
    caller.refused(INCOMPLETE, [*headers.items(), ("X-Amz-Date", headers["X-Amz-Date"])], "x-amz-date")
    undated = {name: value for name, value in headers.items() if name != "X-Amz-Date"}
    caller.refused(INCOMPLETE, undated, "X-Amz-Date")
    caller.refused(INCOMPLETE, {**undated, "Date": "Sun, 22 Nov 2026 12:00:00 GMT"}, "X-Amz-Date")


def test_the_host_must_be_signed(caller):
    headers = caller.headers()
    unsigned = headers["Authorization"].replace("host;", "")
    caller.refused(INVALID, {**headers, "Authorization": unsigned}, "host must be signed")


@pytest.mark.parametrize("name", ["x-amz-target", "X-Amz-User-Agent", "x-amz-content-sha256", "X-AMZ-SECURITY-TOKEN"])
def test_a_header_of_amazons_must_be_signed(caller, name):
    caller.refused(INVALID, {**caller.headers(), name: "x"}, f"{name.lower()} must be signed")


def test_a_header_that_is_signed_must_be_sent(caller):
    for name in ("x-other", "content-type"):
        headers = caller.headers({name: "x"})
        del headers[name]
        caller.refused(INVALID, headers, name, "not sent")


def test_a_host_that_is_signed_must_be_sent(caller):
    headers = caller.headers({"host": ""})
    caller.refused(INVALID, {**headers, "host": None}, "host", "not sent")


def test_a_request_has_one_host(caller):
    headers = [*caller.headers().items(), ("host", urlsplit(caller.wire.endpoint).netloc)]
    answer = caller.wire.send_as_it_is("POST", "/CreateStage", BODY, [*headers, ("host", "elsewhere.example.test")])
    assert answer.status in (400, 403)


def test_a_digest_of_the_body_is_checked(caller):
    digest = hashlib.sha256(BODY).hexdigest()
    for wrong in (hashlib.sha256(b"").hexdigest(), digest.upper(), digest[:-1], "x", ""):
        caller.refused(INVALID, caller.headers({"x-amz-content-sha256": wrong}))
    caller.accepted(caller.headers({"x-amz-content-sha256": digest}))


WRONG_SCOPES = {
    "region": ["US-EAST-1", "us east 1", "us:east:1", "..", "us-east-1'--", "a" * 300, "us_east_1", ""],
    "service": ["s3", "IVS", "ivs-realtime", "ivsrealtime", "execute-api", ""],
    "terminator": ["aws5_request", "AWS4_REQUEST", ""],
    "day": ["20000101", "today", "2026"],
}


@pytest.mark.parametrize(("part", "wrong"), [(part, wrong) for part, many in WRONG_SCOPES.items() for wrong in many])
def test_a_right_signature_for_a_wrong_scope_is_refused(caller, part, wrong):
    caller.refused(INVALID, caller.headers(**{part: wrong}), {"day": "Date in Credential scope"}.get(part, part))


def test_a_wrong_signature_is_refused_in_the_words_of_aws(caller):
    answer = caller.wire.send_as_it_is("POST", "/CreateStage", BODY, caller.headers(secret="wrong"))
    assert answer.text == (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details."
    )


class Recorder(Signer):
    """Keeps what was signed."""

    def string_to_sign(self, request, canonical_request):
        self.canonical, self.signed = canonical_request, super().string_to_sign(request, canonical_request)
        return self.signed


def test_the_log_has_the_canonical_request_without_secrets(start_test_server):
    server = start_test_server()
    wire = server.wire(str(next(ACCOUNTS)))
    token = "eyJhbGciOiJFUzM4NCIsInR5cCI6IkpXVCJ9.eyJqdGkiOiJhYmNkZWZnaGlqa2wifQ.c2lnbmF0dXJlc2lnbmF0dXJl"
    path = "/tags/arn%3Aaws%3Aivs%3Aus-east-1%3A123456789012%3Astage%2Fabc?tagKeys=b&tagKeys=a&t=hidden-query"
    headers = {"x-amz-user-agent": f"agent/1 {token}", "x-own": "hidden-header"}
    request = AWSRequest("DELETE", wire.endpoint + path, headers=headers)
    signer = Recorder(Signature(wire.account, secret="wrong", token="hidden-token"))
    signer.add_auth(request)
    assert wire.send_as_it_is("DELETE", path, b"", dict(request.headers.items())).fault == INVALID
    log = server.test_server.wait_for_log("signature mismatch")
    [line] = [line for line in log.split("\n") if "signature mismatch" in line]
    assert "DEBUG" in line
    hidden = [token, "hidden-query", "hidden-header", "hidden-token"]
    canonical = signer.canonical
    for secret in hidden:
        assert secret in canonical and secret not in line
        canonical = canonical.replace(secret, "REDACTED")
    assert json.dumps(canonical) in line and json.dumps(signer.signed) in line, line
    assert "hidden-token" not in log and token not in log


def test_a_signature_with_another_secret_is_refused(caller):
    for secret in ("Test", "test ", "", "test\n"):
        caller.refused(INVALID, caller.headers(secret=secret), "does not match")


def test_a_header_that_changed_after_it_was_signed_is_refused(caller):
    headers = caller.headers({"x-amz-user-agent": "one", "x-other": "two"})
    for name in ("x-amz-user-agent", "x-other"):
        caller.refused(INVALID, {**headers, name: "three"}, "does not match")


# What is right

RIGHT_FORMS = {
    "in another order": lambda headers: dict(reversed(headers.items())),
    "in upper case": lambda headers: {name.upper(): value for name, value in headers.items()},
    "in lower case": lambda headers: {name.lower(): value for name, value in headers.items()},
    "with white space around": lambda headers: {name: f" \t{value}  " for name, value in headers.items()},
    "with white space within": lambda headers: {**headers, "X-Spaced": "a   b    c"},
    "with others that are not signed": lambda headers: {**headers, "user-agent": "x", "accept": "*/*", "x-more": "y"},
}


@pytest.mark.parametrize("form", RIGHT_FORMS)
def test_headers_may_be_written(caller, form):
    caller.accepted(RIGHT_FORMS[form](caller.headers({"X-Spaced": "a b c", "content-type": "application/json"})))


@pytest.mark.parametrize("joint", [",", ", ", " ,  "])
def test_the_fields_of_the_authorization_may_stand_in_any_order(caller, joint):
    headers = caller.headers()
    fields = headers["Authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(", ")
    for order in (fields, fields[::-1], [fields[1], fields[2], fields[0]]):
        caller.accepted({**headers, "Authorization": f"AWS4-HMAC-SHA256 {joint.join(order)}"})


def test_a_signed_header_may_be_empty_or_come_in_two_lines(caller):
    caller.accepted(caller.headers({"x-other": ""}))
    headers = caller.headers({"x-other": "one,two"})
    del headers["x-other"]
    caller.accepted([*headers.items(), ("x-other", "one"), ("x-other", "two")])


def test_the_path_of_tags_may_be_encoded_once_or_twice_in_what_is_signed(tenant):
    """Twice, as all of Amazon's clients do; once, as curl did before its version 8."""
    arn = tenant.stage(tags={"a": "b"})
    wire, path = tenant.wire, f"/tags/{quote(arn, safe='')}"
    for once in (False, True):
        signature = Signature(tenant.account, path_encoded_once=once)
        assert wire.send("GET", path, signature=signature).json == {"tags": {"a": "b"}}
        assert wire.send("POST", path, b'{"tags": {"c": "d"}}', signature=signature).status == 200
        assert wire.send("DELETE", f"{path}?tagKeys=c", signature=signature).status == 200


def test_a_path_signed_once_is_no_way_to_another_path(tenant):
    """What is signed for a path encoded twice reads like one encoded once; it leads nowhere."""
    arn = tenant.stage(tags={"a": "b"})
    path = f"/tags/{quote(arn, safe='')}"
    headers = Signature(tenant.account).headers("DELETE", f"{tenant.server.endpoint}{path}?tagKeys=a")
    answer = tenant.wire.send_as_it_is("DELETE", f"{path.replace('%', '%25')}?tagKeys=a", b"", headers)
    assert answer.status in (400, 403)
    assert tenant.ivs.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "b"}


def test_the_keys_to_remove_are_signed_whatever_their_order_and_letters(tenant):
    arn = tenant.stage(tags={"b": "x", "a": "x", "ü": "x", "A": "x", "c d": "x", "stays": "x"})
    path = f"/tags/{quote(arn, safe='')}?tagKeys=b&tagKeys=a&tagKeys=%C3%BC&tagKeys=A&tagKeys=c%20d"
    assert tenant.wire.send("DELETE", path).status == 200
    assert tenant.ivs.list_tags_for_resource(resourceArn=arn)["tags"] == {"stays": "x"}


def test_a_sign_for_what_cannot_be_read_does_not_stand_for_it(tenant):
    """Bytes that are no UTF-8 are often read as U+FFFD, and would pass for it."""
    arn = tenant.stage(tags={"\ufffd": "x"})
    path = f"/tags/{quote(arn, safe='')}?tagKeys="
    headers = Signature(tenant.account).headers("DELETE", f"{tenant.server.endpoint}{path}%EF%BF%BD")
    for other in ("%FF", "%ff", "%EF%BF"):
        answer = tenant.wire.send_as_it_is("DELETE", path + other, b"", headers)
        assert (answer.status, answer.fault) == (403, INVALID)
    assert tenant.ivs.list_tags_for_resource(resourceArn=arn)["tags"] == {"\ufffd": "x"}
