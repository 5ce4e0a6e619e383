"""Event patterns, compared with moto's implementation: one target per pattern."""

import json

from moto.events.models import EventPattern

from files import complete_lines
from receiver import log, status, until

PATTERNS = [
    {"source": ["aws.ivs"]},
    {"source": ["aws.s3", "aws.ivs"], "detail-type": ["IVS Stage Update"]},
    {"source": ["aws.s3"]},
    {"account": [{"prefix": "2"}], "region": ["us-east-1"]},
    {"detail-type": [{"suffix": "State Change"}]},
    {"detail-type": [{"prefix": {"equals-ignore-case": "ivs stage"}}]},
    {"detail-type": [{"suffix": {"equals-ignore-case": "UPDATE"}}]},
    {"detail-type": [{"equals-ignore-case": "ivs COMPOSITION state change"}]},
    {"detail-type": [{"anything-but": "IVS Stage Update"}]},
    {"detail": {"event_name": ["Token Exchanged", {"prefix": "Session"}]}},
    {"detail": {"event_name": [{"anything-but": ["Token Exchanged", "Participant Published"]}]}},
    {"detail": {"event_name": [{"anything-but": {"prefix": "Participant"}}]}},
    {"detail": {"event_name": [{"anything-but": {"suffix": "Published"}}]}},
    {"detail": {"event_name": [{"anything-but": {"wildcard": "*Un*"}}]}},
    {"detail": {"event_name": [{"wildcard": "Participant *ublished"}]}},
    {"detail": {"event_name": [{"wildcard": "*"}]}},
    {"detail": {"user_id": ["ada"]}},
    {"detail": {"user_id": [""]}},
    {"detail": {"user_id": [{"equals-ignore-case": "ADA"}, {"exists": False}]}},
    {"detail": {"user_id": [{"anything-but": "ada"}]}},
    {"detail": {"participant_id": [{"exists": True}]}},
    {"detail": {"participant_id": [{"exists": False}]}},
    {"detail": {"replica": [True]}},
    {"detail": {"replica": [{"exists": False}]}},
    {"detail": {"new_token": {"capabilities": ["SUBSCRIBE"]}}},
    {"detail": {"new_token": {"capabilities": ["PUBLISH"]}}},
    {"detail": {"new_token": {"user_id": [{"exists": False}]}}},
    {"detail": {"recording_duration_ms": [{"numeric": [">=", 0]}]}},
    {"detail": {"recording_duration_ms": [{"numeric": [">", 30000, "<", 90000]}]}},
    {"detail": {"recording_duration_ms": [60000]}},
    {"detail": {"error_code": ["BITRATE_EXCEEDED", None]}},
    {"resources": [{"wildcard": "arn:aws:ivs:*:composition/*"}]},
    {"resources": [{"anything-but": {"wildcard": "*:stage/*"}}]},
    {"$or": [{"detail": {"user_id": ["bob"]}}, {"detail-type": [{"wildcard": "*Composition*"}]}]},
    {"detail": {"$or": [{"user_id": ["ada"]}, {"event_name": ["Session Start"]}], "event_name": [{"prefix": "S"}]}},
    {"source": ["aws.ivs"], "$or": [{"region": ["nowhere"]}, {"account": ["nobody"]}]},
]


def test_every_target_gets_the_events_that_match_its_pattern(start_test_server, targets, tmp_path):
    path = tmp_path / "lines"
    path.mkdir()
    tables = {
        f"p{n}": {"type": "file", "path": str(path / str(n)), "pattern": pattern} for n, pattern in enumerate(PATTERNS)
    }
    server = start_test_server("--events-config", targets(**tables))
    tenant = server.tenant()
    stage, other = tenant.stage(), tenant.stage()
    _, ada = tenant.publish(stage, userId="ada")
    _, bob = tenant.publish(stage, userId="bob")
    tenant.publish(other)
    tenant.act("error", stage, bob, event="PUBLISH_ERROR", code="BITRATE_EXCEEDED")
    tenant.act("exchange", stage, ada, userId="ada", capabilities=["SUBSCRIBE"])
    recording = {"bucket": "b", "prefix": "p"}
    tenant.act("recording", stage, bob, state="ACTIVE", **recording)
    tenant.composition(stage)
    tenant.ivs.start_participant_replication(sourceStageArn=stage, destinationStageArn=other, participantId=bob)
    tenant.advance(60)
    tenant.act("recording", stage, bob, state="STOPPED", **recording)
    tenant.act("unpublish", stage, ada)
    tenant.advance(600)
    logged_events = log(server)
    assert len(logged_events) >= 12
    for n, pattern in enumerate(PATTERNS):
        reference = EventPattern.load(json.dumps(pattern))
        expected = [event for event in logged_events if reference.matches_event(event)]
        until(lambda n=n: status(server, f"p{n}")["lagEvents"] == 0)
        file = path / str(n)
        received = [json.loads(line) for line in complete_lines(file)] if file.exists() else []
        assert received == expected, pattern
