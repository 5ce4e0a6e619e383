//! Reads the event log.

use crate::cluster::{Cluster, Node, scope};
use greenroom::app::event_log::{self, Event, EventKind};
use greenroom::app::outbox;
use greenroom::clock::Timestamp;
use greenroom::model::arn::{ResourceKind, Scope};
use serde_json::Value;

/// An entry of the log with its envelope.
#[derive(Clone, Debug)]
pub struct Entry {
    pub row: Event,
    pub body: Value,
}

impl Entry {
    fn text(&self, member: &str) -> String {
        self.body["detail"][member].as_str().unwrap_or_default().to_owned()
    }

    pub fn name(&self) -> String {
        self.text("event_name")
    }

    pub fn participant(&self) -> String {
        self.text("participant_id")
    }

    /// The remote participant of the event.
    pub fn remote(&self) -> String {
        self.text("remote_participant_id")
    }

    pub fn session(&self) -> String {
        self.text("session_id")
    }

    /// The event time, in milliseconds.
    pub fn at(&self) -> i64 {
        let time: Timestamp = serde_json::from_value(self.body["detail"]["event_time_precise"].clone()).unwrap();
        time.0
    }

    /// The event time, in whole seconds since the start of the test.
    pub fn second(&self) -> i64 {
        let time: Timestamp = serde_json::from_value(self.body["time"].clone()).unwrap();
        (time.0 - crate::cluster::START.0) / 1000
    }
}

impl Node {
    /// Relays the outbox and reads the whole log. Asserts the invariants of all entries.
    pub async fn log(&self) -> Vec<Entry> {
        outbox::relay(&self.0).await.unwrap();
        let mut log: Vec<Entry> = Vec::new();
        loop {
            let after = log.last().map_or(0, |entry| entry.row.position);
            let page = event_log::page(&self.0, after, 100).await.unwrap();
            if page.is_empty() {
                break;
            }
            log.extend(page.into_iter().map(read));
        }
        for (n, entry) in log.iter().enumerate() {
            assert_eq!(entry.row.position, n as i64 + 1, "positions have no gaps");
        }
        let mut ids: Vec<_> = log.iter().map(|entry| entry.row.id.clone()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), log.len(), "event ids are unique");
        log
    }

    /// The log of a stage.
    pub async fn log_of(&self, stage: &str) -> Vec<Entry> {
        self.log().await.into_iter().filter(|entry| entry.row.stage.as_deref() == Some(stage)).collect()
    }
}

fn read(row: Event) -> Entry {
    let body: Value = serde_json::from_str(&row.body).unwrap();
    assert_eq!((body["version"].as_str(), body["source"].as_str()), (Some("0"), Some("aws.ivs")), "{body}");
    let Scope { account, region } = &row.scope;
    assert_eq!((&row.scope, row.kind), (&scope(), EventKind::Event));
    assert_eq!((body["account"].as_str(), body["region"].as_str()), (Some(&**account), Some(&**region)), "{body}");
    assert_eq!(body["id"].as_str(), Some(&*row.id));
    let of_stage = body["detail-type"] != "IVS Composition State Change";
    let stage = scope().arn(ResourceKind::Stage, row.stage.as_deref().unwrap_or_default());
    assert_eq!(body["resources"][0] == *stage, of_stage, "{body}");
    assert!(of_stage || body["detail"]["stage_arn"] == *stage, "{body}");
    assert!(body["time"].as_str().is_some_and(|time| time.len() == "2026-01-01T00:00:00Z".len()), "{body}");
    Entry { row, body }
}

impl Cluster {
    /// Relays and sweeps concurrently on all nodes.
    pub async fn sweep_together(&self, nodes: &[&Node]) {
        let on_each_engine = nodes.iter().map(|node| async {
            greenroom::app::nodes::sweep(&node.0).await.unwrap();
            outbox::relay(&node.0).await.unwrap();
        });
        futures_util::future::join_all(on_each_engine).await;
    }
}
