"""What each example takes for granted, and what must have become of it.

A scene builds what its example needs, yields what this server has in the place of the printed ids, and after the
command may look at what has changed.
"""

import base64
import hashlib
from contextlib import contextmanager

from world import PARTICIPANT, PUBLIC_KEYS, tail

GRID, PIP = "abcdABCDefgh", "wxyzWXYZpqrs"  # printed ids of compositions, by their layout


def in_turn(world, printed, make):
    """Makes a resource for each printed one, a second apart, as lists are in the order of creation."""
    ours = {}
    for number, key in enumerate(printed, 1):
        ours[key] = tail(make(number))
        world.test_server.advance(1)
    return ours


@contextmanager
def empty_account(world):
    yield {}


@contextmanager
def create_stage(world):
    storage = world.storage()
    yield {"storage-configuration/abcdABCDefgh": tail(storage)}
    [stage] = world.client.list_stages()["stages"]
    assert stage["activeSessionId"] == ""


@contextmanager
def one_stage(world):
    yield {"stage/abcdABCDefgh": tail(world.stage())}


@contextmanager
def update_stage(world):
    stage, storage = world.stage(name="stage1"), world.storage()
    yield {"stage/abcdABCDefgh": tail(stage), "storage-configuration/abcdABCDefgh": tail(storage)}


@contextmanager
def delete_stage(world):
    stage = world.stage()
    yield {"stage/abcdABCDefgh": tail(stage)}
    world.gone("get_stage", stage)


@contextmanager
def get_stage(world):
    stage = world.stage(name="test")
    yield {"stage/abcdABCDefgh": tail(stage), "st-a1b2c3d4e5f6g": world.join(stage)}


@contextmanager
def list_stages(world):
    printed = {
        "abcdABCDefgh": "st-a1b2c3d4e5f6g",
        "abcd1234ABCD": "st-a123bcd456efg",
        "ABCD1234efgh": "st-abcDEF1234ghi",
    }
    ours = {}
    for number, (stage_id, session) in enumerate(printed.items(), 1):
        stage = world.stage(name=f"stage{number}")
        ours |= {f"stage/{stage_id}": tail(stage), session: world.join(stage)}
        world.test_server.advance(1)
    yield ours


@contextmanager
def disconnect_participant(world):
    stage, participant = world.stage(), "ABCDEfghij01234KLMN5678"
    session = world.join(stage, participant)
    yield {"stage/abcdABCDefgh": tail(stage)}
    answer = world.client.get_participant(stageArn=stage, sessionId=session, participantId=participant)
    assert answer["participant"]["state"] == "DISCONNECTED"


@contextmanager
def ended_session(world):
    stage = world.stage()
    session = world.join(stage)
    world.test_server.advance(360)
    world.leave(stage)
    world.test_server.do("end-session", stage=stage)
    yield {"stage/abcdABCDefgh": tail(stage), "st-a1b2c3d4e5f6g": session}


@contextmanager
def recorded_participant(world):
    stage = world.stage()
    session = world.publish(stage)
    world.record(stage, session)
    yield here(stage, session)


@contextmanager
def replicated_participant(world):
    stage = world.stage()
    session = world.publish(stage)
    world.record(stage, session)
    world.replicate(stage, world.stage())
    yield here(stage, session)


@contextmanager
def replica(world):
    source, stage = world.stage(), world.stage()
    world.publish(source)
    session = world.replicate(source, stage)
    world.record(stage, session)
    yield here(stage, session)


@contextmanager
def past_participant(world):
    stage = world.stage()
    session = world.publish(stage)
    recorded_and_left(world, stage, stage, session)
    yield here(stage, session)


@contextmanager
def past_participant_still_replicated(world):
    stage = world.stage()
    session = world.publish(stage)
    world.replicate(stage, world.stage(), reconnectWindowSeconds=300)
    recorded_and_left(world, stage, stage, session)
    yield here(stage, session)


@contextmanager
def past_replica(world):
    source, stage = world.stage(), world.stage()
    source_session = world.publish(source)
    session = world.replicate(source, stage, reconnectWindowSeconds=300)
    recorded_and_left(world, source, stage, session)
    yield here(stage, session) | {"stage/sourceStage1": tail(source), "st-sourceSession": source_session}


def recorded_and_left(world, source, stage, session):
    """A recording of the participant in `stage` that ended, after which it left its own stage, `source`."""
    world.record(stage, session)
    world.record(stage, session, "STOPPED")
    world.leave(source)


def here(stage, session):
    return {"stage/abcdABCDefgh": tail(stage), "st-a1b2c3d4e5f6g": session}


@contextmanager
def past_publisher(world):
    stage = world.stage()
    session = world.publish(stage)
    world.test_server.advance(354)
    world.leave(stage)
    yield here(stage, session)


@contextmanager
def past_replication(world):
    stage, destination = world.stage(), world.stage()
    session = world.publish(stage)
    destination_session = world.replicate(stage, destination)
    world.test_server.advance(120)
    world.client.stop_participant_replication(
        sourceStageArn=stage, destinationStageArn=destination, participantId=PARTICIPANT
    )
    world.test_server.advance(234)
    world.leave(stage)
    yield here(stage, session) | there(destination, destination_session)


@contextmanager
def replication_to_start(world):
    stage, destination = world.stage(), world.stage()
    world.publish(stage)
    yield {"stage/abcdABCDefgh": tail(stage), "stage/bcdABCDefghi": tail(destination)}
    [row] = world.client.list_participant_replicas(sourceStageArn=stage, participantId=PARTICIPANT)["replicas"]
    assert (row["destinationStageArn"], row["replicationState"]) == (destination, "ACTIVE")


@contextmanager
def replication_to_stop(world):
    stage, destination = world.stage(), world.stage()
    world.publish(stage)
    world.replicate(stage, destination)
    yield {"stage/abcdABCDefgh": tail(stage), "stage/bcdABCDefghi": tail(destination)}
    replicas = world.client.list_participant_replicas(sourceStageArn=stage, participantId=PARTICIPANT)["replicas"]
    assert [row for row in replicas if row["replicationState"] == "ACTIVE"] == []


@contextmanager
def running_replication(world):
    stage, destination = world.stage(), world.stage()
    session = world.publish(stage)
    yield here(stage, session) | there(destination, world.replicate(stage, destination))


def there(destination, session):
    return {"stage/ABCDabcdefgh": tail(destination), "st-b1c2d3e4f5g6a": session}


@contextmanager
def import_public_key(world):
    yield {"(a public key)": PUBLIC_KEYS[0]}
    [key] = world.client.list_public_keys()["publicKeys"]
    assert fingerprint_of(world, key["arn"]) == md5(PUBLIC_KEYS[0])


@contextmanager
def one_public_key(world):
    key = world.public_key()
    yield {"public-key/abcdABC1efg2": tail(key), "(a public key)": PUBLIC_KEYS[0]}
    assert fingerprint_of(world, key) == md5(PUBLIC_KEYS[0])


def fingerprint_of(world, arn):
    return world.client.get_public_key(arn=arn)["publicKey"]["fingerprint"]


def md5(pem):
    """The fingerprint of a key: MD5 of its DER, in hexadecimal pairs."""
    return hashlib.md5(base64.b64decode("".join(pem.splitlines()[1:-1]))).digest().hex(":")


@contextmanager
def delete_public_key(world):
    key = world.public_key()
    yield {"public-key/abcdABC1efg2": tail(key)}
    world.gone("get_public_key", key)


@contextmanager
def two_public_keys(world):
    printed = ["public-key/abcdABC1efg2", "public-key/3bcdABCDefg4"]
    yield in_turn(world, printed, lambda number: world.public_key(number - 1))


@contextmanager
def one_encoder(world):
    yield {"encoder-configuration/abcdABCDefgh": tail(world.encoder())}


@contextmanager
def delete_encoder(world):
    encoder = world.encoder()
    yield {"encoder-configuration/ABabCDcdEFef": tail(encoder)}
    world.gone("get_encoder_configuration", encoder)


@contextmanager
def two_encoders(world):
    printed = ["encoder-configuration/abcdABCDefgh", "encoder-configuration/ABCefgEFGabc"]
    yield in_turn(world, printed, lambda number: world.encoder(f"test-ec-{number}"))


@contextmanager
def one_storage(world):
    yield {"storage-configuration/abcdABCDefgh": tail(world.storage())}


@contextmanager
def delete_storage(world):
    storage = world.storage()
    yield {"storage-configuration/ABabCDcdEFef": tail(storage)}
    world.gone("get_storage_configuration", storage)


@contextmanager
def two_storages(world):
    printed = ["storage-configuration/abcdABCDefgh", "storage-configuration/ABCefgEFGabc"]
    yield in_turn(world, printed, lambda number: world.storage(f"test-sc-{number}", f"amzn-s3-demo-bucket-{number}"))


@contextmanager
def one_ingest(world):
    ingest = world.ingest(name="ingest1")
    yield ingest_ids(ingest, "AbCdEfGh1234", "xyZ654abC321")


@contextmanager
def ingest_and_stage(world):
    ingest = world.ingest(name="ingest1")
    yield ingest_ids(ingest, "AbCdEfGh1234", "xyZ654abC321") | {"stage/abcdABCDefgh": tail(world.stage())}


@contextmanager
def attached_ingest(world):
    stage = world.stage()
    ingest = world.ingest(stageArn=stage)
    yield ingest_ids(ingest, "XYZuvwSt4567", "abC789Xyz456") | {"stage/abcdABCDefgh": tail(stage)}


def ingest_ids(ingest, printed_id, printed_participant):
    return {
        f"ingest-configuration/{printed_id}": tail(ingest["arn"]),
        printed_participant: ingest["participantId"],
    }


@contextmanager
def delete_ingest(world):
    ingest = world.ingest()
    yield {"ingest-configuration/AbCdEfGh1234": tail(ingest["arn"])}
    world.gone("get_ingest_configuration", ingest["arn"])


@contextmanager
def delete_active_ingest(world):
    ingest = world.ingest(stageArn=world.stage())
    world.test_server.do("ingest", configuration=ingest["arn"], state="ACTIVE")
    yield {"ingest-configuration/AbCdEfGh1234": tail(ingest["arn"])}
    world.gone("get_ingest_configuration", ingest["arn"])


@contextmanager
def ready_to_compose(world):
    yield composition_ids(world.stage(), world.encoder(), world.storage())


def composition_ids(stage, encoder, storage):
    return {
        "stage/defgABCDabcd": tail(stage),
        "encoder-configuration/ABabCDcdEFef": tail(encoder),
        "storage-configuration/FefABabCDcdE": tail(storage),
    }


def running_composition(printed_id, **s3_members):
    """A composition, by its printed id, to a channel and to S3, that has become active."""
    layout = {"layout": {"pip": {"featuredParticipantAttribute": "abcdefg"}}} if printed_id == PIP else {}

    @contextmanager
    def play(world):
        stage, encoder, storage = world.stage(), world.encoder(), world.storage()
        s3 = {"encoderConfigurationArns": [encoder], "storageConfigurationArn": storage, **s3_members}
        composition = world.compose(stage, [channel(encoder), {"s3": s3}], **layout)
        world.test_server.advance(2)
        yield composition_ids(stage, encoder, storage) | {f"composition/{printed_id}": tail(composition)}

    return play


def channel(encoder):
    prefix = encoder.rpartition(":")[0]
    return {"channel": {"channelArn": f"{prefix}:channel/abcABCdefDEg", "encoderConfigurationArn": encoder}}


@contextmanager
def stop_composition(world):
    composition = world.compose(world.stage(), [channel(world.encoder())])
    world.test_server.advance(2)
    yield {"composition/abcdABCDefgh": tail(composition)}
    assert world.client.get_composition(arn=composition)["composition"]["state"] == "STOPPING"


@contextmanager
def two_compositions(world):
    encoder, storage = world.encoder(), world.storage()
    s3 = {"s3": {"encoderConfigurationArns": [encoder], "storageConfigurationArn": storage}}
    old_stage, new_stage = world.stage(), world.stage()
    old = world.compose(old_stage, [channel(encoder), s3])
    world.test_server.advance(2)
    world.client.stop_composition(arn=old)
    world.test_server.advance(1)
    new = world.compose(new_stage, [channel(encoder)])
    world.test_server.advance(2)
    yield {
        "composition/abcdABCDefgh": tail(new),
        "stage/defgABCDabcd": tail(new_stage),
        "composition/ABcdabCDefgh": tail(old),
        "stage/efghabcdABCD": tail(old_stage),
    }
