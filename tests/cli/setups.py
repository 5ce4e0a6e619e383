"""Set-up and verification of each example of the aws CLI.

A set-up creates the resources that its example needs, yields the actual values of the printed ids, and may assert the
effect of the command afterwards.
"""

import base64
import hashlib
from contextlib import contextmanager

from resources import PARTICIPANT, PUBLIC_KEYS, type_and_id

GRID, PIP = "abcdABCDefgh", "wxyzWXYZpqrs"  # printed ids of compositions, by their layout


def create_in_order(resources, printed_ids, create):
    """Creates a resource for each printed id, a second apart: lists are in the order of creation."""
    actual_ids = {}
    for number, key in enumerate(printed_ids, 1):
        actual_ids[key] = type_and_id(create(number))
        resources.test_server.advance(1)
    return actual_ids


@contextmanager
def empty_account(resources):
    yield {}


@contextmanager
def create_stage(resources):
    storage = resources.storage()
    yield {"storage-configuration/abcdABCDefgh": type_and_id(storage)}
    [stage] = resources.client.list_stages()["stages"]
    assert stage["activeSessionId"] == ""


@contextmanager
def one_stage(resources):
    yield {"stage/abcdABCDefgh": type_and_id(resources.stage())}


@contextmanager
def update_stage(resources):
    stage, storage = resources.stage(name="stage1"), resources.storage()
    yield {"stage/abcdABCDefgh": type_and_id(stage), "storage-configuration/abcdABCDefgh": type_and_id(storage)}


@contextmanager
def delete_stage(resources):
    stage = resources.stage()
    yield {"stage/abcdABCDefgh": type_and_id(stage)}
    resources.assert_not_found("get_stage", stage)


@contextmanager
def get_stage(resources):
    stage = resources.stage(name="test")
    yield {"stage/abcdABCDefgh": type_and_id(stage), "st-a1b2c3d4e5f6g": resources.join(stage)}


@contextmanager
def list_stages(resources):
    printed_ids = {
        "abcdABCDefgh": "st-a1b2c3d4e5f6g",
        "abcd1234ABCD": "st-a123bcd456efg",
        "ABCD1234efgh": "st-abcDEF1234ghi",
    }
    actual_ids = {}
    for number, (stage_id, session) in enumerate(printed_ids.items(), 1):
        stage = resources.stage(name=f"stage{number}")
        actual_ids |= {f"stage/{stage_id}": type_and_id(stage), session: resources.join(stage)}
        resources.test_server.advance(1)
    yield actual_ids


@contextmanager
def disconnect_participant(resources):
    stage, participant = resources.stage(), "ABCDEfghij01234KLMN5678"
    session = resources.join(stage, participant)
    yield {"stage/abcdABCDefgh": type_and_id(stage)}
    answer = resources.client.get_participant(stageArn=stage, sessionId=session, participantId=participant)
    assert answer["participant"]["state"] == "DISCONNECTED"


@contextmanager
def ended_session(resources):
    stage = resources.stage()
    session = resources.join(stage)
    resources.test_server.advance(360)
    resources.leave(stage)
    resources.test_server.do("end-session", stage=stage)
    yield {"stage/abcdABCDefgh": type_and_id(stage), "st-a1b2c3d4e5f6g": session}


@contextmanager
def recorded_participant(resources):
    stage = resources.stage()
    session = resources.publish(stage)
    resources.record(stage, session)
    yield stage_ids(stage, session)


@contextmanager
def replicated_participant(resources):
    stage = resources.stage()
    session = resources.publish(stage)
    resources.record(stage, session)
    resources.replicate(stage, resources.stage())
    yield stage_ids(stage, session)


@contextmanager
def replica(resources):
    source, stage = resources.stage(), resources.stage()
    resources.publish(source)
    session = resources.replicate(source, stage)
    resources.record(stage, session)
    yield stage_ids(stage, session)


@contextmanager
def disconnected_participant(resources):
    stage = resources.stage()
    session = resources.publish(stage)
    record_and_leave(resources, stage, stage, session)
    yield stage_ids(stage, session)


@contextmanager
def disconnected_participant_with_replica(resources):
    stage = resources.stage()
    session = resources.publish(stage)
    resources.replicate(stage, resources.stage(), reconnectWindowSeconds=300)
    record_and_leave(resources, stage, stage, session)
    yield stage_ids(stage, session)


@contextmanager
def stopped_replica(resources):
    source, stage = resources.stage(), resources.stage()
    source_session = resources.publish(source)
    session = resources.replicate(source, stage, reconnectWindowSeconds=300)
    record_and_leave(resources, source, stage, session)
    yield stage_ids(stage, session) | {"stage/sourceStage1": type_and_id(source), "st-sourceSession": source_session}


def record_and_leave(resources, source, stage, session):
    """Records a stopped recording of the participant in `stage`; then it leaves its own stage, `source`."""
    resources.record(stage, session)
    resources.record(stage, session, "STOPPED")
    resources.leave(source)


def stage_ids(stage, session):
    return {"stage/abcdABCDefgh": type_and_id(stage), "st-a1b2c3d4e5f6g": session}


@contextmanager
def disconnected_publisher(resources):
    stage = resources.stage()
    session = resources.publish(stage)
    resources.test_server.advance(354)
    resources.leave(stage)
    yield stage_ids(stage, session)


@contextmanager
def stopped_replication(resources):
    stage, destination = resources.stage(), resources.stage()
    session = resources.publish(stage)
    destination_session = resources.replicate(stage, destination)
    resources.test_server.advance(120)
    resources.client.stop_participant_replication(
        sourceStageArn=stage, destinationStageArn=destination, participantId=PARTICIPANT
    )
    resources.test_server.advance(234)
    resources.leave(stage)
    yield stage_ids(stage, session) | destination_ids(destination, destination_session)


@contextmanager
def replication_to_start(resources):
    stage, destination = resources.stage(), resources.stage()
    resources.publish(stage)
    yield {"stage/abcdABCDefgh": type_and_id(stage), "stage/bcdABCDefghi": type_and_id(destination)}
    [row] = resources.client.list_participant_replicas(sourceStageArn=stage, participantId=PARTICIPANT)["replicas"]
    assert (row["destinationStageArn"], row["replicationState"]) == (destination, "ACTIVE")


@contextmanager
def replication_to_stop(resources):
    stage, destination = resources.stage(), resources.stage()
    resources.publish(stage)
    resources.replicate(stage, destination)
    yield {"stage/abcdABCDefgh": type_and_id(stage), "stage/bcdABCDefghi": type_and_id(destination)}
    replicas = resources.client.list_participant_replicas(sourceStageArn=stage, participantId=PARTICIPANT)["replicas"]
    assert [row for row in replicas if row["replicationState"] == "ACTIVE"] == []


@contextmanager
def running_replication(resources):
    stage, destination = resources.stage(), resources.stage()
    session = resources.publish(stage)
    yield stage_ids(stage, session) | destination_ids(destination, resources.replicate(stage, destination))


def destination_ids(destination, session):
    return {"stage/ABCDabcdefgh": type_and_id(destination), "st-b1c2d3e4f5g6a": session}


@contextmanager
def import_public_key(resources):
    yield {"(a public key)": PUBLIC_KEYS[0]}
    [key] = resources.client.list_public_keys()["publicKeys"]
    assert fingerprint_of(resources, key["arn"]) == md5(PUBLIC_KEYS[0])


@contextmanager
def one_public_key(resources):
    key = resources.public_key()
    yield {"public-key/abcdABC1efg2": type_and_id(key), "(a public key)": PUBLIC_KEYS[0]}
    assert fingerprint_of(resources, key) == md5(PUBLIC_KEYS[0])


def fingerprint_of(resources, arn):
    return resources.client.get_public_key(arn=arn)["publicKey"]["fingerprint"]


def md5(pem):
    """The fingerprint of a key: MD5 of its DER, as hexadecimal pairs."""
    return hashlib.md5(base64.b64decode("".join(pem.splitlines()[1:-1]))).digest().hex(":")


@contextmanager
def delete_public_key(resources):
    key = resources.public_key()
    yield {"public-key/abcdABC1efg2": type_and_id(key)}
    resources.assert_not_found("get_public_key", key)


@contextmanager
def two_public_keys(resources):
    printed_ids = ["public-key/abcdABC1efg2", "public-key/3bcdABCDefg4"]
    yield create_in_order(resources, printed_ids, lambda number: resources.public_key(number - 1))


@contextmanager
def one_encoder(resources):
    yield {"encoder-configuration/abcdABCDefgh": type_and_id(resources.encoder())}


@contextmanager
def delete_encoder(resources):
    encoder = resources.encoder()
    yield {"encoder-configuration/ABabCDcdEFef": type_and_id(encoder)}
    resources.assert_not_found("get_encoder_configuration", encoder)


@contextmanager
def two_encoders(resources):
    printed_ids = ["encoder-configuration/abcdABCDefgh", "encoder-configuration/ABCefgEFGabc"]
    yield create_in_order(resources, printed_ids, lambda number: resources.encoder(f"test-ec-{number}"))


@contextmanager
def one_storage(resources):
    yield {"storage-configuration/abcdABCDefgh": type_and_id(resources.storage())}


@contextmanager
def delete_storage(resources):
    storage = resources.storage()
    yield {"storage-configuration/ABabCDcdEFef": type_and_id(storage)}
    resources.assert_not_found("get_storage_configuration", storage)


@contextmanager
def two_storages(resources):
    printed_ids = ["storage-configuration/abcdABCDefgh", "storage-configuration/ABCefgEFGabc"]
    yield create_in_order(resources, printed_ids, lambda number: resources.storage(f"test-sc-{number}", f"amzn-s3-demo-bucket-{number}"))


@contextmanager
def one_ingest(resources):
    ingest = resources.ingest(name="ingest1")
    yield ingest_ids(ingest, "AbCdEfGh1234", "xyZ654abC321")


@contextmanager
def ingest_and_stage(resources):
    ingest = resources.ingest(name="ingest1")
    yield ingest_ids(ingest, "AbCdEfGh1234", "xyZ654abC321") | {"stage/abcdABCDefgh": type_and_id(resources.stage())}


@contextmanager
def attached_ingest(resources):
    stage = resources.stage()
    ingest = resources.ingest(stageArn=stage)
    yield ingest_ids(ingest, "XYZuvwSt4567", "abC789Xyz456") | {"stage/abcdABCDefgh": type_and_id(stage)}


def ingest_ids(ingest, printed_id, printed_participant):
    return {
        f"ingest-configuration/{printed_id}": type_and_id(ingest["arn"]),
        printed_participant: ingest["participantId"],
    }


@contextmanager
def delete_ingest(resources):
    ingest = resources.ingest()
    yield {"ingest-configuration/AbCdEfGh1234": type_and_id(ingest["arn"])}
    resources.assert_not_found("get_ingest_configuration", ingest["arn"])


@contextmanager
def delete_active_ingest(resources):
    ingest = resources.ingest(stageArn=resources.stage())
    resources.test_server.do("ingest", configuration=ingest["arn"], state="ACTIVE")
    yield {"ingest-configuration/AbCdEfGh1234": type_and_id(ingest["arn"])}
    resources.assert_not_found("get_ingest_configuration", ingest["arn"])


@contextmanager
def composition_prerequisites(resources):
    yield composition_ids(resources.stage(), resources.encoder(), resources.storage())


def composition_ids(stage, encoder, storage):
    return {
        "stage/defgABCDabcd": type_and_id(stage),
        "encoder-configuration/ABabCDcdEFef": type_and_id(encoder),
        "storage-configuration/FefABabCDcdE": type_and_id(storage),
    }


def running_composition(printed_id, **s3_members):
    """The set-up of an active composition with a channel and an S3 destination, by its printed id."""
    layout = {"layout": {"pip": {"featuredParticipantAttribute": "abcdefg"}}} if printed_id == PIP else {}

    @contextmanager
    def setup(resources):
        stage, encoder, storage = resources.stage(), resources.encoder(), resources.storage()
        s3 = {"encoderConfigurationArns": [encoder], "storageConfigurationArn": storage, **s3_members}
        composition = resources.compose(stage, [channel(encoder), {"s3": s3}], **layout)
        resources.test_server.advance(2)
        yield composition_ids(stage, encoder, storage) | {f"composition/{printed_id}": type_and_id(composition)}

    return setup


def channel(encoder):
    prefix = encoder.rpartition(":")[0]
    return {"channel": {"channelArn": f"{prefix}:channel/abcABCdefDEg", "encoderConfigurationArn": encoder}}


@contextmanager
def stop_composition(resources):
    composition = resources.compose(resources.stage(), [channel(resources.encoder())])
    resources.test_server.advance(2)
    yield {"composition/abcdABCDefgh": type_and_id(composition)}
    assert resources.client.get_composition(arn=composition)["composition"]["state"] == "STOPPING"


@contextmanager
def two_compositions(resources):
    encoder, storage = resources.encoder(), resources.storage()
    s3 = {"s3": {"encoderConfigurationArns": [encoder], "storageConfigurationArn": storage}}
    old_stage, new_stage = resources.stage(), resources.stage()
    old = resources.compose(old_stage, [channel(encoder), s3])
    resources.test_server.advance(2)
    resources.client.stop_composition(arn=old)
    resources.test_server.advance(1)
    new = resources.compose(new_stage, [channel(encoder)])
    resources.test_server.advance(2)
    yield {
        "composition/abcdABCDefgh": type_and_id(new),
        "stage/defgABCDabcd": type_and_id(new_stage),
        "composition/ABcdabCDefgh": type_and_id(old),
        "stage/efghabcdABCD": type_and_id(old_stage),
    }
