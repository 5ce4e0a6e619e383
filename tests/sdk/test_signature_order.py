"""Which refusal comes first when several are due; and session tokens, clocks and connections."""

import hashlib
import re
import socket
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from server import ACCOUNT
from signing import SECONDS, Signature, now
from test_signatures import EXPIRED, INCOMPLETE, INVALID, MISSING, UNRECOGNIZED
from wire import head

MEBIBYTE = 1024 * 1024
LONG_AGO = "20150830T123600Z"
TIME = r"(\d{8}T\d{6}Z)"
LATE = re.compile(rf"Signature expired: {TIME} is now earlier than {TIME} \({TIME} - 5 min\.\)")


@pytest.fixture(scope="module")
def punctual(start_test_server):
    """A server that looks at the clock."""
    return start_test_server("--clock-skew-seconds", "300")


@pytest.fixture
def wire(punctual):
    return punctual.tenant().wire


def key_of(server, *flags):
    """A new key as the terms of a signature."""
    made = server.credentials("create", "--account", ACCOUNT, *flags)
    return {"key": made["accessKeyId"], "secret": made["secretAccessKey"], "token": made["sessionToken"]}


def signed(wire, at, **terms):
    return wire.send("POST", "/ListStages", b"{}", signature=Signature(**{"key": wire.account, "at": at, **terms}))


def time_of(wire):
    """The time of the server, as its error for expired signatures has it."""
    return datetime.strptime(LATE.fullmatch(signed(wire, LONG_AGO).text)[3], SECONDS)


def later(time, seconds):
    return (time + timedelta(seconds=seconds)).strftime(SECONDS)


# What is wrong with a request, from the last thing that is looked at to the first, and what the refusal then is.
FAULTS = [
    ({"secret": "wrong"}, INVALID, "does not match"),
    ({"content": hashlib.sha256(b"other").hexdigest()}, INVALID, "X-Amz-Content-Sha256"),
    ({"at": LONG_AGO}, INVALID, "Signature expired"),
    ({"day": "20000101"}, INVALID, "Date in Credential scope"),
    ({"terminator": "aws5_request"}, INVALID, "terminator"),
    ({"service": "s3"}, INVALID, "service"),
    ({"region": "US EAST"}, INVALID, "region"),
    ({"state": "expired"}, EXPIRED, "expired"),
    ({"token": "superfluous"}, UNRECOGNIZED, "security token"),
    ({"state": "disabled"}, UNRECOGNIZED, "security token"),
    ({"body": b" " * (MEBIBYTE + 1)}, "RequestEntityTooLargeException", ""),
    ({"content": "UNSIGNED-PAYLOAD"}, INVALID, "UNSIGNED-PAYLOAD"),
    ({"x-amz-target": "x"}, INVALID, "x-amz-target must be signed"),
    ({"algorithm": "AWS4-HMAC-SHA512"}, INCOMPLETE, "AWS4-HMAC-SHA256"),
    ({"authorization": None}, MISSING, "Missing Authentication Token"),
    ({"path": "/Nothing"}, "UnknownOperationException", "/Nothing"),
]


def test_of_several_refusals_the_first_in_order_is_given(start_test_server):
    server = start_test_server("--clock-skew-seconds", "300")
    good, expired = key_of(server), key_of(server, "--expires-in", "1")
    disabled = key_of(server, "--expires-in", "1")
    server.credentials("disable", disabled["key"])
    server.test_server.advance(24 * 60 * 60)
    wire = server.wire(ACCOUNT)
    keys = {"good": good, "expired": expired, "disabled": disabled}
    wrong = {"at": later(time_of(wire), 0)}
    for more, fault, text in FAULTS:
        wrong |= more
        answer = send_wrong(wire, keys[wrong.get("state", "good")], wrong)
        assert (answer.fault, text in answer.text) == (fault, True), (more, answer)


def send_wrong(wire, key, wrong):
    names = ("secret", "token", "at", "day", "terminator", "service", "region")
    terms = {name: wrong[name] for name in names if name in wrong}
    path, body = wrong.get("path", "/ListStages"), wrong.get("body", b"{}")
    content = {"x-amz-content-sha256": wrong["content"]} if "content" in wrong else {}
    headers = Signature(**{**key, **terms}).headers("POST", wire.endpoint + path, body, content)
    if "algorithm" in wrong:
        headers["Authorization"] = headers["Authorization"].replace("AWS4-HMAC-SHA256", wrong["algorithm"])
    if "x-amz-target" in wrong:
        headers["x-amz-target"] = wrong["x-amz-target"]
    if "authorization" in wrong:
        headers["Authorization"] = None
    return wire.send_as_it_is("POST", path, body, headers)


def test_a_session_token_is_needed_with_its_key_and_with_no_other(greenroom):
    temporary, lasting, other = (key_of(greenroom, *flags) for flags in (["--session-token"], [], ["--session-token"]))
    assert temporary["key"].startswith("ASIA") and lasting["key"].startswith("AKIA")
    for right in (temporary, lasting):
        wire = greenroom.wire(right["key"], secret=right["secret"], token=right["token"])
        assert wire.call("ListStages").status == 200
    wrong = [{**temporary, "token": token} for token in (None, "x", other["token"], temporary["token"][:-1])]
    wrong += [{**lasting, "token": "x"}]
    for terms in wrong:
        answer = signed(greenroom.wire(ACCOUNT), now(), **terms)
        assert (answer.status, answer.fault) == (403, UNRECOGNIZED), terms
    headers = Signature(**{**temporary, "token": None}).headers("POST", f"{greenroom.endpoint}/ListStages", b"{}")
    headers["x-amz-security-token"] = temporary["token"]
    answer = greenroom.wire(ACCOUNT).send_as_it_is("POST", "/ListStages", b"{}", headers)
    assert (answer.fault, answer.text) == (INVALID, "The header x-amz-security-token must be signed")


def test_a_clock_may_be_off_by_five_minutes_to_the_second(wire):
    time = time_of(wire)
    for seconds in (-300, -299, -1, 0, 1, 299, 300):
        assert signed(wire, later(time, seconds)).status == 200, seconds
    for seconds in (-86400, -3600, -301, 301, 3600, 86400):
        answer = signed(wire, later(time, seconds))
        assert (answer.status, answer.fault) == (403, INVALID), seconds


def test_the_refusal_names_the_time_signed_the_edge_and_the_servers_own(wire):
    time = time_of(wire)
    early, late, mine = later(time, -301), later(time, 301), later(time, 0)
    expired = f"Signature expired: {early} is now earlier than {later(time, -300)} ({mine} - 5 min.)"
    assert signed(wire, early).text == expired
    pending = f"Signature not yet current: {late} is still later than {later(time, 300)} ({mine} + 5 min.)"
    assert signed(wire, late).text == pending


def test_a_signature_wears_out_as_time_passes(punctual, wire):
    signature = Signature(wire.account, at=later(time_of(wire), 0))
    headers = signature.headers("POST", f"{wire.endpoint}/ListStages", b"{}")
    for seconds, status in ((0, 200), (300, 200), (1, 403)):
        punctual.test_server.advance(seconds)
        assert wire.send_as_it_is("POST", "/ListStages", b"{}", headers).status == status
    assert signed(wire, later(time_of(wire), 0)).status == 200


@pytest.mark.parametrize("at", ["00010101T000000Z", "19691231T235959Z", "99991231T235959Z"])
def test_a_time_far_off_is_as_wrong_as_any(wire, at):
    answer = signed(wire, at)
    assert (answer.status, answer.fault) == (403, INVALID)
    assert at in answer.text


@pytest.mark.parametrize(("allowed", "minutes"), [(0, 0), (60, 1), (3600, 60)])
def test_the_skew_is_a_setting(start_test_server, allowed, minutes):
    wire = start_test_server("--clock-skew-seconds", str(allowed)).tenant().wire
    told = re.search(r"\((\d{8}T\d{6}Z) - (\d+) min\.\)", signed(wire, LONG_AGO).text)
    time = datetime.strptime(told[1], SECONDS)
    assert int(told[2]) == minutes
    assert {signed(wire, later(time, s)).status for s in (-allowed, 0, allowed)} == {200}
    assert {signed(wire, later(time, s)).status for s in (-allowed - 1, allowed + 1)} == {403}


def test_a_client_whose_clock_is_wrong_can_set_it_by_the_refusal(start_greenroom):
    """As the JavaScript SDKs do it: by the name of the fault and the date of the answer; or by the text."""
    wire = start_greenroom(GREENROOM_DATABASE_URL="sqlite::memory:").serving().wire()
    for hours in (-5, 5):
        answer = signed(wire, later(datetime.now(UTC), hours * 3600))
        assert answer.fault == INVALID
        told = re.search(r"\((\d{8}T\d{6}Z) [-+] 5 min\.\)", answer.text)[1]
        dated = parsedate_to_datetime(answer.headers["date"])
        assert abs(dated - datetime.strptime(told, SECONDS).replace(tzinfo=UTC)) < timedelta(seconds=3)
        assert signed(wire, told).status == signed(wire, dated.strftime(SECONDS)).status == 200


def test_boto3_tells_the_refusal_by_its_name(punctual):
    punctual.test_server.advance(3600)
    with pytest.raises(ClientError) as caught:
        punctual.tenant().ivs.list_stages()
    assert caught.value.response["Error"]["Code"] == INVALID
    assert "Signature expired" in caught.value.response["Error"]["Message"]


UNREAD = {
    "unsigned": {"authorization": None},
    "incomplete": {"authorization": "AWS4-HMAC-SHA256 Credential=x"},
    "with an unsigned header": {"x-amz-target": "x"},
    "by an unknown key": {},
    "unknown": {},
}


@pytest.mark.parametrize("kind", UNREAD)
def test_a_refusal_reaches_who_is_still_sending_and_the_next_request_is_answered(greenroom, kind):
    """On the same connection, unless the answer says that it ends. The body is as large as any that is taken."""
    body = b" " * MEBIBYTE
    path = "/Nothing" if kind == "unknown" else "/CreateStage"
    key = "AKIAIOSFODNN7EXAMPLE" if kind == "by an unknown key" else ACCOUNT
    wire = greenroom.wire(ACCOUNT)
    headers = {name.lower(): v for name, v in Signature(key).headers("POST", wire.endpoint + path, body).items()}
    for _ in range(3):
        answer = wire.send_as_it_is("POST", path, body, {**headers, **UNREAD[kind]})
        assert answer.status in (403, 404)
        assert wire.call("ListStages").status == 200


def test_a_refusal_does_not_wait_for_a_body_that_never_comes(greenroom):
    address = urlsplit(greenroom.endpoint)
    unsigned = re.sub(rb"Authorization: [^\r]*\r\n", b"", head("/CreateStage"))
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(unsigned + b"content-length: %d\r\n\r\n" % 10**11)
        assert connection.recv(100).startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 413 "))
