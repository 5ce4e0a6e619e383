//! The rows of an account and region, or of all, at once.

use crate::engines::Engine;
use crate::{connection, other_scopes, scope, stage};
use greenroom::domain::admission::Intent;
use greenroom::domain::event::EventKind;
use greenroom::model::arn::Scope;
use greenroom::store::tables::{Cell, MEDIA_HOMES, Table};
use greenroom::store::{Conn, OutboxRow, Parked, SCHEMA};

fn table(name: &str) -> &'static Table {
    Table::named(name, SCHEMA).unwrap()
}

/// The number of rows of a table.
async fn count(tx: &mut Conn, table: &Table, scope: Option<&Scope>) -> usize {
    let columns = table.columns(SCHEMA);
    tx.dump(table, &columns, scope, None, 1000).await.unwrap().len()
}

/// Stages `s0` and so on of a scope and of two others.
async fn stages(tx: &mut Conn, number: i64) {
    for scope in [scope()].iter().chain(&other_scopes()) {
        for n in 0..number {
            tx.insert_stage(scope, &stage(&format!("s{n}"), n)).await.unwrap();
        }
    }
}

conformance! {
    rows_of_a_scope_are_read_page_by_page_and_deleted(tx) {
        stages(&mut tx, 5).await;
        let (stages, columns) = (table("stages"), table("stages").columns(SCHEMA));
        let mut rows = tx.dump(stages, &columns, Some(&scope()), None, 3).await.unwrap();
        let last = rows.last().cloned();
        rows.extend(tx.dump(stages, &columns, Some(&scope()), last.as_deref(), 3).await.unwrap());
        assert_eq!(rows.len(), 5);
        assert_eq!(tx.clear(stages, Some(&scope())).await.unwrap(), 5);
        assert_eq!(tx.clear(stages, Some(&scope())).await.unwrap(), 0);
        assert_eq!(count(&mut tx, stages, Some(&scope())).await, 0);
        for other in &other_scopes() {
            assert_eq!(count(&mut tx, stages, Some(other)).await, 5);
        }
        assert_eq!(tx.clear(stages, None).await.unwrap(), 10);
    }

    the_state_and_the_log_are_locked_more_than_once(tx) {
        stages(&mut tx, 2).await;
        for _ in 0..2 {
            tx.lock_state(Some(&scope()), &["a", "b"]).await.unwrap();
            tx.lock_state(None, &["a", "b"]).await.unwrap();
            tx.lock_log().await.unwrap();
        }
        assert_eq!(tx.log_end().await.unwrap(), 0);
    }

    revisions_grow_whether_stages_exist_or_not(tx) {
        stages(&mut tx, 2).await;
        for scope in [scope()].iter().chain(&other_scopes()) {
            tx.bump_revision(scope, "s0", 1, false).await.unwrap();
            tx.bump_revision(scope, "gone", 1, false).await.unwrap();
        }
        tx.take_noted();
        tx.bump_all_revisions(Some(&scope()), 7).await.unwrap();
        let noted = |tx: &mut Conn| {
            let mut noted: Vec<_> =
                tx.take_noted().into_iter().map(|row| (row.stage_id, row.revision, row.deleted, row.changed_at)).collect();
            noted.sort();
            noted
        };
        let expected = |revision| [
            ("gone".to_owned(), revision, true, 7),
            ("s0".to_owned(), revision, false, 7),
            ("s1".to_owned(), revision - 1, false, 7),
        ];
        assert_eq!(noted(&mut tx), expected(2));
        let revision = tx.stage_revision(&scope(), "s0").await.unwrap().unwrap().revision;
        assert_eq!(revision, Some(2));
        let other = tx.stage_revision(&other_scopes()[0], "s0").await.unwrap().unwrap().revision;
        assert_eq!(other, Some(1), "of another scope");
        // A stage that was deleted is there again.
        tx.insert_stage(&scope(), &stage("gone", 1)).await.unwrap();
        tx.bump_all_revisions(Some(&scope()), 7).await.unwrap();
        assert!(noted(&mut tx).contains(&("gone".to_owned(), 3, false, 7)));
        tx.bump_all_revisions(None, 8).await.unwrap();
        assert_eq!(noted(&mut tx).len(), 3 + 3 + 3);
    }

    media_homes_without_a_publisher_are_released(tx) {
        stages(&mut tx, 2).await;
        let text = |text: &str| Cell::Text(text.into());
        let home = |scope: &Scope, stage: &str| {
            vec![text(&scope.account), text(&scope.region), text(stage), text("node")]
        };
        let (own, other) = (scope(), &other_scopes()[0]);
        let homes = [home(&own, "s0"), home(&own, "s1"), home(other, "s0")];
        tx.restore(&MEDIA_HOMES, &MEDIA_HOMES.columns(SCHEMA), &homes).await.unwrap();
        let publisher = connection("c", "p", Intent::Publish);
        tx.insert_connection(&own, "s0", &publisher).await.unwrap();
        let viewer = connection("d", "q", Intent::Events);
        tx.insert_connection(&own, "s1", &viewer).await.unwrap();
        tx.release_all_unused_media(Some(&own)).await.unwrap();
        assert_eq!(count(&mut tx, &MEDIA_HOMES, Some(&own)).await, 1);
        assert_eq!(count(&mut tx, &MEDIA_HOMES, None).await, 2);
        tx.release_all_unused_media(None).await.unwrap();
        assert_eq!(count(&mut tx, &MEDIA_HOMES, None).await, 1);
    }

    an_event_that_is_not_in_the_log_is_not_parked_and_lost_deliveries_are_deleted(tx) {
        for number in 1..=2 {
            let kind = EventKind::Event;
            let row = OutboxRow { stage: None, number, id: &format!("e{number}"), kind, body: "{}", written_at: 1 };
            tx.insert_outbox(&scope(), row).await.unwrap();
        }
        tx.relay(10).await.unwrap();
        let parked = |position| Parked {
            position, stage: None, attempts: 1, since: 1, next_at: 1, dead_at: None, error: None,
        };
        tx.park_delivery("t", parked(1)).await.unwrap();
        assert_eq!(tx.clear(table("events"), Some(&scope())).await.unwrap(), 2);
        tx.park_delivery("t", parked(2)).await.unwrap();
        assert_eq!(count(&mut tx, table("deliveries"), None).await, 1);
        tx.forget_lost_deliveries().await.unwrap();
        assert_eq!(count(&mut tx, table("deliveries"), None).await, 0);
    }
}
