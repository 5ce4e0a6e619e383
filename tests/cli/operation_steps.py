"""A sequence of requests that covers all operations: the input of each, and the response that proves its effect.

A string that begins with `$` is a variable. The first response that contains it binds it; later steps use the bound value.
"""

from dataclasses import dataclass, field

from resources import PUBLIC_KEYS

STORE = "the store"


@dataclass(frozen=True)
class Step:
    """One request: test server commands to run before it, its input, and the expected members of its response (`None`: a
    member that must be absent).

    An operation with an empty response is verified by the response of a later operation, or in the store.
    """

    operation: str
    request: dict
    expected: dict = field(default_factory=dict)
    verified_in: str = ""
    before: tuple = ()


PEM = PUBLIC_KEYS[0]
STORAGE = {"arn": "$storage", "name": "kept", "s3": {"bucketName": "recordings"}}
VIDEO = {"bitrate": 800000, "framerate": 24, "height": 360, "width": 640}
ENCODER = {"arn": "$encoder", "name": "kept", "video": VIDEO}
INGEST = {"arn": "$ingest", "participantId": "$ingesting", "streamKey": "$stream-key"}
S3 = {"s3": {"encoderConfigurationArns": ["$encoder"], "storageConfigurationArn": "$storage"}}
PERSON = {"stage": "$stage", "participant": "$participant"}
SESSION = {"stageArn": "$stage", "sessionId": "$session"}
PARTICIPANT = {**SESSION, "participantId": "$participant"}
REPLICATION = {"sourceStageArn": "$stage", "destinationStageArn": "$elsewhere", "participantId": "$participant"}
COMPOSITION = {"arn": "$composition", "stageArn": "$stage"}
EVENTS = ("JOINED", "PUBLISH_STARTED", "REPLICATION_STARTED", "REPLICATION_STOPPED", "PUBLISH_STOPPED", "LEFT")

STEPS = [
    Step("CreateStorageConfiguration", {"name": "kept", "s3": STORAGE["s3"]}, {"storageConfiguration": STORAGE}),
    Step("GetStorageConfiguration", {"arn": "$storage"}, {"storageConfiguration": STORAGE}),
    Step("DeleteStorageConfiguration", {"arn": "$spare-storage"}, verified_in="ListStorageConfigurations"),
    Step("ListStorageConfigurations", {}, {"storageConfigurations": [STORAGE]}),
    Step("CreateEncoderConfiguration", {"name": "kept", "video": VIDEO}, {"encoderConfiguration": ENCODER}),
    Step("GetEncoderConfiguration", {"arn": "$encoder"}, {"encoderConfiguration": ENCODER}),
    Step("DeleteEncoderConfiguration", {"arn": "$spare-encoder"}, verified_in="ListEncoderConfigurations"),
    Step("ListEncoderConfigurations", {}, {"encoderConfigurations": [{"arn": "$encoder", "name": "kept"}]}),
    Step("ImportPublicKey", {"publicKeyMaterial": PEM}, {"publicKey": {"arn": "$key", "fingerprint": "$fingerprint"}}),
    Step("GetPublicKey", {"arn": "$key"}, {"publicKey": {"publicKeyMaterial": PEM, "fingerprint": "$fingerprint"}}),
    Step("DeletePublicKey", {"arn": "$spare-key"}, verified_in="ListPublicKeys"),
    Step("ListPublicKeys", {}, {"publicKeys": [{"arn": "$key"}]}),
    Step("CreateStage", {"name": "lobby", "tags": {"team": "blue"}}, {"stage": {"arn": "$stage", "name": "lobby"}}),
    Step("UpdateStage", {"arn": "$stage", "name": "bar"}, {"stage": {"arn": "$stage", "name": "bar"}}),
    Step("DeleteStage", {"arn": "$spare-stage"}, verified_in="ListStages"),
    Step("ListStages", {}, {"stages": [{"arn": "$elsewhere"}, {"arn": "$stage", "name": "bar"}]}),
    Step("TagResource", {"resourceArn": "$stage", "tags": {"env": "dev", "a b": "c"}}, verified_in="ListTagsForResource"),
    Step("UntagResource", {"resourceArn": "$stage", "tagKeys": ["a b", "team"]}, verified_in="ListTagsForResource"),
    Step("ListTagsForResource", {"resourceArn": "$stage"}, {"tags": {"env": "dev", "a b": None, "team": None}}),
    Step("CreateIngestConfiguration", {"ingestProtocol": "RTMPS"}, {"ingestConfiguration": INGEST}),
    Step(
        "UpdateIngestConfiguration",
        {"arn": "$ingest", "stageArn": "$stage"},
        {"ingestConfiguration": {"arn": "$ingest", "stageArn": "$stage"}},
    ),
    Step("GetIngestConfiguration", {"arn": "$ingest"}, {"ingestConfiguration": {**INGEST, "stageArn": "$stage"}}),
    Step("DeleteIngestConfiguration", {"arn": "$spare-ingest"}, verified_in="ListIngestConfigurations"),
    Step("ListIngestConfigurations", {}, {"ingestConfigurations": [{"arn": "$ingest"}]}),
    Step(
        "CreateParticipantToken",
        {"stageArn": "$stage", "userId": "alice", "duration": 30},
        {"participantToken": {"participantId": "$participant", "token": "$token", "userId": "alice", "duration": 30}},
    ),
    Step(
        "GetStage",
        {"arn": "$stage"},
        {"stage": {"arn": "$stage", "name": "bar", "tags": {"env": "dev"}, "activeSessionId": "$session"}},
        before=(("join", {**PERSON, "userId": "alice"}), ("publish", PERSON)),
    ),
    Step(
        "ListParticipants",
        SESSION,
        {"participants": [{"participantId": "$participant", "state": "CONNECTED", "published": True}]},
    ),
    Step("StartComposition", {"stageArn": "$stage", "destinations": [S3]}, {"composition": COMPOSITION}),
    Step("StopComposition", {"arn": "$composition"}, verified_in="GetComposition", before=(("advance", {"seconds": 2}),)),
    Step("GetComposition", {"arn": "$composition"}, {"composition": {**COMPOSITION, "state": "STOPPING"}}),
    Step("ListCompositions", {"filterByStageArn": "$stage"}, {"compositions": [COMPOSITION]}),
    Step("StartParticipantReplication", REPLICATION, verified_in="ListParticipantReplicas"),
    Step("StopParticipantReplication", REPLICATION, verified_in="ListParticipantReplicas"),
    Step(
        "ListParticipantReplicas",
        {"sourceStageArn": "$stage", "participantId": "$participant"},
        {"replicas": [{**REPLICATION, "sourceSessionId": "$session", "replicationState": "STOPPED"}]},
    ),
    Step("DisconnectParticipant", {"stageArn": "$stage", "participantId": "$participant"}, verified_in="GetParticipant"),
    Step(
        "GetParticipant",
        PARTICIPANT,
        {"participant": {"participantId": "$participant", "userId": "alice", "state": "DISCONNECTED"}},
    ),
    Step("ListParticipantEvents", PARTICIPANT, {"events": [{"name": name} for name in EVENTS]}),
    Step("ListStageSessions", {"stageArn": "$stage"}, {"stageSessions": [{"sessionId": "$session"}]}),
    Step("GetStageSession", SESSION, {"stageSession": {"sessionId": "$session", "startTime": "$start"}}),
    Step("RevokeConnectionToken", {"tokenId": "abcdefgh-ijkl"}, verified_in=STORE),
]


def run_steps(resources, send):
    """Runs all steps; `send` sends one request and returns its response."""
    variables = create_prerequisites(resources)
    for step in STEPS:
        for verb, members in step.before:
            resources.test_server.do(verb, **bind(members, variables))
        answer = send(step.operation, bind(step.request, variables))
        found = list(differences(step.expected, answer, variables))
        assert found == [], f"{step.operation} returned {answer}"


def create_prerequisites(resources):
    """Creates the destination stage of the replication, and one resource of each kind for the deletions."""
    variables = {
        "$elsewhere": resources.stage(),
        "$spare-stage": resources.stage(),
        "$spare-storage": resources.storage(),
        "$spare-encoder": resources.encoder(),
        "$spare-ingest": resources.ingest()["arn"],
        "$spare-key": resources.public_key(1),
    }
    resources.test_server.advance(1)
    return variables


def bind(value, variables):
    """An input with its variables replaced by their values."""
    match value:
        case dict():
            return {member: bind(inner, variables) for member, inner in value.items()}
        case list():
            return [bind(item, variables) for item in value]
        case str() if value.startswith("$"):
            return variables[value]
    return value


def differences(expected, actual, variables, at="response"):
    """The differences between a response and the expected members; unbound variables are bound."""
    match expected:
        case dict() if isinstance(actual, dict):
            for member, value in expected.items():
                yield from differences(value, actual.get(member), variables, f"{at}.{member}")
        case list() if isinstance(actual, list) and len(actual) == len(expected):
            for index, pair in enumerate(zip(expected, actual)):
                yield from differences(*pair, variables, f"{at}[{index}]")
        case str() if expected.startswith("$") and actual:
            if variables.setdefault(expected, actual) != actual:
                yield f"{at} is {actual!r}, not {expected}, {variables[expected]!r}"
        case _ if expected != actual:
            yield f"{at} is {actual!r}, not {expected!r}"
