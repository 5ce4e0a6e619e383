"""Export and import: everything goes from one engine to the other and back."""

import json
import os
import pty
import stat
import subprocess
import time

import pytest

import backups
from access import Keys, allow, policy
from backups import EXPORT_KEY, OTHER_MASTER_KEY, done, export, import_, lines, rows_of
from backups import file, stage_a_server, store  # noqa: F401 (fixtures)
from clients import ACCOUNTS
from record import Record, eventually
from server import MASTER_KEY, binary, environment
from tenant import Tenant
from tokens import key_set, verified
from wire import Wire
from world import furnish, listing

OTHER = {"sqlite": "postgres", "postgres": "sqlite"}
PATIENCE_SECONDS = 60


def lived_in(server):
    """An account in which everything has happened, and the account of the keys beside it."""
    tenant = server.tenant()
    furnish(tenant)
    stage = tenant.stage(name="lived-in", tags={"ключ": "значение", "emoji": "🎥"})
    session, alice = tenant.publish(stage, userId="alice", attributes={"name": "Zoë \"the first\"\\\n"})
    _, bob = tenant.join(stage)
    tenant.act("subscribe", stage, bob, remote=alice)
    tenant.act("exchange", stage, bob, userId="robert", attributes={"a": "b"}, capabilities=["SUBSCRIBE"])
    tenant.act("error", stage, bob, event="SUBSCRIBE_ERROR", code="QUOTA_EXCEEDED")
    tenant.act("recording", stage, alice, state="ACTIVE", bucket="bucket", prefix="a-b")
    # One that goes on is ended by the server that has the copy.
    tenant.act("recording", stage, alice, state="STOPPED", bucket="bucket", prefix="a-b")
    tenant.ivs.disconnect_participant(stageArn=stage, participantId=bob, reason="enough")
    tenant.test_server.do("end-session", stage=stage)
    tenant.publish(stage)
    recording = {"storageConfigurationArn": tenant.storage()}
    tenant.ivs.update_stage(arn=stage, autoParticipantRecordingConfiguration=recording)
    tenant.ivs.revoke_connection_token(tokenId="abcdefgh-ijkl")
    furnish(tenant.elsewhere())
    return tenant


def test_an_export_of_one_engine_imports_into_the_other_and_back(engine, new_store, store, stage_a_server, file, tmp_path):
    first = stage_a_server(store)
    tenant = lived_in(first)
    token = tenant.token(tenant.stage())["token"]
    keys, account = Keys(store), str(next(ACCOUNTS))
    reader = keys.create(account, "--name", "reader", policy=policy(allow("ivs:List*")))
    lasting = keys.create(account, "--session-token", "--expires-in", "100000")
    off = keys.create(account)
    keys.say("disable", off["accessKeyId"])
    done(backups.run("keys", "rotate", "--database-url", store, GREENROOM_MASTER_KEY=MASTER_KEY))
    newer = tenant.token(tenant.stage())["token"]
    told = {region: listing(Wire(first.endpoint, tenant.account, region)) for region in ("us-east-1", "eu-west-1")}
    listed, published = keys.ask("list"), key_set(first.endpoint).json
    assert first.test_server.stop() == 0
    backups.fill(store)

    done(export(store, file))
    assert lines(file)[-1]["end"]["rows"] == backups.counts(store)
    there = new_store(OTHER[engine])
    assert "Imported" in done(import_(there, file, OTHER_MASTER_KEY))
    again = tmp_path / "again.jsonl"
    done(export(there, again, OTHER_MASTER_KEY))
    assert rows_of(again) == rows_of(file)
    assert lines(again)[0]["engine"] == OTHER[engine] != lines(file)[0]["engine"]

    back = new_store(engine)
    done(import_(back, again))
    for place, master in ((there, OTHER_MASTER_KEY), (back, MASTER_KEY)):
        with backups.opened(place) as connection:
            # What was filled in has no meaning, and a server would stumble over it.
            for table, found in backups.columns(connection).items():
                if "account" in found:
                    connection.execute(f"DELETE FROM {table} WHERE account = '\"x\"'")
        second = stage_a_server(place, master)
        for region, expected in told.items():
            assert listing(Wire(second.endpoint, tenant.account, region)) == expected
        assert key_set(second.endpoint).json == published
        for minted in (token, newer):
            assert verified(second.endpoint, minted)["whip_url"].startswith("http://ivs.example.org")
        held = Keys(place)
        held.run = lambda *arguments, held=held, master=master: Keys.run(held, *arguments, GREENROOM_MASTER_KEY=master)
        assert held.ask("list") == listed
        assert status(second, reader, "ListStages") == 200
        assert status(second, reader, "CreateStage") == 403
        assert status(second, lasting, "CreateStage") == 200
        assert status(second, {**lasting, "sessionToken": None}, "ListStages") == 403
        assert status(second, off, "ListStages") == 403
        assert Tenant(second, tenant.account, "us-east-1").stage(), "the record goes on"


def status(server, key, operation):
    secrets = {"secret": key["secretAccessKey"], "token": key["sessionToken"]}
    wire = Wire(server.endpoint, key["accessKeyId"], "us-east-1", **secrets)
    return wire.call(operation, {}).status


def test_page_tokens_are_valid_after_an_import_with_the_same_master_key_only(new_store, store, stage_a_server, file):
    first = stage_a_server(store)
    tenant = first.tenant()
    for _ in range(3):
        tenant.stage()
    page = tenant.ivs.list_stages(maxResults=1)
    first.test_server.stop()
    done(export(store, file))
    for master, expected in ((MASTER_KEY, 200), (OTHER_MASTER_KEY, 400)):
        place = new_store()
        done(import_(place, file, master))
        second = stage_a_server(place, master)
        wire = Wire(second.endpoint, tenant.account, "us-east-1")
        assert wire.call("ListStages", {"maxResults": 1, "nextToken": page["nextToken"]}).status == expected
        second.test_server.stop()


def test_connected_participants_have_left_in_the_imported_store(engine, new_store, store, start_server, file):
    server = start_server(store)
    tenant = server.tenant()
    stage = tenant.stage()
    made = tenant.token(stage)
    environ = environment(GREENROOM_TOKEN=made["token"])
    guest = subprocess.Popen(
        [binary("GREENROOM_BIN"), "join", "--publish", "test-pattern"], env=environ, stdout=subprocess.DEVNULL
    )
    try:
        record = Record(tenant.ivs, stage)
        eventually(lambda: record.sessions())
        eventually(lambda: record.participant(made["participantId"])["published"])
        # Beside the server, which goes on.
        done(export(store, file))
    finally:
        guest.kill()
        guest.wait()
    place = new_store(OTHER[engine])
    done(import_(place, file, OTHER_MASTER_KEY))
    second = start_server(place, "--session-end-seconds", "1", GREENROOM_MASTER_KEY=OTHER_MASTER_KEY)
    record = Record(Tenant(second, tenant.account, "us-east-1").ivs, stage)
    assert record.gone(made["participantId"])["state"] == "DISCONNECTED"
    story = record.story(made["participantId"])
    assert story[0] == "JOINED" and story[-1] == "LEFT" and story.count("LEFT") == 1, story
    record.ended_session()


def test_an_export_file_is_readable_by_its_owner_only_and_replaces_an_older_one(store, file, tmp_path):
    done(backups.run("migrate", "--database-url", store))
    file.write_text("older")
    for _ in range(2):
        done(export(store, file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert lines(file)[0]["greenroomExport"] == 1
    assert [path.name for path in tmp_path.glob("backup*")] == ["backup.jsonl"]


def test_an_export_can_be_piped_to_an_import(new_store, store, stage_a_server, file):
    stage_a_server(store).test_server.stop()
    place = new_store()
    flow = "set -o pipefail; $BIN export - --database-url $FROM | gzip | gunzip | $BIN import - --database-url $TO"
    keys = {"GREENROOM_MASTER_KEY": MASTER_KEY, "GREENROOM_EXPORT_KEY": EXPORT_KEY}
    env = environment(FROM=store, TO=place, BIN=binary("GREENROOM_BIN"), **keys)
    ended = subprocess.run(["bash", "-c", flow], env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert ended.returncode == 0, ended
    assert ended.stdout.startswith("Imported 1 rows of 1 tables") and ended.stderr.startswith("Exported 1 rows")


def test_totals_are_json_with_output_json(store, new_store, stage_a_server, file):
    stage_a_server(store).test_server.stop()
    for verb, place in (("export", store), ("import", new_store())):
        totals = json.loads(done(backups.command(verb, place, file, MASTER_KEY, EXPORT_KEY, "--output", "json")))
        assert (totals["rows"], totals["tables"]) == (1, {"signing_keys": 1})
        assert totals["bytes"] == file.stat().st_size


def test_an_export_file_has_no_secrets(store, stage_a_server, file):
    stage_a_server(store).test_server.stop()
    key = Keys(store).create("210000000000", "--session-token")
    done(export(store, file))
    text = file.read_text()
    for secret in (key["secretAccessKey"], key["sessionToken"], MASTER_KEY, EXPORT_KEY):
        assert secret not in text
    with backups.opened(store) as connection:
        for (sealed,) in connection.execute("SELECT sealed FROM signing_keys").fetchall():
            assert sealed not in text, "a secret in the file has nothing to do with the store's master key"


@pytest.mark.parametrize("schema", [1, 2, 3])
def test_a_store_with_an_older_schema_is_exported_and_imported(new_store, store, file, tmp_path, schema):
    source = backups.of_schema(tmp_path / "old.db", schema)
    before = backups.counts(source)
    done(export(source, file))
    with backups.opened(source) as connection:
        assert connection.execute("SELECT MAX(version) FROM _sqlx_migrations").fetchone() == (schema,)
    assert lines(file)[0]["schema"] == schema
    done(import_(store, file))
    assert backups.counts(store) == before


def test_an_import_waits_for_a_slow_pipe_and_shows_progress_on_a_terminal(store, new_store, file, tmp_path):
    source = backups.of_schema(tmp_path / "many.db", 3)
    with backups.opened(source) as connection:
        names = ", ".join(backups.columns(connection)["stages"])
        others = names.replace(" id,", " 'id' || value,")
        count = "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 1500)"
        connection.execute(f"{count} INSERT INTO stages ({names}) SELECT {others} FROM stages, n")
    done(export(source, file))
    parts = file.read_bytes().splitlines(keepends=True)
    ours, theirs = pty.openpty()
    command = [binary("GREENROOM_BIN"), "import", "-", "--database-url", store, "--database-statement-ms", "100"]
    env = environment(GREENROOM_MASTER_KEY=MASTER_KEY, GREENROOM_EXPORT_KEY=EXPORT_KEY)
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, env=env)
    os.close(theirs)
    half = len(parts) // 2
    for part in (parts[:half], parts[half:]):
        program.stdin.write(b"".join(part))
        program.stdin.flush()
        time.sleep(0.5)  # Longer than a statement may take, and than the line of progress stays as it is.
    program.stdin.close()
    assert b"Imported 15" in program.stdout.read()
    assert program.wait(PATIENCE_SECONDS) == 0
    shown = read_all(ours).decode()
    assert "rows/s" in shown and shown.endswith("\x1b[K")
    assert backups.counts(store) == backups.counts(source)


def read_all(descriptor):
    """Everything that was written to a closed terminal."""
    found = b""
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:
            part = b""
        if not part:
            os.close(descriptor)
            return found
        found += part
