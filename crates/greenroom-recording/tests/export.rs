//! Recordings that are joined to one MP4, read back with another reader of MP4 than that of the export.

mod support;

use greenroom_recording::export::{ExportError, Exported, export};
use shiguredo_mp4::boxes::{MoovBox, SampleEntry, StszBox, TrakBox};
use shiguredo_mp4::{BoxHeader, Decode as _, Either};
use std::io::Cursor;
use support::{Objects, body_of};

const PLAYLIST: &str = "media/hls/high/playlist.m3u8";

fn exported(mut objects: Objects) -> Result<(Exported, Vec<u8>), ExportError> {
    let mut out = Cursor::new(Vec::new());
    let exported = export(&mut objects, &mut out)?;
    Ok((exported, out.into_inner()))
}

/// The boxes of a file: kind and offset; and its index.
fn read(file: &[u8]) -> (Vec<String>, MoovBox) {
    let (mut at, mut kinds, mut index) = (0, Vec::new(), None);
    while at < file.len() {
        let (header, _) = BoxHeader::decode(&file[at..]).unwrap();
        kinds.push(header.box_type.to_string());
        if header.box_type == MoovBox::TYPE {
            index = Some(MoovBox::decode(&file[at..]).unwrap().0);
        }
        at += usize::try_from(header.box_size.get()).unwrap();
    }
    (kinds, index.unwrap())
}

fn sizes(trak: &TrakBox) -> &[u32] {
    match &trak.mdia_box.minf_box.stbl_box.stsz_box {
        StszBox::Variable { entry_sizes } => entry_sizes,
        StszBox::Fixed { .. } => panic!("the sizes differ"),
    }
}

/// Decode times at which a track's key frames begin, in ticks.
fn key_times(trak: &TrakBox) -> Vec<u64> {
    let table = &trak.mdia_box.minf_box.stbl_box;
    let durations =
        table.stts_box.entries.iter().flat_map(|run| std::iter::repeat_n(run.sample_delta, run.sample_count as usize));
    let times: Vec<u64> =
        durations.scan(0, |time, duration| Some(std::mem::replace(time, *time + u64::from(duration)))).collect();
    let keys = table.stss_box.as_ref().unwrap().sample_numbers.iter();
    keys.map(|number| times[number.get() as usize - 1]).collect()
}

#[test]
fn the_samples_are_those_of_the_segments() {
    let (exported, file) = exported(Objects::fixture("plain")).unwrap();
    let (kinds, movie) = read(&file);
    assert_eq!(kinds, ["ftyp", "moov", "free", "mdat"]);
    assert!(exported.is_index_first);
    assert_eq!((exported.bytes, exported.parts, exported.delayed_ms), (file.len() as u64, 1, 0));
    let [video, audio] = movie.trak_boxes.as_slice() else { panic!("{movie:?}") };
    assert_eq!(sizes(video).len(), 45);
    let timescale = u64::from(video.mdia_box.mdhd_box.timescale.get());
    assert_eq!(key_times(video), [0, timescale, 2 * timescale]);
    assert_eq!(video.mdia_box.mdhd_box.duration, 3 * timescale);
    // FFmpeg begins with the priming of the AAC encoder, and delays the video by it in
    // whole milliseconds: 21, which are 322 ticks of the track and 1,886 of the file.
    let edits = |trak: &TrakBox| trak.edts_box.as_ref().unwrap().elst_box.as_ref().unwrap().entries.clone();
    let shown = |trak| edits(trak).iter().map(|edit| (edit.media_time, edit.edit_duration)).collect::<Vec<_>>();
    assert_eq!(shown(audio)[0].0, 0);
    assert_eq!(shown(video), [(-1, 1_886), (0, 270_000)]);
    // Every sample of the first segment's video is in the file where its chunk says.
    let segment = &Objects::fixture("plain").0["media/hls/high/0.mp4"];
    let first = sizes(video)[0] as usize;
    let data = body_of(segment, b"mdat");
    let Either::A(chunks) = &video.mdia_box.minf_box.stbl_box.stco_or_co64_box else { panic!("64 bits") };
    let at = chunks.chunk_offsets[0] as usize;
    assert_eq!(file[at..at + first], segment[data..data + first]);
    let total: u64 = movie.trak_boxes.iter().flat_map(sizes).map(|size| u64::from(*size)).sum();
    let start = file.windows(4).position(|window| window == b"mdat").unwrap() as u64;
    assert_eq!(start + 12 + total, file.len() as u64);
}

#[test]
fn another_resolution_is_another_sample_description() {
    let (exported, file) = exported(Objects::fixture("parts")).unwrap();
    assert_eq!((exported.parts, exported.descriptions["video"], exported.descriptions["audio"]), (2, 2, 1));
    let (_, movie) = read(&file);
    let video = &movie.trak_boxes[0];
    let table = &video.mdia_box.minf_box.stbl_box;
    let sizes: Vec<_> = table.stsd_box.entries.iter().map(SampleEntry::video_resolution).collect();
    assert_eq!(sizes, [Some((160, 90)), Some((96, 64))]);
    let runs: Vec<_> = table.stsc_box.entries.iter().map(|run| run.sample_description_index.get()).collect();
    assert_eq!((runs.first(), runs.last()), (Some(&1), Some(&2)));
    // The second part follows the longer track of the first, audio and video with the offset that they had.
    let timescale = f64::from(video.mdia_box.mdhd_box.timescale.get());
    let last = *key_times(video).last().unwrap() as f64 / timescale;
    assert!((2.0..2.1).contains(&last), "{last}");
    assert!((3000..3150).contains(&exported.duration_ms), "{exported:?}");
}

#[test]
fn the_orientation_is_kept() {
    // A quarter turn clockwise of 160×90.
    let turned = [0, 1 << 16, 0, -(1 << 16), 0, 0, 90 << 16, 0, 1 << 30];
    let objects = Objects::fixture("plain").edit("media/hls/high/init-0.mp4", |bytes| {
        // After version and flags, times, ids, duration, layer and volume (ISO/IEC 14496-12, 8.3.2).
        let matrix = body_of(bytes, b"tkhd") + 40;
        bytes[matrix..matrix + 36].copy_from_slice(&turned.map(i32::to_be_bytes).concat());
    });
    let (_, movie) = read(&exported(objects).unwrap().1);
    let [video, audio] = movie.trak_boxes.as_slice() else { panic!("{movie:?}") };
    assert_eq!(video.tkhd_box.matrix, turned);
    assert_eq!(audio.tkhd_box.matrix, [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30]);
}

#[test]
fn what_cannot_be_exported_is_said() {
    let failed = |objects| exported(objects).unwrap_err().to_string();
    let plain = || Objects::fixture("plain");
    assert_eq!(failed(plain().without("media/hls/high/1.mp4")), "media/hls/high/1.mp4 is missing");
    let cut = failed(plain().edit("media/hls/high/1.mp4", |bytes| bytes.truncate(100)));
    assert!(cut.starts_with("media/hls/high/1.mp4 is damaged at byte 76:"), "{cut}");
    let empty = plain().with(PLAYLIST, b"#EXTM3U\n#EXT-X-VERSION:7\n");
    assert_eq!(failed(empty), "the recording has no media");
    let other = Objects::fixture("parts").edit("media/hls/high/init-1.mp4", |bytes| {
        let body = body_of(bytes, b"avc1");
        bytes[body - 4..body].copy_from_slice(b"vp08");
    });
    let words = failed(other);
    assert!(words.starts_with("media/hls/high/init-1.mp4"), "{words}");
}
