//! The commands that work beside a running server: the schema, the signing keys, the access keys, the targets of events, backups.

mod backup;
mod events;

pub use backup::{export, import};
pub use events::events;

use crate::app::credentials::{self, CredentialsError, MadeKey, NewKey};
use crate::app::keys;
use crate::backup::BackupError;
use crate::clock::{Clock, Timestamp};
use crate::config::{CreateKeyArgs, CredentialsCommand, KeyArgs, KeysArgs, Output, StoreArgs, Url};
use crate::domain::policy::{Policy, PolicyError};
use crate::events::targets::TargetsError;
use crate::ids::Ids;
use crate::secret::MasterKey;
use crate::server::{self, KeySource, ServerError};
use crate::store::{AccessKeyRow, Db, OpenError, StoreError};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Why a command failed; each text is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The store or its keys.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A store that is gone with the command.
    #[error("--database-url: sqlite::memory: is gone when this command ends; name the store that the server uses")]
    NoStore,
    /// A policy that cannot be read.
    #[error("cannot read {0}: {1}")]
    PolicyFile(PathBuf, std::io::Error),
    /// A policy that is none.
    #[error("{0}: {1}")]
    Policy(PathBuf, PolicyError),
    /// No such access key.
    #[error("there is no access key {0}")]
    NoSuchKey(String),
    /// An access key.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A file of targets.
    #[error(transparent)]
    Targets(#[from] TargetsError),
    /// No such target.
    #[error("there is no target '{0}'; greenroom events targets lists them")]
    NoSuchTarget(String),
    /// No such event.
    #[error("no event {id} was given up for the target '{target}'; greenroom events dead lists those that were")]
    NotDead {
        /// The event.
        id: String,
        /// The target.
        target: String,
    },
    /// A target that is delivered to.
    #[error(
        "the target '{0}' is delivered to at present: take it out of the file first, and let the servers read it again (SIGHUP)"
    )]
    InUse(String),
    /// A backup that cannot be opened.
    #[error("cannot read {0}: {1}")]
    BackupFile(PathBuf, std::io::Error),
    /// A backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The program was told to stop.
    #[error("stopped before it was done; nothing was written")]
    Stopped,
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        CredentialsError::from(error).into()
    }
}

/// Opens the store, and makes it if it is not there.
async fn open_or_make(args: &StoreArgs) -> Result<Db, AdminError> {
    if args.database_url == Url::Memory {
        return Err(AdminError::NoStore);
    }
    let db = Db::open_beside(&server::options(args)).await.map_err(ServerError::from)?;
    match db.migrate().await {
        Ok(()) => Ok(db),
        Err(error) => {
            db.discard_if_new().await;
            Err(ServerError::from(error).into())
        }
    }
}

/// Opens a store that is there.
async fn open(args: &StoreArgs) -> Result<Db, AdminError> {
    let missing = || AdminError::from(ServerError::Open(OpenError::Missing(args.database_url.to_string())));
    match &args.database_url {
        Url::Memory => return Err(AdminError::NoStore),
        // The engine would make it.
        Url::File(path) if matches!(path.try_exists(), Ok(false)) => return Err(missing()),
        Url::File(_) | Url::Postgres(_) => {}
    }
    let db = Db::open_beside(&server::options(args)).await.map_err(ServerError::from)?;
    if db.read().await?.schema().await?.is_none() {
        db.close().await;
        return Err(missing());
    }
    db.migrate().await.map_err(ServerError::from)?;
    Ok(db)
}

/// The master key of a store.
async fn secret(source: KeySource, db: &Db, ids: &Ids) -> Result<MasterKey, AdminError> {
    match source.open(db, &Clock::System, ids).await {
        Ok(secret) => Ok(secret),
        Err(error) => {
            db.discard_if_new().await;
            Err(error.into())
        }
    }
}

/// Brings the schema of a store up to date.
pub async fn migrate(args: &StoreArgs) -> Result<String, AdminError> {
    open_or_make(args).await?.close().await;
    Ok(format!("The store {} is up to date.\n", args.database_url))
}

/// Adds a signing key.
pub async fn rotate_keys(args: &StoreArgs) -> Result<String, AdminError> {
    let (ids, source) = (Ids::Random, KeySource::of(args)?);
    let db = open(args).await?;
    let secret = secret(source, &db, &ids).await?;
    let id = keys::rotate(&db, &secret, &Clock::System, &ids).await.map_err(ServerError::Keys)?;
    db.close().await;
    Ok(format!("Participant tokens are signed with the new key {id} from now on; older keys stay valid.\n"))
}

/// Does what is to be done with access keys, and says so.
pub async fn credentials(command: CredentialsCommand) -> Result<String, AdminError> {
    match command {
        CredentialsCommand::Create(args) => create(args).await,
        CredentialsCommand::List(args) => list(args).await,
        CredentialsCommand::Show(args) => show(args).await,
        CredentialsCommand::Disable(args) => enable(args, false).await,
        CredentialsCommand::Enable(args) => enable(args, true).await,
        CredentialsCommand::Delete(args) => delete(args).await,
    }
}

async fn create(args: CreateKeyArgs) -> Result<String, AdminError> {
    let policy = match args.policy {
        Some(path) => {
            let text = std::fs::read_to_string(&path).map_err(|error| AdminError::PolicyFile(path.clone(), error))?;
            let refused = |error| AdminError::Policy(path.clone(), error);
            let policy = Policy::parse(&text).map_err(refused)?;
            for warning in policy.check_actions().map_err(refused)? {
                eprintln!("greenroom: warning: {}: {warning}", path.display());
            }
            Some(policy)
        }
        None => None,
    };
    let (ids, source) = (Ids::Random, KeySource::of(&args.common.store)?);
    let db = open_or_make(&args.common.store).await?;
    let secret = secret(source, &db, &ids).await?;
    let now = Clock::System.now();
    let new = NewKey {
        account: args.account,
        name: args.name,
        policy,
        session_token: args.session_token,
        expires_at: args.expires_in.map(|seconds| now.plus(Duration::from_secs(u64::from(seconds)))),
    };
    let MadeKey { row, secret, session_token } = credentials::create(&db, &secret, &ids, now, new).await?;
    db.close().await;
    let mut value = shown(&row);
    value["secretAccessKey"] = secret.clone().into();
    value["sessionToken"] = session_token.clone().into();
    Ok(match args.common.output {
        Output::Json => format!("{value:#}\n"),
        Output::Human => {
            let token = session_token.map(|token| format!("  session token      {token}\n")).unwrap_or_default();
            format!(
                "The secret is shown this once.\n\n  access key id      {}\n  secret access key  {secret}\n{token}  account            {}\n",
                row.id, row.account
            )
        }
    })
}

async fn list(args: KeysArgs) -> Result<String, AdminError> {
    let db = open(&args.store).await?;
    let keys = credentials::list(&db).await?;
    db.close().await;
    Ok(match args.output {
        Output::Json => format!("{:#}\n", Value::from(keys.iter().map(shown).collect::<Vec<_>>())),
        Output::Human if keys.is_empty() => "There are no access keys.\n".into(),
        Output::Human => keys.iter().map(|row| format!("{}\n", line(row))).collect(),
    })
}

async fn show(args: KeyArgs) -> Result<String, AdminError> {
    let db = open(&args.common.store).await?;
    let row = credentials::show(&db, &args.id).await?;
    db.close().await;
    let row = row.ok_or(AdminError::NoSuchKey(args.id))?;
    Ok(match args.common.output {
        Output::Json => format!("{:#}\n", shown(&row)),
        Output::Human if row.policy.is_empty() => format!("{}\nIt may do everything.\n", line(&row)),
        Output::Human => format!("{}\nIts policy:\n{}\n", line(&row), row.policy.trim_end()),
    })
}

async fn enable(args: KeyArgs, enabled: bool) -> Result<String, AdminError> {
    let db = open(&args.common.store).await?;
    let found = credentials::enable(&db, &args.id, enabled).await?;
    db.close().await;
    let word = if enabled { "enabled" } else { "disabled" };
    done(found, args, word)
}

async fn delete(args: KeyArgs) -> Result<String, AdminError> {
    let db = open(&args.common.store).await?;
    let found = credentials::delete(&db, &args.id).await?;
    db.close().await;
    done(found, args, "deleted")
}

fn done(found: bool, args: KeyArgs, word: &str) -> Result<String, AdminError> {
    if !found {
        return Err(AdminError::NoSuchKey(args.id));
    }
    Ok(match args.common.output {
        Output::Json => format!("{:#}\n", json!({"accessKeyId": args.id, "done": word})),
        Output::Human => format!("The access key {} is {word}.\n", args.id),
    })
}

fn shown(row: &AccessKeyRow) -> Value {
    let time = |at: Option<i64>| at.map(|at| Timestamp(at).to_string());
    let policy: Value = serde_json::from_str(&row.policy).unwrap_or_default();
    json!({
        "accessKeyId": row.id,
        "account": row.account,
        "name": row.name,
        "enabled": row.enabled,
        "hasSessionToken": !row.sealed_session_token.is_empty(),
        "createdAt": time(Some(row.created_at)),
        "expiresAt": time(row.expires_at),
        "lastUsedAt": time(row.last_used_at),
        "policy": policy,
    })
}

fn line(row: &AccessKeyRow) -> String {
    let time = |at: i64| Timestamp(at).to_string();
    let state = if row.enabled { "enabled" } else { "disabled" };
    let expires = row.expires_at.map_or_else(|| "never".into(), time);
    let used = row.last_used_at.map_or_else(|| "never".into(), time);
    let name = if row.name.is_empty() { "-" } else { &row.name };
    format!("{}  account {}  name {name}  {state}  expires {expires}  last used {used}", row.id, row.account)
}
