//! The store's conformance: one suite, every statement, both engines.

#[path = "support/engines.rs"]
mod engines;

use engines::Engine;
use greenroom::clock::Timestamp;
use greenroom::domain::participant::{Client, Participant};
use greenroom::model::arn::{ResourceKind, Scope};
use greenroom::model::page::Position;
use greenroom::store::{
    AccessKeyRow, CompositionRow, Conn, Db, EncoderConfigurationRow, IngestConfigurationRow, Json, ParticipantFilter,
    ParticipantRow, Place, PublicKeyRow, ReplicationRow, SigningKeyRow, StageRow, StorageConfigurationRow, StoreError,
};
use serde_json::json;

fn scope() -> Scope {
    Scope { account: "123456789012".into(), region: "us-west-2".into() }
}

/// The same account elsewhere, another account, and both: none of them may see what `scope` has.
fn strangers() -> [Scope; 2] {
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
        recording_storage_id: String::new(),
        created_at,
        quiet_since: created_at,
        active_session: None,
    }
}

/// Runs a check in a transaction of its own on each engine.
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

/// Reads the pages of a list to its end.
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
    stages_are_written_read_and_listed_in_the_order_of_creation(tx) {
        // Upper case sorts before lower case on either engine.
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
        for stranger in strangers() {
            assert!(tx.stage(&stranger, "a").await.unwrap().is_none());
            assert!(tx.lock_stage(&stranger, "a").await.unwrap().is_none());
            assert!(tx.stages(&stranger, &Position::first(), 10).await.unwrap().is_empty());
            assert_eq!(tx.count_resources(&stranger, ResourceKind::Stage, 10).await.unwrap(), 0);
        }
    }

    a_stage_is_updated_and_deleted_with_its_history(tx) {
        let id = "a";
        tx.insert_stage(&scope(), &stage(id, 1)).await.unwrap();
        let mut row = tx.lock_stage(&scope(), id).await.unwrap().unwrap();
        row.name = "other".into();
        row.recording_storage_id = "storage".into();
        tx.update_stage(&scope(), &row).await.unwrap();
        tx.set_stage_quiet(&scope(), id, 77).await.unwrap();
        let row = tx.stage(&scope(), id).await.unwrap().unwrap();
        assert_eq!((row.name.as_str(), row.quiet_since), ("other", 77));
        assert_eq!(tx.count_stages_recording_to(&scope(), "storage").await.unwrap(), 1);
        assert_eq!(tx.count_stages_recording_to(&scope(), "").await.unwrap(), 0);
        let place = somebody(&mut tx, id, "p").await;
        tx.revoke_participant(&scope(), id, "p", "why", 1).await.unwrap();
        tx.delete_stage_history(&scope(), id).await.unwrap();
        assert!(tx.delete_resource(&scope(), ResourceKind::Stage, id).await.unwrap());
        assert!(tx.stage(&scope(), id).await.unwrap().is_none());
        let here = Place { scope: &scope(), stage: id, session: &place };
        assert!(tx.session(&scope(), id, &place).await.unwrap().is_none());
        assert!(tx.participant(here, "p").await.unwrap().is_none());
        assert!(tx.events(here, "p", -1, 10).await.unwrap().is_empty());
        assert!(!tx.is_participant_revoked(&scope(), id, "p").await.unwrap());
    }

    a_stage_has_one_open_session_at_most(tx) {
        tx.insert_stage(&scope(), &stage("a", 1)).await.unwrap();
        assert!(tx.open_session(&scope(), "a").await.unwrap().is_none());
        tx.insert_session(&scope(), "a", "st-1", 10).await.unwrap();
        assert_eq!(tx.open_session(&scope(), "a").await.unwrap().unwrap().id, "st-1");
        assert_eq!(tx.stage(&scope(), "a").await.unwrap().unwrap().active_session.as_deref(), Some("st-1"));
        assert!(tx.end_session(&scope(), "a", "st-1", 20).await.unwrap());
        assert!(!tx.end_session(&scope(), "a", "st-1", 30).await.unwrap(), "it has ended before");
        tx.insert_session(&scope(), "a", "st-2", 10).await.unwrap();
        tx.insert_session(&scope(), "other", "st-3", 10).await.unwrap();
        let row = tx.session(&scope(), "a", "st-1").await.unwrap().unwrap();
        assert_eq!((row.started_at, row.ended_at), (10, Some(20)));
        let ids = walk!(Position::last(), |place| tx.sessions(&scope(), "a", &place, 1), |row| (row.started_at, row.id.clone()));
        assert_eq!(ids, ["st-2", "st-1"], "the newest first, ties by id");
        for stranger in strangers() {
            assert!(tx.session(&stranger, "a", "st-1").await.unwrap().is_none());
            assert!(tx.open_session(&stranger, "a").await.unwrap().is_none());
            assert!(tx.sessions(&stranger, "a", &Position::last(), 9).await.unwrap().is_empty());
        }
    }

    participants_are_listed_by_first_joining_and_filtered(tx) {
        tx.insert_stage(&scope(), &stage("a", 1)).await.unwrap();
        tx.insert_session(&scope(), "a", "st-1", 1).await.unwrap();
        let scope = scope();
        let here = Place { scope: &scope, stage: "a", session: "st-1" };
        for (id, joined, user, published, state, recording) in [
            ("p3", 3, "u", true, "CONNECTED", "ACTIVE"),
            ("p1", 1, "u", false, "DISCONNECTED", "STOPPED"),
            ("p2", 2, "w", true, "CONNECTED", "DISABLED"),
        ] {
            let row = ParticipantRow {
                user_id: user.into(),
                published,
                publishing: published,
                state: state.into(),
                recording_state: recording.into(),
                ..participant(id, joined)
            };
            tx.insert_participant(here, &row).await.unwrap();
            assert_eq!(tx.participant(here, id).await.unwrap().unwrap(), row, "what is written is read");
        }
        for (filter, expected) in [
            (ParticipantFilter::All, &["p1", "p2", "p3"][..]),
            (ParticipantFilter::UserId("u".into()), &["p1", "p3"]),
            (ParticipantFilter::Published(true), &["p2", "p3"]),
            (ParticipantFilter::Published(false), &["p1"]),
            (ParticipantFilter::State("CONNECTED"), &["p2", "p3"]),
            (ParticipantFilter::RecordingState("ACTIVE"), &["p3"]),
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
        for stranger in strangers() {
            let there = Place { scope: &stranger, ..here };
            assert!(tx.participant(there, "p1").await.unwrap().is_none());
            assert!(tx.connected_participants(there).await.unwrap().is_empty());
            assert!(tx.participants(there, &ParticipantFilter::All, &Position::first(), 9).await.unwrap().is_empty());
            assert_eq!(tx.count_publishing(&stranger, "a").await.unwrap(), 0);
            assert_eq!(tx.count_recording(there).await.unwrap(), 0);
        }
    }

    a_participant_is_written_only_by_who_saw_its_last_event(tx) {
        let scope = scope();
        tx.insert_stage(&scope, &stage("a", 1)).await.unwrap();
        let session = somebody(&mut tx, "a", "p").await;
        let here = Place { scope: &scope, stage: "a", session: &session };
        let row = tx.participant(here, "p").await.unwrap().unwrap();
        assert_eq!(row.events, 1);
        let next = ParticipantRow { publishing: true, published: true, events: 2, ..row.clone() };
        assert!(tx.update_participant(here, 1, &next).await.unwrap());
        assert!(!tx.update_participant(here, 1, &next).await.unwrap(), "one event has been added since");
        assert_eq!(tx.participant(here, "p").await.unwrap().unwrap(), next);
        let (_, events) = Participant::first_join("p", false, Timestamp(5));
        tx.insert_events(here, "p", 1, &[events[0].clone(), events[0].clone()]).await.unwrap();
        let numbers: Vec<_> = tx.events(here, "p", -1, 2).await.unwrap().into_iter().map(|row| row.0).collect();
        assert_eq!(numbers, [0, 1]);
        let rest = tx.events(here, "p", 1, 9).await.unwrap();
        assert_eq!((rest.len(), rest[0].0), (1, 2));
        assert_eq!(rest[0].1.0, events[0]);
        for stranger in strangers() {
            assert!(tx.events(Place { scope: &stranger, ..here }, "p", -1, 9).await.unwrap().is_empty());
        }
    }

    what_is_revoked_stays_revoked(tx) {
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
        for stranger in strangers() {
            assert!(!tx.is_participant_revoked(&stranger, "a", "p").await.unwrap());
            assert!(!tx.is_connection_token_revoked(&stranger, "t").await.unwrap());
        }
    }

    signing_keys_are_listed_the_newest_first(tx) {
        assert!(tx.newest_signing_key().await.unwrap().is_none());
        for (id, created_at) in [("old", 1), ("new", 3), ("middle", 2)] {
            let row = SigningKeyRow { id: id.into(), created_at, sealed: "sealed".into() };
            tx.insert_signing_key(&row).await.unwrap();
        }
        let rows = tx.signing_keys().await.unwrap();
        assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["new", "middle", "old"]);
        assert_eq!((rows[0].created_at, rows[0].sealed.as_str()), (3, "sealed"));
        assert_eq!(tx.newest_signing_key().await.unwrap().as_deref(), Some("new"));
    }

    access_keys_are_found_by_id_alone(tx) {
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
        assert_eq!(tx.access_key("A").await.unwrap(), Some(key("A", 2)), "what is written is read");
        assert_eq!(tx.access_key("b").await.unwrap(), None, "case counts");
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

    public_keys_are_kept_once_each(tx) {
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
        for stranger in strangers() {
            assert!(tx.public_key(&stranger, "a").await.unwrap().is_none());
            assert!(!tx.delete_resource(&stranger, ResourceKind::PublicKey, "a").await.unwrap());
            assert_eq!(tx.count_resources(&stranger, ResourceKind::PublicKey, 9).await.unwrap(), 0);
            tx.insert_public_key(&stranger, &key("b", 1)).await.unwrap();
        }
        assert!(tx.delete_resource(&scope(), ResourceKind::PublicKey, "a").await.unwrap());
        assert!(!tx.delete_resource(&scope(), ResourceKind::PublicKey, "a").await.unwrap());
    }

    encoder_and_storage_configurations_are_written_read_listed_and_deleted(tx) {
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
        let encoders = walk!(Position::first(), |place| tx.encoder_configurations(&scope(), &place, 1), |row| (row.created_at, row.id.clone()));
        let storages = walk!(Position::first(), |place| tx.storage_configurations(&scope(), &place, 1), |row| (row.created_at, row.id.clone()));
        assert_eq!((encoders, storages), (vec!["b".to_owned(), "a".to_owned()], vec!["b".to_owned(), "a".to_owned()]));
        for stranger in strangers() {
            assert!(tx.encoder_configuration(&stranger, "a").await.unwrap().is_none());
            assert!(tx.storage_configuration(&stranger, "a").await.unwrap().is_none());
            assert!(!tx.delete_resource(&stranger, ResourceKind::EncoderConfiguration, "a").await.unwrap());
            assert!(!tx.delete_resource(&stranger, ResourceKind::StorageConfiguration, "a").await.unwrap());
            assert_eq!(tx.count_resources(&stranger, ResourceKind::EncoderConfiguration, 9).await.unwrap(), 0);
            assert_eq!(tx.count_resources(&stranger, ResourceKind::StorageConfiguration, 9).await.unwrap(), 0);
        }
        assert_eq!(tx.count_resources(&scope(), ResourceKind::EncoderConfiguration, 9).await.unwrap(), 2);
        assert_eq!(tx.count_resources(&scope(), ResourceKind::StorageConfiguration, 9).await.unwrap(), 2);
        assert!(tx.delete_resource(&scope(), ResourceKind::EncoderConfiguration, "a").await.unwrap());
        assert!(tx.delete_resource(&scope(), ResourceKind::StorageConfiguration, "a").await.unwrap());
    }

    ingest_configurations_are_filtered_by_stage_or_state(tx) {
        let scope = scope();
        for (id, created_at, stage, state) in [("a", 1, "s1", "ACTIVE"), ("b", 2, "", "INACTIVE"), ("c", 3, "s1", "INACTIVE")] {
            tx.insert_ingest_configuration(&scope, &ingest(id, created_at, stage, state)).await.unwrap();
        }
        for (filter, expected) in [
            (("", ""), &["a", "b", "c"][..]),
            (("s1", ""), &["a", "c"]),
            (("", "INACTIVE"), &["b", "c"]),
            (("s2", ""), &[]),
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
        row.stage_id = "s2".into();
        row.state = "ACTIVE".into();
        row.redundant = true;
        row.credentials.0.0.clear();
        tx.update_ingest_configuration(&scope, &row).await.unwrap();
        let row = tx.ingest_configuration(&scope, "b").await.unwrap().unwrap();
        assert_eq!((row.stage_id.as_str(), row.state.as_str(), row.redundant, row.credentials.len()), ("s2", "ACTIVE", true, 0));
        for stranger in strangers() {
            assert!(tx.ingest_configuration(&stranger, "a").await.unwrap().is_none());
            assert!(tx.lock_ingest_configuration(&stranger, "a").await.unwrap().is_none());
            assert!(tx.ingest_configurations_of_stage(&stranger, "s1").await.unwrap().is_empty());
            assert!(!tx.delete_resource(&stranger, ResourceKind::IngestConfiguration, "a").await.unwrap());
            assert_eq!(tx.count_resources(&stranger, ResourceKind::IngestConfiguration, 9).await.unwrap(), 0);
        }
        assert!(tx.delete_resource(&scope, ResourceKind::IngestConfiguration, "a").await.unwrap());
    }

    compositions_know_whether_somebody_publishes(tx) {
        let scope = scope();
        tx.insert_stage(&scope, &stage("s1", 7)).await.unwrap();
        for (id, started_at, stage, encoder) in [("a", 1, "s1", "e1"), ("b", 2, "s2", "e2"), ("c", 2, "s1", "")] {
            tx.insert_composition(&scope, &composition(id, started_at, stage, encoder)).await.unwrap();
        }
        assert_eq!(tx.composition(&scope, "a").await.unwrap().unwrap().quiet_since, Some(7));
        assert_eq!(tx.composition(&scope, "b").await.unwrap().unwrap().quiet_since, None, "its stage is gone");
        let session = somebody(&mut tx, "s1", "p").await;
        let here = Place { scope: &scope, stage: "s1", session: &session };
        let row = tx.participant(here, "p").await.unwrap().unwrap();
        tx.update_participant(here, 1, &ParticipantRow { publishing: true, ..row }).await.unwrap();
        assert_eq!(tx.composition(&scope, "a").await.unwrap().unwrap().quiet_since, None, "somebody publishes");
        for (filter, expected) in [
            (("", ""), &["c", "b", "a"][..]),
            (("s1", ""), &["c", "a"]),
            (("", "e1"), &["a"]),
            (("s1", "e2"), &[]),
        ] {
            let ids = walk!(Position::last(), |place| tx.compositions(&scope, filter, &place, 1), |row| (row.started_at, row.id.clone()));
            assert_eq!(ids, expected, "{filter:?}");
        }
        assert_eq!(tx.all_compositions(&scope).await.unwrap().len(), 3);
        assert_eq!(tx.compositions_of_stage(&scope, "s1").await.unwrap().len(), 2);
        assert_eq!(tx.composition_by_token(&scope, "token of a").await.unwrap().unwrap().id, "a");
        assert!(tx.composition_by_token(&scope, "").await.unwrap().is_none());
        tx.stop_composition(&scope, "a", 50).await.unwrap();
        tx.stop_composition(&scope, "a", 99).await.unwrap();
        assert_eq!(tx.composition(&scope, "a").await.unwrap().unwrap().stopping_at, Some(50), "the first time counts");
        for stranger in strangers() {
            assert!(tx.composition(&stranger, "a").await.unwrap().is_none());
            assert!(tx.composition_by_token(&stranger, "token of a").await.unwrap().is_none());
            assert!(tx.all_compositions(&stranger).await.unwrap().is_empty());
            assert!(tx.compositions_of_stage(&stranger, "s1").await.unwrap().is_empty());
            assert!(tx.compositions(&stranger, ("", ""), &Position::last(), 9).await.unwrap().is_empty());
        }
        tx.delete_resource(&scope, ResourceKind::Composition, "a").await.unwrap();
        assert!(tx.composition(&scope, "a").await.unwrap().is_none());
    }

    replications_are_replaced_counted_and_forgotten(tx) {
        let scope = scope();
        for (destination, started_at) in [("d2", 1), ("d1", 1), ("d3", 2)] {
            tx.put_replication(&scope, &replication(destination, started_at, "ACTIVE")).await.unwrap();
        }
        assert_eq!(tx.count_active_replications(&scope, "s", "p").await.unwrap(), 3);
        tx.put_replication(&scope, &replication("d1", 5, "STOPPED")).await.unwrap();
        assert_eq!(tx.count_active_replications(&scope, "s", "p").await.unwrap(), 2);
        let row = tx.replication(&scope, "s", "p", "d1").await.unwrap().unwrap();
        assert_eq!((row.state.as_str(), row.started_at, row.reconnect_window_seconds), ("STOPPED", 5, 9));
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
        for stranger in strangers() {
            assert!(tx.replication(&stranger, "s", "p", "d1").await.unwrap().is_none());
            assert!(tx.replications(&stranger, "s", "p", &Position::first(), 9).await.unwrap().is_empty());
            assert!(tx.replications_of_stage(&stranger, "s").await.unwrap().is_empty());
            tx.delete_replications_of_stage(&stranger, "s").await.unwrap();
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
        tx.insert_composition(&scope, &composition("x", 1, "s", "")).await.unwrap();
        let video = Json(greenroom::domain::encoder_configuration::video(None).unwrap());
        tx.insert_encoder_configuration(&scope, &EncoderConfigurationRow { id: "x".into(), name: "".into(), video, tags: tags(), created_at: 1 }).await.unwrap();
        tx.insert_storage_configuration(&scope, &StorageConfigurationRow { id: "x".into(), name: "".into(), bucket: "".into(), tags: tags(), created_at: 1 }).await.unwrap();
        tx.insert_ingest_configuration(&scope, &ingest("x", 1, "", "INACTIVE")).await.unwrap();
        for kind in ResourceKind::ALL {
            let new = from(json!({"new": kind.as_str()}));
            assert!(tx.lock_tags(&scope, kind, "x").await.unwrap().is_some(), "{kind:?}");
            tx.set_tags(&scope, kind, "x", &new).await.unwrap();
            assert_eq!(tx.tags(&scope, kind, "x").await.unwrap(), Some(new));
            assert!(tx.tags(&scope, kind, "y").await.unwrap().is_none());
            for stranger in strangers() {
                assert!(tx.tags(&stranger, kind, "x").await.unwrap().is_none());
                assert!(tx.lock_tags(&stranger, kind, "x").await.unwrap().is_none());
            }
        }
    }
}

fn participant(id: &str, first_joined_at: i64) -> ParticipantRow {
    ParticipantRow {
        id: id.into(),
        user_id: "user".into(),
        attributes: Json(from(json!({"k": "v"}))),
        state: "CONNECTED".into(),
        published: false,
        publishing: false,
        subscriptions: Json(vec!["q".into()]),
        first_joined_at,
        events: 1,
        client: Json(Client { browser_name: "Firefox".into(), ..Client::default() }),
        protocol: "WHIP".into(),
        recording_state: "DISABLED".into(),
        recording_bucket: "bucket".into(),
        recording_prefix: "prefix".into(),
        replication_type: "NONE".into(),
        replication_state: "".into(),
        source_stage_id: "stage".into(),
        source_session_id: "session".into(),
        redundant_ingest: true,
        ingest_configuration_id: "ingest".into(),
    }
}

/// Opens a session of a stage with one participant in it; answers the session's id.
async fn somebody(tx: &mut Conn, stage: &str, id: &str) -> String {
    let session = format!("st-of-{stage}");
    tx.insert_session(&scope(), stage, &session, 1).await.unwrap();
    let scope = scope();
    let here = Place { scope: &scope, stage, session: &session };
    tx.insert_participant(here, &participant(id, 1)).await.unwrap();
    let (_, events) = Participant::first_join(id, false, Timestamp(1));
    tx.insert_events(here, id, 0, &events).await.unwrap();
    session
}

fn ingest(id: &str, created_at: i64, stage: &str, state: &str) -> IngestConfigurationRow {
    IngestConfigurationRow {
        id: id.into(),
        name: "n".into(),
        stage_id: stage.into(),
        participant_id: "p".into(),
        protocol: "RTMPS".into(),
        stream_key: "secret".into(),
        credentials: Json(from(json!([{"participantId": "q", "streamKey": "secret"}]))),
        redundant: false,
        state: state.into(),
        user_id: "u".into(),
        attributes: Json(from(json!({}))),
        tags: Json(from(json!({}))),
        created_at,
    }
}

fn composition(id: &str, started_at: i64, stage: &str, encoder: &str) -> CompositionRow {
    CompositionRow {
        id: id.into(),
        stage_id: stage.into(),
        layout: Json(greenroom::domain::composition::layout(None).unwrap()),
        destinations: Json(vec![]),
        tags: Json(from(json!({}))),
        channel_encoder_id: String::new(),
        s3_encoder_id: encoder.into(),
        storage_id: "storage".into(),
        idempotency_token: format!("token of {id}"),
        request_digest: "digest".into(),
        started_at,
        stopping_at: None,
        quiet_since: None,
    }
}

fn replication(destination: &str, started_at: i64, state: &str) -> ReplicationRow {
    ReplicationRow {
        source_stage_id: "s".into(),
        participant_id: "p".into(),
        destination_stage_id: destination.into(),
        source_session_id: "st-1".into(),
        destination_session_id: "st-2".into(),
        state: state.into(),
        reconnect_window_seconds: 9,
        started_at,
        ends_at: (destination == "d3").then_some(40),
    }
}

async fn each(check: impl AsyncFn(&Engine, Db)) {
    for engine in Engine::both().await {
        let db = engine.open().await;
        check(&engine, db.clone()).await;
        db.close().await;
    }
}

#[tokio::test]
async fn what_is_not_committed_leaves_nothing_behind() {
    each(async |_, db| {
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
async fn the_same_unique_key_twice_is_told_from_other_failures() {
    each(async |_, db| {
        let mut tx = db.write().await.unwrap();
        tx.insert_session(&scope(), "a", "st-1", 1).await.unwrap();
        let second = tx.insert_session(&scope(), "a", "st-2", 1).await;
        assert!(matches!(second, Err(StoreError::Duplicate(_))), "{second:?}");
    })
    .await;
}

#[tokio::test]
async fn a_lock_is_held_by_one_transaction_at_a_time() {
    each(async |_, db| {
        let mut first = db.write().await.unwrap();
        first.lock(&scope(), "it").await.unwrap();
        let second = async {
            let mut tx = db.write().await.unwrap();
            tx.lock(&scope(), "it").await.unwrap();
            assert!(tx.stage(&scope(), "a").await.unwrap().is_some(), "the first was done before");
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
async fn several_nodes_may_migrate_an_empty_store_at_once() {
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
async fn a_second_server_on_one_sqlite_file_is_refused_and_the_command_line_is_not() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    let second = Db::open(&engine.options()).await;
    assert!(second.unwrap_err().to_string().contains("another greenroom server"));
    let beside = Db::open_beside(&engine.options()).await.unwrap();
    beside.ping().await.unwrap();
    beside.close().await;
    db.close().await;
    drop(db);
    Db::open(&engine.options()).await.expect("the first one is gone");
}
