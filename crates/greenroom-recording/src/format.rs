//! Formats of the tracks of a recording, and their initialization segments (ISO/IEC 14496-12 and -15).

use shiguredo_mp4::bitstream::aac::{Mp4aSampleEntryConfig, build_mp4a_box, parse_audio_specific_config};
use shiguredo_mp4::bitstream::h264::{H264SampleEntryConfig, LengthSize, build_avc1_box, parse_sps};
use shiguredo_mp4::bitstream::opus::{ChannelCount, OpusSampleEntryConfig, build_opus_box};
use shiguredo_mp4::boxes::{
    Brand, DinfBox, FtypBox, HdlrBox, MdhdBox, MdiaBox, MediaHeader, MinfBox, MoovBox, MvexBox, MvhdBox, SampleEntry,
    SmhdBox, StblBox, StcoBox, StscBox, StsdBox, StszBox, SttsBox, TkhdBox, TrakBox, TrexBox, VmhdBox,
};
use shiguredo_mp4::codec_string::from_sample_entry;
use shiguredo_mp4::{Either, Encode, FixedPointNumber, LanguageCode, Mp4FileTime, SampleFlags};
use std::num::NonZeroU32;

pub(crate) const VIDEO_TIMESCALE: u32 = 90_000;
pub(crate) const AUDIO_TIMESCALE: u32 = 48_000;
pub(crate) const VIDEO_TRACK: u32 = 1;
pub(crate) const AUDIO_TRACK: u32 = 2;

/// Largest width and height.
const MAX_SIDE: u16 = 4_096;

/// What does not change within an initialization segment's part of a video track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VideoFormat {
    sps: Vec<Vec<u8>>,
    pps: Vec<Vec<u8>>,
    width: u16,
    height: u16,
    /// Clockwise quarter turns.
    rotation: u8,
}

impl VideoFormat {
    /// `None` if a parameter set is invalid or missing.
    pub(crate) fn new(sps: Vec<Vec<u8>>, pps: Vec<Vec<u8>>, rotation: u8) -> Option<VideoFormat> {
        let size = parse_sps(sps.first()?).ok()?;
        let is_valid = (2..=MAX_SIDE).contains(&size.width) && (2..=MAX_SIDE).contains(&size.height);
        let format = VideoFormat { sps, pps, width: size.width, height: size.height, rotation: rotation & 3 };
        format.sample_entry().filter(|_| is_valid).map(|_| format)
    }

    /// Clockwise quarter turns of its pictures before they are displayed.
    pub(crate) fn rotation(&self) -> u8 {
        self.rotation
    }

    /// As it is displayed.
    pub(crate) fn resolution(&self) -> (u16, u16) {
        match self.rotation % 2 {
            0 => (self.width, self.height),
            _ => (self.height, self.width),
        }
    }

    fn sample_entry(&self) -> Option<SampleEntry> {
        let config = H264SampleEntryConfig { length_size: LengthSize::FourBytes };
        build_avc1_box(&self.sps, &self.pps, &config).ok().map(SampleEntry::Avc1)
    }

    /// Transformation matrix of the rotation (ISO/IEC 14496-12, 6.2.2): u, v and w are 2.30, the others 16.16.
    fn matrix(&self) -> [i32; 9] {
        const ONE: i32 = 1 << 16;
        let (w, h) = (i32::from(self.width) << 16, i32::from(self.height) << 16);
        let (a, b, c, d, x, y) = match self.rotation {
            0 => (ONE, 0, 0, ONE, 0, 0),
            1 => (0, ONE, -ONE, 0, h, 0),
            2 => (-ONE, 0, 0, -ONE, w, h),
            _ => (0, -ONE, ONE, 0, 0, w),
        };
        [a, b, 0, c, d, 0, x, y, 1 << 30]
    }
}

/// The codec of an audio track, always at 48 kHz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AudioFormat {
    Aac { specific_config: Vec<u8>, bitrate: u32 },
    Opus,
}

impl AudioFormat {
    fn sample_entry(&self) -> Option<SampleEntry> {
        match self {
            AudioFormat::Aac { specific_config, bitrate } => {
                let config = parse_audio_specific_config(specific_config).ok()?;
                let entry =
                    Mp4aSampleEntryConfig { es_id: 1, buffer_size_db: 0, max_bitrate: *bitrate, avg_bitrate: *bitrate };
                build_mp4a_box(&config, &entry).ok().map(SampleEntry::Mp4a)
            }
            AudioFormat::Opus => {
                let (channel_count, input_sample_rate) = (ChannelCount::Stereo, AUDIO_TIMESCALE);
                let config = OpusSampleEntryConfig { channel_count, pre_skip: 0, input_sample_rate, output_gain: 0 };
                Some(SampleEntry::Opus(build_opus_box(&config)))
            }
        }
    }
}

/// The tracks of a part of a recording, which has one initialization segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) video: Option<VideoFormat>,
    pub(crate) audio: Option<AudioFormat>,
}

impl Format {
    fn sample_entries(&self) -> impl Iterator<Item = SampleEntry> {
        let video = self.video.as_ref().and_then(VideoFormat::sample_entry);
        video.into_iter().chain(self.audio.as_ref().and_then(AudioFormat::sample_entry))
    }

    /// Codec strings (RFC 6381).
    pub(crate) fn codecs(&self) -> Vec<String> {
        self.sample_entries().filter_map(|entry| from_sample_entry(&entry).ok()).collect()
    }

    /// The initialization segment. Empty if it cannot be encoded, which valid formats never cause.
    pub(crate) fn init_segment(&self) -> Vec<u8> {
        let ftyp = FtypBox {
            major_brand: Brand::ISO6,
            minor_version: 0,
            compatible_brands: vec![Brand::ISO6, Brand::ISO5, Brand::MP41],
        };
        let mut trak_boxes = Vec::new();
        if let Some(video) = &self.video {
            trak_boxes.extend(video.sample_entry().map(|entry| trak(VIDEO_TRACK, Some(video), entry)));
        }
        if let Some(audio) = &self.audio {
            trak_boxes.extend(audio.sample_entry().map(|entry| trak(AUDIO_TRACK, None, entry)));
        }
        let trex = |trak: &TrakBox| TrexBox {
            track_id: trak.tkhd_box.track_id,
            default_sample_description_index: 1,
            default_sample_duration: 0,
            default_sample_size: 0,
            default_sample_flags: SampleFlags::new(0),
        };
        let trex_boxes = trak_boxes.iter().map(trex).collect();
        let moov = MoovBox {
            mvhd_box: MvhdBox {
                creation_time: Mp4FileTime::default(),
                modification_time: Mp4FileTime::default(),
                timescale: MOVIE_TIMESCALE,
                duration: 0,
                rate: MvhdBox::DEFAULT_RATE,
                volume: MvhdBox::DEFAULT_VOLUME,
                matrix: MvhdBox::DEFAULT_MATRIX,
                next_track_id: AUDIO_TRACK + 1,
            },
            trak_boxes,
            mvex_box: Some(MvexBox { mehd_box: None, trex_boxes, unknown_boxes: Vec::new() }),
            unknown_boxes: Vec::new(),
        };
        let encode = || Ok::<_, shiguredo_mp4::Error>([ftyp.encode_to_vec()?, moov.encode_to_vec()?].concat());
        encode().unwrap_or_default()
    }
}

const MOVIE_TIMESCALE: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");

fn trak(track_id: u32, video: Option<&VideoFormat>, entry: SampleEntry) -> TrakBox {
    let timescale = if video.is_some() { VIDEO_TIMESCALE } else { AUDIO_TIMESCALE };
    let side = |side: u16| FixedPointNumber::new(i16::try_from(side).unwrap_or(i16::MAX), 0);
    let (width, height) = video.map_or((0, 0), |video| (video.width, video.height));
    let (handler_type, name, media_header) = match video {
        Some(_) => (HdlrBox::HANDLER_TYPE_VIDE, "video", MediaHeader::Vmhd(VmhdBox::default())),
        None => (HdlrBox::HANDLER_TYPE_SOUN, "audio", MediaHeader::Smhd(SmhdBox::default())),
    };
    let stbl_box = StblBox {
        stsd_box: StsdBox { entries: vec![entry] },
        stts_box: SttsBox { entries: Vec::new() },
        ctts_box: None,
        cslg_box: None,
        stsc_box: StscBox { entries: Vec::new() },
        stsz_box: StszBox::Variable { entry_sizes: Vec::new() },
        stco_or_co64_box: Either::A(StcoBox { chunk_offsets: Vec::new() }),
        stss_box: None,
        sdtp_box: None,
        unknown_boxes: Vec::new(),
    };
    TrakBox {
        tkhd_box: TkhdBox {
            flag_track_enabled: true,
            flag_track_in_movie: true,
            flag_track_in_preview: false,
            flag_track_size_is_aspect_ratio: false,
            creation_time: Mp4FileTime::default(),
            modification_time: Mp4FileTime::default(),
            track_id,
            duration: 0,
            layer: TkhdBox::DEFAULT_LAYER,
            alternate_group: TkhdBox::DEFAULT_ALTERNATE_GROUP,
            volume: if video.is_some() { TkhdBox::DEFAULT_VIDEO_VOLUME } else { TkhdBox::DEFAULT_AUDIO_VOLUME },
            matrix: video.map_or(TkhdBox::DEFAULT_MATRIX, VideoFormat::matrix),
            width: side(width),
            height: side(height),
        },
        edts_box: None,
        mdia_box: MdiaBox {
            mdhd_box: MdhdBox {
                creation_time: Mp4FileTime::default(),
                modification_time: Mp4FileTime::default(),
                timescale: NonZeroU32::new(timescale).unwrap_or(NonZeroU32::MIN),
                duration: 0,
                language: LanguageCode::UNDEFINED,
            },
            hdlr_box: HdlrBox { handler_type, name: [name.as_bytes(), &[0]].concat() },
            minf_box: MinfBox {
                media_header: Some(media_header),
                dinf_box: DinfBox::LOCAL_FILE,
                stbl_box,
                unknown_boxes: Vec::new(),
            },
            unknown_boxes: Vec::new(),
        },
        unknown_boxes: Vec::new(),
    }
}
