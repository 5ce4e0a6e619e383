//! Publishing: media of the encoder become packets of the publication, until either side ends it.

use super::admission::Publication;
use super::connection::Connection;
use super::end::End;
use super::{Shared, software};
use crate::connections::EncoderEnd::Stopping;
use greenroom_ingest::{DropReason, Ingest, IngestError, Settings, Statistics};
use greenroom_rtmp::{Event, Metadata};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The media of an encoder that publishes.
struct Media<'a> {
    shared: &'a Shared,
    publication: &'a mut dyn Publication,
    /// Id of the participant.
    participant: &'a str,
    ingest: Ingest,
    /// Whether what the encoder says of its stream was logged: some say it again and again.
    is_described: bool,
    /// What the metrics have counted.
    counted: Statistics,
    idle_timeout: Duration,
    /// When the encoder is disconnected if it sends no more media.
    idle_at: Instant,
}

/// Publishes until either side ends it. Returns the reason, and the counters of the media.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Shared,
    connection: &mut Connection<S>,
    publication: &mut dyn Publication,
    participant: &str,
    stop: &CancellationToken,
) -> (End, Statistics) {
    connection.enlarge_buffer();
    let mut media = Media::new(shared, publication, participant);
    loop {
        if let Err(end) = media.step(connection, stop).await {
            media.count();
            return (end, media.counted);
        }
    }
}

impl<'a> Media<'a> {
    fn new(shared: &'a Shared, publication: &'a mut dyn Publication, participant: &'a str) -> Self {
        let now = Instant::now();
        let settings = Settings { strict_ivs: shared.settings.strict_ivs };
        let idle_timeout = shared.settings.timeout;
        Media {
            shared,
            publication,
            participant,
            ingest: Ingest::new(now.into_std(), settings),
            is_described: false,
            counted: Statistics::default(),
            idle_timeout,
            idle_at: now + idle_timeout,
        }
    }

    /// Handles what was received, and waits for the next that happens.
    async fn step<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        stop: &CancellationToken,
    ) -> Result<(), End> {
        while let Some(event) = connection.rtmp.poll_event() {
            self.handle(event)?;
        }
        self.count();
        connection.flush().await?;
        let wake_at = self.ingest.next_timeout().map_or(self.idle_at, |at| self.idle_at.min(at.into()));
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(End::Server(Stopping)),
            end = self.publication.ended() => Err(end),
            // Before what is received, as an encoder can send without end what is no media.
            () = sleep_until(wake_at) => self.wake(),
            received = connection.receive() => received,
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), End> {
        let now = Instant::now();
        match event {
            Event::Audio { timestamp, body } => self.ingest.audio(now.into_std(), timestamp, &body)?,
            Event::Video { timestamp, body } => self.ingest.video(now.into_std(), timestamp, &body)?,
            Event::Metadata(metadata) => {
                if !std::mem::replace(&mut self.is_described, true) {
                    self.log(&metadata);
                }
                return Ok(());
            }
            Event::Unpublished => return Err(End::Unpublished),
            // There is one publication on a connection.
            Event::PublishRequested(_) => return Ok(()),
        }
        self.idle_at = now + self.idle_timeout;
        self.push();
        Ok(())
    }

    fn wake(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if now >= self.idle_at {
            return Err(End::Idle);
        }
        let due: Result<(), IngestError> = self.ingest.handle_timeout(now.into_std());
        self.push();
        Ok(due?)
    }

    fn push(&mut self) {
        while let Some(packet) = self.ingest.poll_packet() {
            self.publication.push(packet);
        }
    }

    /// Counts what the metrics have not counted yet.
    fn count(&mut self) {
        let (metrics, now) = (&self.shared.metrics.ingest, self.ingest.statistics());
        let before = std::mem::replace(&mut self.counted, now);
        metrics.timestamps_repaired(now.timestamps_repaired.saturating_sub(before.timestamps_repaired));
        if now.frames_dropped > before.frames_dropped {
            for reason in DropReason::ALL {
                metrics.frames_dropped(reason, now.dropped(reason).saturating_sub(before.dropped(reason)));
            }
        }
    }

    fn log(&self, metadata: &Metadata) {
        tracing::info!(
            participant.id = self.participant,
            encoder = metadata.encoder.as_deref().map(software::shown),
            width = metadata.width,
            height = metadata.height,
            frame_rate = metadata.frame_rate,
            "encoder metadata"
        );
    }
}
