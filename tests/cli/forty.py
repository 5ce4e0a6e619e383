"""All forty operations in one story: what each is asked, in turn, and what shows that it did its work.

A text that begins with `$` is a name. The first answer to show it gives it its value; from then on it stands for that.
"""

from dataclasses import dataclass, field

from world import PUBLIC_KEYS

STORE = "the store"


@dataclass(frozen=True)
class Row:
    """One operation: whoever moves before it, its input, and what its answer holds (`None`: what it must not hold).

    What answers nothing is seen in the answer of a later operation, or in the store.
    """

    operation: str
    asked: dict
    shown: dict = field(default_factory=dict)
    seen_in: str = ""
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

ROWS = [
    Row("CreateStorageConfiguration", {"name": "kept", "s3": STORAGE["s3"]}, {"storageConfiguration": STORAGE}),
    Row("GetStorageConfiguration", {"arn": "$storage"}, {"storageConfiguration": STORAGE}),
    Row("DeleteStorageConfiguration", {"arn": "$spare-storage"}, seen_in="ListStorageConfigurations"),
    Row("ListStorageConfigurations", {}, {"storageConfigurations": [STORAGE]}),
    Row("CreateEncoderConfiguration", {"name": "kept", "video": VIDEO}, {"encoderConfiguration": ENCODER}),
    Row("GetEncoderConfiguration", {"arn": "$encoder"}, {"encoderConfiguration": ENCODER}),
    Row("DeleteEncoderConfiguration", {"arn": "$spare-encoder"}, seen_in="ListEncoderConfigurations"),
    Row("ListEncoderConfigurations", {}, {"encoderConfigurations": [{"arn": "$encoder", "name": "kept"}]}),
    Row("ImportPublicKey", {"publicKeyMaterial": PEM}, {"publicKey": {"arn": "$key", "fingerprint": "$fingerprint"}}),
    Row("GetPublicKey", {"arn": "$key"}, {"publicKey": {"publicKeyMaterial": PEM, "fingerprint": "$fingerprint"}}),
    Row("DeletePublicKey", {"arn": "$spare-key"}, seen_in="ListPublicKeys"),
    Row("ListPublicKeys", {}, {"publicKeys": [{"arn": "$key"}]}),
    Row("CreateStage", {"name": "lobby", "tags": {"team": "blue"}}, {"stage": {"arn": "$stage", "name": "lobby"}}),
    Row("UpdateStage", {"arn": "$stage", "name": "bar"}, {"stage": {"arn": "$stage", "name": "bar"}}),
    Row("DeleteStage", {"arn": "$spare-stage"}, seen_in="ListStages"),
    Row("ListStages", {}, {"stages": [{"arn": "$elsewhere"}, {"arn": "$stage", "name": "bar"}]}),
    Row("TagResource", {"resourceArn": "$stage", "tags": {"env": "dev", "a b": "c"}}, seen_in="ListTagsForResource"),
    Row("UntagResource", {"resourceArn": "$stage", "tagKeys": ["a b", "team"]}, seen_in="ListTagsForResource"),
    Row("ListTagsForResource", {"resourceArn": "$stage"}, {"tags": {"env": "dev", "a b": None, "team": None}}),
    Row("CreateIngestConfiguration", {"ingestProtocol": "RTMPS"}, {"ingestConfiguration": INGEST}),
    Row(
        "UpdateIngestConfiguration",
        {"arn": "$ingest", "stageArn": "$stage"},
        {"ingestConfiguration": {"arn": "$ingest", "stageArn": "$stage"}},
    ),
    Row("GetIngestConfiguration", {"arn": "$ingest"}, {"ingestConfiguration": {**INGEST, "stageArn": "$stage"}}),
    Row("DeleteIngestConfiguration", {"arn": "$spare-ingest"}, seen_in="ListIngestConfigurations"),
    Row("ListIngestConfigurations", {}, {"ingestConfigurations": [{"arn": "$ingest"}]}),
    Row(
        "CreateParticipantToken",
        {"stageArn": "$stage", "userId": "alice", "duration": 30},
        {"participantToken": {"participantId": "$participant", "token": "$token", "userId": "alice", "duration": 30}},
    ),
    Row(
        "GetStage",
        {"arn": "$stage"},
        {"stage": {"arn": "$stage", "name": "bar", "tags": {"env": "dev"}, "activeSessionId": "$session"}},
        before=(("join", {**PERSON, "userId": "alice"}), ("publish", PERSON)),
    ),
    Row(
        "ListParticipants",
        SESSION,
        {"participants": [{"participantId": "$participant", "state": "CONNECTED", "published": True}]},
    ),
    Row("StartComposition", {"stageArn": "$stage", "destinations": [S3]}, {"composition": COMPOSITION}),
    Row("StopComposition", {"arn": "$composition"}, seen_in="GetComposition", before=(("advance", {"seconds": 2}),)),
    Row("GetComposition", {"arn": "$composition"}, {"composition": {**COMPOSITION, "state": "STOPPING"}}),
    Row("ListCompositions", {"filterByStageArn": "$stage"}, {"compositions": [COMPOSITION]}),
    Row("StartParticipantReplication", REPLICATION, seen_in="ListParticipantReplicas"),
    Row("StopParticipantReplication", REPLICATION, seen_in="ListParticipantReplicas"),
    Row(
        "ListParticipantReplicas",
        {"sourceStageArn": "$stage", "participantId": "$participant"},
        {"replicas": [{**REPLICATION, "sourceSessionId": "$session", "replicationState": "STOPPED"}]},
    ),
    Row("DisconnectParticipant", {"stageArn": "$stage", "participantId": "$participant"}, seen_in="GetParticipant"),
    Row(
        "GetParticipant",
        PARTICIPANT,
        {"participant": {"participantId": "$participant", "userId": "alice", "state": "DISCONNECTED"}},
    ),
    Row("ListParticipantEvents", PARTICIPANT, {"events": [{"name": name} for name in EVENTS]}),
    Row("ListStageSessions", {"stageArn": "$stage"}, {"stageSessions": [{"sessionId": "$session"}]}),
    Row("GetStageSession", SESSION, {"stageSession": {"sessionId": "$session", "startTime": "$start"}}),
    Row("RevokeConnectionToken", {"tokenId": "abcdefgh-ijkl"}, seen_in=STORE),
]


def walk(world, send):
    """Plays the story; `send` gives what an operation answers to an input."""
    names = furnish(world)
    for row in ROWS:
        for verb, members in row.before:
            world.test_server.do(verb, **filled(members, names))
        answer = send(row.operation, filled(row.asked, names))
        found = list(differences(row.shown, answer, names))
        assert found == [], f"{row.operation} answered {answer}"


def furnish(world):
    """What is there from the start: a stage to be replicated to, and one of each kind that is to be deleted."""
    names = {
        "$elsewhere": world.stage(),
        "$spare-stage": world.stage(),
        "$spare-storage": world.storage(),
        "$spare-encoder": world.encoder(),
        "$spare-ingest": world.ingest()["arn"],
        "$spare-key": world.public_key(1),
    }
    world.test_server.advance(1)
    return names


def filled(asked, names):
    """An input with the values of its names."""
    match asked:
        case dict():
            return {member: filled(value, names) for member, value in asked.items()}
        case list():
            return [filled(value, names) for value in asked]
        case str() if asked.startswith("$"):
            return names[asked]
    return asked


def differences(shown, actual, names, at="answer"):
    """Where an answer is not as it is to be shown; a name without a value takes what stands in its place."""
    match shown:
        case dict() if isinstance(actual, dict):
            for member, value in shown.items():
                yield from differences(value, actual.get(member), names, f"{at}.{member}")
        case list() if isinstance(actual, list) and len(actual) == len(shown):
            for index, pair in enumerate(zip(shown, actual)):
                yield from differences(*pair, names, f"{at}[{index}]")
        case str() if shown.startswith("$") and actual:
            if names.setdefault(shown, actual) != actual:
                yield f"{at} is {actual!r}, not {shown}, {names[shown]!r}"
        case _ if shown != actual:
            yield f"{at} is {actual!r}, not {shown!r}"
