//! A participant that publishes real packets.

use super::studio::{START, ms};
use greenroom_codecs::SAMPLE_RATE;
use greenroom_codecs::h264::payloads::{MAX_PAYLOAD, packetize};
use greenroom_codecs::h264::{H264Encoder, nal_units};
use greenroom_codecs::opus::OpusEncoder;
use greenroom_codecs::picture::Picture;
use greenroom_composition::ParticipantId;
use greenroom_composition::pipeline::{Codec, Packet};
use std::f64::consts::TAU;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A packet of Opus that is silent for 20 ms.
const SILENCE: [u8; 3] = [0xfc, 0xff, 0xfe];

/// What happens to a packet on its way: its delay, or `None` if it is lost.
pub type Network = Box<dyn FnMut(&mut Packet) -> Option<Duration>>;
/// The picture that is captured at a time since the start.
pub type Look = Box<dyn Fn(Duration) -> Arc<Picture>>;
/// The frame that is sent instead of the encoder's one.
pub type Frames = Box<dyn FnMut(u64) -> Vec<Packet>>;
/// A sample at a time in seconds; `None` for silence.
pub type Sound = Box<dyn Fn(f64) -> Option<f64>>;

pub fn tone(frequency: f64, amplitude: f64) -> Sound {
    Box::new(move |time| Some(amplitude * (time * frequency * TAU).sin()))
}

enum Video {
    Encoded { look: Look, encoder: Box<H264Encoder>, force_key: bool },
    Raw(Frames),
}

pub struct Device {
    pub id: ParticipantId,
    joined: Duration,
    video: Option<Video>,
    frame_rate: f64,
    frames: u64,
    video_number: u64,
    pub sound: Option<Sound>,
    encoder: OpusEncoder,
    /// Speed of the microphone's clock.
    pub clock: f64,
    audio_packets: u64,
    audio_number: u64,
    /// In this span since the start, nothing is sent.
    pub muted: Range<Duration>,
    pub network: Network,
    pub key_frames_requested: Vec<Duration>,
    pub max_height: Option<u32>,
    pub left: bool,
}

impl Device {
    pub fn new(id: &str, joined: Duration) -> Device {
        Device {
            id: id.into(),
            joined,
            video: None,
            frame_rate: 30.0,
            frames: 0,
            video_number: 1_000,
            sound: None,
            encoder: OpusEncoder::new(2, 96_000).unwrap(),
            clock: 1.0,
            audio_packets: 0,
            audio_number: 0,
            muted: ms(0)..ms(0),
            network: Box::new(|_| Some(ms(20))),
            key_frames_requested: Vec::new(),
            max_height: None,
            left: false,
        }
    }

    pub fn looks(mut self, frame_rate: f64, look: Look) -> Device {
        let encoder = Box::new(H264Encoder::new(30.0, 2_000_000).unwrap());
        self.video = Some(Video::Encoded { look, encoder, force_key: false });
        self.frame_rate = frame_rate;
        self
    }

    pub fn shows(self, picture: Arc<Picture>) -> Device {
        self.looks(30.0, Box::new(move |_| picture.clone()))
    }

    /// Sends packets of the caller, whose sequence numbers, timestamps and capture times are set here.
    pub fn sends(mut self, frame_rate: f64, frames: Frames) -> Device {
        (self.video, self.frame_rate) = (Some(Video::Raw(frames)), frame_rate);
        self
    }

    pub fn sounds(mut self, sound: Sound) -> Device {
        self.sound = Some(sound);
        self
    }

    pub fn through(mut self, network: Network) -> Device {
        self.network = network;
        self
    }

    /// Is asked for a key frame.
    pub fn request_key_frame(&mut self, at: Duration) {
        self.key_frames_requested.push(at);
        if let Some(Video::Encoded { force_key, .. }) = &mut self.video {
            *force_key = true;
        }
    }

    /// The packets of all that is captured before a time since the start.
    pub fn capture(&mut self, until: Duration) -> Vec<Packet> {
        let mut packets = Vec::new();
        if self.left || self.joined >= until {
            return packets;
        }
        loop {
            let at = self.joined + Duration::from_secs_f64(self.frames as f64 / self.frame_rate);
            if self.video.is_none() || at >= until {
                break;
            }
            if !self.muted.contains(&at) {
                packets.extend(self.frame(at));
            }
            self.frames += 1;
        }
        loop {
            let at = self.joined + Duration::from_secs_f64(self.audio_packets as f64 * 0.02 / self.clock);
            if self.sound.is_none() || at >= until {
                break;
            }
            if !self.muted.contains(&at) {
                packets.push(self.packet_of_sound(at));
                self.audio_number += 1;
            }
            self.audio_packets += 1;
        }
        packets
    }

    fn frame(&mut self, at: Duration) -> Vec<Packet> {
        let mut packets = match &mut self.video {
            Some(Video::Encoded { look, encoder, force_key }) => {
                let encoded = encoder.encode(&look(at), at, std::mem::take(force_key)).unwrap();
                encoded.map_or(vec![], |encoded| h264_packets(&encoded.unit))
            }
            Some(Video::Raw(frames)) => frames(self.frames),
            None => vec![],
        };
        let timestamp = (at.as_secs_f64() * 90_000.0) as u64 as u32;
        for packet in &mut packets {
            (packet.sequence_number, packet.timestamp) = (self.video_number, timestamp.wrapping_add(4_000_000_000));
            packet.captured = START + at;
            self.video_number += 1;
        }
        packets
    }

    fn packet_of_sound(&mut self, at: Duration) -> Packet {
        let time = |sample: u64| at.as_secs_f64() + sample as f64 / f64::from(SAMPLE_RATE) / self.clock;
        let sample = |at: u64| self.sound.as_ref().and_then(|sound| sound(time(at)));
        let is_silent = sample(0).is_none() && sample(959).is_none();
        let payload = if is_silent {
            SILENCE.to_vec()
        } else {
            let samples = (0..960).map(|at| (sample(at).unwrap_or(0.0) * 32_767.0) as i16);
            self.encoder.encode(&samples.flat_map(|sample| [sample; 2]).collect::<Vec<_>>()).unwrap()
        };
        Packet {
            codec: Codec::Opus,
            sequence_number: self.audio_number,
            timestamp: (self.audio_packets * 960) as u32,
            marker: false,
            captured: START + at,
            rotation: None,
            payload: payload.into(),
        }
    }
}

pub fn packet(codec: Codec, payload: impl Into<Arc<[u8]>>, marker: bool) -> Packet {
    Packet { codec, sequence_number: 0, timestamp: 0, marker, captured: START, rotation: None, payload: payload.into() }
}

/// The packets of an access unit.
pub fn h264_packets(unit: &[u8]) -> Vec<Packet> {
    let payloads = packetize(&nal_units(unit).collect::<Vec<_>>(), MAX_PAYLOAD);
    let last = payloads.len().saturating_sub(1);
    payloads.into_iter().enumerate().map(|(at, payload)| packet(Codec::H264, payload, at == last)).collect()
}

/// The packets of a VP8 frame, with the shortest descriptor.
pub fn vp8_packets(frame: &[u8]) -> Vec<Packet> {
    let last = frame.chunks(1_000).count() - 1;
    let payload = |at: usize, part: &[u8]| [&[if at == 0 { 0x10 } else { 0 }][..], part].concat();
    let parts = frame.chunks(1_000).enumerate();
    parts.map(|(at, part)| packet(Codec::Vp8, payload(at, part), at == last)).collect()
}

/// A network that loses so many packets of a hundred, and delays the others by 20 to 51 ms.
pub fn losing(percent: u32, mut seed: u32) -> Network {
    Box::new(move |_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((seed >> 16) % 100 >= percent).then_some(ms(20 + u64::from(seed >> 8 & 0x1f)))
    })
}
