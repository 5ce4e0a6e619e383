"""Everything that the API shows of an account, as one value."""

from keys import pem

LISTS = {
    "ListStages": ("stages", "GetStage", "stage"),
    "ListPublicKeys": ("publicKeys", "GetPublicKey", "publicKey"),
    "ListEncoderConfigurations": ("encoderConfigurations", "GetEncoderConfiguration", "encoderConfiguration"),
    "ListStorageConfigurations": ("storageConfigurations", "GetStorageConfiguration", "storageConfiguration"),
    "ListIngestConfigurations": ("ingestConfigurations", "GetIngestConfiguration", "ingestConfiguration"),
    "ListCompositions": ("compositions", "GetComposition", "composition"),
}


def fill(tenant):
    """Creates a resource of every kind; returns the ARN of the stage."""
    storage = tenant.storage(name="recordings")
    recording = {"storageConfigurationArn": storage, "mediaTypes": ["AUDIO_VIDEO"]}
    stage = tenant.stage(name="one", tags={"team": "a"}, autoParticipantRecordingConfiguration=recording)
    tenant.ivs.import_public_key(publicKeyMaterial=pem(), name="key")
    tenant.ingest(name="in", stageArn=stage)
    tenant.composition(stage)
    participant = tenant.token(stage, userId="gone")["participantId"]
    tenant.ivs.disconnect_participant(stageArn=stage, participantId=participant)
    return stage


def contents(tenant):
    """The resources of an account in its region, with the sessions, participants and events of its stages."""
    return {name: list(items(tenant, name, *terms)) for name, terms in LISTS.items()} | {
        "sessions": [session(tenant, stage, one) for stage in stages(tenant) for one in sessions(tenant, stage)]
    }


def items(tenant, operation, items, getter, item):
    for one in tenant.walk(operation, 100):
        yield tenant.wire.call(getter, {"arn": one["arn"]}).json[item]


def stages(tenant):
    return [stage["arn"] for stage in tenant.walk("ListStages", 100)]


def sessions(tenant, stage):
    return [one["sessionId"] for one in tenant.walk("ListStageSessions", 100, stageArn=stage)]


def session(tenant, stage, session):
    """A session with its participants and their events."""
    members = {"stageArn": stage, "sessionId": session}
    ids = [one["participantId"] for one in tenant.walk("ListParticipants", 100, **members)]
    return {
        "session": tenant.ivs.get_stage_session(**members)["stageSession"],
        "participants": [tenant.participant(stage, session, id) for id in ids],
        "events": [tenant.walk("ListParticipantEvents", 100, **members, participantId=id) for id in ids],
    }
