"""Verification of participant tokens at all three endpoints: error code, status and close code of each check."""

import base64
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from endpoints import StageEndpoints, Signer, wait_until
from offers import offer

DAY = 24 * 3600
STATUS = {"TOKEN": 401, "TOKEN_NOT_ALLOWED": 403, "PARTICIPANT_DISCONNECTED": 403, "STAGE_DELETED": 404}
UNKNOWN_PARTICIPANT = "notpublishing"


@pytest.fixture
def signer(endpoints):
    return Signer(endpoints)


async def assert_rejected(endpoints, token, code, status, **headers):
    """Asserts that all endpoints reject a token in the same way."""
    publish, subscribe = offer(), offer("recvonly")
    for path, body in (("", publish), ("/publish/self-signed_1", publish), (f"/subscribe/{UNKNOWN_PARTICIPANT}", subscribe)):
        answer = await endpoints.send_async("POST", path, token, body, "application/sdp", **headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, answer.text)
        assert answer.json().keys() == {"code", "message"} and answer.json()["message"]
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    # The subprotocol is echoed, and the websockets package reads lines of up to 8 KiB.
    bearer = len(token) > 8000
    assert await endpoints.refused(token, *headers.values(), bearer=bearer) == (code, 4000 + status)


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode() if not isinstance(value, bytes) else value).decode().rstrip("=")


def forged(signer, header=None, payload=None, signature=None):
    """A valid token with a changed part and the original signature."""
    head, body, end = signer.token().split(".")
    return ".".join([part(header) if header is not None else head, part(payload) if payload is not None else body, end if signature is None else signature])


def with_duplicate_member(signer):
    """A signed payload with a duplicate member."""
    header = part({"alg": "ES384", "typ": "JWT", "kid": signer.arn})
    text = json.dumps(signer.claims())
    body = part(text.replace('"topic"', f'"topic": "{signer.endpoints.topic}", "topic"', 1).encode())
    algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA384)
    return f"{header}.{body}.{part(algorithm.sign(f'{header}.{body}'.encode(), signer.key))}"


def hs256(signer):
    """Algorithm confusion: an HMAC with the public key as secret."""
    public = signer.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signed = part({"alg": "HS256", "kid": signer.arn}) + "." + part(signer.claims())
    return f"{signed}.{part(hmac.digest(public, signed.encode(), 'sha256'))}"


NOW = time.time
MALFORMED = {
    "no JWT": lambda s: "nonsense",
    "two parts": lambda s: s.token().rsplit(".", 1)[0],
    "four parts": lambda s: s.token() + ".e30",
    "a header that is not JSON": lambda s: forged(s, header=b"{"),
    "a header that is a list": lambda s: forged(s, header=[]),
    "another type": lambda s: s.token({"typ": "JWE"}),
    "no signature": lambda s: forged(s, signature=""),
    "unsigned": lambda s: forged(s, header={"alg": "none", "kid": s.arn}, signature=""),
    "a shared secret": hs256,
    "no kid": lambda s: forged(s, header={"alg": "ES384"}),
    "a topic of another stage": lambda s: s.token(topic="abcdefghijkl"),
    "too long": lambda s: s.token(attributes={"k": "x" * 9000}),
    "a duplicate member": with_duplicate_member,
    "no exp": lambda s: s.token(exp=None),
    "no iat": lambda s: s.token(iat=None),
    "no jti": lambda s: s.token(jti=None),
    "no resource": lambda s: s.token(resource=None),
    "no topic": lambda s: s.token(topic=None),
    "no events_url": lambda s: s.token(events_url=None),
    "no whip_url": lambda s: s.token(whip_url=None),
    "no capabilities": lambda s: s.token(capabilities=None),
    "no version": lambda s: s.token(version=None),
    "a fractional exp": lambda s: s.token(exp=NOW() + 60.5),
    "an exp that is a string": lambda s: s.token(exp=str(int(NOW()) + 60)),
    "more than 14 days": lambda s: s.token(exp=int(NOW()) + 14 * DAY + 60),
    "exp before iat": lambda s: s.token(exp=int(NOW()) - 60, iat=int(NOW()) - 30),
    "an empty jti": lambda s: s.token(jti=""),
    "a jti with a space": lambda s: s.token(jti="a b"),
    "a jti of 65 characters": lambda s: s.token(jti="a" * 65),
    "a user_id of 129 characters": lambda s: s.token(user_id="ä" * 129),
    "a user_id that is a number": lambda s: s.token(user_id=1),
    "attributes of more than 1 KB": lambda s: s.token(attributes={"k": "ä" * 512}),
    "an attribute that is not a string": lambda s: s.token(attributes={"k": 1}),
    "capabilities that are a list": lambda s: s.token(capabilities=["PUBLISH"]),
    "capabilities that are not booleans": lambda s: s.token(capabilities={"allow_publish": "yes"}),
    # PostgreSQL cannot store U+0000.
    "a kid with U+0000": lambda s: s.token({"kid": s.arn[:-1] + "\0"}),
    "a kid of a service key with U+0000": lambda s: s.token({"kid": "abcdefghijk\0"}),
    "a resource with U+0000": lambda s: s.token(resource=s.endpoints.stage[:-1] + "\0", topic=s.endpoints.topic[:-1] + "\0"),
    "a user_id with U+0000": lambda s: s.token(user_id="a\0b"),
    "attributes with U+0000": lambda s: s.token(attributes={"k": "\0"}),
    "an attribute name with U+0000": lambda s: s.token(attributes={"\0": "v"}),
    "another version": lambda s: s.token(version="0.0"),
}
INVALID = {
    "signed with another key": (lambda s: s.token(key=ec.generate_private_key(ec.SECP384R1())), "TOKEN_SIGNATURE_INVALID"),
    "a changed payload": (lambda s: forged(s, payload=s.claims(user_id="admin")), "TOKEN_SIGNATURE_INVALID"),
    "an unknown key": (lambda s: s.token({"kid": s.arn[:-12] + "abcdefghijkl"}), "TOKEN_KEY_UNKNOWN"),
    "expired": (lambda s: s.token(iat=int(NOW()) - 100, exp=int(NOW()) - 20), "TOKEN_EXPIRED"),
    "issued in the future": (lambda s: s.token(iat=int(NOW()) + 60), "TOKEN_NOT_YET_VALID"),
    "another events_url": (lambda s: s.token(events_url="wss://global.events.live-video.net"), "TOKEN_NOT_ALLOWED"),
    "another whip_url": (lambda s: s.token(whip_url="https://global.whip.live-video.net"), "TOKEN_NOT_ALLOWED"),
    "an unknown stage": (
        lambda s: s.token(resource=s.endpoints.stage[:-12] + "abcdefghijkl", topic="abcdefghijkl"),
        "STAGE_DELETED",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_malformed_tokens_are_rejected(endpoints, signer, case):
    await assert_rejected(endpoints, MALFORMED[case](signer), "TOKEN_MALFORMED", 401)


@pytest.mark.parametrize("case", INVALID)
async def test_invalid_tokens_are_rejected(endpoints, signer, case):
    make, code = INVALID[case]
    await assert_rejected(endpoints, make(signer), code, STATUS.get(code, 401))


async def test_a_missing_token_is_rejected(endpoints):
    answer = await endpoints.send_async("POST", "", None, offer(), "application/sdp")
    assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_MISSING")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    answer = await endpoints.send_async("POST", "", None, offer(), "application/sdp", Authorization="Basic dGVzdDp0ZXN0")
    assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_MALFORMED")
    assert await endpoints.refused(None) == ("TOKEN_MISSING", 4401)


async def test_a_token_of_another_account_or_region_is_rejected(endpoints, node):
    for other in (node.tenant(), endpoints.tenant.elsewhere()):
        signer = Signer(StageEndpoints(other, other.stage()))
        claims = {"resource": endpoints.stage, "topic": endpoints.topic}
        await assert_rejected(endpoints, signer.token(**claims), "TOKEN_NOT_ALLOWED", 403)


async def test_a_token_of_a_deleted_key_is_rejected(endpoints, signer):
    token = signer.token()
    async with endpoints.join(token) as client:
        await client.wait_for_state("self-signed_1")
        endpoints.tenant.ivs.delete_public_key(arn=signer.arn)
        await assert_rejected(endpoints, token, "TOKEN_KEY_UNKNOWN", 401)
        assert await client.request("PING") == {"type": "PONG"}, "open connections stay"


async def test_a_disconnected_participant_cannot_rejoin(endpoints, signer):
    for token, participant in (endpoints.token(), (signer.token(), "self-signed_1")):
        endpoints.tenant.ivs.disconnect_participant(stageArn=endpoints.stage, participantId=participant)
        path = f"/publish/{participant}"
        answer = await endpoints.send_async("POST", path, token, offer(), "application/sdp")
        assert (answer.status_code, answer.json()["code"]) == (403, "PARTICIPANT_DISCONNECTED")
        assert await endpoints.refused(token) == ("PARTICIPANT_DISCONNECTED", 4403)


async def test_tokens_of_a_deleted_stage_are_rejected(endpoints, signer):
    tokens = [endpoints.token()[0], signer.token()]
    endpoints.tenant.ivs.delete_stage(arn=endpoints.stage)
    for token in tokens:
        await assert_rejected(endpoints, token, "STAGE_DELETED", 404)


async def test_a_token_is_valid_for_its_stage_and_participant_only(endpoints):
    token, _ = endpoints.token()
    answer = await endpoints.send_async("POST", "/publish/anotherparticipant", token, offer(), "application/sdp")
    assert (answer.status_code, answer.json()["code"]) == (403, "TOKEN_NOT_ALLOWED")
    assert await endpoints.refused(token, topic="abcdefghijkl") == ("TOKEN_NOT_ALLOWED", 4403)


async def test_capabilities_are_enforced(endpoints, signer):
    subscriber = signer.token(jti="seeing", capabilities={"allow_subscribe": True})
    publisher = signer.token(jti="sending", capabilities={"allow_publish": True, "allow_subscribe": False})
    async with endpoints.join(subscriber) as one, endpoints.join(publisher) as two:
        await one.wait_for_state("seeing", "sending")
        await two.wait_for_state("seeing", "sending")
        for token, path, direction in ((subscriber, "", "sendonly"), (publisher, "/subscribe/seeing", "recvonly")):
            answer = await endpoints.send_async("POST", path, token, offer(direction), "application/sdp")
            assert (answer.status_code, answer.json()["code"]) == (403, "INSUFFICIENT_CAPABILITIES")
    await endpoints.wait_for_events("seeing", "JOINED", "PUBLISH_ERROR INSUFFICIENT_CAPABILITIES", "LEFT")
    await endpoints.wait_for_events("sending", "JOINED", "SUBSCRIBE_ERROR seeing INSUFFICIENT_CAPABILITIES", "LEFT")


async def test_unusual_valid_tokens_are_accepted(endpoints, signer):
    good = {
        "no optional claims": {"user_id": None, "attributes": None},
        "the longest id": {"jti": "aA0-_" + "z" * 59},
        "fourteen days": {"exp": int(NOW()) + 14 * DAY - 60, "iat": int(NOW()) - 60},
        "1 KB of attributes": {"attributes": {"k": "ä" * 511 + "a"}},
        "unknown members": {"more": {"x": 1}},
        "no capability": {"capabilities": {}},
    }
    for n, (case, changed) in enumerate(good.items()):
        claims = {"jti": f"good-{n}"} | changed
        async with endpoints.join(signer.token(**claims)) as client:
            await client.wait_for_state(claims["jti"]), case


async def test_expiry_is_checked_when_joining_only(endpoints, signer):
    token = signer.token(iat=int(NOW()), exp=int(NOW()) + 1)
    async with endpoints.join(token) as client:
        await client.wait_for_state("self-signed_1")
        made = await endpoints.send_async("POST", "", token, offer(), "application/sdp")
        assert made.status_code == 201
        await wait_until(lambda: endpoints.post("", token, offer()).status_code != 201)
        refused = await endpoints.send_async("POST", "", token, offer(), "application/sdp")
        assert refused.json()["code"] == "TOKEN_EXPIRED"
        assert await client.request("PING") == {"type": "PONG"}


async def test_a_connection_token_accompanies_a_participant_token(endpoints, signer):
    token, connection = signer.token(), signer.connection_token()
    async with endpoints.join(token, connection) as client:
        assert client.socket.subprotocol == token
        await client.wait_for_state("self-signed_1")
        made = await endpoints.send_async("POST", "", token, offer(), "application/sdp", Greenroom_Connection_Token=connection)
        assert made.status_code == 201
        endpoints.tenant.ivs.revoke_connection_token(tokenId="connection-1")
        assert await client.closed() == (4403, "CONNECTION_TOKEN_REVOKED")
    await assert_rejected(endpoints, token, "CONNECTION_TOKEN_REVOKED", 403, Greenroom_Connection_Token=connection)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"exp": None}, "TOKEN_MALFORMED"),
        ({"exp": int(NOW()) + 29 * DAY}, "TOKEN_MALFORMED"),
        ({"version": "2.0"}, "TOKEN_MALFORMED"),
        ({"exp": int(NOW()) - 60, "iat": int(NOW()) - 120}, "TOKEN_EXPIRED"),
        ({"region": "eu-west-1"}, "TOKEN_NOT_ALLOWED"),
        ({"account_id": "999999999999"}, "TOKEN_NOT_ALLOWED"),
        ({"key": ec.generate_private_key(ec.SECP384R1())}, "TOKEN_SIGNATURE_INVALID"),
    ],
)
async def test_invalid_connection_tokens_are_rejected(endpoints, signer, changed, code):
    connection = signer.connection_token(**changed)
    await assert_rejected(endpoints, signer.token(), code, STATUS.get(code, 401), Greenroom_Connection_Token=connection)
