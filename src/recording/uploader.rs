//! Uploads of recordings: each has an ordered queue from the spool to the storage.
//!
//! [`Upload::add`] neither blocks nor waits. A task for each recording writes objects to the spool and uploads them. Contents
//! are in memory only until they are in the spool; if its disk fails, they are uploaded from memory, which is bounded too.

mod driver;
mod queue;
#[cfg(test)]
mod tests;

use super::spool::{Destination, MemoryReservation, Reservation, Spool, SpoolFull, files};
use crate::app::test_controls::TestControls;
use crate::clock::{Clock, Timestamp};
use crate::domain::faults::StorageFault;
use crate::ids::Ids;
use crate::metrics::{Metrics, ObjectDrop};
use crate::storage::{self, Storage, StorageError};
use bytes::Bytes;
use driver::Driver;
use greenroom_recording::Object;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Maximum uploads in flight of this node, and of a bucket: one that hangs must not delay the others.
const MAX_UPLOADS: usize = 32;
const MAX_UPLOADS_PER_BUCKET: usize = 16;

/// Uploads the recordings of this node. Clones share it.
#[derive(Clone, Debug)]
pub struct Uploader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Storage,
    spool: Spool,
    clock: Clock,
    ids: Ids,
    metrics: Arc<Metrics>,
    /// Faults of the test API, if it is served.
    controls: Option<Arc<TestControls>>,
    /// Maximum time without a successful upload.
    retry: Duration,
    permits: Arc<Semaphore>,
    bucket_permits: Mutex<HashMap<String, Weak<Semaphore>>>,
    uploads: Mutex<HashMap<String, Upload>>,
    runtime: tokio::runtime::Handle,
}

/// The upload of a recording, which goes on until it is [finished](Upload::finish) or [abandoned](Upload::abandon). Clones
/// share it.
#[derive(Clone, Debug)]
pub struct Upload(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    recording: String,
    account: String,
    uploader: Weak<Inner>,
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Sender<UploadStatus>,
}

/// The state of an upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadStatus {
    /// Objects that the storage has confirmed since the upload was opened, and their bytes.
    pub confirmed: u64,
    pub confirmed_bytes: u64,
    /// Objects that are not confirmed yet.
    pub pending: u64,
    /// Failed attempts since the upload was opened.
    pub failures: u64,
    /// Why the last attempt failed, while it is retried.
    pub failing: Option<StorageError>,
    /// Why the upload has failed for good.
    pub failure: Option<StorageError>,
    /// Whether the upload has ended with the [uploader](Uploader::stop).
    pub is_stopped: bool,
}

/// Why an object is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    #[error(transparent)]
    Full(#[from] SpoolFull),
    /// The upload has failed before.
    #[error(transparent)]
    Failed(StorageError),
    #[error("the path of the object is not valid")]
    InvalidPath,
}

/// Why an upload cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of the recording is not valid")]
pub struct InvalidId;

/// An object to upload.
#[derive(Debug)]
struct NewObject {
    path: String,
    content_type: String,
    contents: Bytes,
    added_at: Timestamp,
    reservation: Reservation,
    memory: MemoryReservation,
}

#[derive(Debug)]
enum Command {
    Add(NewObject),
    /// Ends the upload if nothing is pending; answers whether it has ended.
    Close(oneshot::Sender<bool>),
    /// Fails the upload.
    Abandon(StorageError),
    /// Ends the upload; what is in the spool stays there.
    Stop,
    /// Looks at the clock.
    #[cfg(test)]
    Wake,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Uploader {
    /// Uploads from `spool` to `storage` on the current runtime. After `retry` without a successful upload, a recording fails.
    /// `controls` are of the test API, if it is served.
    pub fn new(
        storage: Storage,
        spool: Spool,
        clock: Clock,
        ids: Ids,
        metrics: Arc<Metrics>,
        controls: Option<Arc<TestControls>>,
        retry: Duration,
    ) -> Self {
        Uploader(Arc::new(Inner {
            storage,
            spool,
            clock,
            ids,
            metrics,
            controls,
            retry,
            permits: Arc::new(Semaphore::new(MAX_UPLOADS)),
            bucket_permits: Mutex::default(),
            uploads: Mutex::default(),
            runtime: tokio::runtime::Handle::current(),
        }))
    }

    /// Opens the upload of a recording, or returns the one that is open. What a former process has left of it in the spool is
    /// uploaded first. `is_started`: an object of the recording is stored, so that a permanent error is retried for a while.
    pub fn open(&self, recording: &str, destination: Destination, is_started: bool) -> Result<Upload, InvalidId> {
        let mut uploads = lock(&self.0.uploads);
        if let Some(upload) = uploads.get(recording) {
            return Ok(upload.clone());
        }
        let folder = self.0.spool.of_recording(recording, destination.clone()).ok_or(InvalidId)?;
        let (commands, received) = mpsc::unbounded_channel();
        let leftovers = self.0.spool.take_leftovers(recording);
        let status = UploadStatus { pending: leftovers.len() as u64, ..UploadStatus::default() };
        let upload = Upload(Arc::new(Shared {
            recording: recording.to_owned(),
            account: destination.account.clone(),
            uploader: Arc::downgrade(&self.0),
            commands,
            status: watch::Sender::new(status),
        }));
        let driver = Driver::new(self.0.clone(), upload.0.status.clone(), folder, destination, is_started, leftovers);
        self.0.runtime.spawn(driver.run(received));
        uploads.insert(recording.to_owned(), upload.clone());
        Ok(upload)
    }

    /// The upload of a recording, if it is open.
    pub fn opened(&self, recording: &str) -> Option<Upload> {
        lock(&self.0.uploads).get(recording).cloned()
    }

    /// Deletes what a former process has left of a recording.
    pub async fn discard(&self, recording: &str, destination: Destination) {
        drop(self.0.spool.take_leftovers(recording));
        let Some(folder) = self.0.spool.of_recording(recording, destination) else { return };
        if let Err(error) = folder.remove_all().await {
            tracing::warn!(recording.id = recording, reason = %error, "folder of the recording spool not removed");
        }
    }

    /// Maximum time without a successful upload.
    pub fn retry(&self) -> Duration {
        self.0.retry
    }

    /// Ends all uploads, at the end of the server: what is in the spool stays there for the next start.
    pub fn stop(&self) {
        for upload in lock(&self.0.uploads).drain().map(|(_, upload)| upload) {
            upload.0.status.send_modify(|status| status.is_stopped = true);
            let _ = upload.0.commands.send(Command::Stop);
        }
    }

    /// Fails, perhaps after a while, if a fault of the test API is on the upload of `bytes` to a destination.
    pub async fn inject_fault(&self, to: &Destination, bytes: u64) -> Result<(), StorageError> {
        self.0.inject_fault(to, bytes).await
    }

    /// The storage that is uploaded to.
    pub fn storage(&self) -> &Storage {
        &self.0.storage
    }

    pub fn spool(&self) -> &Spool {
        &self.0.spool
    }
}

impl Inner {
    async fn inject_fault(&self, to: &Destination, bytes: u64) -> Result<(), StorageError> {
        const DETAIL: &str = "a fault of the test API";
        let Some(controls) = &self.controls else { return Ok(()) };
        match controls.faults.of_upload(&to.bucket, &to.scope()) {
            None => Ok(()),
            Some((_, StorageFault::Refuse)) => Err(storage::ACCESS_DENIED.with_detail(DETAIL)),
            Some((id, StorageFault::Hang)) => {
                controls.faults.ended(&id, self.storage.timeout(&to.bucket, bytes)).await;
                Err(storage::TIMEOUT.with_detail(DETAIL))
            }
        }
    }

    /// The permits of a bucket.
    fn bucket_permits(&self, bucket: &str) -> Arc<Semaphore> {
        let mut buckets = lock(&self.bucket_permits);
        if let Some(permits) = buckets.get(bucket).and_then(Weak::upgrade) {
            return permits;
        }
        buckets.retain(|_, permits| permits.strong_count() > 0);
        let permits = Arc::new(Semaphore::new(MAX_UPLOADS_PER_BUCKET));
        buckets.insert(bucket.to_owned(), Arc::downgrade(&permits));
        permits
    }
}

impl Upload {
    /// Adds an object after those that were added before. It replaces one of the same path.
    pub fn add(&self, object: Object) -> Result<(), AddError> {
        let Some(uploader) = self.0.uploader.upgrade() else {
            return Err(AddError::Failed(STOPPED));
        };
        let dropped = |error: AddError, reason| {
            uploader.metrics.recording_storage.dropped(reason);
            Err(error)
        };
        if let Some(failure) = self.failure() {
            return dropped(AddError::Failed(failure), ObjectDrop::RecordingFailed);
        }
        let Object { path, content_type, contents } = object;
        if files::name(0, content_type, &path).is_none() {
            return Err(AddError::InvalidPath);
        }
        let bytes = contents.len() as u64;
        let (reservation, memory) = match uploader.spool.reserve(&self.0.account, bytes, queue::is_index(&path)) {
            Ok(reserved) => reserved,
            Err(full) => {
                let reason = drop_of(full);
                let (recording, account, reason_name) = (&self.0.recording, &self.0.account, reason.name());
                tracing::warn!(
                    recording.id = recording,
                    account,
                    bytes,
                    reason = reason_name,
                    "object of a recording dropped"
                );
                return dropped(full.into(), reason);
            }
        };
        let (content_type, contents) = (content_type.to_owned(), contents.into());
        let added_at = uploader.clock.monotonic();
        self.0.status.send_modify(|status| status.pending += 1);
        let object = NewObject { path, content_type, contents, added_at, reservation, memory };
        self.0.commands.send(Command::Add(object)).map_err(|_| {
            self.0.status.send_modify(|status| status.pending = status.pending.saturating_sub(1));
            AddError::Failed(STOPPED)
        })
    }

    /// The current state.
    pub fn status(&self) -> UploadStatus {
        self.0.status.borrow().clone()
    }

    /// Why the upload has failed for good.
    pub fn failure(&self) -> Option<StorageError> {
        self.0.status.borrow().failure.clone()
    }

    /// Waits until the storage has confirmed an object, which shows that the bucket can be used; or fails with the upload.
    pub async fn first_confirmed(&self) -> Result<(), StorageError> {
        self.wait(|status| status.confirmed > 0).await
    }

    /// Waits until everything that was added is confirmed, or fails with the upload.
    pub async fn drained(&self) -> Result<(), StorageError> {
        self.wait(|status| status.pending == 0).await
    }

    async fn wait(&self, is_reached: impl Fn(&UploadStatus) -> bool) -> Result<(), StorageError> {
        let mut status = self.0.status.subscribe();
        let has_ended = |status: &UploadStatus| status.failure.is_some() || status.is_stopped;
        let Ok(status) = status.wait_for(|status| has_ended(status) || is_reached(status)).await else {
            return Err(STOPPED);
        };
        match &status.failure {
            Some(failure) => Err(failure.clone()),
            None if is_reached(&status) => Ok(()),
            None => Err(STOPPED),
        }
    }

    /// Waits until everything is confirmed, and removes the recording from the spool. If the upload has failed, its files stay
    /// in the spool until their space is needed.
    pub async fn finish(&self) -> Result<(), StorageError> {
        loop {
            let drained = self.drained().await;
            if self.0.status.borrow().is_stopped {
                return drained;
            }
            let (closed, answer) = oneshot::channel();
            let _ = self.0.commands.send(Command::Close(closed));
            // Without an answer, the upload has ended before.
            if answer.await.unwrap_or(true) {
                if let Some(uploader) = self.0.uploader.upgrade() {
                    lock(&uploader.uploads).remove(&self.0.recording);
                }
                return drained;
            }
        }
    }

    /// Gives the upload up: it fails with `reason`, and its files stay in the spool until their space is needed.
    pub async fn abandon(&self, reason: StorageError) {
        let _ = self.0.commands.send(Command::Abandon(reason));
        // The failure is the reason.
        let _ = self.finish().await;
    }

    #[cfg(test)]
    fn wake(&self) {
        let _ = self.0.commands.send(Command::Wake);
    }
}

fn drop_of(full: SpoolFull) -> ObjectDrop {
    match full {
        SpoolFull::Disk => ObjectDrop::SpoolFull,
        SpoolFull::Account => ObjectDrop::AccountShare,
        SpoolFull::Memory => ObjectDrop::SpoolFailed,
    }
}

/// The error after the end of the uploader.
const STOPPED: StorageError = StorageError::new("ServiceUnavailable", "The server is stopping.", true);
