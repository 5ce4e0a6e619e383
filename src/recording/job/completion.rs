//! The end of a recording: after its reconnect window, or because it has failed.

use super::{Job, POLL, Step, StepError, key, millis};
use crate::app::recordings;
use crate::domain::event::Failure;
use crate::domain::recording::{Recording, RecordingReport};
use crate::model::stage::StageArn;
use crate::recording::manager::log_failure;
use crate::recording::publication::WriteError;
use crate::recording::uploader::Upload;
use crate::storage::{Contents, Headers, StorageError};
use greenroom_recording::metadata::End;
use greenroom_recording::{ClosedPlaylist, Object, close_playlist, layout};
use std::time::Duration;

/// Time limit of writing `recording-failed.json`: its storage may be what has failed.
const FAILED_FILE_TIMEOUT: Duration = Duration::from_secs(10);

impl Job {
    /// After the last publication: waits for the reconnect window and the uploads, and completes the recording.
    pub(super) async fn complete(&mut self, recording: &Recording) -> Result<Step, StepError> {
        let upload = self.upload(recording)?;
        if let Ok(drained) = tokio::time::timeout(POLL, upload.drained()).await {
            drained?;
        } else {
            return Ok(Step::Again);
        }
        if recording.started_at.is_none() && !self.has_written && self.find_start(recording, &upload).await? {
            return Ok(Step::Again);
        }
        if recording.is_window_over(self.shared.app.clock().now()) {
            self.end(recording, &upload).await?;
            return Ok(Step::Again);
        }
        if !recording.uploaded {
            self.report(recording, RecordingReport::Uploaded).await?;
        }
        if self.shared.stopping.is_cancelled() {
            // The rest of the window is for the next start, or for another node.
            upload.finish().await?;
            if let Err(fault) = recordings::release(&self.shared.app, &self.scope, &self.id).await {
                log_failure(&fault, "recording not released");
            }
            return Ok(Step::Done);
        }
        Ok(Step::Wait)
    }

    /// For a recording that a former process has left before it has reported the start: reports it if media are stored.
    async fn find_start(&self, recording: &Recording, upload: &Upload) -> Result<bool, StepError> {
        let at = recording.created_at;
        if self.stored(recording, layout::STARTED).await?.is_none() {
            if self.stored(recording, layout::PLAYLIST).await?.is_none() {
                return Ok(false);
            }
            self.begin(recording, upload, at).await?;
            upload.drained().await?;
        }
        self.report(recording, RecordingReport::Started { at }).await?;
        Ok(true)
    }

    /// Closes the playlist and writes the last files.
    async fn end(&mut self, recording: &Recording, upload: &Upload) -> Result<(), StepError> {
        let duration_ms = self.close(recording, upload).await?;
        if recording.started_at.is_some() {
            let arn = StageArn::new(&self.scope, &recording.session.stage);
            let end = End { at: end_time(recording), duration_ms: duration_ms.unsigned_abs(), failure: None };
            let object = self.metadata(recording, &arn, recording.started_at).ended(end);
            upload.add(object).map_err(WriteError::from)?;
        }
        upload.finish().await?;
        self.report(recording, RecordingReport::Ended { duration_ms }).await?;
        Ok(())
    }

    /// Closes the playlist, if there is one. Returns the length of the recording in milliseconds.
    async fn close(&mut self, recording: &Recording, upload: &Upload) -> Result<i64, StepError> {
        let playlist = match self.playlist.take() {
            Some(playlist) => Some(playlist),
            None => self.stored(recording, layout::PLAYLIST).await?,
        };
        let Some(playlist) = playlist else { return Ok(recording.duration_ms) };
        let ClosedPlaylist { text, duration } = close_playlist(&playlist)?;
        upload
            .add(Object {
                path: layout::PLAYLIST.to_owned(),
                content_type: layout::PLAYLIST_TYPE,
                contents: text.into_bytes(),
            })
            .map_err(WriteError::from)?;
        Ok(millis(duration))
    }

    /// The recording has failed: closes what there is, as far as the storage takes it.
    pub(super) async fn fail(&mut self, recording: &Recording, failure: Failure) {
        let duration_ms = match recordings::get(&self.shared.app, &self.scope, &self.id).await {
            Ok(Some(now)) => now.duration_ms,
            _ => recording.duration_ms,
        };
        let arn = StageArn::new(&self.scope, &recording.session.stage);
        let at = recording.unpublished_at.unwrap_or_else(|| self.shared.app.clock().now()).utc();
        let end = End { at, duration_ms: duration_ms.unsigned_abs(), failure: Some(&failure.reason) };
        let file = self.metadata(recording, &arn, recording.started_at).ended(end);
        let written = tokio::time::timeout(FAILED_FILE_TIMEOUT, self.write_last(recording, file)).await;
        if let Err(error) = written.unwrap_or(Err(None)) {
            let reason = error.map_or_else(|| "timeout".to_owned(), |error| error.to_string());
            tracing::warn!(recording.id = self.id, reason, "recording-failed.json not written");
        }
        // Lost: its new owner decides.
        let _ = self.report(recording, RecordingReport::Failed { failure, duration_ms }).await;
    }

    /// Writes the last file of a recording that has failed. `None`: the upload has failed before.
    async fn write_last(&mut self, recording: &Recording, file: Object) -> Result<(), Option<StorageError>> {
        let Ok(upload) = self.upload(recording) else { return Err(None) };
        if upload.failure().is_none() {
            // What cannot be closed stays as it is.
            let _ = self.close(recording, &upload).await;
            if upload.add(file.clone()).is_ok() && upload.finish().await.is_ok() {
                return Ok(());
            }
        }
        let _ = upload.finish().await;
        let headers = Headers { content_type: file.content_type, cache_control: "no-cache" };
        let (bytes, contents) = (file.contents.len() as u64, Contents::Bytes(file.contents.into()));
        let uploader = &self.shared.uploader;
        uploader.inject_fault(&self.destination(recording), bytes).await.map_err(Some)?;
        let key = key(recording, &file.path);
        Box::pin(uploader.storage().put(&recording.bucket, &key, headers, contents)).await.map_err(Some)
    }
}

/// When the last publication ended.
fn end_time(recording: &Recording) -> chrono::DateTime<chrono::Utc> {
    recording.unpublished_at.unwrap_or(recording.created_at).utc()
}
