//! Metrics of the store.

use crate::engines::Engine;
use crate::{CONNECTED, DISCONNECTED, connection, other_scopes, participant, scope, subscribe};
use greenroom::domain::admission::Intent;
use greenroom::domain::event::EventKind;
use greenroom::metrics::{ActiveCounts, Format, Metrics};
use greenroom::store::{OutboxRow, SessionKey, StoreError};
use std::sync::Arc;

conformance! {
    current_sessions_and_participants_are_counted_over_all_accounts(tx) {
        assert_eq!(tx.active_counts().await.unwrap(), ActiveCounts::default());
        for (n, scope) in other_scopes().iter().chain([&scope()]).enumerate() {
            tx.insert_session(scope, "a", "st-1", 1, None).await.unwrap();
            tx.insert_session(scope, "b", "st-2", 1, None).await.unwrap();
            tx.end_session(scope, "b", "st-2", 2).await.unwrap();
            let here = SessionKey { scope, stage: "a", session: "st-1" };
            for (id, state, publishing) in [("p", CONNECTED, n > 0), ("q", CONNECTED, false), ("r", DISCONNECTED, false)] {
                let mut row = participant(id, 1);
                (row.state, row.publishing) = (state, publishing);
                tx.insert_participant(here, &row).await.unwrap();
            }
            tx.insert_connection(scope, "a", &connection("c1", "p", Intent::Publish)).await.unwrap();
            tx.insert_connection(scope, "a", &connection("c2", "q", Intent::Events)).await.unwrap();
            tx.insert_connection(scope, "a", &connection("c3", "q", subscribe("p"))).await.unwrap();
        }
        let expected = ActiveCounts { sessions: 3, participants: 6, publishers: 2, subscriptions: 3 };
        assert_eq!(tx.active_counts().await.unwrap(), expected);
    }

    the_outbox_backlog_is_counted(tx) {
        assert_eq!(tx.outbox_backlog().await.unwrap(), (0, None));
        for (number, id, written_at) in [(1, "a", 7), (2, "b", 5), (3, "c", 6)] {
            let row = OutboxRow { stage: Some("s"), number, id, kind: EventKind::Event, body: "{}", written_at };
            tx.insert_outbox(&scope(), row).await.unwrap();
        }
        assert_eq!(tx.outbox_backlog().await.unwrap(), (3, Some(5)));
        tx.relay(10).await.unwrap();
        assert_eq!(tx.outbox_backlog().await.unwrap(), (0, None));
    }
}

/// The value of a metric.
fn value(metrics: &Metrics, series: &str) -> f64 {
    let page = metrics.page(Format::Prometheus);
    page.lines().find_map(|line| line.strip_prefix(series)).map_or(0.0, |value| value.trim().parse().unwrap())
}

#[tokio::test]
async fn durations_are_measured_and_errors_are_counted_by_class() {
    for engine in Engine::both().await {
        let metrics = Arc::new(Metrics::default());
        let db = engine.open().await.with_metrics(metrics.clone());
        let count = |operation: &str| {
            value(&metrics, &format!("greenroom_store_duration_seconds_count{{operation=\"{operation}\"}}"))
        };
        drop(db.read().await.unwrap());
        let mut tx = db.write().await.unwrap();
        assert_eq!((count("acquire"), count("read"), count("transaction"), count("commit")), (2.0, 1.0, 0.0, 0.0));
        tx.insert_session(&scope(), "a", "st-1", 1, None).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((count("transaction"), count("commit")), (1.0, 1.0));
        let mut tx = db.write().await.unwrap();
        let again = tx.insert_session(&scope(), "a", "st-1", 1, None).await;
        assert!(matches!(again, Err(StoreError::Duplicate(_))), "{again:?}");
        drop(tx);
        assert_eq!((count("transaction"), count("commit")), (2.0, 1.0));
        assert_eq!(value(&metrics, "greenroom_store_errors_total{class=\"duplicate\"}"), 1.0);
        db.sample(&metrics);
        let pool = if db.is_shared() { "postgres" } else { "write" };
        assert!(value(&metrics, &format!("greenroom_store_pool_limit{{pool=\"{pool}\"}}")) >= 1.0);
        assert_eq!(value(&metrics, "greenroom_store_pool_waiting"), 0.0);
        db.close().await;
    }
}
