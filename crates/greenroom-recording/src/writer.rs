//! Cuts samples into segments, and writes segments and playlists.
//!
//! Times are in microseconds of the recorder's clock; those in the files count the time that is recorded, from 0.

use crate::audio::{AudioUnit, samples_of, time_of};
use crate::format::{AUDIO_TIMESCALE, AudioFormat, Format, VideoFormat};
use crate::playlist::{MediaPlaylist, Multivariant};
use crate::segment::{Segment, ticks};
use crate::video::Frame;
use crate::{Object, Output, RecordError, RecorderStats, Resume, layout};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::VecDeque;
use std::time::Duration;

/// A segment is cut at a key frame from this share of the target duration on, in percent.
const CUT_FROM: i64 = 90;
/// Where a format changes again within this time, in microseconds, the new one replaces it: browsers send the lower layers of
/// simulcast first.
const MIN_PART: i64 = 1_000_000;
/// Least duration of a frame, in microseconds.
const MIN_FRAME: i64 = 1_000;
/// Largest segment, in bytes; then the video is dropped up to the next key frame.
const MAX_SEGMENT: usize = 64 << 20;

/// What the caller is to do about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Recorded,
    /// It cannot be recorded, and what depends on it cannot, either.
    Dropped,
}

/// A segment to which no more video is added, and which waits for its sound.
#[derive(Debug)]
struct Closing {
    segment: Segment,
    end: i64,
    /// The format that begins with it.
    format: Option<Format>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    target: i64,
    utc: DateTime<Utc>,
    audio: Option<AudioFormat>,
    playlist: MediaPlaylist,
    multivariant: Multivariant,
    /// Where the multivariant playlist was last written.
    written_multivariant: Option<Multivariant>,
    bytes: u64,
    /// Start of the recording on the recorder's clock; `None` before the first sample.
    start: Option<i64>,
    /// Recorded by earlier parts, in microseconds.
    base: i64,
    video: Option<VideoFormat>,
    /// The format of the segment that is written, if it begins with that.
    begins: Option<Format>,
    segment: Segment,
    /// The last frame, whose duration is not known yet.
    pending: Option<Frame>,
    closing: VecDeque<Closing>,
    outputs: VecDeque<Output>,
    /// Frames whose time was not after that of the one before.
    repaired: u64,
}

impl Writer {
    /// `utc` is the time at which the recorder's clock is 0.
    pub(crate) fn new(
        target: Duration,
        utc: DateTime<Utc>,
        audio: Option<AudioFormat>,
        resume: &Resume,
    ) -> Result<Writer, RecordError> {
        let playlist = match &resume.playlist {
            Some(text) => MediaPlaylist::parse(text)?,
            None => MediaPlaylist::new(target),
        };
        let multivariant = resume.multivariant.as_deref().map(Multivariant::parse);
        let base = playlist.duration().as_micros() as i64;
        Ok(Writer {
            target: target.as_micros() as i64,
            utc,
            audio,
            playlist,
            multivariant: multivariant.unwrap_or_default(),
            written_multivariant: None,
            bytes: 0,
            start: None,
            base,
            video: None,
            begins: None,
            segment: Segment::new(base),
            pending: None,
            closing: VecDeque::new(),
            outputs: VecDeque::new(),
            repaired: 0,
        })
    }

    pub(crate) fn repaired(&self) -> u64 {
        self.repaired
    }

    pub(crate) fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What is stored and what is to be stored.
    pub(crate) fn duration(&self) -> Duration {
        self.playlist.duration()
    }

    pub(crate) fn start(&self) -> Option<i64> {
        self.start
    }

    pub(crate) fn has_video(&self) -> bool {
        self.video.is_some()
    }

    /// Time of the last frame.
    pub(crate) fn last_frame(&self) -> Option<i64> {
        self.pending.as_ref().map(|frame| frame.time)
    }

    /// Length of the segment that is written, up to `time`.
    pub(crate) fn segment_length(&self, time: i64) -> i64 {
        self.recorded(time) - self.segment.start
    }

    /// Access units of the segment that is written; the first one is a key frame.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.segment.video_samples().chain(self.pending.iter().map(|frame| &frame.data[..]))
    }

    /// A time of the recorder's clock as recorded time.
    fn recorded(&self, time: i64) -> i64 {
        time - self.start.unwrap_or(time) + self.base
    }

    /// Begins the recording without video.
    pub(crate) fn begin(&mut self, time: i64) {
        if self.start.is_none() {
            self.start = Some(time);
            self.begins = Some(self.format());
        }
    }

    fn format(&self) -> Format {
        Format { video: self.video.clone(), audio: self.audio.clone() }
    }

    /// Takes the next frame. The first one is a key frame.
    pub(crate) fn push_frame(&mut self, mut frame: Frame, stats: &mut RecorderStats) -> Taken {
        if self.start.is_none() {
            if frame.key.is_none() {
                return Taken::Dropped;
            }
            self.start = Some(frame.time);
        }
        let earliest = match &self.pending {
            Some(pending) => pending.time + MIN_FRAME,
            None => self.start.unwrap_or(frame.time),
        };
        if frame.time < earliest {
            self.repaired += 1;
            frame.time = earliest;
        }
        let length = self.segment_length(frame.time);
        let changed = frame.key.as_ref().is_some_and(|format| self.video.as_ref() != Some(format));
        let has_video = self.segment.has_video() || self.pending.is_some();
        if frame.key.is_none() && self.segment.bytes() > MAX_SEGMENT {
            stats.frames_dropped_invalid += 1;
            return Taken::Dropped;
        }
        let replaces = changed && has_video && length < MIN_PART && self.begins.is_some();
        if replaces {
            frame.time = self.discard_part(stats);
        }
        let is_cut = frame.key.is_some() && (changed || length >= self.target * CUT_FROM / 100);
        self.end_pending(frame.time);
        if is_cut {
            self.cut(frame.time);
        }
        if changed {
            self.video.clone_from(&frame.key);
            let has_former = self.playlist.next_segment() > 0 || !self.closing.is_empty();
            stats.format_changes += u64::from(has_former && !replaces);
            self.begins = Some(self.format());
        }
        stats.frames_recorded += 1;
        self.pending = Some(frame);
        self.write_complete();
        Taken::Recorded
    }

    /// Discards the video of a part that has only begun; its sound stays. Returns when it began, on the recorder's clock: what
    /// follows is shown from then on.
    fn discard_part(&mut self, stats: &mut RecorderStats) -> i64 {
        let frames = self.segment.clear_video() + usize::from(self.pending.take().is_some());
        stats.frames_replaced += frames as u64;
        self.segment.start - self.base + self.start.unwrap_or(0)
    }

    /// Ends the last frame.
    fn end_pending(&mut self, time: i64) {
        if let Some(frame) = self.pending.take() {
            let (start, end) = (self.recorded(frame.time), self.recorded(time));
            self.segment.push_video(start, end, frame.key.is_some(), &frame.data);
        }
    }

    /// Ends the segment at `time`.
    fn cut(&mut self, time: i64) {
        let end = self.recorded(time);
        if end <= self.segment.start {
            return;
        }
        let segment = std::mem::replace(&mut self.segment, Segment::new(end));
        self.closing.push_back(Closing { segment, end, format: self.begins.take() });
    }

    /// Takes the next sample of the sound.
    pub(crate) fn push_audio(&mut self, unit: AudioUnit) {
        let Some(start) = self.start else { return };
        let base = ticks(self.base, AUDIO_TIMESCALE) as i64;
        let Ok(time) = u64::try_from(unit.time - samples_of(start) + base) else { return };
        if (time as i64) < base {
            return;
        }
        let at = (time * 1_000_000 / u64::from(AUDIO_TIMESCALE)) as i64;
        if self.video.is_none() && at - self.segment.start >= self.target {
            self.cut(time_of(unit.time));
        }
        match self.closing.iter_mut().find(|closing| at < closing.end) {
            Some(closing) => closing.segment.push_audio(time, unit.duration, &unit.data),
            None => self.segment.push_audio(time, unit.duration, &unit.data),
        }
        self.write_complete();
    }

    /// Ends the segment at `time` and begins the next one with a picture that is held.
    pub(crate) fn hold(&mut self, time: i64, still: Frame, stats: &mut RecorderStats) {
        self.end_pending(time);
        self.cut(time);
        if self.video != still.key {
            self.video.clone_from(&still.key);
            self.begins = Some(self.format());
        }
        stats.video_held_ms += (self.target / 1_000) as u64;
        self.pending = Some(still);
        self.write_complete();
    }

    /// Ends the recording at `time`.
    pub(crate) fn finish(&mut self, time: i64) {
        if self.start.is_none() {
            return;
        }
        // The last frame has a duration, too.
        let last = self.pending.as_ref().map_or(time, |frame| frame.time + MIN_FRAME);
        let time = time.max(last);
        self.end_pending(time);
        self.cut(time);
        while let Some(closing) = self.closing.pop_front() {
            self.write(closing);
        }
        if self.written_multivariant.as_ref() != Some(&self.multivariant) && self.playlist.next_segment() > 0 {
            self.write_multivariant();
        }
    }

    /// Writes the segments that have all their sound.
    fn write_complete(&mut self) {
        while let Some(closing) = self.closing.front() {
            let end = closing.end;
            let has_later = self.segment.audio_end().is_some()
                || self.closing.iter().skip(1).any(|later| later.segment.audio_end().is_some());
            let is_complete = self.audio.is_none()
                || has_later
                || closing.segment.audio_end().is_some_and(|audio_end| audio_end >= end);
            if !is_complete {
                return;
            }
            if let Some(closing) = self.closing.pop_front() {
                self.write(closing);
            }
        }
    }

    fn write(&mut self, closing: Closing) {
        let Closing { segment, end, format } = closing;
        if segment.is_empty() {
            // What follows begins with the format.
            match self.closing.front_mut() {
                Some(next) => next.format = next.format.take().or(format),
                None => self.begins = self.begins.take().or(format),
            }
            return;
        }
        if let Some(format) = format {
            let since_start = segment.start - self.base + self.start.unwrap_or(0);
            let number = self.playlist.begin_part(self.utc + TimeDelta::microseconds(since_start + 500));
            self.store(layout::init_segment(number), layout::SEGMENT_TYPE, format.init_segment());
            self.multivariant.add_format(format.codecs(), format.video.as_ref().map(VideoFormat::resolution));
        }
        let number = self.playlist.next_segment();
        let contents = segment.encode(number);
        let duration = Duration::from_micros((end - segment.start).max(1) as u64);
        let bitrate = |bytes: u64, duration: Duration| (bytes as f64 * 8.0 / duration.as_secs_f64()) as u64;
        self.bytes += contents.len() as u64;
        let this = bitrate(contents.len() as u64, duration);
        self.store(layout::segment(number), layout::SEGMENT_TYPE, contents);
        self.playlist.add_segment(duration);
        let written = self.playlist.duration().saturating_sub(Duration::from_micros(self.base as u64));
        let former = self.multivariant.clone();
        self.multivariant.add_segment(this, bitrate(self.bytes, written));
        let text = self.playlist.event_text();
        self.store(layout::PLAYLIST.to_owned(), layout::PLAYLIST_TYPE, text.into_bytes());
        let is_average_only = self.multivariant.differs_in_average_only(&former);
        if self.written_multivariant.is_none() || self.multivariant != former && !is_average_only {
            self.write_multivariant();
        }
    }

    fn write_multivariant(&mut self) {
        self.written_multivariant = Some(self.multivariant.clone());
        let text = self.multivariant.text();
        self.store(layout::MULTIVARIANT.to_owned(), layout::PLAYLIST_TYPE, text.into_bytes());
    }

    fn store(&mut self, path: String, content_type: &'static str, contents: Vec<u8>) {
        self.outputs.push_back(Output::Store(Object { path, content_type, contents }));
    }
}
