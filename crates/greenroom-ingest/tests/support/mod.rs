//! FLV files, synthetic tags, and receivers for the tests.

#![allow(dead_code, reason = "each test uses a part of it")]

use greenroom_codecs::aac::AacEncoder;
use greenroom_codecs::h264::{H264Decoder, H264Encoder, nal_units};
use greenroom_codecs::opus::OpusDecoder;
use greenroom_codecs::picture::Picture;
use greenroom_ingest::{Ingest, IngestError, Settings};
use greenroom_media::MediaPacket;
use std::path::Path;
use std::time::{Duration, Instant};

/// A tag of an FLV file.
#[derive(Clone, Debug)]
pub struct Tag {
    pub is_audio: bool,
    pub timestamp: u32,
    pub body: Vec<u8>,
}

/// Audio and video tags of a fixture.
pub fn fixture(name: &str) -> Vec<Tag> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut rest = bytes.strip_prefix(b"FLV\x01").expect("an FLV file");
    // Flags, the length of the header, and the length of no tag.
    rest = &rest[9..];
    let mut tags = Vec::new();
    while let [kind, l1, l2, l3, t1, t2, t3, t0, _, _, _, after @ ..] = rest {
        let (body, after) = after.split_at(u32::from_be_bytes([0, *l1, *l2, *l3]) as usize);
        if matches!(kind, 8 | 9) {
            let timestamp = u32::from_be_bytes([*t0, *t1, *t2, *t3]);
            tags.push(Tag { is_audio: *kind == 8, timestamp, body: body.to_vec() });
        }
        rest = &after[4..];
    }
    assert!(!tags.is_empty() && rest.is_empty());
    tags
}

/// An [`Ingest`] with a virtual clock.
pub struct Encoder {
    pub ingest: Ingest,
    pub start: Instant,
    pub now: Instant,
    pub packets: Vec<MediaPacket>,
}

impl Encoder {
    pub fn new(strict_ivs: bool) -> Encoder {
        let start = Instant::now();
        Encoder { ingest: Ingest::new(start, Settings { strict_ivs }), start, now: start, packets: Vec::new() }
    }

    /// Sets the time since the start, in ms.
    pub fn at(&mut self, ms: u64) -> &mut Encoder {
        self.now = self.start + Duration::from_millis(ms);
        self
    }

    pub fn send(&mut self, tag: &Tag) -> Result<(), IngestError> {
        let result = match tag.is_audio {
            true => self.ingest.audio(self.now, tag.timestamp, &tag.body),
            false => self.ingest.video(self.now, tag.timestamp, &tag.body),
        };
        self.packets.extend(std::iter::from_fn(|| self.ingest.poll_packet()));
        result
    }

    pub fn video(&mut self, timestamp: u32, body: &[u8]) -> Result<(), IngestError> {
        self.send(&Tag { is_audio: false, timestamp, body: body.to_vec() })
    }

    pub fn audio(&mut self, timestamp: u32, body: &[u8]) -> Result<(), IngestError> {
        self.send(&Tag { is_audio: true, timestamp, body: body.to_vec() })
    }

    /// The packets since the last call.
    pub fn take(&mut self) -> Vec<MediaPacket> {
        std::mem::take(&mut self.packets)
    }

    /// Microseconds from the start to the capture of a packet.
    pub fn captured(&self, packet: &MediaPacket) -> i64 {
        match packet.captured.checked_duration_since(self.start) {
            Some(after) => after.as_micros() as i64,
            None => -((self.start - packet.captured).as_micros() as i64),
        }
    }
}

/// Tags of H.264 of one size.
pub struct Camera {
    encoder: H264Encoder,
    size: (usize, usize),
    frames: u64,
}

impl Camera {
    pub fn new(width: usize, height: usize) -> Camera {
        Camera { encoder: H264Encoder::new(30.0, 1_000_000).unwrap(), size: (width, height), frames: 0 }
    }

    /// NAL units of the next frame.
    pub fn nal_units(&mut self, key: bool) -> Vec<Vec<u8>> {
        let picture = Picture::black(self.size.0, self.size.1).unwrap();
        let time = Duration::from_millis(33 * self.frames);
        self.frames += 1;
        let encoded = self.encoder.encode(&picture, time, key).unwrap().expect("black is not skipped");
        assert_eq!(encoded.key_frame, key || self.frames == 1);
        nal_units(&encoded.unit).map(<[u8]>::to_vec).collect()
    }

    /// The configuration, and a key frame without parameter sets.
    pub fn start(&mut self) -> (Vec<u8>, Vec<u8>) {
        let nal_units = self.nal_units(true);
        let of = |kind: u8| nal_units.iter().find(|nal| nal[0] & 0x1f == kind).unwrap();
        (configuration(of(7), of(8)), frame(0, &[of(5)]))
    }

    pub fn inter(&mut self) -> Vec<u8> {
        let nal_units = self.nal_units(false);
        frame(0, &nal_units.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}

/// A tag with an AVCDecoderConfigurationRecord.
pub fn configuration(sps: &[u8], pps: &[u8]) -> Vec<u8> {
    let mut tag = vec![0x17, 0, 0, 0, 0, 1, sps[1], sps[2], sps[3], 0xff, 0xe1];
    tag.extend_from_slice(&(sps.len() as u16).to_be_bytes());
    tag.extend_from_slice(sps);
    tag.push(1);
    tag.extend_from_slice(&(pps.len() as u16).to_be_bytes());
    tag.extend_from_slice(pps);
    tag
}

/// A tag with a frame. It says that it is an inter frame, whatever it is.
pub fn frame(composition_time: i32, nal_units: &[&[u8]]) -> Vec<u8> {
    let mut tag = vec![0x27, 1];
    tag.extend_from_slice(&composition_time.to_be_bytes()[1..]);
    for nal in nal_units {
        tag.extend_from_slice(&(nal.len() as u32).to_be_bytes());
        tag.extend_from_slice(nal);
    }
    tag
}

/// Tags of AAC at 48 kHz: the configuration, and an access unit for each 1,024 samples.
pub fn aac(channels: usize, pcm: &[i16]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut encoder = AacEncoder::new(channels, 96_000).unwrap();
    let mut units = Vec::new();
    encoder.encode(pcm, |unit| units.push([&[0xaf, 1][..], unit].concat())).unwrap();
    ([&[0xaf, 0][..], &encoder.audio_specific_config()].concat(), units)
}

/// Access units of a layer: the capture of each, and its NAL units.
pub fn frames(packets: &[MediaPacket], layer: u8) -> Vec<(Instant, Vec<Vec<u8>>)> {
    let mut frames = Vec::new();
    let mut nal_units: Vec<Vec<u8>> = Vec::new();
    for packet in packets.iter().filter(|packet| packet.track == 1 && packet.layer == layer) {
        match packet.payload[0] & 0x1f {
            24 => {
                let mut rest = &packet.payload[1..];
                while let [high, low, after @ ..] = rest {
                    let (nal, after) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                    nal_units.push(nal.to_vec());
                    rest = after;
                }
            }
            28 if packet.payload[1] & 0x80 != 0 => {
                let header = packet.payload[0] & 0xe0 | packet.payload[1] & 0x1f;
                nal_units.push([&[header], &packet.payload[2..]].concat());
            }
            28 => nal_units.last_mut().unwrap().extend_from_slice(&packet.payload[2..]),
            _ => nal_units.push(packet.payload.to_vec()),
        }
        if packet.marker {
            frames.push((packet.captured, std::mem::take(&mut nal_units)));
        }
    }
    assert!(nal_units.is_empty(), "the last packet of a frame has the marker");
    frames
}

/// Decodes a layer: the capture of each frame, and its picture.
pub fn pictures(packets: &[MediaPacket], layer: u8) -> Vec<(Instant, Picture)> {
    let mut decoder = H264Decoder::new();
    let mut decode = |(captured, nal_units): (Instant, Vec<Vec<u8>>)| {
        let unit: Vec<u8> = nal_units.iter().flat_map(|nal| [&[0, 0, 0, 1][..], nal].concat()).collect();
        (captured, decoder.decode(&unit).unwrap().expect("a picture"))
    };
    frames(packets, layer).into_iter().map(&mut decode).collect()
}

/// Decoded audio.
pub struct Sound {
    /// When each packet of 20 ms was captured, in µs since the start.
    captured: Vec<i64>,
    /// Samples of each channel.
    pub channels: Vec<Vec<f64>>,
}

impl Sound {
    pub fn decode(encoder: &Encoder, channels: usize) -> Sound {
        let mut decoder = OpusDecoder::new(channels).unwrap();
        let (mut pcm, mut captured) = (Vec::new(), Vec::new());
        for packet in encoder.packets.iter().filter(|packet| packet.track == 0) {
            captured.push(encoder.captured(packet));
            assert_eq!(decoder.decode(&packet.payload, &mut pcm), Ok(960));
        }
        let samples = |channel| pcm.iter().skip(channel).step_by(channels).map(|sample| f64::from(*sample) / 32_768.0);
        Sound { captured, channels: (0..channels).map(|channel| samples(channel).collect()).collect() }
    }

    /// When a sample was captured, in µs since the start.
    pub fn time(&self, sample: usize) -> i64 {
        self.captured[sample / 960] + (sample % 960) as i64 * 1_000 / 48
    }
}

/// First sample and end of each tone: of what is louder than half of the maximum, by windows of a millisecond.
pub fn bursts(samples: &[f64]) -> Vec<(usize, usize)> {
    let level = |window: &[f64]| window.iter().fold(0.0, |level: f64, sample| level.max(sample.abs()));
    let levels: Vec<f64> = samples.chunks(48).map(level).collect();
    let half = level(samples) / 2.0;
    let mut bursts: Vec<(usize, usize)> = Vec::new();
    for (at, _) in levels.iter().enumerate().filter(|(_, level)| **level > half) {
        match bursts.last_mut() {
            Some((_, end)) if at * 48 <= *end + 480 => *end = (at + 1) * 48,
            _ => bursts.push((at * 48, (at + 1) * 48)),
        }
    }
    bursts
}

/// Amplitude of a frequency in the samples.
pub fn amplitude(samples: &[f64], frequency: f64) -> f64 {
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let phase = at as f64 * frequency * std::f64::consts::TAU / 48_000.0;
        (real, imaginary) = (real + sample * phase.cos(), imaginary + sample * phase.sin());
    }
    2.0 * f64::hypot(real, imaginary) / samples.len() as f64
}
