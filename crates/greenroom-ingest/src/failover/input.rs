use super::Failover;
use greenroom_media::MediaPacket;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Audio of the input that is not active, which is needed if it becomes so: the other one may be that much behind.
const KEPT_AUDIO: Duration = Duration::from_millis(100);
const MAX_KEPT: usize = 16;

/// What is known of an input.
#[derive(Debug, Default)]
pub(super) struct Input {
    first: Option<Instant>,
    last_audio: Option<Instant>,
    last_video: Option<Instant>,
    /// Since when it has not stalled.
    stable_since: Option<Instant>,
    /// The latest audio, with its arrival.
    audio: VecDeque<(Instant, MediaPacket)>,
}

impl Input {
    pub(super) fn record(&mut self, now: Instant, is_video: bool) {
        self.first.get_or_insert(now);
        if (is_video || self.last_video.is_none()) && !self.is_alive(now) {
            self.stable_since = Some(now);
        }
        *if is_video { &mut self.last_video } else { &mut self.last_audio } = Some(now);
    }

    /// The last packet of video; of audio, if there was never video.
    pub(super) fn last_media(&self) -> Option<Instant> {
        self.last_video.or(self.last_audio)
    }

    pub(super) fn is_alive(&self, now: Instant) -> bool {
        self.last_media().is_some_and(|last| now.saturating_duration_since(last) < Failover::STALL)
    }

    pub(super) fn is_stable(&self, now: Instant, duration: Duration) -> bool {
        self.stable_since.is_some_and(|since| now.saturating_duration_since(since) >= duration)
    }

    /// Whether it has sent audio for some time, and no video.
    pub(super) fn is_audio_only(&self, now: Instant) -> bool {
        self.last_video.is_none()
            && self.first.is_some_and(|first| now.saturating_duration_since(first) >= Failover::STALL)
    }

    /// Keeps audio for the case that this input becomes the active one.
    pub(super) fn keep_audio(&mut self, now: Instant, packet: MediaPacket) {
        if self.audio.len() == MAX_KEPT {
            self.audio.pop_front();
        }
        self.audio.push_back((now, packet));
    }

    /// The audio of the last moment.
    pub(super) fn take_audio(&mut self, now: Instant) -> impl Iterator<Item = MediaPacket> + use<> {
        let kept = std::mem::take(&mut self.audio).into_iter();
        kept.filter(move |(arrival, _)| now.saturating_duration_since(*arrival) <= KEPT_AUDIO).map(|(_, packet)| packet)
    }
}
