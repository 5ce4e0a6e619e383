//! A copy of the state of an account and region, or of all.

use super::resources;
use crate::app::{App, retry};
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use crate::store::SCHEMA;
use crate::store::tables::{Cell, TABLES, Table};

/// Rows of one read.
const PAGE: i64 = 1000;
/// Maximum rows of a snapshot: it is held in memory.
const MAX_ROWS: usize = 2_000_000;

/// Rows of a table, with the columns of this program's schema. Secrets are encrypted with the master key.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRows {
    pub table: &'static Table,
    pub rows: Vec<Vec<Cell>>,
}

/// The tables of a snapshot. The event log is not among them: its positions do not go back. A snapshot of all accounts has
/// the signing keys, so that tokens are valid on another server, too.
pub fn tables(scope: Option<&Scope>) -> impl Iterator<Item = &'static Table> {
    let keys: &[&str] = if scope.is_none() { &["access_keys", "signing_keys"] } else { &["access_keys"] };
    resources().chain(TABLES.iter().filter(|table| keys.contains(&table.name)))
}

/// Reads the state of a scope, or of all, as it is at one moment.
pub async fn take(app: &App, scope: Option<&Scope>) -> Result<Vec<TableRows>, Fault> {
    retry(|| async {
        let mut conn = app.db.snapshot().await?;
        let (mut taken, mut count) = (Vec::new(), 0);
        for table in tables(scope) {
            let columns = table.columns(SCHEMA);
            let mut rows: Vec<Vec<Cell>> = Vec::new();
            loop {
                let after = rows.last().map(Vec::as_slice);
                let page = conn.dump(table, &columns, scope, after, PAGE).await?;
                let is_last = (page.len() as i64) < PAGE;
                rows.extend(page);
                if count + rows.len() > MAX_ROWS {
                    let text = format!(
                        "The state has more than the {MAX_ROWS} rows that a snapshot can have; export the store"
                    );
                    return Err(Fault::validation(text));
                }
                if is_last {
                    break;
                }
            }
            count += rows.len();
            taken.push(TableRows { table, rows });
        }
        Ok(taken)
    })
    .await
}
