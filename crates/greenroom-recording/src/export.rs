//! Exports a recording as one MP4 file.
//!
//! The samples are copied, not transcoded. Each initialization segment becomes a sample description of its track, so that
//! resolution and parameter sets may change; a change of the codec itself cannot be exported. Parts (between discontinuities)
//! follow each other without the time between them, as in a player; the offset of audio and video within a part is kept. What a
//! track lacks is bridged by its last sample.
//!
//! Memory: a segment, and about 12 bytes for each sample of the recording.

mod movie;
mod track;

use crate::fmp4_reader::{Init, Kind, MAX_INIT, ReadError, Sample, Segment, read_init, read_segment};
use crate::layout;
use crate::playlist_reader::{MAX_PLAYLIST, MediaPlaylist, SegmentEntry, read_media, read_multivariant};
use crate::verify::{MAX_SEGMENT, Source, SourceError};
use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use track::Track;

/// Length of a chunk: audio and video alternate in the file about as often, in nanoseconds.
const INTERLEAVING: i128 = 1_000_000_000;
/// Bytes of the header of `mdat`, with a size of 64 bits.
const DATA_HEADER: u64 = 16;

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    pub duration_ms: u64,
    pub bytes: u64,
    pub samples: u64,
    /// Parts between discontinuities.
    pub parts: usize,
    /// Sample descriptions of video and of audio.
    pub descriptions: BTreeMap<&'static str, usize>,
    /// Whether the index is at the start, so that the file can be played while it is downloaded.
    pub is_index_first: bool,
    /// Milliseconds that samples were delayed, as decode times overlapped.
    pub delayed_ms: u64,
}

/// Why a recording cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the storage failed: {0}")]
    Source(#[from] SourceError),
    #[error("{0} is missing")]
    Missing(String),
    #[error("{object} is damaged at byte {position}: {message}")]
    Damaged { object: String, position: u64, message: String },
    /// A change that one MP4 track cannot have.
    #[error("{object}: {message}; export the parts before and after it with a tool that transcodes")]
    Mixed { object: String, message: String },
    #[error("the recording has no media")]
    Empty,
    #[error("the recording has too many samples for one file")]
    TooLong,
    #[error("the file cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

/// Joins a recording into one MP4, written to `out` from its current position 0 on.
pub fn export(source: &mut impl Source, out: &mut (impl Write + Seek)) -> Result<Exported, ExportError> {
    let path = playlist_path(source)?;
    let text = text(source, &path)?;
    let playlist = read_media(&text);
    if playlist.segments.is_empty() {
        return Err(ExportError::Empty);
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let reserved = movie::reserve(out, &playlist)?;
    let start = out.stream_position()?;
    out.write_all(&data_header(0))?;
    let mut joiner = Joiner {
        source,
        out,
        folder,
        playlist: &playlist,
        at: start + DATA_HEADER,
        tracks: BTreeMap::new(),
        state: State::default(),
    };
    for entry in &playlist.segments {
        joiner.segment(entry)?;
    }
    let Joiner { at, tracks, state, .. } = joiner;
    if tracks.is_empty() {
        return Err(ExportError::Empty);
    }
    out.seek(SeekFrom::Start(start))?;
    out.write_all(&data_header(at - start))?;
    let (is_index_first, end) = movie::finish(out, &tracks, &reserved, at)?;
    out.flush()?;
    Ok(Exported {
        duration_ms: tracks.values().map(Track::duration_ms).max().unwrap_or_default(),
        bytes: end,
        samples: tracks.values().map(|track| track.sizes.len() as u64).sum(),
        parts: state.parts,
        descriptions: tracks.iter().map(|(kind, track)| (kind.name(), track.entries.len())).collect(),
        is_index_first,
        delayed_ms: tracks.values().map(Track::delayed_ms).max().unwrap_or_default(),
    })
}

fn data_header(size: u64) -> [u8; DATA_HEADER as usize] {
    let mut header = *b"\0\0\0\x01mdat\0\0\0\0\0\0\0\0";
    header[8..].copy_from_slice(&size.to_be_bytes());
    header
}

/// The media playlist: the first that the multivariant playlist names.
fn playlist_path(source: &mut impl Source) -> Result<String, ExportError> {
    let text = text(source, layout::MULTIVARIANT)?;
    let variant = read_multivariant(&text).variants.into_iter().next();
    Ok(variant.map_or_else(|| layout::PLAYLIST.to_owned(), |variant| format!("media/hls/{}", variant.uri)))
}

fn text(source: &mut impl Source, path: &str) -> Result<String, ExportError> {
    let contents = source.read(path, MAX_PLAYLIST)?.ok_or_else(|| ExportError::Missing(path.to_owned()))?;
    String::from_utf8(contents).map_err(|error| {
        let position = error.utf8_error().valid_up_to() as u64;
        ExportError::Damaged { object: path.to_owned(), position, message: "not UTF-8".to_owned() }
    })
}

fn damaged(object: &str, error: ReadError) -> ExportError {
    ExportError::Damaged { object: object.to_owned(), position: error.position as u64, message: error.message }
}

#[derive(Default)]
struct State {
    /// The current initialization segment.
    init: Option<(usize, Init)>,
    /// What is added to the times of the current part, in nanoseconds; `None` before its first segment.
    shift: Option<i128>,
    parts: usize,
}

struct Joiner<'a, S, W> {
    source: &'a mut S,
    out: &'a mut W,
    folder: &'a str,
    playlist: &'a MediaPlaylist,
    /// Offset in the file of the next sample.
    at: u64,
    tracks: BTreeMap<Kind, Track>,
    state: State,
}

impl<S: Source, W: Write> Joiner<'_, S, W> {
    fn segment(&mut self, entry: &SegmentEntry) -> Result<(), ExportError> {
        if entry.is_discontinuity {
            self.state.shift = None;
        }
        self.enter_init(entry)?;
        let object = format!("{}/{}", self.folder, entry.uri);
        let bytes = self.source.read(&object, MAX_SEGMENT)?.ok_or_else(|| ExportError::Missing(object.clone()))?;
        let Some((_, init)) = self.state.init.take() else { return Err(ExportError::Empty) };
        let written = self.join(&object, &bytes, &init);
        self.state.init = entry.map.map(|map| (map, init));
        written
    }

    fn enter_init(&mut self, entry: &SegmentEntry) -> Result<(), ExportError> {
        let missing = || ExportError::Missing(format!("the initialization segment of {}", entry.uri));
        let map = entry.map.ok_or_else(missing)?;
        if self.state.init.as_ref().is_some_and(|(current, _)| *current == map) {
            return Ok(());
        }
        let object = format!("{}/{}", self.folder, self.playlist.maps[map]);
        let bytes = self.source.read(&object, MAX_INIT)?.ok_or_else(|| ExportError::Missing(object.clone()))?;
        let init = read_init(&bytes).map_err(|error| damaged(&object, error))?;
        for kind in [Kind::Video, Kind::Audio] {
            let Some(new) = init.track(kind) else { continue };
            if let Some(track) = self.tracks.get_mut(&kind) {
                track.describe(new).map_err(|message| ExportError::Mixed { object: object.clone(), message })?;
            } else {
                self.tracks.insert(kind, Track::new(new));
            }
        }
        self.state.init = Some((map, init));
        Ok(())
    }

    fn join(&mut self, object: &str, bytes: &[u8], init: &Init) -> Result<(), ExportError> {
        let segment = read_segment(bytes, init).map_err(|error| damaged(object, error))?;
        let shift = match self.state.shift {
            Some(shift) => shift,
            None => {
                self.state.parts += 1;
                *self.state.shift.insert(self.shift(&segment, init))
            }
        };
        for chunk in chunks(&segment, init) {
            let Some(track) = self.tracks.get_mut(&chunk.kind) else { continue };
            track.place(chunk.decode_time, shift, chunk.samples[0].composition);
            track.chunk(self.at, chunk.samples).map_err(|()| ExportError::TooLong)?;
            for range in contiguous(chunk.samples) {
                let data = bytes.get(range).unwrap_or_default();
                self.out.write_all(data)?;
                self.at += data.len() as u64;
            }
        }
        Ok(())
    }

    /// The shift of a part, in nanoseconds: the least that puts no track before its end so far.
    fn shift(&self, segment: &Segment, init: &Init) -> i128 {
        let mut shift = None;
        for run in segment.fragments.iter().flat_map(|fragment| &fragment.runs) {
            let source = &init.tracks[run.track];
            let Some(track) = self.tracks.get(&source.kind) else { continue };
            let first = track::nanoseconds(i128::from(run.decode_time), source.timescale);
            let needed = track.end_ns() - first;
            shift = shift.max(Some(needed));
        }
        shift.unwrap_or_default()
    }
}

/// Samples of a track that follow each other, at most [`INTERLEAVING`] long.
struct Chunk<'a> {
    kind: Kind,
    /// Decode time of the first sample, in ticks.
    decode_time: u64,
    start_ns: i128,
    samples: &'a [Sample],
}

/// The samples of a segment in chunks, in the order of time.
fn chunks<'a>(segment: &'a Segment, init: &Init) -> Vec<Chunk<'a>> {
    let mut chunks = Vec::new();
    for run in segment.fragments.iter().flat_map(|fragment| &fragment.runs) {
        let track = &init.tracks[run.track];
        // A second track of the kind is not exported.
        if init.track(track.kind).is_none_or(|first| first.id != track.id) {
            continue;
        }
        let (mut rest, mut decode_time) = (run.samples.as_slice(), run.decode_time);
        while !rest.is_empty() {
            let (mut count, mut ticks) = (0, 0_u64);
            while let Some(sample) = rest.get(count)
                && (count == 0 || track::nanoseconds(i128::from(ticks), track.timescale) < INTERLEAVING)
            {
                ticks += u64::from(sample.duration);
                count += 1;
            }
            let (samples, after) = rest.split_at(count);
            let start_ns = track::nanoseconds(i128::from(decode_time), track.timescale);
            chunks.push(Chunk { kind: track.kind, decode_time, start_ns, samples });
            decode_time += ticks;
            rest = after;
        }
    }
    // Stable: chunks of a track stay in their order even if their times overlap.
    chunks.sort_by_key(|chunk| chunk.start_ns);
    chunks
}

/// The bytes of samples, as few ranges.
fn contiguous(samples: &[Sample]) -> Vec<std::ops::Range<usize>> {
    let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
    for sample in samples {
        let end = sample.offset + sample.size as usize;
        match ranges.last_mut() {
            Some(last) if last.end == sample.offset => last.end = end,
            _ => ranges.push(sample.offset..end),
        }
    }
    ranges
}
