//! The recorder: packets and the time in, objects out.

use crate::audio::{AudioTrack, samples_of};
use crate::format::AUDIO_TIMESCALE;
use crate::still::still_of;
use crate::thumbnails::ThumbnailWriter;
use crate::video::{Frame, VideoTrack};
use crate::writer::{Taken, Writer};
use crate::{MediaType, Output, RecordError, RecorderConfig, RecorderStats, Resume, Vp8Policy};
use chrono::{DateTime, Utc};
use greenroom_codecs::reorder::{Ordered, PacketInfo, ReorderBuffer};
use greenroom_codecs::{h264, vp8};
use greenroom_media::{Codec, MediaKind, MediaPacket, MediaTrack};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long packets are held back, in microseconds. A recording has time: retransmissions arrive, and the first sender reports, which
/// align sound and picture, are known before the first packet is used.
const HOLD_BACK: i64 = 1_500_000;
/// All in microseconds. Sound and picture are taken for interrupted when nothing was received for so long.
const INTERRUPTION: i64 = 500_000;
/// How long sound waits for the first key frame, before the recording begins without video.
const START_WAIT: i64 = 3_000_000;
/// Least time between requests of key frames.
const REQUEST_INTERVAL: i64 = 1_000_000;
/// A publication that ends later than so much after its last packet is recorded up to its end.
const END_GAP: i64 = 100_000;
/// Most packets of sound that wait for the start.
const MAX_WAITING: usize = 1_000;
/// Sound before the start from which the encoder begins, so that the first samples are exact.
const PRE_ROLL: i64 = 100_000;

/// A track with its packets in order.
#[derive(Debug)]
struct Input {
    index: usize,
    buffer: ReorderBuffer<MediaPacket>,
    /// Sequence number of the last packet that began a key frame.
    newest_key: Option<u64>,
}

impl Input {
    fn of(tracks: &[MediaTrack], kind: MediaKind) -> Option<Input> {
        let index = tracks.iter().position(|track| track.kind == kind)?;
        Some(Input { index, buffer: ReorderBuffer::new(kind.clock_rate(), HOLD_BACK), newest_key: None })
    }

    fn insert(&mut self, now: i64, captured: i64, packet: MediaPacket) {
        let MediaPacket { sequence_number, timestamp, ref payload, .. } = packet;
        let info = PacketInfo { sequence_number, timestamp, payload_bytes: payload.len() };
        self.buffer.insert(now, captured, info, packet);
    }

    /// Whether a key frame has arrived that is still held back.
    fn holds_key(&self) -> bool {
        self.newest_key.is_some_and(|key| self.buffer.next().is_none_or(|next| key >= next))
    }

    /// How long nothing has been received, beyond an ordinary delay.
    fn interruption(&self, now: i64) -> i64 {
        self.buffer.last_arrival().map_or(0, |last| (now - last - HOLD_BACK - INTERRUPTION).max(0))
    }
}

/// Records one publication of a participant, or the part of it before an interruption.
pub struct Recorder {
    config: RecorderConfig,
    epoch: Instant,
    audio_input: Option<Input>,
    video_input: Option<Input>,
    audio: Option<AudioTrack>,
    video: VideoTrack,
    /// Sound that was received before the recording began.
    waiting: VecDeque<Ordered<MediaPacket>>,
    writer: Writer,
    thumbnails: Option<ThumbnailWriter>,
    /// The picture that is held, with the time at which its last segment began.
    still: Option<Frame>,
    /// When a key frame arrived at which a segment is cut, and when one was last requested.
    cut_arrival: Option<i64>,
    last_request: Option<i64>,
    /// A key frame is needed that has not arrived yet.
    key_wanted: bool,
    outputs: VecDeque<Output>,
    stats: RecorderStats,
}

impl Recorder {
    /// A recorder of a publisher with these tracks, of which the first one of each kind is recorded. `utc` is the time of day at
    /// `now`.
    pub fn new(
        config: RecorderConfig,
        tracks: &[MediaTrack],
        now: Instant,
        utc: DateTime<Utc>,
        resume: Resume,
    ) -> Result<Recorder, RecordError> {
        let video_input = match config.media {
            MediaType::AudioVideo => Input::of(tracks, MediaKind::Video),
            MediaType::AudioOnly | MediaType::None => {
                config.thumbnails.and_then(|_| Input::of(tracks, MediaKind::Video))
            }
        };
        let audio_input = match config.media {
            MediaType::None => None,
            MediaType::AudioVideo | MediaType::AudioOnly => Input::of(tracks, MediaKind::Audio),
        };
        let audio = match audio_input {
            Some(_) => Some(AudioTrack::new(config.audio).map_err(|_| RecordError::Codec)?),
            None => None,
        };
        let writer = Writer::new(config.segment_target, utc, audio.as_ref().map(AudioTrack::format), &resume)?;
        Ok(Recorder {
            config,
            epoch: now,
            audio_input,
            video_input,
            audio,
            video: VideoTrack::new(config.vp8),
            waiting: VecDeque::new(),
            writer,
            thumbnails: config.thumbnails.map(|thumbnails| ThumbnailWriter::new(thumbnails, resume.next_thumbnail)),
            still: None,
            cut_arrival: None,
            last_request: None,
            key_wanted: true,
            outputs: VecDeque::new(),
            stats: RecorderStats::default(),
        })
    }

    /// Takes a packet.
    pub fn push(&mut self, now: Instant, packet: MediaPacket) -> Result<(), RecordError> {
        let captured = match packet.captured.checked_duration_since(self.epoch) {
            Some(after) => micros(after),
            None => -micros(self.epoch.saturating_duration_since(packet.captured)),
        };
        let now = self.clock(now);
        let is = |input: &&mut Input| input.index == packet.track;
        if let Some(input) = self.video_input.as_mut().filter(is) {
            // Thumbnails alone are no reason to fail.
            if packet.codec == Codec::Vp8
                && self.config.vp8 == Vp8Policy::Refuse
                && self.config.media != MediaType::AudioVideo
            {
                return Ok(());
            }
            let is_key = match packet.codec {
                Codec::H264 => h264::payloads::starts_key_frame(&packet.payload),
                Codec::Vp8 => vp8::payloads::starts_key_frame(&packet.payload),
                Codec::Opus => false,
            };
            let number = packet.sequence_number;
            input.insert(now, captured, packet);
            if is_key {
                input.newest_key = input.newest_key.max(Some(number));
                self.key_wanted = false;
                let cut_from = micros(self.config.segment_target) * 9 / 10;
                if self.cut_arrival.is_none_or(|last| now - last >= cut_from) {
                    self.cut_arrival = Some(now);
                }
            }
        } else if let Some(input) = self.audio_input.as_mut().filter(is) {
            input.insert(now, captured, packet);
        }
        self.take_packets(now, false)
    }

    /// Lets time pass: packets that were held back long enough are recorded, and what is missing is filled in. To be called
    /// at least every 500 ms.
    pub fn advance(&mut self, now: Instant) -> Result<(), RecordError> {
        let now = self.clock(now);
        self.take_packets(now, false)?;
        self.fill_interruptions(now);
        self.request_key_frame(now);
        Ok(())
    }

    /// The publication has ended at `now`: writes everything that has arrived.
    pub fn finish(&mut self, now: Instant) -> Result<(), RecordError> {
        let now = self.clock(now);
        // What was received is written before an error is reported.
        let taken = self.take_packets(now, true);
        self.video.finish(&mut self.stats);
        self.take_frames();
        let Some(start) = self.begun(now, true) else { return taken };
        let end = self.end(now).max(start);
        if let Some(audio) = &mut self.audio {
            audio.begin(samples_of(start));
            if samples_of(end) - audio.next().unwrap_or(0) > samples_of(END_GAP) {
                audio.fill_until(samples_of(end));
            }
            audio.finish();
        }
        self.take_audio();
        let audio_end = self.audio.as_ref().and_then(AudioTrack::end);
        let last_frame = self.writer.last_frame().unwrap_or(i64::MIN);
        let end = match audio_end {
            Some(audio_end) if (end - audio_end).abs() <= END_GAP => audio_end.max(last_frame),
            _ => end.max(last_frame),
        };
        self.writer.finish(end);
        self.collect_stats();
        taken
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| self.writer.take_output())
    }

    /// Length of the segments that were written, with those of earlier parts.
    pub fn duration(&self) -> Duration {
        self.writer.duration()
    }

    /// Number of the next thumbnail.
    pub fn next_thumbnail(&self) -> u32 {
        self.thumbnails.as_ref().map_or(0, ThumbnailWriter::next)
    }

    pub fn stats(&self) -> RecorderStats {
        self.stats
    }

    fn clock(&self, now: Instant) -> i64 {
        micros(now.saturating_duration_since(self.epoch))
    }

    fn take_packets(&mut self, now: i64, drain: bool) -> Result<(), RecordError> {
        let mut result = Ok(());
        while let Some(ordered) = self.video_input.as_mut().and_then(|input| input.buffer.take(now, drain)) {
            self.stats.packets_lost += ordered.lost;
            if self.writer.segment_length(ordered.time) >= micros(self.config.segment_target) {
                self.video.force_key();
            }
            result = result.and(self.video.push(ordered, &mut self.stats));
            self.take_frames();
        }
        while let Some(ordered) = self.audio_input.as_mut().and_then(|input| input.buffer.take(now, drain)) {
            self.stats.packets_lost += ordered.lost;
            if self.waiting.len() == MAX_WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back(ordered);
        }
        if let Some(start) = self.begun(now, false) {
            self.take_waiting(start);
            self.take_audio();
        }
        self.collect_stats();
        result
    }

    /// When the recording began. It begins with the first key frame, or without video if none comes.
    fn begun(&mut self, now: i64, is_end: bool) -> Option<i64> {
        if self.writer.start().is_none() && self.config.media != MediaType::None {
            let first = self.waiting.front()?;
            let records_video = self.config.media == MediaType::AudioVideo && self.video_input.is_some();
            if !records_video || is_end || now - first.time > HOLD_BACK + START_WAIT {
                let time = first.time;
                self.writer.begin(time);
            }
        }
        self.writer.start()
    }

    fn take_waiting(&mut self, start: i64) {
        let Some(audio) = &mut self.audio else { return };
        while let Some(ordered) = self.waiting.pop_front() {
            if ordered.time >= start - PRE_ROLL {
                audio.push(&ordered, &mut self.stats);
            }
        }
    }

    fn take_audio(&mut self) {
        while let Some(unit) = self.audio.as_mut().and_then(AudioTrack::take_unit) {
            self.writer.push_audio(unit);
        }
    }

    fn take_frames(&mut self) {
        while let Some(frame) = self.video.take_frame() {
            if frame.key.is_some()
                && let Some(thumbnails) = &mut self.thumbnails
            {
                thumbnails.take(&frame, &mut self.outputs, &mut self.stats);
            }
            if self.config.media != MediaType::AudioVideo {
                continue;
            }
            // The picture that was held has a format of its own, so that only a key frame can follow it.
            let follows_still = self.still.is_some() && frame.key.is_none();
            if follows_still {
                self.stats.frames_dropped_loss += 1;
                self.video.wait_for_key();
                continue;
            }
            self.still = None;
            if self.writer.push_frame(frame, &mut self.stats) == Taken::Dropped {
                self.video.wait_for_key();
            }
        }
    }

    /// Fills in silence, and holds the last picture, while nothing is received.
    fn fill_interruptions(&mut self, now: i64) {
        let Some(start) = self.writer.start() else { return };
        // Media up to here would have arrived by now.
        let passed = now - HOLD_BACK - 2 * INTERRUPTION;
        if let (Some(audio), Some(input)) = (&mut self.audio, &self.audio_input) {
            let is_quiet = input.interruption(now) > 0 || input.buffer.last_arrival().is_none();
            if is_quiet && samples_of(passed) > samples_of(start) {
                audio.begin(samples_of(start));
                audio.fill_until(samples_of(passed));
                self.stats.audio_filled_ms = audio.filled_ms();
            }
            self.take_audio();
        }
        let Some(input) = self.video_input.as_ref().filter(|_| self.writer.has_video()) else { return };
        let quiet = input.interruption(now);
        let Some(last) = self.writer.last_frame().filter(|_| quiet > 0) else { return };
        let target = micros(self.config.segment_target);
        // The next segment is due, and has waited for a key frame as long again.
        let until = if self.still.is_some() { last + target } else { passed };
        let is_due = match self.still {
            Some(_) => passed >= until,
            None => self.writer.segment_length(until) >= 2 * target - INTERRUPTION,
        };
        if is_due {
            let still = self.still.take().or_else(|| still_of(self.video.rotation(), self.writer.frames()));
            if let Some(Frame { key, data, .. }) = still {
                let frame = || Frame { time: until, key: key.clone(), data: data.clone() };
                self.writer.hold(until, frame(), &mut self.stats);
                self.still = Some(frame());
            }
        }
    }

    /// When the publication ended, on the clock of its media.
    fn end(&self, now: i64) -> i64 {
        let inputs = self.audio_input.iter().chain(&self.video_input);
        let last = inputs.filter_map(|input| input.buffer.last_arrival()).max().unwrap_or(now);
        let audio = self.audio.as_ref().and_then(AudioTrack::end);
        let frames = self.writer.last_frame();
        let media = audio.into_iter().chain(frames).max().unwrap_or(now);
        if now - last > END_GAP { media.max(media + now - last).min(now.max(media)) } else { media }
    }

    /// Requests a key frame if one is needed and none is on its way.
    fn request_key_frame(&mut self, now: i64) {
        let Some(input) = &self.video_input else { return };
        let target = micros(self.config.segment_target);
        let records_video = self.config.media == MediaType::AudioVideo;
        let is_due =
            records_video && !self.video.is_transcoded() && self.cut_arrival.is_some_and(|cut| now - cut >= target);
        let is_thumbnail_due = self.thumbnails.as_ref().is_some_and(|thumbnails| thumbnails.is_due(now - HOLD_BACK));
        let is_missing = self.video.needs_key() && !input.holds_key();
        self.key_wanted |= is_due || is_thumbnail_due && !records_video || is_missing;
        // Without packets, there is nothing to request.
        let is_receiving = input.buffer.last_arrival().is_some_and(|last| now - last < REQUEST_INTERVAL);
        if self.key_wanted && is_receiving && self.last_request.is_none_or(|last| now - last >= REQUEST_INTERVAL) {
            self.last_request = Some(now);
            self.stats.key_frames_requested += 1;
            self.outputs.push_back(Output::RequestKeyFrame);
        }
    }

    fn collect_stats(&mut self) {
        let inputs = || self.audio_input.iter().chain(&self.video_input);
        self.stats.packets_late = inputs().map(|input| input.buffer.late).sum();
        let repaired = inputs().map(|input| input.buffer.repaired).sum::<u64>();
        self.stats.timestamps_repaired = repaired + self.writer.repaired();
        if let Some(audio) = &self.audio {
            self.stats.audio_filled_ms = audio.filled_ms();
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

const _: () = assert!(AUDIO_TIMESCALE == 48_000, "times of the sound are computed in samples of 48 kHz");

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("config", &self.config).field("stats", &self.stats).finish_non_exhaustive()
    }
}
