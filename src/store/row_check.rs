//! Checks rows of untrusted origin: a value that this program does not write could not be read later, by the requests of
//! clients or by the work of every account.

use super::tables::{Cell, Column, Table};
use crate::domain::composition::{PlannedDestination, Progress};
use crate::domain::event::CompositionError;
use crate::domain::participant::{Client, CurrentToken};
use crate::domain::policy::Policy;
use crate::domain::public_key;
use crate::model::composition::LayoutConfiguration;
use crate::model::encoder_configuration::Video;
use crate::model::ingest_configuration::{IngestConfigurationState, IngestProtocol, RedundantIngestCredentials};
use crate::model::participant::{
    Event, ParticipantAttributes, ParticipantProtocol, ParticipantRecordingState, ParticipantState,
};
use crate::model::replication::{ReplicationState, ReplicationType};
use crate::model::stage::AutoParticipantRecordingConfiguration;
use crate::model::tag::Tags;
use crate::store::connections::ConnectionKind;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The last millisecond of the year 9999.
const LATEST: i64 = 253_402_300_799_999;
/// Maximum characters of an id.
const MAX_ID: usize = 128;

/// Checks a row of a table with all `columns` of the schema. The error is the column whose value is not valid.
pub fn check_row(table: &Table, columns: &[Column], row: &[Cell]) -> Result<(), &'static str> {
    for (n, (column, cell)) in columns.iter().zip(row).enumerate() {
        let valid = match cell {
            Cell::Text(text) => is_text(table.name, column.name, text) && (n >= table.key || !text.is_empty()),
            Cell::Json(value) => is_json(column.name, value),
            Cell::Number(number) => is_number(column.name, *number),
            Cell::Null | Cell::Bool(_) => true,
        };
        if !valid {
            return Err(column.name);
        }
    }
    check_together(table, columns, row)
}

fn is_id(text: &str) -> bool {
    text.len() <= MAX_ID && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_text(table: &str, column: &str, text: &str) -> bool {
    let or_empty = |is: bool| text.is_empty() || is;
    match (table, column) {
        (_, "account") => crate::config::account(text).is_ok(),
        (_, "id") => !text.is_empty() && is_id(text),
        ("participants", "state") => ParticipantState::parse(text).is_some(),
        ("participants", "protocol") => ParticipantProtocol::parse(text).is_some(),
        ("participants", "recording_state") | ("recordings", "state") => {
            ParticipantRecordingState::parse(text).is_some()
        }
        ("recordings", "error_code") => true,
        ("participants", "replication_type") => ReplicationType::parse(text).is_some(),
        ("participants", "replication_state") => or_empty(ReplicationState::parse(text).is_some()),
        ("replications", "state") => ReplicationState::parse(text).is_some(),
        ("ingest_configurations", "protocol") => IngestProtocol::parse(text).is_some(),
        ("ingest_configurations", "state") => IngestConfigurationState::parse(text).is_some(),
        ("connections", "kind") => ConnectionKind::parse(text).is_some(),
        ("compositions", "error_code") => or_empty(CompositionError::parse(text).is_some()),
        ("access_keys", "policy") => or_empty(Policy::parse(text).is_ok()),
        ("participants", "user_id") | ("ingest_configurations", "user_id") => true,
        (_, name) => !name.ends_with("_id") || is_id(text),
    }
}

fn is_number(column: &str, number: i64) -> bool {
    match column {
        "told" => Progress::parse(number).is_some(),
        // The end of a course.
        "next_at" if number == i64::MAX => true,
        _ => (0..=LATEST).contains(&number),
    }
}

fn is<T: DeserializeOwned>(value: &Value) -> bool {
    serde_json::from_value::<T>(value.clone()).is_ok()
}

fn is_json(column: &str, value: &Value) -> bool {
    match column {
        "tags" => is::<Tags>(value),
        "recording" => is::<AutoParticipantRecordingConfiguration>(value),
        "video" => is::<Video>(value),
        "credentials" => is::<RedundantIngestCredentials>(value),
        "attributes" => is::<ParticipantAttributes>(value),
        "layout" => is::<LayoutConfiguration>(value),
        "destinations" => is::<Vec<PlannedDestination>>(value),
        "subscriptions" => is::<Vec<String>>(value),
        "client" => is::<Client>(value),
        "token" => serde_json::from_value::<Option<CurrentToken>>(value.clone()).is_ok_and(|token| {
            token.is_none_or(|token| {
                [token.issued_at, token.expires_at].iter().all(|at| (0..=LATEST / 1000).contains(at))
            })
        }),
        "event" => is::<Event>(value),
        _ => false,
    }
}

/// Checks values that depend on each other.
fn check_together(table: &Table, columns: &[Column], row: &[Cell]) -> Result<(), &'static str> {
    let text = |name: &str| match columns.iter().position(|column| column.name == name).and_then(|n| row.get(n)) {
        Some(Cell::Text(text)) => text.as_str(),
        _ => "",
    };
    match table.name {
        "public_keys" if public_key::fingerprint(text("material")).ok().as_deref() != Some(text("fingerprint")) => {
            Err("fingerprint")
        }
        "connections" if (text("kind") == ConnectionKind::Subscribe.as_str()) == text("remote_id").is_empty() => {
            Err("remote_id")
        }
        "participants" if text("source_stage_id").is_empty() != text("source_session_id").is_empty() => {
            Err("source_session_id")
        }
        "access_keys" if text("sealed_secret").is_empty() => Err("sealed_secret"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SCHEMA;
    use crate::store::tables::{Kind, TABLES};
    use serde_json::json;

    /// A valid row of each table that a snapshot may have, besides those with PEM or policies.
    fn row(table: &Table) -> Vec<Cell> {
        let text = |name: &str| match (table.name, name) {
            (_, "account") => "123456789012",
            ("participants", "state") => "CONNECTED",
            ("participants", "recording_state") => "DISABLED",
            ("recordings", "state") => "STOPPED",
            ("participants", "replication_type") => "NONE",
            ("participants", "protocol") => "WHIP",
            ("replications", "state") => "ACTIVE",
            ("ingest_configurations", "protocol") => "RTMPS",
            ("ingest_configurations", "state") => "INACTIVE",
            ("connections", "kind") => "PUBLISH",
            ("connections", "remote_id") => "",
            (_, "replication_state" | "error_code" | "policy") => "",
            (_, "fingerprint") => "",
            _ => "abc",
        };
        let json = |name: &str| match name {
            "token" => json!(null),
            "destinations" | "subscriptions" | "credentials" => json!([]),
            "recording" => json!({"storageConfigurationArn": ""}),
            _ => json!({}),
        };
        let cell = |column: &Column| match column.kind {
            Kind::Text | Kind::Sealed => Cell::Text(text(column.name).into()),
            Kind::Number => Cell::Number(1),
            Kind::MaybeNumber => Cell::Null,
            Kind::Bool => Cell::Bool(true),
            Kind::Json => Cell::Json(json(column.name)),
        };
        table.columns(SCHEMA).iter().map(cell).collect()
    }

    fn checked(table: &str, change: &[(&str, Cell)]) -> Result<(), &'static str> {
        let table = Table::named(table, SCHEMA).unwrap();
        let columns = table.columns(SCHEMA);
        let mut row = row(table);
        for (name, cell) in change {
            row[columns.iter().position(|column| column.name == *name).unwrap()] = cell.clone();
        }
        check_row(table, &columns, &row)
    }

    #[test]
    fn rows_that_this_program_writes_are_valid() {
        let others = ["public_keys", "counters", "event_targets", "deliveries", "outbox", "events", "stage_changes"];
        for table in TABLES.iter().filter(|table| !others.contains(&table.name)) {
            assert_eq!(checked(table.name, &[]), Ok(()), "{}", table.name);
        }
    }

    #[test]
    fn a_value_that_could_not_be_read_is_refused_by_its_column() {
        let text = |text: &str| Cell::Text(text.into());
        for (table, column, cell) in [
            ("stages", "account", text("12345678901x")),
            ("stages", "region", text("")),
            ("stages", "id", text("")),
            ("stages", "id", text("../x")),
            ("stages", "tags", Cell::Json(json!([1]))),
            ("stages", "recording", Cell::Json(json!(null))),
            ("stages", "created_at", Cell::Number(-1)),
            ("stages", "created_at", Cell::Number(i64::MAX)),
            ("participants", "state", text("connected")),
            ("participants", "replication_state", text("x")),
            ("participants", "client", Cell::Json(json!("x"))),
            (
                "participants",
                "token",
                Cell::Json(json!({"issuedAt": i64::MAX, "expiresAt": 1, "digest": "", "capabilities": []})),
            ),
            ("participants", "source_session_id", text("")),
            ("participant_events", "event", Cell::Json(json!({"name": "NOTHING"}))),
            ("compositions", "told", Cell::Number(99)),
            ("compositions", "destinations", Cell::Json(json!({}))),
            ("connections", "kind", text("MEDIA")),
            ("connections", "remote_id", text("x")),
            ("access_keys", "policy", text("{}")),
            ("access_keys", "sealed_secret", text("")),
            ("ingest_configurations", "protocol", text("rtmp")),
            ("public_keys", "fingerprint", text("00")),
        ] {
            assert_eq!(checked(table, &[(column, cell)]), Err(column), "{table}.{column}");
        }
        assert_eq!(checked("compositions", &[("next_at", Cell::Number(i64::MAX))]), Ok(()));
    }
}
