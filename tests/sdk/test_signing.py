"""The signer of these tests, held to what Amazon has published.

The published vectors are for a service named `service`, for hosts and for times of their own, so no server of ivs can
take them; what they prove of the signer holds for what it signs for the server.
"""

import pytest

from signing import Signature

EXAMPLE = Signature(
    "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", service="service", at="20150830T123600Z"
)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
VECTORS = {
    "get-vanilla": ("GET", "/", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "get-vanilla-query-order-key-case": (
        "GET",
        "/?Param2=value2&Param1=value1",
        {},
        b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-unreserved": (
        "GET",
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        {},
        b"",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    "get-utf8": ("GET", "/ሴ", {}, b"", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    "get-header-value-trim": (
        "GET",
        "/",
        {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
        b"",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "post-vanilla": ("POST", "/", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "post-header-key-sort": (
        "POST",
        "/",
        {"My-Header1": "value1"},
        b"",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-x-www-form-urlencoded": (
        "POST",
        "/",
        FORM,
        b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_signer_makes_the_published_signature_of(name):
    method, path, headers, body, signature = VECTORS[name]
    signed = EXAMPLE.headers(method, f"https://example.amazonaws.com{path}", body, headers)
    assert signed["Authorization"].endswith(f"Signature={signature}")


def test_the_signer_makes_the_signature_in_amazons_documentation():
    signature = Signature(EXAMPLE.key, EXAMPLE.secret, service="iam", at=EXAMPLE.at)
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    address = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08"
    assert signature.headers("GET", address, headers=form)["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )
