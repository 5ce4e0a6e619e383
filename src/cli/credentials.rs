//! `greenroom credentials …`: the access keys of the API.

use super::args::{AccessKeyArgs, CreateKeyArgs, CredentialsArgs, CredentialsCommand, Output};
use super::error::CommandError;
use super::store::{master_key, open, open_or_create};
use crate::app::credentials::{self, CreatedKey, NewKey};
use crate::clock::{Clock, Timestamp};
use crate::domain::policy::Policy;
use crate::ids::Ids;
use crate::server::KeySource;
use crate::store::AccessKeyRow;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) async fn run(command: CredentialsCommand) -> Result<String, CommandError> {
    match command {
        CredentialsCommand::Create(args) => create(args).await,
        CredentialsCommand::List(args) => list(args).await,
        CredentialsCommand::Show(args) => show(args).await,
        CredentialsCommand::Disable(args) => enable(args, false).await,
        CredentialsCommand::Enable(args) => enable(args, true).await,
        CredentialsCommand::Delete(args) => delete(args).await,
    }
}

async fn create(args: CreateKeyArgs) -> Result<String, CommandError> {
    let policy = match args.policy {
        Some(path) => {
            let text = std::fs::read_to_string(&path).map_err(|error| CommandError::PolicyFile(path.clone(), error))?;
            let refused = |error| CommandError::Policy(path.clone(), error);
            let policy = Policy::parse(&text).map_err(refused)?;
            for warning in policy.check_actions().map_err(refused)? {
                eprintln!("greenroom: warning: {}: {warning}", path.display());
            }
            Some(policy)
        }
        None => None,
    };
    let (ids, source) = (Ids::Random, KeySource::of(&args.common.store)?);
    let db = open_or_create(&args.common.store).await?;
    let master = master_key(source, &db, &ids).await?;
    let now = Clock::System.now();
    let new = NewKey {
        account: args.account,
        name: args.name,
        policy,
        session_token: args.session_token,
        expires_at: args.expires_in.map(|seconds| now.plus(Duration::from_secs(u64::from(seconds)))),
    };
    let CreatedKey { row, secret, session_token } = credentials::create(&db, &master, &ids, now, new).await?;
    db.close().await;
    let mut value = shown(&row);
    value["secretAccessKey"] = secret.clone().into();
    value["sessionToken"] = session_token.clone().into();
    Ok(match args.common.output {
        Output::Json => format!("{value:#}\n"),
        Output::Human => {
            let token = session_token.map(|token| format!("  session token      {token}\n")).unwrap_or_default();
            format!(
                "The secret is shown only once.\n\n  access key id      {}\n  secret access key  {secret}\n{token}  account            {}\n",
                row.id, row.account
            )
        }
    })
}

async fn list(args: CredentialsArgs) -> Result<String, CommandError> {
    let db = open(&args.store).await?;
    let keys = credentials::list(&db).await?;
    db.close().await;
    Ok(match args.output {
        Output::Json => format!("{:#}\n", Value::from(keys.iter().map(shown).collect::<Vec<_>>())),
        Output::Human if keys.is_empty() => "There are no access keys.\n".into(),
        Output::Human => keys.iter().map(|row| format!("{}\n", line(row))).collect(),
    })
}

async fn show(args: AccessKeyArgs) -> Result<String, CommandError> {
    let db = open(&args.common.store).await?;
    let row = credentials::show(&db, &args.id).await?;
    db.close().await;
    let row = row.ok_or(CommandError::NoSuchAccessKey(args.id))?;
    Ok(match args.common.output {
        Output::Json => format!("{:#}\n", shown(&row)),
        Output::Human if row.policy.is_empty() => format!("{}\nIt allows everything.\n", line(&row)),
        Output::Human => format!("{}\nIts policy:\n{}\n", line(&row), row.policy.trim_end()),
    })
}

async fn enable(args: AccessKeyArgs, enabled: bool) -> Result<String, CommandError> {
    let db = open(&args.common.store).await?;
    let found = credentials::enable(&db, &args.id, enabled).await?;
    db.close().await;
    let word = if enabled { "enabled" } else { "disabled" };
    done(found, args, word)
}

async fn delete(args: AccessKeyArgs) -> Result<String, CommandError> {
    let db = open(&args.common.store).await?;
    let found = credentials::delete(&db, &args.id).await?;
    db.close().await;
    done(found, args, "deleted")
}

fn done(found: bool, args: AccessKeyArgs, word: &str) -> Result<String, CommandError> {
    if !found {
        return Err(CommandError::NoSuchAccessKey(args.id));
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
