//! Offers: what one must have to be answered, and which of its sections are taken.
//!
//! The sections that are taken are the first of audio and the first of video that can carry media the right way. All
//! others (a data channel, a second camera) are left out of what the WebRTC library sees and answered with port 0.

use super::Refused;
use std::collections::{BTreeMap, BTreeSet};

/// The largest offer that is read.
pub(super) const MOST_BYTES: usize = 64 * 1024;
/// The most lines of an offer.
const MOST_LINES: usize = 2_000;
/// The most media sections of an offer.
const MOST_SECTIONS: usize = 16;

/// What somebody offers to do with media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To send them here.
    Publish,
    /// To receive them from here.
    Subscribe,
}

/// What a section carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

/// An offer that can be answered.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    /// The offer with nothing but what is taken, and without candidates, which an ICE-lite agent has no use for.
    text: String,
    /// The mids of what is taken, as the client writes them. The WebRTC library keeps 16 characters of each, and letters
    /// and digits alone.
    mids: Vec<String>,
    /// In the order of the offer: the `m=` line of what is turned down, and its mid.
    turned_down: Vec<Option<(String, Option<String>)>>,
}

/// A media section as it stands in the text.
#[derive(Debug)]
struct Section<'a> {
    head: &'a str,
    lines: Vec<&'a str>,
}

/// What a payload type stands for.
#[derive(Clone, Debug, Default, PartialEq)]
struct Payload {
    encodings: BTreeSet<String>,
    parameters: BTreeSet<String>,
}

const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];

pub(super) fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':').map(str::trim)
}

impl<'a> Section<'a> {
    fn kind(&self) -> Option<Kind> {
        match self.head.split(' ').next() {
            Some("audio") => Some(Kind::Audio),
            Some("video") => Some(Kind::Video),
            _ => None,
        }
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.lines.iter().find_map(|line| attribute(line, name))
    }

    /// Whether it stands in the offer only to keep its place. A bundled section may have port 0 all the same.
    fn dead(&self) -> bool {
        self.head.split(' ').nth(1) == Some("0") && !self.lines.contains(&"a=bundle-only")
    }

    fn direction(&self, session: &str) -> &str {
        let own = self.lines.iter().filter_map(|line| line.strip_prefix("a=")).find(|name| DIRECTIONS.contains(name));
        match own {
            Some(direction) => direction,
            None if session.is_empty() => "sendrecv",
            None => DIRECTIONS.iter().find(|name| **name == session).unwrap_or(&"sendrecv"),
        }
    }

    fn suits(&self, purpose: Purpose, session: &str) -> bool {
        let wanted = match purpose {
            Purpose::Publish => "sendonly",
            Purpose::Subscribe => "recvonly",
        };
        let direction = self.direction(session);
        !self.dead() && (direction == "sendrecv" || direction == wanted)
    }

    /// Whether one of its payload types is of a codec; `encoding` as in an `rtpmap`, with the clock rate.
    fn has(&self, encoding: &str) -> bool {
        let listed: Vec<_> = self.head.split(' ').skip(3).collect();
        self.lines.iter().filter_map(|line| attribute(line, "rtpmap")).any(|map| {
            let Some((payload, name)) = map.split_once(' ') else { return false };
            let name = name.trim();
            listed.contains(&payload)
                && name.get(..encoding.len()).is_some_and(|start| start.eq_ignore_ascii_case(encoding))
                && matches!(name.as_bytes().get(encoding.len()), None | Some(b'/'))
        })
    }

    /// What each payload type stands for: its encodings, and their parameters.
    fn payloads(&self) -> BTreeMap<u8, Payload> {
        let mut payloads: BTreeMap<u8, Payload> = BTreeMap::new();
        for line in &self.lines {
            for (name, encoding) in [("rtpmap", true), ("fmtp", false)] {
                let Some((payload, value)) = attribute(line, name).and_then(|value| value.split_once(' ')) else {
                    continue;
                };
                let Ok(payload) = payload.parse() else { continue };
                let Payload { encodings, parameters } = payloads.entry(payload).or_default();
                let values = if encoding { encodings } else { parameters };
                values.insert(value.trim().to_ascii_lowercase());
            }
        }
        payloads.retain(|_, payload| !payload.encodings.is_empty());
        payloads
    }

    fn taken(&self, purpose: Purpose, out: &mut String) {
        let direction = match purpose {
            Purpose::Publish => "sendonly",
            Purpose::Subscribe => "recvonly",
        };
        push(out, &format!("m={}", self.head));
        let left_out = |line: &&&str| {
            let name = line.strip_prefix("a=").unwrap_or_default();
            !DIRECTIONS.contains(&name) && !name.starts_with("candidate:") && name != "end-of-candidates"
        };
        self.lines.iter().filter(left_out).for_each(|line| push(out, line));
        push(out, &format!("a={direction}"));
    }
}

pub(super) fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push_str("\r\n");
}

/// The lines before the first section, and the sections.
fn sections(text: &str) -> Result<(Vec<&str>, Vec<Section<'_>>), Refused> {
    let malformed = |why: &str| Err(Refused::Malformed(why.into()));
    if text.len() > MOST_BYTES {
        return malformed("the offer is larger than 64 KiB");
    }
    let mut session = Vec::new();
    let mut sections: Vec<Section<'_>> = Vec::new();
    for (number, line) in text.lines().map(str::trim_end).filter(|line| !line.is_empty()).enumerate() {
        if number >= MOST_LINES {
            return malformed("the offer has too many lines");
        }
        let Some(head) = line.strip_prefix("m=") else {
            match sections.last_mut() {
                Some(section) => section.lines.push(line),
                None => session.push(line),
            }
            continue;
        };
        if sections.len() >= MOST_SECTIONS {
            return malformed("the offer has too many sections");
        }
        sections.push(Section { head, lines: Vec::new() });
    }
    match session.first() {
        Some(first) if first.starts_with("v=0") => Ok((session, sections)),
        _ => malformed("the offer is not SDP: it does not begin with v=0"),
    }
}

/// Says what keeps a section from being taken, if anything does.
fn check(section: &Section<'_>, kind: Kind, strict: bool) -> Result<(), Refused> {
    match kind {
        Kind::Audio if !section.has("opus/48000") => Err(Refused::AudioCodec),
        Kind::Video if strict && !section.has("H264/90000") => {
            Err(Refused::VideoCodec("the offer has video without H.264".into()))
        }
        Kind::Video if !section.has("H264/90000") && !section.has("VP8/90000") => {
            Err(Refused::VideoCodec("the offer has video with neither H.264 nor VP8".into()))
        }
        _ => Ok(()),
    }
}

/// Refuses payload types that stand for two things. All that is sent goes one way (RFC 8843, section 9.1), and whoever
/// receives chooses the numbers.
fn unambiguous<'a>(sections: impl Iterator<Item = &'a Section<'a>>) -> Result<(), Refused> {
    let mut all = BTreeMap::new();
    for (number, payload) in sections.flat_map(Section::payloads) {
        let one = payload.encodings.len() == 1;
        if !one || *all.entry(number).or_insert_with(|| payload.clone()) != payload {
            return Err(Refused::Malformed(format!(
                "payload type {number} stands for more than one format in the offer"
            )));
        }
    }
    Ok(())
}

impl Offer {
    /// Reads an offer; `strict` as in [`super::Settings`].
    pub(super) fn read(text: &str, purpose: Purpose, strict: bool) -> Result<Offer, Refused> {
        let (session, sections) = sections(text)?;
        let is_video = |section: &&Section<'_>| section.kind() == Some(Kind::Video) && !section.dead();
        if strict && purpose == Purpose::Publish && !sections.iter().filter(is_video).any(|s| s.has("H264/90000")) {
            return Err(Refused::VideoCodec("the offer has no H.264 video section, which is demanded here".into()));
        }
        let direction =
            session.iter().filter_map(|line| line.strip_prefix("a=")).find(|name| DIRECTIONS.contains(name));
        let direction = direction.unwrap_or_default();
        let mut seen = Vec::new();
        let mut taken = Vec::new();
        for section in &sections {
            let kind = section.kind().filter(|kind| !seen.contains(kind) && section.suits(purpose, direction));
            if let Some(kind) = kind {
                check(section, kind, strict)?;
                seen.push(kind);
            }
            taken.push(kind.is_some());
        }
        if seen.is_empty() {
            let what = match purpose {
                Purpose::Publish => "sends nothing: no audio or video section is sendonly or sendrecv",
                Purpose::Subscribe => "receives nothing: no audio or video section is recvonly or sendrecv",
            };
            return Err(Refused::Malformed(format!("the offer {what}")));
        }
        if purpose == Purpose::Subscribe {
            unambiguous(sections.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(section, _)| section))?;
        }
        Ok(Offer::of(&session, &sections, &taken, purpose))
    }

    fn of(session: &[&str], sections: &[Section<'_>], taken: &[bool], purpose: Purpose) -> Offer {
        let mids = sections.iter().zip(taken).filter(|(_, taken)| **taken).filter_map(|(s, _)| s.value("mid"));
        let mids: Vec<_> = mids.map(str::to_owned).collect();
        let mut text = String::new();
        for line in session {
            let name = line.strip_prefix("a=").unwrap_or_default();
            match attribute(line, "group").and_then(|group| group.strip_prefix("BUNDLE")) {
                Some(_) => push(&mut text, &bundle(&mids)),
                None if DIRECTIONS.contains(&name) || name.starts_with("candidate:") => {}
                None => push(&mut text, line),
            }
        }
        sections.iter().zip(taken).filter(|(_, taken)| **taken).for_each(|(s, _)| s.taken(purpose, &mut text));
        let turned_down = sections.iter().zip(taken).map(|(section, taken)| {
            (!taken).then(|| (section.head.to_owned(), section.value("mid").map(str::to_owned)))
        });
        Offer { text, mids, turned_down: turned_down.collect() }
    }

    /// What the WebRTC library is given.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The credentials that the client checks with: the first in the offer.
    pub(super) fn credentials(&self) -> Option<(&str, &str)> {
        let first = |name| self.text.lines().find_map(|line| attribute(line, name));
        Some((first("ice-ufrag")?, first("ice-pwd")?))
    }

    /// An answer to [`Offer::text`], with the mids as the client writes them.
    pub(super) fn with_own_mids(&self, answer: &str) -> String {
        let mut mids = self.mids.iter();
        let mut out = String::with_capacity(answer.len());
        for line in answer.lines() {
            if line.starts_with("a=group:BUNDLE") {
                push(&mut out, &bundle(&self.mids));
            } else if let Some(mid) = attribute(line, "mid").and_then(|_| mids.next()) {
                push(&mut out, &format!("a=mid:{mid}"));
            } else {
                push(&mut out, line);
            }
        }
        out
    }

    /// The same with what is turned down in its places.
    pub(super) fn answer(&self, answer: &str) -> Result<String, Refused> {
        let answer = &self.with_own_mids(answer);
        let (session, sections) = match answer.find("m=") {
            Some(at) => answer.split_at(at),
            None => (answer.as_str(), ""),
        };
        let mut out = session.to_owned();
        let taken = split_sections(sections);
        if taken.len() != self.turned_down.iter().filter(|place| place.is_none()).count() {
            let why = "a section cannot be answered: its mid is missing or not its own, or its protocol is unknown";
            return Err(Refused::Malformed(why.into()));
        }
        let mut taken = taken.into_iter();
        for place in &self.turned_down {
            match place {
                None => out.push_str(taken.next().unwrap_or_default()),
                Some((head, mid)) => turn_down(&mut out, head, mid.as_deref()),
            }
        }
        Ok(out)
    }
}

fn bundle(mids: &[String]) -> String {
    mids.iter().fold("a=group:BUNDLE".to_owned(), |line, mid| line + " " + mid)
}

fn split_sections(text: &str) -> Vec<&str> {
    let mut starts: Vec<_> = text.match_indices("\nm=").map(|(at, _)| at + 1).collect();
    starts.insert(0, 0);
    starts.push(text.len());
    starts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

fn turn_down(out: &mut String, head: &str, mid: Option<&str>) {
    let words: Vec<_> = head.split(' ').collect();
    let word = |place: usize| words.get(place).copied().unwrap_or_default();
    // A payload type that needs no explanation, as browsers do it; other protocols have no such numbers.
    let format = if word(2).contains("RTP") { "0" } else { word(3) };
    push(out, &format!("m={} 0 {} {format}", word(0), word(2)));
    push(out, "c=IN IP4 0.0.0.0");
    if let Some(mid) = mid {
        push(out, &format!("a=mid:{mid}"));
    }
    push(out, "a=inactive");
}
