"""What the client sends, and what it makes of the responses: against the fake server."""

from datetime import datetime, timedelta, timezone

import pytest

from greenroom_testkit import (
    AccessDenied,
    ApiError,
    Conflict,
    Credentials,
    NotFound,
    Server,
    ServerError,
    SharedClockError,
    TestApiMissing,
    ValidationError,
    WaitTimeout,
)
from greenroom_testkit.times import iso, parse, seconds

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
KEY = Credentials("GREENROOMTESTKEY0001", "an-example-secret-of-32-characters")


def test_a_request_names_its_account_and_region(fake, client):
    fake.answer({"deleted": {"stages": 2}})
    assert client.reset() == {"stages": 2}
    assert (fake.last.method, fake.last.path) == ("POST", "/_greenroom/test/reset")
    assert fake.last.query == {"account": "123456789012", "region": "us-east-1"}
    assert "authorization" not in fake.last.headers


def test_the_clock_is_that_of_all_accounts(fake, client):
    for _ in range(3):
        fake.answer({"now": "2026-01-01T12:00:00.5Z"})
    with client.frozen(NOON) as clock:
        assert clock.advance("5m") == NOON + timedelta(seconds=0.5)
    freeze, advance, resume = fake.requests
    assert freeze.query == advance.query == resume.query == {"all": "true"}
    assert freeze.json == {"now": "2026-01-01T12:00:00Z", "frozen": True}
    assert advance.json == {"seconds": 300.0}
    assert (resume.method, resume.path) == ("DELETE", "/_greenroom/test/clock")


def test_the_clock_resumes_after_an_error_in_the_block(fake, client):
    for _ in range(2):
        fake.answer({"now": "2026-01-01T12:00:00Z"})
    with pytest.raises(ZeroDivisionError), client.time_travel(by=timedelta(hours=1)):
        raise ZeroDivisionError
    assert [request.method for request in fake.requests] == ["POST", "DELETE"]


def test_the_clock_of_a_shared_server_cannot_be_moved(fake):
    client = Server(fake.endpoint, exclusive=False).account()
    for move in (client.frozen, lambda: client.time_travel(by=1)):
        with pytest.raises(SharedClockError, match="other tests use this server"), move():
            pass
    with pytest.raises(SharedClockError):
        client.run_scenario("at 0s alice joins")
    assert fake.requests == []


def test_requests_are_signed_where_the_server_has_credentials(fake):
    fake.answer({"accessKeys": {"testkit": {"accessKeyId": "GREENROOMNEWKEY00001", "secretAccessKey": "x" * 40}}})
    client = Server(fake.endpoint, credentials=KEY).account("210987654321")
    client.journal.clear()
    seed, clear = fake.requests
    assert (seed.path, seed.query["account"]) == ("/_greenroom/test/seed", "210987654321")
    assert f"Credential={KEY.access_key_id}/" in seed.headers["authorization"]
    assert "/us-east-1/ivs/aws4_request" in seed.headers["authorization"]
    assert "Credential=GREENROOMNEWKEY00001/" in clear.headers["authorization"]
    # The clock is moved with the key of the server's own account.
    fake.answer({"now": "2026-01-01T12:00:00Z"})
    client.clock.advance(1)
    assert f"Credential={KEY.access_key_id}/" in fake.last.headers["authorization"]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "ValidationException", ValidationError),
        (400, "SerializationException", ValidationError),
        (403, "AccessDeniedException", AccessDenied),
        (404, "ResourceNotFoundException", NotFound),
        (409, "ConflictException", Conflict),
        (404, "UnknownOperationException", TestApiMissing),
        (503, "ServiceUnavailable", ApiError),
    ],
)
def test_an_error_has_the_message_of_the_server(fake, client, status, code, kind):
    fake.answer({"message": "stage: no such name"}, status, code)
    with pytest.raises(kind, match="stage: no such name") as caught:
        client.join("lobby")
    assert (caught.value.status, caught.value.code) == (status, code)


def test_a_missing_endpoint_is_not_a_missing_test_api(fake, client):
    fake.answer({"message": "The test API has no endpoint GET /x"}, 404, "UnknownOperationException")
    with pytest.raises(ApiError) as caught:
        client.reset()
    assert not isinstance(caught.value, TestApiMissing)


def test_no_response_is_an_error_that_names_the_server():
    with pytest.raises(ServerError, match="http://127.0.0.1:9/_greenroom/test/reset"):
        Server("http://127.0.0.1:9").account().reset()


def test_a_participant_has_the_members_of_the_last_response(fake, client):
    one = {
        "participantId": "p1",
        "token": "t",
        "stageArn": "arn",
        "sessionId": "st-1",
        "userId": "alice",
        "state": "CONNECTED",
    }
    fake.answer({**one, "publishing": False})
    alice = client.join("lobby", user_id="alice", attributes={"role": "host"}, subscribe=["p0"])
    assert fake.last.json == {"stage": "lobby", "userId": "alice", "attributes": {"role": "host"}, "subscribe": ["p0"]}
    fake.answer({**one, "publishing": True, "muted": ["audio"]})
    assert alice.publish().publishing and alice.muted == ["audio"]
    assert fake.last.path == "/_greenroom/test/participants/p1/publish"
    for act, path, body in [
        (lambda: alice.subscribe("p2"), "subscribe", {"participantId": "p2"}),
        (lambda: alice.unsubscribe(alice), "unsubscribe", {"participantId": "p1"}),
        (lambda: alice.mute("video"), "mute", {"kinds": ["video"]}),
        (lambda: alice.unmute(), "unmute", {"kinds": ["audio", "video"]}),
        (lambda: alice.fail("QUOTA", "JOIN_ERROR"), "fail", {"code": "QUOTA", "event": "JOIN_ERROR"}),
        (lambda: alice.exchange_token(attributes={}), "exchange", {"attributes": {}}),
    ]:
        fake.answer(one)
        act()
        assert (fake.last.path, fake.last.json) == (f"/_greenroom/test/participants/p1/{path}", body)


def test_a_token_alone_names_its_stage(fake, client):
    fake.answer({"participantId": "p1"})
    client.join(token="head.payload.signature")
    assert fake.last.json == {"token": "head.payload.signature"}


def test_a_scenario_as_python_is_its_text(fake, client):
    scenario = client.scenario("lobby")
    scenario.at(0).joins("alice", {"role": "host"}).viewers_join(1000, over="10s")
    scenario.at(1.5).publishes("alice").at("2m").subscribes("bob", to="alice").mutes("alice", "audio")
    scenario.at("250ms").fails("bob", "INSUFFICIENT_CAPABILITIES").exchanges_token("bob")
    scenario.at("1h").viewers_leave().everyone_leaves()
    assert scenario.text.splitlines() == [
        'at 0s alice joins as {"role": "host"}',
        "at 0s 1000 viewers join over 10s",
        "at 1.5s alice publishes",
        "at 120s bob subscribes to alice",
        "at 120s alice mutes audio",
        "at 0.25s bob fails with INSUFFICIENT_CAPABILITIES",
        "at 0.25s bob exchanges its token",
        "at 3600s viewers leave",
        "at 3600s everyone leaves",
    ]
    fake.answer({"id": "1", "state": "FINISHED", "participants": {"alice": "p1"}})
    assert scenario.run().participants == {"alice": "p1"}
    assert fake.last.query == {"all": "true"}
    assert fake.last.json["account"] == "123456789012"


@pytest.mark.parametrize(
    ("effect", "document"),
    [
        ({"exception": "ConflictException"}, {"exception": "ConflictException"}),
        ({"status": 503, "body": "x"}, {"status": 503, "body": "x"}),
        ({"throttle": 2}, {"throttle": {"retryAfterSeconds": 2}}),
        ({"latency": 0.5}, {"latency": {"milliseconds": 500}}),
        ({"latency": (0.1, 0.3)}, {"latency": {"minMilliseconds": 100, "maxMilliseconds": 300}}),
        ({"disconnect": "afterRequest"}, {"disconnect": "afterRequest"}),
        ({"truncate": 10}, {"truncate": {"bytes": 10}}),
        ({"refuse_token": True}, {"refuseToken": {}}),
        ({"close_web_socket": 1011}, {"closeWebSocket": {"code": 1011}}),
        ({"media": {"loss": 0.1}}, {"media": {"loss": 0.1}}),
        ({"close_connection": True}, {"closeConnection": {}}),
        ({"event_target": "hang"}, {"target": "hang"}),
        ({"storage": "refuse"}, {"storage": "refuse"}),
    ],
)
def test_a_fault_has_one_effect(fake, client, effect, document):
    fake.answer({"id": "f1", "matched": 0})
    with client.fault("CreateStage", count=1, share=0.5, **effect):
        assert fake.last.json == {"match": {"operation": "CreateStage", "share": 0.5}, "effect": document, "count": 1}
    assert (fake.last.method, fake.last.path) == ("DELETE", "/_greenroom/test/faults/f1")


def test_a_fault_names_a_target_or_a_bucket(fake, client):
    fake.answer({"id": "f1", "matched": 0})
    client.fault(target="hook", event_target="refuse")
    assert fake.last.json == {"match": {"target": "hook"}, "effect": {"target": "refuse"}}
    client.fault(bucket="films", storage="hang")
    assert fake.last.json == {"match": {"bucket": "films"}, "effect": {"storage": "hang"}}


def test_how_often_a_fault_was_applied_is_read_from_the_server(fake, client):
    fake.answer({"id": "f1", "matched": 0, "applied": 0})
    fault = client.fault("CreateStage", status=500)
    for applied in (1, 2):
        fake.answer({"id": "f1", "matched": 3, "applied": applied})
        assert fault.applied == applied
        assert (fake.last.method, fake.last.path) == ("GET", "/_greenroom/test/faults/f1")
    assert fault.document["matched"] == 3


def test_an_unknown_argument_is_rejected(fake, client):
    for call, name in [(client.join, "userId"), (client.participants.join, "name"), (client.fault, "sttaus")]:
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            call("x", **{name: "x"})
    assert fake.requests == []


def test_a_fault_without_one_effect_is_rejected(client):
    for effects in ({}, {"throttle": 1, "status": 500}):
        with pytest.raises(ValueError, match="exactly one effect"):
            client.fault("CreateStage", **effects)


def test_a_wait_that_is_in_vain_names_the_closest(fake, client):
    fake.answer({"matched": False, "entries": [], "seen": 3, "closest": "CreateStage, but input.name is b"})
    with pytest.raises(WaitTimeout, match="input.name is b") as caught:
        client.wait_for_call("CreateStage", input={"name": "a", "tags": {"k": "v"}}, timeout=0.5)
    assert isinstance(caught.value, AssertionError) and caught.value.seen == 3
    pattern = {"operation": ["CreateStage"], "input": {"name": ["a"], "tags": {"k": ["v"]}}}
    assert fake.last.json == {"call": pattern, "after": 0, "count": 1, "timeoutSeconds": 0.5}


def test_an_event_is_found_by_name_and_detail(fake, client):
    envelope = {"detail": {"event_name": "Participant Published", "user_id": "alice"}}
    fake.answer({"matched": True, "entries": [{"position": 7, "time": "", "event": envelope}]})
    event = client.wait_for_event("Participant Published", user_id="alice")
    assert (event.position, event.name) == (7, "Participant Published")
    assert fake.last.json["event"] == {"detail": {"event_name": ["Participant Published"], "user_id": ["alice"]}}


def test_the_journal_is_read_in_pages(fake, client):
    fake.answer({"entries": [{"sequence": 1}, {"sequence": 2}], "next": 2})
    fake.answer({"entries": [{"sequence": 3}], "next": None})
    assert [entry.sequence for entry in client.calls("CreateStage")] == [1, 2, 3]
    assert fake.requests[1].query["after"] == "2"


def test_times_and_durations():
    assert parse("2026-01-01T12:00:00Z") == parse("2026-01-01T13:00:00+01:00") == NOON
    assert parse("2026-01-01T12:00:00.123456789Z").microsecond == 123456
    assert iso(NOON.astimezone(timezone(timedelta(hours=2)))) == "2026-01-01T12:00:00Z"
    assert [seconds(one) for one in ("90s", "5m", "1h", "250ms", 3, timedelta(days=1))] == [90, 300, 3600, 0.25, 3, 86400]
    with pytest.raises(ValueError, match="time zone"):
        iso(datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="5 minutes"):
        seconds("5 minutes")
