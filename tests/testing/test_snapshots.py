"""Snapshots: taken, restored, downloaded and uploaded."""

import asyncio
import base64
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from conftest import FLAGS
from contents import contents, fill, stages
from control import Control, Refused, invalid, missing
from endpoints import PROMPT_SECONDS, StageEndpoints
from tenant import Tenant


async def visit(endpoints, **members):
    """A participant joins and leaves; its id."""
    token, participant = endpoints.token(**members)
    async with endpoints.join(token) as client:
        await client.wait_for_state(participant)
    await endpoints.wait_for_events(participant, "JOINED", "LEFT")
    return participant


def lines(file):
    return [json.loads(line) for line in file.splitlines()]


# Take and restore


async def test_a_restore_brings_back_what_there_was_and_removes_what_came_after(tenant, other, control, endpoints):
    await visit(endpoints, userId="alice", attributes={"a": "ä"})
    fill(tenant)
    fill(other)
    key = control.seed({"accessKeys": [{"name": "ci"}]})["accessKeys"]["ci"]
    before, theirs = contents(tenant), contents(other)
    taken = control.snapshot()
    assert taken["name"] == "base" and taken["bytes"] > 1000
    assert {name: taken["rows"][name] for name in ("stages", "sessions", "participants", "participant_events")} == {
        "stages": 2,
        "sessions": 1,
        "participants": 1,
        "participant_events": 2,
    }
    await visit(endpoints)
    tenant.ivs.update_stage(arn=endpoints.stage, name="renamed")
    tenant.ivs.delete_stage(arn=stages(tenant)[1])
    tenant.encoder()
    fill(tenant)
    tenant.server.credentials("delete", key["accessKeyId"])
    assert contents(tenant) != before
    for _ in range(2):
        restored = control.restore()
        assert (restored["stages"], restored["participants"], restored["sessions"]) == (2, 1, 1)
        assert contents(tenant) == before
    assert contents(other) == theirs
    client = tenant.server.client(key["accessKeyId"], secret=key["secretAccessKey"])
    assert len(client.list_stages()["stages"]) == 2, "a deleted access key of the snapshot is there again"
    control.reset()
    control.restore()
    assert contents(tenant) == before


async def test_a_restored_stage_works(control, endpoints):
    await visit(endpoints, userId="alice")
    early = endpoints.token(userId="early")
    banned = endpoints.token()
    endpoints.tenant.ivs.disconnect_participant(stageArn=endpoints.stage, participantId=banned[1])
    control.snapshot()
    control.reset()
    assert await endpoints.refused(early[0]) == ("STAGE_DELETED", 4404)
    control.restore()
    for token, participant in (early, endpoints.token()):
        async with endpoints.join(token) as client:
            await client.wait_for_state(participant)
    assert endpoints.participant(early[1])["userId"] == "early"
    assert (await endpoints.refused(banned[0]))[0] == "PARTICIPANT_DISCONNECTED", "it is banned as before"


async def test_connections_of_the_snapshot_that_are_still_open_stay_open(control, endpoints):
    (alice, alice_id), (bob, bob_id) = endpoints.token(), endpoints.token()
    async with endpoints.join(alice) as one:
        await one.wait_for_state(alice_id)
        control.snapshot()
        async with endpoints.join(bob) as two:
            await one.wait_for_state(alice_id, bob_id)
            async with asyncio.timeout(PROMPT_SECONDS):
                await asyncio.to_thread(control.restore)
                assert (await two.closed())[0] >= 4000, "it was opened after the snapshot"
                await one.wait_for_state(alice_id)
        assert endpoints.events_of(alice_id) == ["JOINED"]
    await endpoints.wait_for_events(alice_id, "JOINED", "LEFT")


async def test_participants_whose_connections_have_ended_since_leave_at_the_restore(control, endpoints):
    token, participant = endpoints.token()
    async with endpoints.join(token) as client:
        await client.wait_for_state(participant)
        control.snapshot()
        assert endpoints.participant(participant)["state"] == "CONNECTED"
    await endpoints.wait_for_events(participant, "JOINED", "LEFT")
    left = endpoints.participant(participant)
    control.restore()
    assert endpoints.events_of(participant) == ["JOINED", "LEFT"]
    assert endpoints.participant(participant)["state"] == left["state"] == "DISCONNECTED"
    control.reset()
    control.restore()
    assert endpoints.events_of(participant) == ["JOINED", "LEFT"]


def test_simulated_participants_that_have_not_changed_since_the_snapshot_are_restored(control, stage):
    def join(user):
        return control.call("POST", "/participants", {"stage": stage, "userId": user, "publish": True})["participantId"]

    alice = join("alice")
    control.snapshot()
    bob = join("bob")
    control.restore()
    states = {one["userId"]: one["state"] for one in control.call("GET", "/participants")["participants"]}
    assert states["alice"] == "CONNECTED" and states.get("bob") != "CONNECTED", states
    assert control.call("POST", f"/participants/{alice}/unpublish")["publishing"] is False
    with pytest.raises(Refused):
        control.call("POST", f"/participants/{bob}/unpublish")


def test_a_store_in_memory_has_snapshots(engine, start_node):
    if engine == "postgres":
        pytest.skip("PostgreSQL has no store in memory")
    tenant = start_node(*FLAGS, store="sqlite::memory:").tenant()
    control = Control.of(tenant)
    control.seed({"stages": [{"name": "a"}], "tokens": [{"stage": "a"}]})
    fill(tenant)
    before = contents(tenant)
    control.snapshot()
    assert control.reset()["stages"] == 2
    control.restore()
    assert contents(tenant) == before


# Names


def test_snapshots_have_names_and_belong_to_their_selection(node, tenant, other, control):
    tenant.stage()
    for name in ("b", "a.1", "a-2_C"):
        control.snapshot(name)
    tenant.stage()
    again = control.snapshot("b")
    assert again["rows"]["stages"] == 2, "it replaces the first one"
    listed = control.snapshots()
    assert [one["name"] for one in listed] == ["a-2_C", "a.1", "b"]
    assert listed[2] == again
    assert Control.of(other).snapshots() == []
    with missing("snapshot 'b' of the selection"):
        Control.of(other).restore("b")
    with missing("snapshot 'b' of the selection"):
        Control.of(tenant.elsewhere()).download("b")
    assert control.call("DELETE", "/snapshots/b") == {}
    for method, path in [("DELETE", "/snapshots/b"), ("GET", "/snapshots/b"), ("POST", "/snapshots/b/restore")]:
        with missing("snapshot 'b'"):
            control.call(method, path)
    for name in ("x" * 129, "a%2Fb", "%C3%A4", "a%20b"):
        with invalid("name: must have 1 to 128 letters"):
            control.snapshot(name)


# Files


OWN_ACCOUNT = "000000000000"


def other_store(new_store, engine):
    """A store of the other engine."""
    return new_store("postgres" if engine == "sqlite" else "sqlite")


def other_key():
    """Another master key."""
    return base64.b64encode(os.urandom(32)).decode()


async def test_a_file_is_restored_on_the_other_engine_in_another_account_and_region(
    control, tenant, endpoints, start_node, new_store, engine
):
    store = other_store(new_store, engine)
    elsewhere = start_node(*FLAGS, store=store, GREENROOM_MASTER_KEY=other_key())
    await visit(endpoints, userId="alice")
    fill(tenant)
    before = contents(tenant)
    control.snapshot()
    there = Tenant(elsewhere, "299999999999", "eu-central-1")
    far = Control.of(there)
    uploaded = far.upload(control.download(), "imported")
    assert uploaded["name"] == "imported" and uploaded["rows"]["stages"] == 2
    assert contents(there)["ListStages"] == [], "an upload restores nothing"
    far.restore("imported")
    text = json.dumps(before, default=str)
    text = text.replace(f":{tenant.region}:{tenant.account}:", f":{there.region}:{there.account}:")
    text = text.replace(f"rt_{tenant.account}_{tenant.region}_", f"rt_{there.account}_{there.region}_")
    expected = json.loads(text)
    found = json.loads(json.dumps(contents(there), default=str))
    for one in (expected, found):
        for stage in one["ListStages"]:
            del stage["endpoints"]
    assert found == expected
    moved = StageEndpoints(there, stages(there)[0])
    await visit(moved)


async def test_a_file_of_all_accounts_has_access_keys_and_signing_keys(start_server, new_store, engine):
    # Tokens are valid for a URL.
    flags = ("--test-api=public", "--public-url", "http://green.example")
    node = start_server(new_store(), *flags)
    elsewhere = start_server(other_store(new_store, engine), *flags, GREENROOM_MASTER_KEY=other_key())
    tenant, other = node.tenant(), node.tenant().elsewhere()
    endpoints = StageEndpoints(tenant, tenant.stage(name="kept"))
    other.stage(name="also-kept")
    token, participant = endpoints.token()
    own = Control(node.endpoint).signed(tenant.account, "test")
    key = own.seed({"accessKeys": [{"name": "ci", "sessionToken": True}]})["accessKeys"]["ci"]
    everything, there = (Control.all(server).signed(OWN_ACCOUNT, "test") for server in (node, elsewhere))
    everything.snapshot()
    file = everything.download()
    assert key["secretAccessKey"].encode() not in file, "secrets are encrypted"
    there.upload(file)
    elsewhere.tenant(other.account).stage(name="lost")
    there.restore()
    client = elsewhere.client(key["accessKeyId"], secret=key["secretAccessKey"], token=key["sessionToken"])
    assert [stage["name"] for stage in client.list_stages()["stages"]] == ["kept"]
    names = [stage["name"] for stage in Tenant(elsewhere, other.account, other.region).ivs.list_stages()["stages"]]
    assert names == ["also-kept"]
    async with endpoints.on(elsewhere).join(token) as client:
        await client.wait_for_state(participant)
    with invalid("the file is a snapshot of all accounts: use all=true"):
        own.upload(file)
    own.snapshot()
    with invalid("the file is a snapshot of one account and region"):
        everything.upload(own.download())


def test_hostile_files_are_refused_and_change_nothing(tenant, other, control):
    fill(tenant)
    control.snapshot()
    file = control.download()
    before = contents(tenant)
    header, *rows, end = file.decode().splitlines()
    stage = next(row for row in rows if row.startswith('{"stages"'))

    def changed(old, new):
        text = file.decode()
        assert old in text
        return text.replace(old, new, 1).encode()

    other_account = stage.replace(tenant.account, other.account)
    for bad, words in [
        (b"{}", "line 1: this is no snapshot of greenroom"),
        (b"\x1f\x8b", "line 1: this is no snapshot of greenroom"),
        (file[: len(file) // 2], "The snapshot: "),
        (file[: -len(end) - 1], "has no end"),
        (changed('"greenroomSnapshot":1', '"greenroomSnapshot":2'), "has the format 2"),
        (changed('"schema":', '"schema":9'), "has the schema 9"),
        (changed(stage, stage + "\n" + stage), "its digest is another one"),
        (changed('"name":"one"', '"name":"two"'), "its digest is another one"),
        (changed(stage, other_account), "the row is not of the account and region of the snapshot"),
        (changed('{"stages"', '{"signing_keys"'), "is missing"),
        (changed('{"stages"', '{"counters"'), "is missing"),
        (changed('{"stages"', '{"nodes"'), "there is no table 'nodes'"),
        (changed(stage, '{"counters":{"name":"events","value":0}}'), "counters is not of this kind of snapshot"),
        (changed('"state":"INACTIVE"', '"state":"OFF"'), "ingest_configurations: the column state has a value that"),
        (changed('"tags":{', '"tags":{"a":1,'), "the column tags has a value that greenroom does not write"),
        (changed(stage, "[" * 100_000), "line "),
        (header.encode(), "has no end"),
    ]:
        with invalid(words):
            control.upload(bad, "bad")
    with invalid("Content-Type: must be application/vnd.greenroom.snapshot+jsonl"):
        control.upload(file, "bad", content_type="application/json")
    assert [one["name"] for one in control.snapshots()] == ["base"]
    assert contents(tenant) == before
    control.upload(file, "good")
    control.reset()
    control.restore("good")
    assert contents(tenant) == before


def test_two_rows_with_one_key_are_refused_by_the_restore_and_nothing_is_lost(tenant, control):
    """A file with a valid end can be forged: its key is in it."""
    import hashlib
    import hmac

    fill(tenant)
    control.snapshot()
    header, *rows, end = control.download().decode().splitlines()
    stage = next(row for row in rows if row.startswith('{"stages"'))
    body = "".join(f"{line}\n" for line in [header, *rows, stage]).encode()
    digest = hashlib.sha256(body).digest()

    def derive(key, purpose):
        return hmac.digest(key, purpose, "sha256")

    signing = derive(base64.b64decode(json.loads(header)["key"]), b"greenroom pages 1")
    context = b"greenroom export end"
    tag = derive(signing, len(context).to_bytes(8) + context + digest)[:16]
    end = json.loads(end)
    end["end"]["rows"]["stages"] += 1
    end["end"]["sha256"] = digest.hex()
    end["end"]["signature"] = base64.urlsafe_b64encode(digest + tag).decode().rstrip("=")
    control.upload(body + json.dumps(end).encode(), "forged")
    before = contents(tenant)
    with invalid("snapshot: two rows of stages have the same key"):
        control.restore("forged")
    assert contents(tenant) == before


# Load


def test_a_restore_under_load_loses_nothing_of_other_accounts(node, tenant, control):
    """Writers run meanwhile in other accounts: each write that was acknowledged is there, once."""
    fill(tenant)
    before = contents(tenant)
    control.snapshot()
    stop, writers = threading.Event(), [node.tenant() for _ in range(4)]

    def write(writer):
        made = []
        while not stop.is_set():
            stage = writer.stage(tags={"n": str(len(made))})
            writer.token(stage)
            made.append(stage)
            if len(made) % 5 == 0:
                writer.ivs.delete_stage(arn=made.pop(0))
        return made

    with ThreadPoolExecutor(len(writers)) as pool:
        try:
            work = [pool.submit(write, writer) for writer in writers]
            for n in range(30):
                if n % 3 == 0:
                    control.reset()
                tenant.stage()
                control.restore()
                if n % 5 == 0:
                    control.snapshot(f"under-load-{n % 2}")
        finally:
            stop.set()
        made = [one.result() for one in work]
    assert contents(tenant) == before
    for writer, expected in zip(writers, made):
        assert sorted(stages(writer)) == sorted(expected)
        assert len(expected) > 3, "it has written meanwhile"


def test_a_snapshot_taken_under_load_of_its_own_account_is_consistent(tenant, control):
    """Resources refer to each other: a snapshot has both or none, and so has the state after a restore."""
    stop = threading.Event()

    def make_and_delete():
        storage = tenant.storage()
        stage = tenant.stage(autoParticipantRecordingConfiguration={"storageConfigurationArn": storage})
        ingest = tenant.ingest(stageArn=stage)["arn"]
        tenant.ivs.delete_ingest_configuration(arn=ingest)
        tenant.ivs.delete_stage(arn=stage)
        tenant.ivs.delete_storage_configuration(arn=storage)

    def write():
        while not stop.is_set():
            try:
                make_and_delete()
            except ClientError as error:
                # A reset removes what a writer has made; a restore brings back what it has deleted.
                assert "not found" in str(error) or "is used by" in str(error)

    with ThreadPoolExecutor(2) as pool:
        try:
            work = [pool.submit(write) for _ in range(2)]
            for n in range(20):
                control.snapshot()
                tables = {name: [] for name in ("stages", "storage_configurations", "ingest_configurations")}
                for line in lines(control.download())[1:-1]:
                    for name, row in line.items():
                        tables.setdefault(name, []).append(row)
                storages = {row["id"] for row in tables["storage_configurations"]}
                made = {row["id"] for row in tables["stages"]}
                assert {row["recording_storage_id"] for row in tables["stages"]} <= storages
                # Deleting a stage detaches the ingest configuration that a restore has brought back to it.
                attached = {row["stage_id"] for row in tables["ingest_configurations"]} - {""}
                assert attached <= made
                control.restore() if n % 2 else control.reset()
        finally:
            stop.set()
        for one in work:
            one.result()
    control.reset()
    assert not any(contents(tenant).values())
