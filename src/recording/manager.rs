//! The recordings of this node: sinks of publishers, and a job for each recording that this node owns.
//!
//! The store is the source of truth. Publications start and stop recordings there; this compares it with its jobs, after
//! changes and once a second, starts jobs, tells them of changes, and claims recordings whose node has stopped.

use super::job;
use super::settings::Settings;
use super::threads::RecordingThreads;
use super::uploader::Uploader;
use crate::app::App;
use crate::app::recordings::{self, OpenRecording, Owner};
use crate::domain::admission::VerifiedToken;
use crate::domain::recording::Recording;
use crate::model::fault::Fault;
use crate::model::participant::ParticipantRecordingState;
use greenroom_media::{MediaHandle, MediaSink, OfferError, TransportId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Packets that wait for a recorder: about two seconds at 8.5 Mbit/s, with audio.
const SINK_CAPACITY: usize = 2048;
/// How often the store is compared with the jobs, changes aside; and how often at most.
const INTERVAL: Duration = Duration::from_secs(1);
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// How often recordings of deleted stages are forgotten.
const TRIM_INTERVAL: Duration = Duration::from_secs(3600);
/// How long [`Recordings::end_due`] waits: the storage of a recording may hang.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what a publisher has sent is kept after its end, for a recording whose start is being written.
const TAP_LIFETIME: Duration = Duration::from_secs(10);

/// The recordings of this node. Clones share them.
#[derive(Clone, Debug)]
pub struct Recordings(pub(super) Arc<Shared>);

/// What the jobs share.
#[derive(Debug)]
pub(super) struct Shared {
    pub app: Arc<App>,
    pub uploader: Uploader,
    pub settings: Settings,
    pub threads: RecordingThreads,
    /// Cancelled when the server stops: recordings are completed as far as they can be.
    pub stopping: CancellationToken,
    /// Publishing connections of this node, by id.
    publishers: Mutex<HashMap<String, Publisher>>,
    jobs: Mutex<HashMap<JobKey, JobHandle>>,
    tasks: TaskTracker,
}

/// Account, region and id.
type JobKey = (String, String, String);

/// A job that runs.
#[derive(Debug)]
struct JobHandle {
    /// Tells it what the store has; closed once it has ended.
    changes: watch::Sender<Option<Recording>>,
    /// Whether its end was awaited in vain.
    is_overdue: bool,
}

#[derive(Debug)]
struct Publisher {
    media: MediaHandle,
    transport: TransportId,
    /// Added before the first packet, if the stage records.
    tap: Option<MediaSink>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recordings {
    pub fn new(app: Arc<App>, uploader: Uploader, settings: Settings) -> Self {
        Recordings(Arc::new(Shared {
            app,
            uploader,
            settings,
            threads: RecordingThreads::default(),
            stopping: CancellationToken::new(),
            publishers: Mutex::default(),
            jobs: Mutex::default(),
            tasks: TaskTracker::new(),
        }))
    }

    /// A publisher has connected, and has not sent media yet. If its stage records, its packets are kept from the first one
    /// on, until a recording takes them; not those of a virtual participant, whose encoders are recorded. `removed` fails when the
    /// connection is gone.
    pub fn publisher_connected(
        &self,
        id: &str,
        token: Arc<VerifiedToken>,
        media: MediaHandle,
        transport: TransportId,
        mut removed: watch::Receiver<()>,
    ) {
        let (shared, id) = (self.0.clone(), id.to_owned());
        lock(&shared.publishers).insert(id.clone(), Publisher { media: media.clone(), transport, tap: None });
        self.0.tasks.spawn(async move {
            if !token.is_virtual()
                && shared.stage_records(&token).await
                && let Ok(sink) = media.add_sink(transport, SINK_CAPACITY).await
                && let Some(publisher) = lock(&shared.publishers).get_mut(&id)
            {
                publisher.tap = Some(sink);
            }
            tokio::select! {
                _ = removed.changed() => {}
                () = shared.stopping.cancelled() => {}
            }
            let has_tap = lock(&shared.publishers).get(&id).is_some_and(|publisher| publisher.tap.is_some());
            if has_tap {
                let _ = tokio::time::timeout(TAP_LIFETIME, shared.stopping.cancelled()).await;
            }
            lock(&shared.publishers).remove(&id);
        });
    }

    /// Runs until the server stops.
    pub async fn run(&self) {
        let shared = &self.0;
        let mut changes = shared.app.notifier().subscribe();
        let mut trimmed = None::<Instant>;
        loop {
            if trimmed.is_none_or(|at| at.elapsed() >= TRIM_INTERVAL) {
                trimmed = Some(Instant::now());
                if let Err(fault) = recordings::trim(&shared.app).await {
                    log_failure(&fault, "old recordings not forgotten");
                }
            }
            if let Err(fault) = shared.compare().await {
                log_failure(&fault, "recordings not read");
            }
            // Changes of stages are many, and matter only where there is something to record.
            let changed = async {
                match shared.is_idle() {
                    true => std::future::pending().await,
                    false => changes.changed().await,
                }
            };
            tokio::select! {
                () = shared.stopping.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
                () = changed => tokio::time::sleep(MIN_INTERVAL).await,
            }
        }
    }

    /// Completes the recordings of this node whose reconnect window is over by the clock, and waits until they have ended; for
    /// each once, and for a limited time.
    pub async fn end_due(&self) {
        let shared = &self.0;
        if shared.is_idle() {
            return;
        }
        let due = match shared.wake_due().await {
            Ok(due) => due,
            Err(fault) => return log_failure(&fault, "recordings not read"),
        };
        let ended = async {
            for (_, changes) in &due {
                changes.closed().await;
            }
        };
        if tokio::time::timeout(END_TIMEOUT, ended).await.is_err() {
            for (key, _) in due.iter().filter(|(_, changes)| !changes.is_closed()) {
                if let Some(job) = lock(&shared.jobs).get_mut(key) {
                    job.is_overdue = true;
                }
                tracing::warn!(
                    recording.id = key.2,
                    account = key.0,
                    reason = "timeout",
                    "end of a recording not awaited"
                );
            }
        }
    }

    /// Completes the recordings within `grace`, at the end of the server. What is not uploaded by then stays in the spool, and
    /// is completed by the next start or by another node.
    pub async fn stop(&self, grace: Duration) {
        let shared = &self.0;
        shared.stopping.cancel();
        shared.tasks.close();
        if tokio::time::timeout(grace, shared.tasks.wait()).await.is_err() {
            let left = lock(&shared.jobs).len();
            tracing::warn!(recordings = left, setting = "--shutdown-seconds", "recordings not completed at shutdown");
        }
        shared.uploader.stop();
    }
}

impl Shared {
    fn is_idle(&self) -> bool {
        lock(&self.jobs).is_empty() && lock(&self.publishers).values().all(|publisher| publisher.tap.is_none())
    }

    async fn stage_records(&self, token: &VerifiedToken) -> bool {
        match recordings::is_recorded(&self.app, token).await {
            Ok(records) => records,
            Err(fault) => {
                log_failure(&fault, "recording configuration not read");
                true
            }
        }
    }

    /// The media of a publishing connection; `None` if it is not on this node any more.
    pub async fn take_sink(&self, connection: &str) -> Result<Option<MediaSink>, OfferError> {
        if let Some(sink) = self.take_tap(connection) {
            return Ok(Some(sink));
        }
        let publisher = lock(&self.publishers).get(connection).map(|found| (found.media.clone(), found.transport));
        let Some((media, transport)) = publisher else { return Ok(None) };
        match media.add_sink(transport, SINK_CAPACITY).await {
            Ok(sink) => Ok(Some(sink)),
            Err(OfferError::PublisherNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The media of a publishing connection from its first packet on, unless they have been taken.
    pub fn take_tap(&self, connection: &str) -> Option<MediaSink> {
        lock(&self.publishers).get_mut(connection)?.tap.take()
    }

    /// Compares the recordings of the store with the jobs.
    async fn compare(self: &Arc<Self>) -> Result<(), Fault> {
        let open = recordings::open(&self.app).await?;
        self.sample(&open);
        self.notify_jobs(&open);
        for OpenRecording { scope, recording, owner } in open {
            let key = (scope.account.clone(), scope.region.clone(), recording.id.clone());
            if lock(&self.jobs).contains_key(&key) || owner == Owner::OtherNode {
                continue;
            }
            if owner == Owner::None {
                if !recordings::claim(&self.app, &scope, &recording.id).await? {
                    continue;
                }
                tracing::info!(
                    recording.id = recording.id,
                    stage.id = recording.session.stage,
                    participant.id = recording.participant,
                    "recording taken over"
                );
            }
            self.start_job(key, scope, recording);
        }
        self.discard_leftovers().await
    }

    fn start_job(self: &Arc<Self>, key: JobKey, scope: crate::model::arn::Scope, recording: Recording) {
        let (changes, changed) = watch::channel(Some(recording.clone()));
        lock(&self.jobs).insert(key.clone(), JobHandle { changes, is_overdue: false });
        let shared = self.clone();
        self.tasks.spawn(async move {
            let _ended = JobGuard(&shared, key);
            job::run(shared.clone(), scope, recording.id, changed).await;
        });
    }

    /// Lets the jobs of recordings whose reconnect window is over look at the clock. Returns those whose end can be awaited.
    async fn wake_due(&self) -> Result<Vec<(JobKey, watch::Sender<Option<Recording>>)>, Fault> {
        let open = recordings::open(&self.app).await?;
        let (now, jobs, mut due) = (self.app.clock().now(), lock(&self.jobs), Vec::new());
        for OpenRecording { scope, recording, .. } in open {
            if recording.state != ParticipantRecordingState::Stopping || !recording.is_window_over(now) {
                continue;
            }
            let key = (scope.account, scope.region, recording.id);
            let Some(job) = jobs.get(&key).filter(|job| !job.is_overdue) else { continue };
            job.changes.send_modify(|_| ());
            due.push((key, job.changes.clone()));
        }
        Ok(due)
    }

    /// Tells jobs what has changed.
    fn notify_jobs(&self, open: &[OpenRecording]) {
        let by_key: HashMap<_, _> = open
            .iter()
            .map(|open| ((open.scope.account.as_str(), open.scope.region.as_str(), open.recording.id.as_str()), open))
            .collect();
        for ((account, region, id), JobHandle { changes, .. }) in lock(&self.jobs).iter() {
            let now = by_key.get(&(account.as_str(), region.as_str(), id.as_str())).map(|open| &open.recording);
            changes.send_if_modified(|known| {
                let is_new = known.as_ref() != now;
                if is_new {
                    *known = now.cloned();
                }
                is_new
            });
        }
    }

    fn sample(&self, open: &[OpenRecording]) {
        use ParticipantRecordingState::{Active, Starting, Stopping};
        for state in [Starting, Active, Stopping] {
            let own = open.iter().filter(|open| open.owner == Owner::ThisNode && open.recording.state == state);
            self.app.metrics().recordings.set_state(state.as_str(), own.count());
        }
    }

    /// Deletes from the spool what a former process has left of recordings that have ended: another node has completed them
    /// without it.
    async fn discard_leftovers(&self) -> Result<(), Fault> {
        let leftovers = self.uploader.spool().leftovers();
        for leftover in leftovers {
            if !recordings::has_ended(&self.app, &leftover.recording).await? {
                continue;
            }
            tracing::warn!(
                recording.id = leftover.recording,
                objects = leftover.objects,
                bytes = leftover.bytes,
                reason = "the recording has ended without them",
                "objects in the spool discarded"
            );
            self.uploader.discard(&leftover.recording, leftover.destination).await;
        }
        Ok(())
    }
}

/// Removes a job when it has ended, even by a panic.
struct JobGuard<'a>(&'a Arc<Shared>, JobKey);

impl Drop for JobGuard<'_> {
    fn drop(&mut self) {
        lock(&self.0.jobs).remove(&self.1);
    }
}

/// Logs a failure of the store; at debug level while it is unavailable, which is logged elsewhere.
pub(super) fn log_failure(fault: &Fault, message: &'static str) {
    let error = fault as &dyn std::error::Error;
    if fault.is_unavailable() {
        tracing::debug!(error, "{message}");
    } else {
        tracing::warn!(error, "{message}");
    }
}
