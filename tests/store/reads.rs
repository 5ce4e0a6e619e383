//! Readers of a SQLite file: they see all earlier commits of any process, and do not prevent the write-ahead log from
//! restarting.

use crate::engines::Engine;
use crate::sqlite::{add, adding, path, stage_ids, wal_size};
use crate::{at, scope, stage};
use greenroom::store::{Conn, Db};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const FILE: &str = "GREENROOM_TEST_FILE";
const SQL: &str = "GREENROOM_TEST_SQL";
const TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

const REPETITIONS: usize = 40;

/// The other process of [`in_another_process`].
#[test]
#[ignore = "run by other tests in a separate process"]
fn another_process() {
    let (Ok(file), Ok(sql)) = (std::env::var(FILE), std::env::var(SQL)) else { return };
    let conn = rusqlite::Connection::open(file).unwrap();
    conn.busy_timeout(Duration::ZERO).unwrap();
    let answer = match conn.query_row(&sql, [], |row| row.get::<_, i64>(0)) {
        Ok(number) => number.to_string(),
        Err(rusqlite::Error::QueryReturnedNoRows) => "done".into(),
        Err(error) => error.sqlite_error_code().map_or_else(|| error.to_string(), |code| format!("{code:?}")),
    };
    println!("answer={answer}.");
}

/// Runs a statement in another process; returns its result or SQLite's error code.
fn in_another_process(path: &Path, sql: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "reads::another_process"]).env(FILE, path).env(SQL, sql);
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    output.split_once("answer=").and_then(|(_, rest)| rest.split_once('.')).expect(&output).0.into()
}

fn insert(id: &str) -> String {
    format!(
        "INSERT INTO stages (account, region, id, name, tags, recording, recording_storage_id, created_at, quiet_since)
        SELECT account, region, '{id}', name, tags, recording, recording_storage_id, created_at, quiet_since
        FROM stages WHERE id = 'a'"
    )
}

/// Whether a reader has an open snapshot.
fn has_reader(engine: &Engine) -> bool {
    let conn = rusqlite::Connection::open(path(engine)).unwrap();
    conn.busy_timeout(Duration::ZERO).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, bool>(0)).unwrap()
}

/// A store with one stage, `a`.
async fn open_store() -> (Engine, Db) {
    let engine = Engine::sqlite();
    let db = engine.open().await;
    add(&db, "a").await.unwrap();
    (engine, db)
}

#[tokio::test]
async fn readers_see_commits_of_all_processes_and_keep_no_snapshot_open() {
    let (engine, db) = open_store().await;
    let mut expected = vec!["a".to_owned()];
    let raw = rusqlite::Connection::open(path(&engine)).unwrap();
    for round in 0..60 {
        let id = format!("b{round:02}");
        match round % 4 {
            0 => assert_eq!(in_another_process(&path(&engine), &insert(&id)), "done"),
            1 => raw.execute_batch(&insert(&id)).unwrap(),
            _ => add(&db, &id).await.unwrap(),
        }
        expected.push(id);
        assert_eq!(stage_ids(&db).await, expected);
        if round % 3 == 0 {
            assert!(!has_reader(&engine));
        }
    }
    assert_eq!(in_another_process(&path(&engine), TRUNCATE), "0");
    assert_eq!(wal_size(&engine), 0);
    db.close().await;
}

#[tokio::test]
async fn each_statement_of_a_reader_sees_earlier_commits() {
    let (_engine, db) = open_store().await;
    let mut conn = db.read().await.unwrap();
    for n in 0..5 {
        let id = format!("b{n}");
        for _ in 0..REPETITIONS {
            assert!(conn.stage(&scope(), &id).await.unwrap().is_none());
        }
        add(&db, &id).await.unwrap();
        assert!(conn.stage(&scope(), &id).await.unwrap().is_some());
    }
    drop(conn);
    db.close().await;
}

#[tokio::test]
async fn a_snapshot_starts_now_and_does_not_change() {
    let (engine, db) = open_store().await;
    let ids = async |conn: &mut Conn| conn.stages(&scope(), &at(0, ""), 9).await.unwrap().len();
    add(&db, "b").await.unwrap();
    let mut snapshot = db.snapshot().await.unwrap();
    add(&db, "c").await.unwrap();
    for _ in 0..REPETITIONS {
        assert_eq!(ids(&mut snapshot).await, 2);
    }
    assert!(has_reader(&engine));
    drop(snapshot);
    assert!(!has_reader(&engine));
    assert_eq!(stage_ids(&db).await.len(), 3);
    db.close().await;
}

#[tokio::test]
async fn a_reader_is_usable_after_an_error() {
    let (engine, db) = open_store().await;
    engine.write(&["ALTER TABLE stages RENAME TO away"]).await;
    for _ in 0..REPETITIONS {
        assert!(db.read().await.unwrap().stage(&scope(), "a").await.is_err());
    }
    engine.write(&["ALTER TABLE away RENAME TO stages"]).await;
    assert!(db.read().await.unwrap().stage(&scope(), "a").await.unwrap().is_some());
    engine.write(&["UPDATE stages SET tags = '{'"]).await;
    for _ in 0..REPETITIONS {
        assert!(db.read().await.unwrap().stage(&scope(), "a").await.is_err());
    }
    assert!(!has_reader(&engine));
    db.close().await;
}

/// Adds a stage of several pages.
async fn add_large_stage(db: &Db, id: &str) {
    let mut row = stage(id, 1);
    row.name = "n".repeat(20_000);
    let mut tx = db.write().await.unwrap();
    tx.insert_stage(&scope(), &row).await.unwrap();
    tx.commit().await.unwrap();
}

/// The salts in the WAL header, which change at each restart.
fn salts(engine: &Engine) -> Vec<u8> {
    let mut path = path(engine).into_os_string();
    path.push("-wal");
    let mut salts = vec![0; 8];
    std::fs::File::open(path).unwrap().read_exact_at(&mut salts, 16).unwrap();
    salts
}

/// Writes until the WAL has restarted twice.
async fn write_until_restarts(engine: &Engine, db: &Db) {
    let mut ids = (0..).map(|n| format!("s{n}"));
    let mut writing = async || {
        for _ in 0..2 {
            let before = salts(engine);
            while before == salts(engine) {
                for _ in 0..50 {
                    add_large_stage(db, &ids.next().unwrap()).await;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), writing()).await.expect("the WAL restarts in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_wal_restarts_under_constant_reads() {
    let (engine, db) = open_store().await;
    let done = Arc::new(AtomicBool::new(false));
    let readers = (0..3).map(|_| {
        let (db, done) = (db.clone(), done.clone());
        tokio::spawn(async move {
            let mut reads = 0_u64;
            while !done.load(Ordering::Relaxed) {
                for _ in 0..REPETITIONS {
                    assert!(db.read().await.unwrap().stage(&scope(), "a").await.unwrap().is_some());
                    reads += 1;
                }
                tokio::task::yield_now().await;
            }
            reads
        })
    });
    let readers: Vec<_> = readers.collect();
    write_until_restarts(&engine, &db).await;
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    db.close().await;
    assert_eq!(wal_size(&engine), 0);
}

#[tokio::test]
async fn closing_a_store_keeps_the_locks_of_another_one_in_the_same_process() {
    let (engine, db) = open_store().await;
    let file = path(&engine);
    for n in 0..3 {
        let other = Db::open_beside(&engine.options()).await.unwrap();
        add(&other, &format!("b{n}")).await.unwrap();
        assert_eq!(stage_ids(&other).await.len(), 2 + 2 * n);
        let tx = adding(&db, &format!("c{n}")).await;
        let snapshot = db.snapshot().await.unwrap();
        other.close().await;
        drop(other);
        assert_eq!(in_another_process(&file, &insert("x")), "DatabaseBusy", "there is a writer");
        tx.commit().await.unwrap();
        assert_eq!(in_another_process(&file, TRUNCATE), "1", "there is a reader");
        drop(snapshot);
        assert!(wal_size(&engine) > 0, "other connections are open");
        assert_eq!(stage_ids(&db).await.len(), 3 + 2 * n);
        assert_eq!(in_another_process(&file, "SELECT COUNT(*) FROM stages"), (3 + 2 * n).to_string());
    }
    db.close().await;
    assert_eq!(wal_size(&engine), 0);
}
