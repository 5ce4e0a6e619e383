//! Recordings start and stop with publications, and follow what a recorder reports.

use crate::cluster::{Node, START, from_json, on_each_engine, on_postgres, scope, verified};
use crate::replicas::replicate;
use greenroom::app::recordings::{self, OpenRecording, Owner, Reported};
use greenroom::app::{connections, nodes, stages, storage_configurations};
use greenroom::clock::Timestamp;
use greenroom::domain::admission::Intent;
use greenroom::domain::event::Failure;
use greenroom::domain::recording::{Recording, RecordingReport as Report};
use greenroom::model::participant::ParticipantRecordingState as State;
use greenroom::model::stage::StageArn;
use serde_json::{Value, json};

/// A stage that records to the bucket `films`; returns its id.
pub async fn recording_stage(node: &Node, more: Value) -> String {
    let input = from_json(json!({"name": "storage", "s3": {"bucketName": "films"}}));
    let storage = storage_configurations::create(node.ctx(), input).await.unwrap().storage_configuration.unwrap();
    let stage = node.stage().await;
    let mut recording = json!({"storageConfigurationArn": storage.arn});
    recording.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let arn = StageArn::new(&scope(), &stage);
    let input = from_json(json!({"arn": arn, "autoParticipantRecordingConfiguration": recording}));
    stages::update(node.ctx(), input).await.unwrap();
    stage
}

async fn open(node: &Node) -> Vec<OpenRecording> {
    recordings::open(&node.0).await.unwrap()
}

/// The only recording that has not ended.
async fn only(node: &Node) -> Recording {
    let mut open = open(node).await;
    assert_eq!(open.len(), 1, "{open:?}");
    open.remove(0).recording
}

async fn report(node: &Node, recording: &Recording, report: Report) -> Reported {
    recordings::report(&node.0, &scope(), recording, report).await.unwrap()
}

async fn state(node: &Node, stage: &str, participant: &str) -> (State, String) {
    let row = node.participant(stage, participant).await;
    (row.recording_state, row.recording_prefix.unwrap_or_default())
}

async fn event_names(node: &Node, stage: &str) -> Vec<String> {
    let names = node.log_of(stage).await.into_iter().map(|entry| entry.name().to_owned());
    names.filter(|name| name.starts_with("Recording")).collect()
}

#[tokio::test]
async fn a_publication_is_recorded_from_its_start_to_the_report_of_its_end() {
    on_each_engine(&[], async |cluster, node| {
        let stage = recording_stage(&node, json!({})).await;
        let a = verified(&node, &stage, "a");
        node.run(&a, Intent::Publish, "pa").await;
        let session = node.sessions(&stage).await[0].0.clone();
        let recording = only(&node).await;
        let prefix = format!("{stage}/{session}/a/2026-01-01T00-00-00Z");
        assert_eq!((&*recording.prefix, &*recording.bucket, &*recording.connection), (&*prefix, "films", "pa"));
        assert_eq!(state(&node, &stage, "a").await, (State::Starting, prefix.clone()));
        assert!(event_names(&node, &stage).await.is_empty());
        report(&node, &recording, Report::Started { at: START }).await;
        assert_eq!(state(&node, &stage, "a").await, (State::Active, prefix.clone()));
        cluster.advance(5, &[&node]).await;
        node.ended(&a, "pa").await;
        assert_eq!(state(&node, &stage, "a").await, (State::Stopping, prefix.clone()));
        // The session ends before the recording does.
        cluster.advance(100, &[&node]).await;
        assert!(node.sessions(&stage).await[0].2.is_some());
        report(&node, &recording, Report::Ended { duration_ms: 4321 }).await;
        assert_eq!(state(&node, &stage, "a").await, (State::Stopped, prefix.clone()));
        assert!(open(&node).await.is_empty());
        assert_eq!(event_names(&node, &stage).await, ["Recording Start", "Recording End"]);
        let log = node.log_of(&stage).await;
        let detail = &log.last().unwrap().body["detail"];
        assert_eq!(detail["recording_duration_ms"], 4321);
        assert_eq!((&detail["recording_s3_key_prefix"], &detail["session_id"]), (&json!(prefix), &json!(session)));
    })
    .await;
}

#[tokio::test]
async fn a_recording_that_cannot_start_fails_and_the_publication_goes_on() {
    on_each_engine(&[], async |_, node| {
        let stage = recording_stage(&node, json!({"recordingReconnectWindowSeconds": 60})).await;
        let a = verified(&node, &stage, "a");
        node.run(&a, Intent::Publish, "pa").await;
        let recording = only(&node).await;
        let failure = Failure { error_code: "NoSuchBucket".into(), reason: "It does not exist.".into() };
        report(&node, &recording, Report::Failed { failure, duration_ms: 0 }).await;
        assert_eq!(state(&node, &stage, "a").await.0, State::Failed);
        assert!(node.participant(&stage, "a").await.publishing);
        node.ended(&a, "pa").await;
        assert_eq!(event_names(&node, &stage).await, ["Recording Start Failure"]);
        let log = node.log_of(&stage).await;
        let detail = log.iter().find(|entry| entry.name() == "Recording Start Failure").unwrap().body["detail"].clone();
        assert_eq!((&detail["error_code"], &detail["reason"]), (&json!("NoSuchBucket"), &json!("It does not exist.")));
        assert!(detail.get("recording_duration_ms").is_none(), "{detail}");
        // A recording that has failed is not continued.
        node.run(&a, Intent::Publish, "pb").await;
        assert_ne!(only(&node).await.prefix, recording.prefix);
    })
    .await;
}

#[tokio::test]
async fn a_publication_within_the_reconnect_window_has_the_same_prefix_and_one_end() {
    on_each_engine(&["--session-end-seconds", "0"], async |cluster, node| {
        let stage = recording_stage(&node, json!({"recordingReconnectWindowSeconds": 60})).await;
        let a = verified(&node, &stage, "a");
        node.run(&a, Intent::Publish, "pa").await;
        let first = only(&node).await;
        report(&node, &first, Report::Started { at: START }).await;
        node.ended(&a, "pa").await;
        let session = node.sessions(&stage).await[0].0.clone();
        cluster.advance(60, &[&node]).await;
        node.run(&a, Intent::Publish, "pb").await;
        let second = only(&node).await;
        assert_eq!((&second.id, &second.prefix, &*second.connection), (&first.id, &first.prefix, "pb"));
        assert_ne!(second.current_session, session, "the first session has ended");
        assert_eq!(state(&node, &stage, "a").await, (State::Starting, first.prefix.clone()));
        assert_eq!(node.participants_of(&stage, &session).await[0].recording_state, State::Stopped);
        report(&node, &second, Report::Started { at: START }).await;
        node.ended(&a, "pb").await;
        report(&node, &second, Report::Ended { duration_ms: 1 }).await;
        assert_eq!(event_names(&node, &stage).await, ["Recording Start", "Recording End"]);
        assert_eq!(node.log_of(&stage).await.last().unwrap().session(), second.current_session);
        node.run(&a, Intent::Publish, "pc").await;
        assert_ne!(only(&node).await.prefix, first.prefix, "a recording that has ended is not continued");
    })
    .await;
}

#[tokio::test]
async fn replicas_are_recorded_in_their_stage_unless_it_says_otherwise() {
    on_each_engine(&[], async |_, node| {
        let source = node.stage().await;
        let recorded = recording_stage(&node, json!({})).await;
        let other = recording_stage(&node, json!({"recordParticipantReplicas": false})).await;
        let a = verified(&node, &source, "a");
        node.run(&a, Intent::Publish, "pa").await;
        assert!(open(&node).await.is_empty());
        replicate(&node, "a", &source, &recorded, 0).await.unwrap();
        replicate(&node, "a", &source, &other, 0).await.unwrap();
        let recording = only(&node).await;
        assert_eq!((&*recording.session.stage, &*recording.connection), (&*recorded, "pa"));
        node.ended(&a, "pa").await;
        assert_eq!(only(&node).await.state, State::Stopping);
    })
    .await;
}

#[tokio::test]
async fn simulated_participants_are_not_recorded() {
    on_each_engine(&[], async |_, node| {
        let stage = recording_stage(&node, json!({})).await;
        let a = verified(&node, &stage, "a");
        node.run(&a, Intent::Publish, &connections::simulated_id(&node.0)).await;
        assert!(open(&node).await.is_empty());
        assert_eq!(node.participant(&stage, "a").await.recording_state, State::Disabled);
    })
    .await;
}

#[tokio::test]
async fn a_recording_outlives_its_stage() {
    on_each_engine(&[], async |_, node| {
        let stage = recording_stage(&node, json!({"recordingReconnectWindowSeconds": 60})).await;
        node.run(&verified(&node, &stage, "a"), Intent::Publish, "pa").await;
        let recording = only(&node).await;
        report(&node, &recording, Report::Started { at: START }).await;
        node.delete(&stage).await.unwrap();
        assert_eq!(only(&node).await.state, State::Stopping);
        let Reported::Written(after, Some(_)) = report(&node, &recording, Report::Ended { duration_ms: 1 }).await
        else {
            panic!("it has ended");
        };
        assert_eq!(after.state, State::Stopped);
        assert_eq!(event_names(&node, &stage).await, ["Recording Start", "Recording End"]);
    })
    .await;
}

#[tokio::test]
async fn another_node_takes_over_what_a_dead_node_recorded() {
    on_postgres(&[], async |cluster, one| {
        let two = cluster.node("http://two").await;
        let stage = recording_stage(&one, json!({"recordingReconnectWindowSeconds": 300})).await;
        one.run(&verified(&one, &stage, "a"), Intent::Publish, "pa").await;
        let recording = only(&one).await;
        report(&one, &recording, Report::Started { at: START }).await;
        assert_eq!(open(&two).await[0].owner, Owner::OtherNode);
        assert!(!recordings::claim(&two.0, &scope(), &recording.id).await.unwrap(), "its node is alive");
        cluster.advance_with_heartbeats(60, &[&two]).await;
        let open = open(&two).await.remove(0);
        assert_eq!((open.owner, open.recording.state), (Owner::None, State::Stopping));
        assert!(recordings::claim(&two.0, &scope(), &recording.id).await.unwrap());
        let lost = report(&one, &recording, Report::Ended { duration_ms: 1 }).await;
        assert!(matches!(lost, Reported::Lost), "{lost:?}");
        let written = report(&two, &recording, Report::Ended { duration_ms: 2 }).await;
        assert!(matches!(written, Reported::Written(_, Some(_))), "{written:?}");
        assert_eq!(event_names(&two, &stage).await, ["Recording Start", "Recording End"]);
    })
    .await;
}

#[tokio::test]
async fn a_node_that_stops_releases_its_recordings() {
    on_each_engine(&[], async |_, node| {
        let stage = recording_stage(&node, json!({"recordingReconnectWindowSeconds": 300})).await;
        let a = verified(&node, &stage, "a");
        node.run(&a, Intent::Publish, "pa").await;
        nodes::deregister(&node.0).await.unwrap();
        let open = open(&node).await.remove(0);
        assert_eq!((open.owner, open.recording.state), (Owner::None, State::Stopping));
        assert_eq!(open.recording.resume_until, Some(Timestamp(START.0 + 300_000)));
    })
    .await;
}
