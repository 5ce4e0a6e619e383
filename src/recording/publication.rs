//! Writes a publication: from the packets of a sink to objects for the upload. Runs on a recording thread.

use super::uploader::{AddError, Upload};
use crate::clock::{Clock, Timestamp};
use crate::metrics::Metrics;
use crate::storage::StorageError;
use greenroom_media::{MediaKind, MediaPacket, MediaSink};
use greenroom_recording::{MediaType, Output, RecordError, Recorder, RecorderConfig, RecorderStats, Resume, layout};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often a recorder is told the time.
const TICK: Duration = Duration::from_millis(250);
/// Packets that are taken at once, before other recordings of the thread.
const BATCH: usize = 64;
/// After so long without a complete picture, a recording counts as started.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// A publication to write.
pub struct Publication {
    pub sink: MediaSink,
    pub config: RecorderConfig,
    pub resume: Resume,
    pub upload: Upload,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// Ends it, after everything that has arrived.
    pub stop: CancellationToken,
    /// Sent once, when media are written: since when.
    pub started: Option<oneshot::Sender<Timestamp>>,
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// Length of the recording, with its earlier publications.
    pub duration: Duration,
    pub next_thumbnail: u32,
    /// The last media and multivariant playlists, as they were stored.
    pub playlist: Option<String>,
    pub multivariant: Option<String>,
    pub failure: Option<WriteError>,
}

/// Why a publication cannot be recorded any further.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Store(#[from] AddError),
    /// The thread has panicked, or there is none.
    #[error("the recorder failed internally")]
    Internal,
}

impl WriteError {
    /// Code and reason for events.
    pub fn failure(&self) -> (String, String) {
        match self {
            WriteError::Record(error @ RecordError::UnsupportedCodec) => {
                ("ValidationException".into(), error.to_string())
            }
            WriteError::Store(AddError::Failed(StorageError { code, reason, .. })) => {
                (code.to_string(), reason.to_string())
            }
            WriteError::Store(error @ AddError::Full(_)) => ("ServiceUnavailable".into(), error.to_string()),
            WriteError::Record(_) | WriteError::Store(AddError::InvalidPath) | WriteError::Internal => {
                ("InternalServerException".into(), self.to_string())
            }
        }
    }
}

impl Publication {
    /// Writes until the publisher is gone or the recording is stopped.
    pub async fn write(mut self) -> Written {
        let (now, utc) = (Instant::now(), self.clock.now().utc());
        let resume = std::mem::take(&mut self.resume);
        let mut written = Written {
            duration: Duration::ZERO,
            next_thumbnail: resume.next_thumbnail,
            playlist: resume.playlist.clone(),
            multivariant: resume.multivariant.clone(),
            failure: None,
        };
        let recorder = Recorder::new(self.config, self.sink.tracks(), now, utc, resume);
        let mut recorder = match recorder {
            Ok(recorder) => Box::new(recorder),
            Err(error) => return Written { failure: Some(error.into()), ..written },
        };
        let (mut counted, mut start) = (Counted::default(), Start::new(&self.sink, self.config));
        let mut failure = self.run(&mut recorder, &mut written, &mut counted, &mut start).await.err();
        if failure.is_none() {
            let finished = recorder.finish(Instant::now()).map_err(WriteError::from);
            let stored = self.take_output(&mut recorder, &mut written);
            if let (Ok(true), Some((at, _))) = (&stored, start.first) {
                self.has_started(at);
            }
            failure = finished.and(stored.map(drop)).err();
        }
        self.count(&recorder, &mut counted);
        written.failure = failure;
        written.duration = recorder.duration();
        written.next_thumbnail = recorder.next_thumbnail().max(written.next_thumbnail);
        written
    }

    async fn run(
        &mut self,
        recorder: &mut Recorder,
        written: &mut Written,
        counted: &mut Counted,
        start: &mut Start,
    ) -> Result<(), WriteError> {
        let stop = self.stop.clone();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut advanced = Instant::now();
        loop {
            let packet = tokio::select! {
                packet = self.sink.recv() => Some(packet),
                _ = ticks.tick() => None,
                () = stop.cancelled() => break,
            };
            let is_over = match packet {
                Some(Some(packet)) => {
                    self.push(recorder, packet, start)?;
                    for _ in 1..BATCH {
                        let Some(packet) = self.sink.try_recv() else { break };
                        self.push(recorder, packet, start)?;
                    }
                    false
                }
                Some(None) => true,
                None => false,
            };
            let now = Instant::now();
            if now.saturating_duration_since(advanced) >= TICK {
                advanced = now;
                recorder.advance(now)?;
                self.count(recorder, counted);
            }
            let has_stored = self.take_output(recorder, written)?;
            if let Some(at) = start.is_complete(recorder, has_stored, now) {
                self.has_started(at);
            }
            if is_over {
                return Ok(());
            }
            // Between two batches, the other recordings of this thread have their turn.
            tokio::task::yield_now().await;
        }
        while let Some(packet) = self.sink.try_recv() {
            self.push(recorder, packet, start)?;
        }
        Ok(())
    }

    fn has_started(&mut self, at: Timestamp) {
        if let Some(started) = self.started.take() {
            // The job may be gone.
            let _ = started.send(at);
        }
    }

    fn push(&self, recorder: &mut Recorder, packet: MediaPacket, start: &mut Start) -> Result<(), RecordError> {
        let now = Instant::now();
        start.first.get_or_insert_with(|| (self.clock.now(), now));
        recorder.push(now, packet)
    }

    /// Hands on what the recorder has written. Returns whether it was an object.
    fn take_output(&self, recorder: &mut Recorder, written: &mut Written) -> Result<bool, WriteError> {
        let mut has_stored = false;
        while let Some(output) = recorder.poll_output() {
            let object = match output {
                Output::RequestKeyFrame => {
                    self.sink.request_key_frame();
                    continue;
                }
                Output::Store(object) => object,
            };
            let kept = match object.path.as_str() {
                layout::PLAYLIST => Some(&mut written.playlist),
                layout::MULTIVARIANT => Some(&mut written.multivariant),
                _ => None,
            };
            if let Some(kept) = kept {
                *kept = String::from_utf8(object.contents.clone()).ok();
            }
            self.upload.add(object)?;
            has_stored = true;
        }
        Ok(has_stored)
    }

    /// Adds what was counted since the last call to the metrics.
    fn count(&self, recorder: &Recorder, counted: &mut Counted) {
        let (stats, dropped) = (recorder.stats(), self.sink.dropped());
        let (metrics, before) = (&self.metrics.recordings, &counted.stats);
        metrics.packets_dropped("queue_full", dropped.saturating_sub(counted.dropped));
        metrics.packets_dropped("lost", stats.packets_lost.saturating_sub(before.packets_lost));
        metrics.packets_dropped("late", stats.packets_late.saturating_sub(before.packets_late));
        metrics.packets_dropped("invalid", stats.packets_invalid.saturating_sub(before.packets_invalid));
        metrics.frames_dropped("loss", stats.frames_dropped_loss.saturating_sub(before.frames_dropped_loss));
        metrics.frames_dropped("invalid", stats.frames_dropped_invalid.saturating_sub(before.frames_dropped_invalid));
        metrics.frames_dropped("replaced", stats.frames_replaced.saturating_sub(before.frames_replaced));
        metrics.repaired("timestamp", stats.timestamps_repaired.saturating_sub(before.timestamps_repaired));
        metrics.repaired("thumbnail", stats.thumbnails_failed.saturating_sub(before.thumbnails_failed));
        metrics.frames(stats.frames_recorded.saturating_sub(before.frames_recorded));
        *counted = Counted { stats, dropped };
    }
}

/// What is in the metrics already.
#[derive(Default)]
struct Counted {
    stats: RecorderStats,
    dropped: u64,
}

/// Whether media are written: a picture, where there is video.
struct Start {
    has_video: bool,
    first: Option<(Timestamp, Instant)>,
}

impl Start {
    fn new(sink: &MediaSink, config: RecorderConfig) -> Self {
        let has_video = sink.tracks().iter().any(|track| track.kind == MediaKind::Video);
        Start { has_video: has_video && config.media == MediaType::AudioVideo, first: None }
    }

    /// When the first packet came, once media are written.
    fn is_complete(&self, recorder: &Recorder, has_stored: bool, now: Instant) -> Option<Timestamp> {
        let (at, since) = self.first?;
        let is_late = now.saturating_duration_since(since) >= START_TIMEOUT;
        (has_stored || !self.has_video || recorder.stats().frames_recorded > 0 || is_late).then_some(at)
    }
}
