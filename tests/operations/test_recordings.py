"""Recordings: `greenroom recordings`, and the endpoints that list and play them."""

import json
import subprocess
from urllib.parse import quote

import pytest

from recordings import FIXTURES, add_recording
from server import MASTER_KEY, run

PATH = "/_greenroom/recordings"


@pytest.fixture(scope="module")
def server(start_server, new_file):
    return start_server(new_file())


@pytest.fixture
def tenant(server):
    return server.tenant()


@pytest.fixture
def stage(tenant):
    return tenant.stage()


def recordings(server, verb, *arguments):
    return run("recordings", verb, *arguments, "--database-url", server.database, GREENROOM_MASTER_KEY=MASTER_KEY)


def read_json(server, verb, *arguments):
    ended = recordings(server, verb, *arguments, "--output", "json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def listed(server, tenant, stage, **parameters):
    query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in ({"stageArn": stage} | parameters).items())
    return server.wire(tenant.account, tenant.region).send("GET", f"{PATH}?{query}")


def played(server, tenant, path, **headers):
    return server.wire(tenant.account).send("GET", path, headers=headers, signed=False)


def playback_folder(server, tenant, stage):
    """The path of the first recording's objects, with the token in it."""
    answer = listed(server, tenant, stage)
    assert answer.status == 200, answer
    return answer.json["recordings"][0]["playback"]["path"].removesuffix("media/hls/multivariant.m3u8")


def test_recordings_are_listed_by_stage_participant_and_state_in_pages(server, tenant, stage):
    for number in range(5):
        failed = {"state": "FAILED", "error_code": "NoSuchBucket", "reason": "The bucket\x1b[2J is missing"} if number == 4 else {}
        created_at = 1767323045000 + number
        columns = {"participant_id": f"p{number % 2}", "created_at": created_at, **failed}
        add_recording(tenant, server.database, stage, f"page{number}", fixture=None, **columns)

    def ids(*arguments):
        return [one["id"] for one in read_json(server, "list", "--stage", stage, *arguments)["recordings"]]

    assert ids() == ["page4", "page3", "page2", "page1", "page0"]
    assert ids("--participant", "p1") == ["page3", "page1"]
    assert ids("--state", "failed") == ["page4"]
    first = read_json(server, "list", "--stage", stage.rpartition("/")[2], "--limit", "2")
    assert ids("--limit", "3", "--after", first["next"]) == ["page2", "page1", "page0"]
    text = recordings(server, "list", "--stage", stage, "--limit", "1").stdout
    assert text.startswith("page4  FAILED  ") and "NoSuchBucket" in text and "More: --after " in text
    shown = recordings(server, "show", "page4").stdout
    assert "NoSuchBucket: The bucket\\u{1b}[2J is missing" in shown and "\x1b" not in shown


def test_a_recording_is_shown_with_its_gaps_size_and_place(server, tenant, stage):
    folder = add_recording(tenant, server.database, stage, "shown", fixture="parts")
    shown = read_json(server, "show", "shown")
    assert shown["location"] == str(folder) and shown["state"] == "STOPPED"
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert shown["objects"]["count"] == len(files)
    assert shown["objects"]["bytes"] == sum(file.stat().st_size for file in files)
    playlist = shown["objects"]["playlist"]
    assert (playlist["durationMs"], playlist["discontinuities"], playlist["isClosed"]) == (3000, 1, True)
    assert [gap["milliseconds"] for gap in playlist["gaps"]] == [2500]
    text = recordings(server, "show", "shown").stdout
    assert "gap           0:00:02.500 from 2026-01-02T03:04:07.000Z on, before 2.mp4" in text
    missing = recordings(server, "show", "none")
    assert missing.returncode == 1 and "there is no recording none" in missing.stderr


def test_verify_reports_errors_with_exit_code_1(server, tenant, stage):
    folder = add_recording(tenant, server.database, stage, "verified")
    good = read_json(server, "verify", "verified")
    assert good["findings"] == [] and good["summary"]["durationMs"] == 3000
    segment = folder / "media/hls/high/1.mp4"
    segment.write_bytes(segment.read_bytes()[:1000])
    for recording in ("verified", str(folder)):
        damaged = recordings(server, "verify", recording)
        assert damaged.returncode == 1 and "the recording has " in damaged.stderr
        assert "error: media/hls/high/1.mp4, byte" in damaged.stdout


def test_verify_reads_a_folder_without_a_store():
    good = run("recordings", "verify", str(FIXTURES / "plain"), GREENROOM_DATABASE_URL="sqlite:///nowhere/greenroom.db")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith("0:00:03.000, 3 segments, 0 discontinuities")
    missing = run("recordings", "verify", "/nowhere/recording")
    assert missing.returncode == 1 and "/nowhere/recording" in missing.stderr


def test_export_makes_one_file_and_overwrites_none(server, tenant, stage, tmp_path, ffmpeg):
    add_recording(tenant, server.database, stage, "exported", fixture="parts")
    file = tmp_path / "recording.mp4"
    exported = read_json(server, "export", "exported", "-o", str(file))
    assert exported["bytes"] == file.stat().st_size and exported["parts"] == 2
    decoded = subprocess.run([ffmpeg, "-v", "error", "-i", file, "-f", "null", "-"], capture_output=True, text=True)
    assert (decoded.returncode, decoded.stderr) == (0, "")
    again = recordings(server, "export", "exported", "-o", str(file))
    assert again.returncode == 2 and "File exists" in again.stderr
    assert exported["bytes"] == file.stat().st_size


def test_a_failed_export_leaves_no_file(server, tenant, stage, tmp_path):
    folder = add_recording(tenant, server.database, stage, "unexported")
    (folder / "media/hls/high/1.mp4").unlink()
    failed = recordings(server, "export", "unexported", "-o", str(tmp_path / "recording.mp4"))
    assert failed.returncode == 1 and "media/hls/high/1.mp4 is missing" in failed.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def ffmpeg():
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


# Playback


def test_the_list_is_authorized_as_the_api_is(server, tenant, stage):
    add_recording(tenant, server.database, stage, "listed")
    [recording] = listed(server, tenant, stage).json["recordings"]
    assert (recording["id"], recording["state"], recording["durationMs"]) == ("listed", "STOPPED", 3000)
    unsigned = server.wire(tenant.account).send("GET", f"{PATH}?stageArn={quote(stage)}", signed=False)
    assert (unsigned.status, unsigned.fault) == (403, "MissingAuthenticationTokenException")
    other = server.tenant()
    assert listed(server, other, stage).status == 404
    assert listed(server, tenant, "x").fault == "ValidationException"
    assert listed(server, tenant, stage, state="ACTIVE").json == {"recordings": [], "next": None}


def test_objects_are_served_with_types_ranges_and_tags(server, tenant, stage):
    folder = add_recording(tenant, server.database, stage, "played")
    root = playback_folder(server, tenant, stage)
    for path, kind, caching in [
        ("media/hls/multivariant.m3u8", "application/vnd.apple.mpegurl", "private, no-cache"),
        ("media/hls/high/0.mp4", "video/mp4", "private, max-age=86400, immutable"),
        ("events/recording-ended.json", "application/json", "private, no-cache"),
    ]:
        answer = played(server, tenant, root + path)
        assert (answer.status, answer.body) == (200, (folder / path).read_bytes())
        assert (answer.headers["content-type"], answer.headers["cache-control"]) == (kind, caching)
        assert answer.headers["x-content-type-options"] == "nosniff"
        known = played(server, tenant, root + path, **{"if-none-match": answer.headers["etag"]})
        assert (known.status, known.body) == (304, b"")
    segment = (folder / "media/hls/high/0.mp4").read_bytes()
    part = played(server, tenant, root + "media/hls/high/0.mp4", range="bytes=10-19")
    assert (part.status, part.body) == (206, segment[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(segment)}"
    beyond = played(server, tenant, root + "media/hls/high/0.mp4", range=f"bytes={len(segment)}-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(segment)}")


def test_a_url_gives_access_to_one_recording_only(server, tenant, stage):
    add_recording(tenant, server.database, stage, "alone")
    root = playback_folder(server, tenant, stage)
    for path in (
        "media/hls/high/9.mp4",
        "media/../../../../greenroom.db",
        "media/%2e%2e/%2e%2e/greenroom.db",
        "events/",
        "",
        "greenroom.db",
    ):
        answer = played(server, tenant, root + path)
        assert answer.status in (400, 404), (path, answer)
    token = root.split("/")[3]
    for forged in (token[:-2] + "AA", "A" * len(token), "x"):
        answer = played(server, tenant, f"{PATH}/{forged}/media/hls/multivariant.m3u8")
        assert (answer.status, answer.fault) == (403, "AccessDeniedException"), answer
    # The URL is a secret: no log has it.
    assert token not in "\n".join(line for line in server.test_server.log_lines() if "greenroom" in line)


def test_a_policy_must_allow_playback(server, tenant, stage, tmp_path):
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "ivs:ListStages", "Resource": "*"}]}))
    made = server.credentials("create", "--account", tenant.account, "--policy", str(policy))
    wire = server.wire(made["accessKeyId"], secret=made["secretAccessKey"])
    answer = wire.send("GET", f"{PATH}?stageArn={quote(stage, safe='')}")
    assert (answer.status, answer.fault) == (403, "AccessDeniedException")
    assert "ivs:PlayRecordings" in answer.text
