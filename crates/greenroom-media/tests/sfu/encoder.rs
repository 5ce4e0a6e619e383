//! An encoder as a source of the engine, and what a client sees of it.

use crate::frame_source::FrameSource;
use crate::simulation::Simulation;
use greenroom_media::{Codec, MediaKind, MediaPacket, MediaTrack, TransportId};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};
use str0m::media::KeyframeRequestKind;

pub const BOTH: &[&str] = &["audio", "video"];
pub const SINK: TransportId = TransportId(900);
pub const SOURCE: TransportId = TransportId(901);
/// Time of a frame, with two packets of audio.
const FRAME: Duration = Duration::from_millis(40);
const PAYLOAD_BYTES: usize = 1_100;
/// How much larger a key frame is than another one.
const KEY_FRAME: u32 = 6;
const SIZES: [(u32, u32); 2] = [(1280, 720), (320, 192)];
const TRACKS: [MediaTrack; 2] = [
    MediaTrack { kind: MediaKind::Audio, codec: Codec::Opus },
    MediaTrack { kind: MediaKind::Video, codec: Codec::H264 },
];

/// An encoder of 25 frames per second.
pub struct Encoder {
    /// Frames from one key frame to the next.
    pub gop: u32,
    /// Packets of a frame, of each layer.
    packets: Vec<u32>,
    sequence_numbers: Vec<u64>,
    frame: u32,
}

impl Encoder {
    /// `bitrates`: of the layers, in kbit/s.
    pub fn new(sim: &mut Simulation, gop: u32, bitrates: &[u32]) -> Encoder {
        sim.sfu.add_source(sim.now, SOURCE, &TRACKS, None).unwrap();
        let packets = |kbits: &u32| {
            let per_group = kbits * 125 * gop / 25 / PAYLOAD_BYTES as u32;
            (per_group / (gop - 1 + KEY_FRAME)).max(2)
        };
        let packets = bitrates.iter().map(packets).collect();
        Encoder { gop, packets, sequence_numbers: vec![70_000; bitrates.len()], frame: 0 }
    }

    /// The number of the next frame.
    pub fn next_frame(&self) -> u32 {
        self.frame
    }

    pub fn send(&mut self, sim: &mut Simulation, time: Duration) {
        for _ in 0..time.as_millis() / FRAME.as_millis() {
            self.send_audio(sim, 0);
            for layer in 0..self.packets.len() {
                self.send_video(sim, layer);
            }
            sim.run(FRAME / 2);
            self.send_audio(sim, 1);
            sim.run(FRAME / 2);
            self.frame += 1;
        }
    }

    fn send_audio(&self, sim: &mut Simulation, half: u32) {
        let number = 2 * self.frame + half;
        // Its own label: the time of capture.
        let payload = [&[0xfc; 40][..], &(sim.at().as_micros() as u64).to_be_bytes()].concat();
        self.push(sim, (0, 0), number.into(), 960 * number, true, payload);
    }

    fn send_video(&mut self, sim: &mut Simulation, layer: usize) {
        let is_key = self.frame.is_multiple_of(self.gop);
        let packets = self.packets[layer] * if is_key { KEY_FRAME } else { 1 };
        let source = FrameSource {
            size: SIZES[layer],
            payload_size: PAYLOAD_BYTES - 100 * layer,
            packets: packets.min(254) as u8,
            frame: self.frame,
            ..FrameSource::new(0, str0m::format::Codec::H264)
        };
        let payloads = source.h264(is_key);
        let count = payloads.len();
        for (index, payload) in payloads.into_iter().enumerate() {
            let number = self.sequence_numbers[layer];
            self.sequence_numbers[layer] += 1;
            let timestamp = 3_600 * self.frame + 1_000 * layer as u32;
            self.push(sim, (1, layer as u8), number, timestamp, index + 1 == count, payload);
        }
    }

    fn push(
        &self,
        sim: &mut Simulation,
        (track, layer): (usize, u8),
        sequence_number: u64,
        timestamp: u32,
        marker: bool,
        payload: Vec<u8>,
    ) {
        let packet = MediaPacket {
            track,
            layer,
            codec: TRACKS[track].codec,
            sequence_number,
            timestamp,
            marker,
            captured: sim.now,
            rotation: None,
            payload: payload.into(),
        };
        sim.sfu.push(sim.now, SOURCE, packet);
    }
}

/// Frame number, index of the packet in its frame, packets of the frame, and whether it is a key frame.
pub fn label(payload: &[u8]) -> Option<(u32, u8, u8, bool)> {
    let [a, b, c, d, index, count, key, 0x5a] = *payload.last_chunk::<8>()? else { return None };
    Some((u32::from_be_bytes([a, b, c, d]), index, count, key == 1))
}

/// A packet that a client received.
#[derive(Clone, Debug)]
pub struct SeenPacket {
    pub arrived: Duration,
    /// When it was captured, on the clock of the simulation.
    pub captured: Duration,
    /// When it was captured by the sender reports, in seconds.
    pub reported_at: Option<f64>,
    pub is_video: bool,
    pub layer: usize,
    pub frame: u32,
    pub index: u8,
    count: u8,
    is_key: bool,
    pub number: u64,
    timestamp: u32,
}

#[derive(Clone, Debug)]
pub struct SeenFrame {
    pub is_key: bool,
    pub is_complete: bool,
    /// The arrival of its last packet.
    pub arrived: Duration,
    pub layer: usize,
    packets: u8,
}

pub struct Seen {
    pub packets: Vec<SeenPacket>,
}

/// What a client has received.
pub fn seen(sim: &Simulation, client: usize) -> Seen {
    let packets = sim.clients[client].packets.iter().map(|(arrived, packet)| {
        let label = label(&packet.payload).filter(|_| packet.payload.len() != 48);
        let reported_at = packet.last_sender_info.as_ref().map(|report| {
            let clock_rate = if label.is_some() { 90_000.0 } else { 48_000.0 };
            let ntp = report.ntp_time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
            ntp + f64::from(packet.header.timestamp.wrapping_sub(report.rtp_time.numer() as u32) as i32) / clock_rate
        });
        let (frame, index, count, is_key) = label.unwrap_or_default();
        let captured = match label {
            Some(_) => FRAME * frame,
            None => Duration::from_micros(u64::from_be_bytes(*packet.payload.last_chunk().unwrap())),
        };
        SeenPacket {
            arrived: *arrived,
            captured,
            reported_at,
            is_video: label.is_some(),
            layer: layer_of(packet.payload.len()),
            frame,
            index,
            count,
            is_key,
            number: *packet.seq_no,
            timestamp: packet.header.timestamp,
        }
    });
    Seen { packets: packets.collect() }
}

/// The packets of a layer are 100 bytes smaller than those of the one above, its SPS by a byte.
fn layer_of(bytes: usize) -> usize {
    usize::from(if bytes < 100 { bytes == 16 } else { bytes < PAYLOAD_BYTES })
}

impl Seen {
    /// The packets of audio or video that arrived since some time.
    pub fn since(&self, since: Duration, is_video: bool) -> Vec<SeenPacket> {
        let packets = self.packets.iter().filter(|packet| packet.arrived >= since && packet.is_video == is_video);
        packets.cloned().collect()
    }

    pub fn after(&self, since: Duration) -> Seen {
        Seen { packets: self.packets.iter().filter(|packet| packet.arrived >= since).cloned().collect() }
    }

    /// The audio, and the video from a sequence number on.
    pub fn video_since(&self, number: u64) -> Seen {
        let is_later = |packet: &&SeenPacket| !packet.is_video || packet.number >= number;
        Seen { packets: self.packets.iter().filter(is_later).cloned().collect() }
    }

    /// The frames of the video.
    pub fn frames(&self) -> BTreeMap<u32, SeenFrame> {
        let mut frames: BTreeMap<u32, SeenFrame> = BTreeMap::new();
        for packet in self.packets.iter().filter(|packet| packet.is_video) {
            let new = SeenFrame {
                is_key: packet.is_key,
                is_complete: false,
                arrived: packet.arrived,
                layer: packet.layer,
                packets: 0,
            };
            let frame = frames.entry(packet.frame).or_insert(new);
            frame.packets += 1;
            (frame.arrived, frame.is_complete) = (packet.arrived, frame.packets == packet.count);
            frame.layer = packet.layer;
        }
        frames
    }

    /// Whether the sequence numbers of the video have no gap.
    pub fn numbers_are_continuous(&self) -> bool {
        let video = self.since(Duration::ZERO, true);
        video.windows(2).all(|pair| pair[1].number == pair[0].number + 1)
    }

    pub fn timestamps_are_sorted(&self) -> bool {
        let video = self.since(Duration::ZERO, true);
        video.windows(2).all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) < u32::MAX / 2)
    }
}

pub fn ask_for_key_frame(sim: &mut Simulation, client: usize) {
    let mid = sim.clients[client].mids["video"];
    let mut api = sim.clients[client].rtc.direct_api();
    api.stream_rx_by_mid(mid, None).unwrap().request_keyframe(KeyframeRequestKind::Pli);
}
