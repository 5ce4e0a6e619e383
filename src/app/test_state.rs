//! The state of an account in a region, or of all accounts, as one thing: the test API deletes it, copies it and puts a copy
//! in its place.
//!
//! Each is one transaction. It locks the resources that it replaces, so that the operations of the account run before it or
//! after it; other accounts are not touched. The numbers that clients and nodes rely on never go back: the revisions of
//! stages, the numbers of their events, and the positions of the event log.

mod history;
mod restore;
mod seed;
mod snapshot;

pub use history::{PastParticipant, PastSession, PastSubscription, PlayedSession};
pub use restore::restore;
pub use seed::{Reference, Seed, SeedStage, Seeded, seed};
pub use snapshot::{TableRows, tables, take};

use super::{App, compositions, retry, storage_configurations};
use crate::model::arn::{ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::store::tables::{MEDIA_HOMES, TABLES, Table};
use crate::store::{Conn, StoreError};
use std::collections::BTreeMap;

/// Numbers of rows by table.
pub type Counts = BTreeMap<&'static str, u64>;

/// The tables of events on their way to recipients.
const LOG: [&str; 3] = ["outbox", "events", "deliveries"];
/// The numbers that never go back.
const CHANGES: &str = "stage_changes";

/// The locks of operations that create resources, or refer to them, in lock order.
const LOCKS: [&str; 7] = [
    ResourceKind::EncoderConfiguration.as_str(),
    ResourceKind::PublicKey.as_str(),
    ResourceKind::StorageConfiguration.as_str(),
    ResourceKind::Stage.as_str(),
    storage_configurations::USE,
    ResourceKind::IngestConfiguration.as_str(),
    compositions::USE,
];

/// The tables of an account's resources and their history.
fn resources() -> impl Iterator<Item = &'static Table> {
    let is_of_region = |table: &&Table| table.columns.iter().any(|column| column.name == "region");
    TABLES.iter().filter(is_of_region).filter(|table| table.name != CHANGES && !LOG.contains(&table.name))
}

/// Deletes every resource of an account and region, or of all, with its history and its events. Access keys and signing keys
/// stay. Connections lose their rows, and are closed by the nodes that hold them.
pub async fn reset(app: &App, scope: Option<&Scope>) -> Result<Counts, Fault> {
    let deleted = retry(|| async {
        let mut tx = begin(app, scope).await?;
        let deleted = clear(&mut tx, scope).await?;
        tx.clear(&MEDIA_HOMES, scope).await?;
        tx.bump_all_revisions(scope, app.lease_now().0).await?;
        app.commit(tx).await?;
        Ok(deleted)
    })
    .await?;
    app.buckets()
        .forget(|(account, region, _)| scope.is_none_or(|scope| scope.account == *account && scope.region == *region));
    if let Some(controls) = app.test_controls() {
        controls.faults.remove(scope, None);
        controls.journal.clear(scope);
    }
    Ok(deleted)
}

/// A transaction that holds the locks of the state of a scope.
async fn begin(app: &App, scope: Option<&Scope>) -> Result<Conn, StoreError> {
    let mut tx = app.db.write().await?;
    tx.disable_timeouts().await?;
    tx.lock_state(scope, &LOCKS).await?;
    Ok(tx)
}

/// Deletes the rows of a scope. Stages come first: a stage that was created after the locks were taken is locked with that.
async fn clear(tx: &mut Conn, scope: Option<&Scope>) -> Result<Counts, StoreError> {
    let mut deleted = Counts::new();
    for table in resources() {
        deleted.insert(table.name, tx.clear(table, scope).await?);
    }
    deleted.extend(clear_log(tx, scope).await?);
    Ok(deleted)
}

/// Deletes the events of a scope that are on their way to recipients.
async fn clear_log(tx: &mut Conn, scope: Option<&Scope>) -> Result<Counts, StoreError> {
    let mut deleted = Counts::new();
    // The relay must not move entries of the outbox to the log between these statements.
    tx.lock_log().await?;
    for name in LOG {
        let Some(table) = TABLES.iter().find(|table| table.name == name) else { continue };
        deleted.insert(table.name, tx.clear(table, scope).await?);
    }
    tx.forget_lost_deliveries().await?;
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_cleared_first_and_every_table_of_accounts_is_known() {
        let names: Vec<_> = resources().map(|table| table.name).collect();
        assert_eq!(names[0], "stages");
        let others = ["access_keys", "counters", "event_targets", "signing_keys", CHANGES];
        let mut known: Vec<_> = names.into_iter().chain(others).chain(LOG).collect();
        let mut all: Vec<_> = TABLES.iter().map(|table| table.name).collect();
        known.sort_unstable();
        all.sort_unstable();
        assert_eq!(known, all);
    }
}
