"""Tests of the back end with greenroom-testkit: no AWS account, no video client."""

import json
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from rooms import Problem, Rooms, serve


@pytest.fixture
def rooms(greenroom_environment):
    """The back end, directed to this test's account."""
    return Rooms()


@pytest.fixture
def lobby(rooms):
    return rooms.create("lobby")


@pytest.fixture
def call(greenroom_environment):
    """Sends a request to the back end's HTTP server; returns status and JSON."""
    server = serve(0)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def send(method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{server.server_port}{path}", data, method=method)
        try:
            with urlopen(request) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            return error.code, json.load(error)

    yield send
    server.shutdown()
    server.server_close()


# Requests to AWS


def test_a_room_is_a_tagged_stage(greenroom, rooms, lobby):
    call = greenroom.wait_for_call("CreateStage")
    assert call.input == {"name": "lobby", "tags": {"application": "rooms"}}
    assert rooms.get("lobby") == lobby


def test_a_second_room_of_the_name_is_refused_without_a_call(greenroom, rooms, lobby):
    with pytest.raises(Problem, match="already"):
        rooms.create("lobby")
    assert len(greenroom.calls("CreateStage")) == 1


def test_a_stage_of_another_application_is_not_a_room(ivs, rooms):
    ivs.create_stage(name="lobby", tags={"application": "another"})
    with pytest.raises(Problem, match="no room lobby"):
        rooms.get("lobby")


@pytest.mark.parametrize(("role", "capabilities"), [("host", ["PUBLISH", "SUBSCRIBE"]), ("guest", ["SUBSCRIBE"])])
def test_a_role_has_its_capabilities(greenroom, rooms, lobby, role, capabilities):
    participant = greenroom.join(token=rooms.token("lobby", "alice", role)["token"])
    assert (participant.user_id, participant.attributes) == ("alice", {"role": role})
    [call] = greenroom.calls("CreateParticipantToken")
    assert sorted(call.input["capabilities"]) == capabilities


# Participants, without a video client


def test_the_people_of_a_room_are_those_connected_and_publishers_come_first(greenroom, rooms, lobby):
    assert rooms.people("lobby") == []
    bob = greenroom.join(lobby.stage_arn, user_id="bob")
    alice = greenroom.join(lobby.stage_arn, user_id="alice", publish=True)
    assert [(one["userId"], one["live"]) for one in rooms.people("lobby")] == [("alice", True), ("bob", False)]
    alice.leave()
    assert [one["id"] for one in rooms.people("lobby")] == [bob.id]


def test_a_participant_that_was_removed_cannot_come_back(greenroom, rooms, lobby):
    token = rooms.token("lobby", "troll", "host")
    participant = greenroom.join(token=token["token"], publish=True)
    rooms.remove("lobby", participant.id)
    assert participant.refresh().state == "DISCONNECTED"
    with pytest.raises(Exception, match="(?i)disconnected|banned"):
        greenroom.join(token=token["token"])


def test_the_list_of_people_has_all_pages(greenroom, rooms, lobby):
    scenario = greenroom.scenario(lobby.stage_arn)
    scenario.at(0).viewers_join(250)
    scenario.at(1).joins("alice").publishes("alice")
    scenario.run()
    assert len(rooms.people("lobby")) == 251


# Time


def test_the_minutes_are_those_of_sessions_that_have_ended(greenroom, rooms, lobby):
    with greenroom.frozen() as clock:
        alice = greenroom.join(lobby.stage_arn, user_id="alice")
        clock.advance("30m")
        assert rooms.minutes("lobby") == 0
        alice.leave()
        clock.advance("5m")  # IVS ends a session some time after the last participant has left
        assert 30 <= rooms.minutes("lobby") <= 32


def test_a_token_expires_after_an_hour(greenroom, rooms, lobby):
    token = rooms.token("lobby", "alice", "host")["token"]
    with greenroom.time_travel(by="59m"):
        greenroom.join(token=token).leave()
    with greenroom.time_travel(by="61m"), pytest.raises(Exception, match="(?i)expired"):
        greenroom.join(token=token)


# Faults


def test_throttling_is_retried(greenroom, call):
    with greenroom.fault("CreateStage", throttle=1, count=1):
        assert call("POST", "/rooms", {"name": "lobby"}) == (201, {"name": "lobby"})
    assert [one.error for one in greenroom.calls("CreateStage")] == ["ThrottlingException", None]


@pytest.mark.parametrize("effect", [{"status": 503}, {"exception": "InternalServerException"}, {"latency": 5}])
def test_an_outage_of_ivs_is_a_503_that_names_no_internals(greenroom, call, effect):
    with greenroom.fault("ListStages", **effect):
        assert call("GET", "/rooms/lobby/people") == (503, {"message": "the video service is not available, try again"})


def test_a_lost_response_does_not_create_a_second_room(greenroom, call, ivs):
    with greenroom.fault("CreateStage", disconnect="afterRequest", count=3):
        assert call("POST", "/rooms", {"name": "lobby"})[0] == 503
    assert call("POST", "/rooms", {"name": "lobby"})[0] == 409
    assert len(ivs.list_stages()["stages"]) == 3  # one of each attempt of the SDK: IVS has no idempotency token


def test_the_quota_of_stages_has_its_own_message(greenroom, call):
    with greenroom.fault("CreateStage", exception="ServiceQuotaExceededException"):
        assert call("POST", "/rooms", {"name": "lobby"}) == (507, {"message": "there are too many rooms: delete one first"})


# The HTTP interface


def test_requests_over_http(greenroom, call):
    assert call("POST", "/rooms", {"name": "Lobby!"})[0] == 400
    assert call("GET", "/rooms/lobby/people") == (404, {"message": "there is no room lobby"})
    assert call("POST", "/rooms", {"name": "lobby"})[0] == 201
    status, token = call("POST", "/rooms/lobby/tokens", {"userId": "alice", "role": "host"})
    assert status == 201
    alice = greenroom.join(token=token["token"], publish=True)
    assert call("GET", "/rooms/lobby/people") == (200, [{"id": alice.id, "userId": "alice", "live": True}])
    assert call("DELETE", f"/rooms/lobby/people/{alice.id}")[0] == 200
    assert call("GET", "/rooms/lobby/people") == (200, [])
