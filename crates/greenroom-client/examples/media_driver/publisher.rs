//! Synthetic media: VP8 packets that a forwarder cannot tell from an encoder's, and Opus packets.

use super::Error;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::media::{KeyframeRequest, Mid, Pt, Rid};
use str0m::rtp::RtpWrite;
use str0m::{Input, Rtc};

const FRAMES_PER_SECOND: u32 = 30;
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes of an Opus packet at 64 kbit/s.
const AUDIO_BYTES: usize = 160;
/// Maximum payload of a video packet, as browsers packetize.
const MAX_PAYLOAD: usize = 1_150;
/// Size of a key frame relative to another frame.
const KEY_FRAME_FACTOR: usize = 5;
/// Minimum time between two key frames of a layer.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(300);
/// Interval of the pacer, and its rate relative to the bitrate, as in libwebrtc.
const PACER_INTERVAL: Duration = Duration::from_millis(5);
const PACER_FACTOR: f64 = 2.5;
/// Length of the VP8 payload descriptor with a 15-bit picture id, TL0PICIDX and TID (RFC 7741).
const DESCRIPTOR: usize = 6;

/// An encoding to publish.
#[derive(Clone, Debug, Deserialize)]
pub struct Layer {
    /// `None` without simulcast.
    pub rid: Option<String>,
    /// Bitrate in kbit/s.
    pub kbit: u32,
}

/// Sends media since a start time.
#[derive(Debug)]
pub struct Publisher {
    audio: Mid,
    video: Mid,
    encodings: Vec<Encoding>,
    burst: bool,
    /// Time of the first frame; set once connected.
    start: Option<Instant>,
    audio_packets: u64,
    frames: u32,
    /// Audio packets, and video packets of the first encoding, which is the best.
    pub sent: u64,
    pub key_frames: u64,
}

#[derive(Debug)]
struct Encoding {
    rid: Option<Rid>,
    frame_bytes: usize,
    bytes_per_interval: f64,
    next_sequence_number: u64,
    key_requested: bool,
    key_at: Option<Instant>,
    /// Packets of the current frame not sent yet: time, payload, marker.
    queue: std::collections::VecDeque<(Instant, Arc<[u8]>, bool)>,
    timestamp: u32,
}

impl Publisher {
    pub fn new(audio: Mid, video: Mid, layers: &[Layer], burst: bool) -> Publisher {
        let encoding = |layer: &Layer| Encoding {
            rid: layer.rid.as_deref().map(Rid::from),
            frame_bytes: (layer.kbit * 1000 / 8 / FRAMES_PER_SECOND) as usize,
            bytes_per_interval: f64::from(layer.kbit) * 125.0 * PACER_INTERVAL.as_secs_f64() * PACER_FACTOR,
            next_sequence_number: 1000,
            key_requested: true,
            key_at: None,
            queue: std::collections::VecDeque::new(),
            timestamp: 0,
        };
        let encodings = layers.iter().map(encoding).collect();
        Publisher { audio, video, encodings, burst, start: None, audio_packets: 0, frames: 0, sent: 0, key_frames: 0 }
    }

    pub fn start(&mut self, now: Instant) {
        self.start.get_or_insert(now);
    }

    pub fn request_key_frame(&mut self, request: &KeyframeRequest) {
        for encoding in self.encodings.iter_mut().filter(|one| request.rid.is_none() || one.rid == request.rid) {
            encoding.key_requested = true;
        }
    }

    /// Time of the next packet.
    pub fn next_at(&self) -> Option<Instant> {
        let start = self.start?;
        let queued = self.encodings.iter().filter_map(|encoding| encoding.queue.front().map(|(at, ..)| *at)).min();
        let next = self.audio_at(start).min(self.frame_at(start));
        Some(queued.map_or(next, |at| at.min(next)))
    }

    fn audio_at(&self, start: Instant) -> Instant {
        start + AUDIO_INTERVAL * u32::try_from(self.audio_packets).unwrap_or(u32::MAX)
    }

    fn frame_at(&self, start: Instant) -> Instant {
        start + Duration::from_nanos(u64::from(self.frames) * 1_000_000_000 / u64::from(FRAMES_PER_SECOND))
    }

    /// Writes one due packet into the connection. Returns whether there was one; drain the output before the next call.
    pub fn write(&mut self, rtc: &mut Rtc, now: Instant) -> Result<bool, Error> {
        let Some(start) = self.start else { return Ok(false) };
        while self.frame_at(start) <= now {
            self.encode(now);
        }
        if self.audio_at(start) <= now {
            let number = self.audio_packets;
            self.audio_packets += 1;
            self.sent += 1;
            let payload = vec![0x78; AUDIO_BYTES];
            let pt = payload_type(rtc, self.audio)?;
            let write = RtpWrite::new(pt, (1000 + number).into(), (number as u32).wrapping_mul(960), now, payload);
            let mut api = rtc.direct_api();
            api.stream_tx_by_mid(self.audio, None).ok_or("no audio stream")?.write_rtp(write);
            rtc.handle_input(Input::Timeout(now))?;
            return Ok(true);
        }
        for (index, encoding) in self.encodings.iter_mut().enumerate() {
            if encoding.queue.front().is_none_or(|(at, ..)| *at > now) {
                continue;
            }
            let Some((_, payload, marker)) = encoding.queue.pop_front() else { continue };
            let pt = payload_type(rtc, self.video)?;
            let write = RtpWrite::new(pt, encoding.next_sequence_number.into(), encoding.timestamp, now, payload);
            encoding.next_sequence_number += 1;
            self.sent += u64::from(index == 0);
            let mut api = rtc.direct_api();
            let stream = api.stream_tx_by_mid(self.video, encoding.rid).ok_or("no video stream")?;
            stream.write_rtp(write.marker(marker).nackable(true));
            rtc.handle_input(Input::Timeout(now))?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Queues the packets of the next frame of each encoding.
    fn encode(&mut self, now: Instant) {
        for (index, encoding) in self.encodings.iter_mut().enumerate() {
            let allowed = encoding.key_at.is_none_or(|at| now - at >= KEY_FRAME_INTERVAL);
            let key = encoding.key_requested && allowed;
            if key {
                encoding.key_requested = false;
                encoding.key_at = Some(now);
                self.key_frames += 1;
            }
            let bytes = encoding.frame_bytes * if key { KEY_FRAME_FACTOR } else { 1 };
            let count = bytes.div_ceil(MAX_PAYLOAD);
            encoding.timestamp = self.frames.wrapping_mul(90_000 / FRAMES_PER_SECOND);
            let mut at = now;
            let mut budget = encoding.bytes_per_interval;
            for number in 0..count {
                let mut payload = vec![0x55; DESCRIPTOR + bytes.div_ceil(count)];
                let picture = self.frames.to_be_bytes();
                // Extension and start of the partition; picture id, TL0PICIDX and TID are present.
                payload[..DESCRIPTOR].copy_from_slice(&[
                    if number == 0 { 0x90 } else { 0x80 },
                    0xe0,
                    0x80 | picture[2],
                    picture[3],
                    picture[3],
                    0,
                ]);
                if number == 0 {
                    let (width, height) = if index == 0 { (960_u16, 540_u16) } else { (480, 270) };
                    let frame = &mut payload[DESCRIPTOR..];
                    frame[0] = 0x10 | u8::from(!key);
                    if key {
                        frame[3..6].copy_from_slice(&[0x9d, 0x01, 0x2a]);
                        frame[6..8].copy_from_slice(&width.to_le_bytes());
                        frame[8..10].copy_from_slice(&height.to_le_bytes());
                    }
                }
                if !self.burst && budget <= 0.0 {
                    at += PACER_INTERVAL;
                    budget += encoding.bytes_per_interval;
                }
                budget -= payload.len() as f64;
                encoding.queue.push_back((at, payload.into(), number + 1 == count));
            }
        }
        self.frames += 1;
    }
}

fn payload_type(rtc: &Rtc, mid: Mid) -> Result<Pt, Error> {
    Ok(*rtc.media(mid).and_then(|media| media.remote_pts().first()).ok_or("a rejected media section")?)
}
