"""Participant tokens: what they hold, who can verify them, and the revocation of connection tokens."""

import json
from datetime import UTC, datetime
from urllib.parse import urlsplit

import jwt
import pytest

from tenant import invalid, is_id, missing
from tokens import key_set, part, verified
from wire import Wire

CLAIMS = ["exp", "iat", "jti", "resource", "topic", "events_url", "whip_url"]
BOTH = ["PUBLISH", "SUBSCRIBE"]


def test_a_token_needs_only_a_stage_and_answers_every_default(tenant):
    token = tenant.token(tenant.stage())
    assert token.keys() == {"participantId", "token", "duration", "capabilities", "expirationTime"}
    assert is_id(token["participantId"])
    assert token["duration"] == 720
    assert sorted(token["capabilities"]) == BOTH


def test_a_token_answers_what_it_was_given(tenant):
    given = {"duration": 20160, "userId": "alice ✓", "attributes": {"seat": "grün"}, "capabilities": ["SUBSCRIBE"]}
    token = tenant.token(tenant.stage(), **given)
    assert {name: token[name] for name in given} == given


def test_a_token_is_signed_with_a_published_es384_key(tenant, greenroom):
    token = tenant.token(tenant.stage())["token"]
    header = json.loads(part(token, 0))
    assert header == {"alg": "ES384", "typ": "JWT", "kid": header["kid"]}
    assert verified(greenroom.endpoint, token)
    head, _, signature = token.rpartition(".")
    forged = head + "." + ("A" if signature[0] != "A" else "B") + signature[1:]
    with pytest.raises(jwt.InvalidSignatureError):
        verified(greenroom.endpoint, forged)


def test_the_payload_of_a_full_token_is_compact_and_in_the_order_of_the_service(tenant):
    token = tenant.token(tenant.stage(), userId="bob", attributes={"b": "2", "a": "1"}, duration=1)
    text = part(token["token"], 1)
    payload = json.loads(text)
    assert list(payload) == [*CLAIMS, "user_id", "attributes", "capabilities", "version"]
    assert text == json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
    assert payload["user_id"] == "bob"
    assert payload["attributes"] == {"a": "1", "b": "2"}
    assert payload["exp"] - payload["iat"] == 60


def test_the_payload_of_a_plain_token_leaves_out_what_was_not_given(tenant):
    payload = json.loads(part(tenant.token(tenant.stage())["token"], 1))
    assert list(payload) == [*CLAIMS, "capabilities", "version"]


def test_the_claims_name_the_participant_the_stage_and_its_endpoints(tenant, ivs, greenroom):
    stage = ivs.create_stage()["stage"]
    token = tenant.token(stage["arn"], duration=152)
    claims = verified(greenroom.endpoint, token["token"])
    assert claims["jti"] == token["participantId"]
    assert claims["resource"] == stage["arn"]
    assert claims["topic"] == stage["arn"].rpartition("/")[2]
    assert claims["events_url"] == stage["endpoints"]["events"]
    assert claims["whip_url"] == stage["endpoints"]["whip"]
    assert claims["exp"] - claims["iat"] == 152 * 60
    assert datetime.fromtimestamp(claims["exp"], UTC) == token["expirationTime"]
    assert isinstance(claims["version"], str)


@pytest.mark.parametrize(
    ("asked", "granted", "claim"),
    [
        (["PUBLISH"], ["PUBLISH"], {"allow_publish": True}),
        (["SUBSCRIBE"], ["SUBSCRIBE"], {"allow_subscribe": True}),
        (["SUBSCRIBE", "PUBLISH"], BOTH, {"allow_publish": True, "allow_subscribe": True}),
        (["PUBLISH", "PUBLISH"], ["PUBLISH"], {"allow_publish": True}),
        ([], BOTH, {"allow_publish": True, "allow_subscribe": True}),
    ],
)
def test_a_token_claims_only_the_capabilities_that_are_granted(tenant, asked, granted, claim):
    token = tenant.token(tenant.stage(), capabilities=asked)
    assert sorted(token["capabilities"]) == granted
    assert json.loads(part(token["token"], 1))["capabilities"] == claim


def test_the_time_of_a_token_follows_the_clock_of_the_server(tenant):
    stage = tenant.stage()
    before = tenant.token(stage)
    tenant.advance(61)
    after = tenant.token(stage)
    assert (after["expirationTime"] - before["expirationTime"]).total_seconds() == 61
    assert json.loads(part(after["token"], 1))["iat"] - json.loads(part(before["token"], 1))["iat"] == 61


def test_tokens_that_come_with_a_stage_are_tokens_for_that_stage(ivs, greenroom):
    answer = ivs.create_stage(participantTokenConfigurations=[{"userId": "carol", "capabilities": ["PUBLISH"]}])
    token = answer["participantTokens"][0]
    claims = verified(greenroom.endpoint, token["token"])
    assert claims["resource"] == answer["stage"]["arn"]
    assert claims["jti"] == token["participantId"]
    assert claims["user_id"] == "carol"


def test_attributes_hold_1024_bytes_of_utf_8_in_keys_and_values_together(tenant, ivs):
    stage = tenant.stage()
    fits = {"ä": "ö" * 511}
    assert tenant.token(stage, attributes=fits)["attributes"] == fits
    with invalid("attributes"):
        tenant.token(stage, attributes={"ä": "ö" * 511 + "x"})
    with invalid("attributes"):
        ivs.create_stage(participantTokenConfigurations=[{"attributes": {"ä": "ö" * 511 + "x"}}])


def test_a_token_for_a_stage_that_does_not_exist_here_is_refused(tenant, greenroom):
    for stage in (tenant.arn("stage"), greenroom.tenant().stage(), tenant.elsewhere().stage()):
        with missing(stage):
            tenant.token(stage)


@pytest.mark.parametrize("duration", [0, 20161])
def test_a_token_lasts_from_a_minute_to_a_fortnight(tenant, duration):
    stage = tenant.stage()
    answer = tenant.wire.call("CreateParticipantToken", {"stageArn": stage, "duration": duration})
    assert answer.fault == "ValidationException"
    assert f"Value '{duration}' at 'duration' failed to satisfy constraint" in answer.text


def test_a_connection_token_is_revoked_as_often_as_one_likes(ivs):
    ivs.revoke_connection_token(tokenId="never-seen_1")
    ivs.revoke_connection_token(tokenId="never-seen_1")


def test_a_connection_token_id_is_held_to_its_shape(ivs):
    with invalid("'tokenId'", "regular expression"):
        ivs.revoke_connection_token(tokenId="not an id")


def test_the_key_set_holds_public_p_384_keys_and_no_private_part(greenroom):
    answer = key_set(greenroom.endpoint)
    assert answer.status == 200
    keys = answer.json["keys"]
    assert keys
    for key in keys:
        assert {"kty", "crv", "x", "y", "kid"} <= key.keys()
        assert (key["kty"], key["crv"]) == ("EC", "P-384")
        assert "d" not in key
        assert key.get("alg", "ES384") == "ES384"


def test_a_token_names_the_public_address_of_a_server_that_has_one(start_greenroom):
    server = start_greenroom("--database-url", "sqlite::memory:", "--public-url", "https://live.example.test").serving()
    wire = Wire(server.endpoint, "210000000001", "us-east-1")
    answer = wire.call("CreateStage", {"participantTokenConfigurations": [{}]}).json
    endpoints, token = answer["stage"]["endpoints"], answer["participantTokens"][0]["token"]
    assert urlsplit(endpoints["whip"])[:2] == ("https", "live.example.test")
    assert urlsplit(endpoints["events"])[:2] == ("wss", "live.example.test")
    claims = verified(server.endpoint, token)
    assert (claims["whip_url"], claims["events_url"]) == (endpoints["whip"], endpoints["events"])
