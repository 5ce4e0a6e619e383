//! Whole tables, or an account's rows of them, for backups and snapshots: read page by page and written in batches. See
//! [`super::tables`].

use super::sql::{execute, fetch};
use super::sqlite;
use super::tables::{Cell, Column, Kind, Table};
use super::{Conn, Db, Json, RawConnectionMut, StoreError};
use crate::model::arn::Scope;
use crate::store::sqlx;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, Value as SqliteValue, ValueRef};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row as _};
use std::fmt::Write as _;

/// An export or import through a pipe may wait for longer than a request. These apply to its transaction only.
const NO_IDLE_TIMEOUT: &str = "SET LOCAL idle_in_transaction_session_timeout = 0";
const NO_STATEMENT_TIMEOUT: &str = "SET LOCAL statement_timeout = 0";
const APPLIED: &str = "SELECT MAX(version) FROM _sqlx_migrations";
/// The nodes that hold connections are added as dead: the next server of the store ends these connections.
const FENCE_NODES: &str = "INSERT INTO nodes (id, url, expires_at, dead)
    SELECT DISTINCT node_id, '', CAST(0 AS BIGINT), TRUE FROM connections WHERE TRUE
    ON CONFLICT (id) DO UPDATE SET dead = TRUE";
const SAVEPOINT: &str = "SAVEPOINT batch";
const RELEASE: &str = "RELEASE SAVEPOINT batch";
const ROLLBACK: &str = "ROLLBACK TO SAVEPOINT batch";

/// Binds cells to a query.
macro_rules! bound {
    ($query:expr, $cells:expr) => {{
        let mut query = $query;
        for cell in $cells {
            query = match cell {
                Cell::Text(text) => query.bind(text.as_str()),
                Cell::Number(number) => query.bind(*number),
                Cell::Null => query.bind(None::<i64>),
                Cell::Bool(is) => query.bind(*is),
                Cell::Json(value) => query.bind(Json(value)),
            };
        }
        query
    }};
}

/// Binds an array for each of the first columns of rows.
macro_rules! bound_arrays {
    ($query:expr, $columns:expr, $rows:expr) => {{
        let mut query = $query;
        for (n, column) in $columns.iter().enumerate() {
            let cells = $rows.iter().map(|row| &AsRef::<[Cell]>::as_ref(row)[n]);
            query = match column.kind {
                Kind::Text | Kind::Sealed => query.bind(cells.map(text).collect::<Vec<_>>()),
                Kind::Number | Kind::MaybeNumber => query.bind(cells.map(number).collect::<Vec<_>>()),
                Kind::Bool => query.bind(cells.map(bool).collect::<Vec<_>>()),
                Kind::Json => query.bind(cells.map(json).collect::<Vec<_>>()),
            };
        }
        query
    }};
}

/// The cells of a row of either engine; `$row.$get` reads one of them.
macro_rules! cells {
    ($row:ident.$get:ident, $columns:expr) => {
        $columns
            .iter()
            .enumerate()
            .map(|(n, column)| {
                Ok(match column.kind {
                    Kind::Text | Kind::Sealed => Cell::Text($row.$get(n)?),
                    Kind::Number => Cell::Number($row.$get(n)?),
                    Kind::MaybeNumber => {
                        let number: Option<i64> = $row.$get(n)?;
                        number.map_or(Cell::Null, Cell::Number)
                    }
                    Kind::Bool => Cell::Bool($row.$get(n)?),
                    Kind::Json => {
                        let Json(value) = $row.$get(n)?;
                        Cell::Json(value)
                    }
                })
            })
            .collect()
    };
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Cell::Number(number) => ToSqlOutput::Owned(SqliteValue::Integer(*number)),
            Cell::Null => ToSqlOutput::Owned(SqliteValue::Null),
            Cell::Bool(is) => ToSqlOutput::Owned(SqliteValue::Integer((*is).into())),
            Cell::Json(value) => ToSqlOutput::Owned(SqliteValue::Text(value.to_string())),
        })
    }
}

impl Db {
    /// A read-only transaction without timeouts that sees the store as it is at its beginning.
    pub async fn snapshot(&self) -> Result<Conn, StoreError> {
        let mut conn = self.read_snapshot().await?;
        conn.disable_timeouts().await?;
        Ok(conn)
    }
}

impl Conn {
    /// The number of the last migration; `None` of a store without a schema, which aborts the transaction.
    pub async fn schema(&mut self) -> Result<Option<i64>, StoreError> {
        match fetch!(fetch_one, self, (Option<i64>,), APPLIED) {
            Ok((schema,)) => Ok(schema),
            Err(StoreError::Other(error)) if error.is_refusal() => {
                tracing::debug!(%error, "no schema found in the store");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Disables the timeouts of this transaction.
    pub async fn disable_timeouts(&mut self) -> Result<(), StoreError> {
        self.allow_long_statements();
        match self.raw() {
            RawConnectionMut::Sqlite(_) => Ok(()),
            RawConnectionMut::Postgres(..) => {
                execute!(self, NO_IDLE_TIMEOUT)?;
                execute!(self, NO_STATEMENT_TIMEOUT).map(drop)
            }
        }
    }

    /// Rows of a table in the order of its key, after the row `after`: their `columns`, which begin with the key. With a
    /// scope, only the rows of that account and region.
    pub async fn dump(
        &mut self,
        table: &Table,
        columns: &[Column],
        scope: Option<&Scope>,
        after: Option<&[Cell]>,
        limit: i64,
    ) -> Result<Vec<Vec<Cell>>, StoreError> {
        let owner = owner(table, scope);
        let sql = select(table, columns, &owner, after.is_some());
        let key = after.map_or(&[][..], |row| &row[..table.key]);
        let bound = owner.iter().map(|(_, value)| value).chain(key);
        match self.raw() {
            RawConnectionMut::Sqlite(session) => {
                sqlite::yield_budget().await;
                let values: Vec<&dyn ToSql> = bound.map(|cell| cell as _).chain([&limit as _]).collect();
                session.rows(&sql, &values, usize::MAX, &[], |row, _| cells!(row.get, columns))
            }
            RawConnectionMut::Postgres(c, session) => {
                let query = bound!(sqlx::query(AssertSqlSafe(sql)), bound).bind(limit).persistent(session.named);
                let rows = session.run(query.fetch_all(c)).await?;
                let rows: sqlx::Result<_> = rows.iter().map(|row| cells!(row.try_get, columns)).collect();
                Ok(rows?)
            }
        }
    }

    /// Inserts rows of a table: the values of `columns`, in order. All of them or none; after a failure the
    /// transaction can go on.
    pub async fn restore<R: AsRef<[Cell]>>(
        &mut self,
        table: &Table,
        columns: &[Column],
        rows: &[R],
    ) -> Result<(), StoreError> {
        execute!(self, SAVEPOINT)?;
        let added = match self.raw() {
            RawConnectionMut::Sqlite(session) => {
                sqlite::yield_budget().await;
                let values: Vec<&dyn ToSql> = rows.iter().flat_map(AsRef::as_ref).map(|cell| cell as _).collect();
                session.execute(&insert_values(table, columns, rows.len()), &values).map(drop)
            }
            RawConnectionMut::Postgres(c, session) => {
                // One array for each column: PostgreSQL plans a statement with thousands of values slowly.
                let query = sqlx::query(AssertSqlSafe(insert_arrays(table, columns))).persistent(session.named);
                let query = bound_arrays!(query, columns, rows);
                session.run(query.execute(c)).await.map(drop).map_err(StoreError::from)
            }
        };
        if added.is_err() {
            // If these fail too, it is for the same reason.
            drop(execute!(self, ROLLBACK));
            drop(execute!(self, RELEASE));
            return added;
        }
        execute!(self, RELEASE).map(drop)
    }

    /// Deletes the rows of a table, or those of one account and region. Returns how many there were.
    pub async fn clear(&mut self, table: &Table, scope: Option<&Scope>) -> Result<u64, StoreError> {
        let owner = owner(table, scope);
        let sql = format!("DELETE FROM {}{}", table.name, condition(&owner, 1));
        match self.raw() {
            RawConnectionMut::Sqlite(session) => {
                sqlite::yield_budget().await;
                let values: Vec<&dyn ToSql> = owner.iter().map(|(_, value)| value as _).collect();
                session.execute(&sql, &values)
            }
            RawConnectionMut::Postgres(c, session) => {
                let values = owner.iter().map(|(_, value)| value);
                let query = bound!(sqlx::query(AssertSqlSafe(sql)), values).persistent(session.named);
                Ok(session.run(query.execute(c)).await?.rows_affected())
            }
        }
    }

    /// Deletes the rows with the keys of these rows.
    pub async fn delete(&mut self, table: &Table, rows: &[Vec<Cell>]) -> Result<(), StoreError> {
        let key = &table.columns[..table.key];
        match self.raw() {
            RawConnectionMut::Sqlite(session) => {
                sqlite::yield_budget().await;
                let values: Vec<&dyn ToSql> =
                    rows.iter().flat_map(|row| &row[..table.key]).map(|cell| cell as _).collect();
                session.execute(&delete_values(table, rows.len()), &values).map(drop)
            }
            RawConnectionMut::Postgres(c, session) => {
                let sql = format!("DELETE FROM {0} WHERE ({1}) IN ({2})", table.name, names(key), arrays(key));
                let query = bound_arrays!(sqlx::query(AssertSqlSafe(sql)).persistent(session.named), key, rows);
                session.run(query.execute(c)).await.map(drop).map_err(StoreError::from)
            }
        }
    }

    /// Writes the encrypted columns of a row again.
    pub async fn reseal(&mut self, table: &Table, columns: &[Column], row: &[Cell]) -> Result<(), StoreError> {
        let (sql, order) = update_sealed(table, columns);
        let cells = || order.iter().map(|n| &row[*n]);
        match self.raw() {
            RawConnectionMut::Sqlite(session) => {
                let values: Vec<&dyn ToSql> = cells().map(|cell| cell as _).collect();
                session.execute(&sql, &values).map(drop)
            }
            RawConnectionMut::Postgres(c, session) => {
                let query = bound!(sqlx::query(AssertSqlSafe(sql)), cells()).persistent(session.named);
                session.run(query.execute(c)).await.map(drop).map_err(StoreError::from)
            }
        }
    }

    /// Whether a table has no row.
    pub async fn is_empty(&mut self, table: &Table) -> Result<bool, StoreError> {
        Ok(self.dump(table, &table.columns[..table.key], None, None, 1).await?.is_empty())
    }

    /// Marks every node that holds a connection as dead.
    pub async fn fence_nodes_with_connections(&mut self) -> Result<(), StoreError> {
        execute!(self, FENCE_NODES).map(drop)
    }
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

/// The columns that say whose the rows of a table are, and their values for a scope. The rows of a table without them are
/// of no account.
fn owner(table: &Table, scope: Option<&Scope>) -> Vec<(&'static str, Cell)> {
    let Some(Scope { account, region }) = scope else { return Vec::new() };
    let values = [("account", account), ("region", region)];
    let own = values.into_iter().filter(|(name, _)| table.columns.iter().any(|column| column.name == *name));
    own.map(|(name, value)| (name, Cell::Text(value.clone()))).collect()
}

/// `WHERE` the owner's columns have the values of the parameters from `first` on.
fn condition(owner: &[(&str, Cell)], first: usize) -> String {
    let equal: Vec<_> = owner.iter().zip(first..).map(|((name, _), bound)| format!("{name} = ${bound}")).collect();
    if equal.is_empty() { String::new() } else { format!(" WHERE {}", equal.join(" AND ")) }
}

fn select(table: &Table, columns: &[Column], owner: &[(&str, Cell)], after: bool) -> String {
    let key = names(&columns[..table.key]);
    let mut sql = format!("SELECT {} FROM {}{}", names(columns), table.name, condition(owner, 1));
    let mut bound = owner.len();
    if after {
        let place: Vec<_> = (bound + 1..=bound + table.key).map(|n| format!("${n}")).collect();
        let and = if owner.is_empty() { "WHERE" } else { "AND" };
        let _ = write!(sql, " {and} ({key}) > ({})", place.join(", "));
        bound += table.key;
    }
    let _ = write!(sql, " ORDER BY {key} LIMIT ${}", bound + 1);
    sql
}

/// `rows` rows of parameters for SQLite, which looks up a numbered one among all of them.
fn values(columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    format!("VALUES {}", vec![row.as_str(); rows].join(", "))
}

fn insert_values(table: &Table, columns: &[Column], rows: usize) -> String {
    format!("INSERT INTO {} ({}) {}", table.name, names(columns), values(columns.len(), rows))
}

fn delete_values(table: &Table, rows: usize) -> String {
    let key = &table.columns[..table.key];
    format!("DELETE FROM {} WHERE ({}) IN ({})", table.name, names(key), values(key.len(), rows))
}

/// The rows of one array for each column, for PostgreSQL.
fn arrays(columns: &[Column]) -> String {
    let array = |(column, n): (&Column, usize)| match column.kind {
        Kind::Text | Kind::Sealed => format!("${n}::TEXT[]"),
        Kind::Number | Kind::MaybeNumber => format!("${n}::BIGINT[]"),
        Kind::Bool => format!("${n}::BOOLEAN[]"),
        Kind::Json => format!("${n}::JSONB[]"),
    };
    let arrays: Vec<_> = columns.iter().zip(1..).map(array).collect();
    format!("SELECT * FROM UNNEST({})", arrays.join(", "))
}

fn insert_arrays(table: &Table, columns: &[Column]) -> String {
    format!("INSERT INTO {} ({}) {}", table.name, names(columns), arrays(columns))
}

fn text(cell: &Cell) -> Option<&str> {
    if let Cell::Text(text) = cell { Some(text) } else { None }
}

fn number(cell: &Cell) -> Option<i64> {
    if let Cell::Number(number) = cell { Some(*number) } else { None }
}

fn bool(cell: &Cell) -> Option<bool> {
    if let Cell::Bool(is) = cell { Some(*is) } else { None }
}

fn json(cell: &Cell) -> Option<Json<&Value>> {
    if let Cell::Json(value) = cell { Some(Json(value)) } else { None }
}

/// The update of the encrypted columns of one row, and which of its cells are bound, in order.
fn update_sealed(table: &Table, columns: &[Column]) -> (String, Vec<usize>) {
    let sealed = (0..columns.len()).filter(|n| columns[*n].kind == Kind::Sealed);
    let order: Vec<usize> = sealed.chain(0..table.key).collect();
    let equal: Vec<_> = order.iter().zip(1..).map(|(n, bound)| format!("{} = ${bound}", columns[*n].name)).collect();
    let (set, key) = equal.split_at(order.len() - table.key);
    (format!("UPDATE {} SET {} WHERE {}", table.name, set.join(", "), key.join(" AND ")), order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tables::TABLES;

    #[test]
    fn encrypted_columns_are_updated_by_the_key_of_their_row() {
        let table = Table::named("access_keys", 2).unwrap();
        let (sql, order) = update_sealed(table, &table.columns(2));
        assert_eq!(sql, "UPDATE access_keys SET sealed_secret = $1, sealed_session_token = $2 WHERE id = $3");
        assert_eq!(order, [3, 4, 0]);
    }

    #[test]
    fn a_page_begins_after_the_key_of_the_last_row() {
        let table = Table::named("sessions", 3).unwrap();
        let columns = table.columns(2);
        assert_eq!(
            select(table, &columns, &[], true),
            "SELECT account, region, stage_id, id, started_at, ended_at FROM sessions \
             WHERE (account, region, stage_id, id) > ($1, $2, $3, $4) ORDER BY account, region, stage_id, id LIMIT $5"
        );
        assert!(
            select(table, &columns, &[], false)
                .ends_with("FROM sessions ORDER BY account, region, stage_id, id LIMIT $1")
        );
        let scope = Scope { account: "1".into(), region: "r".into() };
        let page = select(table, &columns, &owner(table, Some(&scope)), true);
        let expected = "FROM sessions WHERE account = $1 AND region = $2 AND (account, region, stage_id, id) > \
                        ($3, $4, $5, $6) ORDER BY account, region, stage_id, id LIMIT $7";
        assert!(page.ends_with(expected), "{page}");
        let keys = Table::named("access_keys", 2).unwrap();
        assert_eq!(owner(keys, Some(&scope)), [("account", Cell::Text("1".into()))]);
    }

    #[test]
    fn rows_are_added_many_at_once() {
        let table = Table::named("signing_keys", 1).unwrap();
        assert_eq!(
            insert_values(table, &table.columns(1), 2),
            "INSERT INTO signing_keys (id, created_at, sealed) VALUES (?, ?, ?), (?, ?, ?)"
        );
        assert_eq!(
            insert_arrays(table, &table.columns(1)),
            "INSERT INTO signing_keys (id, created_at, sealed) \
             SELECT * FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[])"
        );
    }

    #[test]
    fn every_column_of_a_key_came_with_its_table() {
        for table in TABLES {
            assert!(table.columns[..table.key].iter().all(|column| column.since == table.since), "{}", table.name);
        }
    }
}
