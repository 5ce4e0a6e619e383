//! A recording of this node, from its first publication to its end: writes publications, waits for the reconnect window,
//! closes the playlist, and reports.

mod completion;

use super::manager::{Shared, log_failure};
use super::publication::{Publication, WriteError, Written};
use super::spool::Destination;
use super::uploader::Upload;
use crate::app::recordings::{self, Reported};
use crate::clock::Timestamp;
use crate::domain::event::Failure;
use crate::domain::recording::{Recording, RecordingEvent, RecordingReport};
use crate::model::arn::Scope;
use crate::model::participant::ParticipantRecordingState;
use crate::model::stage::StageArn;
use crate::storage::StorageError;
use greenroom_media::MediaSink;
use greenroom_recording::metadata::Metadata;
use greenroom_recording::{RecordError, Resume, layout};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How long a job waits for a change before it looks again.
const POLL: Duration = Duration::from_millis(500);
/// Attempts to receive the media of a publisher that is connected.
const MAX_ATTEMPTS: u32 = 20;
/// Delay before a report is written again; doubles up to the maximum.
const RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);

/// Logs a change of a recording.
macro_rules! log {
    ($level:ident, $recording:expr, $($rest:tt)+) => {
        tracing::$level!(
            recording.id = $recording.id,
            stage.id = $recording.session.stage,
            participant.id = $recording.participant,
            bucket = $recording.bucket,
            prefix = $recording.prefix,
            $($rest)+
        )
    };
}

/// What to do after a step.
enum Step {
    Again,
    Wait,
    Done,
}

/// This node does not own the recording any more.
struct Lost;

/// Why a step did not succeed.
enum StepError {
    Lost,
    Failed(Failure),
}

impl From<Lost> for StepError {
    fn from(_: Lost) -> Self {
        StepError::Lost
    }
}

impl From<StorageError> for StepError {
    fn from(error: StorageError) -> Self {
        StepError::Failed(Failure { error_code: error.code.into_owned(), reason: error.reason.into_owned() })
    }
}

impl From<WriteError> for StepError {
    fn from(error: WriteError) -> Self {
        let (error_code, reason) = error.failure();
        StepError::Failed(Failure { error_code, reason })
    }
}

impl From<RecordError> for StepError {
    fn from(error: RecordError) -> Self {
        WriteError::from(error).into()
    }
}

struct Job {
    shared: Arc<Shared>,
    scope: Scope,
    id: String,
    changes: watch::Receiver<Option<Recording>>,
    /// The playlists as they were stored last, by this job.
    playlist: Option<String>,
    multivariant: Option<String>,
    attempts: u32,
    /// Whether this job has written a publication; otherwise, a former process may have.
    has_written: bool,
}

/// Runs a recording until it has ended, or this node does not own it any more.
pub(super) async fn run(shared: Arc<Shared>, scope: Scope, id: String, changes: watch::Receiver<Option<Recording>>) {
    let mut job =
        Job { shared, scope, id, changes, playlist: None, multivariant: None, attempts: 0, has_written: false };
    loop {
        let recording = match recordings::get(&job.shared.app, &job.scope, &job.id).await {
            Ok(recording) => recording,
            Err(fault) => {
                log_failure(&fault, "recording not read");
                tokio::time::sleep(POLL).await;
                continue;
            }
        };
        let Some(recording) = recording.filter(|recording| !recording.has_ended()) else {
            return job.give_up("the recording is deleted or has ended").await;
        };
        if recording.node.as_deref() != Some(&*job.shared.app.node()) {
            return job.leave_to_others(&recording).await;
        }
        let step = match job.step(&recording).await {
            Ok(step) => step,
            Err(StepError::Lost) => Step::Again,
            Err(StepError::Failed(failure)) => {
                job.fail(&recording, failure).await;
                Step::Again
            }
        };
        match step {
            Step::Again => {}
            Step::Wait => {
                let _ = tokio::time::timeout(POLL, job.changes.changed()).await;
            }
            Step::Done => return,
        }
    }
}

impl Job {
    async fn step(&mut self, recording: &Recording) -> Result<Step, StepError> {
        use ParticipantRecordingState::{Active, Starting, Stopping};
        let is_stopping = self.shared.stopping.is_cancelled();
        match recording.state {
            Starting | Active if is_stopping => {
                self.report(recording, RecordingReport::Unpublished).await?;
                Ok(Step::Again)
            }
            Starting | Active => self.record_or_wait(recording).await,
            Stopping => {
                if let Some(sink) = self.shared.take_tap(&recording.connection) {
                    self.record(recording, sink).await?;
                    return Ok(Step::Again);
                }
                self.complete(recording).await
            }
            _ => Ok(Step::Done),
        }
    }

    async fn record_or_wait(&mut self, recording: &Recording) -> Result<Step, StepError> {
        match self.shared.take_sink(&recording.connection).await {
            Ok(Some(sink)) => {
                self.attempts = 0;
                self.record(recording, sink).await?;
                return Ok(Step::Again);
            }
            Ok(None) => {}
            Err(error) if self.attempts < MAX_ATTEMPTS => {
                self.attempts += 1;
                tracing::debug!(recording.id = self.id, reason = %error, "media of a publisher not received; retrying");
                return Ok(Step::Wait);
            }
            Err(error) => {
                tracing::warn!(recording.id = self.id, reason = %error, "media of a publisher cannot be received");
                return Err(WriteError::Internal.into());
            }
        }
        // Its connection has ended, or its node has stopped; the store is told of that by others, in most cases.
        match recordings::is_publishing(&self.shared.app, &self.scope, recording).await {
            Ok(false) => {
                self.report(recording, RecordingReport::Unpublished).await?;
                Ok(Step::Again)
            }
            Ok(true) => Ok(Step::Wait),
            Err(fault) => {
                log_failure(&fault, "participant of a recording not read");
                Ok(Step::Wait)
            }
        }
    }

    /// Writes a publication to its end.
    async fn record(&mut self, recording: &Recording, sink: MediaSink) -> Result<(), StepError> {
        let upload = self.upload(recording)?;
        let resume = self.resume(recording, &upload).await?;
        let (started, mut has_started) = oneshot::channel();
        let (finished, mut written) = oneshot::channel();
        let stop = CancellationToken::new();
        self.has_written = true;
        let app = &self.shared.app;
        let publication = Publication {
            sink,
            config: self.shared.settings.recorder(&recording.config),
            resume,
            upload: upload.clone(),
            clock: app.clock().clone(),
            metrics: app.metrics().clone(),
            stop: stop.clone(),
            started: Some(started),
        };
        let spawned = self.shared.threads.spawn(move || async move {
            // The job may have been lost.
            let _ = finished.send(Box::pin(publication.write()).await);
        });
        if spawned.is_err() {
            return Err(WriteError::Internal.into());
        }
        // Dropped with this future: a publication does not outlive its job.
        let _guard = stop.clone().drop_guard();
        let (mut is_waiting, mut confirming) = (true, None);
        let written = loop {
            let confirmed = async {
                match confirming {
                    Some(at) => upload.first_confirmed().await.map(|()| at),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                written = &mut written => break written.map_err(|_| StepError::from(WriteError::Internal))?,
                started = &mut has_started, if is_waiting => {
                    is_waiting = false;
                    if let Ok(at) = started {
                        confirming = self.begin(recording, &upload, at).await?;
                    }
                }
                confirmed = confirmed => {
                    self.report(recording, RecordingReport::Started { at: confirmed? }).await?;
                    confirming = None;
                }
                () = self.is_over(), if !stop.is_cancelled() => stop.cancel(),
            }
        };
        if is_waiting && let Ok(at) = has_started.try_recv() {
            confirming = self.begin(recording, &upload, at).await?;
        }
        self.written(recording, &upload, written, confirming).await
    }

    /// Media are written. Returns since when, if the storage has to confirm that.
    async fn begin(
        &self,
        recording: &Recording,
        upload: &Upload,
        at: Timestamp,
    ) -> Result<Option<Timestamp>, StepError> {
        if recording.started_at.is_some() {
            self.report(recording, RecordingReport::Started { at }).await?;
            return Ok(None);
        }
        let arn = StageArn::new(&self.scope, &recording.session.stage);
        let object = self.metadata(recording, &arn, Some(at)).started();
        upload.add(object).map_err(WriteError::from)?;
        Ok(Some(at))
    }

    /// Reports what was written of a publication that has ended.
    async fn written(
        &mut self,
        recording: &Recording,
        upload: &Upload,
        written: Written,
        confirming: Option<Timestamp>,
    ) -> Result<(), StepError> {
        let Written { duration, next_thumbnail, playlist, multivariant, failure } = written;
        (self.playlist, self.multivariant) = (playlist, multivariant);
        let (duration_ms, next_thumbnail) = (millis(duration), i64::from(next_thumbnail));
        self.report(recording, RecordingReport::Written { duration_ms, next_thumbnail }).await?;
        if let Some(at) = confirming.filter(|_| failure.is_none()) {
            upload.first_confirmed().await?;
            self.report(recording, RecordingReport::Started { at }).await?;
        }
        failure.map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Returns once the publication that is written is over in the store, or the server stops.
    async fn is_over(&self) {
        let mut changes = self.changes.clone();
        let changed = async {
            // Only a fresh read decides: what the manager has read may be older than this publication.
            while changes.changed().await.is_ok() {
                let Ok(recording) = recordings::get(&self.shared.app, &self.scope, &self.id).await else { continue };
                let node = self.shared.app.node();
                let goes_on = recording.is_some_and(|recording| {
                    use ParticipantRecordingState::{Active, Starting};
                    matches!(recording.state, Starting | Active) && recording.node.as_deref() == Some(&*node)
                });
                if !goes_on {
                    return;
                }
            }
        };
        tokio::select! {
            () = changed => {}
            () = self.shared.stopping.cancelled() => {}
        }
    }

    /// What earlier publications have written: as this job knows it, or as it is stored.
    async fn resume(&self, recording: &Recording, upload: &Upload) -> Result<Resume, StepError> {
        let next_thumbnail = u32::try_from(recording.next_thumbnail).unwrap_or(0);
        let mut resume =
            Resume { playlist: self.playlist.clone(), multivariant: self.multivariant.clone(), next_thumbnail };
        if resume.playlist.is_none() && recording.started_at.is_some() {
            upload.drained().await?;
            resume.playlist = self.stored(recording, layout::PLAYLIST).await?;
            resume.multivariant = self.stored(recording, layout::MULTIVARIANT).await?;
            resume.next_thumbnail = resume.next_thumbnail.max(self.stored_thumbnails(recording).await?);
        }
        Ok(resume)
    }

    /// The number after the last thumbnail that is stored.
    async fn stored_thumbnails(&self, recording: &Recording) -> Result<u32, StepError> {
        if self.shared.settings.recorder(&recording.config).thumbnails.is_none() {
            return Ok(0);
        }
        let first = key(recording, &layout::thumbnail(0));
        let folder = first.trim_end_matches("0.jpg");
        let stored = Box::pin(self.shared.uploader.storage().list(&recording.bucket, folder)).await?;
        let number = |key: &str| key.strip_prefix(folder)?.strip_suffix(".jpg")?.parse::<u32>().ok();
        Ok(stored.iter().filter_map(|object| number(&object.key)).max().map_or(0, |last| last.saturating_add(1)))
    }

    /// The text of an object, if it is stored.
    async fn stored(&self, recording: &Recording, path: &str) -> Result<Option<String>, StorageError> {
        let mut delay = RETRY_DELAY;
        let deadline = tokio::time::Instant::now() + self.shared.uploader.retry();
        loop {
            match Box::pin(self.shared.uploader.storage().get(&recording.bucket, &key(recording, path))).await {
                Ok(contents) => return Ok(Some(String::from_utf8_lossy(&contents).into_owned())),
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) if error.retryable && tokio::time::Instant::now() < deadline => {
                    tracing::warn!(recording.id = self.id, path, reason = %error, "recording not read; retrying");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(MAX_RETRY_DELAY);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn metadata<'a>(&self, recording: &'a Recording, arn: &'a StageArn, started_at: Option<Timestamp>) -> Metadata<'a> {
        Metadata {
            stage_arn: arn,
            session_id: &recording.current_session,
            participant_id: &recording.participant,
            started_at: started_at.map(Timestamp::utc),
            config: self.shared.settings.recorder(&recording.config),
        }
    }

    fn destination(&self, recording: &Recording) -> Destination {
        Destination {
            account: self.scope.account.clone(),
            region: self.scope.region.clone(),
            bucket: recording.bucket.clone(),
            prefix: recording.prefix.clone(),
        }
    }

    fn upload(&self, recording: &Recording) -> Result<Upload, StepError> {
        let upload = self.shared.uploader.open(&self.id, self.destination(recording), recording.started_at.is_some());
        upload.map_err(|_| WriteError::Internal.into())
    }

    /// Writes a report, with retries while the store fails.
    async fn report(&self, recording: &Recording, report: RecordingReport) -> Result<Recording, Lost> {
        let mut delay = RETRY_DELAY;
        loop {
            match Box::pin(recordings::report(&self.shared.app, &self.scope, recording, report.clone())).await {
                Ok(Reported::Written(after, event)) => {
                    if let Some(event) = event {
                        self.announce(&after, event);
                    }
                    return Ok(*after);
                }
                Ok(Reported::Lost) => return Err(Lost),
                Err(fault) => {
                    log_failure(&fault, "report of a recording not written; retrying");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(MAX_RETRY_DELAY);
                }
            }
        }
    }

    /// Logs and counts an event.
    fn announce(&self, recording: &Recording, event: RecordingEvent) {
        let (metrics, duration_ms) = (&self.shared.app.metrics().recordings, recording.duration_ms);
        match event {
            RecordingEvent::Start => {
                metrics.started();
                log!(info, recording, "recording started");
            }
            RecordingEvent::End => {
                metrics.ended();
                log!(info, recording, duration_ms, "recording ended");
            }
            RecordingEvent::StartFailure | RecordingEvent::EndFailure => {
                let failure = recording.failure.as_ref();
                let code = failure.map_or("", |failure| &failure.error_code);
                let reason = failure.map_or("", |failure| &failure.reason);
                metrics.failed(code);
                log!(warn, recording, duration_ms, code, reason, "recording failed");
            }
        }
    }

    /// The recording is over for this node: nothing more is uploaded.
    async fn give_up(&self, reason: &'static str) {
        if let Some(upload) = self.shared.uploader.opened(&self.id) {
            if upload.status().pending > 0 {
                tracing::warn!(recording.id = self.id, reason, "upload of a recording given up");
            }
            upload.abandon(StorageError::gone()).await;
        }
    }

    /// Another node owns the recording, or none: what is not uploaded must not overwrite what the next owner writes.
    async fn leave_to_others(&self, recording: &Recording) {
        log!(warn, recording, reason = "another node owns it", "recording lost");
        if recording.node.is_some() {
            self.give_up("another node owns the recording").await;
        }
    }
}

fn key(recording: &Recording, path: &str) -> String {
    format!("{}/{path}", recording.prefix)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
