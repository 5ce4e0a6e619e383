//! SDP as text: an offer's lines by section, held to limits before anything else looks at them.

use super::{OfferError, OfferLimits};

/// Maximum lines of an offer.
const MAX_LINES: usize = 10_000;
/// Maximum lines of a section.
const MAX_SECTION_LINES: usize = 1_000;
/// Maximum bytes of a line.
const MAX_LINE_BYTES: usize = 4_096;
/// Maximum payload types in an `m=` line.
const MAX_PAYLOAD_TYPES: usize = 128;
/// Maximum lines of an attribute in a section. Browsers stay below a quarter of each.
const MAX_ATTRIBUTES: [(&str, usize); 9] = [
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

/// What a section carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Audio => "audio",
            Kind::Video => "video",
        }
    }
}

/// An offer by its lines.
#[derive(Debug)]
pub(super) struct Sdp<'a> {
    /// The lines before the first section; its head is empty.
    pub(super) session: Section<'a>,
    pub(super) sections: Vec<Section<'a>>,
}

/// A media section.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// The `m=` line without `m=`.
    pub(super) head: &'a str,
    lines: Vec<&'a str>,
}

/// The value of an attribute line, `a=name:value`.
pub(super) fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':').map(str::trim)
}

pub(super) fn push(out: &mut String, line: &str) {
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
    /// Splits an offer into sections.
    pub(super) fn parse(text: &'a str, limits: &OfferLimits) -> Result<Sdp<'a>, OfferError> {
        if text.len() > limits.max_bytes {
            return exceeded(format!("the offer has {} bytes; the limit is {}", text.len(), limits.max_bytes));
        }
        let mut session = Section { head: "", lines: Vec::new() };
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
                Some(head) => sections.push(Section { head, lines: Vec::new() }),
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
        let mut counts = [0; MAX_ATTRIBUTES.len()];
        for line in &self.lines {
            let name = line.strip_prefix("a=").and_then(|line| line.split(':').next());
            if let Some(index) = MAX_ATTRIBUTES.iter().position(|(known, _)| Some(*known) == name) {
                counts[index] += 1;
            }
        }
        let mut counted = MAX_ATTRIBUTES.iter().zip(counts);
        counted.try_for_each(|((name, most), count)| limit(&format!("a={name} lines"), count, *most))?;
        limit("lines", self.lines.len(), MAX_SECTION_LINES)
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        match self.words().next() {
            Some("audio") => Some(Kind::Audio),
            Some("video") => Some(Kind::Video),
            _ => None,
        }
    }

    /// How messages to the client call it.
    pub(super) fn label(&self) -> String {
        match self.kind() {
            Some(kind) => format!("the {} section", kind.name()),
            None if self.head.is_empty() => "the session".into(),
            None => "a section that is neither audio nor video".into(),
        }
    }

    fn words(&self) -> impl Iterator<Item = &'a str> {
        self.head.split(' ').filter(|word| !word.is_empty())
    }

    pub(super) fn protocol(&self) -> &'a str {
        self.words().nth(2).unwrap_or_default()
    }

    /// The formats of the `m=` line: payload types, unless it is of a protocol other than RTP.
    pub(super) fn formats(&self) -> impl Iterator<Item = &'a str> {
        self.words().skip(3)
    }

    /// The values of an attribute, in their order.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter_map(move |line| attribute(line, name))
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    pub(super) fn has_flag(&self, name: &str) -> bool {
        self.lines.iter().any(|line| line.strip_prefix("a=") == Some(name))
    }

    /// Whether it is in the offer only to keep its index. A bundled section may have port 0 all the same.
    pub(super) fn is_rejected(&self) -> bool {
        self.words().nth(1) == Some("0") && !self.has_flag("bundle-only")
    }

    /// Its own direction, `None` where it has none.
    pub(super) fn direction(&self) -> Option<&'a str> {
        let mut names = self.lines.iter().filter_map(|line| line.strip_prefix("a="));
        names.find(|name| DIRECTIONS.contains(name))
    }
}
