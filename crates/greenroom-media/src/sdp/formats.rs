//! RTP formats of a media section: the choice of supported payload types and the format parameters in the answer.

use super::offer::Purpose;
use super::{MediaKind, Section};
use crate::{Codec, OfferError};
use std::fmt::Write as _;

/// The supported H.264 formats, for error messages.
const SUPPORTED_H264: &str = "H264 with packetization-mode 0 or 1 and the profile Constrained Baseline (profile-level-id \
    42e0xx), Baseline (4200xx), Main (4d00xx), Constrained High (640cxx) or High (6400xx)";
/// Maximum formats that an error message lists.
const MAX_LISTED: usize = 12;
/// Maximum H.264 level under the limits of Amazon IVS: 3.1, which is 720p.
const MAX_STRICT_LEVEL: u32 = 0x1f;
/// Default of `profile-level-id` (RFC 6184, section 8.1).
const DEFAULT_PROFILE_LEVEL_ID: u32 = 0x42_00_1f;
/// Opus parameters that state a receiver's preferences (RFC 7587, section 6.1).
const OPUS_RECEIVER_PARAMETERS: [&str; 9] = [
    "minptime",
    "useinbandfec",
    "stereo",
    "usedtx",
    "cbr",
    "maxaveragebitrate",
    "maxplaybackrate",
    "maxptime",
    "ptime",
];

/// A supported payload type of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RtpFormat {
    pub(crate) pt: u8,
    pub(crate) codec: Codec,
    /// Payload type of its RTX format (RFC 4588).
    pub(crate) rtx: Option<u8>,
    /// Payload type of redundant audio with it (RFC 2198).
    pub(crate) red: Option<u8>,
    /// H.264 `profile-level-id` and `packetization-mode`.
    pub(crate) h264: Option<(u32, u8)>,
    /// The `a=fmtp` parameters of the answer, where they replace the WebRTC library's.
    pub(crate) parameters: Option<String>,
    /// Whether the offer has transport-wide feedback for it.
    pub(crate) transport_cc: bool,
    /// Whether the offer has requests for key frames for it (RFC 4585, RFC 5104).
    pub(crate) key_frame_requests: bool,
    /// Whether the offer has receiver reference time reports for it (RFC 3611, section 4.4).
    pub(super) rrtr: bool,
}

/// A supported H.264 profile, in the order of preference: most widely decodable first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
}

impl Profile {
    /// The profile of a `profile-level-id` (RFC 6184, table 5), if it is supported.
    pub(super) fn of(profile_level_id: u32) -> Option<Profile> {
        let (indication, constraints) = (profile_level_id >> 16, (profile_level_id >> 8) as u8);
        let set = |bits: u8| constraints & bits == bits;
        Some(match indication {
            0x42 if set(0x40) => Profile::ConstrainedBaseline,
            0x42 => Profile::Baseline,
            0x4d if set(0x80) => Profile::ConstrainedBaseline,
            0x4d => Profile::Main,
            0x58 if set(0xc0) => Profile::ConstrainedBaseline,
            0x58 if set(0x80) => Profile::Baseline,
            0x64 if set(0x0c) => Profile::ConstrainedHigh,
            0x64 => Profile::High,
            _ => return None,
        })
    }

    /// Whether a decoder of this profile can decode a stream. Encoders in use produce only Baseline streams that are
    /// also Constrained Baseline.
    pub(super) fn decodes(self, stream: Profile) -> bool {
        match stream {
            Profile::ConstrainedBaseline | Profile::Baseline => true,
            Profile::Main => matches!(self, Profile::Main | Profile::High),
            Profile::ConstrainedHigh => matches!(self, Profile::ConstrainedHigh | Profile::High),
            Profile::High => self == Profile::High,
        }
    }
}

/// A payload type with its `a=rtpmap` and `a=fmtp`.
struct OfferedFormat<'a> {
    pt: u8,
    /// Encoding name.
    name: &'a str,
    clock_rate: &'a str,
    channels: Option<&'a str>,
    parameters: Option<&'a str>,
}

impl OfferedFormat<'_> {
    fn is(&self, name: &str, clock_rate: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) && self.clock_rate == clock_rate
    }

    /// A format parameter; names are case-insensitive.
    fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.parameters?.split(';').filter_map(|pair| pair.split_once('='));
        let mut pairs = pairs.map(|(key, value)| (key.trim(), value.trim()));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn h264(&self) -> Option<(u32, u8)> {
        let id = match self.parameter("profile-level-id") {
            Some(id) if id.len() == 6 => u32::from_str_radix(id, 16).ok()?,
            Some(_) => return None,
            None => DEFAULT_PROFILE_LEVEL_ID,
        };
        let mode = self.parameter("packetization-mode").map_or(Some(0), |mode| mode.parse().ok())?;
        (mode <= 1 && Profile::of(id).is_some()).then_some((id, mode))
    }
}

/// Splits the value of `fmtp`, `rtpmap` or `rtcp-fb` into payload type and rest.
fn split_payload_type(value: &str) -> Option<(&str, &str)> {
    value.split_once(' ').map(|(number, rest)| (number, rest.trim()))
}

fn offered_formats<'a>(section: &Section<'a>) -> Vec<OfferedFormat<'a>> {
    let mut all: Vec<OfferedFormat<'a>> = Vec::new();
    for word in section.formats() {
        let Some(pt) = word.parse().ok().filter(|pt| *pt < 128 && all.iter().all(|known| known.pt != *pt)) else {
            continue;
        };
        let of = |name| section.values(name).filter_map(split_payload_type).find(|(number, _)| *number == word);
        let Some((_, encoding)) = of("rtpmap") else { continue };
        let mut parts = encoding.split('/').map(str::trim);
        let (name, clock_rate) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let parameters = of("fmtp").map(|(_, parameters)| parameters);
        all.push(OfferedFormat { pt, name, clock_rate, channels: parts.next(), parameters });
    }
    all
}

/// The supported payload types of a section, in the order of the answer; at least one.
pub(super) fn choose(
    section: &Section<'_>,
    kind: MediaKind,
    purpose: Purpose,
    strict_ivs: bool,
) -> Result<Vec<RtpFormat>, OfferError> {
    let offered = offered_formats(section);
    let chosen = match kind {
        MediaKind::Audio => opus(&offered, purpose).into_iter().collect(),
        MediaKind::Video => video(&offered, strict_ivs),
    };
    if !chosen.is_empty() {
        return Ok(chosen.into_iter().map(|format| with_feedback(format, section)).collect());
    }
    Err(match kind {
        MediaKind::Audio => OfferError::UnsupportedAudioCodec,
        MediaKind::Video => OfferError::UnsupportedVideoCodec(format!(
            "no video format of the offer is supported. Offered: {}. Supported: {SUPPORTED_H264}{}",
            describe(&offered),
            if strict_ivs { "" } else { "; VP8" }
        )),
    })
}

/// Whether a section has a supported H.264 format.
pub(super) fn has_h264(section: &Section<'_>) -> bool {
    offered_formats(section).iter().any(|format| format.is("H264", "90000") && format.h264().is_some())
}

fn with_feedback(format: RtpFormat, section: &Section<'_>) -> RtpFormat {
    let pt = format.pt.to_string();
    let has = |name: &str| {
        let mut feedback = section.values("rtcp-fb").filter_map(split_payload_type);
        feedback.any(|(number, value)| value == name && (number == pt || number == "*"))
    };
    let key_frame_requests = has("nack pli") || has("ccm fir");
    RtpFormat { transport_cc: has("transport-cc"), key_frame_requests, rrtr: has("rrtr"), ..format }
}

fn opus(offered: &[OfferedFormat<'_>], purpose: Purpose) -> Option<RtpFormat> {
    let is_opus =
        |format: &&OfferedFormat<'_>| format.is("opus", "48000") && matches!(format.channels, None | Some("2"));
    let opus = offered.iter().find(is_opus)?;
    Some(RtpFormat {
        pt: opus.pt,
        codec: Codec::Opus,
        rtx: None,
        red: if purpose == Purpose::Subscribe { red(offered, opus.pt) } else { None },
        h264: None,
        parameters: Some(opus_parameters(opus, purpose)),
        transport_cc: false,
        rrtr: false,
        key_frame_requests: false,
    })
}

/// The payload type of redundant audio whose blocks all have this payload type.
fn red(offered: &[OfferedFormat<'_>], opus: u8) -> Option<u8> {
    let is_red = |format: &&OfferedFormat<'_>| {
        let blocks = format.parameters.unwrap_or_default();
        format.is("red", "48000")
            && format.channels == Some("2")
            && blocks.contains('/')
            && blocks.split('/').all(|block| block.trim().parse() == Ok(opus))
    };
    offered.iter().find(is_red).map(|format| format.pt)
}

/// The Opus parameters of the answer. They mirror the client's: the server prefers to receive what a publisher offers,
/// and sends what a subscriber prefers.
fn opus_parameters(opus: &OfferedFormat<'_>, purpose: Purpose) -> String {
    let offered = |name: &str| {
        let value = opus.parameter(name)?;
        let is_number = (1..=10).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(value)
    };
    let announced = (purpose == Purpose::Publish).then(|| offered("sprop-stereo")).flatten();
    let mut out = String::new();
    for name in OPUS_RECEIVER_PARAMETERS {
        let value = match name {
            "minptime" => Some(offered(name).unwrap_or("10")),
            "useinbandfec" => Some(offered(name).unwrap_or("1")),
            "stereo" => announced.filter(|value| *value == "1").or(offered(name)),
            _ => offered(name),
        };
        if let Some(value) = value {
            let _ = write!(out, "{}{name}={value}", if out.is_empty() { "" } else { ";" });
        }
    }
    if purpose == Purpose::Subscribe && offered("stereo") == Some("1") {
        out.push_str(";sprop-stereo=1");
    }
    out
}

/// H.264 before VP8; of H.264, one payload type for each profile and packetization mode, most widely decodable first.
fn video(offered: &[OfferedFormat<'_>], strict_ivs: bool) -> Vec<RtpFormat> {
    let rtx = |pt: u8| {
        let is_rtx = |format: &&OfferedFormat<'_>| {
            format.is("rtx", "90000") && format.parameter("apt").and_then(|apt| apt.parse().ok()) == Some(pt)
        };
        offered.iter().find(is_rtx).map(|format| format.pt)
    };
    let format = |pt, codec, h264| RtpFormat {
        pt,
        codec,
        rtx: rtx(pt),
        red: None,
        h264,
        parameters: None,
        transport_cc: false,
        rrtr: false,
        key_frame_requests: false,
    };
    let mut chosen: Vec<RtpFormat> = Vec::new();
    let h264 = offered.iter().filter(|format| format.is("H264", "90000"));
    for (pt, (id, mode)) in h264.filter_map(|format| Some((format.pt, format.h264()?))) {
        let is_duplicate = |known: &RtpFormat| {
            known
                .h264
                .is_some_and(|(known_id, known_mode)| (Profile::of(known_id), known_mode) == (Profile::of(id), mode))
        };
        if !chosen.iter().any(is_duplicate) {
            let level = if strict_ivs { (id & 0xff).min(MAX_STRICT_LEVEL) } else { id & 0xff };
            chosen.push(format(pt, Codec::H264, Some((id & !0xff | level, mode))));
        }
    }
    let rank =
        |format: &RtpFormat| format.h264.map(|(id, mode)| (1 - mode, Profile::of(id).map(|profile| profile as u8)));
    chosen.sort_by_key(rank);
    if !strict_ivs {
        let vp8 = offered.iter().find(|format| format.is("VP8", "90000"));
        chosen.extend(vp8.map(|vp8| format(vp8.pt, Codec::Vp8, None)));
    }
    chosen
}

/// Lists the offered formats for an error message, without retransmission and error correction.
fn describe(offered: &[OfferedFormat<'_>]) -> String {
    let sanitize = |text: &str| -> String {
        text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')).take(32).collect()
    };
    let is_repair =
        |name: &str| ["rtx", "red", "ulpfec", "flexfec-03"].iter().any(|known| name.eq_ignore_ascii_case(known));
    let mut texts: Vec<String> = Vec::new();
    for format in offered.iter().filter(|format| !is_repair(format.name)) {
        let mut text = sanitize(format.name);
        for name in ["profile-level-id", "packetization-mode", "profile-id"] {
            if let Some(value) = format.parameter(name) {
                let _ = write!(text, " {name}={}", sanitize(value));
            }
        }
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    if texts.is_empty() {
        return "none".into();
    }
    if texts.len() > MAX_LISTED {
        texts.truncate(MAX_LISTED);
        texts.push("and others".into());
    }
    texts.join(", ")
}
