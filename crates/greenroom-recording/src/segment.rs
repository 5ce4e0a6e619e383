//! A media segment: the samples of both tracks between two key frames, as one movie fragment (ISO/IEC 14496-12, 8.8).

use crate::format::{AUDIO_TIMESCALE, AUDIO_TRACK, VIDEO_TIMESCALE, VIDEO_TRACK};
use shiguredo_mp4::boxes::{MfhdBox, MoofBox, TfdtBox, TfhdBox, TrafBox, TrunBox, TrunSample};
use shiguredo_mp4::{Encode, SampleFlags};

/// Sample flags (8.8.3.1): depends on no other, or depends on others and is not a sync sample.
const SYNC_SAMPLE: SampleFlags = SampleFlags::new(0x0200_0000);
const OTHER_SAMPLE: SampleFlags = SampleFlags::new(0x0101_0000);

/// A track of a segment.
#[derive(Debug, Default)]
struct Track {
    samples: Vec<TrunSample>,
    data: Vec<u8>,
    /// Decode time of the first sample and of what follows the last one, in the track's time scale.
    start: Option<u64>,
    end: u64,
}

impl Track {
    fn push(&mut self, time: u64, duration: u32, flags: SampleFlags, data: &[u8]) {
        self.start.get_or_insert(time);
        self.end = time + u64::from(duration);
        let (duration, size) = (Some(duration), u32::try_from(data.len()).ok());
        self.samples.push(TrunSample { duration, size, flags: Some(flags), composition_time_offset: None });
        self.data.extend_from_slice(data);
    }

    fn traf(&self, track_id: u32, data_offset: i32) -> TrafBox {
        TrafBox {
            tfhd_box: TfhdBox {
                track_id,
                base_data_offset: None,
                sample_description_index: None,
                default_sample_duration: None,
                default_sample_size: None,
                default_sample_flags: None,
                duration_is_empty: false,
                default_base_is_moof: true,
            },
            tfdt_box: Some(TfdtBox { version: 1, base_media_decode_time: self.start.unwrap_or(0) }),
            trun_boxes: vec![TrunBox {
                data_offset: Some(data_offset),
                first_sample_flags: None,
                samples: self.samples.clone(),
            }],
            unknown_boxes: Vec::new(),
        }
    }
}

/// Collects the samples of a segment. Times are in microseconds of the recording.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) start: i64,
    video: Track,
    audio: Track,
}

/// A time of the recording in units of a time scale.
pub(crate) fn ticks(time: i64, timescale: u32) -> u64 {
    let time = u128::from(time.max(0) as u64);
    ((time * u128::from(timescale) + 500_000) / 1_000_000) as u64
}

impl Segment {
    pub(crate) fn new(start: i64) -> Segment {
        Segment { start, video: Track::default(), audio: Track::default() }
    }

    pub(crate) fn push_video(&mut self, time: i64, end: i64, is_key: bool, data: &[u8]) {
        let (start, end) = (ticks(time, VIDEO_TIMESCALE), ticks(end, VIDEO_TIMESCALE));
        let duration = u32::try_from(end.saturating_sub(start)).unwrap_or(u32::MAX);
        self.video.push(start, duration, if is_key { SYNC_SAMPLE } else { OTHER_SAMPLE }, data);
    }

    /// Removes the video samples; returns how many there were.
    pub(crate) fn clear_video(&mut self) -> usize {
        std::mem::take(&mut self.video).samples.len()
    }

    /// `time` and `duration` in audio samples.
    pub(crate) fn push_audio(&mut self, time: u64, duration: u32, data: &[u8]) {
        self.audio.push(time, duration, SYNC_SAMPLE, data);
    }

    pub(crate) fn has_video(&self) -> bool {
        !self.video.samples.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.video.samples.is_empty() && self.audio.samples.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.video.data.len() + self.audio.data.len()
    }

    /// When the sound of the segment ends, in microseconds.
    pub(crate) fn audio_end(&self) -> Option<i64> {
        self.audio.start.map(|_| (self.audio.end * 1_000_000 / u64::from(AUDIO_TIMESCALE)) as i64)
    }

    /// The video samples, in order.
    pub(crate) fn video_samples(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        self.video.samples.iter().map(move |sample| {
            let start = at;
            at += sample.size.unwrap_or(0) as usize;
            &self.video.data[start..at]
        })
    }

    /// The segment as a movie fragment. Empty if it cannot be encoded, which no input causes.
    pub(crate) fn encode(&self, number: u32) -> Vec<u8> {
        let tracks: Vec<_> = [(VIDEO_TRACK, &self.video), (AUDIO_TRACK, &self.audio)]
            .into_iter()
            .filter(|(_, track)| !track.samples.is_empty())
            .collect();
        let moof = |head: usize| {
            let mut offset = head;
            let traf_boxes = tracks.iter().map(|(id, track)| {
                let at = offset;
                offset += track.data.len();
                track.traf(*id, i32::try_from(at).unwrap_or(i32::MAX))
            });
            let traf_boxes = traf_boxes.collect();
            MoofBox { mfhd_box: MfhdBox { sequence_number: number + 1 }, traf_boxes, unknown_boxes: Vec::new() }
                .encode_to_vec()
                .unwrap_or_default()
        };
        // The size of the box does not depend on the offsets in it.
        const MDAT_HEADER: usize = 8;
        let head = moof(0).len() + MDAT_HEADER;
        let mut encoded = moof(head);
        encoded.reserve_exact(MDAT_HEADER + self.bytes());
        let size = u32::try_from(MDAT_HEADER + self.bytes()).unwrap_or(u32::MAX);
        encoded.extend_from_slice(&size.to_be_bytes());
        encoded.extend_from_slice(b"mdat");
        tracks.iter().for_each(|(_, track)| encoded.extend_from_slice(&track.data));
        encoded
    }
}
