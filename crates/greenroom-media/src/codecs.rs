//! Codecs of an offer's section: which of its payload types are taken, and the parameters that the answer gives them.

use super::offer::Purpose;
use super::sdp::{Kind, Section};
use super::{Codec, OfferError};
use std::fmt::Write as _;

/// What is taken, in the words of refusals.
const TAKEN_H264: &str = "H264 with packetization-mode 0 or 1 and the profile Constrained Baseline (profile-level-id \
    42e0xx), Baseline (4200xx), Main (4d00xx), Constrained High (640cxx) or High (6400xx)";
/// Maximum formats that a refusal lists.
const MAX_LISTED: usize = 12;
/// The highest H.264 level that is agreed to under the limits of IVS: 3.1, which is 720p.
const STRICT_LEVEL: u32 = 0x1f;
/// The `profile-level-id` of H.264 where none is given.
const DEFAULT_PROFILE: u32 = 0x42_00_1f;
/// Parameters of Opus by which a receiver says what it wants to be sent (RFC 7587, section 6.1).
const OPUS_OF_RECEIVER: [&str; 9] = [
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

/// A payload type of an offer that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) pt: u8,
    pub(super) codec: Codec,
    /// The payload type of its retransmissions (RFC 4588).
    pub(super) rtx: Option<u8>,
    /// `profile-level-id` and `packetization-mode`, of H.264 alone.
    pub(super) h264: Option<(u32, u8)>,
    /// The parameters that the answer gives it, where they are not the library's to write.
    pub(super) parameters: Option<String>,
    /// Whether transport-wide feedback is offered for it.
    pub(super) transport_cc: bool,
}

/// An H.264 profile that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
}

impl Profile {
    /// The profile that a `profile-level-id` names (RFC 6184, table 5), if it is taken.
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

    /// Whether a decoder of this profile can decode a stream of another. Encoders in use make no streams of Baseline
    /// that are not of Constrained Baseline too.
    pub(super) fn decodes(self, stream: Profile) -> bool {
        match stream {
            Profile::ConstrainedBaseline | Profile::Baseline => true,
            Profile::Main => matches!(self, Profile::Main | Profile::High),
            Profile::ConstrainedHigh => matches!(self, Profile::ConstrainedHigh | Profile::High),
            Profile::High => self == Profile::High,
        }
    }
}

/// A payload type as it is listed in a section.
struct Listed<'a> {
    pt: u8,
    /// The encoding's name and its clock rate.
    name: &'a str,
    rate: &'a str,
    channels: Option<&'a str>,
    parameters: Option<&'a str>,
}

impl Listed<'_> {
    fn is(&self, name: &str, rate: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) && self.rate == rate
    }

    /// A format parameter, by its name in small letters.
    fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.parameters?.split(';').filter_map(|pair| pair.split_once('='));
        let mut pairs = pairs.map(|(key, value)| (key.trim(), value.trim()));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn h264(&self) -> Option<(u32, u8)> {
        let id = match self.parameter("profile-level-id") {
            Some(id) if id.len() == 6 => u32::from_str_radix(id, 16).ok()?,
            Some(_) => return None,
            None => DEFAULT_PROFILE,
        };
        let mode = self.parameter("packetization-mode").map_or(Some(0), |mode| mode.parse().ok())?;
        (mode <= 1 && Profile::of(id).is_some()).then_some((id, mode))
    }
}

/// Splits the `fmtp`, `rtpmap` or `rtcp-fb` value of a payload type from its number.
fn numbered(value: &str) -> Option<(&str, &str)> {
    value.split_once(' ').map(|(number, rest)| (number, rest.trim()))
}

fn listed<'a>(section: &Section<'a>) -> Vec<Listed<'a>> {
    let mut all: Vec<Listed<'a>> = Vec::new();
    for word in section.formats() {
        let Some(pt) = word.parse().ok().filter(|pt| *pt < 128 && all.iter().all(|known| known.pt != *pt)) else {
            continue;
        };
        let of = |name| section.values(name).filter_map(numbered).find(|(number, _)| *number == word);
        let Some((_, encoding)) = of("rtpmap") else { continue };
        let mut parts = encoding.split('/').map(str::trim);
        let (name, rate) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let parameters = of("fmtp").map(|(_, parameters)| parameters);
        all.push(Listed { pt, name, rate, channels: parts.next(), parameters });
    }
    all
}

/// The payload types of a section that are taken, in the order in which the answer lists them; at least one.
pub(super) fn choose(
    section: &Section<'_>,
    kind: Kind,
    purpose: Purpose,
    strict: bool,
) -> Result<Vec<Format>, OfferError> {
    let listed = listed(section);
    let chosen = match kind {
        Kind::Audio => opus(&listed, purpose).into_iter().collect(),
        Kind::Video => video(&listed, strict),
    };
    if !chosen.is_empty() {
        return Ok(chosen.into_iter().map(|format| with_feedback(format, section)).collect());
    }
    Err(match kind {
        Kind::Audio => OfferError::UnsupportedAudioCodec,
        Kind::Video => OfferError::UnsupportedVideoCodec(format!(
            "no video format of the offer is taken. Offered: {}. Taken: {TAKEN_H264}{}",
            offered(&listed),
            if strict { "" } else { "; VP8" }
        )),
    })
}

/// Whether a section has a format of H.264 that is taken.
pub(super) fn has_h264(section: &Section<'_>) -> bool {
    listed(section).iter().any(|format| format.is("H264", "90000") && format.h264().is_some())
}

fn with_feedback(format: Format, section: &Section<'_>) -> Format {
    let pt = format.pt.to_string();
    let mut feedback = section.values("rtcp-fb").filter_map(numbered);
    let transport_cc = feedback.any(|(number, value)| value == "transport-cc" && (number == pt || number == "*"));
    Format { transport_cc, ..format }
}

fn opus(listed: &[Listed<'_>], purpose: Purpose) -> Option<Format> {
    let stereo = |format: &&Listed<'_>| format.is("opus", "48000") && matches!(format.channels, None | Some("2"));
    let opus = listed.iter().find(stereo)?;
    Some(Format {
        pt: opus.pt,
        codec: Codec::Opus,
        rtx: None,
        h264: None,
        parameters: Some(opus_parameters(opus, purpose)),
        transport_cc: false,
    })
}

/// The parameters of Opus in the answer. What a receiver wants is the peers' to say: the service wants from a publisher
/// what it offers, and sends a subscriber what that asks for.
fn opus_parameters(opus: &Listed<'_>, purpose: Purpose) -> String {
    let offered = |name: &str| {
        let value = opus.parameter(name)?;
        let number = (1..=10).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
        number.then_some(value)
    };
    let announced = (purpose == Purpose::Publish).then(|| offered("sprop-stereo")).flatten();
    let mut out = String::new();
    for name in OPUS_OF_RECEIVER {
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

/// H.264 before VP8; of H.264 one payload type for each profile and mode, those first that most decoders take.
fn video(listed: &[Listed<'_>], strict: bool) -> Vec<Format> {
    let rtx = |pt: u8| {
        let repairs = |format: &&Listed<'_>| {
            format.is("rtx", "90000") && format.parameter("apt").and_then(|apt| apt.parse().ok()) == Some(pt)
        };
        listed.iter().find(repairs).map(|format| format.pt)
    };
    let format = |pt, codec, h264| Format { pt, codec, rtx: rtx(pt), h264, parameters: None, transport_cc: false };
    let mut chosen: Vec<Format> = Vec::new();
    for (listed, (id, mode)) in
        listed.iter().filter(|format| format.is("H264", "90000")).filter_map(|format| Some((format, format.h264()?)))
    {
        let same = |known: &Format| {
            known.h264.is_some_and(|(id_, mode_)| (Profile::of(id_), mode_) == (Profile::of(id), mode))
        };
        if !chosen.iter().any(same) {
            let level = if strict { (id & 0xff).min(STRICT_LEVEL) } else { id & 0xff };
            chosen.push(format(listed.pt, Codec::H264, Some((id & !0xff | level, mode))));
        }
    }
    let rank = |format: &Format| format.h264.map(|(id, mode)| (1 - mode, Profile::of(id).map(|profile| profile as u8)));
    chosen.sort_by_key(rank);
    if !strict {
        let vp8 = listed.iter().find(|format| format.is("VP8", "90000"));
        chosen.extend(vp8.map(|listed| format(listed.pt, Codec::Vp8, None)));
    }
    chosen
}

/// The offered formats in words, without those that only repair others.
fn offered(listed: &[Listed<'_>]) -> String {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')).take(32).collect()
    };
    let repairs =
        |name: &str| ["rtx", "red", "ulpfec", "flexfec-03"].iter().any(|known| name.eq_ignore_ascii_case(known));
    let mut texts: Vec<String> = Vec::new();
    for format in listed.iter().filter(|format| !repairs(format.name)) {
        let mut text = plain(format.name);
        for name in ["profile-level-id", "packetization-mode", "profile-id"] {
            if let Some(value) = format.parameter(name) {
                let _ = write!(text, " {name}={}", plain(value));
            }
        }
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    if texts.is_empty() {
        return "nothing".into();
    }
    if texts.len() > MAX_LISTED {
        texts.truncate(MAX_LISTED);
        texts.push("and more".into());
    }
    texts.join(", ")
}
