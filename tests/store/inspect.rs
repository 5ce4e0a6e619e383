//! What `greenroom doctor` asks of a store.

use crate::engines::Engine;
use greenroom::store::{Db, SCHEMA};
use std::time::{SystemTime, UNIX_EPOCH};

#[tokio::test]
async fn a_store_says_its_schema_and_that_it_can_be_written_to() {
    for engine in Engine::both().await {
        let db = Db::open_beside(&engine.options()).await.unwrap();
        for _ in 0..2 {
            let found = db.inspect().await.unwrap();
            assert_eq!((found.schema, found.unwritable), (None, None), "nothing is left behind");
        }
        db.migrate().await.unwrap();
        let found = db.inspect().await.unwrap();
        assert_eq!((found.schema, found.unwritable), (Some(SCHEMA), None));
        db.close().await;
    }
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the clock of the database is not injected")]
async fn postgres_tells_the_time() {
    for engine in Engine::both().await {
        let db = engine.open().await;
        match db.clock().await.unwrap() {
            None => assert_eq!(db.engine(), "sqlite"),
            Some(there) => {
                let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
                assert!((here - there).abs() < 60_000, "{here} {there}");
            }
        }
        db.close().await;
    }
}
