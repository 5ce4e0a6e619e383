"""What is not exported and not imported: nothing is left behind, and the error says why."""

import pytest

import backups
from backups import OTHER_KEY, OTHER_MASTER_KEY, done, export, import_, lines, refused
from backups import file, stage_a_server, store  # noqa: F401 (fixtures)


@pytest.fixture
def exported(new_store, stage_a_server, file):
    """A file of a store with a few stages."""
    place = new_store("sqlite")
    server = stage_a_server(place)
    tenant = server.tenant()
    for name in ("a", "b", "c"):
        tenant.stage(name=name)
    server.test_server.stop()
    done(export(place, file))
    return file


def nothing_in(store):
    return backups.counts(store) == {}


def test_import_into_a_store_that_is_not_empty_is_refused(store, stage_a_server, exported):
    stage_a_server(store).test_server.stop()
    before = backups.counts(store)
    refused(import_(store, exported), "not empty", "signing_keys")
    assert backups.counts(store) == before == {"signing_keys": 1}


def test_a_second_import_is_refused(store, exported):
    done(import_(store, exported))
    refused(import_(store, exported), "not empty")


def test_a_sqlite_file_in_use_by_a_server_is_refused(new_store, start_server, exported):
    store = new_store("sqlite")
    start_server(store)
    ended = import_(store, exported)
    assert "another greenroom server is using" in ended.stderr and ended.returncode != 0


@pytest.mark.parametrize("part", [0, 0.3, 0.6, 0.999])
def test_a_truncated_file_imports_nothing(store, exported, part):
    text = exported.read_text()
    exported.write_text(text[: int(len(text.rstrip()) * part)])
    ended = import_(store, exported)
    assert ended.returncode == 1 and len(ended.stderr.splitlines()) == 1
    assert nothing_in(store)


def test_a_file_without_its_end_imports_nothing(store, exported):
    text = exported.read_text().splitlines(keepends=True)
    exported.write_text("".join(text[:-1]))
    refused(import_(store, exported), f"ends after line {len(text) - 1}", "cut off")
    assert nothing_in(store)


def test_a_changed_file_imports_nothing(store, exported):
    text = exported.read_text()
    exported.write_text(text.replace('"name":"b"', '"name":"B"'))
    refused(import_(store, exported), "digest", "changed or damaged")
    assert nothing_in(store)


def test_a_file_changed_together_with_its_digest_imports_nothing(store, exported):
    values = lines(exported)
    exported.write_text(backups.signed(values, OTHER_KEY))
    refused(import_(store, exported), "signature")
    exported.write_text(backups.signed(values))
    done(import_(store, exported))


def hostile(values):
    """Files signed with the export key: what is wrong with them, and the error."""
    header, *rows, end = values
    at = next(number for number, row in enumerate(rows) if "stages" in row)
    stage = rows[at]["stages"]

    def with_stage(**members):
        changed = {"stages": {**stage, **members}}
        return [header, *rows[:at], changed, *rows[at + 1 :], end]

    damaged = [
        {"signing_keys": {**row["signing_keys"], "sealed": "AAAA"}} if "signing_keys" in row else row for row in rows
    ]
    line = f"line {at + 2}:"
    return {
        "a row that stands twice": ([header, *rows, rows[at], end], f"line {len(rows) + 2}:", "already"),
        "a column that there is not": (with_stage(colour="red"), line, "colour"),
        "a number in place of a text": (with_stage(name=7), line, "name"),
        "a text in place of a number": (with_stage(created_at="7"), line, "created_at"),
        "a null": (with_stage(name=None), line, "name"),
        "a large number": (with_stage(created_at=2**63), line, "64 bits"),
        "U+0000": (with_stage(name="a\0b"), line, "U+0000"),
        "U+0000 in JSON": (with_stage(tags={"a": ["\0"]}), line, "U+0000"),
        "half of a character": (with_stage(name="\ud800"), line, "no row"),
        "a table that there is not": ([header, {"nodes": {}}, *rows, end], "line 2:", "nodes"),
        "no row": ([header, [], *rows, end], "line 2:", "no row"),
        "a secret of another key": ([header, *damaged, end], "line 2:", "secret"),
        "a newer schema": ([{**header, "schema": 99}, *rows, end], "line 1:", "schema 99"),
        "a newer format": ([{**header, "greenroomExport": 2}, *rows, end], "line 1:", "format 2"),
    }


@pytest.mark.parametrize("what", hostile([{}, {"stages": {}}, {}]))
def test_an_invalid_row_is_named_and_imports_nothing(store, exported, what):
    values, *said = hostile(lines(exported))[what]
    if what == "no row":
        values = [value if value != [] else {"": 0, "x": 0} for value in values]
    exported.write_text(backups.signed(values))
    refused(import_(store, exported), *said)
    assert nothing_in(store)


def test_a_file_that_is_not_an_export_is_refused(store, tmp_path):
    other = tmp_path / "other"
    for content in (b"", b"\n", b"\x28\xb5\x2f\xfd\x04\x58", b"{}", b"[" * 1_000_000, b"SQLite format 3\0"):
        other.write_bytes(content)
        refused(import_(store, other), "line 1: this is no export of greenroom", "compressed")
    assert nothing_in(store)


def test_a_wrong_export_key_and_a_wrong_master_key_have_different_errors(store, exported, new_store, stage_a_server, tmp_path):
    refused(import_(store, exported, key=OTHER_KEY), "another export key")
    for key in ("short", "!" * 44):
        ended = import_(store, exported, key=key)
        assert ended.returncode == 2 and "GREENROOM_EXPORT_KEY" in ended.stderr and key not in ended.stderr
    ended = import_(store, exported, key=None)
    assert ended.returncode == 2 and "--export-key" in ended.stderr
    source = new_store()
    stage_a_server(source).test_server.stop()
    ended = export(source, tmp_path / "other", OTHER_MASTER_KEY)
    assert "GREENROOM_MASTER_KEY" in ended.stderr and ended.returncode == 2
    assert not (tmp_path / "other").exists()


def test_export_does_not_create_a_missing_store(tmp_path, fresh_postgres, file):
    refused(export(f"sqlite://{tmp_path}/typo.db", file), "no greenroom store")
    refused(export(fresh_postgres(), file), "no greenroom store")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_unwritable_file_is_named(store, tmp_path):
    done(backups.run("migrate", "--database-url", store))
    ended = import_(store, tmp_path / "missing.jsonl")
    assert ended.returncode == 2 and "missing.jsonl" in ended.stderr
    refused(export(store, tmp_path / "no" / "folder"), "cannot write the export")
    refused(export(store, tmp_path), "not a regular file")
    refused(export(store, "/dev/null"), "/dev/null", "standard output")
