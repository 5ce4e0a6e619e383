"""`greenroom keys`: listing, rotating and retiring signing keys, and replacing the master key."""

import base64
import json
import os
import secrets

import jwt
import pytest

from server import Greenroom, run

ACCOUNT = "123456789012"


def new_key():
    return base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
def keys(store):
    """Runs `greenroom keys …` on the store."""

    def run_keys(*arguments, **variables):
        return run("keys", *arguments, "--database-url", f"sqlite://{store}", **variables)

    return run_keys


@pytest.fixture
def serve(store):
    """Starts servers on the store."""
    started = []

    def start(*flags, **variables):
        # A token is bound to the URLs in it; the port differs from server to server.
        fixed = ("--public-url", "http://green.example", "--database-url", f"sqlite://{store}")
        server = Greenroom(*fixed, *flags, **variables)
        started.append(server)
        return server.serving()

    yield start
    for server in started:
        server.kill()


def listed(keys):
    return json.loads(keys("list", "--output", "json").stdout)


def key_set(server):
    return {key["kid"] for key in server.wire().send("GET", "/.well-known/jwks.json", signed=False).json["keys"]}


def is_accepted(server, token):
    """Whether the token is accepted, by the response to an offer to a nonexistent publisher."""
    participant = jwt.decode(token, options={"verify_signature": False})["jti"]
    headers = {"authorization": f"Bearer {token}", "content-type": "application/sdp"}
    answer = server.wire().send("POST", f"/whip/publish/{participant}", b"v=0\r\n", signed=False, headers=headers)
    return answer.status != 401 and answer.status != 403


def test_a_key_is_rotated_and_retired_while_a_server_runs(keys, serve):
    server = serve()
    token = server.token()
    [first] = listed(keys)
    assert (first["keyId"], first["algorithm"]) == (jwt.get_unverified_header(token)["kid"], "ES384")
    assert (first["state"], first["signedUntil"], first["retiredAt"]) == ("signing", None, None)
    rejected = keys("retire", first["keyId"])
    assert rejected.returncode == 1 and "greenroom keys rotate" in rejected.stderr
    assert keys("rotate").returncode == 0
    assert [key["state"] for key in listed(keys)] == ["signing", "valid"]
    assert is_accepted(server, token)
    retired = keys("retire", first["keyId"])
    assert (retired.returncode, retired.stderr) == (0, "")
    assert not is_accepted(server, token)
    assert is_accepted(server, server.token())
    second, first = listed(keys)
    assert (second["state"], first["state"]) == ("signing", "retired")
    assert first["signedUntil"] == second["createdAt"] and first["retiredAt"]
    assert key_set(server) == {second["keyId"]}
    assert keys("retire", first["keyId"]).returncode == 0, "retiring is idempotent"
    assert "keys list" in keys("retire", "unknown").stderr
    text_lines = keys("list").stdout.splitlines()
    assert len(text_lines) == 2 and second["keyId"] in text_lines[0] and "retired" in text_lines[1]


def test_the_key_file_of_a_store_is_replaced(keys, serve, store):
    path = store.with_name(store.name + ".key")
    server = serve()
    token = server.token()
    before = path.read_text()
    rejected = keys("rewrap", "--online")
    assert rejected.returncode == 1 and "stop the server" in rejected.stderr
    assert path.read_text() == before
    assert server.end() == 0
    result = keys("rewrap")
    assert (result.returncode, result.stderr) == (0, "")
    after = path.read_text()
    assert after != before and path.stat().st_mode & 0o777 == 0o600
    assert [name for name in os.listdir(store.parent) if ".key" in name] == [path.name]
    assert is_accepted(serve(), token)


def test_an_interrupted_rewrap_is_completed_at_startup(keys, serve, store):
    assert serve().end() == 0
    path = store.with_name(store.name + ".key")
    old = path.read_text()
    assert keys("rewrap").returncode == 0
    # The state after a crash between commit and rename, then after a crash before the commit.
    path.with_name(path.name + ".new").write_text(path.read_text())
    path.write_text(old)
    server = serve()
    assert server.token() and server.end() == 0
    assert not path.with_name(path.name + ".new").exists() and path.read_text() != old
    current = path.read_text()
    path.with_name(path.name + ".new").write_text(new_key())
    server = serve()
    assert server.token() and server.end() == 0
    assert path.read_text() == current
    assert keys("rewrap").returncode == 0 and path.read_text() != current


def test_a_master_key_is_replaced_online_with_both_keys_configured(keys, serve, store):
    old, new = new_key(), new_key()
    create = ("credentials", "create", "--account", ACCOUNT, "--database-url", f"sqlite://{store}")
    made = run(*create, GREENROOM_MASTER_KEY=old)
    assert made.returncode == 0, made.stderr
    both = {"GREENROOM_MASTER_KEY": new, "GREENROOM_PREVIOUS_MASTER_KEY": old}
    missing = keys("rewrap", GREENROOM_MASTER_KEY=new)
    assert missing.returncode == 2 and "GREENROOM_PREVIOUS_MASTER_KEY" in missing.stderr
    server = serve(**both)
    token = server.token()
    rejected = keys("rewrap", **both)
    assert rejected.returncode == 1 and "--online" in rejected.stderr
    for _ in range(2):
        result = keys("rewrap", "--online", **both)
        assert (result.returncode, result.stderr) == (0, "")
    assert is_accepted(server, token) and is_accepted(server, server.token())
    assert server.end() == 0
    wrong = run("--listen", "127.0.0.1:0", "--database-url", f"sqlite://{store}", GREENROOM_MASTER_KEY=old)
    assert wrong.returncode == 2 and "GREENROOM_MASTER_KEY" in wrong.stderr
    assert is_accepted(serve(GREENROOM_MASTER_KEY=new), token)
