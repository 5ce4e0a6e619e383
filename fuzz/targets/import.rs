//! The file of an import, behind its first line, which nobody can write without the export key: nor the last one, so that
//! nothing is ever taken from it, and the store stays empty.
#![no_main]

use greenroom::backup::format::{Header, Writer};
use greenroom::backup::{Keys, Progress, import};
use greenroom::clock::{Clock, Timestamp};
use greenroom::config::{Pooler, Synchronous, Url};
use greenroom::ids::Ids;
use greenroom::secret::MasterKey;
use greenroom::store::tables::Table;
use greenroom::store::{Db, Options, SCHEMA};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

struct World {
    runtime: Runtime,
    db: Db,
    keys: Keys,
    header: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let options = Options {
        url: Url::Memory,
        connections: 1,
        acquire_timeout: Duration::from_secs(9),
        statement_timeout: Duration::from_secs(9),
        synchronous: Synchronous::Off,
        pooler: Pooler::Off,
        listen: None,
    };
    let db = runtime.block_on(async {
        let db = Db::open(&options).await.expect("a store");
        db.migrate().await.expect("its tables");
        db
    });
    let keys = Keys { master: MasterKey::new(&[8; 32]), export: MasterKey::new(&[7; 32]) };
    let mut header = Vec::new();
    let line = Header::new(SCHEMA, "sqlite", Timestamp(0), &keys.export);
    Writer::start(&mut header, &line).expect("there is room");
    World { runtime, db, keys, header }
});

fuzz_target!(|bytes: &[u8]| {
    let World { runtime, db, keys, header } = &*WORLD;
    let file = [header, bytes].concat();
    runtime.block_on(async {
        let clock = Clock::manual(Timestamp(0));
        let done = import(db, keys, &Ids::seeded(1), file.as_slice(), &mut Progress::new(clock, None)).await;
        let error = done.expect_err("nobody guesses the signature of the end").to_string();
        assert!(!error.is_empty() && error.len() < 4096, "a refusal does not repeat the file: {error}");
        let mut conn = db.read().await.expect("it is there");
        for table in Table::all(SCHEMA) {
            assert!(conn.is_empty(table).await.expect("it is there"), "{} has rows", table.name);
        }
    });
});
