"""Keys and secrets: how tokens are signed, where keys are kept, and what never leaves."""

import base64
import stat

import jwt
import pytest

from server import MASTER_KEY, run
from tokens import key_set, verified


def test_rotated_keys_sign_new_tokens_and_old_tokens_stay_verifiable(start_greenroom, database):
    server = start_greenroom("--database-url", database).serving()
    before = server.token()
    keys = {key["kid"] for key in key_set(server.endpoint).json["keys"]}
    ended = run("keys", "rotate", "--database-url", database)
    assert ended.returncode == 0, ended.stderr
    after = server.token()
    kids = [jwt.get_unverified_header(minted)["kid"] for minted in (before, after)]
    assert kids[0] in keys and kids[1] not in keys
    assert {key["kid"] for key in key_set(server.endpoint).json["keys"]} == {*keys, kids[1]}
    assert verified(server.endpoint, before) and verified(server.endpoint, after)


def test_the_key_file_beside_the_database_is_for_its_owner_only(start_greenroom, tmp_path, database):
    start_greenroom("--database-url", database).serving().token()
    key = tmp_path / "greenroom.db.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(base64.b64decode(key.read_text())) == 32


def test_a_master_key_from_the_environment_leaves_no_key_file_and_is_needed_again(start_greenroom, tmp_path, database):
    first = start_greenroom("--database-url", database, GREENROOM_MASTER_KEY=MASTER_KEY).serving()
    first.token()
    assert first.end() == 0
    assert not [p for p in tmp_path.iterdir() if "key" in p.name]
    wrong = run("--listen", "127.0.0.1:0", "--database-url", database, GREENROOM_MASTER_KEY="A" * 43 + "=")
    assert wrong.returncode not in (0, 101)
    assert len(wrong.stderr.strip().splitlines()) == 1, wrong.stderr


@pytest.mark.parametrize("key", ["short", "A" * 44, "!" * 44])
def test_a_master_key_that_is_none_stops_the_program_and_is_not_repeated(key):
    ended = run("--listen", "127.0.0.1:0", "--database-url", "sqlite::memory:", GREENROOM_MASTER_KEY=key)
    assert ended.returncode == 2
    assert "GREENROOM_MASTER_KEY" in ended.stderr
    assert key not in ended.stderr


def test_postgres_without_a_master_key_is_refused(fresh_postgres):
    ended = run("--listen", "127.0.0.1:0", "--database-url", fresh_postgres())
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "GREENROOM_MASTER_KEY" in ended.stderr


def test_no_secret_reaches_the_log(start_greenroom, database):
    server = start_greenroom("--database-url", database, RUST_LOG="trace", GREENROOM_MASTER_KEY=MASTER_KEY).serving()
    token = server.token()
    secrets = [MASTER_KEY, token, token.rpartition(".")[2]]
    ingest = server.wire().call("CreateIngestConfiguration", {"ingestProtocol": "RTMPS", "redundantIngest": True}).json
    ingest = ingest["ingestConfiguration"]
    keys = [ingest["streamKey"], *(c["streamKey"] for c in ingest["redundantIngestCredentials"])]
    secrets += [key.rpartition("_")[2] for key in keys]
    server.wire().call("GetIngestConfiguration", {"arn": ingest["arn"]})
    server.wire().call("CreateParticipantToken", {"stageArn": token})
    assert server.end() == 0
    written = server.logged() + "\n".join(server.lines) + server.process.stdout.read()
    assert ingest["arn"].rpartition("/")[2] in written or "CreateIngestConfiguration" in written
    assert [secret for secret in secrets if secret in written] == []


def test_the_text_of_a_token_is_not_stored(start_greenroom, tmp_path, database):
    server = start_greenroom("--database-url", database).serving()
    minted = server.token()
    assert server.end() == 0
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert minted.rpartition(".")[2].encode() not in stored
