//! What was agreed with a client for a section, and which payload types of a publisher it can be sent.

use super::Codec;
use super::codecs::Profile;
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
    /// Profile and packetization mode of H.264.
    h264: Option<(Profile, u8)>,
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
        let format = spec.format;
        let profile = format.profile_level_id.and_then(Profile::of);
        Some(Payload {
            pt: params.pt(),
            codec,
            again: params.resend().is_some(),
            nack: params.fb_nack(),
            h264: profile.map(|profile| (profile, format.packetization_mode.unwrap_or(0))),
        })
    }

    /// How well a payload type of a subscriber suits a stream of this one, of the same codec; 0 is best. A mode that lacks
    /// fragments is the worst, as then packets cannot be read; a profile that is too low is not, as decoders go by the
    /// stream's parameter sets, and most decode more than they offer.
    fn distance(&self, receiver: &Payload) -> u8 {
        let (Some((profile, mode)), Some((decoder, receives))) = (self.h264, receiver.h264) else { return 0 };
        let of_mode = match (mode, receives) {
            _ if mode == receives => 0,
            (0, _) => 1,
            _ => 8,
        };
        let of_profile = match decoder {
            _ if profile == decoder => 0,
            _ if decoder.decodes(profile) => 2,
            _ => 4,
        };
        of_mode + of_profile
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
