//! Dumps of whole tables, for backups.

use crate::engines::Engine;
use crate::{scope, stage};
use greenroom::config::{Secret, Url};
use greenroom::model::arn::ResourceKind;
use greenroom::model::tag::Tags;
use greenroom::store::tables::{Cell, EXCLUDED, Kind, TABLES, Table};
use greenroom::store::{Db, SCHEMA, StoreError};
use sqlx_core::connection::Connection as _;
use sqlx_core::query_as::query_as;
use sqlx_postgres::PgConnection;
use std::collections::BTreeMap;

/// Table, column, type, nullability, position in the primary key or 0.
type Found = (String, String, String, bool, i64);

const SQLITE: &str = r#"SELECT t.name, c.name, c.type, c."notnull" = 0, CAST(c.pk AS BIGINT)
    FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY t.name, c.cid"#;
const POSTGRES: &str = "SELECT CAST(c.table_name AS TEXT), CAST(c.column_name AS TEXT), CAST(c.data_type AS TEXT),
        c.is_nullable = 'YES', CAST(COALESCE(k.ordinal_position, 0) AS BIGINT)
    FROM information_schema.columns c LEFT JOIN information_schema.key_column_usage k
        ON k.table_schema = c.table_schema AND k.table_name = c.table_name AND k.column_name = c.column_name
    WHERE c.table_schema = 'public' ORDER BY c.table_name, c.ordinal_position";

async fn columns(engine: &Engine) -> Vec<Found> {
    match engine.url() {
        Url::Postgres(Secret(url)) => {
            let mut conn = PgConnection::connect(&url).await.unwrap();
            query_as(POSTGRES).fetch_all(&mut conn).await.unwrap()
        }
        Url::File(path) => {
            let conn = rusqlite::Connection::open(path).unwrap();
            let mut statement = conn.prepare(SQLITE).unwrap();
            let found = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
            statement.query_map([], found).unwrap().map(Result::unwrap).collect()
        }
        Url::Memory => unreachable!("no test uses it"),
    }
}

/// Whether a column type of either engine matches a kind.
fn is(kind: Kind, name: &str, nullable: bool) -> bool {
    let types: &[&str] = match kind {
        Kind::Text | Kind::Sealed => &["TEXT", "text"],
        Kind::Number | Kind::MaybeNumber => &["BIGINT", "bigint"],
        Kind::Bool => &["BOOLEAN", "boolean"],
        Kind::Json => &["TEXT", "jsonb"],
    };
    types.contains(&name) && nullable == (kind == Kind::MaybeNumber)
}

#[tokio::test]
async fn a_backup_has_every_table_and_column_of_every_schema() {
    for engine in Engine::both().await {
        let db = Db::open(&engine.options()).await.unwrap();
        for schema in 1..=SCHEMA {
            db.migrate_to(schema).await.unwrap();
            let mut tables: BTreeMap<String, Vec<Found>> = BTreeMap::new();
            for column in columns(&engine).await {
                tables.entry(column.0.clone()).or_default().push(column);
            }
            tables.retain(|name, _| name != "_sqlx_migrations" && !EXCLUDED.contains(&name.as_str()));
            let mut known: Vec<_> = Table::all(schema).map(|table| table.name.to_owned()).collect();
            known.sort();
            assert_eq!(tables.keys().cloned().collect::<Vec<_>>(), known, "schema {schema}: see src/store/tables.rs");
            for table in Table::all(schema) {
                let found = &tables[table.name];
                let known = table.columns(schema);
                for (_, name, kind, nullable, _) in found {
                    let column = known.iter().find(|column| column.name == name);
                    let column =
                        column.unwrap_or_else(|| panic!("{}.{name} is not in src/store/tables.rs", table.name));
                    assert!(is(column.kind, kind, *nullable), "{}.{name} is {kind}", table.name);
                }
                assert_eq!(found.len(), known.len(), "{} lists columns that do not exist", table.name);
                let mut key: Vec<_> =
                    found.iter().filter(|found| found.4 > 0).map(|found| (found.4, &*found.1)).collect();
                key.sort();
                let first: Vec<_> = known[..table.key].iter().map(|column| column.name).collect();
                assert_eq!(key.iter().map(|(_, name)| *name).collect::<Vec<_>>(), first, "the key of {}", table.name);
            }
        }
        db.close().await;
    }
}

#[tokio::test]
async fn the_schema_version_of_an_empty_store_is_none() {
    for engine in Engine::both().await {
        let db = Db::open(&engine.options()).await.unwrap();
        assert_eq!(db.read().await.unwrap().schema().await.unwrap(), None);
        db.migrate_to(2).await.unwrap();
        assert_eq!(db.read().await.unwrap().schema().await.unwrap(), Some(2));
        db.close().await;
    }
}

#[tokio::test]
async fn a_snapshot_does_not_see_later_commits() {
    for engine in Engine::both().await {
        let db = engine.open().await;
        let table = Table::named("stages", SCHEMA).unwrap();
        let mut snapshot = db.snapshot().await.unwrap();
        assert!(snapshot.is_empty(table).await.unwrap());
        let mut tx = db.write().await.unwrap();
        tx.insert_stage(&scope(), &stage("s", 1)).await.unwrap();
        tx.commit().await.unwrap();
        assert!(snapshot.is_empty(table).await.unwrap());
        assert!(snapshot.dump(table, &table.columns(SCHEMA), None, None, 9).await.unwrap().is_empty());
        drop(snapshot);
        assert!(!db.snapshot().await.unwrap().is_empty(table).await.unwrap());
        db.close().await;
    }
}

#[tokio::test]
async fn a_write_snapshot_conflicts_with_rows_written_since() {
    for engine in Engine::both().await {
        let db = engine.open().await;
        let mut tx = db.write().await.unwrap();
        tx.insert_stage(&scope(), &stage("s", 1)).await.unwrap();
        tx.commit().await.unwrap();
        let mut seen = db.read_snapshot().await.unwrap();
        let before = seen.tags(&scope(), ResourceKind::Stage, "s").await.unwrap();
        let mut late = db.write_snapshot().await.unwrap();
        assert_eq!(late.tags(&scope(), ResourceKind::Stage, "s").await.unwrap(), before);
        if !db.is_shared() {
            // SQLite has one writer at a time.
            late.set_tags(&scope(), ResourceKind::Stage, "s", &Tags::default()).await.unwrap();
            late.commit().await.unwrap();
        } else {
            let mut tx = db.write().await.unwrap();
            tx.set_tags(&scope(), ResourceKind::Stage, "s", &Tags::default()).await.unwrap();
            tx.commit().await.unwrap();
            let conflict = late.lock_tags(&scope(), ResourceKind::Stage, "s").await.unwrap_err();
            assert!(matches!(conflict, StoreError::Transient(_)), "{conflict:?}");
            drop(late);
        }
        assert_eq!(seen.tags(&scope(), ResourceKind::Stage, "s").await.unwrap(), before);
        drop(seen);
        db.close().await;
    }
}

conformance! {
    a_table_is_dumped_page_by_page_and_restored(tx) {
        tx.disable_timeouts().await.unwrap();
        for n in 0..7 {
            tx.insert_stage(&scope(), &stage(&format!("s{n}"), n)).await.unwrap();
        }
        let table = Table::named("stages", SCHEMA).unwrap();
        let columns = table.columns(SCHEMA);
        let mut rows = tx.dump(table, &columns, None, None, 3).await.unwrap();
        for expected in [6, 7, 7] {
            let last = rows.last().cloned();
            rows.extend(tx.dump(table, &columns, None, last.as_deref(), 3).await.unwrap());
            assert_eq!(rows.len(), expected);
        }
        assert_eq!(rows[6][2], Cell::Text("s6".into()));
        assert!(matches!(&rows[0][4], Cell::Json(tags) if tags["ключ"] == "значение"), "{:?}", rows[0]);
        for row in &mut rows {
            row[1] = Cell::Text("eu-south-1".into());
        }
        tx.restore(table, &columns, &rows[..5]).await.unwrap();
        // None of these is inserted, and the transaction remains usable.
        assert!(matches!(tx.restore(table, &columns, &rows[4..]).await, Err(StoreError::Duplicate(_))));
        tx.restore(table, &columns, &rows[5..]).await.unwrap();
        let restored = tx.dump(table, &columns, None, None, 100).await.unwrap();
        assert_eq!(restored[..7], rows);
        assert_eq!(restored.len(), 14);
        // By their keys, whatever the other columns say.
        let mut deleted = [rows[1].clone(), rows[6].clone()];
        deleted[0][3] = Cell::Text("another name".into());
        tx.delete(table, &deleted).await.unwrap();
        let kept = tx.dump(table, &columns, None, None, 100).await.unwrap();
        assert_eq!(kept, [&restored[..1], &restored[2..6], &restored[7..]].concat());
    }

    columns_missing_from_an_older_schema_get_their_defaults(tx) {
        let table = Table::named("compositions", 3).unwrap();
        let before = table.columns(3);
        let cells = before.iter().map(|column| match column.kind {
            Kind::Json => Cell::Json(serde_json::json!([])),
            Kind::Number => Cell::Number(7),
            Kind::MaybeNumber => Cell::Null,
            Kind::Bool => Cell::Bool(false),
            Kind::Text | Kind::Sealed => Cell::Text(String::new()),
        });
        tx.restore(table, &before, &[cells.collect::<Vec<_>>()]).await.unwrap();
        let columns = table.columns(SCHEMA);
        let row = tx.dump(table, &columns, None, None, 1).await.unwrap().remove(0);
        let told = columns.iter().position(|column| column.name == "told").unwrap();
        assert_eq!(row[told], Cell::Number(0));
    }

    nodes_with_connections_are_marked_dead(tx) {
        let table = Table::named("connections", SCHEMA).unwrap();
        let row = |id: &str, node: &str| {
            let text = |text: &str| Cell::Text(text.into());
            vec![text("a"), text("r"), text("s"), text(id), text("p"), text("st"), text(node), text("EVENTS"), text(""),
                text(""), Cell::Bool(true), Cell::Number(1)]
        };
        let rows = [row("1", "n"), row("2", "n"), row("3", "m")];
        tx.restore(table, &table.columns(SCHEMA), &rows).await.unwrap();
        tx.fence_nodes_with_connections().await.unwrap();
        let dead = tx.fenced_nodes(9).await.unwrap();
        assert_eq!(dead.iter().map(|node| node.id.as_str()).collect::<Vec<_>>(), ["m", "n"]);
    }
}

#[test]
fn each_table_is_listed_once() {
    let names: Vec<_> = TABLES.iter().map(|table| table.name).collect();
    let mut distinct = names.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), names.len());
}
