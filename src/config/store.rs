//! Settings of the store.

use super::{Secret, group};
use clap::Args;
use std::str::FromStr;

/// Settings of the store that every command on it has.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::STORE)]
pub struct StoreArgs {
    /// URL of the store: sqlite://FILE, sqlite::memory: or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(
        long,
        env = "GREENROOM_DATABASE_URL",
        default_value = "sqlite://greenroom.db",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database_url: Url,
    /// Master key, which encrypts secrets in the store: 32 bytes, base64 (default with SQLite: the file beside the store)
    ///
    /// The same for every node of a store. PostgreSQL requires it; a SQLite store creates a key file FILE.key. Prefer the
    /// variable: other users of the machine can read command lines.
    #[arg(long, env = "GREENROOM_MASTER_KEY", value_name = "BASE64", hide_env_values = true)]
    pub master_key: Option<Secret>,
    /// Previous master key, which still decrypts secrets: 32 bytes, base64
    ///
    /// For the rotation of --master-key without downtime; see greenroom keys rewrap.
    #[arg(
        long,
        env = "GREENROOM_PREVIOUS_MASTER_KEY",
        value_name = "BASE64",
        hide_env_values = true,
        requires = "master_key"
    )]
    pub previous_master_key: Option<Secret>,
    /// Maximum connections to PostgreSQL, or readers of SQLite
    #[arg(long, env = "GREENROOM_DATABASE_CONNECTIONS", default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_connections: u32,
    /// Timeout of a request for a connection to the store, in milliseconds
    #[arg(long, env = "GREENROOM_DATABASE_ACQUIRE_MS", default_value_t = 5000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub database_acquire_ms: u64,
    /// Timeout of a PostgreSQL statement, and of an idle transaction, in milliseconds
    #[arg(long, env = "GREENROOM_DATABASE_STATEMENT_MS", default_value_t = 10_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub database_statement_ms: u64,
    /// Durability of a SQLite commit: off, normal or full
    ///
    /// With normal, a crash of the machine (not of the program) can lose the last commits; with off, it can damage the file.
    #[arg(long, env = "GREENROOM_SQLITE_SYNCHRONOUS", default_value = "normal", value_name = "MODE")]
    pub sqlite_synchronous: Synchronous,
    /// PostgreSQL connection pooler mode: off or transaction
    ///
    /// transaction is for a pooler in transaction mode without support for prepared statements. off is for no pooler, and for
    /// poolers in session mode or with such support.
    #[arg(long, env = "GREENROOM_DATABASE_POOLER", default_value = "off", value_name = "MODE")]
    pub database_pooler: Pooler,
    /// PostgreSQL URL for LISTEN, or off (default: --database-url, or off behind a transaction pooler)
    ///
    /// For a --database-url that is a pooler's. With off, nodes poll for the changes of other nodes.
    #[arg(long, env = "GREENROOM_DATABASE_LISTEN_URL", value_name = "URL|off", hide_env_values = true)]
    pub database_listen_url: Option<Listen>,
}

/// Checks of a SQLite file by the server.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::STORE)]
pub struct DatabaseArgs {
    /// Integrity check of a SQLite file at start: off, quick (structure) or full (structure and index contents)
    #[arg(long, env = "GREENROOM_DATABASE_CHECK", default_value = "quick", value_name = "LEVEL")]
    pub database_check: DatabaseCheck,
    /// Time limit of --database-check, in seconds, after which the server starts; 0 is unlimited
    #[arg(long, env = "GREENROOM_DATABASE_CHECK_SECONDS", default_value_t = 10, value_name = "S")]
    pub database_check_seconds: u32,
    /// Minimum free disk space for SQLite, in MiB; below it the server reports not ready; 0 is off
    #[arg(long, env = "GREENROOM_DATABASE_MIN_FREE_MB", default_value_t = 64, value_name = "MB")]
    pub database_min_free_mb: u32,
}

/// Extent of the check of a SQLite file at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DatabaseCheck {
    /// No check.
    Off,
    /// The structure of tables and indexes.
    Quick,
    /// Structure, and that indexes agree with their tables.
    Full,
}

/// The URL of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Url {
    /// A SQLite file.
    File(std::path::PathBuf),
    /// SQLite in memory.
    Memory,
    /// A PostgreSQL server.
    Postgres(Secret),
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sqlite::memory:" | "sqlite://:memory:" => return Ok(Url::Memory),
            _ if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
                return Ok(Url::Postgres(Secret(text.to_owned())));
            }
            _ => {}
        }
        match text.strip_prefix("sqlite://") {
            Some(path) if !path.is_empty() && !path.contains('?') => Ok(Url::File(path.into())),
            _ => Err("use sqlite://FILE, sqlite::memory: or postgres://USER:PASSWORD@HOST/DATABASE".into()),
        }
    }
}

/// The URL without credentials.
impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Url::File(path) => write!(f, "sqlite://{}", path.display()),
            Url::Memory => f.write_str("sqlite::memory:"),
            Url::Postgres(Secret(url)) => {
                // A password can be before the host or among the parameters.
                let (_, rest) = url.split_once("://").unwrap_or_default();
                let (_, host) = rest.rsplit_once('@').unwrap_or(("", rest));
                write!(f, "postgres://{}", host.split('?').next().unwrap_or_default())
            }
        }
    }
}

/// Durability of a SQLite commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Synchronous {
    /// No sync: a crash of the machine can damage the file.
    Off,
    /// Sync of the WAL at checkpoints: a crash of the machine can lose the last commits, a crash of the program none.
    Normal,
    /// Sync of the WAL at every commit: no acknowledged commit is lost.
    Full,
}

/// Mode of the pooler in front of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pooler {
    /// No pooler, or one that is transparent.
    Off,
    /// A pooler in transaction mode, without prepared statements.
    Transaction,
}

/// Where to LISTEN for changes of other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere: nodes poll.
    Off,
    /// At this PostgreSQL URL.
    At(Secret),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Url::Postgres(url)) => Ok(Listen::At(url)),
            _ if text == "off" => Ok(Listen::Off),
            _ => Err("use postgres://USER:PASSWORD@HOST/DATABASE, or off".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_credentials() {
        assert_eq!("sqlite://a.db".parse(), Ok(Url::File("a.db".into())));
        assert_eq!("sqlite::memory:".parse(), Ok(Url::Memory));
        let url: Url = "postgres://me:secret@db:5432/green?password=secret".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://db:5432/green");
        assert!(!format!("{url:?}").contains("secret"));
        for bad in ["", "sqlite://", "mysql://x", "greenroom.db", "sqlite://a?mode=ro"] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }

    #[test]
    fn listen_urls_are_of_postgres_or_off() {
        assert_eq!("off".parse(), Ok(Listen::Off));
        assert_eq!("postgres://db/green".parse(), Ok(Listen::At(Secret("postgres://db/green".into()))));
        for bad in ["", "on", "sqlite://a.db"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }
}
