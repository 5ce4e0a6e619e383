//! A camera that films nothing: frames of H.264 or VP8 as far as packets go, numbered, so that a receiver can tell what
//! it got.

use crate::world::{Client, World};
use std::collections::BTreeMap;
use std::time::Duration;
use str0m::format::Codec;
use str0m::media::{Pt, Rid};
use str0m::rtp::RtpWrite;

/// Which payload type a client sends a codec as.
pub fn payload_type(client: &Client, codec: Codec) -> Pt {
    let params = client.rtc.codec_config().params();
    let media = client.mids.values().filter_map(|mid| client.rtc.media(*mid));
    let agreed: Vec<_> = media.flat_map(|media| media.remote_pts().to_vec()).collect();
    params.iter().find(|params| params.spec().codec == codec && agreed.contains(&params.pt())).unwrap().pt()
}

/// A sequence parameter set of constrained baseline; sides in units of 16.
pub fn sps(width: u32, height: u32) -> Vec<u8> {
    let mut bits = String::new();
    let code = |value: u32| {
        let binary = format!("{:b}", value + 1);
        format!("{}{}", "0".repeat(binary.len() - 1), binary)
    };
    bits += &format!("{:08b}{:08b}{:08b}", 0x42, 0xe0, 0x1f);
    bits += &(code(0) + &code(0) + &code(2) + &code(1) + "0");
    bits += &(code(width / 16 - 1) + &code(height.div_ceil(16) - 1) + "1" + "1");
    // 720 and 1080 are no multiples of 16 in every case: the rest is cropped.
    let rest = height.div_ceil(16) * 16 - height;
    bits += &if rest == 0 { "0".to_owned() } else { "1".to_owned() + &code(0) + &code(0) + &code(0) + &code(rest / 2) };
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

/// What is at the end of every packet: number of the frame, place in it, packets of it, whether it is a key frame.
fn label(frame: u32, place: u8, of: u8, key: bool) -> Vec<u8> {
    let mut label = frame.to_be_bytes().to_vec();
    label.extend([place, of, u8::from(key), 0x5a]);
    label
}

/// What a camera films with.
#[derive(Clone, Debug)]
pub struct Camera {
    pub client: usize,
    pub codec: Codec,
    pub rid: Option<Rid>,
    pub size: (u32, u32),
    /// Bytes of a packet besides its label.
    pub weight: usize,
    /// Whether its second slice type is B.
    pub b_frames: bool,
    pub frame: u32,
    /// The next sequence number.
    pub number: u64,
    pub time: u32,
    pub answered: usize,
}

impl Camera {
    pub fn new(client: usize, codec: Codec) -> Camera {
        Camera {
            client,
            codec,
            rid: None,
            size: (640, 480),
            weight: 100,
            b_frames: false,
            frame: 0,
            number: 1,
            time: 90_000,
            answered: 0,
        }
    }

    /// Films one frame: a key frame if it is the first, or if one was asked for.
    pub fn film(&mut self, world: &mut World) {
        let client = &mut world.clients[self.client];
        let asked = client.asked.len();
        let key = self.frame == 0 || asked > self.answered;
        self.answered = asked;
        let payloads = match self.codec {
            Codec::Opus => vec![[vec![0xfc; self.weight], label(self.frame, 0, 1, true)].concat()],
            Codec::Vp8 => self.vp8(key),
            _ => self.h264(key),
        };
        let mid = client.mids[if self.codec == Codec::Opus { "audio" } else { "video" }];
        let pt = payload_type(client, self.codec);
        let count = payloads.len();
        for (place, payload) in payloads.into_iter().enumerate() {
            let write = RtpWrite::new(pt, self.number.into(), self.time, world.now, payload)
                .marker(place + 1 == count)
                .nackable(self.codec != Codec::Opus);
            client.rtc.direct_api().stream_tx_by_mid(mid, self.rid).unwrap().write_rtp(write);
            self.number += 1;
        }
        self.frame += 1;
        self.time = self.time.wrapping_add(if self.codec == Codec::Opus { 960 } else { 3_000 });
    }

    fn h264(&self, key: bool) -> Vec<Vec<u8>> {
        let fill = vec![0x11; self.weight];
        let label = |place, of| label(self.frame, place, of, key);
        match key {
            // Parameter set, then a picture in two fragments.
            true => vec![
                [sps(self.size.0, self.size.1), label(0, 3)].concat(),
                [vec![0x7c, 0x85, 0x88], fill.clone(), label(1, 3)].concat(),
                [vec![0x7c, 0x45], fill, label(2, 3)].concat(),
            ],
            // first_mb_in_slice 0, slice_type 0 (P) or 1 (B).
            false => {
                let slice = if self.b_frames { 0b1010_0000 } else { 0b1100_0000 };
                vec![
                    [vec![0x41, slice], fill.clone(), label(0, 2)].concat(),
                    [vec![0x41, 0b0101_1000], fill, label(1, 2)].concat(),
                ]
            }
        }
    }

    fn vp8(&self, key: bool) -> Vec<Vec<u8>> {
        let (width, height) = (self.size.0 as u16, self.size.1 as u16);
        // Picture number of 15 bits and number of the base layer's picture, which begin anywhere, and a layer.
        let picture = (self.frame as u16).wrapping_add(self.weight as u16 * 36) | 0x8000;
        let base = (self.frame as u8).wrapping_add(self.weight as u8);
        let mut head = vec![0x90, 0xe0, (picture >> 8) as u8, picture as u8, base, 0x20];
        head.extend([u8::from(!key), 0, 0]);
        if key {
            head.extend([0x9d, 0x01, 0x2a]);
            head.extend(width.to_le_bytes());
            head.extend(height.to_le_bytes());
        }
        vec![[head, vec![0x11; self.weight], label(self.frame, 0, 1, key)].concat()]
    }
}

/// Films with all cameras at 30 frames a second.
pub fn film(world: &mut World, cameras: &mut [&mut Camera], time: Duration) {
    let frames = time.as_millis() / 33;
    for _ in 0..frames {
        for camera in cameras.iter_mut() {
            camera.film(world);
        }
        world.run_ms(33);
    }
}

/// A frame that a receiver got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub key: bool,
    pub complete: bool,
    pub time: u32,
}

/// The frames that a client got of a section, by their numbers.
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
        assert!(!frame.0.contains(&label[4]), "packet {} of frame {number} came twice", label[4]);
        assert_eq!(frame.3, packet.header.timestamp, "a frame has one time");
        frame.0.push(label[4]);
    }
    let frame = |(number, (places, of, key, time)): (u32, (Vec<u8>, u8, bool, u32))| {
        (number, Frame { key, complete: places.len() == usize::from(of), time })
    };
    parts.into_iter().map(frame).collect()
}

/// How many frames can be decoded: those from the first key frame on that are complete, as long as none is missing.
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
