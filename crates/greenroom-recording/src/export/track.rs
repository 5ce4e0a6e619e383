//! The tables of a track.

use crate::fmp4_reader::{self, Kind, Sample};
use shiguredo_mp4::boxes::{CttsEntry, SampleEntry, StscEntry, SttsEntry};
use std::num::NonZeroU32;

/// Maximum samples of a track: two weeks of audio.
const MAX_SAMPLES: usize = 1 << 26;

/// A track of the file. Its timeline, in ticks of its own timescale, begins with its first sample.
pub(super) struct Track {
    pub kind: Kind,
    pub timescale: u32,
    pub entries: Vec<SampleEntry>,
    /// Transformation for display, of the first sample description: a track has only one.
    pub matrix: [i32; 9],
    pub durations: Vec<SttsEntry>,
    pub compositions: Vec<CttsEntry>,
    pub sizes: Vec<u32>,
    /// Numbers of the key frames, from 1; empty while all samples are.
    pub syncs: Vec<NonZeroU32>,
    pub chunks: Vec<u64>,
    pub runs: Vec<StscEntry>,
    /// Time of the first sample and end of the last on the file's timeline, in ticks; `None` without samples.
    pub span: Option<(i128, i128)>,
    /// Composition offset of the first sample, and start of the presentation on the timeline of the recording.
    pub first_composition: i64,
    pub media_start: i64,
    /// Index of the current sample description, from 1.
    description: NonZeroU32,
    /// Ticks that samples were delayed.
    delayed: u64,
    has_other_samples: bool,
}

impl Track {
    pub fn new(source: &fmp4_reader::Track) -> Track {
        Track {
            kind: source.kind,
            timescale: source.timescale,
            entries: vec![source.entry.clone()],
            matrix: source.matrix,
            durations: Vec::new(),
            compositions: Vec::new(),
            sizes: Vec::new(),
            syncs: Vec::new(),
            chunks: Vec::new(),
            runs: Vec::new(),
            span: None,
            first_composition: 0,
            media_start: source.media_start,
            description: NonZeroU32::MIN,
            delayed: 0,
            has_other_samples: false,
        }
    }

    /// Continues with the sample description of another initialization segment, or says why a track cannot.
    pub fn describe(&mut self, source: &fmp4_reader::Track) -> Result<(), String> {
        let name = self.kind.name();
        if source.timescale != self.timescale {
            return Err(format!("the timescale of {name} changes from {} to {}", self.timescale, source.timescale));
        }
        let first = &self.entries[0];
        if std::mem::discriminant(first) != std::mem::discriminant(&source.entry) {
            return Err(format!("the codec of {name} changes to {}", source.codec));
        }
        if first.audio_channel_count() != source.entry.audio_channel_count() {
            return Err(format!("the channels of {name} change"));
        }
        let known = self.entries.iter().position(|entry| *entry == source.entry);
        let index = known.unwrap_or(self.entries.len());
        if known.is_none() {
            self.entries.push(source.entry.clone());
        }
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        self.description = number.ok_or("too many sample descriptions")?;
        Ok(())
    }

    /// Moves to the time of the next sample: the one before lasts until then, or ends earlier.
    pub fn place(&mut self, decode_time: u64, shift_ns: i128, composition: i64) {
        let time = i128::from(decode_time) + ticks(shift_ns, self.timescale);
        let Some((_, end)) = &mut self.span else {
            self.span = Some((time, time));
            self.first_composition = composition;
            return;
        };
        let off = time - *end;
        let last = self.durations.last().map_or(0, |run| run.sample_delta);
        let new = (i128::from(last) + off).clamp(1, i128::from(u32::MAX)) as u32;
        if off != 0 && new != last {
            *end += i128::from(new) - i128::from(last);
            if let Some(run) = self.durations.last_mut() {
                run.sample_count -= 1;
                if run.sample_count == 0 {
                    self.durations.pop();
                }
            }
            self.duration(new);
        }
        let late = self.span.map_or(0, |(_, end)| end - time);
        self.delayed = self.delayed.max(u64::try_from(late).unwrap_or_default());
    }

    /// Adds samples, which are in the file from `offset` on. Fails if there are too many.
    pub fn chunk(&mut self, offset: u64, samples: &[Sample]) -> Result<(), ()> {
        if self.sizes.len() + samples.len() > MAX_SAMPLES {
            return Err(());
        }
        self.chunks.push(offset);
        let sample_per_chunk = u32::try_from(samples.len()).map_err(|_| ())?;
        let first_chunk = u32::try_from(self.chunks.len()).ok().and_then(NonZeroU32::new).ok_or(())?;
        let run = StscEntry { first_chunk, sample_per_chunk, sample_description_index: self.description };
        let is_same = |last: &StscEntry| {
            (last.sample_per_chunk, last.sample_description_index) == (sample_per_chunk, self.description)
        };
        if !self.runs.last().is_some_and(is_same) {
            self.runs.push(run);
        }
        for sample in samples {
            self.sizes.push(sample.size);
            self.duration(sample.duration);
            match self.compositions.last_mut() {
                Some(last) if last.sample_offset == sample.composition => last.sample_count += 1,
                _ => self.compositions.push(CttsEntry { sample_count: 1, sample_offset: sample.composition }),
            }
            if let Some((_, end)) = &mut self.span {
                *end += i128::from(sample.duration);
            }
            if sample.is_sync {
                self.syncs.extend(u32::try_from(self.sizes.len()).ok().and_then(NonZeroU32::new));
            }
            self.has_other_samples |= !sample.is_sync;
        }
        Ok(())
    }

    fn duration(&mut self, sample_delta: u32) {
        match self.durations.last_mut() {
            Some(last) if last.sample_delta == sample_delta => last.sample_count += 1,
            _ => self.durations.push(SttsEntry { sample_count: 1, sample_delta }),
        }
    }

    /// Whether some samples are not key frames.
    pub fn needs_syncs(&self) -> bool {
        self.has_other_samples
    }

    /// Sum of the samples' durations, in ticks.
    pub fn duration_ticks(&self) -> u64 {
        self.span.map_or(0, |(start, end)| u64::try_from(end - start).unwrap_or_default())
    }

    /// End of the last sample on the file's timeline, in nanoseconds; 0 without samples.
    pub fn end_ns(&self) -> i128 {
        self.span.map_or(0, |(_, end)| nanoseconds(end, self.timescale))
    }

    pub fn duration_ms(&self) -> u64 {
        self.duration_ticks().saturating_mul(1000) / u64::from(self.timescale)
    }

    pub fn delayed_ms(&self) -> u64 {
        self.delayed.saturating_mul(1000) / u64::from(self.timescale)
    }
}

pub(super) fn nanoseconds(ticks: i128, timescale: u32) -> i128 {
    ticks * 1_000_000_000 / i128::from(timescale)
}

/// Nanoseconds in ticks, rounded to the nearest.
fn ticks(nanoseconds: i128, timescale: u32) -> i128 {
    (nanoseconds * i128::from(timescale) + 500_000_000).div_euclid(1_000_000_000)
}
