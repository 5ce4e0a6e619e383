//! A source's track: its simulcast layers and pending key-frame requests.

use super::catch_up::{Attempt, CatchUp};
use super::clock::StreamClock;
use super::codec::{self, FrameInfo};
use super::gop_cache::{self, GopCache};
use super::packet::SourcePacket;
use super::rate::RateMeter;
use super::statistics::Received;
use crate::Codec;
use crate::MediaKind;
use std::time::{Duration, Instant};

/// A stream belongs to its layer for this long after each of its packets. Then another stream may replace it.
const STREAM_TIMEOUT: Duration = Duration::from_secs(1);
/// A layer is live if its newest packet is at most this many frame intervals older than the newest of the track.
const MAX_MISSING_FRAMES: u32 = 4;
/// Bounds of the time after which a layer is not live any more.
const SILENCE_BOUNDS: (Duration, Duration) = (Duration::from_millis(160), Duration::from_secs(1));
/// Minimum time between two key-frame requests for a layer.
const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);
/// A source that has sent no key frame for this long after a request sends none on request.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Maximum simulcast layers of a track.
pub(crate) const MAX_LAYERS: usize = 4;
/// Overhead of RTP, in bytes a packet, that counts as bitrate of a layer.
const RTP_OVERHEAD: usize = 20;

/// A simulcast layer; a track without simulcast has one.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) encoding: u8,
    ssrc: u32,
    /// Width and height of its last key frame, in pixels.
    pub(super) resolution: Option<(u32, u32)>,
    last_packet: Instant,
    /// Timestamp and arrival of the newest frame.
    newest_frame: Option<(u32, Instant)>,
    /// Smoothed time between frames.
    pub(super) frame_interval: Duration,
    pub(super) rate: RateMeter,
    pub(super) clock: StreamClock,
    pub(super) received: Received,
    pub(super) key_frame_requested: bool,
    last_request: Option<Instant>,
    /// The timestamp of the last key frame.
    last_key_frame: Option<u32>,
    /// When the first request was sent that no key frame has followed yet.
    unanswered: Option<Instant>,
    /// The last group of pictures, if it is kept.
    group: GopCache,
}

impl Layer {
    fn new(now: Instant, encoding: u8, ssrc: u32) -> Layer {
        Layer {
            encoding,
            ssrc,
            resolution: None,
            last_packet: now,
            newest_frame: None,
            frame_interval: Duration::from_millis(33),
            rate: RateMeter::new(now),
            clock: StreamClock::default(),
            received: Received::default(),
            key_frame_requested: true,
            last_request: None,
            last_key_frame: None,
            unanswered: None,
            group: GopCache::default(),
        }
    }

    fn is_active(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_packet) < STREAM_TIMEOUT
    }

    pub(super) fn pixels(&self) -> u64 {
        self.resolution.map_or(0, |(width, height)| u64::from(width) * u64::from(height))
    }

    /// The shorter side of the picture, in pixels: what "720p" counts.
    pub(super) fn lines(&self) -> u32 {
        self.resolution.map_or(0, |(width, height)| width.min(height))
    }

    fn record_packet(&mut self, now: Instant, packet: &SourcePacket) {
        self.last_packet = now;
        self.rate.add(now, packet.payload.len() + RTP_OVERHEAD);
        self.received.record(packet.sequence_number, packet.payload.len());
        match self.newest_frame {
            Some((timestamp, _)) if packet.timestamp.wrapping_sub(timestamp) as i32 <= 0 => {}
            Some((_, at)) => {
                let interval = now.saturating_duration_since(at).min(SILENCE_BOUNDS.1);
                self.frame_interval = (self.frame_interval * 7 + interval) / 8;
                self.newest_frame = Some((packet.timestamp, now));
            }
            None => self.newest_frame = Some((packet.timestamp, now)),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct UpTrack {
    pub(crate) kind: MediaKind,
    /// Whether key frames can be requested of the source.
    pub(super) takes_requests: bool,
    /// Payload types, preferred first.
    payload_types: Vec<(u8, Codec)>,
    last_payload_type: Option<u8>,
    pub(super) layers: Vec<Layer>,
    /// When the newest packet of any layer arrived.
    newest_packet: Option<Instant>,
    /// Key frames received, over all layers.
    pub(crate) key_frames: u64,
    /// Whether the last groups of pictures are kept: the source sends no key frames on request.
    keeps_groups: bool,
    /// Whether a group was too long to be kept.
    has_discarded: bool,
}

/// What forwarding needs to know of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketInfo {
    pub(crate) frame: FrameInfo,
    pub(crate) codec: Codec,
    /// Smoothed time between frames.
    pub(crate) frame_interval: Duration,
}

impl UpTrack {
    pub(crate) fn new(kind: MediaKind, payload_types: Vec<(u8, Codec)>, takes_requests: bool) -> UpTrack {
        UpTrack {
            kind,
            takes_requests,
            payload_types,
            last_payload_type: None,
            layers: Vec::new(),
            newest_packet: None,
            key_frames: 0,
            keeps_groups: kind == MediaKind::Video && !takes_requests,
            has_discarded: false,
        }
    }

    /// Keeps a packet for subscribers that join later, if the source sends no key frames on request. Returns true the first time
    /// that the groups become too long to be kept.
    pub(super) fn record_for_late_subscribers(
        &mut self,
        packet: &SourcePacket,
        info: PacketInfo,
        captured: Instant,
    ) -> bool {
        if !self.keeps_groups {
            return false;
        }
        if let Some(layer) = self.layer(packet.encoding) {
            layer.group.record(packet, info, captured);
        }
        let bytes: usize = self.layers.iter().map(|layer| layer.group.bytes()).sum();
        let packets: usize = self.layers.iter().map(|layer| layer.group.packets().len()).sum();
        if bytes <= gop_cache::MAX_BYTES && packets <= gop_cache::MAX_PACKETS {
            return false;
        }
        let size = |layer: &&mut Layer| (layer.group.bytes(), layer.group.packets().len());
        if let Some(largest) = self.layers.iter_mut().max_by_key(size) {
            largest.group.discard();
        }
        !std::mem::replace(&mut self.has_discarded, true)
    }

    /// The layer whose group a subscriber is sent that is to be sent `target`: that one or, if its group is not kept, the next
    /// lower one.
    pub(super) fn kept_layer(&self, now: Instant, target: u8) -> Option<u8> {
        let live = self.live_layers(now);
        let highest = live.iter().position(|layer| layer.encoding == target)?;
        let kept = live.get(..=highest)?.iter().rfind(|layer| !layer.group.packets().is_empty());
        kept.map(|layer| layer.encoding)
    }

    /// What a subscriber has missed of a layer since the last key frame, if that is kept.
    pub(super) fn catch_up(&self, now: Instant, encoding: u8, attempt: Attempt) -> Option<CatchUp> {
        let layer = self.layers.iter().find(|layer| layer.encoding == encoding)?;
        CatchUp::new(now, &layer.group, self.kind.clock_rate(), attempt)
    }

    /// The payload type of the last packet or, before the first, the preferred one.
    pub(crate) fn expected_payload_type(&self) -> Option<u8> {
        self.last_payload_type.or(self.payload_types.first().map(|(pt, _)| *pt))
    }

    /// The codec of the last packet.
    pub(crate) fn received_codec(&self) -> Option<Codec> {
        let (_, codec) = self.payload_types.iter().find(|(pt, _)| Some(*pt) == self.last_payload_type)?;
        Some(*codec)
    }

    /// Whether there are several layers.
    pub(crate) fn has_layers(&self) -> bool {
        self.layers.len() > 1
    }

    pub(super) fn has_stream(&self, ssrc: u32) -> bool {
        self.layers.iter().any(|layer| layer.ssrc == ssrc)
    }

    /// Adds a stream as a new layer, or as the successor of its layer's inactive stream. Returns false if it is
    /// rejected: a second stream beside an active one of the same layer must not be mixed with that.
    pub(super) fn add_stream(&mut self, now: Instant, ssrc: u32, encoding: u8) -> bool {
        if let Some(layer) = self.layers.iter_mut().find(|layer| layer.encoding == encoding) {
            if layer.is_active(now) {
                return false;
            }
            let (resolution, last_request) = (layer.resolution, layer.last_request);
            let received = layer.received.of_new_stream();
            *layer = Layer { resolution, last_request, received, ..Layer::new(now, encoding, ssrc) };
        } else if self.layers.len() < MAX_LAYERS {
            self.layers.push(Layer::new(now, encoding, ssrc));
        } else {
            return false;
        }
        true
    }

    /// Updates the state of a packet's layer. Returns `None` for an unknown payload type or stream.
    pub(super) fn record_packet(&mut self, now: Instant, packet: &SourcePacket) -> Option<PacketInfo> {
        let (_, codec) = *self.payload_types.iter().find(|(pt, _)| *pt == packet.payload_type)?;
        let layer = self.layers.iter_mut().find(|layer| layer.ssrc == packet.ssrc)?;
        self.last_payload_type = Some(packet.payload_type);
        self.newest_packet = Some(now);
        let frame = codec::inspect(codec, &packet.payload);
        layer.record_packet(now, packet);
        let frame_interval = layer.frame_interval;
        if frame.resolution.is_some() {
            layer.resolution = frame.resolution;
        }
        if self.kind == MediaKind::Video && frame.is_key {
            // Parameter sets and slices are packets of one frame.
            let is_new = layer.last_key_frame.replace(packet.timestamp) != Some(packet.timestamp);
            self.key_frames += u64::from(is_new);
            (layer.key_frame_requested, layer.unanswered) = (false, None);
        }
        let is_ignored = layer.unanswered.is_some_and(|at| now.saturating_duration_since(at) >= REQUEST_TIMEOUT);
        if is_ignored && !self.keeps_groups {
            tracing::debug!("key-frame requests are ignored");
            self.keeps_groups = true;
        }
        Some(PacketInfo { frame, codec, frame_interval })
    }

    pub(super) fn layer(&mut self, encoding: u8) -> Option<&mut Layer> {
        self.layers.iter_mut().find(|layer| layer.encoding == encoding)
    }

    /// Whether packets of a layer are arriving, as far as the track's other layers tell: where all of them are silent, the
    /// network is.
    pub(super) fn is_live(&self, now: Instant, layer: &Layer) -> bool {
        let Some(newest) = self.newest_packet else { return false };
        let silence = (layer.frame_interval * MAX_MISSING_FRAMES).clamp(SILENCE_BOUNDS.0, SILENCE_BOUNDS.1);
        layer.is_active(now) && newest.saturating_duration_since(layer.last_packet) < silence
    }

    /// Whether packets of the layer with this number are arriving.
    pub(super) fn is_layer_live(&self, now: Instant, encoding: u8) -> bool {
        self.layers.iter().any(|layer| layer.encoding == encoding && self.is_live(now, layer))
    }

    /// The live layers, lowest resolution first; of equal ones, the first is the highest.
    pub(super) fn live_layers(&self, now: Instant) -> Vec<&Layer> {
        let mut live: Vec<&Layer> = self.layers.iter().filter(|layer| self.is_live(now, layer)).collect();
        live.reverse();
        live.sort_by_key(|layer| layer.pixels());
        live
    }

    /// The layers to send a key-frame request for now. Throttled requests stay pending.
    pub(super) fn take_due_requests(&mut self, now: Instant) -> Vec<u8> {
        if self.kind == MediaKind::Audio || !self.takes_requests {
            return Vec::new();
        }
        let is_due = |layer: &&mut Layer| {
            let throttled = layer.last_request.is_some_and(|at| now < at + KEY_FRAME_REQUEST_INTERVAL);
            layer.key_frame_requested && !throttled && layer.is_active(now)
        };
        let take = |layer: &mut Layer| {
            layer.last_request = Some(now);
            layer.unanswered.get_or_insert(now);
            layer.encoding
        };
        self.layers.iter_mut().filter(is_due).map(take).collect()
    }

    /// When the next pending request of an active layer is due.
    pub(super) fn next_request(&self, now: Instant) -> Option<Instant> {
        let pending = self.layers.iter().filter(|layer| layer.key_frame_requested && layer.is_active(now));
        let pending = pending.filter(|_| self.kind == MediaKind::Video && self.takes_requests);
        pending.map(|layer| layer.last_request.map_or(now, |at| at + KEY_FRAME_REQUEST_INTERVAL)).min()
    }
}
