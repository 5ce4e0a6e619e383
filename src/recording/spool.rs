//! The spool: objects of recordings on this node's disk until the storage has confirmed them.
//!
//! The bytes of all recordings are bounded, and so is the share of an account: an object reserves its space before it is
//! accepted. Files are accessed on threads that may block, of which the spool uses a few.

pub(in crate::recording) mod files;
mod space;
#[cfg(test)]
mod tests;

pub use files::Destination;
pub use space::SpoolFull;

use crate::config::{SpoolArgs, Url};
use crate::metrics::Metrics;
use files::{Found, SpooledObject};
use space::{Failed, Space};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The default size, if a tenth of the file system is not less.
const DEFAULT_BYTES: u64 = 10 << 30;
/// Size if that of the file system is unknown.
const FALLBACK_BYTES: u64 = 1 << 30;
/// What an object takes at least: a block of the file system.
const BLOCK: u64 = 4096;
/// Maximum number of threads that access the spool at once.
const MAX_THREADS: usize = 4;
/// Maximum time of an access to the spool. Of a disk that hangs, an upload does not wait for ever.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the spool is, and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    pub folder: PathBuf,
    /// `None` for the default.
    pub limit: Option<u64>,
    /// Whether the folder is the operator's choice, and must be usable at the start. A default one is created when there is
    /// something to record.
    pub is_chosen: bool,
    /// Whether the folder is removed with the spool: beside a store in memory, nothing outlives the process.
    pub is_temporary: bool,
}

impl SpoolSettings {
    /// The settings of a node that listens on `port`.
    pub fn new(args: &SpoolArgs, database: &Url, port: u16) -> Self {
        let default = match database {
            Url::File(file) => {
                let mut name = file.clone().into_os_string();
                name.push(".spool");
                name.into()
            }
            Url::Postgres(_) => format!("greenroom-{port}.spool").into(),
            Url::Memory => std::env::temp_dir().join(format!("greenroom-{}-{port}.spool", std::process::id())),
        };
        SpoolSettings {
            is_chosen: args.recording_spool_dir.is_some(),
            is_temporary: args.recording_spool_dir.is_none() && *database == Url::Memory,
            folder: args.recording_spool_dir.clone().unwrap_or(default),
            limit: args.recording_spool.map(|size| size.0),
        }
    }
}

/// Why the spool cannot be opened: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("another process uses the recording spool {}: name another folder with --recording-spool-dir", .0.display())]
    InUse(PathBuf),
    #[error("cannot use the recording spool {}: {cause}; name another folder with --recording-spool-dir", folder.display())]
    Unusable { folder: PathBuf, cause: io::Error },
}

/// What a former process has left of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    pub recording: String,
    pub destination: Destination,
    /// Objects that are not stored yet, in their order.
    pub objects: usize,
    pub bytes: u64,
}

/// The spool. Clones share it.
#[derive(Clone, Debug)]
pub struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: SpoolSettings,
    state: Mutex<State>,
    /// The lock of the folder, once it is created.
    lock: Mutex<Option<File>>,
    threads: Arc<Semaphore>,
    runtime: tokio::runtime::Handle,
}

#[derive(Debug)]
struct State {
    space: Space,
    /// What former processes have left of recordings, until they are resumed.
    leftovers: HashMap<String, (Destination, Vec<(SpooledObject, Reservation)>)>,
}

/// Space for an object; it is free again when this is dropped.
#[derive(Debug)]
pub(in crate::recording) struct Reservation {
    /// `None` once it is part of a failed recording.
    spool: Option<Weak<Inner>>,
    account: String,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(spool) = self.spool.as_ref().and_then(Weak::upgrade) {
            spool.state().space.free(&self.account, self.bytes);
        }
    }
}

/// Space in memory for the contents of an object; it is free again when this is dropped.
#[derive(Debug)]
pub(in crate::recording) struct MemoryReservation {
    spool: Weak<Inner>,
    bytes: u64,
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        if let Some(spool) = self.spool.upgrade() {
            spool.state().space.free_memory(self.bytes);
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, recording: &str) -> PathBuf {
        self.settings.folder.join(recording)
    }

    /// Creates and locks the folder, if this process has not yet.
    fn prepare(&self) -> io::Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            *lock = Some(files::lock(&self.settings.folder)?);
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.settings.is_temporary {
            // What remains is in the folder for temporary files.
            let _ = files::remove_all(&self.settings.folder);
        }
    }
}

impl Spool {
    /// Opens the spool, and finds what a former process has left. The folder is locked, as two processes would upload each
    /// other's files.
    pub async fn open(settings: SpoolSettings) -> Result<Spool, SpoolError> {
        let folder = settings.folder.clone();
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(settings)).await;
        opened.unwrap_or_else(|bug| Err(SpoolError::Unusable { folder, cause: io::Error::other(bug) }))
    }

    fn open_blocking(settings: SpoolSettings) -> Result<Spool, SpoolError> {
        let size = || files::file_system_bytes(&settings.folder).map_or(FALLBACK_BYTES, |bytes| bytes / 10);
        let limit = settings.limit.unwrap_or_else(|| DEFAULT_BYTES.min(size()));
        let spool = Spool(Arc::new(Inner {
            state: Mutex::new(State { space: Space::new(limit), leftovers: HashMap::new() }),
            lock: Mutex::default(),
            threads: Arc::new(Semaphore::new(MAX_THREADS)),
            runtime: tokio::runtime::Handle::current(),
            settings,
        }));
        let folder = &spool.0.settings.folder;
        if !spool.0.settings.is_chosen && !folder.exists() {
            return Ok(spool);
        }
        let found = spool.0.prepare().and_then(|()| files::recover(folder)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => SpoolError::InUse(folder.clone()),
            _ => SpoolError::Unusable { folder: folder.clone(), cause: error },
        })?;
        found.into_iter().for_each(|found| spool.adopt(found));
        Ok(spool)
    }

    /// Takes over what a former process has left of a recording, even if it exceeds the limit.
    fn adopt(&self, found: Found) {
        let Found { id, destination, has_failed, objects } = found;
        let bytes: u64 = objects.iter().map(|object| cost(object.bytes)).sum();
        if has_failed {
            self.0.state().space.adopt_failed(Failed { recording: id, bytes });
            return;
        }
        let count = objects.len();
        let objects = objects.into_iter().map(|object| {
            let reservation = self.take(&destination.account, cost(object.bytes));
            (object, reservation)
        });
        let objects = objects.collect();
        self.0.state().leftovers.insert(id.clone(), (destination, objects));
        tracing::info!(recording.id = id, objects = count, bytes, "recording found in the spool");
    }

    /// What former processes have left of recordings that are not resumed yet, by id.
    pub fn leftovers(&self) -> Vec<Leftover> {
        let state = self.0.state();
        let leftovers = state.leftovers.iter().map(|(id, (destination, objects))| Leftover {
            recording: id.clone(),
            destination: destination.clone(),
            objects: objects.len(),
            bytes: objects.iter().map(|(object, _)| object.bytes).sum(),
        });
        let mut found: Vec<_> = leftovers.collect();
        found.sort_unstable_by(|a, b| a.recording.cmp(&b.recording));
        found
    }

    /// Takes what is left of a recording, in the order of its objects.
    pub(super) fn take_leftovers(&self, recording: &str) -> Vec<(SpooledObject, Reservation)> {
        self.0.state().leftovers.remove(recording).map(|(_, objects)| objects).unwrap_or_default()
    }

    /// Reserves space for an object of an account. Files of failed recordings are removed for it, the oldest first. `is_index`
    /// is of a playlist or a JSON file, for which there is a reserve.
    pub(super) fn reserve(
        &self,
        account: &str,
        bytes: u64,
        is_index: bool,
    ) -> Result<(Reservation, MemoryReservation), SpoolFull> {
        let bytes = cost(bytes);
        let removed = self.0.state().space.reserve(account, bytes, is_index)?;
        removed.into_iter().for_each(|failed| self.remove_failed(failed));
        let spool = Arc::downgrade(&self.0);
        let memory = MemoryReservation { spool: spool.clone(), bytes };
        Ok((Reservation { spool: Some(spool), account: account.to_owned(), bytes }, memory))
    }

    /// Reserves space without a limit.
    fn take(&self, account: &str, bytes: u64) -> Reservation {
        self.0.state().space.take(account, bytes);
        Reservation { spool: Some(Arc::downgrade(&self.0)), account: account.to_owned(), bytes }
    }

    fn remove_failed(&self, failed: Failed) {
        let Failed { recording, bytes } = failed;
        let folder = self.0.folder(&recording);
        self.0.runtime.spawn_blocking(move || match files::remove_all(&folder) {
            Ok(()) => {
                tracing::warn!(
                    recording.id = recording,
                    bytes,
                    reason = "spool_full",
                    "files of a failed recording removed"
                );
            }
            Err(error) => {
                tracing::error!(recording.id = recording, reason = %error, "files of a failed recording not removed");
            }
        });
    }

    /// Bytes of objects in the spool, and the limit.
    pub fn usage(&self) -> (u64, u64) {
        let state = self.0.state();
        (state.space.used(), state.space.limit())
    }

    /// Updates the metrics.
    pub fn sample(&self, metrics: &Metrics) {
        let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let (used, limit) = self.usage();
        metrics.recording_storage.spool_bytes.set(gauge(used));
        metrics.recording_storage.spool_limit.set(gauge(limit));
    }

    /// The folder of the spool.
    pub fn folder(&self) -> &Path {
        &self.0.settings.folder
    }

    /// The folder of a recording.
    pub(super) fn of_recording(&self, id: &str, destination: Destination) -> Option<SpoolFolder> {
        let folder = self.0.folder(id);
        files::is_id(id).then(|| SpoolFolder { spool: self.clone(), id: id.to_owned(), folder, destination })
    }

    /// Runs a function that blocks, on a thread for such, for a limited time.
    async fn blocking<F>(&self, run: F) -> io::Result<()>
    where
        F: FnOnce(&Inner) -> io::Result<()> + Send + 'static,
    {
        let inner = self.0.clone();
        let ran = async {
            let permit = inner.threads.clone().acquire_owned().await;
            let spool = inner.clone();
            let thread = inner.runtime.spawn_blocking(move || {
                // Held until the thread is free, even if the caller has given up.
                let _permit = permit;
                run(&spool)
            });
            thread.await.unwrap_or_else(|bug| Err(io::Error::other(bug)))
        };
        tokio::time::timeout(TIMEOUT, ran).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn cost(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).max(1).saturating_mul(BLOCK)
}

/// The folder of a recording in the spool.
#[derive(Clone, Debug)]
pub(super) struct SpoolFolder {
    spool: Spool,
    id: String,
    folder: PathBuf,
    destination: Destination,
}

impl SpoolFolder {
    /// The id of the recording.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The path of a file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file; the folder is created for the first.
    pub(super) async fn write(&self, name: String, contents: bytes::Bytes) -> io::Result<()> {
        let (folder, destination) = (self.folder.clone(), self.destination.clone());
        let write = move |spool: &Inner| {
            spool.prepare()?;
            match files::write(&folder, &name, &contents) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    files::create(&folder, &destination)?;
                    files::write(&folder, &name, &contents)
                }
                other => other,
            }
        };
        self.spool.blocking(write).await
    }

    /// Removes a file, if it is there.
    pub(super) async fn remove(&self, name: String) -> io::Result<()> {
        let folder = self.folder.clone();
        self.spool.blocking(move |_| files::remove(&folder, &name)).await
    }

    /// Removes the folder.
    pub(super) async fn remove_all(&self) -> io::Result<()> {
        let folder = self.folder.clone();
        self.spool.blocking(move |_| files::remove_all(&folder)).await
    }

    /// Marks the recording as failed: its files are kept until the space is needed.
    pub(super) async fn keep_failed(&self, reason: String, kept: Vec<Reservation>) -> io::Result<()> {
        let bytes = kept.into_iter().map(Reservation::into_bytes).sum();
        if bytes == 0 {
            return self.remove_all().await;
        }
        {
            let failed = Failed { recording: self.id.clone(), bytes };
            self.spool.0.state().space.fail(&self.destination.account, failed);
        }
        let folder = self.folder.clone();
        self.spool.blocking(move |_| files::mark_failed(&folder, &reason)).await
    }
}

impl Reservation {
    /// The bytes, which stay reserved.
    fn into_bytes(mut self) -> u64 {
        self.spool = None;
        self.bytes
    }
}
