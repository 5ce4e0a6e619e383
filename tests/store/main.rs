//! Conformance of the store: one suite covers every statement on both engines.

#[path = "../support/engines.rs"]
mod engines;

use engines::Engine;
use greenroom::clock::Timestamp;
use greenroom::domain::admission::Intent;
use greenroom::domain::composition::Progress;
use greenroom::domain::event::CompositionError;
use greenroom::domain::participant::{Client, CurrentToken, Participant};
use greenroom::model::arn::{ResourceKind, Scope};
use greenroom::model::ingest_configuration::{IngestConfigurationState, IngestProtocol};
use greenroom::model::page::Position;
use greenroom::model::participant::{
    ParticipantProtocol, ParticipantRecordingFilterByRecordingState, ParticipantRecordingState, ParticipantState,
};
use greenroom::model::replication::{ReplicationState, ReplicationType};
use greenroom::store::{
    AccessKeyRow, AdmissionRow, CompositionRow, Conn, ConnectionRow, Db, Due, EncoderConfigurationRow,
    IngestConfigurationRow, Json, NodeRow, ParticipantFilter, ParticipantRow, PublicKeyRow, ReplicationRow, SessionKey,
    SigningKeyRow, StageKey, StageRevisionRow, StageRow, StorageConfigurationRow, StoreError, VisibleParticipantRow,
};
use serde_json::json;

const CONNECTED: ParticipantState = ParticipantState::Connected;
const DISCONNECTED: ParticipantState = ParticipantState::Disconnected;
const ACTIVE: IngestConfigurationState = IngestConfigurationState::Active;
const INACTIVE: IngestConfigurationState = IngestConfigurationState::Inactive;

fn scope() -> Scope {
    Scope { account: "123456789012".into(), region: "us-west-2".into() }
}

/// The same account in another region, and another account: rows of `scope` must be invisible to both.
fn other_scopes() -> [Scope; 2] {
    [
        Scope { account: "123456789012".into(), region: "eu-west-1".into() },
        Scope { account: "999999999999".into(), region: "us-west-2".into() },
    ]
}

fn from<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn at(order: i64, id: &str) -> Position {
    Position { order, id: id.into() }
}

fn stage(id: &str, created_at: i64) -> StageRow {
    StageRow {
        id: id.into(),
        name: format!("name of {id}"),
        tags: Json(from(json!({"k": "v", "ключ": "значение"}))),
        recording: Json(greenroom::domain::stage::recording(None)),
        recording_storage_id: None,
        created_at,
        quiet_since: created_at,
        active_session: None,
    }
}

/// Defines tests that run in one transaction on each engine.
macro_rules! conformance {
    ($( $name:ident($tx:ident) $body:block )*) => {$(
        #[tokio::test]
        async fn $name() {
            for engine in Engine::both().await {
                let db = engine.open().await;
                {
                    #[allow(unused_mut, reason = "not every check writes")]
                    let mut $tx = db.write().await.unwrap();
                    $body
                    $tx.commit().await.unwrap();
                }
                db.close().await;
            }
        }
    )*};
}

mod account_state;
mod deliveries;
mod due;
mod dump;
mod inspect;
mod leases;
mod metrics;
mod outbox;
mod reads;
mod recordings;
mod server;
mod sqlite;

/// Paginates through a whole list; returns the ids.
macro_rules! walk {
    ($from:expr, |$place:ident| $page:expr, |$row:ident| $key:expr) => {{
        let mut $place = $from;
        let mut ids = Vec::new();
        loop {
            let rows = $page.await.unwrap();
            let Some($row) = rows.last() else { break };
            let (order, id): (i64, String) = $key;
            ids.extend(rows.iter().map(|$row| $key.1));
            $place = at(order, &id);
        }
        ids
    }};
}

conformance! {
    stages_are_inserted_read_and_listed_in_order_of_creation(tx) {
        // Upper case sorts before lower case on both engines.
        for (id, created_at) in [("b", 2), ("a", 2), ("Z", 2), ("late", 3), ("early", 1)] {
            tx.insert_stage(&scope(), &stage(id, created_at)).await.unwrap();
        }
        let row = tx.stage(&scope(), "a").await.unwrap().unwrap();
        assert_eq!((row.name.as_str(), row.created_at, row.quiet_since), ("name of a", 2, 2));
        assert_eq!(row.tags.0, stage("a", 0).tags.0);
        assert_eq!(row.recording.0, stage("a", 0).recording.0);
        let ids = walk!(Position::first(), |place| tx.stages(&scope(), &place, 2), |row| (row.created_at, row.id.clone()));
        assert_eq!(ids, ["early", "Z", "a", "b", "late"]);
        assert_eq!(tx.count_resources(&scope(), ResourceKind::Stage, 100).await.unwrap(), 5);
        assert_eq!(tx.count_resources(&scope(), ResourceKind::Stage, 3).await.unwrap(), 3);
        for other in other_scopes() {
            assert!(tx.stage(&other, "a").await.unwrap().is_none());
            assert!(tx.lock_stage(&other, "a").await.unwrap().is_none());
            assert!(tx.stages(&other, &Position::first(), 10).await.unwrap().is_empty());
            assert_eq!(tx.count_resources(&other, ResourceKind::Stage, 10).await.unwrap(), 0);
        }
        let elsewhere = Scope { region: "eu-central-1".into(), ..scope() };
        tx.insert_stage(&elsewhere, &stage("a", 1)).await.unwrap();
        assert_eq!(tx.count_resources_of_account(&scope().account, ResourceKind::Stage, 100).await.unwrap(), 6);
        assert_eq!(tx.count_resources_of_account(&scope().account, ResourceKind::Stage, 3).await.unwrap(), 3);
        assert_eq!(tx.count_resources_of_account("000000000009", ResourceKind::Stage, 9).await.unwrap(), 0);
    }

    a_stage_is_updated_and_deleted_with_its_history(tx) {
        let id = "a";
        tx.insert_stage(&scope(), &stage(id, 1)).await.unwrap();
        let mut row = tx.lock_stage(&scope(), id).await.unwrap().unwrap();
        row.name = "other".into();
        row.recording_storage_id = Some("storage".into());
        tx.update_stage(&scope(), &row).await.unwrap();
        tx.set_stage_quiet(&scope(), id, 77).await.unwrap();
        let row = tx.stage(&scope(), id).await.unwrap().unwrap();
        assert_eq!((row.name.as_str(), row.quiet_since), ("other", 77));
        assert_eq!(tx.count_stages_recording_to(&scope(), "storage").await.unwrap(), 1);
        assert_eq!(tx.count_stages_recording_to(&scope(), "").await.unwrap(), 0);
        let place = connected_participant(&mut tx, id, "p").await;
        tx.revoke_participant(&scope(), id, "p", "why", 1).await.unwrap();
        tx.delete_stage_history(&scope(), id).await.unwrap();
        assert!(tx.delete_resource(&scope(), ResourceKind::Stage, id).await.unwrap());
        assert!(tx.stage(&scope(), id).await.unwrap().is_none());
        let here = SessionKey { scope: &scope(), stage: id, session: &place };
        assert!(tx.session(&scope(), id, &place).await.unwrap().is_none());
        assert!(tx.participant(here, "p").await.unwrap().is_none());
        assert!(tx.events(here, "p", -1, 10).await.unwrap().is_empty());
        assert!(!tx.is_participant_revoked(&scope(), id, "p").await.unwrap());
    }

    a_stage_has_at_most_one_open_session(tx) {
        tx.insert_stage(&scope(), &stage("a", 1)).await.unwrap();
        assert!(tx.open_session(&scope(), "a").await.unwrap().is_none());
        tx.insert_session(&scope(), "a", "st-1", 10, None).await.unwrap();
        assert_eq!(tx.open_session(&scope(), "a").await.unwrap().unwrap().id, "st-1");
        assert_eq!(tx.stage(&scope(), "a").await.unwrap().unwrap().active_session.as_deref(), Some("st-1"));
        assert!(tx.end_session(&scope(), "a", "st-1", 20).await.unwrap());
        assert!(!tx.end_session(&scope(), "a", "st-1", 30).await.unwrap(), "the session has already ended");
        tx.insert_session(&scope(), "a", "st-2", 10, None).await.unwrap();
        tx.insert_session(&scope(), "other", "st-3", 10, None).await.unwrap();
        let row = tx.session(&scope(), "a", "st-1").await.unwrap().unwrap();
        assert_eq!((row.started_at, row.ended_at), (10, Some(20)));
        let ids = walk!(Position::last(), |place| tx.sessions(&scope(), "a", &place, 1), |row| (row.started_at, row.id.clone()));
        assert_eq!(ids, ["st-2", "st-1"], "newest first, then by id");
        for other in other_scopes() {
            assert!(tx.session(&other, "a", "st-1").await.unwrap().is_none());
            assert!(tx.open_session(&other, "a").await.unwrap().is_none());
            assert!(tx.sessions(&other, "a", &Position::last(), 9).await.unwrap().is_empty());
        }
    }

    participants_are_listed_by_first_joining_and_filtered(tx) {
        tx.insert_stage(&scope(), &stage("a", 1)).await.unwrap();
        tx.insert_session(&scope(), "a", "st-1", 1, None).await.unwrap();
        let scope = scope();
        let here = SessionKey { scope: &scope, stage: "a", session: "st-1" };
        for (id, joined, user, published, state, recording) in [
            ("p3", 3, "u", true, CONNECTED, ParticipantRecordingState::Active),
            ("p1", 1, "u", false, DISCONNECTED, ParticipantRecordingState::Stopped),
            ("p2", 2, "w", true, CONNECTED, ParticipantRecordingState::Disabled),
        ] {
            let row = ParticipantRow {
                user_id: user.into(),
                published,
                publishing: published,
                state,
                recording_state: recording,
                ..participant(id, joined)
            };
            tx.insert_participant(here, &row).await.unwrap();
            assert_eq!(tx.participant(here, id).await.unwrap().unwrap(), row, "the row is read as written");
        }
        for (filter, expected) in [
            (ParticipantFilter::All, &["p1", "p2", "p3"][..]),
            (ParticipantFilter::UserId("u".into()), &["p1", "p3"]),
            (ParticipantFilter::Published(true), &["p2", "p3"]),
            (ParticipantFilter::Published(false), &["p1"]),
            (ParticipantFilter::State(CONNECTED), &["p2", "p3"]),
            (ParticipantFilter::RecordingState(ParticipantRecordingFilterByRecordingState::Active), &["p3"]),
        ] {
            let ids = walk!(
                Position::first(),
                |place| tx.participants(here, &filter, &place, 1),
                |row| (row.first_joined_at, row.id.clone())
            );
            assert_eq!(ids, expected, "{filter:?}");
        }
        let connected: Vec<_> = tx.connected_participants(here).await.unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!(connected, ["p2", "p3"]);
        assert_eq!(tx.count_publishing(&scope, "a").await.unwrap(), 2);
        assert_eq!(tx.count_recording(here).await.unwrap(), 1);
        for other in other_scopes() {
            let there = SessionKey { scope: &other, ..here };
            assert!(tx.participant(there, "p1").await.unwrap().is_none());
            assert!(tx.connected_participants(there).await.unwrap().is_empty());
            assert!(tx.participants(there, &ParticipantFilter::All, &Position::first(), 9).await.unwrap().is_empty());
            assert_eq!(tx.count_publishing(&other, "a").await.unwrap(), 0);
            assert_eq!(tx.count_recording(there).await.unwrap(), 0);
        }
    }

    a_participant_is_updated_by_compare_and_set_on_its_events(tx) {
        let scope = scope();
        tx.insert_stage(&scope, &stage("a", 1)).await.unwrap();
        let session = connected_participant(&mut tx, "a", "p").await;
        let here = SessionKey { scope: &scope, stage: "a", session: &session };
        let row = tx.participant(here, "p").await.unwrap().unwrap();
        assert_eq!(row.events, 1);
        let next = ParticipantRow {
            publishing: true,
            published: true,
            events: 2,
            redundant_ingest: true,
            ingest_configuration_id: None,
            ..row.clone()
        };
        assert!(tx.update_participant(here, 1, &next).await.unwrap());
        assert!(!tx.update_participant(here, 1, &next).await.unwrap(), "the event count has changed");
        assert_eq!(tx.participant(here, "p").await.unwrap().unwrap(), next);
        let (_, events) = Participant::first_join("p", false, Timestamp(5));
        tx.insert_events(here, "p", 1, &[events[0].clone(), events[0].clone()]).await.unwrap();
        let numbers: Vec<_> = tx.events(here, "p", -1, 2).await.unwrap().into_iter().map(|row| row.0).collect();
        assert_eq!(numbers, [0, 1]);
        let rest = tx.events(here, "p", 1, 9).await.unwrap();
        assert_eq!((rest.len(), rest[0].0), (1, 2));
        assert_eq!(rest[0].1.0, events[0]);
        for other in other_scopes() {
            assert!(tx.events(SessionKey { scope: &other, ..here }, "p", -1, 9).await.unwrap().is_empty());
        }
    }

    a_locked_stage_is_returned_with_its_due_work(tx) {
        let scope = scope();
        tx.insert_stage(&scope, &stage("s", 1)).await.unwrap();
        let due = async |tx: &mut Conn, now| tx.lock_stage_with_due(&scope, "s", now).await.unwrap().unwrap().1;
        assert_eq!(due(&mut tx, 99).await, Due { session: None, replications: false });
        tx.insert_session(&scope, "s", "st-1", 1, Some(7)).await.unwrap();
        tx.insert_session(&scope, "other", "st-1", 1, Some(8)).await.unwrap();
        tx.put_replication(&scope, &replication("d3", 1, ReplicationState::Active)).await.unwrap();
        let (row, held) = tx.lock_stage_with_due(&scope, "s", 39).await.unwrap().unwrap();
        assert_eq!((row.name.as_str(), row.created_at, row.active_session.as_deref()), ("name of s", 1, Some("st-1")));
        assert_eq!(held, Due { session: Some(7), replications: false });
        assert_eq!(due(&mut tx, 40).await, Due { session: Some(7), replications: true });
        tx.put_replication(&scope, &replication("d3", 1, ReplicationState::Stopped)).await.unwrap();
        tx.end_session(&scope, "s", "st-1", 3).await.unwrap();
        assert_eq!(due(&mut tx, 40).await, Due { session: None, replications: false });
        let into = ReplicationRow { source_stage_id: "x".into(), destination_stage_id: "s".into(), ..replication("d3", 1, ReplicationState::Active) };
        tx.put_replication(&scope, &into).await.unwrap();
        assert!(due(&mut tx, 40).await.replications, "replications into the stage count too");
        for other in other_scopes() {
            assert!(tx.lock_stage_with_due(&other, "s", 40).await.unwrap().is_none());
        }
    }

    a_stage_is_read_with_its_session_and_latest_change(tx) {
        let scope = scope();
        tx.insert_stage(&scope, &stage("s", 1)).await.unwrap();
        let sight = async |tx: &mut Conn| tx.stage_revision(&scope, "s").await.unwrap();
        assert_eq!(sight(&mut tx).await, Some(StageRevisionRow { active_session: None, revision: None }));
        let session = connected_participant(&mut tx, "s", "p").await;
        for revision in 1..3 {
            tx.bump_revision(&scope, "s", 5, false).await.unwrap();
            let seen = StageRevisionRow { active_session: Some(session.clone()), revision: Some(revision) };
            assert_eq!(sight(&mut tx).await, Some(seen));
        }
        for other in other_scopes() {
            assert_eq!(tx.stage_revision(&other, "s").await.unwrap(), None);
        }
    }

    a_session_is_due_only_while_it_is_empty(tx) {
        let scope = scope();
        let session = connected_participant(&mut tx, "s", "p").await;
        let here = SessionKey { scope: &scope, stage: "s", session: &session };
        let ends_at = async |tx: &mut Conn| tx.open_session(&scope, "s").await.unwrap().unwrap().ends_at;
        tx.set_empty_session_due(&scope, "s", &session, Some(7)).await.unwrap();
        assert_eq!(ends_at(&mut tx).await, None, "a participant is connected");
        let row = ParticipantRow { state: DISCONNECTED, ..participant("p", 1) };
        assert!(tx.update_participant(here, 1, &row).await.unwrap());
        for other in other_scopes() {
            tx.set_empty_session_due(&other, "s", &session, Some(6)).await.unwrap();
        }
        tx.set_empty_session_due(&scope, "s", &session, Some(7)).await.unwrap();
        assert_eq!(ends_at(&mut tx).await, Some(7));
        tx.set_empty_session_due(&scope, "s", &session, None).await.unwrap();
        assert_eq!(ends_at(&mut tx).await, None);
        tx.end_session(&scope, "s", &session, 9).await.unwrap();
        tx.set_empty_session_due(&scope, "s", &session, Some(8)).await.unwrap();
        assert_eq!(tx.session(&scope, "s", &session).await.unwrap().unwrap().ends_at, None, "ended sessions are not due");
    }

    a_joining_participant_is_read_with_revocation_and_current_token(tx) {
        let scope = scope();
        assert_eq!(tx.admission(&scope, "s", "p").await.unwrap(), None, "the stage does not exist");
        tx.insert_stage(&scope, &stage("s", 1)).await.unwrap();
        let unrestricted = Some(AdmissionRow { revoked: false, token: None });
        assert_eq!(tx.admission(&scope, "s", "p").await.unwrap(), unrestricted);
        let session = connected_participant(&mut tx, "s", "p").await;
        let here = SessionKey { scope: &scope, stage: "s", session: &session };
        let guest = |token, revoked| Some(AdmissionRow { revoked, token: Some(Json(token)) });
        assert_eq!(tx.admission(&scope, "s", "p").await.unwrap(), guest(None, false));
        let token = CurrentToken { issued_at: 3, digest: "d".into(), ..CurrentToken::default() };
        let row = ParticipantRow { token: Json(Some(token.clone())), ..participant("p", 1) };
        assert!(tx.update_participant(here, 1, &row).await.unwrap());
        tx.revoke_participant(&scope, "s", "p", "why", 1).await.unwrap();
        assert_eq!(tx.admission(&scope, "s", "p").await.unwrap(), guest(Some(token), true));
        assert_eq!(tx.admission(&scope, "s", "q").await.unwrap(), unrestricted);
        tx.insert_node("n", "http://x", 9).await.unwrap();
        assert_eq!(tx.revoked_and_node_alive(&scope, "s", "p", "n").await.unwrap(), (true, true));
        assert_eq!(tx.revoked_and_node_alive(&scope, "s", "q", "m").await.unwrap(), (false, false));
        tx.fence_node("n", 9).await.unwrap();
        assert_eq!(tx.revoked_and_node_alive(&scope, "s", "q", "n").await.unwrap(), (false, false));
        for other in other_scopes() {
            assert_eq!(tx.admission(&other, "s", "p").await.unwrap(), None);
            assert!(!tx.revoked_and_node_alive(&other, "s", "p", "n").await.unwrap().0);
        }
        let row = ParticipantRow { state: DISCONNECTED, ..row };
        assert!(tx.update_participant(here, 1, &row).await.unwrap());
        assert_eq!(tx.admission(&scope, "s", "p").await.unwrap(), Some(AdmissionRow { revoked: true, token: None }), "a disconnected participant has no current token");
    }

    revocations_are_idempotent_and_permanent(tx) {
        let scope = scope();
        for _ in 0..2 {
            tx.revoke_participant(&scope, "a", "p", "because", 5).await.unwrap();
            tx.revoke_connection_token(&scope, "t", 5).await.unwrap();
        }
        assert!(tx.is_participant_revoked(&scope, "a", "p").await.unwrap());
        assert!(!tx.is_participant_revoked(&scope, "b", "p").await.unwrap());
        assert!(!tx.is_participant_revoked(&scope, "a", "q").await.unwrap());
        assert!(tx.is_connection_token_revoked(&scope, "t").await.unwrap());
        assert!(!tx.is_connection_token_revoked(&scope, "u").await.unwrap());
        for other in other_scopes() {
            assert!(!tx.is_participant_revoked(&other, "a", "p").await.unwrap());
            assert!(!tx.is_connection_token_revoked(&other, "t").await.unwrap());
        }
    }

    signing_keys_are_listed_newest_first(tx) {
        assert!(tx.newest_signing_key().await.unwrap().is_none());
        for (id, created_at) in [("old", 1), ("new", 3), ("middle", 2)] {
            let row = SigningKeyRow { id: id.into(), created_at, sealed: Some("sealed".into()), retired_at: None };
            tx.insert_signing_key(&row).await.unwrap();
        }
        let rows = tx.signing_keys().await.unwrap();
        assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["new", "middle", "old"]);
        assert_eq!((rows[0].created_at, rows[0].sealed.as_deref()), (3, Some("sealed")));
        assert_eq!(tx.newest_signing_key().await.unwrap().as_deref(), Some("new"));
        assert_eq!(tx.signing_key("old").await.unwrap().unwrap().created_at, 1);
        assert!(tx.signing_key("unknown").await.unwrap().is_none());
    }

    a_retired_signing_key_loses_its_private_key_and_does_not_sign(tx) {
        for (id, created_at) in [("old", 1), ("new", 2)] {
            let row = SigningKeyRow { id: id.into(), created_at, sealed: Some("sealed".into()), retired_at: None };
            tx.insert_signing_key(&row).await.unwrap();
        }
        assert!(tx.retire_signing_key("new", 9).await.unwrap());
        assert!(!tx.retire_signing_key("new", 10).await.unwrap());
        assert!(!tx.retire_signing_key("unknown", 9).await.unwrap());
        let row = tx.signing_key("new").await.unwrap().unwrap();
        assert_eq!((row.retired_at, row.sealed), (Some(9), None));
        assert_eq!(tx.newest_signing_key().await.unwrap().as_deref(), Some("old"));
        assert_eq!(tx.sealed_signing_key().await.unwrap(), Some(("old".into(), "sealed".into())));
        assert_eq!(tx.signing_keys().await.unwrap().len(), 2);
    }

    the_encrypted_columns_of_one_row_are_updated(tx) {
        use greenroom::store::tables::{Cell, Table};
        for id in ["a", "b"] {
            let row = SigningKeyRow { id: id.into(), created_at: 1, sealed: Some("old".into()), retired_at: None };
            tx.insert_signing_key(&row).await.unwrap();
        }
        let table = Table::named("signing_keys", 5).unwrap();
        let columns = table.columns(5);
        let row = [Cell::Text("a".into()), Cell::Number(7), Cell::Text("new".into()), Cell::Null];
        tx.reseal(table, &columns, &row).await.unwrap();
        let row = tx.signing_key("a").await.unwrap().unwrap();
        assert_eq!((row.created_at, row.sealed.as_deref()), (1, Some("new")));
        assert_eq!(tx.signing_key("b").await.unwrap().unwrap().sealed.as_deref(), Some("old"));
    }

    access_keys_are_inserted_read_listed_and_deleted(tx) {
        let key = |id: &str, created_at: i64| AccessKeyRow {
            id: id.into(),
            account: "123456789012".into(),
            name: "alice".into(),
            sealed_secret: "sealed".into(),
            sealed_session_token: "too".into(),
            policy: "{}".into(),
            enabled: true,
            created_at,
            expires_at: Some(9),
            last_used_at: None,
        };
        for (id, created_at) in [("B", 1), ("A", 2), ("a", 1)] {
            tx.insert_access_key(&key(id, created_at)).await.unwrap();
        }
        assert_eq!(tx.access_key("A").await.unwrap(), Some(key("A", 2)), "the row is read as written");
        assert_eq!(tx.access_key("b").await.unwrap(), None, "ids are case-sensitive");
        let ids = walk!(Position::first(), |place| tx.access_keys(&place, 1), |row| (row.created_at, row.id.clone()));
        assert_eq!(ids, ["B", "a", "A"]);
        assert!(tx.enable_access_key("A", false).await.unwrap());
        tx.set_access_key_used("A", 77).await.unwrap();
        let row = tx.access_key("A").await.unwrap().unwrap();
        assert_eq!((row.enabled, row.last_used_at), (false, Some(77)));
        assert!(tx.delete_access_key("A").await.unwrap());
        assert!(!tx.delete_access_key("A").await.unwrap());
        assert!(!tx.enable_access_key("A", true).await.unwrap());
    }

    public_keys_are_inserted_read_listed_and_deleted(tx) {
        let key = |id: &str, created_at: i64| PublicKeyRow {
            id: id.into(),
            name: "n".into(),
            material: "pem".into(),
            fingerprint: format!("of {id}"),
            tags: Json(from(json!({}))),
            created_at,
        };
        tx.insert_public_key(&scope(), &key("b", 1)).await.unwrap();
        tx.insert_public_key(&scope(), &key("a", 1)).await.unwrap();
        let row = tx.public_key(&scope(), "a").await.unwrap().unwrap();
        assert_eq!((row.material.as_str(), row.fingerprint.as_str(), row.name.as_str()), ("pem", "of a", "n"));
        let ids = walk!(Position::first(), |place| tx.public_keys(&scope(), &place, 1), |row| (row.created_at, row.id.clone()));
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(tx.count_resources(&scope(), ResourceKind::PublicKey, 9).await.unwrap(), 2);
        for other in other_scopes() {
            assert!(tx.public_key(&other, "a").await.unwrap().is_none());
            assert!(!tx.delete_resource(&other, ResourceKind::PublicKey, "a").await.unwrap());
            assert_eq!(tx.count_resources(&other, ResourceKind::PublicKey, 9).await.unwrap(), 0);
            tx.insert_public_key(&other, &key("b", 1)).await.unwrap();
        }
        assert!(tx.delete_resource(&scope(), ResourceKind::PublicKey, "a").await.unwrap());
        assert!(!tx.delete_resource(&scope(), ResourceKind::PublicKey, "a").await.unwrap());
    }

    encoder_and_storage_configurations_are_inserted_read_listed_and_deleted(tx) {
        for (id, created_at) in [("b", 1), ("a", 2)] {
            let encoder = EncoderConfigurationRow {
                id: id.into(),
                name: "n".into(),
                video: Json(greenroom::domain::encoder_configuration::video(None).unwrap()),
                tags: Json(from(json!({"a": "b"}))),
                created_at,
            };
            tx.insert_encoder_configuration(&scope(), &encoder).await.unwrap();
            let storage = StorageConfigurationRow {
                id: id.into(),
                name: "n".into(),
                bucket: "bucket".into(),
                tags: encoder.tags.clone(),
                created_at,
            };
            tx.insert_storage_configuration(&scope(), &storage).await.unwrap();
        }
        let encoder = tx.encoder_configuration(&scope(), "a").await.unwrap().unwrap();
        assert_eq!(encoder.video.0, greenroom::domain::encoder_configuration::video(None).unwrap());
        assert_eq!(tx.storage_configuration(&scope(), "a").await.unwrap().unwrap().bucket, "bucket");
        assert_eq!(tx.storage_buckets(9).await.unwrap(), ["bucket"], "each once");
        let encoders = walk!(Position::first(), |place| tx.encoder_configurations(&scope(), &place, 1), |row| (row.created_at, row.id.clone()));
        let storages = walk!(Position::first(), |place| tx.storage_configurations(&scope(), &place, 1), |row| (row.created_at, row.id.clone()));
        assert_eq!((encoders, storages), (vec!["b".to_owned(), "a".to_owned()], vec!["b".to_owned(), "a".to_owned()]));
        for other in other_scopes() {
            assert!(tx.encoder_configuration(&other, "a").await.unwrap().is_none());
            assert!(tx.storage_configuration(&other, "a").await.unwrap().is_none());
            assert!(!tx.delete_resource(&other, ResourceKind::EncoderConfiguration, "a").await.unwrap());
            assert!(!tx.delete_resource(&other, ResourceKind::StorageConfiguration, "a").await.unwrap());
            assert_eq!(tx.count_resources(&other, ResourceKind::EncoderConfiguration, 9).await.unwrap(), 0);
            assert_eq!(tx.count_resources(&other, ResourceKind::StorageConfiguration, 9).await.unwrap(), 0);
        }
        assert_eq!(tx.count_resources(&scope(), ResourceKind::EncoderConfiguration, 9).await.unwrap(), 2);
        assert_eq!(tx.count_resources(&scope(), ResourceKind::StorageConfiguration, 9).await.unwrap(), 2);
        assert!(tx.delete_resource(&scope(), ResourceKind::EncoderConfiguration, "a").await.unwrap());
        assert!(tx.delete_resource(&scope(), ResourceKind::StorageConfiguration, "a").await.unwrap());
    }

    ingest_configurations_are_filtered_by_stage_or_state(tx) {
        let scope = scope();
        for (id, created_at, stage, state) in [("a", 1, Some("s1"), ACTIVE), ("b", 2, None, INACTIVE), ("c", 3, Some("s1"), INACTIVE)] {
            tx.insert_ingest_configuration(&scope, &ingest(id, created_at, stage, state)).await.unwrap();
        }
        for (filter, expected) in [
            ((None, None), &["a", "b", "c"][..]),
            ((Some("s1"), None), &["a", "c"]),
            ((None, Some(INACTIVE)), &["b", "c"]),
            ((Some("s2"), None), &[]),
        ] {
            let ids = walk!(Position::first(), |place| tx.ingest_configurations(&scope, filter, &place, 1), |row| (row.created_at, row.id.clone()));
            assert_eq!(ids, expected, "{filter:?}");
        }
        let of_stage = tx.ingest_configurations_of_stage(&scope, "s1").await.unwrap();
        assert_eq!(of_stage.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(tx.count_resources(&scope, ResourceKind::IngestConfiguration, 9).await.unwrap(), 3);
        let mut row = tx.lock_ingest_configuration(&scope, "b").await.unwrap().unwrap();
        assert_eq!((row.stream_key.as_str(), row.credentials.len()), ("secret", 1));
        assert!(!format!("{row:?}").contains("secret"));
        row.stage_id = Some("s2".into());
        row.state = ACTIVE;
        row.redundant = true;
        row.credentials.0.0.clear();
        tx.update_ingest_configuration(&scope, &row).await.unwrap();
        let row = tx.ingest_configuration(&scope, "b").await.unwrap().unwrap();
        assert_eq!((row.stage_id.as_deref(), row.state, row.redundant, row.credentials.len()), (Some("s2"), ACTIVE, true, 0));
        for other in other_scopes() {
            tx.set_ingest_state(&other, "s1", "a", INACTIVE).await.unwrap();
        }
        tx.set_ingest_state(&scope, "s2", "a", INACTIVE).await.unwrap();
        assert_eq!(tx.ingest_configuration(&scope, "a").await.unwrap().unwrap().state, ACTIVE, "not of that stage");
        tx.set_ingest_state(&scope, "s1", "a", INACTIVE).await.unwrap();
        assert_eq!(tx.ingest_configuration(&scope, "a").await.unwrap().unwrap().state, INACTIVE);
        for other in other_scopes() {
            assert!(tx.ingest_configuration(&other, "a").await.unwrap().is_none());
            assert!(tx.lock_ingest_configuration(&other, "a").await.unwrap().is_none());
            assert!(tx.ingest_configurations_of_stage(&other, "s1").await.unwrap().is_empty());
            assert!(!tx.delete_resource(&other, ResourceKind::IngestConfiguration, "a").await.unwrap());
            assert_eq!(tx.count_resources(&other, ResourceKind::IngestConfiguration, 9).await.unwrap(), 0);
        }
        assert!(tx.delete_resource(&scope, ResourceKind::IngestConfiguration, "a").await.unwrap());
    }

    compositions_are_read_with_the_publishing_state_of_their_stage(tx) {
        let scope = scope();
        tx.insert_stage(&scope, &stage("s1", 7)).await.unwrap();
        for (id, started_at, stage, encoder) in [("a", 1, "s1", Some("e1")), ("b", 2, "s2", Some("e2")), ("c", 2, "s1", None)] {
            tx.insert_composition(&scope, &composition(id, started_at, stage, encoder)).await.unwrap();
        }
        assert_eq!(tx.composition(&scope, "a").await.unwrap().unwrap().quiet_since, Some(7));
        assert_eq!(tx.composition(&scope, "b").await.unwrap().unwrap().quiet_since, None, "the stage does not exist");
        let session = connected_participant(&mut tx, "s1", "p").await;
        let here = SessionKey { scope: &scope, stage: "s1", session: &session };
        let row = tx.participant(here, "p").await.unwrap().unwrap();
        tx.update_participant(here, 1, &ParticipantRow { publishing: true, ..row }).await.unwrap();
        assert_eq!(tx.composition(&scope, "a").await.unwrap().unwrap().quiet_since, None, "a participant publishes");
        for (filter, expected) in [
            ((None, None), &["c", "b", "a"][..]),
            ((Some("s1"), None), &["c", "a"]),
            ((None, Some("e1")), &["a"]),
            ((Some("s1"), Some("e2")), &[]),
        ] {
            let ids = walk!(Position::last(), |place| tx.compositions(&scope, filter, &place, 1), |row| (row.started_at, row.id.clone()));
            assert_eq!(ids, expected, "{filter:?}");
        }
        assert_eq!(tx.all_compositions(&scope).await.unwrap().len(), 3);
        assert_eq!(tx.compositions_of_account(&scope.account).await.unwrap().len(), 3);
        assert!(tx.compositions_of_account("000000000009").await.unwrap().is_empty());
        assert_eq!(tx.compositions_of_stage(&scope, "s1").await.unwrap().len(), 2);
        assert_eq!(tx.composition_by_token(&scope, "token of a").await.unwrap().unwrap().id, "a");
        assert!(tx.composition_by_token(&scope, "").await.unwrap().is_none());
        tx.stop_composition(&scope, "a", 50, Some(CompositionError::StageDeleted)).await.unwrap();
        tx.stop_composition(&scope, "a", 99, None).await.unwrap();
        let row = tx.lock_composition(&scope, "a").await.unwrap().unwrap();
        assert_eq!((row.stopping_at, row.error_code), (Some(50), Some(CompositionError::StageDeleted)), "the first stop is kept");
        assert!(tx.lock_composition(&scope, "none").await.unwrap().is_none());
        tx.reschedule_composition(&scope, "a", Progress::Started, 70).await.unwrap();
        let due: Vec<_> = tx.due_compositions(70, 9).await.unwrap().into_iter().map(|key| (key.scope(), key.id)).collect();
        assert_eq!(due.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>(), ["b", "c", "a"], "most overdue first");
        assert!(due.iter().all(|(owner, _)| *owner == scope));
        assert_eq!(tx.due_compositions(69, 9).await.unwrap().len(), 2);
        assert_eq!(tx.due_compositions(70, 1).await.unwrap().len(), 1);
        let row = tx.composition(&scope, "a").await.unwrap().unwrap();
        assert_eq!((row.progress, row.next_at), (Progress::Started, 70));
        for other in other_scopes() {
            tx.stop_composition(&other, "b", 50, None).await.unwrap();
            tx.reschedule_composition(&other, "b", Progress::Ended, 70).await.unwrap();
            tx.free_idempotency_token(&other, "b").await.unwrap();
            assert!(tx.lock_composition(&other, "b").await.unwrap().is_none());
        }
        let row = tx.composition(&scope, "b").await.unwrap().unwrap();
        let token = row.idempotency_token.as_deref();
        assert_eq!((row.stopping_at, row.progress, token), (None, Progress::Requested, Some("token of b")));
        tx.free_idempotency_token(&scope, "b").await.unwrap();
        assert!(tx.composition_by_token(&scope, "token of b").await.unwrap().is_none());
        for other in other_scopes() {
            assert!(tx.composition(&other, "a").await.unwrap().is_none());
            assert!(tx.composition_by_token(&other, "token of a").await.unwrap().is_none());
            assert!(tx.all_compositions(&other).await.unwrap().is_empty());
            assert!(tx.compositions_of_stage(&other, "s1").await.unwrap().is_empty());
            assert!(tx.compositions(&other, (None, None), &Position::last(), 9).await.unwrap().is_empty());
        }
        tx.delete_resource(&scope, ResourceKind::Composition, "a").await.unwrap();
        assert!(tx.composition(&scope, "a").await.unwrap().is_none());
    }

    replications_are_replaced_counted_and_deleted(tx) {
        let scope = scope();
        for (destination, started_at) in [("d2", 1), ("d1", 1), ("d3", 2)] {
            tx.put_replication(&scope, &replication(destination, started_at, ReplicationState::Active)).await.unwrap();
        }
        assert_eq!(tx.count_active_replications(&scope, "s", "p").await.unwrap(), 3);
        tx.put_replication(&scope, &replication("d1", 5, ReplicationState::Stopped)).await.unwrap();
        assert_eq!(tx.count_active_replications(&scope, "s", "p").await.unwrap(), 2);
        let row = tx.replication(&scope, "s", "p", "d1").await.unwrap().unwrap();
        assert_eq!((row.state, row.started_at, row.reconnect_window_seconds), (ReplicationState::Stopped, 5, 9));
        let ids = walk!(
            Position::first(),
            |place| tx.replications(&scope, "s", "p", &place, 1),
            |row| (row.started_at, row.destination_stage_id.clone())
        );
        assert_eq!(ids, ["d2", "d3", "d1"]);
        assert!(tx.due_replications(&scope, "s", 39).await.unwrap().is_empty());
        for stage in ["s", "d3"] {
            let due = tx.due_replications(&scope, stage, 40).await.unwrap();
            assert_eq!((due.len(), due[0].destination_stage_id.as_str(), due[0].ends_at), (1, "d3", Some(40)));
        }
        assert_eq!(tx.replications_of_stage(&scope, "d2").await.unwrap().len(), 1);
        assert_eq!(tx.replications_of_stage(&scope, "s").await.unwrap().len(), 3);
        for other in other_scopes() {
            assert!(tx.replication(&other, "s", "p", "d1").await.unwrap().is_none());
            assert!(tx.replications(&other, "s", "p", &Position::first(), 9).await.unwrap().is_empty());
            assert!(tx.replications_of_stage(&other, "s").await.unwrap().is_empty());
            tx.delete_replications_of_stage(&other, "s").await.unwrap();
        }
        tx.delete_replications_of_stage(&scope, "d2").await.unwrap();
        assert_eq!(tx.replications_of_stage(&scope, "s").await.unwrap().len(), 2);
    }

    tags_of_every_kind_of_resource_are_read_and_written(tx) {
        let scope = scope();
        let tags = || Json(from(json!({"a": "b"})));
        tx.insert_stage(&scope, &stage("x", 1)).await.unwrap();
        let key = PublicKeyRow { id: "x".into(), name: "".into(), material: "".into(), fingerprint: "".into(), tags: tags(), created_at: 1 };
        tx.insert_public_key(&scope, &key).await.unwrap();
        tx.insert_composition(&scope, &composition("x", 1, "s", None)).await.unwrap();
        let video = Json(greenroom::domain::encoder_configuration::video(None).unwrap());
        tx.insert_encoder_configuration(&scope, &EncoderConfigurationRow { id: "x".into(), name: "".into(), video, tags: tags(), created_at: 1 }).await.unwrap();
        tx.insert_storage_configuration(&scope, &StorageConfigurationRow { id: "x".into(), name: "".into(), bucket: "".into(), tags: tags(), created_at: 1 }).await.unwrap();
        tx.insert_ingest_configuration(&scope, &ingest("x", 1, None, INACTIVE)).await.unwrap();
        for kind in ResourceKind::ALL {
            let new = from(json!({"new": kind.as_str()}));
            assert!(tx.lock_tags(&scope, kind, "x").await.unwrap().is_some(), "{kind:?}");
            tx.set_tags(&scope, kind, "x", &new).await.unwrap();
            assert_eq!(tx.tags(&scope, kind, "x").await.unwrap(), Some(new));
            assert!(tx.tags(&scope, kind, "y").await.unwrap().is_none());
            for other in other_scopes() {
                assert!(tx.tags(&other, kind, "x").await.unwrap().is_none());
                assert!(tx.lock_tags(&other, kind, "x").await.unwrap().is_none());
            }
        }
    }

    a_connection_is_found_by_id_participant_node_and_token(tx) {
        let scope = scope();
        for row in [
            connection("c2", "p", Intent::Publish),
            connection("c1", "p", Intent::Events),
            connection("c3", "p", subscribe("q")),
            ConnectionRow { node_id: "n2".into(), connection_token_id: None, ..connection("C4", "q", subscribe("p")) },
        ] {
            tx.insert_connection(&scope, "s", &row).await.unwrap();
            assert_eq!(tx.connection(&scope, "s", &row.id).await.unwrap(), Some(row), "the row is read as written");
        }
        tx.insert_connection(&scope, "other", &connection("c1", "p", Intent::Events)).await.unwrap();
        let ids = |rows: Vec<ConnectionRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(ids(tx.connections_of(&scope, "s", "p").await.unwrap()), ["c1", "c2", "c3"]);
        assert_eq!(tx.publishing_connection(&scope, "s", "p").await.unwrap().unwrap().id, "c2");
        assert_eq!(tx.publishing_connection(&scope, "s", "q").await.unwrap(), None);
        assert_eq!(ids(tx.connections_of_node(&scope, "s", "n1", 2).await.unwrap()), ["c1", "c2"]);
        assert_eq!(ids(tx.connections_of_token(&scope, "s", "t", 9).await.unwrap()), ["c1", "c2", "c3"]);
        assert!(tx.connections_of_token(&scope, "s", "", 9).await.unwrap().is_empty(), "an empty token id matches no connection");
        let stages = |rows: Vec<StageKey>| rows.into_iter().map(|row| row.stage_id).collect::<Vec<_>>();
        assert_eq!(stages(tx.stages_of_node("n1", 9).await.unwrap()), ["other", "s"]);
        assert_eq!(stages(tx.stages_of_node("n1", 1).await.unwrap()), ["other"]);
        assert_eq!(tx.stages_of_node("n2", 9).await.unwrap()[0].scope(), scope);
        assert_eq!(stages(tx.stages_of_token(&scope, "t", 9).await.unwrap()), ["other", "s"]);
        assert!(tx.start_connection(&scope, "s", "c2").await.unwrap());
        assert!(!tx.start_connection(&scope, "s", "c2").await.unwrap(), "the connection was already started");
        assert!(tx.connection(&scope, "s", "c2").await.unwrap().unwrap().started);
        for other in other_scopes() {
            assert!(tx.connection(&other, "s", "c1").await.unwrap().is_none());
            assert!(tx.connections_of(&other, "s", "p").await.unwrap().is_empty());
            assert!(tx.publishing_connection(&other, "s", "p").await.unwrap().is_none());
            assert!(tx.connections_of_node(&other, "s", "n1", 9).await.unwrap().is_empty());
            assert!(tx.connections_of_token(&other, "s", "t", 9).await.unwrap().is_empty());
            assert!(tx.stages_of_token(&other, "t", 9).await.unwrap().is_empty());
            assert!(!tx.start_connection(&other, "s", "c1").await.unwrap());
            assert!(!tx.delete_connection(&other, "s", "c1").await.unwrap());
            assert_eq!(tx.delete_connections_of(&other, "s", "p").await.unwrap(), 0);
        }
        assert!(tx.delete_connection(&scope, "s", "c1").await.unwrap());
        assert!(!tx.delete_connection(&scope, "s", "c1").await.unwrap());
        let row = tx.connection(&scope, "s", "c2").await.unwrap().unwrap();
        assert_eq!(row, ConnectionRow { started: true, ..connection("c2", "p", Intent::Publish) });
        assert!(tx.delete_connection(&scope, "s", "c2").await.unwrap());
        assert_eq!(tx.connection(&scope, "s", "c2").await.unwrap(), None);
        assert_eq!(tx.delete_connections_of(&scope, "s", "p").await.unwrap(), 1);
        assert_eq!(ids(tx.connections_of(&scope, "s", "q").await.unwrap()), ["C4"]);
        tx.delete_stage_history(&scope, "s").await.unwrap();
        assert!(tx.connections_of(&scope, "s", "q").await.unwrap().is_empty());
        assert_eq!(tx.connections_of(&scope, "other", "p").await.unwrap().len(), 1);
    }

    publishers_and_subscribers_are_counted_once_each(tx) {
        let scope = scope();
        for (id, who, intent) in [
            ("1", "p", Intent::Publish), ("2", "q", Intent::Publish), ("3", "p", subscribe("q")), ("4", "q", subscribe("p")),
            ("5", "q", subscribe("x")), ("6", "r", Intent::Events),
        ] {
            tx.insert_connection(&scope, "s", &connection(id, who, intent)).await.unwrap();
        }
        let session = connected_participant(&mut tx, "s", "p").await;
        let here = SessionKey { scope: &scope, stage: "s", session: &session };
        for id in ["p", "replica"] {
            let row = ParticipantRow { publishing: true, ..participant(id, 1) };
            match tx.participant(here, id).await.unwrap() {
                Some(_) => drop(tx.update_participant(here, 1, &row).await.unwrap()),
                None => tx.insert_participant(here, &row).await.unwrap(),
            }
        }
        for (besides, others) in [("p", 2), ("q", 2), ("r", 3), ("replica", 2)] {
            assert_eq!(tx.count_other_publishers(&scope, "s", besides).await.unwrap(), others, "besides {besides}");
        }
        assert_eq!(tx.count_subscribers(&scope, "s", 9).await.unwrap(), 2);
        assert_eq!(tx.count_subscribers(&scope, "s", 1).await.unwrap(), 1, "counts up to the limit");
        assert!(tx.is_subscriber(&scope, "s", "q").await.unwrap());
        assert!(!tx.is_subscriber(&scope, "s", "r").await.unwrap());
        for other in other_scopes() {
            assert_eq!(tx.count_other_publishers(&other, "s", "").await.unwrap(), 0);
            assert_eq!(tx.count_subscribers(&other, "s", 9).await.unwrap(), 0);
            assert!(!tx.is_subscriber(&other, "s", "q").await.unwrap());
        }
    }

    redundant_encoders_are_not_seen_and_count_as_their_virtual_participant(tx) {
        let scope = scope();
        let here = SessionKey { scope: &scope, stage: "s", session: "st-1" };
        for (id, publishing, redundant_ingest, configuration) in [
            ("primary", true, true, Some("i1")),
            ("secondary", false, true, Some("i1")),
            ("virtual", true, false, Some("i1")),
            ("single", true, false, Some("i2")),
            ("waiting", false, false, Some("i3")),
            ("other", true, false, None),
        ] {
            let row = ParticipantRow {
                publishing,
                redundant_ingest,
                ingest_configuration_id: configuration.map(str::to_owned),
                ..participant(id, 1)
            };
            tx.insert_participant(here, &row).await.unwrap();
            let row = ConnectionRow { session_id: "st-1".into(), ..connection(id, id, Intent::Publish) };
            tx.insert_connection(&scope, "s", &row).await.unwrap();
        }
        let seen: Vec<_> = tx.visible_participants(here).await.unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!(seen, ["other", "single", "virtual", "waiting"]);
        assert_eq!(tx.count_other_publishers(&scope, "s", "").await.unwrap(), 4);
        assert_eq!(tx.count_other_publishers(&scope, "s", "virtual").await.unwrap(), 3);
        for (configuration, encoders) in [("i1", 2), ("i2", 1), ("i3", 0), ("", 1)] {
            assert_eq!(tx.count_encoders(&scope, "s", configuration).await.unwrap(), encoders, "{configuration}");
        }
        assert_eq!(tx.count_encoders(&scope, "another", "i1").await.unwrap(), 0);
        for other in other_scopes() {
            assert_eq!(tx.count_encoders(&other, "s", "i1").await.unwrap(), 0);
        }
    }

    a_subscription_to_a_removed_replica_is_not_counted(tx) {
        let scope = scope();
        let session = connected_participant(&mut tx, "s", "replica").await;
        let here = SessionKey { scope: &scope, stage: "s", session: &session };
        let native = ParticipantRow { source_stage_id: None, state: DISCONNECTED, ..participant("native", 1) };
        tx.insert_participant(here, &native).await.unwrap();
        for (id, intent) in [("1", subscribe("replica")), ("2", subscribe("native")), ("3", subscribe("?")), ("4", Intent::Events)] {
            let row = ConnectionRow { session_id: session.clone(), ..connection(id, "replica", intent) };
            tx.insert_connection(&scope, "s", &row).await.unwrap();
        }
        let held = async |tx: &mut Conn, scope: &Scope, node: &str| {
            let mut ids = tx.live_connections_of_node(scope, "s", node).await.unwrap();
            ids.sort();
            ids
        };
        assert_eq!(held(&mut tx, &scope, "n1").await, ["1", "2", "3", "4"]);
        assert!(held(&mut tx, &scope, "n2").await.is_empty());
        let gone = ParticipantRow { state: DISCONNECTED, ..participant("replica", 1) };
        tx.update_participant(here, 1, &gone).await.unwrap();
        assert_eq!(held(&mut tx, &scope, "n1").await, ["2", "3", "4"]);
        for other in other_scopes() {
            assert!(held(&mut tx, &other, "n1").await.is_empty());
        }
    }

    a_fenced_node_stays_fenced(tx) {
        for (id, expires_at) in [("n1", 10), ("n2", 20), ("n3", 30)] {
            tx.insert_node(id, "http://x", expires_at).await.unwrap();
        }
        let row = NodeRow { id: "n1".into(), url: "http://x".into(), expires_at: 10, dead: false };
        assert_eq!(tx.node("n1").await.unwrap(), Some(row));
        assert_eq!(tx.node("n0").await.unwrap(), None);
        assert!(tx.renew_node("n1", "http://y", 40).await.unwrap());
        assert!(!tx.renew_node("n0", "http://y", 40).await.unwrap());
        tx.fence_expired_nodes("n3", 30).await.unwrap();
        let dead = async |tx: &mut Conn| tx.fenced_nodes(9).await.unwrap().into_iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(dead(&mut tx).await, ["n2"], "n1 has sent a heartbeat, n3 is the caller");
        assert!(!tx.renew_node("n2", "http://y", 99).await.unwrap());
        tx.fence_node("n1", 39).await.unwrap();
        assert_eq!(dead(&mut tx).await, ["n2"]);
        tx.fence_node("n1", 40).await.unwrap();
        assert_eq!(dead(&mut tx).await, ["n2", "n1"], "sorted by time of expiry");
        assert_eq!(tx.live_nodes(9).await.unwrap().into_iter().map(|row| row.id).collect::<Vec<_>>(), ["n3"]);
        tx.fence_other_nodes("n0").await.unwrap();
        assert!(tx.live_nodes(9).await.unwrap().is_empty());
        assert_eq!(dead(&mut tx).await, ["n2", "n3", "n1"]);
        assert_eq!(tx.fenced_nodes(1).await.unwrap().len(), 1);
        tx.delete_node("n2", 19).await.unwrap();
        tx.delete_node("n3", 30).await.unwrap();
        assert_eq!(dead(&mut tx).await, ["n2", "n1"]);
    }

    changes_are_listed_oldest_first_with_increasing_revisions(tx) {
        for (stage, at) in [("b", 5), ("a", 5), ("Z", 5), ("late", 9), ("early", 1)] {
            assert_eq!(tx.bump_revision(&scope(), stage, at, false).await.unwrap(), 1);
        }
        for other in other_scopes() {
            tx.bump_revision(&other, "a", 5, false).await.unwrap();
        }
        assert_eq!(tx.bump_revision(&scope(), "early", 7, true).await.unwrap(), 2);
        let mut found = Vec::new();
        let mut place = (5, None);
        loop {
            let rows = tx.changes(place.0, place.1.as_ref(), 2).await.unwrap();
            let Some(last) = rows.last() else { break };
            place = (last.changed_at, Some(last.key()));
            found.extend(rows.into_iter().map(|row| (row.stage_id, row.region, row.revision, row.deleted)));
        }
        let row = |stage: &str, region: &str, revision, deleted| (stage.to_owned(), region.to_owned(), revision, deleted);
        let expected = [
            row("a", "eu-west-1", 1, false), row("Z", "us-west-2", 1, false), row("a", "us-west-2", 1, false),
            row("b", "us-west-2", 1, false), row("a", "us-west-2", 1, false), row("early", "us-west-2", 2, true),
            row("late", "us-west-2", 1, false),
        ];
        assert_eq!(found, expected);
        tx.forget_deleted_stages(7).await.unwrap();
        assert_eq!(tx.changes(0, None, 99).await.unwrap().len(), 7);
        tx.forget_deleted_stages(8).await.unwrap();
        assert_eq!(tx.changes(0, None, 99).await.unwrap().len(), 6, "existing stages are kept");
    }

    connected_participants_are_listed_with_publishers_apart(tx) {
        let scope = scope();
        let here = SessionKey { scope: &scope, stage: "s", session: "st-1" };
        assert!(!tx.is_anybody_connected(here).await.unwrap());
        for (id, joined, publishing, state) in
            [("a", 3, false, CONNECTED), ("b", 1, false, CONNECTED), ("c", 2, true, CONNECTED), ("d", 1, true, CONNECTED), ("e", 1, false, DISCONNECTED)]
        {
            let row = ParticipantRow {
                publishing,
                state,
                token: Json(Some(CurrentToken::default())),
                recording_started_at: Some(joined),
                ..participant(id, joined)
            };
            tx.insert_participant(here, &row).await.unwrap();
            assert_eq!(tx.participant(here, id).await.unwrap(), Some(row));
        }
        let ids = |rows: Vec<ParticipantRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(ids(tx.publishers(here, 9).await.unwrap()), ["d", "c"]);
        assert_eq!(ids(tx.publishers(here, 1).await.unwrap()), ["d"]);
        let row = |id: &str, first_joined_at, publishing| VisibleParticipantRow {
            id: id.into(),
            user_id: "user".into(),
            attributes: Json(from(json!({"k": "v"}))),
            publishing,
            first_joined_at,
        };
        let seen = [row("d", 1, true), row("c", 2, true), row("b", 1, false), row("a", 3, false)];
        assert_eq!(tx.visible_participants(here).await.unwrap(), seen);
        assert!(tx.is_anybody_connected(here).await.unwrap());
        for other in other_scopes() {
            let there = SessionKey { scope: &other, ..here };
            assert!(tx.publishers(there, 9).await.unwrap().is_empty());
            assert!(tx.visible_participants(there).await.unwrap().is_empty());
            assert!(!tx.is_anybody_connected(there).await.unwrap());
        }
    }

    publishers_come_first_in_a_truncated_list(tx) {
        let scope = scope();
        let here = SessionKey { scope: &scope, stage: "s", session: "st-1" };
        for n in 0..120 {
            let row = ParticipantRow { publishing: n >= 110, ..participant(&format!("p{n:03}"), n) };
            tx.insert_participant(here, &row).await.unwrap();
        }
        let seen: Vec<_> = tx.visible_participants(here).await.unwrap().into_iter().map(|row| row.id).collect();
        let expected: Vec<_> = (110..120).chain(0..90).map(|n| format!("p{n:03}")).collect();
        assert_eq!(seen, expected);
    }

    due_work_is_found_in_all_accounts(tx) {
        let scope = scope();
        for (stage, ends_at) in [("late", Some(30)), ("first", Some(10)), ("second", Some(20)), ("never", None)] {
            tx.insert_session(&scope, stage, "st-1", 1, ends_at).await.unwrap();
        }
        let stages = |rows: Vec<StageKey>| rows.into_iter().map(|row| row.stage_id).collect::<Vec<_>>();
        assert_eq!(stages(tx.stages_with_due_sessions(20, 9).await.unwrap()), ["first", "second"]);
        assert_eq!(stages(tx.stages_with_due_sessions(20, 1).await.unwrap()), ["first"]);
        tx.set_session_due(&scope, "first", "st-1", None).await.unwrap();
        tx.set_session_due(&scope, "never", "st-1", Some(5)).await.unwrap();
        tx.end_session(&scope, "second", "st-1", 20).await.unwrap();
        tx.set_session_due(&scope, "second", "st-1", Some(1)).await.unwrap();
        for other in other_scopes() {
            tx.set_session_due(&other, "never", "st-1", None).await.unwrap();
        }
        assert_eq!(stages(tx.stages_with_due_sessions(29, 9).await.unwrap()), ["never"], "ended sessions are not due");
        assert_eq!(tx.open_session(&scope, "never").await.unwrap().unwrap().ends_at, Some(5));
        for (destination, state) in [("d1", ReplicationState::Active), ("d3", ReplicationState::Active)] {
            tx.put_replication(&scope, &replication(destination, 1, state)).await.unwrap();
        }
        assert!(tx.stages_with_due_replications(39, 9).await.unwrap().is_empty());
        assert_eq!(stages(tx.stages_with_due_replications(40, 9).await.unwrap()), ["s"]);
        tx.put_replication(&scope, &replication("d3", 1, ReplicationState::Stopped)).await.unwrap();
        assert!(tx.stages_with_due_replications(40, 9).await.unwrap().is_empty());
    }
}

fn connection(id: &str, participant: &str, intent: Intent) -> ConnectionRow {
    ConnectionRow {
        id: id.into(),
        participant_id: participant.into(),
        session_id: "st-1".into(),
        node_id: "n1".into(),
        intent,
        connection_token_id: Some("t".into()),
        started: false,
        opened_at: 5,
    }
}

fn subscribe(remote: &str) -> Intent {
    Intent::Subscribe(remote.into())
}

fn participant(id: &str, first_joined_at: i64) -> ParticipantRow {
    ParticipantRow {
        id: id.into(),
        user_id: "user".into(),
        attributes: Json(from(json!({"k": "v"}))),
        state: CONNECTED,
        published: false,
        publishing: false,
        subscriptions: Json(vec!["q".into()]),
        first_joined_at,
        events: 1,
        client: Json(Client { browser_name: "Firefox".into(), ..Client::default() }),
        protocol: ParticipantProtocol::Whip,
        recording_state: ParticipantRecordingState::Disabled,
        recording_bucket: Some("bucket".into()),
        recording_prefix: Some("prefix".into()),
        recording_started_at: None,
        replication_type: ReplicationType::None,
        replication_state: None,
        source_stage_id: Some("stage".into()),
        source_session_id: Some("session".into()),
        redundant_ingest: false,
        ingest_configuration_id: Some("ingest".into()),
        token: Json(None),
    }
}

/// Opens a session of a stage with one participant; returns the session's id.
async fn connected_participant(tx: &mut Conn, stage: &str, id: &str) -> String {
    let session = format!("st-of-{stage}");
    tx.insert_session(&scope(), stage, &session, 1, None).await.unwrap();
    let scope = scope();
    let here = SessionKey { scope: &scope, stage, session: &session };
    tx.insert_participant(here, &participant(id, 1)).await.unwrap();
    let (_, events) = Participant::first_join(id, false, Timestamp(1));
    tx.insert_events(here, id, 0, &events).await.unwrap();
    session
}

fn ingest(id: &str, created_at: i64, stage: Option<&str>, state: IngestConfigurationState) -> IngestConfigurationRow {
    IngestConfigurationRow {
        id: id.into(),
        name: "n".into(),
        stage_id: stage.map(str::to_owned),
        participant_id: "p".into(),
        protocol: IngestProtocol::Rtmps,
        stream_key: "secret".into(),
        credentials: Json(from(json!([{"participantId": "q", "streamKey": "secret"}]))),
        redundant: false,
        state,
        user_id: "u".into(),
        attributes: Json(from(json!({}))),
        tags: Json(from(json!({}))),
        created_at,
    }
}

fn composition(id: &str, started_at: i64, stage: &str, encoder: Option<&str>) -> CompositionRow {
    CompositionRow {
        id: id.into(),
        stage_id: stage.into(),
        layout: Json(greenroom::domain::composition::layout(None).unwrap()),
        destinations: Json(vec![]),
        tags: Json(from(json!({}))),
        channel_encoder_id: None,
        s3_encoder_id: encoder.map(str::to_owned),
        storage_id: Some("storage".into()),
        idempotency_token: Some(format!("token of {id}")),
        request_digest: "digest".into(),
        started_at,
        stopping_at: None,
        error_code: None,
        next_at: started_at,
        progress: Progress::Requested,
        quiet_since: None,
    }
}

fn replication(destination: &str, started_at: i64, state: ReplicationState) -> ReplicationRow {
    ReplicationRow {
        source_stage_id: "s".into(),
        participant_id: "p".into(),
        destination_stage_id: destination.into(),
        source_session_id: "st-1".into(),
        destination_session_id: "st-2".into(),
        state,
        reconnect_window_seconds: 9,
        started_at,
        ends_at: (destination == "d3").then_some(40),
    }
}

async fn on_each_engine(check: impl AsyncFn(&Engine, Db)) {
    for engine in Engine::both().await {
        let db = engine.open().await;
        check(&engine, db.clone()).await;
        db.close().await;
    }
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back() {
    on_each_engine(async |_, db| {
        let mut tx = db.write().await.unwrap();
        tx.insert_stage(&scope(), &stage("a", 1)).await.unwrap();
        drop(tx);
        let mut tx = db.write().await.unwrap();
        assert!(tx.stage(&scope(), "a").await.unwrap().is_none());
        tx.insert_stage(&scope(), &stage("b", 1)).await.unwrap();
        tx.commit().await.unwrap();
        let mut conn = db.read().await.unwrap();
        assert!(conn.stage(&scope(), "b").await.unwrap().is_some());
        conn.commit().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_unknown_value_of_an_enum_is_an_error_of_the_store() {
    const UNKNOWN: [(&str, &str, &str); 4] = [
        ("UPDATE participants SET state = 'AWAY'", "UPDATE participants SET state = 'CONNECTED'", "AWAY"),
        (
            "UPDATE participants SET replication_state = 'away'",
            "UPDATE participants SET replication_state = ''",
            "ReplicationState",
        ),
        ("UPDATE connections SET remote_id = 'q'", "UPDATE connections SET remote_id = ''", "Intent"),
        ("UPDATE compositions SET told = 9", "UPDATE compositions SET told = 0", "Progress"),
    ];
    for engine in Engine::both().await {
        let db = engine.open().await;
        let scope = scope();
        let mut tx = db.write().await.unwrap();
        let session = connected_participant(&mut tx, "s", "p").await;
        tx.insert_connection(&scope, "s", &connection("c", "p", Intent::Publish)).await.unwrap();
        tx.insert_composition(&scope, &composition("c", 1, "s", None)).await.unwrap();
        tx.commit().await.unwrap();
        let here = SessionKey { scope: &scope, stage: "s", session: &session };
        let read = async || {
            let mut conn = db.read().await.unwrap();
            conn.participant(here, "p").await?;
            conn.connection(&scope, "s", "c").await?;
            conn.composition(&scope, "c").await.map(drop)
        };
        for (away, back, named) in UNKNOWN {
            read().await.unwrap();
            engine.write(&[away]).await;
            let failed = read().await;
            assert!(matches!(&failed, Err(StoreError::Corrupt(_))), "{failed:?}");
            let detail = failed.unwrap_err().detail();
            assert!(detail.contains(named), "{detail}");
            engine.write(&[back]).await;
        }
        db.close().await;
    }
}

#[tokio::test]
async fn a_duplicate_key_has_its_own_error() {
    on_each_engine(async |_, db| {
        let mut tx = db.write().await.unwrap();
        tx.insert_session(&scope(), "a", "st-1", 1, None).await.unwrap();
        let second = tx.insert_session(&scope(), "a", "st-2", 1, None).await;
        assert!(matches!(second, Err(StoreError::Duplicate(_))), "{second:?}");
    })
    .await;
}

#[tokio::test]
async fn a_lock_is_held_by_one_transaction_at_a_time() {
    on_each_engine(async |_, db| {
        let mut first = db.write().await.unwrap();
        first.lock(&scope(), "it").await.unwrap();
        let second = async {
            let mut tx = db.write().await.unwrap();
            tx.lock(&scope(), "it").await.unwrap();
            assert!(tx.stage(&scope(), "a").await.unwrap().is_some(), "the first transaction was committed before");
            tx.commit().await.unwrap();
        };
        let first = async {
            first.insert_stage(&scope(), &stage("a", 1)).await.unwrap();
            first.commit().await.unwrap();
        };
        tokio::join!(second, first);
    })
    .await;
}

#[tokio::test]
async fn several_nodes_can_migrate_an_empty_store_concurrently() {
    for engine in Engine::both().await {
        let options = engine.options();
        let nodes = (0..4).map(|_| async {
            let db = Db::open_beside(&options).await.unwrap();
            db.migrate().await.unwrap();
            db.ping().await.unwrap();
            db.close().await;
        });
        let nodes: Vec<_> = nodes.collect();
        futures_util::future::join_all(nodes).await;
        let db = engine.open().await;
        let mut conn = db.read().await.unwrap();
        assert_eq!(conn.count_resources(&scope(), ResourceKind::Stage, 1).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_second_server_on_a_sqlite_file_is_rejected_but_commands_are_allowed() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    let second = Db::open(&engine.options()).await;
    assert!(second.unwrap_err().to_string().contains("another greenroom server"));
    let beside = Db::open_beside(&engine.options()).await.unwrap();
    beside.ping().await.unwrap();
    beside.close().await;
    db.close().await;
    drop(db);
    Db::open(&engine.options()).await.expect("the first server is closed");
}

/// Starts from schema 2, with rows in all tables that later migrations change.
#[tokio::test]
async fn an_older_schema_is_migrated_with_its_rows() {
    const OLD_ROWS: [&str; 4] = [
        "INSERT INTO sessions (account, region, stage_id, id, started_at) VALUES ('123456789012', 'us-west-2', 's', 'st-1', 7)",
        "INSERT INTO participants (account, region, stage_id, session_id, id, user_id, attributes, state, published,
            publishing, subscriptions, first_joined_at, events, client, protocol, recording_state, recording_bucket,
            recording_prefix, replication_type, replication_state, source_stage_id, source_session_id, redundant_ingest,
            ingest_configuration_id)
        VALUES ('123456789012', 'us-west-2', 's', 'st-1', 'p', '', '{}', 'DISCONNECTED', FALSE, FALSE, '[]', 7, 0, '{}',
            'WHIP', 'DISABLED', '', '', 'NONE', '', '', '', FALSE, '')",
        "INSERT INTO replications (account, region, source_stage_id, participant_id, destination_stage_id,
            source_session_id, destination_session_id, state, reconnect_window_seconds, started_at, ends_at)
        VALUES ('123456789012', 'us-west-2', 's', 'p', 'd', 'st-1', 'st-2', 'ACTIVE', 9, 7, 40)",
        "INSERT INTO compositions (account, region, id, stage_id, layout, destinations, tags, channel_encoder_id,
            s3_encoder_id, storage_id, idempotency_token, request_digest, started_at)
        VALUES ('123456789012', 'us-west-2', 'c', 's', '{}', '[]', '{}', '', '', '', '', '', 7)",
    ];
    for engine in Engine::both().await {
        let db = Db::open(&engine.options()).await.unwrap();
        db.migrate_to(2).await.unwrap();
        engine.write(&OLD_ROWS).await;
        db.migrate().await.unwrap();
        let scope = scope();
        let mut conn = db.read().await.unwrap();
        let here = SessionKey { scope: &scope, stage: "s", session: "st-1" };
        let row = conn.participant(here, "p").await.unwrap().unwrap();
        assert_eq!((row.protocol, row.token.0), (ParticipantProtocol::Whip, None));
        assert_eq!(conn.open_session(&scope, "s").await.unwrap().unwrap().ends_at, None);
        assert_eq!(conn.stages_with_due_replications(40, 9).await.unwrap().len(), 1);
        assert_eq!(conn.due_compositions(7, 9).await.unwrap()[0].id, "c", "the composition is due immediately");
        drop(conn);
        db.close().await;
    }
}
