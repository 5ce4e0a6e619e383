//! What a publisher sends: its sections, the layers of each, which layer goes out, and when a key frame is asked for.

use super::Codec;
use super::offer::Kind;
use super::picture::{self, Look};
use std::time::{Duration, Instant};
use str0m::media::{Mid, Pt, Rid};
use str0m::rtp::Ssrc;

/// How long a layer is taken to be alive after a packet of it.
const ALIVE: Duration = Duration::from_secs(1);
/// The shortest time between two requests for a key frame of the same layer.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(500);
/// Maximum simulcast layers of a section.
pub(super) const MAX_LAYERS: usize = 4;

/// One encoding of a section; without simulcast there is one.
#[derive(Clone, Debug)]
struct Layer {
    rid: Option<Rid>,
    ssrc: Ssrc,
    /// Pixels of its last key frame; 0 while there was none.
    area: u64,
    heard: Instant,
    /// Whether somebody waits for a key frame.
    wanted: bool,
    asked: Option<Instant>,
}

impl Layer {
    fn alive(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) < ALIVE
    }
}

/// A section of a publisher.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) mid: Mid,
    pub(super) kind: Kind,
    /// What each of its payload types is, the preferred first.
    pub(super) payloads: Vec<(Pt, Codec)>,
    /// The payload type that came last.
    pub(super) payload: Option<Pt>,
    layers: Vec<Layer>,
    /// The RIDs of its layers, if these were announced by SSRC; no other stream is taken then.
    announced: Vec<Rid>,
    /// Which layer goes out.
    current: Option<usize>,
    /// Key frames that have begun, of any layer.
    pub(super) key_frames: u64,
}

/// What a packet is to those that it may be sent on to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// Whether it is of the layer that goes out.
    pub(super) forward: bool,
    /// Whether a subscriber may begin with it.
    pub(super) start: bool,
    /// What it says of its picture.
    pub(super) look: Look,
    /// What it is encoded in.
    pub(super) codec: Codec,
}

impl Track {
    pub(super) fn new(mid: Mid, kind: Kind, payloads: Vec<(Pt, Codec)>, announced: Vec<Rid>) -> Track {
        Track { mid, kind, payloads, payload: None, layers: Vec::new(), announced, current: None, key_frames: 0 }
    }

    /// The codec that it sends: that of the last packet, or the one it will most likely begin with.
    pub(super) fn codec(&self) -> Option<(Pt, Codec)> {
        let of_last = self.payloads.iter().find(|(pt, _)| Some(*pt) == self.payload);
        of_last.or(self.payloads.first()).copied()
    }

    /// Whether a stream is known; if not, [`Track::learn`] it.
    pub(super) fn knows(&self, ssrc: Ssrc) -> bool {
        self.layers.iter().any(|layer| layer.ssrc == ssrc)
    }

    /// Its layers and their streams.
    pub(super) fn streams(&self) -> impl Iterator<Item = (Option<Rid>, Ssrc)> {
        self.layers.iter().map(|layer| (layer.rid, layer.ssrc))
    }

    /// Takes a new stream as a layer, or in the place of a layer's former stream that has ended. Answers whether it is
    /// taken: another stream beside one of the same layer is not, so that the two are never mixed.
    pub(super) fn learn(&mut self, now: Instant, ssrc: Ssrc, rid: Option<Rid>) -> bool {
        if !self.announced.is_empty() && !rid.is_some_and(|rid| self.announced.contains(&rid)) {
            return false;
        }
        if let Some(layer) = self.layers.iter_mut().find(|layer| layer.rid == rid) {
            if layer.alive(now) {
                return false;
            }
            layer.ssrc = ssrc;
            layer.wanted = true;
        } else if self.layers.len() < MAX_LAYERS {
            self.layers.push(Layer { rid, ssrc, area: 0, heard: now, wanted: true, asked: None });
        } else {
            return false;
        }
        true
    }

    /// Takes note of a packet, and chooses the layer that goes out.
    pub(super) fn hear(&mut self, now: Instant, ssrc: Ssrc, payload: Pt, bytes: &[u8]) -> Option<Heard> {
        let (_, codec) = *self.payloads.iter().find(|(pt, _)| *pt == payload)?;
        let index = self.layers.iter().position(|layer| layer.ssrc == ssrc)?;
        self.payload = Some(payload);
        let look = match codec {
            Codec::Opus => Look { key: true, ..Look::default() },
            Codec::H264 => picture::h264(bytes),
            Codec::Vp8 => picture::vp8(bytes),
        };
        let layer = &mut self.layers[index];
        layer.heard = now;
        if let Some((width, height)) = look.size {
            layer.area = u64::from(width) * u64::from(height);
        }
        if self.kind == Kind::Video && look.key {
            self.key_frames += 1;
            layer.wanted = false;
        }
        if self.current != Some(index) && self.best(now) == Some(index) {
            match look.key {
                true => self.current = Some(index),
                false => self.layers[index].wanted = true,
            }
        }
        Some(Heard { forward: self.current == Some(index), start: look.key, look, codec })
    }

    /// The layer that should go out: the largest of those alive, the first of them if that is not known.
    fn best(&self, now: Instant) -> Option<usize> {
        let alive = self.layers.iter().enumerate().filter(|(_, layer)| layer.alive(now));
        alive.max_by_key(|(index, layer)| (layer.area, std::cmp::Reverse(*index))).map(|(index, _)| index)
    }

    /// Somebody needs a key frame.
    pub(super) fn want(&mut self, now: Instant) {
        let best = self.best(now);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.wanted |= Some(index) == best || Some(index) == self.current;
        }
    }

    /// The layers that a key frame is to be asked of now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Option<Rid>> {
        let due = |layer: &&mut Layer| {
            layer.wanted && layer.asked.is_none_or(|asked| now >= asked + BETWEEN_REQUESTS) && layer.alive(now)
        };
        let ask = |layer: &mut Layer| {
            layer.asked = Some(now);
            layer.rid
        };
        if self.kind == Kind::Audio {
            return Vec::new();
        }
        self.layers.iter_mut().filter(due).map(ask).collect()
    }

    /// When a request is due that had to wait; of a layer that is silent, none.
    pub(super) fn next_request(&self, now: Instant) -> Option<Instant> {
        let waiting = self.layers.iter().filter(|layer| layer.wanted && layer.alive(now));
        let waiting = waiting.filter(|_| self.kind == Kind::Video);
        waiting.map(|layer| layer.asked.map_or(now, |asked| asked + BETWEEN_REQUESTS)).min()
    }
}
