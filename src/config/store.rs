//! Where the store is, and how it is used.

use super::Secret;
use clap::Args;
use std::str::FromStr;

/// Where the store is and how it is used.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// The store: sqlite://FILE, sqlite::memory: or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(
        long,
        env = "GREENROOM_DATABASE_URL",
        default_value = "sqlite://greenroom.db",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database_url: Url,
    /// Key that secrets in the store are encrypted with: 32 bytes, base64. Without one, an embedded store keeps one in a file beside it; PostgreSQL needs one
    #[arg(long, env = "GREENROOM_MASTER_KEY", value_name = "BASE64", hide_env_values = true)]
    pub master_key: Option<Secret>,
    /// Most connections to PostgreSQL, or readers of SQLite
    #[arg(long, env = "GREENROOM_DATABASE_CONNECTIONS", default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_connections: u32,
    /// Milliseconds that a request waits for a connection to the store
    #[arg(long, env = "GREENROOM_DATABASE_ACQUIRE_MS", default_value_t = 5000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub database_acquire_ms: u64,
    /// Milliseconds that PostgreSQL may work on one statement, or waits for the next one of a transaction
    #[arg(long, env = "GREENROOM_DATABASE_STATEMENT_MS", default_value_t = 10_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub database_statement_ms: u64,
    /// What SQLite waits for at a commit: off, normal (a crash of the machine may lose the last commits) or full
    #[arg(long, env = "GREENROOM_SQLITE_SYNCHRONOUS", default_value = "normal", value_name = "MODE")]
    pub sqlite_synchronous: Synchronous,
    /// What stands between greenroom and PostgreSQL: off (nothing, or a pooler that keeps to sessions or knows prepared statements) or transaction (a pooler that gives out a connection for one transaction and knows no prepared statements)
    #[arg(long, env = "GREENROOM_DATABASE_POOLER", default_value = "off", value_name = "MODE")]
    pub database_pooler: Pooler,
    /// PostgreSQL itself, for LISTEN, where --database-url is a pooler's; off leaves NOTIFY out, and nodes only look for what others did [default: --database-url; off with --database-pooler=transaction]
    #[arg(long, env = "GREENROOM_DATABASE_LISTEN_URL", value_name = "URL|off", hide_env_values = true)]
    pub database_listen_url: Option<Listen>,
}

/// How a server checks its database.
#[derive(Clone, Debug, Args)]
pub struct DatabaseArgs {
    /// Check of a SQLite file at the start: off, quick (structure of tables and indexes) or full (also what indexes contain)
    #[arg(long, env = "GREENROOM_DATABASE_CHECK", default_value = "quick", value_name = "LEVEL")]
    pub database_check: DatabaseCheck,
    /// Time limit of that check, in seconds, after which the server starts; 0 is none
    #[arg(long, env = "GREENROOM_DATABASE_CHECK_SECONDS", default_value_t = 10, value_name = "S")]
    pub database_check_seconds: u32,
    /// Free disk space of a SQLite file, in MiB, below which the server reports not ready; 0 is off
    #[arg(long, env = "GREENROOM_DATABASE_MIN_FREE_MB", default_value_t = 64, value_name = "MB")]
    pub database_min_free_mb: u32,
}

/// How thoroughly a SQLite file is checked at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DatabaseCheck {
    /// Not at all.
    Off,
    /// The structure of tables and indexes.
    Quick,
    /// That, and that indexes contain what their tables do.
    Full,
}

/// The address of a store; [`crate::store`] knows more of it.
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

/// The address without a password.
impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Url::File(path) => write!(f, "sqlite://{}", path.display()),
            Url::Memory => f.write_str("sqlite::memory:"),
            Url::Postgres(Secret(url)) => {
                // A password may stand before the host or among the parameters.
                let (_, rest) = url.split_once("://").unwrap_or_default();
                let (_, host) = rest.rsplit_once('@').unwrap_or(("", rest));
                write!(f, "postgres://{}", host.split('?').next().unwrap_or_default())
            }
        }
    }
}

/// What SQLite waits for at a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Synchronous {
    /// Nothing: a crash of the machine may damage the file.
    Off,
    /// The log at checkpoints: a crash of the machine may lose the last commits, a crash of the program none.
    Normal,
    /// The log at every commit: nothing acknowledged is ever lost.
    Full,
}

/// What stands between greenroom and PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pooler {
    /// Nothing that would show.
    Off,
    /// A pooler that gives a connection for one transaction, and knows no prepared statements.
    Transaction,
}

/// Whether and where to listen for what other nodes have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Not at all.
    Off,
    /// At PostgreSQL itself.
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
    fn stores_are_parsed_and_shown_without_their_password() {
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
    fn one_listens_at_postgres_or_not_at_all() {
        assert_eq!("off".parse(), Ok(Listen::Off));
        assert_eq!("postgres://db/green".parse(), Ok(Listen::At(Secret("postgres://db/green".into()))));
        for bad in ["", "on", "sqlite://a.db"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }
}
