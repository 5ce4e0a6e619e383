//! What was agreed with a client for a section, and which payload types of a publisher it can be sent.

use super::Codec;
use super::offer::Kind;
use str0m::Rtc;
use str0m::format::{Codec as Named, PayloadParams};
use str0m::media::{MediaKind, Mid, Pt};

/// A section and the payload types that were agreed for it, the preferred first.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    pub(super) mid: Mid,
    pub(super) kind: Kind,
    pub(super) payloads: Vec<Payload>,
}

/// A payload type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload {
    pub(super) pt: Pt,
    pub(super) codec: Codec,
    /// Whether packets of it can be sent again.
    pub(super) again: bool,
    /// Whether packets of it can be asked for again.
    pub(super) nack: bool,
    /// Profile of H.264, as in the first two bytes of a `profile-level-id`.
    profile: u32,
    /// Packetization mode of H.264.
    mode: u8,
}

impl Payload {
    fn of(params: &PayloadParams) -> Option<Payload> {
        let spec = params.spec();
        let codec = match spec.codec {
            Named::Opus => Codec::Opus,
            Named::H264 => Codec::H264,
            Named::Vp8 => Codec::Vp8,
            _ => return None,
        };
        // Without a profile it is Baseline, without a mode 0 (RFC 6184, 8.1).
        let profile = spec.format.profile_level_id.unwrap_or(0x42_00_0a) >> 8;
        let mode = spec.format.packetization_mode.unwrap_or(0);
        Some(Payload {
            pt: params.pt(),
            codec,
            again: params.resend().is_some(),
            nack: params.fb_nack(),
            profile,
            mode,
        })
    }

    /// How far another payload type of the same codec is from being the same. A decoder takes a stream of H.264 for what
    /// its parameter sets say, so another profile is better than nothing.
    fn distance(&self, other: &Payload) -> u8 {
        match (self.mode == other.mode, self.profile == other.profile, self.profile >> 8 == other.profile >> 8) {
            (true, true, _) => 0,
            (true, false, true) => 1,
            (true, false, false) => 2,
            (false, _, _) => 3,
        }
    }
}

/// The sections of an answer with what was agreed for them.
pub(super) fn agreed(rtc: &Rtc, answer: &str) -> Vec<Agreed> {
    let mids = answer.lines().filter_map(|line| line.strip_prefix("a=mid:"));
    let section = |mid: &str| {
        let media = rtc.media(Mid::from(mid.trim()))?;
        let params = rtc.codec_config().params().iter().filter(|p| media.remote_pts().contains(&p.pt()));
        let kind = match media.kind() {
            MediaKind::Audio => Kind::Audio,
            MediaKind::Video => Kind::Video,
        };
        Some(Agreed { mid: media.mid(), kind, payloads: params.filter_map(Payload::of).collect() })
    };
    mids.filter_map(section).collect()
}

/// For each payload type of a publisher that a subscriber can take: what it is there, and whether it can be sent again.
pub(super) fn translate(publisher: &[Payload], subscriber: &[Payload]) -> Vec<(Pt, Pt, bool)> {
    let nearest = |from: &Payload| {
        let same = subscriber.iter().filter(|to| to.codec == from.codec);
        let to = same.min_by_key(|to| from.distance(to))?;
        Some((from.pt, to.pt, to.again))
    };
    publisher.iter().filter_map(nearest).collect()
}
