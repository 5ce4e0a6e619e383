//! The tables of a backup and their columns. Export and import use this list; a test compares it with the schema.

use serde_json::Value;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A secret, encrypted with the master key, or `""`.
    Sealed,
    /// A 64-bit number.
    Number,
    /// A 64-bit number or NULL.
    MaybeNumber,
    Bool,
    Json,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    /// The migration that added it. A column that is younger than its table has a default.
    pub since: i64,
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    /// The migration that added it.
    pub since: i64,
    /// How many of its first columns are the primary key.
    pub key: usize,
    pub columns: &'static [Column],
}

/// The value of a column in a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// Of [`Kind::Text`] or [`Kind::Sealed`].
    Text(String),
    /// Of [`Kind::Number`] or [`Kind::MaybeNumber`].
    Number(i64),
    /// Of [`Kind::MaybeNumber`].
    Null,
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Json`].
    Json(Value),
}

impl Table {
    /// The table `name`, if the schema has it.
    pub fn named(name: &str, schema: i64) -> Option<&'static Table> {
        TABLES.iter().find(|table| table.name == name && table.since <= schema)
    }

    /// The tables of a schema.
    pub fn all(schema: i64) -> impl Iterator<Item = &'static Table> {
        TABLES.iter().filter(move |table| table.since <= schema)
    }

    /// Its columns in a schema; those of the key first.
    pub fn columns(&self, schema: i64) -> Vec<Column> {
        self.columns.iter().copied().filter(|column| column.since <= schema).collect()
    }
}

/// Reads as: migration 1 added `sessions`, its first 4 columns are the key, migration 3 added `ends_at`.
macro_rules! tables {
    ($( $name:ident since $since:literal key $key:literal {
        $( $column:ident: $kind:ident $(since $added:literal)? ),* $(,)?
    } )*) => {
        &[$(Table {
            name: stringify!($name),
            since: $since,
            key: $key,
            columns: &[$(Column {
                name: stringify!($column),
                kind: Kind::$kind,
                since: tables!(@since $since $($added)?),
            }),*],
        }),*]
    };
    (@since $table:literal) => { $table };
    (@since $table:literal $column:literal) => { $column };
}

/// Tables that are not in a backup, as they describe running servers: locks, nodes, and where media are.
pub const EXCLUDED: &[&str] = &["locks", "nodes", "media_homes"];

/// The table of the nodes that have the media of stages.
pub const MEDIA_HOMES: Table = Table {
    name: "media_homes",
    since: 3,
    key: 3,
    columns: &[
        Column { name: "account", kind: Kind::Text, since: 3 },
        Column { name: "region", kind: Kind::Text, since: 3 },
        Column { name: "stage_id", kind: Kind::Text, since: 3 },
        Column { name: "node_id", kind: Kind::Text, since: 3 },
    ],
};

/// The tables of a backup, in its order.
pub const TABLES: &[Table] = tables! {
    signing_keys since 1 key 1 { id: Text, created_at: Number, sealed: Sealed, retired_at: MaybeNumber since 5 }
    access_keys since 2 key 1 {
        id: Text, account: Text, name: Text, sealed_secret: Sealed, sealed_session_token: Sealed, policy: Text,
        enabled: Bool, created_at: Number, expires_at: MaybeNumber, last_used_at: MaybeNumber,
    }
    stages since 1 key 3 {
        account: Text, region: Text, id: Text, name: Text, tags: Json, recording: Json, recording_storage_id: Text,
        created_at: Number, quiet_since: Number,
    }
    public_keys since 1 key 3 {
        account: Text, region: Text, id: Text, name: Text, material: Text, fingerprint: Text, tags: Json,
        created_at: Number,
    }
    encoder_configurations since 1 key 3 {
        account: Text, region: Text, id: Text, name: Text, video: Json, tags: Json, created_at: Number,
    }
    storage_configurations since 1 key 3 {
        account: Text, region: Text, id: Text, name: Text, bucket: Text, tags: Json, created_at: Number,
    }
    ingest_configurations since 1 key 3 {
        account: Text, region: Text, id: Text, name: Text, stage_id: Text, participant_id: Text, protocol: Text,
        stream_key: Text, credentials: Json, redundant: Bool, state: Text, user_id: Text, attributes: Json, tags: Json,
        created_at: Number,
    }
    compositions since 1 key 3 {
        account: Text, region: Text, id: Text, stage_id: Text, layout: Json, destinations: Json, tags: Json,
        channel_encoder_id: Text, s3_encoder_id: Text, storage_id: Text, idempotency_token: Text, request_digest: Text,
        started_at: Number, stopping_at: MaybeNumber,
        next_at: Number since 4, told: Number since 4, error_code: Text since 4,
    }
    revoked_participants since 1 key 4 {
        account: Text, region: Text, stage_id: Text, participant_id: Text, reason: Text, revoked_at: Number,
    }
    revoked_connection_tokens since 1 key 3 { account: Text, region: Text, id: Text, revoked_at: Number }
    replications since 1 key 5 {
        account: Text, region: Text, source_stage_id: Text, participant_id: Text, destination_stage_id: Text,
        source_session_id: Text, destination_session_id: Text, state: Text, reconnect_window_seconds: Number,
        started_at: Number, ends_at: MaybeNumber,
    }
    stage_changes since 3 key 3 {
        account: Text, region: Text, stage_id: Text, revision: Number, changed_at: Number, deleted: Bool,
        events: Number since 4,
    }
    connections since 3 key 4 {
        account: Text, region: Text, stage_id: Text, id: Text, participant_id: Text, session_id: Text, node_id: Text,
        kind: Text, remote_id: Text, connection_token_id: Text, started: Bool, opened_at: Number,
    }
    sessions since 1 key 4 {
        account: Text, region: Text, stage_id: Text, id: Text, started_at: Number, ended_at: MaybeNumber,
        ends_at: MaybeNumber since 3,
    }
    participants since 1 key 5 {
        account: Text, region: Text, stage_id: Text, session_id: Text, id: Text, user_id: Text, attributes: Json,
        state: Text, published: Bool, publishing: Bool, subscriptions: Json, first_joined_at: Number, events: Number,
        client: Json, protocol: Text, recording_state: Text, recording_bucket: Text, recording_prefix: Text,
        replication_type: Text, replication_state: Text, source_stage_id: Text, source_session_id: Text,
        redundant_ingest: Bool, ingest_configuration_id: Text, token: Json since 3,
        recording_started_at: MaybeNumber since 4,
    }
    recordings since 6 key 3 {
        account: Text, region: Text, id: Text, stage_id: Text, session_id: Text, current_session_id: Text,
        participant_id: Text, connection_id: Text, storage_id: Text, bucket: Text, prefix: Text, recording: Json,
        state: Text, node_id: Text, created_at: Number, started_at: MaybeNumber, unpublished_at: MaybeNumber,
        resume_until: MaybeNumber, uploaded: Bool, ended_at: MaybeNumber, duration_ms: Number, next_thumbnail: Number,
        error_code: Text, reason: Text,
    }
    counters since 4 key 1 { name: Text, value: Number }
    event_targets since 4 key 1 {
        name: Text, position: Number, node_id: Text, lease_ends_at: Number, delivered: Number,
        delivered_at: MaybeNumber, error: Text, error_at: MaybeNumber, failing_since: MaybeNumber,
    }
    deliveries since 4 key 2 {
        target: Text, position: Number, account: Text, region: Text, stage_id: Text, attempts: Number,
        since: Number, next_at: Number, dead_at: MaybeNumber, error: Text,
    }
    outbox since 4 key 5 {
        account: Text, region: Text, stage_id: Text, number: Number, id: Text, kind: Text, body: Text,
        written_at: Number,
    }
    events since 4 key 1 {
        position: Number, account: Text, region: Text, stage_id: Text, number: Number, id: Text, kind: Text, body: Text,
        written_at: Number,
    }
    participant_events since 1 key 6 {
        account: Text, region: Text, stage_id: Text, session_id: Text, participant_id: Text, number: Number,
        event: Json,
    }
};
