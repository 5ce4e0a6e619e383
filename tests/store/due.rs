//! What is due next.

use super::recordings::recording;
use super::{composition, connected_participant, other_scopes, replication, scope, stage};
use crate::engines::Engine;
use greenroom::domain::composition::Progress;
use greenroom::domain::event::EventKind;
use greenroom::model::replication::ReplicationState;
use greenroom::store::{NEVER, OutboxRow, Parked, RecordingRow, StageKey};

conformance! {
    the_next_due_time_is_the_earliest_of_every_kind_and_account(tx) {
        let scope = scope();
        assert_eq!((tx.next_due().await.unwrap(), tx.count_due(i64::MAX).await.unwrap()), (None, 0));
        tx.insert_session(&scope, "never", "st-1", 1, None).await.unwrap();
        assert_eq!(tx.next_due().await.unwrap(), None);
        tx.insert_composition(&scope, &composition("c", 1, "s", None)).await.unwrap();
        tx.reschedule_composition(&scope, "c", Progress::Started, 90).await.unwrap();
        assert_eq!(tx.next_due().await.unwrap(), Some(90));
        // It ends at 40, unless it was stopped.
        tx.put_replication(&scope, &replication("d3", 1, ReplicationState::Stopped)).await.unwrap();
        assert_eq!(tx.next_due().await.unwrap(), Some(90));
        tx.put_replication(&scope, &replication("d3", 1, ReplicationState::Active)).await.unwrap();
        assert_eq!(tx.next_due().await.unwrap(), Some(40));
        let [other, _] = other_scopes();
        tx.insert_session(&other, "s", "st-1", 1, Some(30)).await.unwrap();
        assert_eq!(tx.next_due().await.unwrap(), Some(30));
        let mut counts = Vec::new();
        for now in [29, 30, 40, 90] {
            counts.push(tx.count_due(now).await.unwrap());
        }
        assert_eq!(counts, [0, 1, 2, 3]);
        tx.end_session(&other, "s", "st-1", 30).await.unwrap();
        assert_eq!((tx.next_due().await.unwrap(), tx.count_due(30).await.unwrap()), (Some(40), 0));
    }

    the_end_of_a_reconnect_window_of_a_recording_is_due_after_its_last_millisecond(tx) {
        assert_eq!(tx.next_recording_end(0).await.unwrap(), None);
        let stopped = |id: &str, unpublished_at, resume_until| RecordingRow {
            unpublished_at: Some(unpublished_at),
            resume_until: Some(resume_until),
            ..recording(id, "p", 1)
        };
        for row in [
            recording("publishing", "p", 1),
            stopped("without-window", 60, 60),
            RecordingRow { ended_at: Some(9), ..stopped("ended", 10, 15) },
            stopped("first", 10, 20),
            RecordingRow { account: other_scopes()[0].account.clone(), ..stopped("second", 10, 40) },
        ] {
            tx.insert_recording(&row).await.unwrap();
        }
        for (now, next) in [(0, Some(21)), (20, Some(21)), (21, Some(41)), (40, Some(41)), (41, None)] {
            assert_eq!(tx.next_recording_end(now).await.unwrap(), next, "{now}");
        }
    }

    the_next_delivery_of_a_target_is_later_than_now(tx) {
        let stage = StageKey { account: "1".into(), region: "r".into(), stage_id: "s".into() };
        let parked = |position, next_at, dead_at| Parked {
            position,
            stage: Some(&stage),
            attempts: 1,
            since: 1,
            next_at,
            dead_at,
            error: None,
        };
        for number in 1..=4 {
            let row = OutboxRow { stage: Some("s"), number, id: "e", kind: EventKind::Event, body: "{}", written_at: 1 };
            tx.insert_outbox(&stage.scope(), row).await.unwrap();
        }
        tx.relay(9).await.unwrap();
        for row in [parked(1, 20, None), parked(2, 30, None), parked(3, NEVER, None), parked(4, 25, Some(9))] {
            tx.park_delivery("t", row).await.unwrap();
        }
        tx.park_delivery("u", parked(1, 10, None)).await.unwrap();
        for (after, next) in [(0, Some(20)), (19, Some(20)), (20, Some(30)), (30, None)] {
            assert_eq!(tx.next_delivery("t", after).await.unwrap(), next, "{after}");
        }
    }

    stages_are_found_by_name(tx) {
        let scope = scope();
        for (id, name, created_at) in [("a", "x", 2), ("b", "x", 1), ("c", "y", 3), ("d", "x", 4)] {
            tx.insert_stage(&scope, &greenroom::store::StageRow { name: name.into(), ..stage(id, created_at) }).await.unwrap();
        }
        let session = connected_participant(&mut tx, "b", "p").await;
        let rows = tx.stages_named(&scope, "x", 2).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(rows[0].active_session, Some(session));
        for other in other_scopes() {
            assert!(tx.stages_named(&other, "x", 9).await.unwrap().is_empty());
        }
    }
}
