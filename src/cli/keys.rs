//! `greenroom keys …`: the keys that sign participant tokens, and the master key.

use super::args::{KeysCommand, ListKeysArgs, Output, RetireKeyArgs, RewrapArgs};
use super::error::CommandError;
use super::store::{master_key, open};
use crate::app::keys::{self, KeyState, ListedKey, Retirement};
use crate::backup;
use crate::clock::{Clock, Timestamp};
use crate::config::StoreArgs;
use crate::ids::Ids;
use crate::server::{KeySource, ServerError, begin_replacement, finish_replacement};
use crate::store::Db;
use serde_json::{Value, json};

/// The algorithm of every signing key.
const ALGORITHM: &str = "ES384";
/// Maximum nodes that are checked for a live one.
const NODES: i64 = 1000;

pub(super) async fn run(command: KeysCommand) -> Result<String, CommandError> {
    match command {
        KeysCommand::List(args) => list(args).await,
        KeysCommand::Rotate(args) => rotate(&args).await,
        KeysCommand::Retire(args) => retire(args).await,
        KeysCommand::Rewrap(args) => rewrap(args).await,
    }
}

async fn list(args: ListKeysArgs) -> Result<String, CommandError> {
    let db = open(&args.store).await?;
    let keys = keys::list(&db).await?;
    db.close().await;
    Ok(match args.output {
        Output::Json => format!("{:#}\n", Value::from(keys.iter().map(json).collect::<Vec<_>>())),
        Output::Human if keys.is_empty() => "There are no signing keys.\n".into(),
        Output::Human => keys.iter().map(line).collect(),
    })
}

fn state(key: &ListedKey) -> &'static str {
    match key.state {
        KeyState::Signing => "signing",
        KeyState::Valid => "valid",
        KeyState::Retired => "retired",
    }
}

fn json(key: &ListedKey) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "keyId": key.id,
        "algorithm": ALGORITHM,
        "state": state(key),
        "createdAt": key.created_at.to_string(),
        "signedUntil": time(key.signed_until),
        "retiredAt": time(key.retired_at),
    })
}

fn line(key: &ListedKey) -> String {
    let time = |what: &str, at: Option<Timestamp>| at.map(|at| format!("  {what} {at}")).unwrap_or_default();
    let (until, retired) = (time("signed until", key.signed_until), time("retired", key.retired_at));
    format!("{}  {ALGORITHM}  {}  created {}{until}{retired}\n", key.id, state(key), key.created_at)
}

async fn rotate(args: &StoreArgs) -> Result<String, CommandError> {
    let (ids, source) = (Ids::Random, KeySource::of(args)?);
    let db = open(args).await?;
    let master = master_key(source, &db, &ids).await?;
    let id = keys::rotate(&db, &master, &Clock::System, &ids).await.map_err(ServerError::Keys)?;
    db.close().await;
    Ok(format!("New participant tokens are signed with the key {id}; older keys stay valid.\n"))
}

async fn retire(args: RetireKeyArgs) -> Result<String, CommandError> {
    let db = open(&args.store).await?;
    let retired = keys::retire(&db, &Clock::System, &args.id).await?;
    db.close().await;
    let id = args.id;
    match retired {
        Retirement::Done => Ok(format!("Tokens signed with the key {id} are refused from now on.\n")),
        Retirement::Already => Ok(format!("The key {id} was retired before.\n")),
        Retirement::Signing => Err(CommandError::KeySigns(id)),
        Retirement::Unknown => Err(CommandError::NoSuchSigningKey(id)),
    }
}

async fn rewrap(args: RewrapArgs) -> Result<String, CommandError> {
    let (ids, source) = (Ids::Random, KeySource::of(&args.store)?);
    let is_given = matches!(source, KeySource::Given(_));
    if is_given && args.store.previous_master_key.is_none() {
        return Err(CommandError::NoPreviousMasterKey);
    }
    let db = open(&args.store).await?;
    if let Some(node) = live_node(&db).await?
        && (!args.online || !is_given)
    {
        return Err(CommandError::ServersRun(node, if is_given { ONLINE } else { OFFLINE }));
    }
    let file = match &source {
        KeySource::File(path) => Some(path.clone()),
        KeySource::Given(_) | KeySource::Memory => None,
    };
    let mut master = source.open_existing(&db).await?;
    if let Some(path) = &file {
        master = begin_replacement(path, &ids)?.with_previous(master);
    }
    let count = backup::rewrap(&db, &master, &ids).await?;
    if let Some(path) = &file {
        finish_replacement(path, &db).await?;
    }
    db.close().await;
    let replaced = file.map(|path| format!("; {} has it", path.display())).unwrap_or_default();
    Ok(format!("The secrets of {count} rows are encrypted with the new master key{replaced}.\n"))
}

const ONLINE: &str = "stop the servers, or give all of them both keys, and add --online";
const OFFLINE: &str = "stop the server: it reads the key file at start only";

/// The URL of a server that uses the store.
async fn live_node(db: &Db) -> Result<Option<String>, CommandError> {
    let now = db.lease_time(&Clock::System).await?;
    let nodes = db.read().await?.live_nodes(NODES).await?;
    Ok(nodes.into_iter().find(|node| node.expires_at > now.0).map(|node| node.url))
}
