//! Event targets, and failed deliveries.

use crate::engines::Engine;
use crate::{other_scopes, scope};
use greenroom::domain::event::EventKind;
use greenroom::model::arn::Scope;
use greenroom::store::{Conn, Leased, NEVER, OutboxRow, Parked, Progress, StageKey};

fn key(stage: &str) -> StageKey {
    of(&scope(), stage)
}

fn of(scope: &Scope, stage: &str) -> StageKey {
    StageKey { account: scope.account.clone(), region: scope.region.clone(), stage_id: stage.into() }
}

/// Logs an event of each of these stages, `""` being none; the log is sorted by stage name.
async fn log(tx: &mut Conn, stages: &[&str]) {
    for (number, stage) in (1..).zip(stages) {
        let id = format!("{stage}{number}");
        let stage = Some(*stage).filter(|stage| !stage.is_empty());
        let row = OutboxRow { stage, number, id: &id, kind: EventKind::Event, body: "{}", written_at: 100 + number };
        tx.insert_outbox(&scope(), row).await.unwrap();
    }
    tx.relay(100).await.unwrap();
}

fn parked(position: i64, stage: &StageKey, next_at: i64) -> Parked<'_> {
    let attempts = i64::from(next_at != NEVER);
    Parked { position, stage: Some(stage), attempts, since: 5, next_at, dead_at: None, error: Some("no") }
}

/// The positions of due deliveries.
async fn due(tx: &mut Conn, now: i64) -> Vec<i64> {
    tx.due_deliveries("t", now, 10).await.unwrap().iter().map(|row| row.position).collect()
}

conformance! {
    one_node_at_a_time_delivers_to_a_target(tx) {
        tx.insert_event_target("t", 7).await.unwrap();
        tx.insert_event_target("t", 9).await.unwrap();
        let target = Leased::EventTarget("t");
        assert!(tx.claim(target, "a", None, 100).await.unwrap());
        assert!(!tx.claim(target, "b", None, 110).await.unwrap());
        assert!(tx.claim(target, "a", None, 120).await.unwrap(), "again");
        let progress = Progress {
            position: 8,
            delivered: 2,
            delivered_at: Some(70),
            error: Some(("late", 71)),
            failing_since: Some(72),
        };
        assert!(!tx.advance_event_target("t", "b", progress).await.unwrap());
        assert!(tx.advance_event_target("t", "a", progress).await.unwrap());
        let quiet = Progress { delivered_at: None, error: None, failing_since: None, ..progress };
        assert!(tx.advance_event_target("t", "a", quiet).await.unwrap());
        let row = tx.event_target("t").await.unwrap().unwrap();
        assert_eq!((row.position, row.delivered, row.delivered_at), (8, 4, Some(70)));
        assert_eq!((row.error.as_deref(), row.error_at, row.failing_since), (Some("late"), Some(71), None));
        tx.release(target, "b", 119).await.unwrap();
        assert!(!tx.claim(target, "b", None, 200).await.unwrap());
        tx.release(target, "a", 119).await.unwrap();
        assert!(tx.claim(target, "b", None, 200).await.unwrap());
        assert_eq!(tx.event_targets(10).await.unwrap().len(), 1);
        assert_eq!(tx.event_target("u").await.unwrap(), None);
    }

    parked_deliveries_are_due_in_order_per_stage(tx) {
        log(&mut tx, &["a", "a", "b", "c"]).await;
        let (a, b) = (key("a"), key("b"));
        for row in [parked(1, &a, 50), parked(2, &a, NEVER), parked(3, &b, 40)] {
            tx.park_delivery("t", row).await.unwrap();
        }
        tx.park_delivery("u", parked(1, &a, 1)).await.unwrap();
        assert_eq!((due(&mut tx, 39).await, due(&mut tx, 40).await), (vec![], vec![3]));
        assert_eq!(due(&mut tx, 50).await, [3, 1]);
        // Another failure, then success: the next delivery of the stage is due.
        tx.park_delivery("t", Parked { attempts: 2, error: Some("again"), ..parked(1, &a, 60) }).await.unwrap();
        tx.release_deliveries("t", Some(&a), 55).await.unwrap();
        assert_eq!(due(&mut tx, 59).await, [3], "a retry is not due before its own time");
        let row = &tx.due_deliveries("t", 60, 10).await.unwrap()[1];
        assert_eq!((row.attempts, row.since, row.error.as_deref(), row.id.as_str()), (2, 5, Some("again"), "a1"));
        tx.delete_delivery("t", 1).await.unwrap();
        tx.release_deliveries("t", Some(&a), 61).await.unwrap();
        assert_eq!(due(&mut tx, 61).await, [3, 2]);
        assert_eq!(tx.due_deliveries("t", 61, 1).await.unwrap().len(), 1);
        let counts = tx.delivery_counts("t").await.unwrap();
        assert_eq!((counts.parked, counts.dead, counts.oldest), (2, 0, Some(102)));
        assert_eq!(tx.delivery_counts("v").await.unwrap().oldest, None);
    }

    stages_with_parked_deliveries_are_found(tx) {
        log(&mut tx, &["a", "b", "a", "", "b"]).await;
        // The log: one event without a stage, two of a, two of b.
        let a = key("a");
        tx.park_delivery("t", parked(2, &a, 1)).await.unwrap();
        tx.park_delivery("t", Parked { stage: None, ..parked(1, &a, 1) }).await.unwrap();
        for (position, other) in (4..).zip(other_scopes()) {
            tx.park_delivery("t", parked(position, &of(&other, "b"), 1)).await.unwrap();
        }
        assert_eq!(tx.waiting_stages("t", 2, 5).await.unwrap(), std::slice::from_ref(&a));
        assert_eq!(tx.waiting_stages("t", 3, 5).await.unwrap(), []);
        assert_eq!(tx.waiting_stages("u", 0, 5).await.unwrap(), []);
        tx.park_delivery("t", Parked { dead_at: Some(9), ..parked(2, &a, 1) }).await.unwrap();
        assert_eq!(tx.waiting_stages("t", 2, 5).await.unwrap(), []);
    }

    dead_deliveries_are_listed_redelivered_or_dropped(tx) {
        log(&mut tx, &["a", "a", "a", "a"]).await;
        let a = key("a");
        for position in 1..=3 {
            tx.park_delivery("t", Parked { dead_at: Some(9), ..parked(position, &a, 1) }).await.unwrap();
        }
        tx.park_delivery("t", parked(4, &a, 20)).await.unwrap();
        let dead = tx.dead_deliveries("t", 1, 10).await.unwrap();
        assert_eq!(dead.iter().map(|row| (row.position, row.dead_at)).collect::<Vec<_>>(), [(2, Some(9)), (3, Some(9))]);
        assert_eq!(tx.dead_deliveries("t", 0, 1).await.unwrap()[0].position, 1);
        assert_eq!(due(&mut tx, 30).await, [4], "dead deliveries do not block later ones");
        let counts = tx.delivery_counts("t").await.unwrap();
        assert_eq!((counts.parked, counts.dead, counts.oldest), (1, 3, Some(104)));
        assert!(tx.drop_delivery("t", 2).await.unwrap());
        assert!(!tx.drop_delivery("t", 2).await.unwrap() && !tx.drop_delivery("t", 4).await.unwrap());
        assert!(tx.redrive_delivery("t", 1, 77).await.unwrap());
        assert!(!tx.redrive_delivery("t", 4, 77).await.unwrap() && !tx.redrive_delivery("u", 3, 77).await.unwrap());
        let first = &tx.due_deliveries("t", 30, 10).await.unwrap();
        assert_eq!((first.len(), first[0].position, first[0].attempts, first[0].since), (1, 1, 0, 77));
        tx.insert_event_target("t", 4).await.unwrap();
        assert!(tx.forget_event_target("t").await.unwrap() && !tx.forget_event_target("t").await.unwrap());
        assert_eq!(tx.delivery_counts("t").await.unwrap().dead, 0);
    }
}
