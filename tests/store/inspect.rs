//! The inspection by `greenroom doctor`.

use crate::engines::Engine;
use greenroom::store::{Db, SCHEMA};

#[tokio::test]
async fn an_inspection_reports_schema_and_writability() {
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
