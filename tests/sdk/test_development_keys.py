"""Development keys, which work without being created, for use on the machine of the server only."""

import pytest

from access import Keys, client, development, unknown
from clients import ACCOUNTS
from server import MASTER_KEY, run
from tenant import refused
from wire import Wire

IN_MEMORY = {"GREENROOM_DATABASE_URL": "sqlite::memory:"}


def arn_of_a_stage(server, key, secret="test", token=None):
    wire = Wire(server.endpoint, key, "us-east-1", secret=secret, token=token)
    answer = wire.call("CreateStage")
    return answer.json["stage"]["arn"] if answer.status == 200 else answer.fault


def test_the_key_test_is_the_account_of_the_flag(start_greenroom):
    for flags, account in (((), "000000000000"), (("--account", "210000000101"), "210000000101")):
        server = start_greenroom(*flags, **IN_MEMORY).serving()
        assert arn_of_a_stage(server, "test").startswith(f"arn:aws:ivs:us-east-1:{account}:stage/")


def test_a_key_of_twelve_digits_is_the_account_of_its_number(greenroom):
    account = str(next(ACCOUNTS))
    stage = client(greenroom, development(account)).create_stage()["stage"]
    assert stage["arn"].startswith(f"arn:aws:ivs:us-east-1:{account}:stage/")
    with refused("ResourceNotFoundException"):
        client(greenroom, development(str(next(ACCOUNTS)))).get_stage(arn=stage["arn"])


@pytest.mark.parametrize("key", ["test", "210000000103"])
@pytest.mark.parametrize("secret", ["Test", "test ", "tes", "x"])
def test_a_development_key_has_no_other_secret_than_test(greenroom, key, secret):
    with refused("InvalidSignatureException"):
        client(greenroom, development(key, secret)).list_stages()


def test_a_session_token_with_a_development_key_is_ignored_and_logged_once(start_test_server):
    server = start_test_server()
    for key in ("test", "210000000103", "test"):
        assert client(server, development(key, token="FwoGZXIvYXdzEXAMPLETOKEN")).list_stages()["stages"] == []
    server.test_server.wait_for_log("session token ignored")
    warned = [line for line in server.test_server.log_lines() if "session token ignored" in line]
    assert len(warned) == 1 and "WARN" in warned[0] and "development access keys" in warned[0], warned
    assert "EXAMPLETOKEN" not in server.test_server.logged()


def test_a_session_token_of_a_development_key_is_signed_like_any_other(greenroom):
    wire = greenroom.wire("210000000103")
    headers = wire.signature.headers("POST", f"{greenroom.endpoint}/ListStages", b"{}")
    answer = wire.send_as_it_is("POST", "/ListStages", b"{}", {**headers, "x-amz-security-token": "token"})
    assert (answer.status, answer.fault) == (403, "InvalidSignatureException")


NOT_KEYS = ["Test", "test2", "21000000010", "2100000001033", "21000000010x", "AKIAIOSFODNN7EXAMPLE"]


@pytest.mark.parametrize("key", NOT_KEYS)
def test_no_other_key_is_good_before_it_is_made(greenroom, key):
    with unknown():
        client(greenroom, development(key)).list_stages()


def test_turned_off_they_are_unknown_and_made_keys_are_not(start_test_server):
    server = start_test_server("--dev-credentials=off")
    for key in ("test", "000000000000", "210000000103"):
        with unknown():
            client(server, development(key)).list_stages()
    key = Keys(server.database).create("210000000103")
    assert client(server, key).list_stages()["stages"] == []


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_they_are_turned_off_by_flag_and_by_environment_and_not_advertised(start_greenroom, by):
    flags = ["--dev-credentials=off"] if by == "flag" else []
    settings = {"GREENROOM_DEV_CREDENTIALS": "off"} if by == "environment" else {}
    server = start_greenroom(*flags, **settings, **IN_MEMORY).serving()
    assert arn_of_a_stage(server, "test") == "UnrecognizedClientException"
    assert server.end() == 0
    printed = "\n".join([*server.lines, server.process.stdout.read()])
    assert "greenroom credentials create" in printed
    assert "=test" not in printed and "key test" not in printed


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:4600", "[2001:db8::1]:4600"])
@pytest.mark.parametrize("switch", [{}, {"GREENROOM_DEV_CREDENTIALS": "on"}])
def test_on_an_address_that_others_reach_they_are_refused_with_the_way_out(tmp_path, address, switch):
    store = f"sqlite://{tmp_path}/greenroom.db"
    ended = run(GREENROOM_LISTEN=address, GREENROOM_DATABASE_URL=store, **switch)
    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = ended.stderr.strip().splitlines()
    for words in (address, "--dev-credentials=off", "greenroom credentials create", "127.0.0.1"):
        assert words in line
    assert list(tmp_path.iterdir()) == []


def test_on_an_address_that_others_reach_only_made_keys_are_good(start_greenroom, database):
    settings = {"GREENROOM_DATABASE_URL": database, "GREENROOM_MASTER_KEY": MASTER_KEY}
    server = start_greenroom("--listen", "0.0.0.0:0", "--dev-credentials=off", **settings).serving()
    assert arn_of_a_stage(server, "test") == "UnrecognizedClientException"
    key = Keys(database).create("210000000103")
    arn = arn_of_a_stage(server, key["accessKeyId"], key["secretAccessKey"])
    assert arn.startswith("arn:aws:ivs:us-east-1:210000000103:stage/")


def test_every_loopback_address_will_do(start_greenroom):
    server = start_greenroom("--listen", "127.0.0.2:0", **IN_MEMORY)
    lines = [server.line() for _ in range(3)]
    assert any("http://127.0.0.2:" in line for line in lines), lines


@pytest.mark.parametrize("value", ["", "maybe", "true", "1"])
def test_the_switch_is_on_or_off(value):
    ended = run(f"--dev-credentials={value}", GREENROOM_LISTEN="127.0.0.1:0", **IN_MEMORY)
    assert ended.returncode == 2
    [line] = ended.stderr.strip().splitlines()
    assert "--dev-credentials" in line
