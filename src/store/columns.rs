//! Columns whose values are not their Rust types: enums, and optional values in columns that are NOT NULL.
//!
//! Rows have enums and `Option`; only this module knows the words, and that `""` is no value.

use super::connections::ConnectionKind;
use crate::domain::composition::Progress;
use crate::domain::event::{CompositionError, EventKind};
use crate::model::ingest_configuration::{IngestConfigurationState, IngestProtocol};
use crate::model::participant::{ParticipantProtocol, ParticipantRecordingState, ParticipantState};
use crate::model::replication::{ReplicationState, ReplicationType};
use crate::store::sqlx;
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// The value of a column that is none of its enum. Reading it is [`StoreError::Corrupt`](super::StoreError::Corrupt).
#[derive(Debug, thiserror::Error)]
#[error("{value} is no {name}")]
pub(super) struct UnknownValue {
    name: &'static str,
    value: String,
}

impl UnknownValue {
    pub(super) fn new(name: &'static str, value: impl std::fmt::Debug) -> Self {
        UnknownValue { name, value: format!("{value:?}") }
    }
}

/// Enums that are stored as the values of a type: how an enum is encoded, and decoded if the value is one of its own.
macro_rules! enum_columns {
    ($( $name:ty as $stored:ty, $read:ident, $encode:path, $decode:path; )*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok($encode(*self).into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let stored = value.$read()?;
                $decode(stored).ok_or_else(|| FromSqlError::Other(UnknownValue::new(stringify!($name), stored).into()))
            }
        }

        impl Type<Postgres> for $name {
            fn type_info() -> PgTypeInfo {
                <$stored as Type<Postgres>>::type_info()
            }

            fn compatible(found: &PgTypeInfo) -> bool {
                <$stored as Type<Postgres>>::compatible(found)
            }
        }

        impl Encode<'_, Postgres> for $name {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                Encode::<Postgres>::encode($encode(*self), buffer)
            }
        }

        impl Decode<'_, Postgres> for $name {
            fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
                let stored = <$stored as Decode<Postgres>>::decode(value)?;
                $decode(stored).ok_or_else(|| UnknownValue::new(stringify!($name), stored).into())
            }
        }
    )*};
}

enum_columns! {
    ParticipantState as &str, as_str, ParticipantState::as_str, ParticipantState::parse;
    ParticipantProtocol as &str, as_str, ParticipantProtocol::as_str, ParticipantProtocol::parse;
    ParticipantRecordingState as &str, as_str, ParticipantRecordingState::as_str, ParticipantRecordingState::parse;
    ReplicationType as &str, as_str, ReplicationType::as_str, ReplicationType::parse;
    ReplicationState as &str, as_str, ReplicationState::as_str, ReplicationState::parse;
    IngestProtocol as &str, as_str, IngestProtocol::as_str, IngestProtocol::parse;
    IngestConfigurationState as &str, as_str, IngestConfigurationState::as_str, IngestConfigurationState::parse;
    ConnectionKind as &str, as_str, ConnectionKind::as_str, ConnectionKind::parse;
    EventKind as &str, as_str, EventKind::as_str, EventKind::parse;
    CompositionError as &str, as_str, CompositionError::as_str, CompositionError::parse;
    Progress as i64, as_i64, Progress::number, Progress::parse;
}

/// An optional value in a text column that is NOT NULL: `""` is `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct OrEmpty<T>(pub Option<T>);

impl<T: ToSql> ToSql for OrEmpty<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match &self.0 {
            Some(value) => value.to_sql(),
            None => Ok("".into()),
        }
    }
}

impl<T: FromSql> FromSql for OrEmpty<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(OrEmpty(if value.as_str()?.is_empty() { None } else { Some(T::column_result(value)?) }))
    }
}

impl<T> Type<Postgres> for OrEmpty<T> {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(found: &PgTypeInfo) -> bool {
        <str as Type<Postgres>>::compatible(found)
    }
}

impl<'q, T: Encode<'q, Postgres>> Encode<'q, Postgres> for OrEmpty<T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match &self.0 {
            Some(value) => value.encode_by_ref(buffer),
            None => Encode::<Postgres>::encode("", buffer),
        }
    }
}

impl<'r, T: Decode<'r, Postgres>> Decode<'r, Postgres> for OrEmpty<T> {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(OrEmpty(if value.as_str()?.is_empty() { None } else { Some(T::decode(value)?) }))
    }
}
