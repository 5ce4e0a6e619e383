//! Reads fragmented MP4 back: the initialization segments and media segments of HLS.
//!
//! Input is untrusted: sizes and counts are bounded, and errors name the byte where reading stopped. Movie boxes are decoded by
//! a library; movie fragments are decoded here, so that verification does not share the code of the writer.

mod boxes;
mod fragment;

pub(crate) use fragment::{Sample, Segment, read_segment};

use boxes::{BoxAt, boxes};
use shiguredo_mp4::boxes::{HdlrBox, MoovBox, SampleEntry, TrakBox};
use shiguredo_mp4::{Decode as _, codec_string};

/// Maximum bytes of an initialization segment.
pub(crate) const MAX_INIT: usize = 1 << 20;
/// Maximum tracks of an initialization segment.
const MAX_TRACKS: usize = 16;

/// Why a file cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadError {
    /// Byte offset in the file.
    pub position: usize,
    pub message: String,
}

impl ReadError {
    pub fn new(position: usize, message: impl Into<String>) -> ReadError {
        ReadError { position, message: message.into() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Video,
    Audio,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Video => "video",
            Kind::Audio => "audio",
        }
    }
}

/// Values of a track's samples that fragments leave out (`trex`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub duration: u32,
    pub size: u32,
    pub flags: u32,
}

/// A track of an initialization segment.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    pub id: u32,
    pub kind: Kind,
    /// Ticks per second.
    pub timescale: u32,
    pub entry: SampleEntry,
    /// Transformation for display (ISO/IEC 14496-12, 8.3.2).
    pub matrix: [i32; 9],
    /// The codec as in the attribute CODECS.
    pub codec: String,
    pub defaults: Defaults,
    /// Start of the presentation on the track's timeline, in ticks: the media time of its edit list.
    pub media_start: i64,
    /// Whether the sample table is empty, as it must be in an initialization segment.
    pub has_no_samples: bool,
}

impl Track {
    /// Width and height of the pictures as they are displayed.
    pub fn resolution(&self) -> Option<(u16, u16)> {
        let (width, height) = self.entry.video_resolution()?;
        let [a, b, _, c, d, ..] = self.matrix;
        let is_quarter_turn = a == 0 && d == 0 && b != 0 && c != 0;
        Some(if is_quarter_turn { (height, width) } else { (width, height) })
    }
}

/// An initialization segment.
#[derive(Clone, Debug)]
pub(crate) struct Init {
    pub tracks: Vec<Track>,
    /// Whether `ftyp` names iso6 or a later brand, as RFC 8216, section 3.3 requires.
    pub has_brand: bool,
}

impl Init {
    /// The first track of a kind.
    pub fn track(&self, kind: Kind) -> Option<&Track> {
        self.tracks.iter().find(|track| track.kind == kind)
    }
}

pub(crate) fn read_init(bytes: &[u8]) -> Result<Init, ReadError> {
    if bytes.len() > MAX_INIT {
        return Err(ReadError::new(MAX_INIT, format!("the initialization segment is larger than {MAX_INIT} bytes")));
    }
    let (mut has_brand, mut movie) = (false, None);
    for found in boxes(bytes, 0) {
        let found = found?;
        match &found.kind {
            b"ftyp" => has_brand = names_iso6(found.body),
            b"moov" if movie.is_none() => movie = Some(found),
            b"moov" => return Err(ReadError::new(found.start, "a second moov box")),
            b"moof" | b"mdat" => {
                return Err(ReadError::new(found.start, "media data in an initialization segment"));
            }
            _ => {}
        }
    }
    let movie = movie.ok_or_else(|| ReadError::new(bytes.len(), "there is no moov box"))?;
    Ok(Init { tracks: tracks(bytes, &movie)?, has_brand })
}

/// Whether a `ftyp` body has a brand that allows `tfdt` and movie-fragment relative addressing.
fn names_iso6(body: &[u8]) -> bool {
    const BRANDS: [&[u8]; 6] = [b"iso6", b"iso7", b"iso8", b"iso9", b"isoa", b"cmfc"];
    let major = body.get(..4).into_iter();
    major.chain(body.get(8..).unwrap_or_default().chunks_exact(4)).any(|brand| BRANDS.contains(&brand))
}

fn tracks(bytes: &[u8], movie: &BoxAt<'_>) -> Result<Vec<Track>, ReadError> {
    let failed = |text: String| ReadError::new(movie.start, text);
    let whole = &bytes[movie.start..movie.end()];
    let (moov, _) =
        MoovBox::decode(whole).map_err(|error| failed(format!("moov cannot be read: {}", reason(&error))))?;
    if moov.trak_boxes.len() > MAX_TRACKS {
        return Err(failed(format!("more than {MAX_TRACKS} tracks")));
    }
    let extends = moov.mvex_box.as_ref().ok_or_else(|| failed("moov has no mvex box".to_owned()))?;
    let mut tracks = Vec::new();
    for trak in &moov.trak_boxes {
        let id = trak.tkhd_box.track_id;
        let defaults = extends.trex_boxes.iter().find(|trex| trex.track_id == id);
        let defaults = defaults.ok_or_else(|| failed(format!("track {id} has no trex box")))?;
        let defaults = Defaults {
            duration: defaults.default_sample_duration,
            size: defaults.default_sample_size,
            flags: defaults.default_sample_flags.get(),
        };
        if let Some(track) = track(trak, defaults, moov.mvhd_box.timescale.get()).map_err(failed)? {
            tracks.push(track);
        }
    }
    if tracks.is_empty() {
        return Err(failed("there is no track of audio or video".to_owned()));
    }
    Ok(tracks)
}

/// A track of audio or video; `None` for other kinds.
fn track(trak: &TrakBox, defaults: Defaults, movie_timescale: u32) -> Result<Option<Track>, String> {
    let kind = match trak.mdia_box.hdlr_box.handler_type {
        HdlrBox::HANDLER_TYPE_VIDE => Kind::Video,
        HdlrBox::HANDLER_TYPE_SOUN => Kind::Audio,
        _ => return Ok(None),
    };
    let id = trak.tkhd_box.track_id;
    let table = &trak.mdia_box.minf_box.stbl_box;
    let [entry] = table.stsd_box.entries.as_slice() else {
        return Err(format!("track {id} has {} sample entries instead of one", table.stsd_box.entries.len()));
    };
    let codec = codec_string::from_sample_entry(entry)
        .map_err(|error| format!("codec of track {id} cannot be read: {}", reason(&error)))?;
    let timescale = trak.mdia_box.mdhd_box.timescale.get();
    Ok(Some(Track {
        id,
        kind,
        timescale,
        entry: entry.clone(),
        matrix: trak.tkhd_box.matrix,
        codec,
        defaults,
        media_start: media_start(trak, timescale, movie_timescale),
        has_no_samples: table.stts_box.entries.is_empty(),
    }))
}

/// Media time that is presented at 0: the media time of the edit list, less the empty edits before it.
fn media_start(trak: &TrakBox, timescale: u32, movie_timescale: u32) -> i64 {
    let edits = trak.edts_box.as_ref().and_then(|edits| edits.elst_box.as_ref());
    let (mut empty, mut start) = (0_i128, 0_i128);
    for edit in edits.map(|edits| edits.entries.as_slice()).unwrap_or_default() {
        if edit.media_time >= 0 {
            start = i128::from(edit.media_time);
            break;
        }
        empty += i128::from(edit.edit_duration) * i128::from(timescale) / i128::from(movie_timescale);
    }
    // Beyond an hour an edit list is damaged rather than a delay.
    let limit = i128::from(timescale) * 3600;
    i64::try_from((start - empty).clamp(-limit, limit)).unwrap_or_default()
}

/// What the library says, without the place in its source.
fn reason(error: &shiguredo_mp4::Error) -> String {
    let kind = error.box_type.map(|kind| format!("{kind}: ")).unwrap_or_default();
    let words = if error.reason.is_empty() { "damaged or cut off" } else { error.reason.as_str() };
    format!("{kind}{words}")
}
