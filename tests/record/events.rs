//! Events in the outbox and the log: atomic with their change, in order, exactly once.

use crate::cluster::{Node, START, code, on_each_engine, on_postgres, scope, subscribe, verified};
use crate::log::Entry;
use crate::participants;
use crate::replicas::replicate;
use greenroom::app::{connections, event_log, outbox, retry};
use greenroom::domain::admission::{Intent, SignalingErrorCode};
use greenroom::domain::event::Failure;
use greenroom::domain::participant::CurrentToken;
use greenroom::domain::stage_state::ParticipantCommand;
use greenroom::model::participant::{ParticipantAttributes, ParticipantRecordingState};
use greenroom::model::stage::StageArn;
use greenroom::model::token::ParticipantTokenCapability;
use greenroom::store::Leased;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const DAY: u64 = 24 * 3600;

async fn act(node: &Node, stage: &str, participant: &str, command: ParticipantCommand) {
    let arn = StageArn::new(&scope(), stage);
    let ctx = node.ctx();
    retry(|| participants::act(&ctx, &arn, participant, command.clone())).await.unwrap();
}

/// The events of a stage: second, name and participant.
async fn events_of(node: &Node, stage: &str) -> Vec<String> {
    let shown = |entry: Entry| format!("{} {} {}", entry.second(), entry.name(), entry.participant());
    node.log_of(stage).await.into_iter().map(|entry| shown(entry).trim_end().to_owned()).collect()
}

#[tokio::test]
async fn extended_events_are_in_order() {
    on_each_engine(&["--extended-events"], async |cluster, node| {
        let stage = node.stage().await;
        let [a, b] = ["a", "b"].map(|id| verified(&node, &stage, id));
        node.run(&a, Intent::Publish, "pa").await;
        cluster.advance(5, &[&node]).await;
        node.run(&b, subscribe("a"), "sb").await;
        cluster.advance(5, &[&node]).await;
        node.ended(&b, "sb").await;
        node.ended(&a, "pa").await;
        cluster.advance(600, &[&node]).await;
        let all = [
            "0 Session Started",
            "0 Participant Joined a",
            "0 Participant Published a",
            "5 Participant Joined b",
            "5 Participant Subscribed b",
            "10 Participant Unsubscribed b",
            "10 Participant Left b",
            "10 Participant Unpublished a",
            "10 Participant Left a",
            "70 Session Ended",
        ];
        assert_eq!(events_of(&node, &stage).await, all);
        assert_eq!(node.log_of(&stage).await[0].session(), node.sessions(&stage).await[0].0);
    })
    .await;
}

#[tokio::test]
async fn without_extended_events_only_aws_events_are_emitted() {
    on_each_engine(&["--session-end-seconds", "0"], async |_, node| {
        let stage = node.stage().await;
        let [a, mut b] = ["a", "b"].map(|id| verified(&node, &stage, id));
        b.capabilities.0.retain(|capability| *capability == ParticipantTokenCapability::Subscribe);
        node.run(&a, Intent::Publish, "pa").await;
        node.open(&b, Intent::Events, "eb").await.unwrap();
        node.run(&b, subscribe("a"), "sb").await;
        for intent in [Intent::Publish, subscribe("unknown")] {
            let refusal = node.open(&b, intent.clone(), "x").await.unwrap_err();
            connections::record_error(&node.0, &b, &intent, &refusal).await;
        }
        node.disconnect(&stage, "b").await.unwrap();
        node.ended(&a, "pa").await;
        let all = ["0 Participant Published a", "0 Participant Publish Error b", "0 Participant Unpublished a"];
        assert_eq!(events_of(&node, &stage).await, all);
        assert_eq!(node.log_of(&stage).await[1].body["detail"]["error_code"], "INSUFFICIENT_CAPABILITIES");
    })
    .await;
}

#[tokio::test]
async fn a_replica_has_events_in_its_stage_and_replication_events_in_the_source_stage() {
    on_each_engine(&[], async |cluster, node| {
        let (source_stage, destination) = (node.stage().await, node.stage().await);
        let a = verified(&node, &source_stage, "a");
        node.run(&a, Intent::Publish, "pa").await;
        replicate(&node, "a", &source_stage, &destination, 30).await.unwrap();
        cluster.advance(5, &[&node]).await;
        node.ended(&a, "pa").await;
        cluster.advance(100, &[&node]).await;
        let of_source = [
            "0 Participant Published a",
            "0 Participant Replication Start a",
            "5 Participant Unpublished a",
            "35 Participant Replication End a",
        ];
        assert_eq!(events_of(&node, &source_stage).await, of_source);
        assert_eq!(events_of(&node, &destination).await, ["0 Participant Published a", "5 Participant Unpublished a"]);
        let (source, replica) = (node.log_of(&source_stage).await, node.log_of(&destination).await);
        let arn = |stage: &str| StageArn::new(&scope(), stage).0;
        for entry in &replica {
            assert_eq!(entry.body["detail"]["replica"], true);
            assert_eq!(entry.body["detail"]["source_stage_arn"], arn(&source_stage));
            assert_eq!(entry.body["detail"]["source_session_id"], source[0].session());
        }
        for entry in [&source[1], &source[3]] {
            assert_eq!(entry.body["detail"]["destination_stage_arn"], arn(&destination));
            assert_eq!(entry.body["detail"]["destination_session_id"], replica[0].session());
        }
    })
    .await;
}

#[tokio::test]
async fn deleting_a_stage_emits_the_leave_events_of_its_participants() {
    for (flags, extended) in [(&[][..], false), (&["--extended-events"][..], true)] {
        on_each_engine(flags, async |cluster, node| {
            let (source_stage, destination) = (node.stage().await, node.stage().await);
            let [a, b] = ["a", "b"].map(|id| verified(&node, &source_stage, id));
            node.run(&a, Intent::Publish, "pa").await;
            node.run(&b, subscribe("a"), "sb").await;
            replicate(&node, "a", &source_stage, &destination, 30).await.unwrap();
            cluster.advance(5, &[&node]).await;
            node.delete(&source_stage).await.unwrap();
            cluster.advance(500, &[&node]).await;
            let at_the_end =
                |all: Vec<String>| all.into_iter().filter(|line| line.starts_with("5 ")).collect::<Vec<_>>();
            let (source, replica) =
                (at_the_end(events_of(&node, &source_stage).await), at_the_end(events_of(&node, &destination).await));
            if extended {
                let all = [
                    "5 Participant Replication End a",
                    "5 Participant Unpublished a",
                    "5 Participant Left a",
                    "5 Participant Unsubscribed b",
                    "5 Participant Left b",
                    "5 Session Ended",
                ];
                assert_eq!(source, all);
                assert_eq!(replica, ["5 Participant Unpublished a", "5 Participant Left a"]);
            } else {
                assert_eq!(source, ["5 Participant Replication End a", "5 Participant Unpublished a"]);
                assert_eq!(replica, ["5 Participant Unpublished a"]);
            }
        })
        .await;
    }
}

#[tokio::test]
async fn recording_events_have_the_duration() {
    use ParticipantRecordingState::{Active, Failed, Starting, Stopped};
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        node.run(&verified(&node, &stage, "a"), Intent::Publish, "pa").await;
        for (state, failure) in
            [(Starting, None), (Active, None), (Stopped, None), (Starting, None), (Failed, Some("gone"))]
        {
            let failure = failure.map(|reason| Failure { error_code: "X".into(), reason: reason.into() });
            let (bucket, prefix) = ("films".to_owned(), "a/b".to_owned());
            let arn = StageArn::new(&scope(), &stage);
            participants::record(&node.ctx(), &arn, "a", state, (bucket, prefix), failure).await.unwrap();
            cluster.clock.advance(Duration::from_millis(1500));
        }
        let all =
            ["0 Participant Published a", "1 Recording Start a", "3 Recording End a", "6 Recording Start Failure a"];
        assert_eq!(events_of(&node, &stage).await, all);
        let log = node.log_of(&stage).await;
        assert_eq!(log[2].body["detail"]["recording_duration_ms"], 1500);
        assert_eq!(log[3].body["detail"]["reason"], "gone");
    })
    .await;
}

#[tokio::test]
async fn changes_and_their_events_are_atomic() {
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        let a = verified(&node, &stage, "a");
        node.open(&a, Intent::Publish, "pa").await.unwrap();
        for (broken, repaired) in [
            ("ALTER TABLE outbox RENAME TO away", "ALTER TABLE away RENAME TO outbox"),
            ("ALTER TABLE participant_events RENAME TO away", "ALTER TABLE away RENAME TO participant_events"),
            ("ALTER TABLE media_homes RENAME TO away", "ALTER TABLE away RENAME TO media_homes"),
        ] {
            cluster.engine.write(&[broken]).await;
            // The last write of the transaction releases the media home, when the participant leaves.
            let done = if broken.contains("media_homes") {
                node.started(&a, "pa").await;
                connections::ended(&node.0, &a, "pa", None).await
            } else {
                connections::started(&node.0, &a, "pa").await
            };
            assert!(done.is_err(), "{broken}");
            cluster.engine.write(&[repaired]).await;
        }
        assert_eq!(node.event_names(&stage, "a").await, ["JOINED", "PUBLISH_STARTED"]);
        assert_eq!(events_of(&node, &stage).await, ["0 Participant Published a"]);
        node.ended(&a, "pa").await;
        assert_eq!(events_of(&node, &stage).await, ["0 Participant Published a", "0 Participant Unpublished a"]);
    })
    .await;
}

#[tokio::test]
async fn the_log_is_trimmed_by_age_except_for_undelivered_events() {
    on_each_engine(&["--event-retention-seconds", "3600"], async |cluster, node| {
        let stage = node.stage().await;
        let a = verified(&node, &stage, "a");
        let publish_twice = async || {
            for _ in 0..2 {
                node.run(&a, Intent::Publish, "pa").await;
                node.ended(&a, "pa").await;
            }
        };
        publish_twice().await;
        assert_eq!(node.log().await.len(), 4);
        let mut conn = node.0.db().write().await.unwrap();
        conn.insert_event_target("slow", 1).await.unwrap();
        conn.insert_event_target("abandoned", 0).await.unwrap();
        assert!(conn.claim(Leased::EventTarget("slow"), "n", None, START.0 + 2 * 3600 * 1000).await.unwrap());
        conn.commit().await.unwrap();
        let kept = async |seconds: u64| {
            cluster.advance(seconds, &[&node]).await;
            outbox::relay(&node.0).await.unwrap();
            outbox::trim(&node.0).await.unwrap();
            let log = event_log::page(&node.0, 0, 100).await.unwrap();
            log.iter().map(|row| row.position).collect::<Vec<_>>()
        };
        assert_eq!(kept(3600).await, [1, 2, 3, 4], "not yet");
        assert_eq!(kept(1).await, [2, 3, 4], "the rest is not yet delivered to the target");
        publish_twice().await;
        assert_eq!(kept(DAY).await, (2..=8).collect::<Vec<_>>());
        assert_eq!(kept(2 * 3600).await, [] as [i64; 0], "no node has claimed it for a day");
    })
    .await;
}

/// Exchanges a participant's token `count` times; each event has the previous token.
async fn exchange(node: &Node, stage: &str, name: &str, count: usize) {
    let token = |digest: &str| CurrentToken { digest: digest.to_owned(), ..CurrentToken::default() };
    for n in 0..count {
        let user_id = format!("{name}-{n}");
        let attributes = ParticipantAttributes::default();
        let exchange = ParticipantCommand::Exchange { after: token(&user_id), user_id, attributes, before: token("") };
        act(node, stage, "a", exchange).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_relays_of_two_nodes_leave_no_gaps_and_keep_the_order_of_each_stage() {
    const STAGES: usize = 3;
    const EACH: usize = 25;
    on_postgres(&[], async |cluster, one| {
        let nodes = [one, cluster.node("http://two").await];
        let mut stages = Vec::new();
        for _ in 0..STAGES {
            let stage = nodes[0].stage().await;
            nodes[0].open(&verified(&nodes[0], &stage, "a"), Intent::Events, &format!("e{stage}")).await.unwrap();
            stages.push(stage);
        }
        let running = std::sync::Arc::new(AtomicUsize::new(STAGES * nodes.len()));
        let mut tasks = Vec::new();
        for (n, node) in nodes.iter().enumerate() {
            for stage in &stages {
                let (node, stage, running) = (node.clone(), stage.clone(), running.clone());
                tasks.push(tokio::spawn(async move {
                    exchange(&node, &stage, &format!("node{n}"), EACH).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                }));
            }
            // Each node relays, and reads the log as a delivery worker does.
            let (node, running) = (node.clone(), running.clone());
            tasks.push(tokio::spawn(async move {
                let mut seen = 0;
                let mut finished = false;
                while !finished {
                    finished = running.load(Ordering::SeqCst) == 0;
                    outbox::relay(&node.0).await.unwrap();
                    assert!(*node.0.log_end().borrow() >= seen);
                    for row in event_log::page(&node.0, seen, 7).await.unwrap() {
                        assert_eq!(row.position, seen + 1, "new entries are appended without gaps");
                        seen = row.position;
                    }
                    tokio::task::yield_now().await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let log = nodes[1].log().await;
        assert_eq!(log.len(), STAGES * nodes.len() * EACH);
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        for entry in log {
            let user = |token: &str| entry.body["detail"][token]["user_id"].as_str().unwrap().to_owned();
            let before = last.insert(entry.row.stage.clone().unwrap(), user("new_token"));
            assert_eq!(before.unwrap_or_else(|| "user of a".into()), user("previous_token"), "{}", entry.body);
        }
    })
    .await;
}

#[tokio::test]
async fn subscribers_are_notified_of_changes_and_of_log_entries() {
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        let mut changes = node.0.notifier().subscribe();
        let mut end = node.0.log_end();
        node.run(&verified(&node, &stage, "a"), Intent::Publish, "pa").await;
        let timeout = Duration::from_secs(30);
        tokio::time::timeout(timeout, changes.changed()).await.unwrap();
        outbox::relay(&node.0).await.unwrap();
        tokio::time::timeout(timeout, end.wait_for(|end| *end == 1)).await.unwrap().unwrap();
        assert_eq!(
            code(node.open(&verified(&node, "none", "a"), Intent::Publish, "x").await),
            SignalingErrorCode::StageDeleted
        );
        cluster.advance(1, &[&node]).await;
        outbox::relay(&node.0).await.unwrap();
        assert_eq!(*end.borrow_and_update(), 1, "no further event was logged");
    })
    .await;
}
