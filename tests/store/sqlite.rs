//! Specifics of SQLite: a single writer, other processes, the write-ahead log (WAL), in-memory databases.

use crate::engines::Engine;
use crate::{at, on_each_engine, scope, stage};
use greenroom::config::{DatabaseCheck, Synchronous, Url};
use greenroom::domain::event::EventKind;
use greenroom::store::{Conn, Db, MigrateError, Options, OutboxRow, StoreError};
use proptest::prelude::*;
use std::path::PathBuf;
use std::time::Duration;

/// Makes SQLite roll a transaction back by itself, as on a full disk.
const ROLLBACK: &str = "CREATE TRIGGER rollback BEFORE INSERT ON stages WHEN NEW.name = 'name of rollback'
    BEGIN SELECT RAISE(ROLLBACK, 'rolled back'); END";
/// Makes a commit fail, on a deferred foreign key.
const BROKEN: [&str; 3] = [
    "CREATE TABLE parents (id TEXT PRIMARY KEY)",
    "CREATE TABLE children (id TEXT REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TRIGGER broken AFTER INSERT ON stages WHEN NEW.id = 'broken' BEGIN INSERT INTO children VALUES ('x'); END",
];

pub fn path(engine: &Engine) -> PathBuf {
    let Url::File(path) = engine.url() else { unreachable!("the engine is SQLite") };
    path
}

/// The size of the WAL file.
pub fn wal_size(engine: &Engine) -> u64 {
    let mut path = path(engine).into_os_string();
    path.push("-wal");
    std::fs::metadata(path).map_or(0, |found| found.len())
}

/// An open write transaction with an inserted stage.
pub async fn adding(db: &Db, id: &str) -> Conn {
    let mut tx = db.write().await.unwrap();
    tx.insert_stage(&scope(), &stage(id, 1)).await.unwrap();
    tx
}

pub async fn add(db: &Db, id: &str) -> Result<(), StoreError> {
    adding(db, id).await.commit().await
}

/// The ids of the stages that a reader sees.
pub async fn stage_ids(db: &Db) -> Vec<String> {
    let rows = db.read().await.unwrap().stages(&scope(), &at(0, ""), 1000).await.unwrap();
    rows.into_iter().map(|row| row.id).collect()
}

/// Whether another connection can get the write lock.
fn is_unlocked(engine: &Engine) -> bool {
    let beside = rusqlite::Connection::open(path(engine)).unwrap();
    beside.busy_timeout(Duration::ZERO).unwrap();
    beside.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()
}

async fn check_concurrent_writers() {
    for synchronous in [Synchronous::Off, Synchronous::Normal, Synchronous::Full] {
        let engine = Engine::sqlite();
        let options = Options { synchronous, ..engine.options() };
        let db = Db::open(&options).await.unwrap();
        db.migrate().await.unwrap();
        let writers = (0..300).map(|n| {
            let db = db.clone();
            tokio::spawn(async move {
                let tx = adding(&db, &format!("s{n:03}")).await;
                if n % 3 == 0 { drop(tx) } else { tx.commit().await.unwrap() }
            })
        });
        let writers: Vec<_> = writers.collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let expected: Vec<_> = (0..300).filter(|n| n % 3 != 0).map(|n| format!("s{n:03}")).collect();
        assert_eq!(stage_ids(&db).await, expected);
        db.close().await;
        drop(db);
        assert_eq!(wal_size(&engine), 0, "the last connection removes the WAL");
        let db = engine.open().await;
        assert_eq!(stage_ids(&db).await, expected, "{synchronous:?}");
        db.close().await;
    }
}

#[tokio::test]
async fn exactly_the_committed_rows_of_concurrent_writers_are_stored() {
    check_concurrent_writers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_the_committed_rows_of_concurrent_writers_on_many_threads_are_stored() {
    check_concurrent_writers().await;
}

#[tokio::test]
async fn a_file_is_checked_and_only_discarded_if_it_is_new() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    for level in [DatabaseCheck::Off, DatabaseCheck::Quick, DatabaseCheck::Full] {
        db.check(level, Some(Duration::from_secs(60))).await.unwrap();
    }
    assert!(db.is_new_file() && Db::open(&engine.options()).await.is_err(), "another server uses the file");
    db.discard_if_new().await;
    drop(db);
    assert!(!path(&engine).exists());
    let made = engine.open().await;
    made.close().await;
    drop(made);
    let found = engine.open().await;
    assert!(!found.is_new_file());
    found.discard_if_new().await;
    assert!(path(&engine).exists());
    found.close().await;
}

#[tokio::test]
async fn event_numbers_are_in_commit_order_without_gaps() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    let write = async |n: i64| {
        let mut tx = db.write().await.unwrap();
        let number = tx.number_events(&scope(), "s", 1, 5).await.unwrap();
        let id = n.to_string();
        let row = OutboxRow { stage: Some("s"), number, id: &id, kind: EventKind::Event, body: "{}", written_at: 1 };
        tx.insert_outbox(&scope(), row).await.unwrap();
        if n % 4 == 1 {
            return;
        }
        tx.commit().await.unwrap();
        // Relayed events have their final positions.
        let mut tx = db.write().await.unwrap();
        tx.relay(3).await.unwrap();
        tx.commit().await.unwrap();
    };
    futures_util::future::join_all((0..40).map(write)).await;
    let mut tx = db.write().await.unwrap();
    tx.relay(100).await.unwrap();
    tx.commit().await.unwrap();
    let found = db.read().await.unwrap().log(0, 100).await.unwrap();
    let expected: Vec<_> = (0..40).filter(|n| n % 4 != 1).map(|n: i64| n.to_string()).collect();
    assert_eq!(found.iter().map(|row| row.position).collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>());
    assert_eq!(found.into_iter().map(|row| row.id).collect::<Vec<_>>(), expected);
    db.close().await;
}

#[tokio::test]
async fn uncommitted_rows_are_invisible_to_readers_and_other_writers() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    let first = adding(&db, "a").await;
    let mut waiting = Box::pin(db.write());
    assert!(futures_util::poll!(waiting.as_mut()).is_pending(), "there is one writer at a time");
    assert!(stage_ids(&db).await.is_empty());
    drop(first);
    let mut second = waiting.await.unwrap();
    assert!(second.stage(&scope(), "a").await.unwrap().is_none(), "the first was rolled back");
    second.insert_stage(&scope(), &stage("a", 1)).await.unwrap();
    let mut waiting = Box::pin(db.write());
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    second.commit().await.unwrap();
    assert!(waiting.await.unwrap().stage(&scope(), "a").await.unwrap().is_some());
    assert_eq!(stage_ids(&db).await, ["a"]);
    db.close().await;
}

#[tokio::test]
async fn the_transaction_of_a_dropped_future_is_rolled_back() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    let mut request = Box::pin(async {
        let tx = adding(&db, "a").await;
        std::future::pending::<()>().await;
        tx.commit().await
    });
    assert!(futures_util::poll!(request.as_mut()).is_pending());
    assert!(!is_unlocked(&engine));
    let mut waiting = Box::pin(add(&db, "b"));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    drop(request);
    assert!(is_unlocked(&engine));
    waiting.await.unwrap();
    assert_eq!(stage_ids(&db).await, ["b"]);
    db.close().await;
}

#[tokio::test]
async fn a_dropped_waiting_writer_is_skipped() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    let tx = adding(&db, "a").await;
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(db.write())).collect();
    for one in &mut waiting {
        assert!(futures_util::poll!(one.as_mut()).is_pending());
    }
    drop(waiting.remove(0));
    tx.commit().await.unwrap();
    // This writer has the connection assigned, and is dropped before it is polled.
    drop(waiting.remove(0));
    drop(waiting.remove(0).await.unwrap());
    add(&db, "b").await.unwrap();
    assert_eq!(stage_ids(&db).await, ["a", "b"]);
    db.close().await;
}

#[tokio::test]
async fn a_transaction_rolled_back_by_sqlite_rejects_further_statements_and_its_commit() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    engine.write(&[ROLLBACK]).await;
    add(&db, "before").await.unwrap();
    let mut tx = adding(&db, "c").await;
    let failed = tx.insert_stage(&scope(), &stage("rollback", 1)).await;
    assert!(matches!(failed, Err(StoreError::Other(_))), "{failed:?}");
    // Outside of a transaction, this would be committed immediately.
    let more = tx.insert_stage(&scope(), &stage("d", 1)).await;
    assert!(matches!(more, Err(StoreError::Transient(_))), "{more:?}");
    assert!(matches!(tx.commit().await, Err(StoreError::Transient(_))));
    assert_eq!(stage_ids(&db).await, ["before"]);
    add(&db, "after").await.unwrap();
    assert_eq!(stage_ids(&db).await, ["after", "before"]);
    db.close().await;
}

#[tokio::test]
async fn a_failed_commit_is_rolled_back() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    engine.write(&BROKEN).await;
    add(&db, "before").await.unwrap();
    let failed = add(&db, "broken").await;
    assert!(matches!(failed, Err(StoreError::Other(_))), "{failed:?}");
    assert!(is_unlocked(&engine));
    assert_eq!(stage_ids(&db).await, ["before"]);
    add(&db, "a").await.unwrap();
    assert_eq!(stage_ids(&db).await, ["a", "before"]);
    db.close().await;
}

#[tokio::test]
async fn a_writing_process_blocks_writers_but_not_readers() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    add(&db, "a").await.unwrap();
    let beside = rusqlite::Connection::open(path(&engine)).unwrap();
    beside.execute_batch("BEGIN IMMEDIATE; UPDATE stages SET name = 'other'").unwrap();
    let mut first = Box::pin(add(&db, "b"));
    let mut second = Box::pin(add(&db, "c"));
    for _ in 0..3 {
        for waiting in [&mut first, &mut second] {
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        }
        assert_eq!(stage_ids(&db).await, ["a"]);
    }
    beside.execute_batch("COMMIT").unwrap();
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(stage_ids(&db).await, ["a", "b", "c"]);
    db.close().await;
    drop(db);

    beside.execute_batch("BEGIN IMMEDIATE").unwrap();
    let db = Db::open(&Options { acquire_timeout: Duration::ZERO, ..engine.options() }).await.unwrap();
    assert!(matches!(db.write().await, Err(StoreError::Unavailable(_))), "the acquire timeout applies");
    assert_eq!(stage_ids(&db).await.len(), 3);
    beside.execute_batch("COMMIT").unwrap();
    add(&db, "d").await.unwrap();
    db.close().await;
}

#[tokio::test]
async fn readers_are_limited_and_read_only() {
    let engine = Engine::sqlite();
    let options = Options { connections: 1, acquire_timeout: Duration::ZERO, ..engine.options() };
    let db = Db::open(&options).await.unwrap();
    db.migrate().await.unwrap();
    let mut one = db.read().await.unwrap();
    assert!(matches!(db.read().await, Err(StoreError::Unavailable(_))));
    assert!(one.insert_stage(&scope(), &stage("a", 1)).await.is_err());
    drop(one);
    db.read().await.unwrap().newest_signing_key().await.unwrap();
    db.close().await;
}

#[tokio::test]
async fn a_closed_store_rejects_new_requests_and_completes_earlier_ones() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    let tx = adding(&db, "a").await;
    let mut waiting = Box::pin(add(&db, "b"));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    let close = async {
        db.close().await;
        assert!(matches!(db.read().await, Err(StoreError::Unavailable(_))));
        assert!(matches!(db.write().await, Err(StoreError::Unavailable(_))));
    };
    let (second, (), first) = tokio::join!(waiting, close, tx.commit());
    assert!(first.is_ok() && second.is_ok());
    db.close().await;
    drop(db);
    let db = engine.open().await;
    assert_eq!(stage_ids(&db).await, ["a", "b"]);
    db.close().await;
}

#[tokio::test]
async fn the_wal_is_checkpointed_while_the_store_is_open() {
    let engine = Engine::sqlite();
    let db = Db::open(&Options { synchronous: Synchronous::Normal, ..engine.options() }).await.unwrap();
    db.migrate().await.unwrap();
    let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |found| found.len());
    let mut ids = (0..).map(|n| format!("s{n}"));
    let checkpointing = async {
        // Twice the pages of a checkpoint, so that the WAL has restarted.
        while size(path(&engine)) < 2000 * 4096 || wal_size(&engine) > 8000 * 4096 {
            for _ in 0..50 {
                let mut row = stage(&ids.next().unwrap(), 1);
                row.name = "n".repeat(20_000);
                let mut tx = db.write().await.unwrap();
                tx.insert_stage(&scope(), &row).await.unwrap();
                tx.commit().await.unwrap();
            }
            db.ping().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), checkpointing).await.expect("the WAL is checkpointed in time");
    db.close().await;
}

#[tokio::test]
async fn an_in_memory_store_has_a_single_connection() {
    let db = Db::open(&Options { url: Url::Memory, ..Engine::sqlite().options() }).await.unwrap();
    db.migrate().await.unwrap();
    let names: Vec<_> = (0..9).map(|n| format!("s{n}")).collect();
    let written = futures_util::future::join_all(names.iter().map(|name| add(&db, name))).await;
    assert!(written.iter().all(Result::is_ok));
    drop(adding(&db, "x").await);
    assert_eq!(stage_ids(&db).await, names);
    let mut snapshot = db.snapshot().await.unwrap();
    assert!(snapshot.stage(&scope(), "s1").await.unwrap().is_some());
    drop(snapshot);
    let mut reader = db.read().await.unwrap();
    let mut writer = Box::pin(add(&db, "y"));
    let waits = futures_util::poll!(writer.as_mut()).is_pending();
    assert!(waits && reader.stage(&scope(), "y").await.unwrap().is_none());
    drop(reader);
    writer.await.unwrap();
    assert_eq!(stage_ids(&db).await.len(), 10);
    db.close().await;
}

#[tokio::test]
async fn a_corrupt_value_has_its_own_error() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    add(&db, "a").await.unwrap();
    for broken in ["UPDATE stages SET tags = '{'", "UPDATE stages SET tags = '{}', created_at = 'x'"] {
        let beside = rusqlite::Connection::open(path(&engine)).unwrap();
        beside.execute_batch(broken).unwrap();
        let read = db.read().await.unwrap().stage(&scope(), "a").await;
        assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    }
    db.close().await;
}

#[tokio::test]
async fn an_incompatible_schema_is_rejected() {
    on_each_engine(async |engine, db| {
        for (damage, repair, message) in [
            (
                "UPDATE _sqlx_migrations SET version = 99 WHERE version = 4",
                "UPDATE _sqlx_migrations SET version = 4 WHERE version = 99",
                "a newer greenroom has used it (schema 99",
            ),
            (
                "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 3",
                "UPDATE _sqlx_migrations SET success = TRUE WHERE version = 3",
                "partially applied",
            ),
            (
                "UPDATE _sqlx_migrations SET checksum = (SELECT checksum FROM _sqlx_migrations WHERE version = 2)
                    WHERE version = 1",
                "",
                "previously applied but has been modified",
            ),
        ] {
            engine.write(&[damage]).await;
            let refused = db.migrate().await.unwrap_err();
            assert!(matches!(refused, MigrateError::Migration(_) | MigrateError::Newer(99)));
            assert!(refused.to_string().contains(message), "{refused}");
            engine.write(&[repair]).await;
        }
    })
    .await;
}

/// The course of a write transaction.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Course {
    Commits,
    /// A statement fails before the commit.
    FailsAndCommits,
    IsDropped,
    /// Is dropped during the commit.
    IsDroppedInCommit,
    /// Is rolled back by SQLite.
    IsRolledBack,
}

fn writer() -> impl Strategy<Value = (Course, u8, u8)> {
    let course = prop_oneof![
        4 => Just(Course::Commits),
        2 => Just(Course::FailsAndCommits),
        2 => Just(Course::IsDropped),
        2 => Just(Course::IsDroppedInCommit),
        1 => Just(Course::IsRolledBack),
    ];
    (course, 0..4u8, 0..4u8)
}

async fn pauses(times: u8) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// Runs a transaction; returns whether its commit was acknowledged.
async fn run_transaction(db: &Db, id: &str, (course, before, within): (Course, u8, u8)) -> bool {
    pauses(before).await;
    let mut tx = adding(db, id).await;
    pauses(within).await;
    match course {
        Course::Commits => tx.commit().await.is_ok(),
        Course::FailsAndCommits => {
            let twice = tx.insert_stage(&scope(), &stage(id, 2)).await;
            assert!(matches!(twice, Err(StoreError::Duplicate(_))), "{twice:?}");
            tx.commit().await.is_ok()
        }
        Course::IsDropped => false,
        Course::IsDroppedInCommit => {
            let mut commit = Box::pin(tx.commit());
            // A started commit completes.
            let _ = futures_util::poll!(commit.as_mut());
            true
        }
        Course::IsRolledBack => {
            let row = greenroom::store::StageRow { name: "name of rollback".into(), ..stage(&format!("{id}-x"), 1) };
            assert!(tx.insert_stage(&scope(), &row).await.is_err());
            tx.commit().await.is_ok()
        }
    }
}

fn check_random_transactions(synchronous: Synchronous, cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let engine = Engine::sqlite();
    let db = runtime.block_on(async {
        let db = Db::open(&Options { synchronous, ..engine.options() }).await.unwrap();
        db.migrate().await.unwrap();
        engine.write(&[ROLLBACK]).await;
        db
    });
    let case = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    let ran = runner.run(&proptest::collection::vec(writer(), 1..12), |writers| {
        case.set(case.get() + 1);
        let ids: Vec<_> = (0..writers.len()).map(|n| format!("{}-{n}", case.get())).collect();
        runtime.block_on(async {
            let transactions = ids.iter().zip(&writers).map(|(id, writer)| run_transaction(&db, id, *writer));
            let acknowledged = futures_util::future::join_all(transactions).await;
            // A commit whose future was dropped may still be running.
            drop(db.write().await.unwrap());
            prop_assert!(is_unlocked(&engine), "no transaction is left open");
            let mut conn = db.read().await.unwrap();
            for ((id, acknowledged), (course, ..)) in ids.iter().zip(acknowledged).zip(&writers) {
                let found = conn.stage(&scope(), id).await.unwrap().is_some();
                let commits = !matches!(course, Course::IsDropped | Course::IsRolledBack);
                prop_assert_eq!((found, acknowledged), (commits, commits), "{} {:?}", id, course);
            }
            Ok(())
        })
    });
    ran.unwrap();
    runtime.block_on(db.close());
}

#[test]
fn exactly_the_acknowledged_transactions_are_stored() {
    check_random_transactions(Synchronous::Off, 200);
}

#[test]
fn exactly_the_acknowledged_transactions_are_stored_with_fsync() {
    check_random_transactions(Synchronous::Full, 40);
}
