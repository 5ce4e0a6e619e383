//! A publisher's media section: its simulcast layers, which of them is forwarded, and pending key-frame requests.

use super::Codec;
use super::codec::{self, FrameInfo};
use super::sdp::MediaKind;
use std::time::{Duration, Instant};
use str0m::media::{Mid, Pt, Rid};
use str0m::rtp::Ssrc;

/// A layer is active for this long after each of its packets.
const LAYER_TIMEOUT: Duration = Duration::from_secs(1);
/// Minimum time between two key-frame requests for a layer.
const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);
/// Maximum simulcast layers of a section.
pub(super) const MAX_LAYERS: usize = 4;

/// A simulcast layer; a section without simulcast has one.
#[derive(Clone, Debug)]
struct Layer {
    rid: Option<Rid>,
    ssrc: Ssrc,
    /// Pixels of its last key frame; 0 before the first.
    pixels: u64,
    last_packet: Instant,
    key_frame_requested: bool,
    last_request: Option<Instant>,
}

impl Layer {
    fn is_active(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_packet) < LAYER_TIMEOUT
    }
}

#[derive(Clone, Debug)]
pub(super) struct UpTrack {
    pub(super) mid: Mid,
    pub(super) kind: MediaKind,
    /// In the order of the answer.
    payload_types: Vec<(Pt, Codec)>,
    last_payload_type: Option<Pt>,
    layers: Vec<Layer>,
    /// The RIDs of layers that were announced by SSRC. If there are any, other streams are rejected.
    announced_rids: Vec<Rid>,
    /// Index of the layer that is forwarded.
    forwarded: Option<usize>,
    /// Key frames received, over all layers.
    pub(super) key_frames: u64,
}

/// What forwarding needs to know of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct PacketInfo {
    /// Whether it belongs to the forwarded layer.
    pub(super) forward: bool,
    /// Whether a subscriber can start decoding here.
    pub(super) is_entry_point: bool,
    pub(super) frame: FrameInfo,
    pub(super) codec: Codec,
}

impl UpTrack {
    pub(super) fn new(mid: Mid, kind: MediaKind, payload_types: Vec<(Pt, Codec)>, announced_rids: Vec<Rid>) -> UpTrack {
        UpTrack {
            mid,
            kind,
            payload_types,
            last_payload_type: None,
            layers: Vec::new(),
            announced_rids,
            forwarded: None,
            key_frames: 0,
        }
    }

    /// The payload type of the last packet or, before the first, the preferred one.
    pub(super) fn expected_payload_type(&self) -> Option<Pt> {
        self.last_payload_type.or(self.payload_types.first().map(|(pt, _)| *pt))
    }

    /// The codec of the last packet.
    pub(super) fn received_codec(&self) -> Option<Codec> {
        let (_, codec) = self.payload_types.iter().find(|(pt, _)| Some(*pt) == self.last_payload_type)?;
        Some(*codec)
    }

    pub(super) fn has_stream(&self, ssrc: Ssrc) -> bool {
        self.layers.iter().any(|layer| layer.ssrc == ssrc)
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = (Option<Rid>, Ssrc)> {
        self.layers.iter().map(|layer| (layer.rid, layer.ssrc))
    }

    /// Adds a stream as a new layer, or as the successor of its layer's inactive stream. Returns false if it is
    /// rejected: a second stream beside an active one of the same layer must not be mixed with that.
    pub(super) fn add_stream(&mut self, now: Instant, ssrc: Ssrc, rid: Option<Rid>) -> bool {
        if !self.announced_rids.is_empty() && !rid.is_some_and(|rid| self.announced_rids.contains(&rid)) {
            return false;
        }
        if let Some(layer) = self.layers.iter_mut().find(|layer| layer.rid == rid) {
            if layer.is_active(now) {
                return false;
            }
            layer.ssrc = ssrc;
            layer.key_frame_requested = true;
        } else if self.layers.len() < MAX_LAYERS {
            let (pixels, last_packet, key_frame_requested, last_request) = (0, now, true, None);
            self.layers.push(Layer { rid, ssrc, pixels, last_packet, key_frame_requested, last_request });
        } else {
            return false;
        }
        true
    }

    /// Updates the state of a packet's layer and selects the layer to forward. Returns `None` for an unknown payload
    /// type or stream.
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        ssrc: Ssrc,
        payload_type: Pt,
        payload: &[u8],
    ) -> Option<PacketInfo> {
        let (_, codec) = *self.payload_types.iter().find(|(pt, _)| *pt == payload_type)?;
        let index = self.layers.iter().position(|layer| layer.ssrc == ssrc)?;
        self.last_payload_type = Some(payload_type);
        let frame = codec::inspect(codec, payload);
        let layer = &mut self.layers[index];
        layer.last_packet = now;
        if let Some((width, height)) = frame.resolution {
            layer.pixels = u64::from(width) * u64::from(height);
        }
        if self.kind == MediaKind::Video && frame.is_key {
            self.key_frames += 1;
            layer.key_frame_requested = false;
        }
        if self.forwarded != Some(index) && self.best_layer(now) == Some(index) {
            match frame.is_key {
                true => self.forwarded = Some(index),
                false => self.layers[index].key_frame_requested = true,
            }
        }
        Some(PacketInfo { forward: self.forwarded == Some(index), is_entry_point: frame.is_key, frame, codec })
    }

    /// The active layer with the highest resolution; of equal ones, the first.
    fn best_layer(&self, now: Instant) -> Option<usize> {
        let active = self.layers.iter().enumerate().filter(|(_, layer)| layer.is_active(now));
        active.max_by_key(|(index, layer)| (layer.pixels, std::cmp::Reverse(*index))).map(|(index, _)| index)
    }

    /// Requests a key frame of the best and of the forwarded layer.
    pub(super) fn request_key_frame(&mut self, now: Instant) {
        let best = self.best_layer(now);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.key_frame_requested |= Some(index) == best || Some(index) == self.forwarded;
        }
    }

    /// The layers to send a key-frame request for now. Throttled requests stay pending.
    pub(super) fn take_due_requests(&mut self, now: Instant) -> Vec<Option<Rid>> {
        if self.kind == MediaKind::Audio {
            return Vec::new();
        }
        let is_due = |layer: &&mut Layer| {
            let throttled = layer.last_request.is_some_and(|at| now < at + KEY_FRAME_REQUEST_INTERVAL);
            layer.key_frame_requested && !throttled && layer.is_active(now)
        };
        let take = |layer: &mut Layer| {
            layer.last_request = Some(now);
            layer.rid
        };
        self.layers.iter_mut().filter(is_due).map(take).collect()
    }

    /// When the next pending request of an active layer is due.
    pub(super) fn next_request(&self, now: Instant) -> Option<Instant> {
        let pending = self.layers.iter().filter(|layer| layer.key_frame_requested && layer.is_active(now));
        let pending = pending.filter(|_| self.kind == MediaKind::Video);
        pending.map(|layer| layer.last_request.map_or(now, |at| at + KEY_FRAME_REQUEST_INTERVAL)).min()
    }
}
