//! What only SQLite has: one writer at a time, other processes that write, the write-ahead log, a database in memory.

use crate::engines::Engine;
use crate::{at, each, scope, stage};
use greenroom::config::{DatabaseCheck, Synchronous, Url};
use greenroom::store::{Conn, Db, EVENT, MigrateError, Options, StoreError, Written};
use proptest::prelude::*;
use std::path::PathBuf;
use std::time::Duration;

/// Has SQLite roll the transaction back by itself, as a full disk does.
const ROLLBACK: &str = "CREATE TRIGGER rollback BEFORE INSERT ON stages WHEN NEW.name = 'name of rollback'
    BEGIN SELECT RAISE(ROLLBACK, 'rolled back'); END";
/// Has the commit fail, on a deferred foreign key.
const BROKEN: [&str; 3] = [
    "CREATE TABLE parents (id TEXT PRIMARY KEY)",
    "CREATE TABLE children (id TEXT REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TRIGGER broken AFTER INSERT ON stages WHEN NEW.id = 'broken' BEGIN INSERT INTO children VALUES ('x'); END",
];

pub fn path(engine: &Engine) -> PathBuf {
    let Url::File(path) = engine.url() else { unreachable!("SQLite is asked for") };
    path
}

/// The size of the file's log.
pub fn log(engine: &Engine) -> u64 {
    let mut path = path(engine).into_os_string();
    path.push("-wal");
    std::fs::metadata(path).map_or(0, |found| found.len())
}

/// A writer that has added a stage.
pub async fn adding(db: &Db, id: &str) -> Conn {
    let mut tx = db.write().await.unwrap();
    tx.insert_stage(&scope(), &stage(id, 1)).await.unwrap();
    tx
}

pub async fn add(db: &Db, id: &str) -> Result<(), StoreError> {
    adding(db, id).await.commit().await
}

/// The stages that a reader sees.
pub async fn seen(db: &Db) -> Vec<String> {
    let rows = db.read().await.unwrap().stages(&scope(), &at(0, ""), 1000).await.unwrap();
    rows.into_iter().map(|row| row.id).collect()
}

/// Whether another process can write.
fn is_free(engine: &Engine) -> bool {
    let beside = rusqlite::Connection::open(path(engine)).unwrap();
    beside.busy_timeout(Duration::ZERO).unwrap();
    beside.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()
}

async fn many_at_once() {
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
        assert_eq!(seen(&db).await, expected);
        db.close().await;
        drop(db);
        assert_eq!(log(&engine), 0, "the last connection that closes leaves no log");
        let db = engine.open().await;
        assert_eq!(seen(&db).await, expected, "{synchronous:?}");
        db.close().await;
    }
}

#[tokio::test]
async fn concurrent_writers_find_exactly_what_they_committed() {
    many_at_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_on_many_threads_find_exactly_what_they_committed() {
    many_at_once().await;
}

#[tokio::test]
async fn a_file_is_checked_and_is_discarded_only_if_it_is_new() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    for level in [DatabaseCheck::Off, DatabaseCheck::Quick, DatabaseCheck::Full] {
        db.check(level, Some(Duration::from_secs(60))).await.unwrap();
    }
    assert!(db.is_new_file() && Db::open(&engine.options()).await.is_err(), "one server uses it");
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
async fn numbers_are_in_the_order_of_the_writers_and_none_is_left_out() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    let write = async |n: i64| {
        let mut tx = db.write().await.unwrap();
        let number = tx.number_events(&scope(), "s", 1, 5).await.unwrap();
        let id = n.to_string();
        let row = Written { stage: "s", number, id: &id, kind: EVENT, body: "{}", written_at: 1 };
        tx.insert_outbox(&scope(), row).await.unwrap();
        if n % 4 == 1 {
            return;
        }
        tx.commit().await.unwrap();
        // What was moved has its place for good.
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
async fn uncommitted_rows_are_seen_by_no_reader_and_no_other_writer() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    let first = adding(&db, "a").await;
    let mut waiting = Box::pin(db.write());
    assert!(futures_util::poll!(waiting.as_mut()).is_pending(), "one writes at a time");
    assert!(seen(&db).await.is_empty());
    drop(first);
    let mut second = waiting.await.unwrap();
    assert!(second.stage(&scope(), "a").await.unwrap().is_none(), "the first was rolled back");
    second.insert_stage(&scope(), &stage("a", 1)).await.unwrap();
    let mut waiting = Box::pin(db.write());
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    second.commit().await.unwrap();
    assert!(waiting.await.unwrap().stage(&scope(), "a").await.unwrap().is_some());
    assert_eq!(seen(&db).await, ["a"]);
    db.close().await;
}

#[tokio::test]
async fn a_request_that_is_dropped_is_rolled_back() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    let mut request = Box::pin(async {
        let tx = adding(&db, "a").await;
        std::future::pending::<()>().await;
        tx.commit().await
    });
    assert!(futures_util::poll!(request.as_mut()).is_pending());
    assert!(!is_free(&engine));
    let mut waiting = Box::pin(add(&db, "b"));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    drop(request);
    assert!(is_free(&engine));
    waiting.await.unwrap();
    assert_eq!(seen(&db).await, ["b"]);
    db.close().await;
}

#[tokio::test]
async fn a_waiting_writer_that_is_dropped_is_passed_over() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    let tx = adding(&db, "a").await;
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(db.write())).collect();
    for one in &mut waiting {
        assert!(futures_util::poll!(one.as_mut()).is_pending());
    }
    drop(waiting.remove(0));
    tx.commit().await.unwrap();
    // This one has the connection already, and is dropped before it was polled.
    drop(waiting.remove(0));
    drop(waiting.remove(0).await.unwrap());
    add(&db, "b").await.unwrap();
    assert_eq!(seen(&db).await, ["a", "b"]);
    db.close().await;
}

#[tokio::test]
async fn a_transaction_that_sqlite_rolled_back_writes_nothing_more_and_is_not_acknowledged() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    engine.write(&[ROLLBACK]).await;
    add(&db, "before").await.unwrap();
    let mut tx = adding(&db, "c").await;
    let failed = tx.insert_stage(&scope(), &stage("rollback", 1)).await;
    assert!(matches!(failed, Err(StoreError::Other(_))), "{failed:?}");
    // Outside of a transaction, this would be committed at once.
    let more = tx.insert_stage(&scope(), &stage("d", 1)).await;
    assert!(matches!(more, Err(StoreError::Again(_))), "{more:?}");
    assert!(matches!(tx.commit().await, Err(StoreError::Again(_))));
    assert_eq!(seen(&db).await, ["before"]);
    add(&db, "after").await.unwrap();
    assert_eq!(seen(&db).await, ["after", "before"]);
    db.close().await;
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing_behind() {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    engine.write(&BROKEN).await;
    add(&db, "before").await.unwrap();
    let failed = add(&db, "broken").await;
    assert!(matches!(failed, Err(StoreError::Other(_))), "{failed:?}");
    assert!(is_free(&engine));
    assert_eq!(seen(&db).await, ["before"]);
    add(&db, "a").await.unwrap();
    assert_eq!(seen(&db).await, ["a", "before"]);
    db.close().await;
}

#[tokio::test]
async fn while_another_process_writes_writers_wait_and_readers_do_not() {
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
        assert_eq!(seen(&db).await, ["a"]);
    }
    beside.execute_batch("COMMIT").unwrap();
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(seen(&db).await, ["a", "b", "c"]);
    db.close().await;
    drop(db);

    beside.execute_batch("BEGIN IMMEDIATE").unwrap();
    let db = Db::open(&Options { acquire_timeout: Duration::ZERO, ..engine.options() }).await.unwrap();
    assert!(matches!(db.write().await, Err(StoreError::Unavailable(_))), "it waits no longer than it should");
    assert_eq!(seen(&db).await.len(), 3);
    beside.execute_batch("COMMIT").unwrap();
    add(&db, "d").await.unwrap();
    db.close().await;
}

#[tokio::test]
async fn a_reader_is_waited_for_and_writes_nothing() {
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
async fn a_closed_store_refuses_requests_and_finishes_those_before() {
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
    assert_eq!(seen(&db).await, ["a", "b"]);
    db.close().await;
}

#[tokio::test]
async fn the_log_is_checkpointed_while_the_store_is_open() {
    let engine = Engine::sqlite();
    let db = Db::open(&Options { synchronous: Synchronous::Normal, ..engine.options() }).await.unwrap();
    db.migrate().await.unwrap();
    let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |found| found.len());
    let mut ids = (0..).map(|n| format!("s{n}"));
    let moving = async {
        // Twice the pages of a checkpoint, so that the log has restarted.
        while size(path(&engine)) < 2000 * 4096 || log(&engine) > 8000 * 4096 {
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
    tokio::time::timeout(Duration::from_secs(60), moving).await.expect("it is moved in time");
    db.close().await;
}

#[tokio::test]
async fn a_store_in_memory_has_one_connection_for_all() {
    let db = Db::open(&Options { url: Url::Memory, ..Engine::sqlite().options() }).await.unwrap();
    db.migrate().await.unwrap();
    let names: Vec<_> = (0..9).map(|n| format!("s{n}")).collect();
    let written = futures_util::future::join_all(names.iter().map(|name| add(&db, name))).await;
    assert!(written.iter().all(Result::is_ok));
    drop(adding(&db, "x").await);
    assert_eq!(seen(&db).await, names);
    let mut snapshot = db.snapshot().await.unwrap();
    assert!(snapshot.stage(&scope(), "s1").await.unwrap().is_some());
    drop(snapshot);
    let mut reader = db.read().await.unwrap();
    let mut writer = Box::pin(add(&db, "y"));
    let waits = futures_util::poll!(writer.as_mut()).is_pending();
    assert!(waits && reader.stage(&scope(), "y").await.unwrap().is_none());
    drop(reader);
    writer.await.unwrap();
    assert_eq!(seen(&db).await.len(), 10);
    db.close().await;
}

#[tokio::test]
async fn a_value_that_cannot_be_read_has_an_error_of_its_own() {
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
async fn a_foreign_schema_is_refused() {
    each(async |engine, db| {
        for (spoil, mend, words) in [
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
            engine.write(&[spoil]).await;
            let refused = db.migrate().await.unwrap_err();
            assert!(matches!(refused, MigrateError::Migration(_) | MigrateError::Newer(99)));
            assert!(refused.to_string().contains(words), "{refused}");
            engine.write(&[mend]).await;
        }
    })
    .await;
}

/// What a writer does, among others.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Course {
    Commits,
    /// A statement fails before it commits.
    FailsAndCommits,
    IsDropped,
    /// Is dropped while it commits.
    IsDroppedInCommit,
    /// SQLite rolls it back by itself.
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

/// Answers whether the commit was acknowledged.
async fn act(db: &Db, id: &str, (course, before, within): (Course, u8, u8)) -> bool {
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
            // A commit that has begun is ended.
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

fn each_writer_finds_what_was_acknowledged(synchronous: Synchronous, cases: u32) {
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
            let acts = ids.iter().zip(&writers).map(|(id, writer)| act(&db, id, *writer));
            let acknowledged = futures_util::future::join_all(acts).await;
            // A commit whose request was dropped may still be under way.
            drop(db.write().await.unwrap());
            prop_assert!(is_free(&engine), "no transaction is left open");
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
fn each_writer_finds_what_was_acknowledged_and_nothing_else() {
    each_writer_finds_what_was_acknowledged(Synchronous::Off, 200);
}

#[test]
fn each_writer_finds_what_was_acknowledged_where_a_commit_waits_for_the_disk() {
    each_writer_finds_what_was_acknowledged(Synchronous::Full, 40);
}
