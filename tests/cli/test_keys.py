"""`greenroom keys`: signing keys are listed, rotated and retired, and the master key is replaced."""

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
    """Starts a server on the store."""
    started = []

    def start(*flags, **variables):
        # A token is valid for the URLs that it names, whichever port the server gets.
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


def subscribes(server, token):
    """Whether the token is accepted: the answer to an offer to a publisher that there is not."""
    participant = jwt.decode(token, options={"verify_signature": False})["jti"]
    headers = {"authorization": f"Bearer {token}", "content-type": "application/sdp"}
    answer = server.wire().send("POST", f"/whip/publish/{participant}", b"v=0\r\n", signed=False, headers=headers)
    return answer.status != 401 and answer.status != 403


def test_a_key_is_rotated_and_retired_under_a_running_server(keys, serve):
    server = serve()
    token = server.token()
    [first] = listed(keys)
    assert (first["keyId"], first["algorithm"]) == (jwt.get_unverified_header(token)["kid"], "ES384")
    assert (first["state"], first["signedUntil"], first["retiredAt"]) == ("signing", None, None)
    refused = keys("retire", first["keyId"])
    assert refused.returncode == 1 and "greenroom keys rotate" in refused.stderr
    assert keys("rotate").returncode == 0
    assert [key["state"] for key in listed(keys)] == ["signing", "valid"]
    assert subscribes(server, token)
    retired = keys("retire", first["keyId"])
    assert (retired.returncode, retired.stderr) == (0, "")
    assert not subscribes(server, token)
    assert subscribes(server, server.token())
    second, first = listed(keys)
    assert (second["state"], first["state"]) == ("signing", "retired")
    assert first["signedUntil"] == second["createdAt"] and first["retiredAt"]
    assert key_set(server) == {second["keyId"]}
    assert keys("retire", first["keyId"]).returncode == 0, "it can be repeated"
    assert "keys list" in keys("retire", "unknown").stderr
    human = keys("list").stdout.splitlines()
    assert len(human) == 2 and second["keyId"] in human[0] and "retired" in human[1]


def test_the_key_file_of_a_store_is_replaced(keys, serve, store):
    path = store.with_name(store.name + ".key")
    server = serve()
    token = server.token()
    before = path.read_text()
    refused = keys("rewrap", "--online")
    assert refused.returncode == 1 and "stop the server" in refused.stderr
    assert path.read_text() == before
    assert server.end() == 0
    done = keys("rewrap")
    assert (done.returncode, done.stderr) == (0, "")
    after = path.read_text()
    assert after != before and path.stat().st_mode & 0o777 == 0o600
    assert [name for name in os.listdir(store.parent) if ".key" in name] == [path.name]
    assert subscribes(serve(), token)


def test_a_rewrap_that_ends_before_the_key_is_in_place_is_finished(keys, serve, store):
    assert serve().end() == 0
    path = store.with_name(store.name + ".key")
    old = path.read_text()
    assert keys("rewrap").returncode == 0
    # As a crash leaves it between the commit and the renaming; and before the commit.
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


def test_a_master_key_is_replaced_while_servers_have_both(keys, serve, store):
    old, new = new_key(), new_key()
    create = ("credentials", "create", "--account", ACCOUNT, "--database-url", f"sqlite://{store}")
    made = run(*create, GREENROOM_MASTER_KEY=old)
    assert made.returncode == 0, made.stderr
    both = {"GREENROOM_MASTER_KEY": new, "GREENROOM_PREVIOUS_MASTER_KEY": old}
    missing = keys("rewrap", GREENROOM_MASTER_KEY=new)
    assert missing.returncode == 2 and "GREENROOM_PREVIOUS_MASTER_KEY" in missing.stderr
    server = serve(**both)
    token = server.token()
    refused = keys("rewrap", **both)
    assert refused.returncode == 1 and "--online" in refused.stderr
    for _ in range(2):
        done = keys("rewrap", "--online", **both)
        assert (done.returncode, done.stderr) == (0, "")
    assert subscribes(server, token) and subscribes(server, server.token())
    assert server.end() == 0
    wrong = run("--listen", "127.0.0.1:0", "--database-url", f"sqlite://{store}", GREENROOM_MASTER_KEY=old)
    assert wrong.returncode == 2 and "GREENROOM_MASTER_KEY" in wrong.stderr
    assert subscribes(serve(GREENROOM_MASTER_KEY=new), token)
