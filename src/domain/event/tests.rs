//! Every detail against the shape that AWS publishes.

use super::*;
use crate::domain::composition::{Course, Durations, History, Progress};
use crate::domain::participant::Participant;
use crate::domain::recording::{Recording, RecordingPlan, RecordingReport as Report};
use crate::domain::stage_state::SessionId;
use crate::model::token::ParticipantTokenCapability;
use serde_json::{Value, json};
use std::time::Duration;

/// 2026-03-04T05:06:07.089Z
const NOW: Timestamp = Timestamp(1_772_600_767_089);

fn scope() -> Scope {
    Scope { account: "123456789012".into(), region: "eu-west-1".into() }
}

fn context(scope: &Scope) -> EventContext<'_> {
    EventContext { scope, stage: "Stage1", session: "st-Session1" }
}

const SUBJECT: Subject<'static> = Subject { id: "Anna1", user_id: "anna", source: None };

fn arn(kind: &str, id: &str) -> String {
    format!("arn:aws:ivs:eu-west-1:123456789012:{kind}/{id}")
}

/// The outbox events of some events, in JSON; checks what all have in common.
fn outbox_events(subject: Subject<'_>, events: &[Event], extended: bool) -> Vec<Value> {
    let scope = scope();
    let all = of_participant(context(&scope), subject, events, extended);
    let detail = |event: OutboxEvent| {
        assert_eq!((event.resource, event.at), (arn("stage", "Stage1"), NOW));
        let detail = serde_json::to_value(event.detail).unwrap();
        let of_aws = ["Published", "Unpublished", "Publish Error", "Replication Start", "Replication End"];
        let name = detail["event_name"].as_str().unwrap();
        let of_aws = name == "Token Exchanged" || of_aws.contains(&name.trim_start_matches("Participant "));
        assert_eq!(event.detail_type, if of_aws { "IVS Stage Update" } else { "Greenroom Stage Update" }, "{name}");
        detail
    };
    all.into_iter().map(detail).collect()
}

/// The members that every event of a participant has, and `more`.
fn expected(name: &str, more: Value) -> Value {
    let mut all = json!({
        "session_id": "st-Session1", "event_name": name, "user_id": "anna", "participant_id": "Anna1",
        "event_time": "2026-03-04T05:06:07Z", "event_time_precise": "2026-03-04T05:06:07.089000Z",
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

fn anna() -> Participant {
    Participant::first_join("Anna1", false, NOW).0
}

#[test]
fn events_of_publishing_are_those_of_aws() {
    let (publishing, started) = anna().publish(NOW).unwrap();
    let (_, stopped) = publishing.unpublish(NOW).unwrap();
    assert_eq!(outbox_events(SUBJECT, &started, false), [expected("Participant Published", json!({}))]);
    assert_eq!(outbox_events(SUBJECT, &stopped, false), [expected("Participant Unpublished", json!({}))]);
    let (_, failed) = anna().fail(EventName::PublishError, EventErrorCode::BitrateExceeded, None, NOW);
    let error = expected("Participant Publish Error", json!({"error_code": "BITRATE_EXCEEDED"}));
    assert_eq!(outbox_events(SUBJECT, &failed, false), [error]);
}

#[test]
fn a_replica_says_where_it_comes_from() {
    let (replica, _) = Participant::first_join("Anna1", true, NOW);
    let (_, events) = replica.publish(NOW).unwrap();
    let subject = Subject { source: Some(("Origin1", "st-Origin1")), ..SUBJECT };
    let more = json!({
        "replica": true, "source_stage_arn": arn("stage", "Origin1"), "source_session_id": "st-Origin1",
    });
    assert_eq!(outbox_events(subject, &events, false), [expected("Participant Published", more)]);
}

#[test]
fn a_replication_says_where_it_goes() {
    for (event, name) in [
        (EventName::ReplicationStarted, "Participant Replication Start"),
        (EventName::ReplicationStopped, "Participant Replication End"),
    ] {
        let stage = StageArn(arn("stage", "Other1"));
        let (_, events) = anna().replicated(event, stage, StageSessionId("st-Other1".into()), NOW);
        let more = json!({"destination_stage_arn": arn("stage", "Other1"), "destination_session_id": "st-Other1"});
        assert_eq!(outbox_events(SUBJECT, &events, false), [expected(name, more)]);
    }
}

#[test]
fn an_exchange_says_what_the_tokens_said() {
    let token = |user: &str, capabilities: &[ParticipantTokenCapability]| ExchangedParticipantToken {
        capabilities: Some(ParticipantTokenCapabilities(capabilities.to_vec())),
        attributes: Some(ParticipantTokenAttributes([("seat".to_owned(), user.to_owned())].into())),
        user_id: Some(user.into()),
        expiration_time: Some(Timestamp(1_772_604_367_000).into()),
    };
    let both = ParticipantTokenCapability::ALL;
    let (_, events) = anna().exchange(token("before", both), token("anna", &both[1..]), NOW).unwrap();
    let shown = |user: &str, capabilities: &[&str]| {
        json!({
            "capabilities": capabilities, "attributes": {"seat": user}, "user_id": user,
            "expiration_time": "2026-03-04T06:06:07Z",
        })
    };
    let more = json!({
        "previous_token": shown("before", &["PUBLISH", "SUBSCRIBE"]), "new_token": shown("anna", &["SUBSCRIBE"]),
    });
    assert_eq!(outbox_events(SUBJECT, &events, false), [expected("Token Exchanged", more)]);
}

#[test]
fn extended_events_are_those_that_aws_does_not_have() {
    let (joined, mut events) = Participant::first_join("Anna1", false, NOW);
    let (subscribed, more) = joined.subscribe("Bert1", false, NOW).unwrap();
    events.extend(more);
    for (event, remote) in [(EventName::JoinError, None), (EventName::SubscribeError, Some("Carl1"))] {
        events.extend(subscribed.clone().fail(event, EventErrorCode::QuotaExceeded, remote, NOW).1);
    }
    let (subscribed, more) = subscribed.publish(NOW).unwrap();
    events.extend(more);
    events.extend(subscribed.leave(NOW).unwrap().1);
    let names = |extended| {
        let name = |event: Value| event["event_name"].as_str().unwrap().to_owned();
        outbox_events(SUBJECT, &events, extended).into_iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(false), ["Participant Published", "Participant Unpublished"]);
    let all = [
        "Participant Joined",
        "Participant Subscribed",
        "Participant Join Error",
        "Participant Subscribe Error",
        "Participant Published",
        "Participant Unsubscribed",
        "Participant Unpublished",
        "Participant Left",
    ];
    assert_eq!(names(true), all);
    let seen = outbox_events(SUBJECT, &events, true);
    assert_eq!(seen[1], expected("Participant Subscribed", json!({"remote_participant_id": "Bert1"})));
    let error = json!({"remote_participant_id": "Carl1", "error_code": "QUOTA_EXCEEDED"});
    assert_eq!(seen[3], expected("Participant Subscribe Error", error));
}

#[test]
fn events_of_a_session_have_no_participant() {
    let scope = scope();
    for (event, name) in [
        (of_session_start(context(&scope), NOW), "Session Started"),
        (of_session_end(context(&scope), NOW), "Session Ended"),
    ] {
        let mut expected = expected(name, json!({}));
        expected.as_object_mut().unwrap().retain(|member, _| member != "user_id" && member != "participant_id");
        assert_eq!(event.detail_type, "Greenroom Stage Update");
        assert_eq!(serde_json::to_value(event.detail).unwrap(), expected);
    }
}

/// The outbox events of a recording of which these reports are made, a second each.
fn recorded(reports: &[Report]) -> Vec<Value> {
    let scope = scope();
    let [id, storage, bucket, connection, node] = ["r", "s", "films", "c", "n"].map(str::to_owned);
    let plan = RecordingPlan { id, storage, bucket, config: crate::domain::stage::recording(None), connection, node };
    let session = SessionId { stage: "Stage1".into(), session: "st-Session1".into() };
    let (mut recording, mut seen) = (Recording::new(plan, &session, "Anna1", None, NOW), Vec::new());
    for (n, report) in reports.iter().enumerate() {
        let at = Timestamp(NOW.0 + 1000 * n as i64);
        let event;
        (recording, event) = recording.apply(report.clone(), at);
        seen.extend(event.map(|event| {
            let event = of_recording(&scope, &recording, event, at);
            assert_eq!(event.detail_type, "IVS Participant Recording State Change");
            assert_eq!((event.resource, event.at), (arn("stage", "Stage1"), at));
            serde_json::to_value(event.detail).unwrap()
        }));
    }
    seen
}

#[test]
fn a_recording_has_events_of_its_start_end_and_failure() {
    let event = |name: &str, more: Value| {
        let mut all = json!({
            "session_id": "st-Session1", "event_name": name, "participant_id": "Anna1",
            "recording_s3_bucket_name": "films",
            "recording_s3_key_prefix": "Stage1/st-Session1/Anna1/2026-03-04T05-06-07Z",
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let failed = || Report::Failed {
        failure: Failure { error_code: "AccessDenied".into(), reason: "Access Denied".into() },
        duration_ms: 2000,
    };
    let started = Report::Started { at: NOW };
    let start = event("Recording Start", json!({}));
    let failure = json!({"error_code": "AccessDenied", "reason": "Access Denied"});
    let end = event("Recording End", json!({"recording_duration_ms": 1234}));
    let ended = Report::Ended { duration_ms: 1234 };
    assert_eq!(recorded(&[started.clone(), Report::Unpublished, ended]), [start.clone(), end]);
    assert_eq!(recorded(&[failed()]), [event("Recording Start Failure", failure.clone())]);
    let mut late = failure;
    late["recording_duration_ms"] = json!(2000);
    assert_eq!(recorded(&[started, Report::Unpublished, failed()]), [start, event("Recording End Failure", late)]);
}

fn course(stopping_at: i64) -> Course {
    let second = Duration::from_secs(1);
    let durations =
        Durations { start: 2 * second, idle: 60 * second, most: 3600 * second, stop: second, retention: 300 * second };
    let history =
        History { started_at: Timestamp(0), stopping_at: Some(Timestamp(stopping_at * 1000)), quiet_since: None };
    history.course(&durations)
}

/// The outbox events of a composition with two destinations: second, name, destination, error.
fn composed(
    course: &Course,
    error: Option<CompositionError>,
    from: Progress,
    to: Progress,
) -> Vec<(i64, String, String, Value)> {
    let scope = scope();
    let composition = Composition { scope: &scope, id: "Compo1", stage: "Stage1", error };
    let all = of_composition(composition, &["Dest1", "Dest2"], course, from, to);
    let shown = |event: OutboxEvent| {
        assert_eq!(event.detail_type, "IVS Composition State Change");
        assert_eq!(event.resource, arn("composition", "Compo1"));
        let mut detail = serde_json::to_value(event.detail).unwrap();
        let mut take = |member: &str| detail.as_object_mut().unwrap().remove(member);
        assert_eq!(take("stage_arn").unwrap(), arn("stage", "Stage1"));
        let name = take("event_name").unwrap().as_str().unwrap().to_owned();
        let id = take("id").map(|id| id.as_str().unwrap().to_owned()).unwrap_or_default();
        (event.at.0 / 1000, name, id, detail)
    };
    all.into_iter().map(shown).collect()
}

fn event(at: i64, name: &str, id: &str) -> (i64, String, String, Value) {
    (at, name.to_owned(), id.to_owned(), json!({}))
}

#[test]
fn a_composition_tells_of_its_start_its_destinations_and_its_end() {
    let course = course(10);
    let start =
        [event(2, "Session Start", ""), event(2, "Destination Start", "Dest1"), event(2, "Destination Start", "Dest2")];
    let ends = [event(11, "Destination End", "Dest1"), event(11, "Destination End", "Dest2")];
    let end = event(11, "Session End", "");
    assert_eq!(composed(&course, None, Progress::Requested, Progress::Started), start);
    assert_eq!(composed(&course, None, Progress::Started, Progress::Started), []);
    assert_eq!(
        composed(&course, None, Progress::Started, Progress::Ended),
        [&ends[..], std::slice::from_ref(&end)].concat()
    );
    assert_eq!(composed(&course, None, Progress::Ended, Progress::Gone), []);
    let all = [&start[..], &ends, &[end]].concat();
    assert_eq!(composed(&course, None, Progress::Requested, Progress::Gone), all, "late, but all of it");
    let failed = composed(&course, Some(CompositionError::StageDeleted), Progress::Started, Progress::Ended);
    assert_eq!(failed[..2], ends);
    let why = json!({"error_code": "StageDeleted", "reason": "Stage has been deleted"});
    assert_eq!(failed[2], (11, "Session Failure".to_owned(), String::new(), why));
}

#[test]
fn a_composition_that_was_stopped_before_it_started_tells_only_of_its_end() {
    let course = course(1);
    assert_eq!(composed(&course, None, Progress::Requested, Progress::Ended), [event(2, "Session End", "")]);
}

#[test]
fn a_course_goes_on_to_its_end_and_its_times_are_those_of_its_progress() {
    for stopping_at in [0, 1, 2, 10] {
        let course = course(stopping_at);
        let mut progress = Progress::Requested;
        let mut at = Timestamp(0);
        while progress < Progress::Gone {
            let next = course.after(progress);
            assert!(next >= at);
            assert_eq!(course.progress(Timestamp(next.0 - 1)), progress, "not before its time");
            let then = course.progress(next);
            assert!(then > progress, "{course:?}");
            assert_eq!(Progress::parse(then.number()), Some(then));
            (progress, at) = (then, next);
        }
        assert_eq!(at, course.gone_at);
    }
}
