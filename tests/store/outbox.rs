//! The outbox and the event log.

use crate::engines::Engine;
use crate::{other_scopes, scope};
use greenroom::domain::event::EventKind;
use greenroom::store::{Conn, OutboxRow};

async fn write(tx: &mut Conn, stage: &str, number: i64, id: &str) {
    let row =
        OutboxRow { stage: Some(stage), number, id, kind: EventKind::Event, body: "{}", written_at: 100 + number };
    tx.insert_outbox(&scope(), row).await.unwrap();
}

conformance! {
    events_of_a_stage_are_numbered_in_order(tx) {
        assert_eq!(tx.number_events(&scope(), "s", 1, 5).await.unwrap(), 1);
        tx.bump_revision(&scope(), "s", 6, false).await.unwrap();
        assert_eq!(tx.number_events(&scope(), "s", 3, 7).await.unwrap(), 4);
        for other in other_scopes() {
            assert_eq!(tx.number_events(&other, "s", 2, 5).await.unwrap(), 2);
        }
        let changes = tx.changes(0, None, 10).await.unwrap();
        assert_eq!(changes.iter().find(|row| row.key().scope() == scope()).unwrap().revision, 1);
    }

    the_outbox_is_relayed_to_the_log_in_order_per_stage(tx) {
        assert!(!tx.is_outbox_waiting().await.unwrap());
        assert_eq!((tx.relay(9).await.unwrap(), tx.log_end().await.unwrap()), ((0, 0), 0));
        for (stage, number, id) in [("b", 2, "y"), ("a", 1, "z"), ("b", 1, "x"), ("B", 1, "w")] {
            write(&mut tx, stage, number, id).await;
        }
        assert!(tx.is_outbox_waiting().await.unwrap());
        assert_eq!(tx.relay(3).await.unwrap(), (3, 3));
        assert_eq!(tx.relay(3).await.unwrap(), (1, 4));
        assert!(!tx.is_outbox_waiting().await.unwrap());
        let log = tx.log(0, 10).await.unwrap();
        let seen: Vec<_> = log.iter().map(|row| (row.position, row.id.as_str())).collect();
        assert_eq!(seen, [(1, "w"), (2, "z"), (3, "x"), (4, "y")]);
        assert_eq!(tx.log(3, 10).await.unwrap(), log[3..]);
        assert_eq!(tx.log(1, 1).await.unwrap(), log[1..2]);
        assert_eq!(tx.log_end().await.unwrap(), 4);
    }

    each_account_and_region_has_its_own_log(tx) {
        for (n, owner) in other_scopes().iter().chain([&scope()]).enumerate() {
            let id = n.to_string();
            let row = OutboxRow { stage: None, number: 1, id: &id, kind: EventKind::Audit, body: "{}", written_at: 1 };
            tx.insert_outbox(owner, row).await.unwrap();
        }
        tx.relay(10).await.unwrap();
        let log = tx.log_of(&scope(), 0, 10).await.unwrap();
        assert_eq!((log.len(), log[0].id.as_str(), log[0].kind), (1, "2", EventKind::Audit));
        assert_eq!(tx.log_of(&scope(), log[0].position, 10).await.unwrap(), []);
    }

    the_log_is_trimmed_by_age_except_for_pending_deliveries(tx) {
        for number in 1..=6 {
            write(&mut tx, "s", number, &number.to_string()).await;
        }
        tx.relay(10).await.unwrap();
        assert_eq!(tx.log_since(104).await.unwrap(), Some(4));
        assert_eq!(tx.log_since(107).await.unwrap(), None);
        assert_eq!(tx.trim_log(90, 3, 2).await.unwrap(), 0);
        assert_eq!(tx.log_trimmed().await.unwrap(), (0, 0));
        assert_eq!(tx.trim_log(105, 3, 2).await.unwrap(), 2);
        assert_eq!(tx.log_trimmed().await.unwrap(), (2, 105));
        assert_eq!(tx.log_start().await.unwrap(), Some(3));
        assert_eq!(tx.trim_log(105, 3, 2).await.unwrap(), 1);
        assert_eq!(tx.trim_log(105, 3, 2).await.unwrap(), 0);
        assert_eq!(tx.log_start().await.unwrap(), Some(4));
        assert_eq!(tx.trim_log(200, 6, 9).await.unwrap(), 3);
        assert_eq!((tx.log_start().await.unwrap(), tx.log_end().await.unwrap()), (None, 6));
        assert_eq!(tx.log_trimmed().await.unwrap(), (6, 200));
    }

    the_first_position_since_a_time_is_found_in_an_unordered_log(tx) {
        for (number, written_at) in [(1, 100), (2, 103), (3, 101), (4, 102), (5, 104)] {
            let id = number.to_string();
            let row = OutboxRow { stage: Some("s"), number, id: &id, kind: EventKind::Event, body: "{}", written_at };
            tx.insert_outbox(&scope(), row).await.unwrap();
        }
        tx.relay(10).await.unwrap();
        assert_eq!(tx.log_since(101).await.unwrap(), Some(2));
        assert_eq!(tx.log_since(104).await.unwrap(), Some(5));
    }

    trimmed_positions_are_known_despite_older_pending_deliveries(tx) {
        for number in 1..=3 {
            write(&mut tx, "s", number, &number.to_string()).await;
        }
        tx.relay(10).await.unwrap();
        assert_eq!(tx.trim_log(103, 2, 1).await.unwrap(), 1);
        assert_eq!(tx.trim_log(102, 2, 1).await.unwrap(), 0);
        assert_eq!(tx.trim_log(103, 2, 1).await.unwrap(), 1);
        assert_eq!(tx.log_trimmed().await.unwrap(), (2, 103));
    }
}
