//! `greenroom keys …`: the keys that sign participant tokens.

use super::args::KeysCommand;
use super::error::CommandError;
use super::store::{master_key, open};
use crate::app::keys;
use crate::clock::Clock;
use crate::config::StoreArgs;
use crate::ids::Ids;
use crate::server::{KeySource, ServerError};

pub(super) async fn run(command: KeysCommand) -> Result<String, CommandError> {
    match command {
        KeysCommand::Rotate(args) => rotate(&args).await,
    }
}

async fn rotate(args: &StoreArgs) -> Result<String, CommandError> {
    let (ids, source) = (Ids::Random, KeySource::of(args)?);
    let db = open(args).await?;
    let master = master_key(source, &db, &ids).await?;
    let id = keys::rotate(&db, &master, &Clock::System, &ids).await.map_err(ServerError::Keys)?;
    db.close().await;
    Ok(format!("New participant tokens are signed with the key {id}; older keys stay valid.\n"))
}
