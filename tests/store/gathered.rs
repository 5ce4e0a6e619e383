//! Reads that many want at once.

use super::{scope, stage, strangers};
use crate::engines::Engine;
use futures_util::future::join_all;
use greenroom::store::{AccessKeyRow, Db, SigningKeyRow, StoreError};

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

#[tokio::test]
async fn stages_that_are_added_at_once_are_all_there_and_one_that_was_there_is_refused() {
    for engine in Engine::both().await {
        let db = engine.open().await;
        fill(&db).await;
        let rows: Vec<_> = (0..80).map(|n| (scope(), stage(&format!("added{n}"), n))).collect();
        let mut taken = stage("s7", 7);
        taken.name = "another one".into();
        let taken = [(scope(), taken)];
        let added = join_all(rows.iter().chain(&taken).map(|(scope, row)| db.add_stage(scope, row))).await;
        let refused: Vec<_> = (0..).zip(&added).filter(|(_, added)| added.is_err()).map(|(n, _)| n).collect();
        assert_eq!(refused, [80], "on {}: {added:?}", db.engine());
        assert!(matches!(added[80], Err(StoreError::Duplicate(_))));
        for (scope, row) in &rows {
            let found = db.stage(scope, &row.id).await.unwrap().unwrap();
            assert_eq!((found.name, found.created_at), (row.name.clone(), row.created_at));
        }
        assert_eq!(db.stage(&scope(), "s7").await.unwrap().unwrap().name, "name of s7");
    }
}

#[tokio::test]
async fn who_goes_while_a_stage_is_added_takes_nobody_along() {
    for engine in Engine::both().await {
        let db = engine.open().await;
        let rows: Vec<_> = (0..40).map(|n| (scope(), stage(&format!("s{n}"), n))).collect();
        let mut adding: Vec<_> = rows.iter().map(|(scope, row)| Some(Box::pin(db.add_stage(scope, row)))).collect();
        // The first ask for the others too, and go at some moment of it.
        for step in 0..30 {
            for one in &mut adding {
                let Some(adds) = one else { continue };
                if let std::task::Poll::Ready(done) = futures_util::poll!(adds.as_mut()) {
                    done.unwrap();
                    *one = None;
                }
            }
            if step % 3 == 0 {
                adding[step] = None;
            }
            tokio::task::yield_now().await;
        }
        drop(adding.iter_mut().map(Option::take).collect::<Vec<_>>());
        // Whoever comes after them finds the way free.
        let later: Vec<_> = (0..40).map(|n| (scope(), stage(&format!("later{n}"), n))).collect();
        for added in join_all(later.iter().map(|(scope, row)| db.add_stage(scope, row))).await {
            added.unwrap();
        }
        for (scope, row) in &later {
            assert!(db.stage(scope, &row.id).await.unwrap().is_some(), "{} on {}", row.id, db.engine());
        }
    }
}
