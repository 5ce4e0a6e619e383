//! Synthetic audio and video: RTP packets with valid payload headers and a label, by which receivers identify frames.

use crate::simulation::{Client, Simulation};
use std::collections::BTreeMap;
use std::time::Duration;
use str0m::format::Codec;
use str0m::media::{Pt, Rid};
use str0m::rtp::RtpWrite;

/// The payload type that a client negotiated for a codec.
pub fn payload_type(client: &Client, codec: Codec) -> Pt {
    let params = client.rtc.codec_config().params();
    let media = client.mids.values().filter_map(|mid| client.rtc.media(*mid));
    let agreed: Vec<_> = media.flat_map(|media| media.remote_pts().to_vec()).collect();
    params.iter().find(|params| params.spec().codec == codec && agreed.contains(&params.pt())).unwrap().pt()
}

/// A Constrained Baseline SPS; the width must be a multiple of 16.
pub fn sps(width: u32, height: u32) -> Vec<u8> {
    let mut bits = String::new();
    let code = |value: u32| {
        let binary = format!("{:b}", value + 1);
        format!("{}{}", "0".repeat(binary.len() - 1), binary)
    };
    bits += &format!("{:08b}{:08b}{:08b}", 0x42, 0xe0, 0x1f);
    bits += &(code(0) + &code(0) + &code(2) + &code(1) + "0");
    bits += &(code(width / 16 - 1) + &code(height.div_ceil(16) - 1) + "1" + "1");
    // Heights that are no multiple of 16 are cropped.
    let cropped = height.div_ceil(16) * 16 - height;
    bits += &if cropped == 0 {
        "0".to_owned()
    } else {
        "1".to_owned() + &code(0) + &code(0) + &code(0) + &code(cropped / 2)
    };
    bits += "01";
    bits += &"0".repeat((8 - bits.len() % 8) % 8);
    let bytes =
        bits.as_bytes().chunks(8).map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap());
    let mut unit = vec![0x67];
    let mut zeros = 0;
    for byte in bytes {
        if zeros >= 2 && byte <= 3 {
            unit.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        unit.push(byte);
    }
    unit
}

/// The end of each payload: frame number, index of the packet in it, its packet count, whether it is a key frame.
fn label(frame: u32, index: u8, count: u8, key: bool) -> Vec<u8> {
    let mut label = frame.to_be_bytes().to_vec();
    label.extend([index, count, u8::from(key), 0x5a]);
    label
}

#[derive(Clone, Debug)]
pub struct FrameSource {
    pub client: usize,
    pub codec: Codec,
    pub rid: Option<Rid>,
    pub size: (u32, u32),
    /// Payload bytes of a packet besides its label.
    pub payload_size: usize,
    /// Packets of an H.264 frame, at least two; a key frame has one more.
    pub packets: u8,
    /// How long after its capture a frame is sent.
    pub late: Duration,
    /// Frames from one key frame to the next of a source that ignores requests.
    pub gop: Option<u32>,
    /// Whether delta frames have B slices.
    pub b_frames: bool,
    pub frame: u32,
    /// Next sequence number.
    pub sequence_number: u64,
    /// Next RTP timestamp.
    pub timestamp: u32,
    /// Key-frame requests that were answered.
    pub answered: usize,
}

impl FrameSource {
    pub fn new(client: usize, codec: Codec) -> FrameSource {
        FrameSource {
            client,
            codec,
            rid: None,
            size: (640, 480),
            payload_size: 100,
            packets: 2,
            late: Duration::ZERO,
            gop: None,
            b_frames: false,
            frame: 0,
            sequence_number: 1,
            timestamp: 90_000,
            answered: 0,
        }
    }

    /// A simulcast layer of the video. Its payload size identifies it, and its numbers and timestamps are its own.
    pub fn layer(client: usize, codec: Codec, rid: &str, size: (u32, u32), payload_size: usize) -> FrameSource {
        FrameSource {
            rid: Some(rid.into()),
            size,
            payload_size,
            sequence_number: 10 * payload_size as u64,
            timestamp: payload_size as u32 * 77,
            ..FrameSource::new(client, codec)
        }
    }

    /// Sends one frame: a key frame if it is the first, one was requested, or a group ends.
    pub fn send_frame(&mut self, sim: &mut Simulation) {
        let client = &mut sim.clients[self.client];
        let requests = client.key_frame_requests.len();
        let key = match self.gop {
            Some(frames) => self.frame.is_multiple_of(frames),
            None => self.frame == 0 || requests > self.answered,
        };
        self.answered = requests;
        let payloads = match self.codec {
            Codec::Opus => vec![[vec![0xfc; self.payload_size], label(self.frame, 0, 1, true)].concat()],
            Codec::Vp8 => self.vp8(key),
            _ => self.h264(key),
        };
        let mid = client.mids[if self.codec == Codec::Opus { "audio" } else { "video" }];
        let pt = payload_type(client, self.codec);
        let count = payloads.len();
        for (index, payload) in payloads.into_iter().enumerate() {
            let write = RtpWrite::new(pt, self.sequence_number.into(), self.timestamp, sim.now - self.late, payload)
                .marker(index + 1 == count)
                .nackable(self.codec != Codec::Opus);
            client.rtc.direct_api().stream_tx_by_mid(mid, self.rid).unwrap().write_rtp(write);
            self.sequence_number += 1;
        }
        self.frame += 1;
        self.timestamp = self.timestamp.wrapping_add(if self.codec == Codec::Opus { 960 } else { 3_000 });
    }

    pub fn h264(&self, key: bool) -> Vec<Vec<u8>> {
        let fill = vec![0x11; self.payload_size];
        let packets = self.packets;
        match key {
            // SPS, then an IDR slice in fragments (FU-A).
            true => {
                let label = |index| label(self.frame, index, packets + 1, key);
                let mut payloads = vec![[sps(self.size.0, self.size.1), label(0)].concat()];
                for index in 1..=packets {
                    let head = match index {
                        1 => vec![0x7c, 0x85, 0x88],
                        _ if index == packets => vec![0x7c, 0x45],
                        _ => vec![0x7c, 0x05],
                    };
                    payloads.push([head, fill.clone(), label(index)].concat());
                }
                payloads
            }
            // first_mb_in_slice 0, slice_type 0 (P) or 1 (B).
            false => {
                let first = if self.b_frames { 0b1010_0000 } else { 0b1100_0000 };
                let slice = |index| if index == 0 { first } else { 0b0101_1000 };
                let label = |index| label(self.frame, index, packets, key);
                (0..packets).map(|index| [vec![0x41, slice(index)], fill.clone(), label(index)].concat()).collect()
            }
        }
    }

    fn vp8(&self, key: bool) -> Vec<Vec<u8>> {
        let (width, height) = (self.size.0 as u16, self.size.1 as u16);
        // A 15-bit picture ID and TL0PICIDX with arbitrary start values, and a TID.
        let picture = (self.frame as u16).wrapping_add(self.payload_size as u16 * 36) | 0x8000;
        let tl0_pic_idx = (self.frame as u8).wrapping_add(self.payload_size as u8);
        let mut head = vec![0x90, 0xe0, (picture >> 8) as u8, picture as u8, tl0_pic_idx, 0x20];
        head.extend([u8::from(!key), 0, 0]);
        if key {
            head.extend([0x9d, 0x01, 0x2a]);
            head.extend(width.to_le_bytes());
            head.extend(height.to_le_bytes());
        }
        vec![[head, vec![0x11; self.payload_size], label(self.frame, 0, 1, key)].concat()]
    }
}

/// Sends from all sources at 30 frames per second.
pub fn send_frames(sim: &mut Simulation, sources: &mut [&mut FrameSource], time: Duration) {
    let frames = time.as_millis() / 33;
    for _ in 0..frames {
        for source in sources.iter_mut() {
            source.send_frame(sim);
        }
        sim.run_ms(33);
    }
}

/// A received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub key: bool,
    pub complete: bool,
    pub timestamp: u32,
}

/// The frames that a client received in a section, by number.
pub fn frames(client: &Client, kind: &str) -> BTreeMap<u32, Frame> {
    let mid = client.mids[kind];
    let mut parts: BTreeMap<u32, (Vec<u8>, u8, bool, u32)> = BTreeMap::new();
    for (_, packet) in &client.packets {
        let pt = packet.header.payload_type;
        let of_kind = client.rtc.media(mid).unwrap().remote_pts().contains(&pt);
        let Some(label) = packet.payload.last_chunk::<8>().filter(|label| of_kind && label[7] == 0x5a) else {
            continue;
        };
        let number = u32::from_be_bytes([label[0], label[1], label[2], label[3]]);
        let frame = parts.entry(number).or_insert((Vec::new(), label[5], label[6] == 1, packet.header.timestamp));
        assert!(!frame.0.contains(&label[4]), "duplicate of packet {} of frame {number}", label[4]);
        assert_eq!(frame.3, packet.header.timestamp, "a frame has one timestamp");
        frame.0.push(label[4]);
    }
    let frame = |(number, (indexes, count, key, timestamp)): (u32, (Vec<u8>, u8, bool, u32))| {
        (number, Frame { key, complete: indexes.len() == usize::from(count), timestamp })
    };
    parts.into_iter().map(frame).collect()
}

/// The number of decodable frames: complete ones from the first complete key frame to the first gap.
pub fn decodable(client: &Client) -> u32 {
    let frames = frames(client, "video");
    let Some(first) = frames.iter().find(|(_, frame)| frame.key && frame.complete).map(|(number, _)| *number) else {
        return 0;
    };
    let mut count = 0;
    while frames.get(&(first + count)).is_some_and(|frame| frame.complete) {
        count += 1;
    }
    count
}

/// A simulation in which a publisher's video reaches a subscriber; datagrams are captured. Returns the client indexes
/// of both.
pub fn streaming(seed: u64) -> (Simulation, FrameSource, usize, usize) {
    let mut sim = Simulation::new(seed);
    sim.captured = Some(Vec::new());
    let publisher = sim.publish(&["audio", "video"]).unwrap();
    let subscriber = sim.subscribe(publisher, &["audio", "video"]).unwrap();
    sim.run_ms(1_000);
    let mut source = FrameSource::new(publisher, Codec::H264);
    send_frames(&mut sim, &mut [&mut source], Duration::from_millis(500));
    sim.run_ms(50);
    (sim, source, publisher, subscriber)
}
