"""Paths: the operation is found, and the signature verified, by the path as it was sent."""

from urllib.parse import quote

import pytest

from signing import Signature

MALFORMED = "MalformedHttpRequestException"

NOT_CANONICAL = [
    ("/./ListStages", "'.'"),
    ("/x/../ListStages", "'..'"),
    ("/../ListStages", "'..'"),
    ("/%2e%2e/ListStages", "'..'"),
    ("/x/%2E./ListStages", "'..'"),
    ("//ListStages", "empty segment"),
    ("/ListStages/", "empty segment"),
    ("/x//ListStages", "empty segment"),
    ("/%2FListStages", "encoded slash"),
    ("/x%2f..%2fListStages", "encoded slash"),
    ("/tags%2FARN", "encoded slash"),
    ("/..%2fetc/passwd", "encoded slash"),
    ("/tags/", "empty segment"),
    ("/tags/ARN/../../ListStages", "'..'"),
    ("/tags/ARN/..", "'..'"),
    ("/tags/./ARN", "'.'"),
    ("/tags//ARN", "empty segment"),
    ("/tags/ARN/", "empty segment"),
    ("/tags/ARN/%2e%2e", "'..'"),
]


@pytest.mark.parametrize(("path", "word"), NOT_CANONICAL)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("signed", ["normalised", "as sent", "not at all"])
def test_a_path_that_is_not_canonical_is_refused_before_anything_else(tenant, path, word, method, signed):
    arn = tenant.stage(tags={"a": "b"})
    path = path.replace("ARN", quote(arn, safe=""))
    signature = Signature(tenant.account, path_encoded_once=signed == "as sent")
    body = b'{"tags": {"c": "d"}}' if method == "POST" else b""
    answer = tenant.wire.send(method, path, body, signed=signed != "not at all", signature=signature)
    assert (answer.status, answer.fault) == (400, MALFORMED), answer
    assert word in answer.text and answer.text.startswith("The path has ")
    assert tenant.ivs.get_stage(arn=arn)["stage"]["tags"] == {"a": "b"}


@pytest.mark.parametrize("encode", [lambda arn: quote(arn, safe=""), lambda arn: quote(arn, safe=":"), lambda arn: arn])
@pytest.mark.parametrize("lower", [False, True])
def test_the_arn_of_tags_may_be_encoded(tenant, encode, lower):
    """botocore and the JavaScript SDK encode colons and the slash; a client by hand may encode nothing."""
    arn = tenant.stage(tags={"a": "b"})
    encoded = encode(arn)
    if lower:
        encoded = encoded.replace("%3A", "%3a").replace("%2F", "%2f")
    assert tenant.wire.send("GET", f"/tags/{encoded}").json == {"tags": {"a": "b"}}


def test_a_signature_is_good_for_the_path_that_it_was_made_for(tenant):
    wire = tenant.wire
    headers = Signature(tenant.account).headers("POST", f"{wire.endpoint}/ListStages", b"{}")
    for path in ("/ListPublicKeys", "/ListStages/.", "/x/../ListStages"):
        assert wire.send_as_it_is("POST", path, b"{}", headers).status in (400, 403)
    assert wire.send_as_it_is("POST", "/ListStages", b"{}", headers).status == 200
