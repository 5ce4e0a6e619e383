//! The negotiated payload types of a media section, and the mapping of a publisher's payload types to a subscriber's.

use super::MediaKind;
use super::formats::Profile;
use super::offer::Offer;
use crate::Codec;
use crate::router::PayloadTypeMapping;
use str0m::Rtc;
use str0m::format::{Codec as Str0mCodec, PayloadParams};
use str0m::media::{MediaKind as Str0mMediaKind, Mid, Pt};

/// A media section with its negotiated payload types, preferred first.
#[derive(Clone, Debug)]
pub(crate) struct NegotiatedSection {
    pub(crate) mid: Mid,
    pub(crate) kind: MediaKind,
    pub(crate) payloads: Vec<NegotiatedPayload>,
    /// Whether the client offers to be asked for key frames.
    pub(crate) takes_key_frame_requests: bool,
}

/// The payload types of a source's track.
#[derive(Clone, Debug)]
pub(crate) struct SourceFormats {
    pub(crate) kind: MediaKind,
    pub(crate) payloads: Vec<NegotiatedPayload>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct NegotiatedPayload {
    pub(crate) pt: Pt,
    pub(crate) codec: Codec,
    has_rtx: bool,
    pub(crate) has_nack: bool,
    /// Payload type of redundant audio (RFC 2198).
    red: Option<Pt>,
    /// H.264 profile and `packetization-mode`.
    h264: Option<(Profile, u8)>,
}

impl NegotiatedPayload {
    /// Of a source in this process, whose H.264 suits every decoder.
    pub(crate) fn local(pt: u8, codec: Codec) -> NegotiatedPayload {
        let h264 = (codec == Codec::H264).then_some((Profile::ConstrainedBaseline, 1));
        NegotiatedPayload { pt: pt.into(), codec, has_rtx: false, has_nack: false, red: None, h264 }
    }

    fn new(params: &PayloadParams) -> Option<NegotiatedPayload> {
        let spec = params.spec();
        let codec = match spec.codec {
            Str0mCodec::Opus => Codec::Opus,
            Str0mCodec::H264 => Codec::H264,
            Str0mCodec::Vp8 => Codec::Vp8,
            _ => return None,
        };
        let format = spec.format;
        let profile = format.profile_level_id.and_then(Profile::of);
        Some(NegotiatedPayload {
            pt: params.pt(),
            codec,
            has_rtx: params.resend().is_some(),
            has_nack: params.fb_nack(),
            red: params.red(),
            h264: profile.map(|profile| (profile, format.packetization_mode.unwrap_or(0))),
        })
    }

    /// How badly a subscriber's payload type of the same codec suits a stream of this one; 0 is a perfect match. A
    /// `packetization-mode` without fragmentation is worst, as the receiver cannot depacketize; too low a profile is
    /// less bad, as decoders follow the stream's parameter sets and most decode more than they offer.
    fn distance(&self, receiver: &NegotiatedPayload) -> u8 {
        let (Some((profile, mode)), Some((decoder, receives))) = (self.h264, receiver.h264) else { return 0 };
        let mode_distance = match (mode, receives) {
            _ if mode == receives => 0,
            (0, _) => 1,
            _ => 8,
        };
        let profile_distance = match decoder {
            _ if profile == decoder => 0,
            _ if decoder.decodes(profile) => 2,
            _ => 4,
        };
        mode_distance + profile_distance
    }
}

/// The negotiated sections of an answer, in its order.
pub(crate) fn negotiated_sections(rtc: &Rtc, offer: &Offer, answer: &str) -> Vec<NegotiatedSection> {
    let mids = answer.lines().filter_map(|line| line.strip_prefix("a=mid:"));
    let section = |mid: &str| {
        let media = rtc.media(Mid::from(mid.trim()))?;
        let params = rtc.codec_config().params().iter().filter(|p| media.remote_pts().contains(&p.pt()));
        let kind = match media.kind() {
            Str0mMediaKind::Audio => MediaKind::Audio,
            Str0mMediaKind::Video => MediaKind::Video,
        };
        let offered = offer.accepted.iter().filter(|section| section.kind == kind);
        let mut formats = offered.flat_map(|section| &section.formats);
        Some(NegotiatedSection {
            mid: media.mid(),
            kind,
            payloads: params.filter_map(NegotiatedPayload::new).collect(),
            takes_key_frame_requests: formats.any(|format| format.key_frame_requests),
        })
    };
    mids.filter_map(section).collect()
}

/// Maps each payload type of a publisher to the subscriber's best match of the same codec, if there is one.
pub(crate) fn map_payload_types(
    publisher: &[NegotiatedPayload],
    subscriber: &[NegotiatedPayload],
) -> Vec<PayloadTypeMapping> {
    let best_match = |from: &NegotiatedPayload| {
        let same = subscriber.iter().filter(|to| to.codec == from.codec);
        let to = same.min_by_key(|to| from.distance(to))?;
        Some(PayloadTypeMapping { from: *from.pt, to: *to.pt, has_rtx: to.has_rtx, red: to.red.map(|red| *red) })
    };
    publisher.iter().filter_map(best_match).collect()
}
