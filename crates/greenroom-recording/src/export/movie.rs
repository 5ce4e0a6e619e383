//! The boxes around the samples: `ftyp`, the room for the index, and the index itself, `moov`.

use super::ExportError;
use super::track::Track;
use crate::fmp4_reader::Kind;
use crate::playlist_reader::MediaPlaylist;
use shiguredo_mp4::boxes::{
    Brand, Co64Box, CttsBox, DinfBox, EdtsBox, ElstBox, ElstEntry, FtypBox, HdlrBox, MdhdBox, MdiaBox, MediaHeader,
    MinfBox, MoovBox, MvhdBox, SmhdBox, StblBox, StcoBox, StscBox, StsdBox, StssBox, StszBox, SttsBox, TkhdBox,
    TrakBox, VmhdBox,
};
use shiguredo_mp4::{Either, FixedPointNumber, LanguageCode, Mp4FileTime};
use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::num::NonZeroU32;

/// Ticks per second of the file's timeline.
const TIMESCALE: NonZeroU32 = NonZeroU32::new(90_000).expect("not 0");
/// What the index of a second takes at most, in bytes: 60 pictures of different durations, 50 audio frames, the chunks.
const INDEX_PER_SECOND: u64 = 1_100;
/// What the headers, and each sample description, take of the index.
const INDEX_PER_ENTRY: u64 = 4_096;
/// Bytes of the header of a box.
const HEADER: u64 = 8;

/// The room for the index at the start of the file, a `free` box until it is written.
pub(super) struct Reserved {
    start: u64,
    size: u64,
}

/// Writes `ftyp`, and reserves room for the index.
pub(super) fn reserve(out: &mut (impl Write + Seek), playlist: &MediaPlaylist) -> Result<Reserved, ExportError> {
    let brands = vec![Brand::ISOM, Brand::ISO2, Brand::AVC1, Brand::MP41];
    let kind = FtypBox { major_brand: Brand::ISOM, minor_version: 0x200, compatible_brands: brands };
    out.write_all(&encoded(&kind)?)?;
    let seconds = playlist.duration_us() / 1_000_000 + 1;
    let entries = playlist.maps.len() as u64 + 2;
    let size = (seconds * INDEX_PER_SECOND + entries * INDEX_PER_ENTRY).min(1 << 30);
    let reserved = Reserved { start: out.stream_position()?, size };
    free(out, size)?;
    Ok(reserved)
}

/// Writes a `free` box.
fn free(out: &mut impl Write, size: u64) -> Result<(), ExportError> {
    let length = u32::try_from(size).map_err(|_| ExportError::TooLong)?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(b"free")?;
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), size - HEADER), out)?;
    Ok(())
}

/// Writes the index: into the reserved room if it fits, else to the end. Returns whether it fit, and the size of the file.
pub(super) fn finish(
    out: &mut (impl Write + Seek),
    tracks: &BTreeMap<Kind, Track>,
    reserved: &Reserved,
    end: u64,
) -> Result<(bool, u64), ExportError> {
    let index = encoded(&movie(tracks)?)?;
    let size = index.len() as u64;
    if size == reserved.size || size + HEADER <= reserved.size {
        out.seek(SeekFrom::Start(reserved.start))?;
        out.write_all(&index)?;
        if size < reserved.size {
            free(out, reserved.size - size)?;
        }
        return Ok((true, end));
    }
    out.seek(SeekFrom::Start(end))?;
    out.write_all(&index)?;
    Ok((false, end + size))
}

fn encoded(content: &impl shiguredo_mp4::Encode) -> Result<Vec<u8>, ExportError> {
    content.encode_to_vec().map_err(|error| std::io::Error::other(error.to_string()).into())
}

fn movie(tracks: &BTreeMap<Kind, Track>) -> Result<MoovBox, ExportError> {
    // Tracks without samples would have a timeline of nothing.
    let tracks: Vec<&Track> = tracks.values().filter(|track| !track.sizes.is_empty()).collect();
    if tracks.is_empty() {
        return Err(ExportError::Empty);
    }
    let zero = tracks.iter().map(|track| presentation(track).0).min().unwrap_or_default();
    let numbered = tracks.iter().zip(1..).map(|(track, id)| trak(track, id, zero)).collect::<Vec<_>>();
    let duration = numbered.iter().map(|trak| trak.tkhd_box.duration).max().unwrap_or_default();
    Ok(MoovBox {
        mvhd_box: MvhdBox {
            creation_time: Mp4FileTime::default(),
            modification_time: Mp4FileTime::default(),
            timescale: TIMESCALE,
            duration,
            rate: MvhdBox::DEFAULT_RATE,
            volume: MvhdBox::DEFAULT_VOLUME,
            matrix: MvhdBox::DEFAULT_MATRIX,
            next_track_id: tracks.len() as u32 + 1,
        },
        trak_boxes: numbered,
        mvex_box: None,
        unknown_boxes: Vec::new(),
    })
}

/// When the presentation of a track begins on the file's timeline, in nanoseconds, and the media time of its edit, in ticks.
fn presentation(track: &Track) -> (i128, i64) {
    let first = track.span.map_or(0, |(first, _)| first);
    // Samples before the start of the edit (an encoder's priming) are not presented; an empty edit delays the track.
    let start = first + i128::from(track.first_composition) - i128::from(track.media_start);
    let media_time = i128::from(track.first_composition) + (-start).clamp(0, i128::from(i64::MAX / 2));
    (super::track::nanoseconds(start.max(0), track.timescale), i64::try_from(media_time).unwrap_or_default().max(0))
}

/// Nanoseconds on the file's timeline.
fn movie_ticks(nanoseconds: i128) -> u64 {
    u64::try_from(nanoseconds * i128::from(TIMESCALE.get()) / 1_000_000_000).unwrap_or_default()
}

fn trak(track: &Track, id: u32, zero: i128) -> TrakBox {
    let (start, media_time) = presentation(track);
    let media = i128::from(track.duration_ticks()) - i128::from(media_time);
    let shown = movie_ticks(super::track::nanoseconds(media.max(0), track.timescale));
    let rate = FixedPointNumber::new(1, 0);
    let delay = movie_ticks(start - zero);
    let mut edits = Vec::new();
    if delay > 0 {
        edits.push(ElstEntry { edit_duration: delay, media_time: -1, media_rate: rate });
    }
    edits.push(ElstEntry { edit_duration: shown, media_time, media_rate: rate });
    let sizes = track.entries.iter().filter_map(|entry| entry.video_resolution());
    let (width, height) = sizes.fold((0, 0), |(width, height), size| (width.max(size.0), height.max(size.1)));
    let is_video = track.kind == Kind::Video;
    TrakBox {
        tkhd_box: TkhdBox {
            flag_track_enabled: true,
            flag_track_in_movie: true,
            flag_track_in_preview: false,
            flag_track_size_is_aspect_ratio: false,
            creation_time: Mp4FileTime::default(),
            modification_time: Mp4FileTime::default(),
            track_id: id,
            duration: delay + shown,
            layer: TkhdBox::DEFAULT_LAYER,
            alternate_group: TkhdBox::DEFAULT_ALTERNATE_GROUP,
            volume: if is_video { TkhdBox::DEFAULT_VIDEO_VOLUME } else { TkhdBox::DEFAULT_AUDIO_VOLUME },
            matrix: track.matrix,
            width: FixedPointNumber::new(i16::try_from(width).unwrap_or(i16::MAX), 0),
            height: FixedPointNumber::new(i16::try_from(height).unwrap_or(i16::MAX), 0),
        },
        edts_box: Some(EdtsBox { elst_box: Some(ElstBox { entries: edits }), unknown_boxes: Vec::new() }),
        mdia_box: mdia(track),
        unknown_boxes: Vec::new(),
    }
}

fn mdia(track: &Track) -> MdiaBox {
    let (handler_type, name, header) = match track.kind {
        Kind::Video => {
            let header = VmhdBox { graphicsmode: VmhdBox::DEFAULT_GRAPHICSMODE, opcolor: VmhdBox::DEFAULT_OPCOLOR };
            (HdlrBox::HANDLER_TYPE_VIDE, b"video\0", MediaHeader::Vmhd(header))
        }
        Kind::Audio => {
            let header = SmhdBox { balance: SmhdBox::DEFAULT_BALANCE };
            (HdlrBox::HANDLER_TYPE_SOUN, b"audio\0", MediaHeader::Smhd(header))
        }
    };
    MdiaBox {
        mdhd_box: MdhdBox {
            creation_time: Mp4FileTime::default(),
            modification_time: Mp4FileTime::default(),
            timescale: NonZeroU32::new(track.timescale).unwrap_or(NonZeroU32::MIN),
            duration: track.duration_ticks(),
            language: LanguageCode::UNDEFINED,
        },
        hdlr_box: HdlrBox { handler_type, name: name.to_vec() },
        minf_box: MinfBox {
            media_header: Some(header),
            dinf_box: DinfBox::LOCAL_FILE,
            stbl_box: table(track),
            unknown_boxes: Vec::new(),
        },
        unknown_boxes: Vec::new(),
    }
}

fn table(track: &Track) -> StblBox {
    let has_compositions = track.compositions.iter().any(|run| run.sample_offset != 0);
    let version = u8::from(track.compositions.iter().any(|run| run.sample_offset < 0));
    let fits = track.chunks.last().is_none_or(|last| u32::try_from(*last).is_ok());
    let offsets = if fits {
        Either::A(StcoBox { chunk_offsets: track.chunks.iter().map(|offset| *offset as u32).collect() })
    } else {
        Either::B(Co64Box { chunk_offsets: track.chunks.clone() })
    };
    StblBox {
        stsd_box: StsdBox { entries: track.entries.clone() },
        stts_box: SttsBox { entries: track.durations.clone() },
        ctts_box: has_compositions.then(|| CttsBox { version, entries: track.compositions.clone() }),
        cslg_box: None,
        stsc_box: StscBox { entries: track.runs.clone() },
        stsz_box: StszBox::Variable { entry_sizes: track.sizes.clone() },
        stco_or_co64_box: offsets,
        stss_box: track.needs_syncs().then(|| StssBox { sample_numbers: track.syncs.clone() }),
        sdtp_box: None,
        unknown_boxes: Vec::new(),
    }
}
