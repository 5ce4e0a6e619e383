"""An account in which everything is going on, a request of every operation for it, and what the store holds of it."""

import sqlite3

import psycopg

from keys import pem
from tenant import items_of


def furnish(tenant):
    """Puts some of everything into an account. Answers a request of each operation: all succeed, in any order."""
    stage, target, spare = tenant.stage(name="busy", tags={"first": "1", "second": "2"}), tenant.stage(), tenant.stage()
    session, publisher = tenant.publish(stage)
    _, replicated = tenant.publish(stage)
    _, guest = tenant.join(stage)
    encoder, storage, ingest = tenant.encoder(), tenant.storage(), tenant.ingest(stageArn=stage)["arn"]
    channel = {"channelArn": tenant.arn("channel"), "encoderConfigurationArn": encoder}
    of_publisher = {"stageArn": stage, "sessionId": session, "participantId": publisher}
    replication = {"sourceStageArn": stage, "destinationStageArn": target}
    tenant.ivs.start_participant_replication(**replication, participantId=replicated)
    key, spare_key = (import_key(tenant) for _ in range(2))
    composition, spare_composition = (tenant.composition(stage)["arn"] for _ in range(2))
    return {
        "CreateEncoderConfiguration": {"name": "made", "tags": {"a": "b"}},
        "CreateIngestConfiguration": {"name": "made", "ingestProtocol": "RTMPS", "stageArn": stage},
        "CreateParticipantToken": {"stageArn": stage, "userId": "alice"},
        "CreateStage": {"name": "made", "tags": {"a": "b"}},
        "CreateStorageConfiguration": {"name": "made", "s3": {"bucketName": "bucket"}},
        "DeleteEncoderConfiguration": {"arn": tenant.encoder()},
        "DeleteIngestConfiguration": {"arn": tenant.ingest()["arn"], "force": True},
        "DeletePublicKey": {"arn": spare_key},
        "DeleteStage": {"arn": spare},
        "DeleteStorageConfiguration": {"arn": tenant.storage()},
        "DisconnectParticipant": {"stageArn": stage, "participantId": guest, "reason": "enough"},
        "GetComposition": {"arn": composition},
        "GetEncoderConfiguration": {"arn": encoder},
        "GetIngestConfiguration": {"arn": ingest},
        "GetParticipant": of_publisher,
        "GetPublicKey": {"arn": key},
        "GetStage": {"arn": stage},
        "GetStageSession": {"stageArn": stage, "sessionId": session},
        "GetStorageConfiguration": {"arn": storage},
        "ImportPublicKey": {"name": "made", "publicKeyMaterial": pem()},
        "ListCompositions": {"filterByStageArn": stage},
        "ListEncoderConfigurations": {"maxResults": 50},
        "ListIngestConfigurations": {"filterByStageArn": stage},
        "ListParticipantEvents": of_publisher,
        "ListParticipantReplicas": {"sourceStageArn": stage, "participantId": replicated},
        "ListParticipants": {"stageArn": stage, "sessionId": session},
        "ListPublicKeys": {"maxResults": 50},
        "ListStageSessions": {"stageArn": stage},
        "ListStages": {"maxResults": 50},
        "ListStorageConfigurations": {"maxResults": 50},
        "ListTagsForResource": {"resourceArn": stage},
        "RevokeConnectionToken": {"tokenId": "abcdefgh-ijkl"},
        "StartComposition": {"stageArn": stage, "destinations": [{"channel": channel}]},
        "StartParticipantReplication": {**replication, "participantId": publisher},
        "StopComposition": {"arn": spare_composition},
        "StopParticipantReplication": {**replication, "participantId": replicated},
        "TagResource": {"resourceArn": stage, "tags": {"third": "3"}},
        "UntagResource": {"resourceArn": stage, "tagKeys": ["first", "a b"]},
        "UpdateIngestConfiguration": {"arn": ingest, "redundantIngest": True},
        "UpdateStage": {"arn": stage, "name": "renamed"},
    }


def import_key(tenant):
    return tenant.ivs.import_public_key(publicKeyMaterial=pem())["publicKey"]["arn"]


# What tells more of each item of a list.
GETTERS = {
    "ListCompositions": "GetComposition",
    "ListEncoderConfigurations": "GetEncoderConfiguration",
    "ListIngestConfigurations": "GetIngestConfiguration",
    "ListPublicKeys": "GetPublicKey",
    "ListStages": "GetStage",
    "ListStorageConfigurations": "GetStorageConfiguration",
}


def listing(wire):
    """Everything that an account has in a region, as the service tells it: every list, and every item of every list."""
    found = {}

    def ask(operation, **members):
        answer = wire.call(operation, members)
        assert answer.status == 200, (operation, members, answer)
        found[operation, *members.values()] = answer.json
        return answer.json.get(items_of(operation), []) if operation.startswith("List") else []

    def tell_participant(**one):
        ask("GetParticipant", **one)
        ask("ListParticipantEvents", **one)
        ask("ListParticipantReplicas", sourceStageArn=one["stageArn"], participantId=one["participantId"])

    for operation, getter in GETTERS.items():
        for item in ask(operation, maxResults=50):
            ask(getter, arn=item["arn"])
    for stage in found["ListStages", 50]["stages"]:
        for session in ask("ListStageSessions", stageArn=stage["arn"]):
            of_session = {"stageArn": stage["arn"], "sessionId": session["sessionId"]}
            ask("GetStageSession", **of_session)
            for participant in ask("ListParticipants", **of_session):
                tell_participant(**of_session, participantId=participant["participantId"])
    return found


def rows(server):
    """Every row of the store as `(table, values)`, but for the access keys: those note when they were used."""
    if server.engine == "sqlite":
        with sqlite3.connect(server.database.replace("sqlite://", "file:") + "?mode=ro", uri=True) as store:
            return of_all_tables(store, "SELECT name FROM sqlite_master WHERE type = 'table'")
    with psycopg.connect(server.database) as store:
        return of_all_tables(store, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")


# What the server moves and counts by itself, whenever it comes to it: in its place, all that was ever told.
MOVED = {"outbox", "events", "counters"}
TOLD = "account, region, stage_id, number, id, kind, body, written_at"


def of_all_tables(store, names):
    tables = {name for (name,) in store.execute(names).fetchall()}
    assert {"access_keys", "stages"} | MOVED <= tables
    read = {table: store.execute(f"SELECT * FROM {table}").fetchall() for table in tables - {"access_keys"} - MOVED}
    read["told"] = store.execute(f"SELECT {TOLD} FROM outbox UNION SELECT {TOLD} FROM events").fetchall()
    return sorted((table, repr(row)) for table, found in read.items() for row in found)


def arns(value):
    """Every ARN in the members of a request, in their order."""
    if isinstance(value, dict):
        return [arn for inner in value.values() for arn in arns(inner)]
    if isinstance(value, list):
        return [arn for inner in value for arn in arns(inner)]
    return [value] if isinstance(value, str) and value.startswith("arn:") else []
