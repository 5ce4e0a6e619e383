//! Recordings of participants.

#[path = "../support/recordings.rs"]
mod rows;

use super::{other_scopes, scope, stage};
use crate::engines::Engine;
use greenroom::model::page::Position;
use greenroom::model::participant::ParticipantRecordingState as State;
use greenroom::store::{Conn, Leased, RecordingCount, RecordingFilter, RecordingRow};

pub fn recording(id: &str, participant: &str, created_at: i64) -> RecordingRow {
    let row = rows::starting(&scope(), id, ["s", "st-1", participant], created_at);
    RecordingRow { node_id: Some("n1".into()), ..row }
}

fn ids(rows: Vec<RecordingRow>) -> Vec<String> {
    rows.into_iter().map(|row| row.id).collect()
}

async fn listed(tx: &mut Conn, filter: RecordingFilter<'_>) -> Vec<String> {
    ids(tx.recordings(filter, &Position::last(), 9).await.unwrap())
}

conformance! {
    a_recording_is_inserted_updated_and_read(tx) {
        let scope = scope();
        let row = recording("r1", "p", 5);
        tx.insert_recording(&row).await.unwrap();
        assert_eq!(tx.recording(&scope, "r1").await.unwrap(), Some(row.clone()));
        assert_eq!(tx.lock_recording(&scope, "r1").await.unwrap(), Some(row.clone()));
        let ended = RecordingRow {
            current_session_id: "st-2".into(),
            connection_id: "d".into(),
            state: State::Failed,
            node_id: None,
            started_at: Some(6),
            unpublished_at: Some(7),
            resume_until: Some(8),
            uploaded: true,
            ended_at: Some(9),
            duration_ms: 10,
            next_thumbnail: 11,
            error_code: Some("AccessDenied".into()),
            reason: Some("Access Denied".into()),
            ..row
        };
        tx.update_recording(&ended).await.unwrap();
        assert_eq!(tx.recording(&scope, "r1").await.unwrap(), Some(ended));
        for other in other_scopes() {
            assert_eq!(tx.recording(&other, "r1").await.unwrap(), None);
            assert_eq!(tx.lock_recording(&other, "r1").await.unwrap(), None);
        }
    }

    recordings_are_listed_newest_first_and_filtered(tx) {
        let scope = scope();
        for (id, created_at) in [("a", 1), ("b", 3), ("c", 2)] {
            tx.insert_recording(&recording(id, "p", created_at)).await.unwrap();
        }
        let [elsewhere, others] = other_scopes();
        let row = RecordingRow { region: elsewhere.region.clone(), stage_id: "t".into(), ..recording("d", "p", 4) };
        tx.insert_recording(&row).await.unwrap();
        let row = RecordingRow { account: others.account.clone(), state: State::Active, ..recording("e", "p", 5) };
        tx.insert_recording(&row).await.unwrap();
        let all = RecordingFilter::default();
        assert_eq!(listed(&mut tx, all).await, ["e", "d", "b", "c", "a"]);
        let own = RecordingFilter { account: Some(&scope.account), ..all };
        assert_eq!(listed(&mut tx, own).await, ["d", "b", "c", "a"]);
        assert_eq!(listed(&mut tx, RecordingFilter { region: Some(&scope.region), ..own }).await, ["b", "c", "a"]);
        assert_eq!(listed(&mut tx, RecordingFilter { stage: Some("t"), ..all }).await, ["d"]);
        assert_eq!(listed(&mut tx, RecordingFilter { state: Some(State::Active), ..all }).await, ["e"]);
        let place = Position { order: 3, id: "b".into() };
        assert_eq!(ids(tx.recordings(own, &place, 1).await.unwrap()), ["c"]);
        assert_eq!(ids(tx.recordings_named("b", 9).await.unwrap()), ["b"]);
    }

    recordings_that_have_not_ended_are_found_and_counted(tx) {
        let scope = scope();
        for (id, participant, state, ended_at) in [
            ("a", "p", State::Starting, None),
            ("b", "p", State::Stopped, Some(5)),
            ("c", "q", State::Stopping, None),
            ("d", "p", State::Stopping, None),
        ] {
            tx.insert_recording(&RecordingRow { state, ended_at, ..recording(id, participant, 1) }).await.unwrap();
        }
        assert_eq!(ids(tx.open_recordings("", 9).await.unwrap()), ["a", "c", "d"]);
        assert_eq!(ids(tx.open_recordings("a", 1).await.unwrap()), ["c"]);
        assert_eq!(ids(tx.open_recordings_of(&scope, "s", "p").await.unwrap()), ["a", "d"]);
        assert_eq!(ids(tx.open_recordings_of(&scope, "t", "p").await.unwrap()), [] as [&str; 0]);
        for other in other_scopes() {
            assert_eq!(ids(tx.open_recordings_of(&other, "s", "p").await.unwrap()), [] as [&str; 0]);
        }
        let mut counts = tx.count_recordings().await.unwrap();
        counts.sort_by_key(|row| row.count);
        let count = |state, count| RecordingCount { state, count };
        assert_eq!(counts, [count(State::Starting, 1), count(State::Stopping, 2)]);
    }

    a_recording_has_one_owner(tx) {
        let scope = scope();
        let leased = Leased::Recording(&scope, "a");
        tx.insert_recording(&recording("a", "p", 1)).await.unwrap();
        tx.insert_recording(&RecordingRow { ended_at: Some(1), ..recording("b", "p", 1) }).await.unwrap();
        let owner = tx.owner(leased).await.unwrap().unwrap();
        assert_eq!((owner.id.as_str(), owner.dead), ("n1", true), "an unknown node counts as fenced");
        assert!(!tx.claim(leased, "n2", None, 9).await.unwrap());
        assert!(tx.claim(leased, "n2", Some(&owner), 9).await.unwrap());
        assert!(!tx.claim(leased, "n3", Some(&owner), 9).await.unwrap());
        tx.release(leased, "n1", 9).await.unwrap();
        assert_eq!(tx.owner(leased).await.unwrap().unwrap().id, "n2");
        tx.release_all_of("n2", 9).await.unwrap();
        assert_eq!(tx.owner(leased).await.unwrap(), None);
        assert!(tx.claim(leased, "n1", None, 9).await.unwrap());
        tx.release_all_of("n1", 9).await.unwrap();
        assert_eq!(tx.recording(&scope, "b").await.unwrap().unwrap().node_id.as_deref(), Some("n1"), "it has ended");
    }

    recordings_of_deleted_stages_are_forgotten_after_a_while(tx) {
        tx.insert_stage(&scope(), &stage("s", 1)).await.unwrap();
        for (id, stage_id, ended_at) in
            [("a", "s", Some(5)), ("b", "gone", Some(5)), ("c", "gone", Some(6)), ("d", "gone", None)]
        {
            tx.insert_recording(&RecordingRow { stage_id: stage_id.into(), ended_at, ..recording(id, "p", 1) }).await.unwrap();
        }
        tx.forget_recordings(5).await.unwrap();
        assert_eq!(listed(&mut tx, RecordingFilter::default()).await, ["d", "c", "a"]);
    }
}
