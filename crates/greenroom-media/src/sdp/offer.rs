//! Offers: validation, and the choice of the media sections to accept.
//!
//! The first audio and the first video section of the right direction are accepted. All others, such as a data channel
//! or a second camera, are rejected with port 0 in the answer. The WebRTC library never parses the client's text: it
//! gets an offer that is rewritten from the parsed values and has only what it needs.

use super::formats::{self, RtpFormat};
use super::streams::Streams;
use super::transport_attributes::{TransportAttributes, is_bundled, transport_attributes};
use super::{MediaKind, Sdp, Section, malformed, payload_types, push_line};
use crate::{Codec, OfferError, OfferLimits};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The only media protocol of browsers and the WebRTC library.
const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";
/// Valid RTP header extension IDs in the one-byte form (RFC 8285).
const EXTENSION_IDS: std::ops::RangeInclusive<u8> = 1..=14;
/// Only a sender of video uses it.
const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
/// RTP header extensions that are negotiated.
const HEADER_EXTENSIONS: [&str; 8] = [
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "urn:3gpp:video-orientation",
    PLAYOUT_DELAY,
];

/// Whether the client offers to send or to receive media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Publish,
    Subscribe,
}

/// A valid offer.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) purpose: Purpose,
    transport: TransportAttributes,
    /// Whether the offer bundles the accepted sections.
    pub(super) bundled: bool,
    /// In the order of the offer.
    pub(crate) accepted: Vec<AcceptedSection>,
    /// For each section of the offer, in order: `None` if it is accepted, else what the answer repeats of it.
    pub(super) rejected: Vec<Option<RejectedSection>>,
}

#[derive(Clone, Debug)]
pub(super) struct RejectedSection {
    pub(super) m_line: String,
    pub(super) mid: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct AcceptedSection {
    pub(crate) kind: MediaKind,
    /// The client's MID; the WebRTC library may truncate it.
    pub(super) mid: String,
    /// In the order of the answer, at least one.
    pub(crate) formats: Vec<RtpFormat>,
    header_extensions: Vec<(u8, &'static str)>,
    pub(crate) streams: Streams,
}

/// Whether a section has the right direction; the default is that of the session, else sendrecv (RFC 8866, section
/// 6.7).
fn has_direction(section: &Section<'_>, purpose: Purpose, session: &Section<'_>) -> bool {
    let needed = match purpose {
        Purpose::Publish => "sendonly",
        Purpose::Subscribe => "recvonly",
    };
    let direction = section.direction().or_else(|| session.direction()).unwrap_or("sendrecv");
    !section.is_rejected() && (direction == "sendrecv" || direction == needed)
}

impl Offer {
    pub(crate) fn parse(
        text: &str,
        purpose: Purpose,
        strict_ivs: bool,
        limits: &OfferLimits,
    ) -> Result<Offer, OfferError> {
        let sdp = Sdp::parse(text, limits)?;
        let mids: Vec<&str> = sdp.sections.iter().filter_map(|section| section.value("mid")).collect();
        if mids.iter().collect::<BTreeSet<_>>().len() < mids.len() {
            return malformed("two media sections of the offer have the same a=mid");
        }
        let mut chosen: Vec<(&Section<'_>, MediaKind)> = Vec::new();
        let mut rejected = Vec::new();
        for section in &sdp.sections {
            let is_first = |kind: &MediaKind| chosen.iter().all(|(_, known)| known != kind);
            match section.kind().filter(is_first).filter(|_| has_direction(section, purpose, &sdp.session)) {
                Some(kind) => {
                    chosen.push((section, kind));
                    rejected.push(None);
                }
                None => rejected.push(Some(RejectedSection {
                    m_line: section.m_line.to_owned(),
                    mid: section.value("mid").map(str::to_owned),
                })),
            }
        }
        if chosen.is_empty() {
            return malformed(match purpose {
                Purpose::Publish => "the offer sends no media: no audio or video section is sendonly or sendrecv",
                Purpose::Subscribe => "the offer receives no media: no audio or video section is recvonly or sendrecv",
            });
        }
        let accepted = chosen.iter().map(|(section, kind)| AcceptedSection::parse(section, *kind, purpose, strict_ivs));
        let accepted = accepted.collect::<Result<Vec<_>, _>>()?;
        let is_video = |section: &Section<'_>| section.kind() == Some(MediaKind::Video) && !section.is_rejected();
        let has_h264 = |section: &Section<'_>| is_video(section) && formats::has_h264(section);
        if strict_ivs && purpose == Purpose::Publish && !sdp.sections.iter().any(has_h264) {
            let text = "the offer has no video section with H.264, which this server requires";
            return Err(OfferError::UnsupportedVideoCodec(text.into()));
        }
        let sections: Vec<&Section<'_>> = chosen.iter().map(|(section, _)| *section).collect();
        if purpose == Purpose::Subscribe {
            payload_types::check_unambiguous(&sections)?;
        }
        let bundled = is_bundled(&sdp, &accepted)?;
        let transport = transport_attributes(&sdp, &sections)?;
        Ok(Offer { purpose, transport, bundled, accepted, rejected })
    }

    /// ICE ufrag and password of the client.
    pub(crate) fn credentials(&self) -> (String, String) {
        self.transport.credentials.clone()
    }

    /// Whether streams are demultiplexed by SSRC only: there are layers by SSRC, and all other SSRCs are announced.
    pub(crate) fn is_demultiplexed_by_ssrc(&self) -> bool {
        let has_layers = |section: &AcceptedSection| matches!(section.streams, Streams::Ssrcs(_));
        let is_announced =
            |section: &AcceptedSection| matches!(section.streams, Streams::Ssrcs(_) | Streams::Single(Some(_)));
        self.accepted.iter().any(has_layers) && self.accepted.iter().all(is_announced)
    }

    /// The offer for the WebRTC library, with the first `sections` accepted sections. `stream` is the ID of the media
    /// stream that it sends (RFC 8830).
    pub(crate) fn library_text(&self, sections: usize, stream: &str) -> String {
        let accepted = &self.accepted[..sections.min(self.accepted.len())];
        let mut out = String::from("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
        let mids = accepted.iter().fold(String::new(), |mids, section| mids + " " + &section.mid);
        push_line(&mut out, &format!("a=group:BUNDLE{mids}"));
        push_line(&mut out, &format!("a=ice-ufrag:{}", self.transport.credentials.0));
        push_line(&mut out, &format!("a=ice-pwd:{}", self.transport.credentials.1));
        self.transport.fingerprints.iter().for_each(|value| push_line(&mut out, &format!("a=fingerprint:{value}")));
        push_line(&mut out, &format!("a=setup:{}", self.transport.setup));
        accepted.iter().for_each(|section| section.write(self.purpose, stream, &mut out));
        out
    }
}

impl AcceptedSection {
    fn parse(
        section: &Section<'_>,
        kind: MediaKind,
        purpose: Purpose,
        strict_ivs: bool,
    ) -> Result<AcceptedSection, OfferError> {
        if section.protocol() != PROTOCOL {
            return malformed(format!("the protocol of {} is not {PROTOCOL}", section.label()));
        }
        let mid = mid(section)?;
        let formats = formats::choose(section, kind, purpose, strict_ivs)?;
        let streams = match purpose {
            Purpose::Publish => Streams::parse(section)?,
            Purpose::Subscribe => Streams::Single(None),
        };
        let mut header_extensions = header_extensions(section);
        let uses_playout_delay = purpose == Purpose::Subscribe && kind == MediaKind::Video;
        header_extensions.retain(|(_, uri)| uses_playout_delay || *uri != PLAYOUT_DELAY);
        Ok(AcceptedSection { kind, mid: mid.to_owned(), formats, header_extensions, streams })
    }

    fn write(&self, purpose: Purpose, stream: &str, out: &mut String) {
        let kind = self.kind.name();
        let mut numbers = String::new();
        for format in &self.formats {
            let _ = write!(numbers, " {}", format.pt);
            format.rtx.iter().chain(&format.red).for_each(|number| numbers.push_str(&format!(" {number}")));
        }
        push_line(out, &format!("m={kind} 9 {PROTOCOL}{numbers}"));
        push_line(out, &format!("a=mid:{}", self.mid));
        match purpose {
            Purpose::Publish => push_line(out, "a=sendonly"),
            Purpose::Subscribe => {
                push_line(out, "a=recvonly");
                // The library sends with the stream and track IDs of the offer.
                push_line(out, &format!("a=msid:{stream} {stream}-{kind}"));
            }
        }
        push_line(out, "a=rtcp-mux");
        self.header_extensions.iter().for_each(|(id, uri)| push_line(out, &format!("a=extmap:{id} {uri}")));
        self.formats.iter().for_each(|format| write_format(format, out));
        self.streams.write(out);
    }
}

fn write_format(format: &RtpFormat, out: &mut String) {
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
    push_line(out, &format!("a=rtpmap:{pt} {encoding}"));
    if let Some(parameters) = parameters {
        push_line(out, &format!("a=fmtp:{pt} {parameters}"));
    }
    if format.transport_cc {
        push_line(out, &format!("a=rtcp-fb:{pt} transport-cc"));
    }
    if let Some(red) = format.red {
        push_line(out, &format!("a=rtpmap:{red} red/48000/2"));
        push_line(out, &format!("a=fmtp:{red} {pt}/{pt}"));
    }
    if let Some(rtx) = format.rtx {
        push_line(out, &format!("a=rtpmap:{rtx} rtx/90000"));
        push_line(out, &format!("a=fmtp:{rtx} apt={pt}"));
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

/// The supported header extensions of a section, each once.
fn header_extensions(section: &Section<'_>) -> Vec<(u8, &'static str)> {
    let mut found: Vec<(u8, &'static str)> = Vec::new();
    for value in section.values("extmap") {
        let mut words = value.split(' ').filter(|word| !word.is_empty());
        let id = words.next().and_then(|id| id.split('/').next()?.parse().ok()).filter(|id| EXTENSION_IDS.contains(id));
        let uri = words.next().and_then(|uri| HEADER_EXTENSIONS.into_iter().find(|known| *known == uri));
        if let (Some(id), Some(uri)) = (id, uri)
            && found.iter().all(|(known_id, known_uri)| *known_id != id && *known_uri != uri)
        {
            found.push((id, uri));
        }
    }
    found
}
