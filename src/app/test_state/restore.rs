//! Puts a copy of the state in the place of what is there.

use super::{Counts, TableRows, begin, clear_log};
use crate::app::connections::{context, ended_command};
use crate::app::{App, keys, retry, stage_state};
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use crate::store::tables::{Cell, Table};
use crate::store::{Conn, SCHEMA, StoreError};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Maximum rows and values of one statement; SQLite takes 32,766 values.
const MAX_ROWS: usize = 500;
const MAX_VALUES: usize = 30_000;
/// Rows of one read.
const PAGE: i64 = 1000;

/// A row with the position of a connection in its table: its account, region, stage and id.
type Connection = (Scope, String, String);

/// Replaces the state of a scope, or of all, by a snapshot of it. Returns the number of rows by table.
///
/// A connection of the snapshot that is still open, and has not changed since, stays open. The others of the snapshot have
/// ended: their participants leave, as after a crash. Access keys and signing keys of the snapshot are added where they are
/// missing.
pub async fn restore(app: &Arc<App>, scope: Option<&Scope>, snapshot: &[TableRows]) -> Result<Counts, Fault> {
    retry(|| async {
        let mut tx = begin(app, scope).await?;
        if scope.is_none() {
            keys::hold(&mut tx).await?;
        }
        let open = open_connections(&mut tx, scope).await?;
        let mut restored = Counts::new();
        for TableRows { table, rows } in snapshot {
            let count = match is_kept(table) {
                true => insert_missing_keys(&mut tx, table, rows).await?,
                false => replace(&mut tx, table, scope, rows).await?,
            };
            restored.insert(table.name, count);
        }
        clear_log(&mut tx, scope).await?;
        for (scope, stage, id) in ended_connections(snapshot, &open) {
            let ctx = &context(app, &scope);
            if let Some(row) = tx.connection(&scope, &stage, &id).await? {
                stage_state::run(ctx, &mut tx, [ended_command(&stage, &row, None)]).await?;
            }
        }
        tx.release_all_unused_media(scope).await?;
        tx.bump_all_revisions(scope, app.lease_now().0).await?;
        app.commit(tx).await?;
        Ok(restored)
    })
    .await
}

/// The connections that are open, with their rows.
async fn open_connections(tx: &mut Conn, scope: Option<&Scope>) -> Result<HashMap<Connection, Vec<Cell>>, StoreError> {
    let Some(table) = Table::named("connections", SCHEMA) else { return Ok(HashMap::new()) };
    let (columns, mut open, mut last) = (table.columns(SCHEMA), HashMap::new(), None::<Vec<Cell>>);
    loop {
        let page = tx.dump(table, &columns, scope, last.as_deref(), PAGE).await?;
        let is_last = (page.len() as i64) < PAGE;
        last = page.last().cloned();
        open.extend(page.into_iter().filter_map(|row| Some((connection(&row)?, row))));
        if is_last {
            return Ok(open);
        }
    }
}

fn connection(row: &[Cell]) -> Option<Connection> {
    let [Cell::Text(account), Cell::Text(region), Cell::Text(stage), Cell::Text(id), ..] = row else { return None };
    Some((Scope { account: account.clone(), region: region.clone() }, stage.clone(), id.clone()))
}

/// The connections of a snapshot that are not open any more, or have changed.
fn ended_connections(snapshot: &[TableRows], open: &HashMap<Connection, Vec<Cell>>) -> Vec<Connection> {
    let rows = snapshot.iter().filter(|of| of.table.name == "connections").flat_map(|of| &of.rows);
    let ended = rows.filter_map(|row| Some((connection(row)?, row)));
    ended.filter(|(connection, row)| open.get(connection) != Some(row)).map(|(connection, _)| connection).collect()
}

/// Whether the rows of a table stay: keys, which are only added.
fn is_kept(table: &Table) -> bool {
    matches!(table.name, "access_keys" | "signing_keys")
}

/// Adds the keys that are missing. Returns how many there were.
async fn insert_missing_keys(tx: &mut Conn, table: &Table, rows: &[Vec<Cell>]) -> Result<u64, Fault> {
    let mut missing = Vec::new();
    for row in rows {
        let Some(Cell::Text(id)) = row.first() else { continue };
        let exists = match table.name {
            "access_keys" => tx.access_key(id).await?.is_some(),
            _ => tx.signing_key(id).await?.is_some(),
        };
        if !exists {
            missing.push(row);
        }
    }
    insert(tx, table, &missing).await?;
    Ok(missing.len() as u64)
}

/// Makes the rows of a table those of a snapshot: deletes those that differ, and adds those that are missing. A test changes
/// little of its state, and rows that stay as they are cost the store least. Returns the number of rows.
async fn replace(tx: &mut Conn, table: &Table, scope: Option<&Scope>, rows: &[Vec<Cell>]) -> Result<u64, Fault> {
    if rows.is_empty() {
        tx.clear(table, scope).await?;
        return Ok(0);
    }
    let mut missing: HashSet<&Vec<Cell>> = rows.iter().collect();
    if missing.len() < rows.len() {
        return Err(duplicate(table));
    }
    let (columns, mut last) = (table.columns(SCHEMA), None::<Vec<Cell>>);
    loop {
        let mut page = tx.dump(table, &columns, scope, last.as_deref(), PAGE).await?;
        let is_last = (page.len() as i64) < PAGE;
        last = page.last().cloned();
        page.retain(|row| !missing.remove(row));
        for rows in page.chunks(MAX_ROWS) {
            tx.delete(table, rows).await?;
        }
        if is_last {
            break;
        }
    }
    // In the order of the snapshot.
    let missing: Vec<_> = rows.iter().filter(|row| missing.contains(row)).collect();
    insert(tx, table, &missing).await?;
    Ok(rows.len() as u64)
}

fn duplicate(table: &Table) -> Fault {
    Fault::validation(format!("snapshot: two rows of {} have the same key, or a key of another account", table.name))
}

async fn insert(tx: &mut Conn, table: &Table, rows: &[&Vec<Cell>]) -> Result<(), Fault> {
    let columns = table.columns(SCHEMA);
    for rows in rows.chunks(MAX_ROWS.min(MAX_VALUES / columns.len())) {
        match tx.restore(table, &columns, rows).await {
            Err(StoreError::Duplicate(_)) => return Err(duplicate(table)),
            inserted => inserted?,
        }
    }
    Ok(())
}
