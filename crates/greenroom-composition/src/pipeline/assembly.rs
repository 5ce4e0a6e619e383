//! Payloads to frames.

use super::packet::{Codec, Packet, from_micros};
use greenroom_codecs::h264::AccessUnit;
use greenroom_codecs::reorder::Ordered;
use greenroom_codecs::{InvalidPayload, vp8};
use std::time::Duration;

/// What is encoded in a frame.
#[derive(Debug)]
pub(super) enum Coded {
    H264(AccessUnit),
    Vp8(Vec<u8>),
}

impl Coded {
    fn new(codec: Codec) -> Coded {
        match codec {
            Codec::Vp8 => Coded::Vp8(Vec::new()),
            Codec::H264 | Codec::Opus => Coded::H264(AccessUnit::default()),
        }
    }

    fn push(&mut self, packet: &Packet) -> Result<(), InvalidPayload> {
        match (self, packet.codec) {
            (Coded::H264(unit), Codec::H264) => unit.push(&packet.payload),
            (Coded::Vp8(frame), Codec::Vp8) => vp8::payloads::append(frame, &packet.payload),
            _ => Err(InvalidPayload),
        }
    }

    pub(super) fn is_key(&self) -> bool {
        match self {
            Coded::H264(unit) => unit.is_key,
            Coded::Vp8(frame) => vp8::payloads::is_key(frame),
        }
    }

    /// Whether no other frame depends on it.
    pub(super) fn is_disposable(&self) -> bool {
        match self {
            Coded::H264(unit) => unit.is_disposable(),
            Coded::Vp8(_) => false,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Coded::H264(unit) => unit.data.len(),
            Coded::Vp8(frame) => frame.len(),
        }
    }

    fn is_complete(&self) -> bool {
        match self {
            Coded::H264(unit) => unit.finish().is_ok(),
            Coded::Vp8(frame) => !frame.is_empty(),
        }
    }
}

/// A frame of video.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) captured: Duration,
    /// Clockwise quarter turns.
    pub(super) rotation: u8,
    pub(super) coded: Coded,
}

/// A frame that is not complete.
#[derive(Debug)]
struct Open {
    timestamp: i64,
    frame: Frame,
    damaged: bool,
}

/// Assembles frames from the packets of a track, which come in order.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    open: Option<Open>,
    rotation: u8,
}

impl Assembler {
    /// Takes a packet; calls `done` for each frame that is completed, with an error in place of a damaged one.
    pub(super) fn push(&mut self, ordered: &Ordered<Packet>, mut done: impl FnMut(Result<Frame, InvalidPayload>)) {
        let packet = &ordered.packet;
        if ordered.lost > 0 {
            // What is missing may be the end of this frame and the start of the next one.
            self.open = None;
            done(Err(InvalidPayload));
        }
        if self.open.as_ref().is_some_and(|open| open.timestamp != ordered.timestamp) {
            self.finish(&mut done);
        }
        if packet.payload.is_empty() {
            return;
        }
        self.rotation = packet.rotation.unwrap_or(self.rotation);
        let open = self.open.get_or_insert_with(|| Open {
            timestamp: ordered.timestamp,
            frame: Frame {
                captured: from_micros(ordered.time),
                rotation: self.rotation,
                coded: Coded::new(packet.codec),
            },
            damaged: false,
        });
        open.damaged |= open.damaged || open.frame.coded.push(packet).is_err();
        if packet.marker {
            self.finish(&mut done);
        }
    }

    fn finish(&mut self, done: &mut impl FnMut(Result<Frame, InvalidPayload>)) {
        let Some(Open { frame, damaged, .. }) = self.open.take() else { return };
        let intact = !damaged && frame.coded.is_complete();
        done(if intact { Ok(frame) } else { Err(InvalidPayload) });
    }
}
