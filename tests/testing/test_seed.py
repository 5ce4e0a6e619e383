"""`POST /seed`: resources with a past, and reproducible ids."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import yaml
from botocore.exceptions import ClientError

from contents import contents
from control import Control, invalid, refused
from endpoints import StageEndpoints
from keys import pem
from receiver import until
from tokens import key_set, verified

MIB = 1 << 20
START = datetime(2026, 1, 1, 10, tzinfo=UTC)
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "ivs:ListStages", "Resource": "*"}],
}


def document():
    """A seed with everything in it, as YAML."""
    material = "".join(f"      {line}\n" for line in pem().splitlines())
    return f"""
# What the tests of the back end begin with.
stages:
  - name: demo
    tags: {{team: a}}
    autoParticipantRecordingConfiguration: {{storageConfiguration: recordings, mediaTypes: [AUDIO_VIDEO]}}
    sessions:
      - startedAt: 2026-01-01T10:00:00Z
        participants:
          - {{userId: alice, attributes: {{role: host}}, joinsAt: 0, publishesAt: 2, leavesAt: 60}}
          - userId: bob
            joinsAt: 1.5
            subscriptions: [{{to: alice, startsAt: 3}}]
            leavesAt: 2026-01-01T10:00:50Z
      - startedAt: 2026-01-02T10:00:00Z
        participants: [{{}}]
        endsAt: 30
  - name: empty
storageConfigurations: [{{name: recordings, bucket: my-bucket}}]
encoderConfigurations: [{{name: hd, video: {{width: 1280, height: 720, framerate: 30, bitrate: 2500000}}}}]
ingestConfigurations: [{{name: in, protocol: RTMPS, stage: demo, userId: encoder}}]
publicKeys:
  - name: k
    publicKeyMaterial: |
{material}
accessKeys:
  - {{name: ci, policy: {json.dumps(POLICY)}}}
  - {{name: admin, sessionToken: true}}
tokens: [{{stage: demo, userId: bob, capabilities: [PUBLISH], duration: 60, attributes: {{a: b}}}}]
"""


def seconds(time):
    return (time - START).total_seconds()


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_everything_of_a_document_is_created(tenant, control, form):
    text = document()
    made = control.seed(text if form == "yaml" else json.loads(json.dumps(yaml.safe_load(text), default=iso)))
    demo, ivs = made["stages"]["demo"], tenant.ivs
    stage = ivs.get_stage(arn=demo["arn"])["stage"]
    assert (stage["name"], stage["tags"], stage["activeSessionId"]) == ("demo", {"team": "a"}, "")
    recording = stage["autoParticipantRecordingConfiguration"]
    assert recording["storageConfigurationArn"] == made["storageConfigurations"]["recordings"]["arn"]
    assert ivs.get_stage(arn=made["stages"]["empty"]["arn"])["stage"]["name"] == "empty"
    storage = ivs.get_storage_configuration(arn=made["storageConfigurations"]["recordings"]["arn"])
    assert storage["storageConfiguration"]["s3"] == {"bucketName": "my-bucket"}
    encoder = ivs.get_encoder_configuration(arn=made["encoderConfigurations"]["hd"]["arn"])
    assert encoder["encoderConfiguration"]["video"]["width"] == 1280
    ingest = made["ingestConfigurations"]["in"]
    found = ivs.get_ingest_configuration(arn=ingest["arn"])["ingestConfiguration"]
    assert (found["stageArn"], found["streamKey"]) == (demo["arn"], ingest["streamKey"])
    assert ivs.get_public_key(arn=made["publicKeys"]["k"]["arn"])["publicKey"]["name"] == "k"
    assert [len(one["participants"]) for one in demo["sessions"]] == [2, 1]


def iso(time):
    return time.isoformat()


def test_past_sessions_have_participants_and_events(tenant, control):
    demo = control.seed(document())["stages"]["demo"]
    first, second = (one["sessionId"] for one in demo["sessions"])
    alice, bob = (one["participantId"] for one in demo["sessions"][0]["participants"])
    assert [one["userId"] for one in demo["sessions"][0]["participants"]] == ["alice", "bob"]
    listed = tenant.ivs.list_stage_sessions(stageArn=demo["arn"])["stageSessions"]
    assert [one["sessionId"] for one in listed] == [second, first]
    # It ends by itself 60 seconds after the last participant has left.
    assert [(seconds(one["startTime"]), seconds(one["endTime"])) for one in reversed(listed)] == [
        (0, 120),
        (86400, 86430),
    ]
    participant = tenant.participant(demo["arn"], first, alice)
    assert (participant["userId"], participant["attributes"]) == ("alice", {"role": "host"})
    assert (participant["state"], participant["published"], participant["protocol"]) == ("DISCONNECTED", True, "WHIP")
    events = tenant.events(demo["arn"], first, alice)
    assert [(one["name"], seconds(one["eventTime"])) for one in events] == [
        ("JOINED", 0),
        ("PUBLISH_STARTED", 2),
        ("PUBLISH_STOPPED", 60),
        ("LEFT", 60),
    ]
    events = tenant.events(demo["arn"], first, bob)
    assert [(one["name"], one.get("remoteParticipantId"), seconds(one["eventTime"])) for one in events] == [
        ("JOINED", None, 1.5),
        ("SUBSCRIBE_STARTED", alice, 3),
        ("SUBSCRIBE_STOPPED", alice, 50),
        ("LEFT", None, 50),
    ]


async def test_tokens_and_access_keys_of_a_seed_are_valid(tenant, control):
    made = control.seed(document())
    endpoints = StageEndpoints(tenant, made["stages"]["demo"]["arn"])
    (token,) = made["tokens"]
    async with endpoints.join(token["token"]) as client:
        await client.wait_for_state(token["participantId"])
    participant = endpoints.participant(token["participantId"])
    assert (participant["userId"], participant["attributes"]) == ("bob", {"a": "b"})
    ci, admin = made["accessKeys"]["ci"], made["accessKeys"]["admin"]
    client = tenant.server.client(ci["accessKeyId"], secret=ci["secretAccessKey"])
    assert len(client.list_stages()["stages"]) == 2
    with pytest.raises(ClientError, match="AccessDenied"):
        client.create_stage()
    client = tenant.server.client(admin["accessKeyId"], secret=admin["secretAccessKey"], token=admin["sessionToken"])
    client.create_stage()


def test_a_later_seed_refers_to_what_exists_by_arn(tenant, control):
    storage, stage = tenant.storage(), tenant.stage()
    recording = {"storageConfiguration": storage}
    made = control.seed(
        {
            "stages": [{"name": "a", "autoParticipantRecordingConfiguration": recording}],
            "ingestConfigurations": [{"name": "i", "protocol": "RTMPS", "stage": stage}],
            "tokens": [{"stage": stage}],
        }
    )
    assert made["tokens"][0]["token"]
    assert control.seed({}) == {
        "stages": {},
        "storageConfigurations": {},
        "encoderConfigurations": {},
        "ingestConfigurations": {},
        "publicKeys": {},
        "accessKeys": {},
        "tokens": [],
    }


def past(participants=({"leavesAt": 60},), **members):
    session = {"startedAt": "2026-01-01T10:00:00Z", "participants": list(participants), **members}
    return {"stages": [{"name": "a"}, {"name": "b", "sessions": [session]}]}


STAGE = "arn:aws:ivs:us-east-1:000000000000:stage/abcdefghijkl"
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
PATH = "stages.2.member.sessions.1.member"
WRONG = [
    ({"stage": []}, "stage: a seed has no such member"),
    ({"stages": [{"name": "a"}, {"name": "b", "tag": {}}]}, "stages.2.member.tag: a seed has no such member"),
    (past([{"joinAt": 0, "leavesAt": 1}]), f"{PATH}.participants.1.member.joinAt: a seed has no such member"),
    ({"stages": [{"name": "a b"}]}, "at 'stages.1.member.name' failed to satisfy constraint"),
    ({"stages": [{}]}, "at 'stages.1.member.name' failed to satisfy constraint: Member must not be null"),
    ({"stages": [{"name": "a"}, {"name": "a"}]}, "stages.2.member.name: 'a' is the name of stages.1.member, too"),
    ({"stages": [{"name": "a", "tags": {"aws:x": "1"}}]}, "stages.1.member: tags: the key 'aws:x'"),
    ({"tokens": [{"stage": "a"}]}, "tokens.1.member.stage: 'a' is neither an ARN nor a name in stages"),
    ({"encoderConfigurations": [{"name": "a", "video": {"width": 1}}]}, "'encoderConfigurations.1.member.video.width'"),
    ({"ingestConfigurations": [{"name": "a", "protocol": "RTMP"}]}, "ingestConfigurations.1.member: insecureIngest"),
    ({"publicKeys": [{"name": "a", "publicKeyMaterial": "x"}]}, "'publicKeys.1.member.publicKeyMaterial'"),
    ({"accessKeys": [{"name": "a", "policy": {"Statement": []}}]}, "accessKeys.1.member.policy."),
    ({"ids": {"seed": 1}}, "ids: ids are of the whole server; set all=true"),
    (past([]), f"{PATH}.participants"),
    (past([{"joinsAt": 1, "leavesAt": 2}]), f"{PATH}.participants: the first one must join at startedAt"),
    (past([{}]), f"{PATH}.participants.1.member.leavesAt: is required unless the session has endsAt"),
    (past([{"leavesAt": TOMORROW}]), f"{PATH}.participants.1.member.leavesAt: is in the future"),
    (past([{"leavesAt": 0}]), f"{PATH}.participants.1.member.joinsAt: is not before the participant leaves"),
    (past([{"publishesAt": 9, "leavesAt": 9}]), f"{PATH}.participants.1.member.publishesAt: is not while"),
    (past([{"unpublishesAt": 9, "leavesAt": 10}]), f"{PATH}.participants.1.member.unpublishesAt: is not while"),
    (past([{"leavesAt": 9}], endsAt=8), f"{PATH}.participants.1.member.leavesAt: is after the end of the session"),
    (past([{"leavesAt": 9}], endsAt=70), f"{PATH}.endsAt: the session has ended by itself at 2026-01-01T10:01:09Z"),
    (past([{"leavesAt": 9}, {"joinsAt": 70, "leavesAt": 80}]), f"{PATH}.participants.2.member: the session has ended"),
    (past([{"leavesAt": 9, "subscriptions": [{"to": "x", "startsAt": 1}]}]), "subscriptions.1.member.to: 'x' is not"),
    (past([{"leavesAt": -1}]), f"at '{PATH}.participants.1.member.leavesAt'"),
    (past([{"attributes": {"k": "v" * 1024}, "leavesAt": 1}]), f"{PATH}.participants.1.member.attributes: keys and"),
]


@pytest.mark.parametrize("wrong, words", WRONG, ids=[words for _, words in WRONG])
def test_a_wrong_document_is_refused_with_the_path_of_the_member_and_creates_nothing(tenant, control, wrong, words):
    with invalid(words):
        control.seed(wrong)
    assert not any(contents(tenant).values())


def test_documents_that_cannot_be_read_are_refused(tenant, control):
    with refused(400, "SerializationException", "The seed: the YAML syntax is wrong (line "):
        control.seed("stages: [")
    with refused(400, "SerializationException", "The seed: aliases are not supported (line 2"):
        control.seed("a: &a 1\nb: *a")
    with refused(400, "SerializationException", "The seed: it is not JSON: it ends too early"):
        control.call("POST", "/seed", body=b"{", content_type="application/json")
    with refused(400, "SerializationException", "can not be converted to a List at 'stages'"):
        control.seed({"stages": "x"})
    with invalid("Content-Type: 'text/plain' is neither application/json nor application/yaml"):
        control.call("POST", "/seed", body=b"{}", content_type="text/plain")


def test_all_or_nothing_even_where_an_operation_fails_late(tenant, control):
    missing = STAGE.replace("000000000000", tenant.account)
    wrong = {
        "stages": [{"name": "a"}],
        "accessKeys": [{"name": "k"}],
        "encoderConfigurations": [{"name": "e"}],
        "tokens": [{"stage": "a"}, {"stage": missing}],
    }
    before = len(tenant.server.credentials("list"))
    with refused(404, "ResourceNotFoundException", f"tokens.2.member: Resource: {missing} not found"):
        control.seed(wrong)
    assert not any(contents(tenant).values())
    assert len(tenant.server.credentials("list")) == before


def test_quotas_apply(start_node):
    node = start_node("--quotas", "stages=1")
    tenant = node.tenant()
    with refused(402, "ServiceQuotaExceededException", "stages.2.member: The account"):
        Control.of(tenant).seed({"stages": [{"name": "a"}, {"name": "b"}]})
    assert not any(contents(tenant).values())


# Ids


IDS = {
    "ids": {"seed": 42},
    "stages": [{"name": "demo", "sessions": [{"startedAt": START.isoformat(), "participants": [{}], "endsAt": 30}]}],
    "accessKeys": [{"name": "ci"}],
    "tokens": [{"stage": "demo"}],
}


def ids(made):
    made = json.loads(json.dumps(made))
    for token in made["tokens"]:
        # They have the time.
        del token["token"], token["expirationTime"]
    return made


def test_ids_are_reproducible_from_a_seed_on(own_node):
    control, tenant = Control.all(own_node), own_node.tenant()

    def run():
        control.reset()
        for key in own_node.credentials("list"):
            own_node.credentials("delete", key["accessKeyId"])
        made = control.seed(IDS)
        stages = [tenant.stage() for _ in range(3)]
        tenant.ivs.list_stages()
        return ids(made), stages, tenant.token(stages[0])["participantId"]

    first, second = run(), run()
    assert first == second
    control.seed({"ids": {"seed": None}})
    control.reset()
    assert tenant.stage() not in second[1], "random again"


def test_a_failed_seed_leaves_the_ids_as_they_were(own_node):
    control, tenant = Control.all(own_node), own_node.tenant()
    control.seed({"ids": {"seed": 7}})
    with refused(404, "ResourceNotFoundException"):
        control.seed({"ids": {"seed": 8}, "tokens": [{"stage": STAGE}]})
    after = tenant.stage()
    control.reset()
    control.seed({"ids": {"seed": 7}})
    assert tenant.stage() == after


@pytest.mark.parametrize(
    "document, path",
    [
        ({"stages": [{"name": "new"}]}, "stages.1.member"),
        ({"storageConfigurations": [{"name": "new", "bucket": "bucket"}]}, "storageConfigurations.1.member"),
        ({"encoderConfigurations": [{"name": "new"}]}, "encoderConfigurations.1.member"),
        ({"ingestConfigurations": [{"name": "new", "protocol": "RTMPS"}]}, "ingestConfigurations.1.member"),
        ({"publicKeys": [{"name": "new", "publicKeyMaterial": pem()}]}, "publicKeys.1.member"),
        ({"accessKeys": [{"name": "new"}]}, "accessKeys.1.member"),
    ],
)
def test_a_sequence_of_ids_that_begins_again_is_a_conflict_and_creates_nothing(own_node, document, path):
    control, tenant = Control.all(own_node), own_node.tenant("000000000000")
    # Another public key, as the same one is a conflict of its own.
    first = {"publicKeys": [{"name": "old", "publicKeyMaterial": pem()}]} if "publicKeys" in document else document
    control.seed({"ids": {"seed": 42}, **first})
    before = contents(tenant), own_node.credentials("list")
    with refused(409, "ConflictException", f"{path}: its id exists already"):
        control.seed({"ids": {"seed": 42}, **document})
    assert (contents(tenant), own_node.credentials("list")) == before
    control.seed(document)


def test_servers_with_the_same_test_seed_and_time_create_the_same_tokens(start_server, new_store):
    # Tokens are valid for a URL.
    flags = ("--test-api=public", "--public-url", "http://green.example")

    def tokens(*more):
        server = start_server(new_store(), *flags, *more)
        control = Control.all(server).signed("000000000000", "test")
        control.call("PUT", "/clock", {"frozen": True, "now": "2031-01-01T00:00:00Z"})
        seeded = control.seed({"stages": [{"name": "demo"}], "tokens": [{"stage": "demo", "userId": "alice"}]})
        tenant = server.tenant("000000000000")
        attributes = {"name": "Bob", "role": "guest"}
        created = tenant.token(seeded["stages"]["demo"]["arn"], userId="bob", attributes=attributes)
        found = [seeded["tokens"][0]["token"], created["token"]]
        users = [verified(server.endpoint, token)["user_id"] for token in found]
        assert users == ["alice", "bob"]
        return found, key_set(server.endpoint).json

    first, second = tokens("--test-seed", "7"), tokens("--test-seed", "7")
    assert first == second
    for other in (tokens("--test-seed", "8"), tokens()):
        assert other[1]["keys"][0]["x"] != first[1]["keys"][0]["x"]
        assert not set(other[0]) & set(first[0])


def test_a_seed_of_ids_makes_tokens_reproducible_on_one_server(own_node):
    control = Control.all(own_node)
    control.call("PUT", "/clock", {"frozen": True, "now": "2031-01-01T00:00:00Z"})
    document = {"stages": [{"name": "demo"}], "tokens": [{"stage": "demo"}]}

    def tokens(seed):
        Control(own_node.endpoint).reset()
        return control.seed({"ids": {"seed": seed}, **document})["tokens"]

    assert tokens(42) == tokens(42)
    assert verified(own_node.endpoint, tokens(42)[0]["token"])
    assert tokens(None) != tokens(None)


def test_large_seeds_are_used_one_at_a_time_and_their_bodies_are_dropped_once_parsed(start_server, fresh_postgres):
    store = fresh_postgres()
    server = start_server(store, "--test-api=on", "--max-buffered-bytes", str(32 * MIB), "--max-client-share", "100")
    control = Control.all(server)

    def seed(bytes, text):
        body = b" " * (bytes - len(text)) + text.encode()
        return control.send("POST", "/seed", body=body, content_type="application/json").status_code

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(store) as lock, psycopg.connect(store, autocommit=True) as watch, ThreadPoolExecutor() as pool:
        lock.execute("LOCK TABLE stages IN SHARE MODE")
        # The first one waits in its transaction, without its body.
        first = pool.submit(seed, 30 * MIB, '{"stages": [{"name": "large"}]}')
        until(lambda: watch.execute(waiting).fetchone() == (1,))
        assert seed(MIB // 2, "{") == 400, "small ones are read meanwhile"
        # The second one waits for the first, with its body, which leaves no room for others.
        second = pool.submit(seed, 30 * MIB, "{")
        server.test_server.wait_for_log("waiting for another large request")
        assert seed(MIB, "{") == 503
        assert not first.done() and not second.done()
        lock.rollback()
        assert (first.result(), second.result()) == (200, 400)
    assert seed(MIB, "{") == 400


def test_a_server_with_a_test_seed_has_reproducible_ids_and_secrets(start_node):
    def run(*flags):
        tenant = start_node(*flags).tenant("200000000009")
        document = {name: value for name, value in IDS.items() if name != "ids"}
        return ids(Control.of(tenant).seed(document)), tenant.stage()

    seeded = [run("--test-seed", "7") for _ in range(2)]
    assert seeded[0] == seeded[1]
    others = [run("--test-seed", "8"), run(), run()]
    for one in others:
        assert one[0]["accessKeys"] != seeded[0][0]["accessKeys"] and one[1] != seeded[0][1]
    assert others[1][0]["accessKeys"] != others[2][0]["accessKeys"], "without a seed, secrets are random"
