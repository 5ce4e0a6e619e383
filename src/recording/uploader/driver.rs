//! The task of an upload: runs what its queue decides.

use super::queue::{UploadQueue, Verdict, is_index};
use super::{Command, Inner, NewObject, UploadStatus};
use crate::clock::Timestamp;
use crate::metrics::ObjectDrop;
use crate::recording::spool::files::{self, SpooledObject};
use crate::recording::spool::{Destination, MemoryReservation, Reservation, SpoolFolder};
use crate::storage::{Contents, Headers, StorageError};
use bytes::Bytes;
use greenroom_recording::layout;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Of objects that are replaced, and of others.
const REPLACED: &str = "no-cache";
const FINAL: &str = "max-age=31536000, immutable";

/// An object that is not confirmed.
#[derive(Debug)]
struct Pending {
    /// Its file name in the spool.
    name: String,
    path: String,
    content_type: String,
    bytes: u64,
    added_at: Timestamp,
    reservation: Reservation,
    /// Its contents, until they are in the spool.
    memory: Option<(Bytes, MemoryReservation)>,
    /// Whether they stay in memory, as they cannot be written to the spool.
    is_kept: bool,
}

/// A finished task.
#[derive(Debug)]
enum Done {
    /// A write to the file of a name.
    Written(u64, String, io::Result<()>),
    Uploaded(u64, Result<(), StorageError>),
    /// The file of an object is gone.
    Missing(u64),
}

/// The task of an upload.
#[derive(Debug)]
pub(super) struct Driver {
    uploader: Arc<Inner>,
    status: watch::Sender<UploadStatus>,
    folder: SpoolFolder,
    destination: Destination,
    queue: UploadQueue,
    /// By number.
    pending: BTreeMap<u64, Pending>,
    /// Objects that are not in the spool yet, in their order.
    unwritten: VecDeque<u64>,
    is_writing: bool,
    /// The number of objects that are kept in memory.
    kept: usize,
    /// Whether the failure of the spool is logged.
    has_spool_failed: bool,
    next_number: u64,
    tasks: JoinSet<Done>,
}

impl Driver {
    pub(super) fn new(
        uploader: Arc<Inner>,
        status: watch::Sender<UploadStatus>,
        folder: SpoolFolder,
        destination: Destination,
        is_started: bool,
        leftovers: Vec<(SpooledObject, Reservation)>,
    ) -> Self {
        let mut driver = Driver {
            queue: UploadQueue::new(uploader.retry, is_started),
            uploader,
            status,
            folder,
            destination,
            pending: BTreeMap::new(),
            unwritten: VecDeque::new(),
            is_writing: false,
            kept: 0,
            has_spool_failed: false,
            next_number: 0,
            tasks: JoinSet::new(),
        };
        leftovers.into_iter().for_each(|(object, reservation)| driver.add_leftover(object, reservation));
        driver
    }

    /// Runs until the upload is closed. With the end of the runtime, files stay in the spool.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            self.start_tasks();
            let pause = self.queue.next_at().map(|at| self.until(at));
            let has_tasks = !self.tasks.is_empty();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Add(object)) => self.add(object),
                    Some(Command::Close(closed)) => if self.close(closed).await { return },
                    Some(Command::Abandon(reason)) => self.fail(reason).await,
                    Some(Command::Stop) | None => return,
                    #[cfg(test)]
                    Some(Command::Wake) => {}
                },
                Some(done) = self.tasks.join_next(), if has_tasks => match done {
                    Ok(done) => self.done(done).await,
                    // A task is aborted only with the upload; it panics only by a bug, which is logged there.
                    Err(_) => self.fail(StorageError::new("InternalError", "The upload failed internally.", true)).await,
                },
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    fn until(&self, at: Timestamp) -> Duration {
        let left = at.0.saturating_sub(self.uploader.clock.monotonic().0);
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    fn add_leftover(&mut self, object: SpooledObject, reservation: Reservation) {
        let SpooledObject { number, content_type, path, bytes } = object;
        let Some(name) = files::name(number, &content_type, &path) else { return };
        self.next_number = number + 1;
        let superseded = self.queue.add(number, &path);
        self.queue.ready(number);
        let added_at = self.uploader.clock.monotonic();
        let pending = Pending { name, path, content_type, bytes, added_at, reservation, memory: None, is_kept: false };
        self.pending.insert(number, pending);
        self.supersede(superseded);
    }

    fn add(&mut self, object: NewObject) {
        let NewObject { path, content_type, contents, added_at, reservation, memory } = object;
        let number = self.next_number;
        let name = files::name(number, &content_type, &path);
        let has_failed = self.status.borrow().failure.is_some();
        let Some(name) = name.filter(|_| !has_failed) else {
            self.uploader.metrics.recording_storage.dropped(ObjectDrop::RecordingFailed);
            return;
        };
        self.next_number += 1;
        let superseded = self.queue.add(number, &path);
        let (bytes, memory) = (contents.len() as u64, Some((contents, memory)));
        let pending = Pending { name, path, content_type, bytes, added_at, reservation, memory, is_kept: false };
        self.pending.insert(number, pending);
        self.unwritten.push_back(number);
        self.supersede(superseded);
    }

    /// Removes an object of which a later version was added.
    fn supersede(&mut self, superseded: Option<u64>) {
        let Some(object) = superseded.and_then(|number| self.take(number)) else { return };
        self.uploader.metrics.recording_storage.dropped(ObjectDrop::Superseded);
        self.status.send_modify(|status| status.pending = status.pending.saturating_sub(1));
        if object.memory.is_none() {
            self.remove(object.name, Some(object.reservation));
        }
    }

    /// Takes an object out of those that are pending.
    fn take(&mut self, number: u64) -> Option<Pending> {
        let object = self.pending.remove(&number)?;
        self.kept -= usize::from(object.is_kept);
        Some(object)
    }

    /// Removes the file of an object that is not to be uploaded, and then frees its space.
    fn remove(&self, name: String, reservation: Option<Reservation>) {
        let folder = self.folder.clone();
        self.uploader.runtime.spawn(async move {
            if let Err(error) = folder.remove(name.clone()).await {
                tracing::warn!(file = %folder.file(&name).display(), reason = %error, "file in the recording spool not removed");
            }
            drop(reservation);
        });
    }

    /// Starts writes to the spool, one at a time, and uploads.
    fn start_tasks(&mut self) {
        while !self.is_writing
            && let Some(number) = self.unwritten.pop_front()
        {
            self.start_write(number);
        }
        while let Some(number) = self.queue.next(self.uploader.clock.monotonic()) {
            self.start_upload(number);
        }
    }

    fn start_write(&mut self, number: u64) {
        let Some(object) = self.pending.get_mut(&number) else { return };
        let Some((contents, _)) = &object.memory else { return };
        // An index in the spool names only objects that are in the spool, or stored: after a failed write, everything is kept
        // in memory until what is in memory is stored.
        if self.kept > 0 {
            object.is_kept = true;
            self.kept += 1;
            self.queue.ready(number);
            return;
        }
        let (folder, name, contents) = (self.folder.clone(), object.name.clone(), contents.clone());
        self.is_writing = true;
        self.tasks.spawn(async move {
            let written = folder.write(name.clone(), contents).await;
            Done::Written(number, name, written)
        });
    }

    fn start_upload(&mut self, number: u64) {
        let Some(object) = self.pending.get(&number) else { return };
        let uploader = self.uploader.clone();
        let (destination, bytes) = (self.destination.clone(), object.bytes);
        let key = format!("{}/{}", destination.prefix, object.path);
        let content_type = object.content_type.clone();
        let is_replaced = is_index(&object.path) || object.path == layout::LATEST_THUMBNAIL;
        let (folder, name) = (self.folder.clone(), object.name.clone());
        let contents = match &object.memory {
            Some((contents, _)) => Contents::Bytes(contents.clone()),
            None => Contents::File(folder.file(&name)),
        };
        self.tasks.spawn(async move {
            // Without a permit: a fault of one account must not delay the uploads of others.
            if let Err(error) = uploader.inject_fault(&destination, bytes).await {
                return Done::Uploaded(number, Err(error));
            }
            let bucket = destination.bucket;
            let (node, of_bucket) = (uploader.permits.clone(), uploader.bucket_permits(&bucket));
            // The bucket's first: who waits for it must not hold one of the node's.
            let _permits = (of_bucket.acquire_owned().await, node.acquire_owned().await);
            let cache_control = if is_replaced { REPLACED } else { FINAL };
            let headers = Headers { content_type: &content_type, cache_control };
            let is_file = matches!(contents, Contents::File(_));
            match uploader.storage.put(&bucket, &key, headers, contents).await {
                Ok(()) if is_file => {
                    if let Err(error) = folder.remove(name).await {
                        tracing::warn!(key, reason = %error, "uploaded file not removed from the recording spool");
                    }
                }
                Ok(()) => {}
                Err(error) if is_file && error.is_not_found() => return Done::Missing(number),
                Err(error) => return Done::Uploaded(number, Err(error)),
            }
            Done::Uploaded(number, Ok(()))
        });
    }

    async fn done(&mut self, done: Done) {
        match done {
            Done::Written(number, name, result) => self.written(number, name, result),
            Done::Uploaded(number, Ok(())) => self.confirmed(number),
            Done::Uploaded(number, Err(error)) => self.failed(number, error).await,
            Done::Missing(number) => {
                self.queue.remove(number);
                let Some(object) = self.take(number) else { return };
                self.uploader.metrics.recording_storage.dropped(ObjectDrop::SpoolMissing);
                self.status.send_modify(|status| status.pending = status.pending.saturating_sub(1));
                let file = self.folder.file(&object.name);
                tracing::error!(file = %file.display(), reason = "spool_missing", "file of a recording is gone");
            }
        }
    }

    fn written(&mut self, number: u64, name: String, result: io::Result<()>) {
        self.is_writing = false;
        let Some(object) = self.pending.get_mut(&number) else {
            // It was superseded meanwhile.
            self.remove(name, None);
            return;
        };
        self.queue.ready(number);
        let Err(error) = result else {
            object.memory = None;
            return;
        };
        object.is_kept = true;
        self.kept += 1;
        if !std::mem::replace(&mut self.has_spool_failed, true) {
            tracing::error!(
                recording.id = self.folder.id(),
                file = %self.folder.file(&name).display(),
                reason = %error,
                "recording spool not writable; objects are kept in memory until they are stored"
            );
        }
    }

    fn confirmed(&mut self, number: u64) {
        if self.queue.confirmed(number) {
            tracing::info!(
                recording.id = self.folder.id(),
                bucket = self.destination.bucket,
                "recording upload resumed"
            );
        }
        let Some(object) = self.take(number) else { return };
        if object.is_kept {
            // A write that took too long can have succeeded afterwards.
            self.remove(object.name.clone(), None);
        }
        let delay = self.uploader.clock.monotonic().0.saturating_sub(object.added_at.0);
        let delay = Duration::from_millis(u64::try_from(delay).unwrap_or(0));
        self.uploader.metrics.recording_storage.uploaded(object.bytes, delay);
        // The space is free before the status says so.
        let bytes = object.bytes;
        drop(object);
        self.status.send_modify(|status| {
            status.confirmed += 1;
            status.confirmed_bytes += bytes;
            status.pending = status.pending.saturating_sub(1);
            status.failing = None;
        });
    }

    async fn failed(&mut self, number: u64, error: StorageError) {
        self.uploader.metrics.recording_storage.upload_failed(error.label());
        let now = self.uploader.clock.monotonic();
        let bytes = self.uploader.ids.entropy();
        let random = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let verdict = self.queue.failed(number, &error, now, random);
        let is_first = self.status.borrow().failing.is_none();
        match verdict {
            Verdict::Retry(_) | Verdict::Known => {
                if is_first {
                    tracing::warn!(
                        recording.id = self.folder.id(),
                        bucket = self.destination.bucket,
                        code = %error.code,
                        reason = %error.reason,
                        detail = %error.detail,
                        "recording upload failed; retrying"
                    );
                }
                self.status.send_modify(|status| {
                    status.failures += 1;
                    status.failing = Some(error);
                });
            }
            Verdict::Failed => self.fail(error).await,
        }
    }

    /// Fails the upload: nothing is uploaded any more, and what is in the spool is kept for the operator.
    async fn fail(&mut self, error: StorageError) {
        if self.status.borrow().failure.is_some() {
            return;
        }
        self.tasks.shutdown().await;
        (self.is_writing, self.kept) = (false, 0);
        self.queue = UploadQueue::new(Duration::ZERO, true);
        self.unwritten.clear();
        let objects = std::mem::take(&mut self.pending);
        let count = objects.len();
        for _ in 0..count {
            self.uploader.metrics.recording_storage.dropped(ObjectDrop::RecordingFailed);
        }
        let in_spool = objects.into_values().filter(|object| object.memory.is_none());
        let kept: Vec<_> = in_spool.map(|object| object.reservation).collect();
        tracing::error!(
            recording.id = self.folder.id(),
            bucket = self.destination.bucket,
            code = %error.code,
            reason = %error.reason,
            detail = %error.detail,
            objects = count,
            kept = kept.len(),
            "recording upload given up"
        );
        if let Err(error) = self.folder.keep_failed(error.to_string(), kept).await {
            tracing::warn!(recording.id = self.folder.id(), reason = %error, "recording spool not writable");
        }
        self.status.send_modify(|status| {
            status.pending = 0;
            status.failing = None;
            status.failure = Some(error);
        });
    }

    /// Closes the upload if nothing is pending; returns whether it is closed.
    async fn close(&mut self, closed: oneshot::Sender<bool>) -> bool {
        let has_failed = self.status.borrow().failure.is_some();
        let can_close = has_failed || self.pending.is_empty();
        if can_close
            && !has_failed
            && let Err(error) = self.folder.remove_all().await
        {
            tracing::warn!(recording.id = self.folder.id(), reason = %error, "folder of the recording spool not removed");
        }
        // The caller may be gone.
        let _ = closed.send(can_close);
        can_close
    }
}
