//! Offers: what one must have to be answered, and which of its sections are taken.
//!
//! The sections that are taken are the first of audio and the first of video that can carry media the right way. All
//! others (a data channel, a second camera) are answered with port 0. The WebRTC library never sees the client's text:
//! it is given an offer written anew from what was read, with nothing in it that is not needed.

use super::codecs::{self, Format};
use super::sdp::{Sdp, Section, push};
use super::streams::Streams;
use super::{Codec, OfferError, OfferLimits};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

pub(super) use super::sdp::Kind;

/// The only transport of media that browsers and the WebRTC library have.
const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";
/// Characters of a mid that tell sections apart: the WebRTC library keeps no more, and of these letters and digits alone.
const MID_CHARACTERS: usize = 16;
/// Identifiers of RTP header extensions that fit the one-byte form (RFC 8285).
const EXTENSION_IDS: std::ops::RangeInclusive<u8> = 1..=14;
/// RTP header extensions that are negotiated.
const EXTENSIONS: [&str; 7] = [
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "urn:3gpp:video-orientation",
];

/// What a client offers to do with media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To send them here.
    Publish,
    /// To receive them from here.
    Subscribe,
}

/// An offer that can be answered.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) purpose: Purpose,
    /// ICE user fragment and password of the client.
    pub(super) credentials: (String, String),
    /// Values of `a=fingerprint`.
    fingerprints: Vec<String>,
    setup: &'static str,
    /// Whether the offer bundles what is taken.
    pub(super) bundled: bool,
    /// What is taken, in the order of the offer.
    pub(super) taken: Vec<Taken>,
    /// In the order of the offer: the `m=` line of what is turned down, and its mid.
    pub(super) turned_down: Vec<Option<(String, Option<String>)>>,
}

/// A section that is taken.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) kind: Kind,
    /// As the client writes it.
    pub(super) mid: String,
    pub(super) formats: Vec<Format>,
    extensions: Vec<(u8, &'static str)>,
    pub(super) streams: Streams,
}

fn malformed<T>(why: impl Into<String>) -> Result<T, OfferError> {
    Err(OfferError::Malformed(why.into()))
}

fn suits(section: &Section<'_>, purpose: Purpose, session: &Section<'_>) -> bool {
    let needed = match purpose {
        Purpose::Publish => "sendonly",
        Purpose::Subscribe => "recvonly",
    };
    let direction = section.direction().or_else(|| session.direction()).unwrap_or("sendrecv");
    !section.is_rejected() && (direction == "sendrecv" || direction == needed)
}

impl Offer {
    /// Reads an offer; `strict` as in [`super::MediaConfig`].
    pub(super) fn read(text: &str, purpose: Purpose, strict: bool, limits: &OfferLimits) -> Result<Offer, OfferError> {
        let sdp = Sdp::parse(text, limits)?;
        let mids: Vec<&str> = sdp.sections.iter().filter_map(|section| section.value("mid")).collect();
        if mids.iter().collect::<BTreeSet<_>>().len() < mids.len() {
            return malformed("two sections of the offer have the same a=mid");
        }
        let mut chosen: Vec<(&Section<'_>, Kind)> = Vec::new();
        let mut turned_down = Vec::new();
        for section in &sdp.sections {
            let free = |kind: &Kind| chosen.iter().all(|(_, known)| known != kind);
            match section.kind().filter(free).filter(|_| suits(section, purpose, &sdp.session)) {
                Some(kind) => {
                    chosen.push((section, kind));
                    turned_down.push(None);
                }
                None => turned_down.push(Some((section.head.to_owned(), section.value("mid").map(str::to_owned)))),
            }
        }
        if chosen.is_empty() {
            return malformed(match purpose {
                Purpose::Publish => "the offer sends nothing: no audio or video section is sendonly or sendrecv",
                Purpose::Subscribe => "the offer receives nothing: no audio or video section is recvonly or sendrecv",
            });
        }
        let taken = chosen.iter().map(|(section, kind)| Taken::read(section, *kind, purpose, strict));
        let taken = taken.collect::<Result<Vec<_>, _>>()?;
        let is_video = |section: &Section<'_>| section.kind() == Some(Kind::Video) && !section.is_rejected();
        let h264 = |section: &Section<'_>| is_video(section) && codecs::has_h264(section);
        if strict && purpose == Purpose::Publish && !sdp.sections.iter().any(h264) {
            return Err(OfferError::UnsupportedVideoCodec(
                "the offer has no H.264 video section, which is required here".into(),
            ));
        }
        let sections: Vec<&Section<'_>> = chosen.iter().map(|(section, _)| *section).collect();
        if purpose == Purpose::Subscribe {
            unambiguous(&sections)?;
        }
        let bundled = bundled(&sdp, &taken)?;
        let (credentials, fingerprints, setup) = transport(&sdp, &sections)?;
        Ok(Offer { purpose, credentials, fingerprints, setup, bundled, taken, turned_down })
    }

    /// Whether streams are told apart by SSRC alone: there are layers by SSRC, and the SSRCs of all else are announced.
    pub(super) fn goes_by_ssrc(&self) -> bool {
        let announced = |taken: &Taken| matches!(taken.streams, Streams::Ssrcs(_) | Streams::Single(Some(_)));
        self.taken.iter().any(|taken| matches!(taken.streams, Streams::Ssrcs(_))) && self.taken.iter().all(announced)
    }

    /// What the WebRTC library is given: the first `sections` of what is taken. What it sends is of the media stream
    /// `stream`.
    pub(super) fn library_text(&self, sections: usize, stream: &str) -> String {
        let taken = &self.taken[..sections.min(self.taken.len())];
        let mut out = String::from("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
        let mids = taken.iter().fold(String::new(), |mids, section| mids + " " + &section.mid);
        push(&mut out, &format!("a=group:BUNDLE{mids}"));
        push(&mut out, &format!("a=ice-ufrag:{}", self.credentials.0));
        push(&mut out, &format!("a=ice-pwd:{}", self.credentials.1));
        self.fingerprints.iter().for_each(|print| push(&mut out, &format!("a=fingerprint:{print}")));
        push(&mut out, &format!("a=setup:{}", self.setup));
        taken.iter().for_each(|section| section.write(self.purpose, stream, &mut out));
        out
    }
}

impl Taken {
    fn read(section: &Section<'_>, kind: Kind, purpose: Purpose, strict: bool) -> Result<Taken, OfferError> {
        if section.protocol() != PROTOCOL {
            return malformed(format!("{} is not of the protocol {PROTOCOL}", section.label()));
        }
        let mid = mid(section)?;
        let formats = codecs::choose(section, kind, purpose, strict)?;
        let streams = match purpose {
            Purpose::Publish => Streams::read(section)?,
            Purpose::Subscribe => Streams::Single(None),
        };
        Ok(Taken { kind, mid: mid.to_owned(), formats, extensions: extensions(section), streams })
    }

    fn write(&self, purpose: Purpose, stream: &str, out: &mut String) {
        let kind = self.kind.name();
        let mut numbers = String::new();
        for format in &self.formats {
            let _ = write!(numbers, " {}", format.pt);
            format.rtx.iter().for_each(|rtx| numbers.push_str(&format!(" {rtx}")));
        }
        push(out, &format!("m={kind} 9 {PROTOCOL}{numbers}"));
        push(out, &format!("a=mid:{}", self.mid));
        match purpose {
            Purpose::Publish => push(out, "a=sendonly"),
            Purpose::Subscribe => {
                push(out, "a=recvonly");
                // The library sends with the ids that it is offered.
                push(out, &format!("a=msid:{stream} {stream}-{kind}"));
            }
        }
        push(out, "a=rtcp-mux");
        self.extensions.iter().for_each(|(id, uri)| push(out, &format!("a=extmap:{id} {uri}")));
        self.formats.iter().for_each(|format| write_format(format, out));
        self.streams.write(out);
    }
}

fn write_format(format: &Format, out: &mut String) {
    let pt = format.pt;
    let (encoding, parameters) = match (format.codec, format.h264) {
        (Codec::Opus, _) => ("opus/48000/2", Some("minptime=10;useinbandfec=1".to_owned())),
        (Codec::Vp8, _) => ("VP8/90000", None),
        (Codec::H264, h264) => {
            let (id, mode) = h264.unwrap_or_default();
            let text = format!("level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={id:06x}");
            ("H264/90000", Some(text))
        }
    };
    push(out, &format!("a=rtpmap:{pt} {encoding}"));
    if let Some(parameters) = parameters {
        push(out, &format!("a=fmtp:{pt} {parameters}"));
    }
    if format.transport_cc {
        push(out, &format!("a=rtcp-fb:{pt} transport-cc"));
    }
    if let Some(rtx) = format.rtx {
        push(out, &format!("a=rtpmap:{rtx} rtx/90000"));
        push(out, &format!("a=fmtp:{rtx} apt={pt}"));
    }
}

fn mid<'a>(section: &Section<'a>) -> Result<&'a str, OfferError> {
    let mut mids = section.values("mid");
    let Some(mid) = mids.next().filter(|mid| !mid.is_empty()) else {
        return malformed(format!("{} has no a=mid", section.label()));
    };
    if mids.next().is_some() {
        return malformed(format!("{} has more than one a=mid", section.label()));
    }
    if mid.len() > 64 || mid.contains(' ') || !mid.is_ascii() {
        return malformed(format!("the a=mid of {} is not a token of at most 64 characters", section.label()));
    }
    Ok(mid)
}

/// The header extensions of a section that are negotiated, each once.
fn extensions(section: &Section<'_>) -> Vec<(u8, &'static str)> {
    let mut found: Vec<(u8, &'static str)> = Vec::new();
    for value in section.values("extmap") {
        let mut words = value.split(' ').filter(|word| !word.is_empty());
        let id = words.next().and_then(|id| id.split('/').next()?.parse().ok()).filter(|id| EXTENSION_IDS.contains(id));
        let uri = words.next().and_then(|uri| EXTENSIONS.into_iter().find(|known| *known == uri));
        if let (Some(id), Some(uri)) = (id, uri)
            && found.iter().all(|(known, of)| *known != id && *of != uri)
        {
            found.push((id, uri));
        }
    }
    found
}

/// Whether the offer bundles the sections that are taken. They share one transport: of two sections, both must be in one
/// group (RFC 9143), and their mids must differ where the WebRTC library looks.
fn bundled(sdp: &Sdp<'_>, taken: &[Taken]) -> Result<bool, OfferError> {
    let short = |mid: &str| -> String {
        mid.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(MID_CHARACTERS).collect()
    };
    let shortened: BTreeSet<String> = taken.iter().map(|section| short(&section.mid)).collect();
    if shortened.len() < taken.len() {
        return malformed(format!(
            "the audio and the video section have the same a=mid; the first {MID_CHARACTERS} letters and digits count"
        ));
    }
    let groups = sdp.session.values("group").filter_map(|group| group.strip_prefix("BUNDLE "));
    let mut groups = groups.map(|mids| mids.split(' ').collect::<Vec<_>>());
    match groups.any(|mids| taken.iter().all(|section| mids.contains(&section.mid.as_str()))) {
        true => Ok(true),
        false if taken.len() == 1 => Ok(false),
        false => malformed("the audio and the video section are not in one a=group:BUNDLE, which is required"),
    }
}

/// Whether an ICE user fragment or password is as RFC 8839 has it. Characters of other forms of base64 are taken too:
/// passwords of Elixir WebRTC end with its padding.
pub(super) fn is_ice(text: &str, least: usize) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
    (least..=256).contains(&text.len()) && text.chars().all(letters)
}

type Transport = ((String, String), Vec<String>, &'static str);

/// The transport of what is taken: of its sections, else of the session, else of another section that it is bundled with.
fn transport(sdp: &Sdp<'_>, taken: &[&Section<'_>]) -> Result<Transport, OfferError> {
    if sdp.session.has_flag("ice-lite") {
        return malformed("the client is ICE-lite, as the server is; one of them must be a full ICE agent");
    }
    let places: Vec<&Section<'_>> =
        taken.iter().copied().chain(std::iter::once(&sdp.session)).chain(&sdp.sections).collect();
    let first = |name: &str| places.iter().find_map(|place| place.value(name));
    let credentials = places.iter().find_map(|place| Some((place.value("ice-ufrag")?, place.value("ice-pwd")?)));
    let Some((ufrag, password)) = credentials else {
        return malformed("the offer has no a=ice-ufrag and a=ice-pwd");
    };
    if !is_ice(ufrag, 4) || !is_ice(password, 22) {
        return malformed("a=ice-ufrag or a=ice-pwd is not as RFC 8839 has it");
    }
    let Some(place) = places.iter().find(|place| place.value("fingerprint").is_some()) else {
        return malformed("the offer has no a=fingerprint");
    };
    let fingerprints: Vec<String> = place.values("fingerprint").filter_map(fingerprint).collect();
    if fingerprints.is_empty() {
        return malformed("no a=fingerprint of the offer is of sha-256 or sha-1, with all of its bytes");
    }
    let setup = match first("setup") {
        Some("actpass") | None => "actpass",
        Some("active") => "active",
        Some("passive") => "passive",
        Some(_) => return malformed("a=setup must be actpass, active or passive"),
    };
    Ok(((ufrag.to_owned(), password.to_owned()), fingerprints, setup))
}

/// A fingerprint of a hash function that the WebRTC library has.
fn fingerprint(value: &str) -> Option<String> {
    let (function, bytes) = value.split_once(' ')?;
    let length = match function {
        _ if function.eq_ignore_ascii_case("sha-256") => 32,
        _ if function.eq_ignore_ascii_case("sha-1") => 20,
        _ => return None,
    };
    let hex = |byte: &str| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut count = 0;
    let whole = bytes.trim().split(':').all(|byte| {
        count += 1;
        hex(byte)
    });
    (whole && count == length).then(|| format!("{function} {}", bytes.trim()))
}

/// What a payload type stands for: its encodings and their parameters.
#[derive(Clone, Debug, Default, PartialEq)]
struct Meaning {
    encodings: BTreeSet<String>,
    parameters: BTreeSet<String>,
}

fn meanings(section: &Section<'_>) -> BTreeMap<u8, Meaning> {
    let mut all: BTreeMap<u8, Meaning> = BTreeMap::new();
    for name in ["rtpmap", "fmtp"] {
        for (number, value) in section.values(name).filter_map(|value| value.split_once(' ')) {
            let Ok(number) = number.parse() else { continue };
            let Meaning { encodings, parameters } = all.entry(number).or_default();
            let values = if name == "rtpmap" { encodings } else { parameters };
            values.insert(value.trim().to_ascii_lowercase());
        }
    }
    all.retain(|_, meaning| !meaning.encodings.is_empty());
    all
}

/// Refuses payload types that stand for two things. All that is sent goes one way (RFC 9143, section 9.1), and a receiver
/// chooses the numbers.
fn unambiguous(sections: &[&Section<'_>]) -> Result<(), OfferError> {
    let mut all = BTreeMap::new();
    for (number, meaning) in sections.iter().flat_map(|section| meanings(section)) {
        let one = meaning.encodings.len() == 1;
        if !one || *all.entry(number).or_insert_with(|| meaning.clone()) != meaning {
            return malformed(format!("payload type {number} stands for more than one format in the offer"));
        }
    }
    Ok(())
}
