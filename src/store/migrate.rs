//! Schema migrations: the same file names for both engines, applied in order, each once.

use super::sqlite::{Session, Sqlite};
use super::{Db, Pools, StoreError};
use crate::store::sqlx;
use rusqlite::Connection;
use sqlx::migrate::{MigrateError as SqlxError, Migration, MigrationType, Migrator};
use sqlx::{Connection as _, PgConnection, SqlSafeStr as _};
use std::collections::HashMap;
use std::time::Instant;

/// Number, name, text for SQLite, text for PostgreSQL. A released migration never changes: a test has their digests.
const MIGRATIONS: &[(i64, &str, &str, &str)] = &[
    (
        1,
        "init",
        include_str!("../../migrations/sqlite/0001_init.sql"),
        include_str!("../../migrations/postgres/0001_init.sql"),
    ),
    (
        2,
        "access_keys",
        include_str!("../../migrations/sqlite/0002_access_keys.sql"),
        include_str!("../../migrations/postgres/0002_access_keys.sql"),
    ),
    (
        3,
        "connections",
        include_str!("../../migrations/sqlite/0003_connections.sql"),
        include_str!("../../migrations/postgres/0003_connections.sql"),
    ),
    (
        4,
        "events",
        include_str!("../../migrations/sqlite/0004_events.sql"),
        include_str!("../../migrations/postgres/0004_events.sql"),
    ),
    (
        5,
        "retired_signing_keys",
        include_str!("../../migrations/sqlite/0005_retired_signing_keys.sql"),
        include_str!("../../migrations/postgres/0005_retired_signing_keys.sql"),
    ),
    (
        6,
        "recordings",
        include_str!("../../migrations/sqlite/0006_recordings.sql"),
        include_str!("../../migrations/postgres/0006_recordings.sql"),
    ),
];

/// The number of the last migration that this program knows.
pub const SCHEMA: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// The record of applied migrations in SQLite: sqlx's table, as earlier versions of this program used sqlx's migrator.
const APPLIED: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
)";
const RECORD: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    VALUES (?1, ?2, TRUE, ?3, ?4)";

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A newer version of this program has migrated the store.
    #[error(
        "a newer greenroom has used it (schema {0}, and this version knows {SCHEMA}): run that version or a later one, or import a backup into an empty store"
    )]
    Newer(i64),
    /// The store has other migrations than these, or PostgreSQL refuses one of them.
    #[error(transparent)]
    Migration(#[from] SqlxError),
    /// An error of SQLite.
    #[error("{}", source.detail())]
    Store {
        #[from]
        source: StoreError,
    },
}

/// Attempts while other nodes migrate the same store.
const TRIES: usize = 10;

impl Db {
    /// Brings the schema up to date. Several nodes may do so at once: the second one finds it done.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        self.migrate_to(i64::MAX).await
    }

    /// Applies the migrations up to `last`, as an older version of this program would have.
    pub async fn migrate_to(&self, last: i64) -> Result<(), MigrateError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.migrate_once(last).await {
                // There is no advisory lock, which poolers and distributed engines lack: the engine lets one of several
                // nodes create a table and refuses the others, which retry.
                Err(MigrateError::Migration(SqlxError::Execute(error) | SqlxError::ExecuteMigration(error, _)))
                    if tries < TRIES && error.as_database_error().is_some() =>
                {
                    tracing::debug!(%error, "concurrent migration by another node; retrying");
                }
                Err(MigrateError::Migration(SqlxError::VersionMissing(version))) if version > SCHEMA => {
                    return Err(MigrateError::Newer(version));
                }
                done => return done,
            }
        }
    }

    async fn migrate_once(&self, last: i64) -> Result<(), MigrateError> {
        match &self.pools {
            Pools::Sqlite(file) => in_sqlite(&migrator(last, |(_, _, sqlite, _)| sqlite), file).await,
            Pools::Postgres(server) => {
                let migrator = migrator(last, |(_, _, _, postgres)| postgres);
                let mut pooled = server.pool().acquire().await.map_err(StoreError::from)?;
                let (conn, _) = pooled.parts();
                if server.is_pooled() {
                    return Ok(in_one_transaction(&migrator, conn).await?);
                }
                Ok(migrator.run(conn).await?)
            }
        }
    }
}

/// Behind a pooler, only a transaction keeps one connection for all statements of the migrator; and the statements that it
/// prepares must be gone when another client gets that connection.
async fn in_one_transaction(migrator: &Migrator, conn: &mut PgConnection) -> Result<(), SqlxError> {
    const FORGET: &str = "DEALLOCATE ALL";
    let mut transaction = conn.begin().await?;
    sqlx::raw_sql(FORGET).execute(&mut *transaction).await?;
    migrator.run(&mut *transaction).await?;
    sqlx::raw_sql(FORGET).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// SQLite is migrated in one transaction, so that other processes see all of it, or nothing.
async fn in_sqlite(migrator: &Migrator, file: &Sqlite) -> Result<(), MigrateError> {
    let mut session = file.write().await?;
    session.allow_long_statements();
    let applied = session.run(applied)?;
    if let Some((version, _)) = applied.iter().find(|(_, (success, _))| !success) {
        return Err(SqlxError::Dirty(*version).into());
    }
    if let Some(version) = applied.keys().filter(|version| !migrator.version_exists(**version)).min() {
        return Err(SqlxError::VersionMissing(*version).into());
    }
    for migration in migrator.iter() {
        match applied.get(&migration.version) {
            Some((_, checksum)) if checksum[..] == migration.checksum[..] => {}
            Some(_) => return Err(SqlxError::VersionMismatch(migration.version).into()),
            None => apply(&mut session, migration)?,
        }
    }
    Ok(session.commit().await?)
}

/// The applied migrations by number: whether each succeeded, and the digest of its text.
fn applied(conn: &Connection) -> rusqlite::Result<HashMap<i64, (bool, Vec<u8>)>> {
    conn.execute_batch(APPLIED)?;
    let mut statement = conn.prepare("SELECT version, success, checksum FROM _sqlx_migrations")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    rows.collect()
}

fn apply(session: &mut Session, migration: &Migration) -> Result<(), StoreError> {
    session.run(|conn| {
        let begun = Instant::now();
        conn.execute_batch(migration.sql.as_str())?;
        let took = i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX);
        conn.execute(RECORD, (migration.version, &*migration.description, &*migration.checksum, took)).map(drop)
    })
}

fn migrator(last: i64, text: fn(&(i64, &'static str, &'static str, &'static str)) -> &'static str) -> Migrator {
    let migration = |row: &(i64, &'static str, &'static str, &'static str)| {
        Migration::new(row.0, row.1.into(), MigrationType::Simple, text(row).into_sql_str(), false)
    };
    let mut migrator =
        Migrator::with_migrations(MIGRATIONS.iter().filter(|row| row.0 <= last).map(migration).collect());
    migrator.set_locking(false);
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::{SHA256, digest};

    fn hex(text: &str) -> String {
        digest(&SHA256, text.as_bytes()).as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn an_applied_migration_never_changes() {
        let found: Vec<_> = MIGRATIONS.iter().map(|m| (m.1, hex(m.2), hex(m.3))).collect();
        let found: Vec<_> = found.iter().map(|(name, s, p)| (*name, s.as_str(), p.as_str())).collect();
        let expected = [
            ("init", "ecc1cd0ac6c13414", "5af2d6a9d526b8a7"),
            ("access_keys", "f70dcb240f414bae", "bbc8f75655dafabf"),
            ("connections", "b5959208dba02613", "b264171512c86583"),
            ("events", "f266e0ac38e4a851", "1750a751d3e004aa"),
            ("retired_signing_keys", "310777e86a4dd41b", "310777e86a4dd41b"),
            ("recordings", "d4d2dc47d510fbdc", "d3673f3f6ed95972"),
        ];
        assert_eq!(found, expected);
    }
}
