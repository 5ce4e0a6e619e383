//! SDP (RFC 8866): splits an offer into media sections and enforces limits before anything else reads it. The
//! submodules choose what to accept, and write the answer.

pub(super) mod answer;
pub(super) mod formats;
pub(super) mod fragment;
pub(super) mod negotiated;
pub(super) mod offer;
mod payload_types;
pub(super) mod streams;
mod transport_attributes;

use super::{MediaKind, OfferError, OfferLimits};

const MAX_LINES: usize = 10_000;
const MAX_SECTION_LINES: usize = 1_000;
const MAX_LINE_BYTES: usize = 4_096;
/// In an `m=` line.
const MAX_PAYLOAD_TYPES: usize = 128;
/// Maximum lines of an attribute in a section. Browsers use less than a quarter of each.
const MAX_ATTRIBUTE_LINES: [(&str, usize); 9] = [
    ("ssrc", 64),
    ("ssrc-group", 32),
    ("candidate", 128),
    ("rtpmap", 128),
    ("fmtp", 128),
    ("rtcp-fb", 512),
    ("extmap", 64),
    ("rid", 16),
    ("simulcast", 4),
];

const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];

impl MediaKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        }
    }

    /// RTP clock rate in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            MediaKind::Audio => 48_000,
            MediaKind::Video => 90_000,
        }
    }
}

#[derive(Debug)]
pub(super) struct Sdp<'a> {
    /// The session-level lines; its `m_line` is empty.
    pub(super) session: Section<'a>,
    pub(super) sections: Vec<Section<'a>>,
}

#[derive(Debug)]
pub(super) struct Section<'a> {
    /// The value of the `m=` line.
    pub(super) m_line: &'a str,
    lines: Vec<&'a str>,
}

/// The value of the attribute line `a=name:value`.
pub(super) fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':').map(str::trim)
}

pub(super) fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push_str("\r\n");
}

fn malformed<T>(why: impl Into<String>) -> Result<T, OfferError> {
    Err(OfferError::Malformed(why.into()))
}

fn exceeded<T>(why: String) -> Result<T, OfferError> {
    Err(OfferError::TooLarge(why))
}

impl<'a> Sdp<'a> {
    pub(super) fn parse(text: &'a str, limits: &OfferLimits) -> Result<Sdp<'a>, OfferError> {
        if text.len() > limits.max_bytes {
            return exceeded(format!("the offer has {} bytes; the limit is {}", text.len(), limits.max_bytes));
        }
        let mut session = Section { m_line: "", lines: Vec::new() };
        let mut sections: Vec<Section<'a>> = Vec::new();
        for (index, line) in text.lines().map(str::trim_end).enumerate() {
            check_line(index + 1, line)?;
            match line.strip_prefix("m=") {
                Some(_) if sections.len() >= limits.max_media_sections => {
                    return exceeded(format!(
                        "the offer has more than {} sections, the limit",
                        limits.max_media_sections
                    ));
                }
                Some(m_line) => sections.push(Section { m_line, lines: Vec::new() }),
                None if line.is_empty() => {}
                None => sections.last_mut().unwrap_or(&mut session).lines.push(line),
            }
        }
        if session.lines.first().is_none_or(|first| !first.starts_with("v=0")) {
            return malformed("the offer is not SDP: it does not begin with v=0");
        }
        std::iter::once(&session).chain(&sections).try_for_each(Section::check_limits)?;
        Ok(Sdp { session, sections })
    }
}

fn check_line(number: usize, line: &str) -> Result<(), OfferError> {
    if number > MAX_LINES {
        return exceeded(format!("the offer has more than {MAX_LINES} lines, the limit"));
    }
    if line.len() > MAX_LINE_BYTES {
        return exceeded(format!("line {number} of the offer has {} bytes; the limit is {MAX_LINE_BYTES}", line.len()));
    }
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return malformed(format!("line {number} of the offer has a control character"));
    }
    Ok(())
}

impl<'a> Section<'a> {
    fn check_limits(&self) -> Result<(), OfferError> {
        let limit = |what: &str, count: usize, limit: usize| match count > limit {
            true => exceeded(format!("{} has {count} {what}; the limit is {limit}", self.label())),
            false => Ok(()),
        };
        limit("payload types", self.formats().count(), MAX_PAYLOAD_TYPES)?;
        let mut counts = [0; MAX_ATTRIBUTE_LINES.len()];
        for line in &self.lines {
            let name = line.strip_prefix("a=").and_then(|line| line.split(':').next());
            if let Some(index) = MAX_ATTRIBUTE_LINES.iter().position(|(known, _)| Some(*known) == name) {
                counts[index] += 1;
            }
        }
        let mut counted = MAX_ATTRIBUTE_LINES.iter().zip(counts);
        counted.try_for_each(|((name, most), count)| limit(&format!("a={name} lines"), count, *most))?;
        limit("lines", self.lines.len(), MAX_SECTION_LINES)
    }

    pub(super) fn kind(&self) -> Option<MediaKind> {
        match self.words().next() {
            Some("audio") => Some(MediaKind::Audio),
            Some("video") => Some(MediaKind::Video),
            _ => None,
        }
    }

    /// Description for error messages.
    pub(super) fn label(&self) -> String {
        match self.kind() {
            Some(kind) => format!("the {} section", kind.name()),
            None if self.m_line.is_empty() => "the session".into(),
            None => "a section that is neither audio nor video".into(),
        }
    }

    fn words(&self) -> impl Iterator<Item = &'a str> {
        self.m_line.split(' ').filter(|word| !word.is_empty())
    }

    pub(super) fn protocol(&self) -> &'a str {
        self.words().nth(2).unwrap_or_default()
    }

    /// The formats of the `m=` line: payload types, if its protocol is RTP.
    pub(super) fn formats(&self) -> impl Iterator<Item = &'a str> {
        self.words().skip(3)
    }

    /// The values of an attribute, in order.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter_map(move |line| attribute(line, name))
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    pub(super) fn has_flag(&self, name: &str) -> bool {
        self.lines.iter().any(|line| line.strip_prefix("a=") == Some(name))
    }

    /// Whether its port is 0. A bundle-only section has port 0 without being rejected (RFC 9143).
    pub(super) fn is_rejected(&self) -> bool {
        self.words().nth(1) == Some("0") && !self.has_flag("bundle-only")
    }

    /// The direction attribute of the section itself.
    pub(super) fn direction(&self) -> Option<&'a str> {
        let mut names = self.lines.iter().filter_map(|line| line.strip_prefix("a="));
        names.find(|name| DIRECTIONS.contains(name))
    }
}
