//! Opens the store for commands.

use super::error::CommandError;
use crate::clock::Clock;
use crate::config::{StoreArgs, Url};
use crate::ids::Ids;
use crate::secret::MasterKey;
use crate::server::{self, KeySource, ServerError};
use crate::store::{Db, OpenError};

/// Opens a store, and creates it if it does not exist.
pub(super) async fn open_or_create(args: &StoreArgs) -> Result<Db, CommandError> {
    if args.database_url == Url::Memory {
        return Err(CommandError::MemoryStore);
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

/// Opens an existing store.
pub(super) async fn open(args: &StoreArgs) -> Result<Db, CommandError> {
    let missing = || CommandError::from(ServerError::Open(OpenError::Missing(args.database_url.to_string())));
    match &args.database_url {
        Url::Memory => return Err(CommandError::MemoryStore),
        // SQLite would create the file.
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
pub(super) async fn master_key(source: KeySource, db: &Db, ids: &Ids) -> Result<MasterKey, CommandError> {
    let opened = source.open(db, &Clock::System, ids).await;
    if opened.is_err() {
        db.discard_if_new().await;
    }
    Ok(opened?)
}

/// `greenroom migrate`: updates the schema of a store.
pub(super) async fn migrate(args: &StoreArgs) -> Result<String, CommandError> {
    open_or_create(args).await?.close().await;
    Ok(format!("The store {} is up to date.\n", args.database_url))
}
