//! Specifics of PostgreSQL: outages, serialization conflicts, notifications, poolers.

use crate::engines::Engine;
use crate::scope;
use greenroom::clock::{Clock, Timestamp};
use greenroom::config::{Listen, Pooler, Secret, Url};
use greenroom::store::{Db, Options, StoreError};
use sqlx_core::connection::Connection as _;
use sqlx_core::query::query;
use sqlx_core::query_scalar::query_scalar;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::PgConnection;
use std::time::Duration;

/// Generous, for busy machines.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The PostgreSQL engine, if it is available.
async fn postgres() -> Option<Engine> {
    Engine::both().await.into_iter().find(|engine| matches!(engine, Engine::Postgres(..)))
}

fn url(engine: &Engine) -> Secret {
    let Url::Postgres(url) = engine.url() else { unreachable!("the engine is PostgreSQL") };
    url
}

async fn until(mut done: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, waiting).await.expect("the condition becomes true in time");
}

/// Allows or rejects new connections, and closes existing ones.
async fn allow_connections(server: &str, name: &str, open: bool) {
    let mut admin = PgConnection::connect(server).await.unwrap();
    let text = AssertSqlSafe(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {open}"));
    raw_sql(text).execute(&mut admin).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    query(end).bind(name).execute(&mut admin).await.unwrap();
}

#[tokio::test]
async fn requests_fail_fast_during_an_outage_and_work_after_it() {
    let Some(engine) = postgres().await else { return };
    let Engine::Postgres(server, name) = &engine else { unreachable!() };
    let db = engine.open().await;
    let (back, mut backs) = tokio::sync::mpsc::unbounded_channel();
    let watching = tokio::spawn({
        let db = db.clone();
        async move { db.watch(|| back.send(()).unwrap()).await }
    });
    let mut held = db.write().await.unwrap();
    held.lock(&scope(), "held").await.unwrap();
    allow_connections(server, name, false).await;
    until(async || db.is_away()).await;
    assert!(held.lock(&scope(), "more").await.is_err(), "the open transaction is lost");
    for _ in 0..100 {
        assert!(matches!(db.read().await, Err(StoreError::Away)));
        assert!(matches!(db.write().await, Err(StoreError::Away)));
        assert!(matches!(db.ping().await, Err(StoreError::Away)));
    }
    allow_connections(server, name, true).await;
    tokio::time::timeout(TIMEOUT, backs.recv()).await.unwrap().unwrap();
    assert!(!db.is_away());
    db.ping().await.unwrap();
    watching.abort();
    db.close().await;
}

#[tokio::test]
async fn a_deadlock_is_a_retryable_error() {
    let Some(engine) = postgres().await else { return };
    let db = engine.open().await;
    let lock_both = async |first: &str, second: &str, other: &tokio::sync::Barrier| {
        let mut tx = db.write().await?;
        tx.lock(&scope(), first).await?;
        other.wait().await;
        tx.lock(&scope(), second).await
    };
    // 40P01: deadlock.
    let barrier = tokio::sync::Barrier::new(2);
    let results = tokio::join!(lock_both("a", "b", &barrier), lock_both("b", "a", &barrier));
    let failed: Vec<_> = [results.0, results.1].into_iter().filter_map(Result::err).collect();
    assert!(matches!(failed[..], [StoreError::Transient(_)]), "{failed:?}");
    db.close().await;
}

#[tokio::test]
async fn a_serialization_failure_at_commit_is_a_retryable_error() {
    let Some(engine) = postgres().await else { return };
    // 40001: each transaction has read what the other writes. PostgreSQL chooses which of them fails, and when.
    let strict = format!("{}?options=-c%20default_transaction_isolation=serializable", url(&engine).0);
    let db = Db::open(&Options { url: Url::Postgres(Secret(strict)), ..engine.options() }).await.unwrap();
    db.migrate().await.unwrap();
    let (mut one, mut two) = (db.write().await.unwrap(), db.write().await.unwrap());
    one.signing_keys().await.unwrap();
    two.signing_keys().await.unwrap();
    let key = |id: &str| greenroom::store::SigningKeyRow {
        id: id.into(),
        created_at: 1,
        sealed: Some("x".into()),
        retired_at: None,
    };
    one.insert_signing_key(&key("a")).await.unwrap();
    two.insert_signing_key(&key("b")).await.unwrap();
    one.commit().await.unwrap();
    let failed = two.commit().await;
    assert!(matches!(failed, Err(StoreError::Transient(_))), "{failed:?}");
    db.close().await;
}

#[tokio::test]
async fn a_notification_reaches_other_nodes() {
    let Some(engine) = postgres().await else { return };
    let options = Options { listen: Some(url(&engine)), ..engine.options() };
    let (one, two) = (Db::open(&options).await.unwrap(), Db::open(&options).await.unwrap());
    assert!(one.has_notifications());
    let mut notifications = two.listen().await.unwrap().unwrap();
    one.notify("one").await.unwrap();
    assert_eq!(notifications.next().await.unwrap(), "one");
    let Engine::Postgres(server, name) = &engine else { unreachable!() };
    allow_connections(server, name, true).await;
    assert!(notifications.next().await.is_err(), "the connection is broken");
    let mut notifications = two.listen().await.unwrap().unwrap();
    until(async || one.notify("again").await.is_ok()).await;
    assert_eq!(notifications.next().await.unwrap(), "again");
    let without_listen = engine.open().await;
    assert!(!without_listen.has_notifications() && without_listen.listen().await.unwrap().is_none());
    assert_eq!("off".parse(), Ok(Listen::Off));
}

#[tokio::test]
async fn the_lease_clock_is_the_database_servers_and_sqlite_uses_the_local_clock() {
    let (real, wrong) = (Clock::System, Clock::manual(Timestamp(0)));
    let embedded = Engine::sqlite();
    let db = embedded.open().await;
    assert_eq!(db.read_clock(&wrong).await.unwrap(), None);
    assert_eq!(db.lease_time(&wrong).await.unwrap(), Timestamp(0));
    db.close().await;
    let Some(engine) = postgres().await else { return };
    for pooler in [Pooler::Off, Pooler::Transaction] {
        let db = Db::open(&Options { pooler, ..engine.options() }).await.unwrap();
        let before = real.now();
        let reading = db.read_clock(&wrong).await.unwrap().unwrap();
        // PostgreSQL rounds to milliseconds, the local clock truncates.
        let near = before.0 - 1..=real.now().0 + 1;
        assert!(near.contains(&reading.database.0), "{reading:?} {near:?}");
        assert_eq!(reading.offset, -reading.database.0, "the offset of the wrong clock");
        assert!(db.read_clock(&real).await.unwrap().unwrap().offset.abs() <= 1);
        assert!(db.lease_time(&wrong).await.unwrap() >= reading.database);
        db.close().await;
    }
}

#[tokio::test]
async fn pooler_mode_uses_transactions_without_prepared_statements() {
    let Some(engine) = postgres().await else { return };
    let db = Db::open(&Options { pooler: Pooler::Transaction, connections: 1, ..engine.options() }).await.unwrap();
    db.migrate().await.unwrap();
    db.migrate().await.unwrap();
    let mut tx = db.write().await.unwrap();
    tx.lock(&scope(), "a").await.unwrap();
    tx.commit().await.unwrap();
    drop(db.read().await.unwrap().newest_signing_key().await.unwrap());
    // An open transaction would be visible to the next client of the pooler's connection.
    let mut beside = PgConnection::connect(&url(&engine).0).await.unwrap();
    let idle_transactions =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND state = 'idle in transaction'";
    until(async || query_scalar::<_, i64>(idle_transactions).fetch_one(&mut beside).await.unwrap() == 0).await;
    db.close().await;
}

#[tokio::test]
async fn debug_output_of_a_store_has_no_password() {
    let Some(engine) = postgres().await else { return };
    let Secret(plain) = url(&engine);
    let (scheme, rest) = plain.split_once("://").unwrap();
    let (who, place) = rest.split_once('@').unwrap();
    let user = who.split(':').next().unwrap();
    let with = Url::Postgres(Secret(format!("{scheme}://{user}:open-sesame@{place}")));
    // A server with password authentication rejects this URL.
    let Ok(db) = Db::open(&Options { url: with, ..engine.options() }).await else { return };
    assert!(!format!("{db:?}").contains("sesame"));
    db.close().await;
}
