//! The source of a store's master key.

use super::ServerError;
use crate::app::keys::{self, KeysError};
use crate::clock::Clock;
use crate::config::{StoreArgs, Url};
use crate::ids::Ids;
use crate::secret::MasterKey;
use crate::store::Db;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The name of the configured master key in errors.
const GIVEN: &str = "GREENROOM_MASTER_KEY";
/// The name of the previous master key in errors.
const PREVIOUS: &str = "GREENROOM_PREVIOUS_MASTER_KEY";

/// Where the master key comes from. Determined before the store is opened, so that an invalid setting changes nothing.
#[derive(Debug)]
pub(crate) enum KeySource {
    /// The setting.
    Given(Box<MasterKey>),
    /// A new key for a store in memory.
    Memory,
    /// A file beside an embedded store, created if it is missing.
    File(PathBuf),
}

impl KeySource {
    /// The source by the settings.
    pub(crate) fn of(args: &StoreArgs) -> Result<Self, ServerError> {
        match (&args.master_key, &args.database_url) {
            (Some(text), _) => {
                let mut key = MasterKey::parse(&text.0).map_err(|error| ServerError::Secret(GIVEN.into(), error))?;
                if let Some(previous) = &args.previous_master_key {
                    let failed = |error| ServerError::Secret(PREVIOUS.into(), error);
                    key = key.with_previous(MasterKey::parse(&previous.0).map_err(failed)?);
                }
                Ok(KeySource::Given(Box::new(key)))
            }
            (None, Url::Postgres(_)) => Err(ServerError::NoMasterKey),
            (None, Url::Memory) => Ok(KeySource::Memory),
            (None, Url::File(path)) => Ok(KeySource::File(PathBuf::from(format!("{}.key", path.display())))),
        }
    }

    /// The file that [`open`](Self::open) would create.
    pub(crate) fn missing_file(&self) -> Option<PathBuf> {
        match self {
            KeySource::File(path) if matches!(path.try_exists(), Ok(false)) => Some(path.clone()),
            _ => None,
        }
    }

    /// The key, verified to decrypt the secrets in the store. Creates the first signing key of an empty store.
    pub(crate) async fn open(self, db: &Db, clock: &Clock, ids: &Ids) -> Result<MasterKey, ServerError> {
        let (key, name) = match self {
            KeySource::Given(key) => (*key, GIVEN.to_owned()),
            KeySource::Memory => (MasterKey::new(&ids.entropy()), "the key in memory".into()),
            KeySource::File(path) => {
                let there = path.try_exists().map_err(|error| ServerError::KeyFile(path.clone(), error))?;
                if !there && keys::exist(db).await? {
                    return Err(ServerError::LostKeyFile(path));
                }
                finish_replacement(&path, db).await?;
                (read_or_make(&path, ids)?, path.display().to_string())
            }
        };
        match keys::prepare(db, &key, clock, ids).await {
            Ok(()) => Ok(key),
            Err(KeysError::Secret(error)) => Err(ServerError::Secret(name, error)),
            Err(other) => Err(other.into()),
        }
    }

    /// The key for a store that is only read: nothing is created. A store without a key file and without signing keys has
    /// no secrets; it gets an arbitrary key.
    pub(crate) async fn open_existing(self, db: &Db) -> Result<MasterKey, ServerError> {
        let (key, name) = match self {
            KeySource::Given(key) => (*key, GIVEN.to_owned()),
            KeySource::File(path) if path.try_exists().unwrap_or(true) => {
                finish_replacement(&path, db).await?;
                (read(&path)?, path.display().to_string())
            }
            KeySource::File(path) if keys::exist(db).await? => return Err(ServerError::LostKeyFile(path)),
            KeySource::File(_) | KeySource::Memory => return Ok(MasterKey::new(&[0; 32])),
        };
        match keys::check(db, &key).await {
            Ok(()) => Ok(key),
            Err(KeysError::Secret(error)) => Err(ServerError::Secret(name, error)),
            Err(other) => Err(other.into()),
        }
    }

    /// The key for an empty store; creates the key file.
    pub(crate) fn take(self, ids: &Ids) -> Result<MasterKey, ServerError> {
        match self {
            KeySource::Given(key) => Ok(*key),
            KeySource::Memory => Ok(MasterKey::new(&ids.entropy())),
            KeySource::File(path) => read_or_make(&path, ids),
        }
    }
}

/// The file of a master key that a rewrap has written, and not put into its place yet.
fn replacement(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.new", path.display()))
}

/// Writes a new master key beside the key file. Until [`finish_replacement`], the file stays as it is, so that a crash at
/// any moment leaves a file that opens the store.
pub(crate) fn begin_replacement(path: &Path, ids: &Ids) -> Result<MasterKey, ServerError> {
    let new = replacement(path);
    // Of a rewrap that was not committed.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ServerError::KeyFile(new, error)),
        _ => read_or_make(&new, ids),
    }
}

/// Puts the new master key of a rewrap into its place, if the rewrap was committed: if it opens the store.
pub(crate) async fn finish_replacement(path: &Path, db: &Db) -> Result<(), ServerError> {
    let new = replacement(path);
    let failed = |error| ServerError::KeyFile(new.clone(), error);
    if !new.try_exists().map_err(failed)? || !keys::exist(db).await? {
        return Ok(());
    }
    match keys::check(db, &read(&new)?).await {
        Ok(()) => std::fs::rename(&new, path).map_err(failed),
        Err(KeysError::Secret(_)) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

/// Reads the key file, or creates it with mode 0600: atomically, and without replacing an existing one.
fn read_or_make(path: &Path, ids: &Ids) -> Result<MasterKey, ServerError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |error| ServerError::KeyFile(path.to_owned(), error);
    if !path.try_exists().map_err(failed)? {
        let draft = PathBuf::from(format!("{}.{}", path.display(), ids.unique()));
        let write = || {
            let mut file = std::fs::File::options().create_new(true).write(true).mode(0o600).open(&draft)?;
            file.write_all(MasterKey::text(&ids.entropy()).as_bytes())?;
            file.sync_all()?;
            match std::fs::hard_link(&draft, path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                // The name must be on the disk before a secret is that only this key opens.
                linked => linked.and_then(|()| std::fs::File::open(folder(path))?.sync_all()),
            }
        };
        let written = write();
        let removed = std::fs::remove_file(&draft);
        written.and(removed).map_err(failed)?;
    }
    read(path)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes the key file that a failed start created beside a store that it created.
pub(super) fn discard(made: Option<PathBuf>) {
    let Some(path) = made else { return };
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "key file of a failed start not removed");
    }
}

fn read(path: &Path) -> Result<MasterKey, ServerError> {
    let failed = |error| ServerError::KeyFile(path.to_owned(), error);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(1024).read_to_string(&mut text).map_err(failed)?;
    MasterKey::parse(&text).map_err(|error| ServerError::Secret(path.display().to_string(), error))
}
