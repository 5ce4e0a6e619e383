"""The token at the door: each check, at all three doors, with its code, status and close code."""

import base64
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from doors import Doors, Signer, until
from offers import offer

DAY = 24 * 3600
STATUS = {"TOKEN": 401, "TOKEN_NOT_ALLOWED": 403, "PARTICIPANT_DISCONNECTED": 403, "STAGE_DELETED": 404}
NOBODY = "nobodypublishes"


@pytest.fixture
def signer(doors):
    return Signer(doors)


async def is_refused(doors, token, code, status, **headers):
    """Holds that a token opens no door, and that every door says the same."""
    publish, subscribe = offer(), offer("recvonly")
    for path, body in (("", publish), ("/publish/self-signed_1", publish), (f"/subscribe/{NOBODY}", subscribe)):
        answer = await doors.ask("POST", path, token, body, "application/sdp", **headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, answer.text)
        assert answer.json().keys() == {"code", "message"} and answer.json()["message"]
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    # The subprotocol is echoed, and websockets reads no line of more than 8 KiB.
    bearer = len(token) > 8000
    assert await doors.refused(token, *headers.values(), bearer=bearer) == (code, 4000 + status)


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode() if not isinstance(value, bytes) else value).decode().rstrip("=")


def forged(signer, header=None, payload=None, signature=None):
    """A good token with a part of it changed, without signing it again."""
    head, body, end = signer.token().split(".")
    return ".".join([part(header) if header is not None else head, part(payload) if payload is not None else body, end if signature is None else signature])


def with_member_twice(signer):
    """A signed payload in which a member stands twice."""
    header = part({"alg": "ES384", "typ": "JWT", "kid": signer.arn})
    text = json.dumps(signer.claims())
    body = part(text.replace('"topic"', f'"topic": "{signer.doors.topic}", "topic"', 1).encode())
    algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA384)
    return f"{header}.{body}.{part(algorithm.sign(f'{header}.{body}'.encode(), signer.key))}"


def hs256(signer):
    """The classic: the public key taken for a shared secret."""
    public = signer.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signed = part({"alg": "HS256", "kid": signer.arn}) + "." + part(signer.claims())
    return f"{signed}.{part(hmac.digest(public, signed.encode(), 'sha256'))}"


NOW = time.time
MALFORMED = {
    "no JWT": lambda s: "nonsense",
    "two parts": lambda s: s.token().rsplit(".", 1)[0],
    "four parts": lambda s: s.token() + ".e30",
    "a header that is no JSON": lambda s: forged(s, header=b"{"),
    "a header that is a list": lambda s: forged(s, header=[]),
    "another type": lambda s: s.token({"typ": "JWE"}),
    "no signature": lambda s: forged(s, signature=""),
    "unsigned": lambda s: forged(s, header={"alg": "none", "kid": s.arn}, signature=""),
    "a shared secret": hs256,
    "no kid": lambda s: forged(s, header={"alg": "ES384"}),
    "a topic of another stage": lambda s: s.token(topic="abcdefghijkl"),
    "too long": lambda s: s.token(attributes={"k": "x" * 9000}),
    "a member twice": with_member_twice,
    "no exp": lambda s: s.token(exp=None),
    "no iat": lambda s: s.token(iat=None),
    "no jti": lambda s: s.token(jti=None),
    "no resource": lambda s: s.token(resource=None),
    "no topic": lambda s: s.token(topic=None),
    "no events_url": lambda s: s.token(events_url=None),
    "no whip_url": lambda s: s.token(whip_url=None),
    "no capabilities": lambda s: s.token(capabilities=None),
    "no version": lambda s: s.token(version=None),
    "exp that is a fraction": lambda s: s.token(exp=NOW() + 60.5),
    "exp that is text": lambda s: s.token(exp=str(int(NOW()) + 60)),
    "more than 14 days": lambda s: s.token(exp=int(NOW()) + 14 * DAY + 60),
    "exp before iat": lambda s: s.token(exp=int(NOW()) - 60, iat=int(NOW()) - 30),
    "an empty jti": lambda s: s.token(jti=""),
    "a jti with a space": lambda s: s.token(jti="a b"),
    "a jti of 65 letters": lambda s: s.token(jti="a" * 65),
    "a user_id of 129 letters": lambda s: s.token(user_id="ä" * 129),
    "a user_id that is a number": lambda s: s.token(user_id=1),
    "attributes of more than 1 KB": lambda s: s.token(attributes={"k": "ä" * 512}),
    "attributes that are no text": lambda s: s.token(attributes={"k": 1}),
    "capabilities that are a list": lambda s: s.token(capabilities=["PUBLISH"]),
    "capabilities that are no booleans": lambda s: s.token(capabilities={"allow_publish": "yes"}),
    # PostgreSQL has no text with U+0000.
    "a kid with U+0000": lambda s: s.token({"kid": s.arn[:-1] + "\0"}),
    "a kid of the service's with U+0000": lambda s: s.token({"kid": "abcdefghijk\0"}),
    "a resource with U+0000": lambda s: s.token(resource=s.doors.stage[:-1] + "\0", topic=s.doors.topic[:-1] + "\0"),
    "a user_id with U+0000": lambda s: s.token(user_id="a\0b"),
    "attributes with U+0000": lambda s: s.token(attributes={"k": "\0"}),
    "a name of an attribute with U+0000": lambda s: s.token(attributes={"\0": "v"}),
    "another version": lambda s: s.token(version="0.0"),
}
REFUSED = {
    "signed with another key": (lambda s: s.token(key=ec.generate_private_key(ec.SECP384R1())), "TOKEN_SIGNATURE_INVALID"),
    "another payload": (lambda s: forged(s, payload=s.claims(user_id="admin")), "TOKEN_SIGNATURE_INVALID"),
    "a key that is not there": (lambda s: s.token({"kid": s.arn[:-12] + "abcdefghijkl"}), "TOKEN_KEY_UNKNOWN"),
    "exp over": (lambda s: s.token(iat=int(NOW()) - 100, exp=int(NOW()) - 20), "TOKEN_EXPIRED"),
    "made in the future": (lambda s: s.token(iat=int(NOW()) + 60), "TOKEN_NOT_YET_VALID"),
    "another service's events": (lambda s: s.token(events_url="wss://global.events.live-video.net"), "TOKEN_NOT_ALLOWED"),
    "another service's whip": (lambda s: s.token(whip_url="https://global.whip.live-video.net"), "TOKEN_NOT_ALLOWED"),
    "a stage that is not there": (
        lambda s: s.token(resource=s.doors.stage[:-12] + "abcdefghijkl", topic="abcdefghijkl"),
        "STAGE_DELETED",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_what_is_no_token_is_refused_at_every_door(doors, signer, case):
    await is_refused(doors, MALFORMED[case](signer), "TOKEN_MALFORMED", 401)


@pytest.mark.parametrize("case", REFUSED)
async def test_a_token_that_does_not_hold_is_refused_at_every_door(doors, signer, case):
    make, code = REFUSED[case]
    await is_refused(doors, make(signer), code, STATUS.get(code, 401))


async def test_without_a_token_every_door_stays_closed(doors):
    answer = await doors.ask("POST", "", None, offer(), "application/sdp")
    assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_MISSING")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    answer = await doors.ask("POST", "", None, offer(), "application/sdp", Authorization="Basic dGVzdDp0ZXN0")
    assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_MALFORMED")
    assert await doors.refused(None) == ("TOKEN_MISSING", 4401)


async def test_a_token_of_another_account_or_region_is_refused(doors, node):
    for other in (node.tenant(), doors.tenant.elsewhere()):
        signer = Signer(Doors(other, other.stage()))
        claims = {"resource": doors.stage, "topic": doors.topic}
        await is_refused(doors, signer.token(**claims), "TOKEN_NOT_ALLOWED", 403)


async def test_a_deleted_key_opens_no_door(doors, signer):
    token = signer.token()
    async with doors.join(token) as guest:
        await guest.sees("self-signed_1")
        doors.tenant.ivs.delete_public_key(arn=signer.arn)
        await is_refused(doors, token, "TOKEN_KEY_UNKNOWN", 401)
        assert await guest.answered("PING") == {"type": "PONG"}, "who is in stays in"


async def test_a_participant_that_was_disconnected_does_not_come_back(doors, signer):
    for token, participant in (doors.token(), (signer.token(), "self-signed_1")):
        doors.tenant.ivs.disconnect_participant(stageArn=doors.stage, participantId=participant)
        path = f"/publish/{participant}"
        answer = await doors.ask("POST", path, token, offer(), "application/sdp")
        assert (answer.status_code, answer.json()["code"]) == (403, "PARTICIPANT_DISCONNECTED")
        assert await doors.refused(token) == ("PARTICIPANT_DISCONNECTED", 4403)


async def test_a_deleted_stage_is_told_as_such(doors, signer):
    tokens = [doors.token()[0], signer.token()]
    doors.tenant.ivs.delete_stage(arn=doors.stage)
    for token in tokens:
        await is_refused(doors, token, "STAGE_DELETED", 404)


async def test_a_token_opens_the_doors_of_its_own_stage_and_participant_alone(doors):
    token, _ = doors.token()
    answer = await doors.ask("POST", "/publish/somebodyelse", token, offer(), "application/sdp")
    assert (answer.status_code, answer.json()["code"]) == (403, "TOKEN_NOT_ALLOWED")
    assert await doors.refused(token, topic="abcdefghijkl") == ("TOKEN_NOT_ALLOWED", 4403)


async def test_a_token_is_good_for_what_it_allows(doors, signer):
    seeing = signer.token(jti="seeing", capabilities={"allow_subscribe": True})
    sending = signer.token(jti="sending", capabilities={"allow_publish": True, "allow_subscribe": False})
    async with doors.join(seeing) as one, doors.join(sending) as two:
        await one.sees("seeing", "sending")
        await two.sees("seeing", "sending")
        for token, path, direction in ((seeing, "", "sendonly"), (sending, "/subscribe/seeing", "recvonly")):
            answer = await doors.ask("POST", path, token, offer(direction), "application/sdp")
            assert (answer.status_code, answer.json()["code"]) == (403, "INSUFFICIENT_CAPABILITIES")
    await doors.recorded("seeing", "JOINED", "PUBLISH_ERROR INSUFFICIENT_CAPABILITIES", "LEFT")
    await doors.recorded("sending", "JOINED", "SUBSCRIBE_ERROR seeing INSUFFICIENT_CAPABILITIES", "LEFT")


async def test_tokens_with_all_that_is_allowed_open_the_doors(doors, signer):
    good = {
        "without what is optional": {"user_id": None, "attributes": None},
        "the longest id": {"jti": "aA0-_" + "z" * 59},
        "fourteen days": {"exp": int(NOW()) + 14 * DAY - 60, "iat": int(NOW()) - 60},
        "1 KB of attributes": {"attributes": {"k": "ä" * 511 + "a"}},
        "members that are not known": {"more": {"x": 1}},
        "no capability": {"capabilities": {}},
    }
    for n, (case, changed) in enumerate(good.items()):
        claims = {"jti": f"good-{n}"} | changed
        async with doors.join(signer.token(**claims)) as guest:
            await guest.sees(claims["jti"]), case


async def test_exp_counts_at_the_join_only(doors, signer):
    token = signer.token(iat=int(NOW()), exp=int(NOW()) + 1)
    async with doors.join(token) as guest:
        await guest.sees("self-signed_1")
        made = await doors.ask("POST", "", token, offer(), "application/sdp")
        assert made.status_code == 201
        await until(lambda: doors.post("", token, offer()).status_code != 201)
        refused = await doors.ask("POST", "", token, offer(), "application/sdp")
        assert refused.json()["code"] == "TOKEN_EXPIRED"
        assert await guest.answered("PING") == {"type": "PONG"}


async def test_a_connection_token_comes_along_with_a_participant_token(doors, signer):
    token, connection = signer.token(), signer.connection_token()
    async with doors.join(token, connection) as guest:
        assert guest.socket.subprotocol == token
        await guest.sees("self-signed_1")
        made = await doors.ask("POST", "", token, offer(), "application/sdp", Greenroom_Connection_Token=connection)
        assert made.status_code == 201
        doors.tenant.ivs.revoke_connection_token(tokenId="connection-1")
        assert await guest.closed() == (4403, "CONNECTION_TOKEN_REVOKED")
    await is_refused(doors, token, "CONNECTION_TOKEN_REVOKED", 403, Greenroom_Connection_Token=connection)


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
async def test_a_connection_token_that_does_not_hold_is_refused(doors, signer, changed, code):
    connection = signer.connection_token(**changed)
    await is_refused(doors, signer.token(), code, STATUS.get(code, 401), Greenroom_Connection_Token=connection)
