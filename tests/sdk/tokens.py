"""Participant tokens as any client reads them: decoded, and verified with the keys that the server publishes."""

import base64
import re

import jwt

from wire import Wire


def key_set(endpoint):
    """The public keys of the server, fetched without credentials."""
    return Wire(endpoint, "", "").send("GET", "/.well-known/jwks.json", signed=False)


def key_of(endpoint, token):
    """The published key that a token names."""
    published = key_set(endpoint).json["keys"]
    kid = jwt.get_unverified_header(token)["kid"]
    return next(jwt.PyJWK(key) for key in published if key["kid"] == kid)


def verified(endpoint, token):
    """A token's payload, verified with the published keys; the server's own clock judges its times."""
    options = {"verify_exp": False, "verify_iat": False}
    return jwt.decode(token, key_of(endpoint, token), algorithms=["ES384"], options=options)


def part(token, index):
    """A part of a token as text, from unpadded base64url."""
    encoded = token.split(".")[index]
    assert re.fullmatch(r"[A-Za-z0-9_-]+", encoded), encoded
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
