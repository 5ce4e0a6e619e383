//! A publisher on a virtual clock, a recorder, and what it has stored.

#![allow(dead_code, reason = "each test program uses a part")]

use chrono::{DateTime, Utc};
use greenroom_codecs::aac::AacDecoder;
use greenroom_codecs::h264::{H264Decoder, H264Encoder, nal_units};
use greenroom_codecs::picture::Picture;
use greenroom_media::{Codec, MediaKind, MediaPacket, MediaTrack};
use greenroom_recording::metadata::{End, Metadata};
use greenroom_recording::verify::{Report, Severity, Source, SourceError, verify};
use greenroom_recording::{
    AudioFormat, MediaType, Output, RecordError, Recorder, RecorderConfig, Resume, Vp8Policy, close_playlist, layout,
};
use shiguredo_mp4::TrackKind;
use shiguredo_mp4::boxes::SampleEntry;
use shiguredo_mp4::demux::Fmp4SegmentDemuxer;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// 10 s of FFmpeg's `testsrc2`, 320×180 at 30 frames a second, with a key frame every 2 s, as a byte stream.
const VIDEO: &[u8] = include_bytes!("../data/testsrc.h264");
/// 10 s of Opus: a tone of 100 ms at each full second, which is decoded 312 samples late. Packets with lengths of 2 bytes.
const AUDIO: &[u8] = include_bytes!("../data/beep.opus");

pub const TRACKS: [MediaTrack; 2] = [
    MediaTrack { kind: MediaKind::Audio, codec: Codec::Opus },
    MediaTrack { kind: MediaKind::Video, codec: Codec::H264 },
];
pub const AUDIO_TRACK: usize = 0;
pub const VIDEO_TRACK: usize = 1;

pub fn config() -> RecorderConfig {
    RecorderConfig {
        media: MediaType::AudioVideo,
        audio: AudioFormat::Aac,
        vp8: Vp8Policy::Refuse,
        segment_target: Duration::from_secs(6),
        thumbnails: None,
    }
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The access units of the video: their NAL units.
pub fn access_units() -> Vec<Vec<&'static [u8]>> {
    let mut units: Vec<Vec<&[u8]>> = Vec::new();
    for unit in nal_units(VIDEO) {
        // An access unit delimiter.
        if unit[0] & 0x1f == 9 {
            units.push(Vec::new());
        } else if let Some(last) = units.last_mut() {
            last.push(unit);
        }
    }
    units
}

pub fn audio_packets() -> Vec<&'static [u8]> {
    let mut rest = AUDIO;
    let mut packets = Vec::new();
    while let [high, low, tail @ ..] = rest {
        let (packet, after) = tail.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        packets.push(packet);
        rest = after;
    }
    packets
}

/// RTP payloads of an access unit: single NAL units, and fragments (FU-A) of those that are larger than a packet.
pub fn payloads(units: &[&[u8]]) -> Vec<Vec<u8>> {
    const LARGEST: usize = 1_100;
    let mut payloads = Vec::new();
    for unit in units {
        if unit.len() <= LARGEST {
            payloads.push(unit.to_vec());
            continue;
        }
        let chunks: Vec<_> = unit[1..].chunks(LARGEST).collect();
        for (n, chunk) in chunks.iter().enumerate() {
            let flags = u8::from(n == 0) << 7 | u8::from(n + 1 == chunks.len()) << 6;
            payloads.push([&[(unit[0] & 0xe0) | 28, (unit[0] & 0x1f) | flags], *chunk].concat());
        }
    }
    payloads
}

/// RTP payloads of a VP8 frame, with the shortest descriptor.
fn vp8_payloads(frame: &[u8]) -> Vec<Vec<u8>> {
    let chunks = frame.chunks(1_100).enumerate();
    chunks.map(|(n, chunk)| [&[if n == 0 { 0x10 } else { 0 }][..], chunk].concat()).collect()
}

/// What happens to a packet on its way: its delay, or `None` if it is lost.
pub type Network = Box<dyn FnMut(&MediaPacket) -> Option<Duration>>;

/// A network that loses so many packets of a hundred, and delays the others by 20 to 51 ms.
pub fn losing(percent: u32, mut seed: u32) -> Network {
    Box::new(move |_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let delay = ms(20 + u64::from(seed >> 8 & 0x1f));
        ((seed >> 16) % 100 >= percent).then_some(delay)
    })
}

/// Sends the clip over and over.
pub struct Simulation {
    pub start: Instant,
    pub now: Instant,
    pub recorder: Recorder,
    pub config: RecorderConfig,
    pub stored: BTreeMap<String, Vec<u8>>,
    /// Paths in the order in which they were stored.
    pub order: Vec<String>,
    pub key_frames_requested: Vec<Duration>,
    pub network: Network,
    pub sends_audio: bool,
    pub sends_video: bool,
    /// Access units of the clip, which are sent over and over.
    pub units: Vec<Vec<&'static [u8]>>,
    /// Codec of the video, and clockwise quarter turns of its frames.
    pub codec: Codec,
    pub rotation: Option<u8>,
    sounds: Vec<&'static [u8]>,
    audio_number: u64,
    video_number: u64,
    next_audio: u64,
    next_video: u64,
    /// Packets on their way, by arrival.
    in_flight: BTreeMap<(Instant, u64), MediaPacket>,
    sent: u64,
    /// How fast the publisher's audio clock runs, in parts per million.
    pub audio_drift_ppm: i64,
    /// By how much the capture times of sound are too late, as they are before the first sender report.
    pub audio_capture_error: Duration,
    pub error: Option<RecordError>,
}

pub fn utc() -> DateTime<Utc> {
    "2026-11-30T10:00:00Z".parse().unwrap()
}

impl Simulation {
    pub fn new(config: RecorderConfig) -> Simulation {
        Simulation::resumed(config, Resume::default(), Duration::ZERO)
    }

    /// Goes on with a recording, so long after its start.
    pub fn resumed(config: RecorderConfig, resume: Resume, after: Duration) -> Simulation {
        let start = Instant::now();
        Simulation {
            start,
            now: start,
            config,
            recorder: Recorder::new(config, &TRACKS, start, utc() + after, resume).unwrap(),
            stored: BTreeMap::new(),
            order: Vec::new(),
            key_frames_requested: Vec::new(),
            network: Box::new(|_| Some(ms(20))),
            sends_audio: true,
            sends_video: true,
            units: access_units(),
            codec: Codec::H264,
            rotation: None,
            sounds: audio_packets(),
            audio_number: 0,
            video_number: 70_000,
            next_audio: 0,
            next_video: 0,
            in_flight: BTreeMap::new(),
            sent: 0,
            audio_drift_ppm: 0,
            audio_capture_error: Duration::ZERO,
            error: None,
        }
    }

    pub fn at(&self) -> Duration {
        self.now - self.start
    }

    /// Lets time pass, in steps of 10 ms.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.send_due();
            self.now += ms(10);
            self.receive();
            if self.at().as_millis().is_multiple_of(100) {
                self.error = self.recorder.advance(self.now).err().or(self.error.take());
            }
            self.take_outputs();
        }
    }

    pub fn finish(&mut self) {
        self.error = self.recorder.finish(self.now).err().or(self.error.take());
        self.take_outputs();
    }

    fn send_due(&mut self) {
        // A packet of 20 ms by the publisher's clock.
        while self.audio_time(self.next_audio) <= self.at() {
            let (number, at) = (self.next_audio, self.audio_time(self.next_audio));
            self.next_audio += 1;
            if self.sends_audio {
                let sound = self.sounds[number as usize % 500];
                self.send(AUDIO_TRACK, (number * 960) as u32, at, vec![sound.to_vec()]);
            }
        }
        while ms(self.next_video * 1_000 / 30) <= self.at() {
            let number = self.next_video;
            self.next_video += 1;
            if self.sends_video {
                let unit = &self.units[number as usize % self.units.len()];
                let frame = if self.codec == Codec::Vp8 { vp8_payloads(unit[0]) } else { payloads(unit) };
                let captured = Duration::from_micros(number * 1_000_000 / 30);
                self.send(VIDEO_TRACK, (number * 3_000) as u32, captured, frame);
            }
        }
    }

    fn audio_time(&self, number: u64) -> Duration {
        let micros = number as i64 * 20_000;
        Duration::from_micros((micros - micros * self.audio_drift_ppm / 1_000_000) as u64)
    }

    pub fn send(&mut self, track: usize, timestamp: u32, captured: Duration, payloads: Vec<Vec<u8>>) {
        let count = payloads.len();
        let error = if track == AUDIO_TRACK { self.audio_capture_error } else { Duration::ZERO };
        for (n, payload) in payloads.into_iter().enumerate() {
            let number = if track == AUDIO_TRACK { &mut self.audio_number } else { &mut self.video_number };
            let sequence_number = *number;
            *number += 1;
            let packet = MediaPacket {
                track,
                layer: 0,
                codec: if track == VIDEO_TRACK { self.codec } else { Codec::Opus },
                sequence_number,
                timestamp: timestamp.wrapping_add(4_294_900_000),
                marker: n + 1 == count,
                captured: self.start + captured + error,
                rotation: self.rotation.filter(|_| track == VIDEO_TRACK),
                payload: payload.into(),
            };
            if let Some(delay) = (self.network)(&packet) {
                self.sent += 1;
                self.in_flight.insert((self.now + delay, self.sent), packet);
            }
        }
    }

    fn receive(&mut self) {
        while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let packet = entry.remove();
            self.error = self.recorder.push(self.now, packet).err().or(self.error.take());
        }
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.recorder.poll_output() {
            match output {
                Output::Store(object) => {
                    self.order.push(object.path.clone());
                    self.stored.insert(object.path, object.contents);
                }
                Output::RequestKeyFrame => self.key_frames_requested.push(self.at()),
            }
        }
    }

    /// The recording as it is once it has ended: with a closed playlist, and verified. Returns the report, which has no error.
    pub fn verified(&mut self, name: &str) -> Report {
        self.finish();
        let closed = close_playlist(&self.text(layout::PLAYLIST)).unwrap();
        self.stored.insert(layout::PLAYLIST.to_owned(), closed.text.into_bytes());
        let metadata = Metadata {
            stage_arn: "arn:aws:ivs:us-east-1:123456789012:stage/abcdefgh1234",
            session_id: "st-abcdefgh1234",
            participant_id: "abcdefgh1234",
            started_at: Some(utc()),
            config: self.config,
        };
        let end = End { at: utc() + self.at(), duration_ms: closed.duration.as_millis() as u64, failure: None };
        for object in [metadata.started(), metadata.ended(end)] {
            self.stored.insert(object.path, object.contents);
        }
        self.dump(name);
        let report = verify(&mut Stored(&self.stored)).unwrap();
        let errors: Vec<_> = report.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}\n{}", self.text(layout::PLAYLIST));
        report
    }

    pub fn text(&self, path: &str) -> String {
        String::from_utf8(self.stored[path].clone()).unwrap()
    }

    /// Writes what is stored to a folder named by `RECORDING_TEST_OUTPUT`, to look at it.
    pub fn dump(&self, name: &str) {
        let Some(folder) = std::env::var_os("RECORDING_TEST_OUTPUT") else { return };
        for (path, contents) in &self.stored {
            let path = std::path::Path::new(&folder).join(name).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }
    }
}

struct Stored<'a>(&'a BTreeMap<String, Vec<u8>>);

impl Source for Stored<'_> {
    fn list(&mut self) -> Result<Vec<String>, SourceError> {
        Ok(self.0.keys().cloned().collect())
    }

    fn read(&mut self, path: &str, _limit: usize) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(path).cloned())
    }
}

/// What a player would show and play: samples of all segments.
#[derive(Debug, Default)]
pub struct Played {
    /// Time in microseconds, and which frame of the clip it is, if it is one.
    pub frames: Vec<(u64, Option<usize>)>,
    /// The pictures that a decoder shows.
    pub pictures: Vec<Picture>,
    /// Times in microseconds at which a tone begins.
    pub tones: Vec<u64>,
}

impl Simulation {
    /// Reads the segments back, and decodes the sound.
    pub fn played(&self) -> Played {
        self.play(false)
    }

    /// The same, with decoded pictures.
    pub fn shown(&self) -> Played {
        self.play(true)
    }

    fn play(&self, decodes_pictures: bool) -> Played {
        let mut video_decoder = H264Decoder::new();
        let stripped: Vec<Vec<u8>> = self
            .units
            .iter()
            .map(|unit| {
                let slices = unit.iter().filter(|nal| (1..=5).contains(&(nal[0] & 0x1f)));
                slices.flat_map(|nal| [&(nal.len() as u32).to_be_bytes()[..], nal].concat()).collect()
            })
            .collect();
        let ends_with = |data: &[u8]| stripped.iter().position(|unit| data.ends_with(unit));
        let mut played = Played::default();
        let (mut decoder, mut demuxer) = (None, Fmp4SegmentDemuxer::new());
        let (mut pcm, mut loud_until) = (Vec::new(), 0);
        for line in self.text(layout::PLAYLIST).lines() {
            if let Some(rest) = line.strip_prefix("#EXT-X-MAP:URI=\"") {
                let init = &self.stored[&format!("{}/{}", layout::RENDITION, rest.trim_end_matches('"'))];
                demuxer = Fmp4SegmentDemuxer::new();
                demuxer.handle_init_segment(init).unwrap();
            } else if !line.starts_with('#') {
                let contents = &self.stored[&format!("{}/{line}", layout::RENDITION)];
                for sample in demuxer.handle_media_segment(contents).unwrap() {
                    let at = sample.timestamp * 1_000_000 / u64::from(sample.track.timescale.get());
                    let data = &contents[sample.data_offset as usize..][..sample.data_size];
                    if sample.track.kind == TrackKind::Video {
                        played.frames.push((at, ends_with(data)));
                        if decodes_pictures {
                            let mut stream = Vec::new();
                            if let Some(SampleEntry::Avc1(entry)) = sample.sample_entry.filter(|_| sample.keyframe) {
                                let sets = entry.avcc_box.sps_list.iter().chain(&entry.avcc_box.pps_list);
                                sets.for_each(|set| stream.extend([&[0, 0, 0, 1], &set[..]].concat()));
                            }
                            stream.extend(byte_stream(data));
                            let picture = video_decoder.decode(&stream).unwrap();
                            played.pictures.push(picture.expect("every sample is a picture"));
                        }
                        continue;
                    }
                    if let Some(SampleEntry::Mp4a(entry)) = sample.sample_entry {
                        let config = &entry.esds_box.es.dec_config_descr.dec_specific_info.as_ref().unwrap().payload;
                        decoder.get_or_insert_with(|| AacDecoder::new(config).unwrap());
                    }
                    pcm.clear();
                    decoder.as_mut().unwrap().decode(data, &mut pcm).unwrap();
                    for (n, _) in pcm.chunks(2).enumerate().filter(|(_, pair)| pair[0].unsigned_abs() > 3_000) {
                        let time = at + n as u64 * 1_000_000 / 48_000;
                        if time > loud_until {
                            played.tones.push(time);
                        }
                        loud_until = time + 300_000;
                    }
                }
            }
        }
        played
    }
}

/// NAL units with lengths as a byte stream.
pub fn byte_stream(mut data: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let (unit, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        stream.extend([&[0, 0, 0, 1], unit].concat());
        data = rest;
    }
    stream
}

/// The pictures of the clip.
pub fn reference() -> Vec<Picture> {
    let mut decoder = H264Decoder::new();
    let units = access_units();
    let streams =
        units.iter().map(|unit| unit.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect::<Vec<_>>());
    streams.map(|stream| decoder.decode(&stream).unwrap().unwrap()).collect()
}

/// Pictures of one size, the next one of which is brighter than the one before: access units of H.264.
pub fn brightening(width: usize, height: usize, count: usize) -> Vec<Vec<&'static [u8]>> {
    let mut encoder = H264Encoder::new(30.0, 500_000).unwrap();
    let unit = |number: usize| {
        let luma = vec![16 + (number * 200 / count) as u8; width * height];
        let chroma = vec![128; width.div_ceil(2) * height.div_ceil(2)];
        let picture = Picture::new(width, height, [luma, chroma.clone(), chroma]).unwrap();
        let at = Duration::from_millis(number as u64 * 33);
        let encoded = encoder.encode(&picture, at, number.is_multiple_of(30)).unwrap().expect("there is room for it");
        let unit: &'static [u8] = encoded.unit.leak();
        nal_units(unit).collect()
    };
    (0..count).map(unit).collect()
}

impl Played {
    /// By how many microseconds each tone is later than the frame that belongs to it.
    pub fn offsets(&self) -> Vec<i64> {
        const DECODER_DELAY: i64 = 312 * 1_000_000 / 48_000;
        let full_seconds = || self.frames.iter().filter(|(_, frame)| frame.is_some_and(|frame| frame % 30 == 0));
        let nearest =
            |tone: u64| full_seconds().map(|(at, _)| tone as i64 - *at as i64).min_by_key(|offset| offset.abs());
        let offsets = self.tones.iter().filter_map(|tone| nearest(*tone)).map(|offset| offset - DECODER_DELAY);
        offsets.filter(|offset| offset.abs() < 400_000).collect()
    }
}
