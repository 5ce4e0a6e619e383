//! A store of each engine for one test: a SQLite file, or a PostgreSQL database of its own.

use greenroom::config::{Pooler, Secret, Synchronous, Url};
use greenroom::store::{Db, Options};
use sqlx_core::connection::Connection as _;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::{PgConnection, PgPoolOptions};
use std::path::PathBuf;
use std::time::Duration;

/// A store that is removed after the test.
#[derive(Debug)]
pub enum Engine {
    /// A folder with a SQLite file.
    Sqlite(PathBuf),
    /// The URL of the server's maintenance database, and the name of the test's own.
    Postgres(String, String),
}

/// A random name.
fn name() -> String {
    greenroom::ids::Ids::Random.alphanumeric(12).to_lowercase()
}

impl Engine {
    /// Both engines. Under CI, PostgreSQL must be available.
    pub async fn both() -> Vec<Engine> {
        let mut engines = vec![Engine::sqlite()];
        match std::env::var("GREENROOM_TEST_POSTGRES") {
            Ok(url) => engines.push(Engine::postgres(url).await),
            Err(_) if std::env::var_os("CI").is_some() => {
                panic!("GREENROOM_TEST_POSTGRES must name a PostgreSQL server under CI; scripts/test starts one")
            }
            Err(_) => eprintln!("PostgreSQL is left out: GREENROOM_TEST_POSTGRES names no server (see scripts/test)"),
        }
        engines
    }

    /// A SQLite file in a folder of its own.
    pub fn sqlite() -> Engine {
        let folder = std::env::temp_dir().join(format!("greenroom-{}", name()));
        std::fs::create_dir(&folder).unwrap();
        Engine::Sqlite(folder)
    }

    async fn postgres(url: String) -> Engine {
        let name = format!("greenroom_{}", name());
        let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        raw_sql(create).execute(&pool).await.unwrap();
        Engine::Postgres(url, name)
    }

    /// The store's URL.
    pub fn url(&self) -> Url {
        match self {
            Engine::Sqlite(folder) => Url::File(folder.join("greenroom.db")),
            Engine::Postgres(url, name) => {
                let (server, rest) = url.split_at(url.find("://").unwrap() + 3);
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                let query = path.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
                Url::Postgres(Secret(format!("{server}{host}/{name}{query}")))
            }
        }
    }

    /// Options for tests.
    pub fn options(&self) -> Options {
        Options {
            url: self.url(),
            connections: 4,
            acquire_timeout: Duration::from_secs(20),
            statement_timeout: Duration::from_secs(20),
            synchronous: Synchronous::Off,
            pooler: Pooler::Off,
            listen: None,
        }
    }

    /// Runs statements past the store.
    pub async fn write(&self, statements: &[&'static str]) {
        for statement in statements {
            match self.url() {
                Url::Postgres(Secret(url)) => {
                    let mut conn = PgConnection::connect(&url).await.unwrap();
                    raw_sql(*statement).execute(&mut conn).await.unwrap();
                }
                Url::File(path) => {
                    rusqlite::Connection::open(path).unwrap().execute_batch(statement).unwrap();
                }
                Url::Memory => unreachable!("no test uses it"),
            }
        }
    }

    /// The empty store with the newest schema.
    pub async fn open(&self) -> Db {
        let db = Db::open(&self.options()).await.unwrap();
        db.migrate().await.unwrap();
        db
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Engine::Sqlite(folder) = self {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
