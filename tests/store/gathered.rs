//! Reads that many want at once.

use super::{scope, stage, strangers};
use crate::engines::Engine;
use futures_util::future::join_all;
use greenroom::store::{AccessKeyRow, Db, SigningKeyRow};

fn key(id: &str) -> AccessKeyRow {
    AccessKeyRow {
        id: id.into(),
        account: "123456789012".into(),
        name: format!("of {id}"),
        sealed_secret: "s".into(),
        sealed_session_token: String::new(),
        policy: String::new(),
        enabled: true,
        created_at: 1,
        expires_at: None,
        last_used_at: None,
    }
}

async fn fill(db: &Db) {
    let mut tx = db.write().await.unwrap();
    for n in 0..60 {
        tx.insert_stage(&scope(), &stage(&format!("s{n}"), n)).await.unwrap();
        tx.insert_access_key(&key(&format!("k{n}"))).await.unwrap();
    }
    // Another account has a stage of the same id.
    let mut other = stage("s1", 1);
    other.name = "theirs".into();
    tx.insert_stage(&strangers()[1], &other).await.unwrap();
    tx.insert_signing_key(&SigningKeyRow { id: "signs".into(), created_at: 1, sealed: "s".into() }).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn of_many_who_read_at_once_each_gets_their_own() {
    for engine in Engine::both().await {
        let db = engine.open().await;
        fill(&db).await;
        let stages = join_all((0..100).map(|n| {
            let (db, scope) = (&db, if n % 3 == 0 { strangers()[1].clone() } else { scope() });
            async move { db.stage(&scope, &format!("s{n}")).await.unwrap() }
        }));
        for (n, row) in stages.await.into_iter().enumerate() {
            let expected = match n {
                // The strangers' only one is s1, which is not asked for in their name.
                _ if n % 3 == 0 || n >= 60 => None,
                _ => Some((format!("s{n}"), format!("name of s{n}"))),
            };
            assert_eq!(row.map(|row| (row.id, row.name)), expected, "s{n} on {}", db.engine());
        }
        let stranger = &strangers()[1];
        let theirs = join_all((0..50).map(|_| db.stage(stranger, "s1"))).await;
        assert!(theirs.into_iter().all(|row| row.unwrap().unwrap().name == "theirs"));
        let keys = join_all((0..100).map(|n| {
            let db = &db;
            async move { db.access_key(&format!("k{n}")).await.unwrap() }
        }));
        for (n, row) in keys.await.into_iter().enumerate() {
            assert_eq!(row, (n < 60).then(|| key(&format!("k{n}"))), "k{n} on {}", db.engine());
        }
        let newest = join_all((0..50).map(|_| db.newest_signing_key())).await;
        assert!(newest.into_iter().all(|id| id.unwrap().as_deref() == Some("signs")));
    }
}

#[tokio::test]
async fn what_was_written_before_is_read() {
    for engine in Engine::both().await {
        let db = engine.open().await;
        fill(&db).await;
        // Others ask all the time, so that a question is always under way.
        let ours = &scope();
        let busy = async {
            loop {
                join_all((0..8).map(|_| db.stage(ours, "s0"))).await;
            }
        };
        let writes = async {
            for n in 0..100 {
                let id = format!("new{n}");
                let mut tx = db.write().await.unwrap();
                tx.insert_stage(&scope(), &stage(&id, n)).await.unwrap();
                tx.commit().await.unwrap();
                assert!(db.stage(&scope(), &id).await.unwrap().is_some(), "{id} on {}", db.engine());
            }
        };
        tokio::select! {
            () = busy => {}
            () = writes => {}
        }
    }
}
