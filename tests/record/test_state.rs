//! The state of an account as one thing: seeds, snapshots and resets.

use crate::cluster::{Cluster, Node, START, from_json, on_each_engine, on_postgres, scope, subscribe, verified};
use greenroom::app::test_state::{
    self, PastParticipant, PastSession, PastSubscription, Reference, Seed, SeedStage, TableRows,
};
use greenroom::app::{event_log, nodes, outbox, retry};
use greenroom::clock::Timestamp;
use greenroom::domain::admission::Intent;
use greenroom::ids::Ids;
use greenroom::model::arn::Scope;
use greenroom::store::ParticipantRow;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Seeded pseudo-random numbers.
struct Random(Ids);

impl Random {
    fn below(&self, limit: i64) -> i64 {
        let bytes = self.0.bytes();
        i64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])) % limit
    }

    fn maybe<T>(&self, value: T) -> Option<T> {
        (self.below(2) == 0).then_some(value)
    }
}

fn at(seconds: i64) -> Timestamp {
    START.plus(Duration::from_secs(seconds.unsigned_abs()))
}

fn name(n: usize) -> String {
    format!("p{n}")
}

/// A session of some participants that begins at `start` seconds: the first one stays for longest.
fn random_session(random: &Random, start: i64) -> PastSession {
    let count = 1 + random.below(4);
    let mut participants: Vec<PastParticipant> = (0..count)
        .map(|n| {
            let joins = if n == 0 { 0 } else { random.below(60) };
            let leaves = if n == 0 { 150 } else { joins + 4 + random.below(80) };
            let publishes = random.maybe(joins + random.below(3));
            PastParticipant {
                user_id: format!("user of {}", name(n as usize)),
                attributes: from_json(json!({"who": name(n as usize)})),
                joins_at: at(start + joins),
                publishes_at: publishes.map(|publishes| at(start + publishes)),
                unpublishes_at: publishes.and_then(|publishes| random.maybe(at(start + publishes + 1))),
                subscriptions: Vec::new(),
                leaves_at: Some(at(start + leaves)),
            }
        })
        .collect();
    for n in 0..participants.len() {
        let to = random.below(count) as usize;
        let (own, other) = (participants[n].clone(), participants[to].clone());
        let Some(publishes) = other.publishes_at.filter(|_| to != n) else { continue };
        let starts_at = own.joins_at.max(publishes);
        let stops = other.unpublishes_at.or(other.leaves_at).unwrap().min(own.leaves_at.unwrap());
        if starts_at < stops {
            let later = starts_at.plus(Duration::from_millis(500));
            let ends_at = random.maybe(later).filter(|_| later < own.leaves_at.unwrap());
            participants[n].subscriptions.push(PastSubscription { to, starts_at, ends_at });
        }
    }
    PastSession { started_at: at(start), participants, ends_at: None }
}

/// Plays a session by the connections of participants, under the manual clock.
async fn play(cluster: &Cluster, node: &Node, stage: &str, session: &PastSession) {
    let mut acts = Vec::new();
    for (n, past) in session.participants.iter().enumerate() {
        let leaves = past.leaves_at.unwrap();
        acts.push((past.joins_at, 0, n, n));
        acts.extend(past.publishes_at.map(|at| (at, 1, n, n)));
        for PastSubscription { to, starts_at, ends_at } in &past.subscriptions {
            let publisher = &session.participants[*to];
            let stops = publisher.unpublishes_at.or(publisher.leaves_at).unwrap();
            acts.push((*starts_at, 2, n, *to));
            acts.push((ends_at.unwrap_or(stops).min(leaves), 3, n, *to));
        }
        acts.extend(past.publishes_at.map(|_| (past.unpublishes_at.unwrap_or(leaves), 4, n, n)));
        acts.push((leaves, 5, n, n));
    }
    acts.sort_unstable();
    for (at, act, n, to) in acts {
        cluster.clock.advance(Duration::from_millis((at.0 - cluster.clock.now().0).unsigned_abs()));
        nodes::heartbeat(&node.0).await.unwrap();
        nodes::sweep(&node.0).await.unwrap();
        let token = verified(node, stage, &name(n));
        match act {
            0 => drop(node.open(&token, Intent::Events, &format!("events {n}")).await.unwrap()),
            1 => node.run(&token, Intent::Publish, &format!("publish {n}")).await,
            2 => node.run(&token, subscribe(&name(to)), &format!("subscribe {n} {to}")).await,
            3 => node.ended(&token, &format!("subscribe {n} {to}")).await,
            4 => node.ended(&token, &format!("publish {n}")).await,
            _ => node.ended(&token, &format!("events {n}")).await,
        }
    }
}

/// The sessions of a stage, oldest first: start, end, and participants with their events. Ids are those of [`name`].
async fn recorded(node: &Node, stage: &str) -> Vec<serde_json::Value> {
    let mut sessions = Vec::new();
    for (session, started_at, ended_at) in node.sessions(stage).await.into_iter().rev() {
        let rows = node.participants_of(stage, &session).await;
        let names: BTreeMap<String, String> =
            rows.iter().map(|row| (row.id.clone(), row.user_id.replace("user of ", ""))).collect();
        let mut participants = BTreeMap::new();
        for row in rows {
            let events = node.events_in(stage, &session, &row.id).await;
            let mut events = serde_json::to_string(&events).unwrap();
            names.iter().for_each(|(id, name)| events = events.replace(id.as_str(), name));
            let id = names[&row.id].clone();
            let row = ParticipantRow { id: id.clone(), ..row };
            participants.insert(id, json!({"row": format!("{row:?}"), "events": events}));
        }
        sessions.push(json!({"started": started_at, "ended": ended_at, "participants": participants}));
    }
    sessions
}

#[tokio::test]
async fn seeded_sessions_are_recorded_as_played_ones_are() {
    on_each_engine(&["--extended-events", "on", "--session-silent-seconds", "0"], async |cluster, node| {
        for n in 0..12 {
            let random = Random(Ids::seeded(n));
            let begin = (cluster.clock.now().0 - START.0) / 1000 + 1;
            let sessions = vec![random_session(&random, begin), random_session(&random, begin + 400)];
            let played = node.stage().await;
            for session in &sessions {
                play(cluster, &node, &played, session).await;
            }
            cluster.advance_with_heartbeats(100, &[&node]).await;
            let stage = SeedStage { name: "seeded".into(), tags: None, recording: None, sessions: sessions.clone() };
            let seed = Seed { stages: vec![stage], ..Seed::default() };
            let seeded = test_state::seed(&node.ctx(), &seed).await.unwrap();
            let (arn, ids) = &seeded.stages[0];
            let seeded = scope().own(arn).unwrap().to_owned();
            let found = recorded(&node, &seeded).await;
            assert_eq!(found, recorded(&node, &played).await, "{sessions:#?}");
            assert_eq!((found.len(), ids.len()), (2, 2));
            outbox::relay(&node.0).await.unwrap();
            let log = event_log::page(&node.0, 0, 100_000).await.unwrap();
            assert!(log.iter().any(|event| event.stage.as_deref() == Some(&played)));
            assert!(!log.iter().any(|event| event.stage.as_deref() == Some(&seeded)), "the past is not announced");
        }
    })
    .await;
}

#[tokio::test]
async fn a_seed_that_fails_leaves_nothing() {
    on_each_engine(&[], async |_, node| {
        let stage = |name: &str| SeedStage { name: name.into(), tags: None, recording: None, sessions: Vec::new() };
        let missing = Reference::Existing("arn:aws:ivs:us-west-2:123456789012:stage/missing".into());
        let token = from_json(json!({}));
        let seed = Seed { stages: vec![stage("a")], tokens: vec![(missing, token)], ..Seed::default() };
        let fault = test_state::seed(&node.ctx(), &seed).await.err().unwrap();
        assert!(fault.message().starts_with("tokens.1.member: Resource: "), "{fault}");
        assert_eq!(count(&node, None, "stages").await, 0);
    })
    .await;
}

async fn snapshot(node: &Node, scope: Option<&Scope>) -> Vec<TableRows> {
    test_state::take(&node.0, scope).await.unwrap()
}

async fn count(node: &Node, scope: Option<&Scope>, table: &str) -> usize {
    let tables = snapshot(node, scope).await;
    tables.iter().find(|of| of.table.name == table).unwrap().rows.len()
}

#[tokio::test]
async fn a_restore_gives_back_every_row_and_numbers_do_not_go_back() {
    on_each_engine(&["--extended-events", "on"], async |cluster, node| {
        let (scope, stage) = (scope(), node.stage().await);
        let a = verified(&node, &stage, "a");
        node.run(&a, Intent::Publish, "1").await;
        node.ended(&a, "1").await;
        cluster.advance(100, &[&node]).await;
        let before = snapshot(&node, Some(&scope)).await;
        let (revision, end) = (node.view(&stage).await.revision, log_end(&node).await);
        assert!(end > 0);
        node.run(&a, Intent::Publish, "2").await;
        node.stage().await;
        let restored = test_state::restore(&node.0, Some(&scope), &before).await.unwrap();
        assert_eq!((restored["stages"], restored["participants"]), (1, 1));
        let after = snapshot(&node, Some(&scope)).await;
        assert_eq!(after, before);
        assert!(node.view(&stage).await.revision > revision);
        assert_eq!(log_end(&node).await, end, "the log is empty, and its positions go on");
        assert!(event_log::page(&node.0, 0, 1000).await.unwrap().is_empty());
        node.run(&a, Intent::Publish, "3").await;
        log_end(&node).await;
        let log = event_log::page(&node.0, 0, 1000).await.unwrap();
        assert!(log.iter().all(|event| event.position > end) && log.len() == 3, "{log:?}");
        test_state::reset(&node.0, None).await.unwrap();
        test_state::restore(&node.0, Some(&scope), &before).await.unwrap();
        assert_eq!(snapshot(&node, Some(&scope)).await, before);
    })
    .await;
}

/// The last position of the log, after what is in the outbox.
async fn log_end(node: &Node) -> i64 {
    outbox::relay(&node.0).await.unwrap();
    event_log::end(&node.0).await.unwrap()
}

#[tokio::test]
async fn connections_that_are_open_and_unchanged_survive_a_restore() {
    on_each_engine(&[], async |_, node| {
        let (scope, stage) = (scope(), node.stage().await);
        let [a, b, c] = ["a", "b", "c"].map(|id| verified(&node, &stage, id));
        node.run(&a, Intent::Publish, "kept").await;
        node.open(&b, Intent::Publish, "changed").await.unwrap();
        node.open(&c, Intent::Events, "ended").await.unwrap();
        let before = snapshot(&node, Some(&scope)).await;
        node.started(&b, "changed").await;
        node.ended(&c, "ended").await;
        node.run(&c, Intent::Publish, "new").await;
        test_state::restore(&node.0, Some(&scope), &before).await.unwrap();
        assert_eq!(node.connection_ids(&stage).await, ["kept"]);
        assert_eq!(node.event_names(&stage, "a").await, ["JOINED", "PUBLISH_STARTED"]);
        assert_eq!(node.event_names(&stage, "b").await, ["JOINED", "LEFT"], "its connection is closed");
        assert_eq!(node.event_names(&stage, "c").await, ["JOINED", "LEFT"]);
        node.ended(&a, "kept").await;
        assert_eq!(node.event_names(&stage, "a").await, ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]);
    })
    .await;
}

#[tokio::test]
async fn resets_and_operations_of_one_account_run_one_after_the_other() {
    on_postgres(&[], async |_, node| {
        for _ in 0..20 {
            let stage = node.stage().await;
            let token = verified(&node, &stage, "a");
            let join = node.open(&token, Intent::Events, "1");
            let (joined, reset) = tokio::join!(join, test_state::reset(&node.0, None));
            reset.unwrap();
            // Either the join came first, and its rows are deleted, or it found no stage.
            drop(joined);
            for table in ["stages", "sessions", "participants", "participant_events", "connections"] {
                assert_eq!(count(&node, None, table).await, 0, "{table}");
            }
        }
        let reset = || retry(|| test_state::reset(&node.0, None));
        let (one, other) = tokio::join!(reset(), reset());
        assert!(one.is_ok() && other.is_ok());
    })
    .await;
}
