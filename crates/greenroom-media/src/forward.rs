//! One kind of media on its way to one subscriber: its packets are renumbered, so that the subscriber sees a single
//! stream whatever the publisher sends it from.

use super::vp8::Continuity;
use std::time::{Duration, Instant};
use str0m::media::{Mid, Pt};
use str0m::rtp::{SeqNo, Ssrc, Vp8Patch};

/// The sequence number that a stream begins with. Receivers take a first packet to have no rollover behind it, so it must
/// be below 65,536; and there must be room below for packets that overtook each other.
const FIRST: u64 = 1_000;
/// How far before the first packet another one may be.
const ROOM: u64 = 500;

/// A packet as far as renumbering is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    /// Whose stream it is of.
    pub(super) ssrc: Ssrc,
    /// Extended sequence number.
    pub(super) number: u64,
    /// RTP time.
    pub(super) time: u32,
    /// Whether a subscriber may begin here: any packet of sound, the first of a key frame.
    pub(super) start: bool,
}

/// Where a stream of the publisher is joined on.
#[derive(Clone, Copy, Debug)]
struct Joint {
    ssrc: Ssrc,
    first_in: u64,
    first_out: u64,
    /// Lowest number that a packet of it may get.
    floor: u64,
    /// Added to its times.
    shift: u32,
    /// Its time at the joint.
    time: u32,
}

/// One kind of media of a subscriber.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// Its section.
    pub(super) mid: Mid,
    /// Payload types of the publisher and what they are with the subscriber, and whether that can be sent again.
    pub(super) payloads: Vec<(Pt, Pt, bool)>,
    /// Ticks of RTP time a second.
    rate: u32,
    joint: Option<Joint>,
    /// The highest number given, the highest time with it, and when.
    last: Option<(u64, u32, Instant)>,
    pictures: Continuity,
}

impl Lane {
    pub(super) fn new(mid: Mid, payloads: Vec<(Pt, Pt, bool)>, rate: u32) -> Lane {
        Lane { mid, payloads, rate, joint: None, last: None, pictures: Continuity::default() }
    }

    /// What a payload type of the publisher is with the subscriber.
    pub(super) fn payload(&self, of_publisher: Pt) -> Option<(Pt, bool)> {
        let (_, pt, again) = self.payloads.iter().find(|(from, ..)| *from == of_publisher)?;
        Some((*pt, *again))
    }

    /// The number and the time that a packet gets here; none if it is not to be sent on.
    pub(super) fn renumber(&mut self, now: Instant, packet: Packet) -> Option<(SeqNo, u32)> {
        let joint = match self.joint {
            Some(joint) if joint.ssrc == packet.ssrc => joint,
            _ if packet.start => self.join(now, packet),
            _ => return None,
        };
        let number = (joint.first_out + packet.number).checked_sub(joint.first_in).filter(|n| *n >= joint.floor)?;
        let before = packet.time.wrapping_sub(joint.time) > u32::MAX / 2;
        if number < joint.first_out && before {
            return None;
        }
        let time = packet.time.wrapping_add(joint.shift);
        if self.last.is_none_or(|(highest, ..)| number > highest) {
            self.last = Some((number, time, now));
        }
        Some((number.into(), time))
    }

    /// What is to be changed in a packet of VP8 that has got its number.
    pub(super) fn patch(&mut self, number: SeqNo, payload: &[u8]) -> Option<Vp8Patch> {
        let newest = self.last.is_none_or(|(highest, ..)| *number >= highest);
        self.pictures.patch(payload, newest)
    }

    fn join(&mut self, now: Instant, packet: Packet) -> Joint {
        let (first_out, floor, time) = match self.last {
            None => (FIRST, FIRST - ROOM, packet.time),
            Some((number, time, at)) => {
                let passed = now.saturating_duration_since(at).max(Duration::from_millis(1));
                let ticks = passed.as_micros() as u64 * u64::from(self.rate) / 1_000_000;
                (number + 1, number + 1, time.wrapping_add(ticks as u32))
            }
        };
        let shift = time.wrapping_sub(packet.time);
        let joint = Joint { ssrc: packet.ssrc, first_in: packet.number, first_out, floor, shift, time: packet.time };
        self.joint = Some(joint);
        self.pictures.join();
        joint
    }
}
