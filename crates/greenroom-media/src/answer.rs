//! Answers: what the WebRTC library answers, made what the client needs.

use super::OfferError;
use super::offer::{Kind, Offer, Purpose, Taken};
use super::sdp::{attribute, push};

impl Offer {
    /// The answer to the client, from the library's to [`Offer::library_text`]: with what is turned down in its places.
    pub(super) fn answer(&self, library: &str) -> Result<String, OfferError> {
        let (mut out, sections) = self.complete(library)?;
        let mut sections = sections.into_iter();
        for place in &self.turned_down {
            match place {
                None => out.push_str(&sections.next().unwrap_or_default()),
                Some((head, mid)) => turn_down(&mut out, head, mid.as_deref()),
            }
        }
        Ok(out)
    }

    /// The answer without what is turned down.
    pub(super) fn without_turned_down(&self, library: &str) -> Result<String, OfferError> {
        let (session, sections) = self.complete(library)?;
        Ok(session + &sections.concat())
    }

    /// The session's part and the sections that are taken.
    fn complete(&self, library: &str) -> Result<(String, Vec<String>), OfferError> {
        let (session, rest) = library.find("m=").map_or((library, ""), |at| library.split_at(at));
        let sections = split_sections(rest);
        if sections.len() != self.taken.len() {
            return Err(OfferError::Malformed("a section of the offer cannot be answered".into()));
        }
        let candidates: Vec<&str> = library.lines().filter(|line| line.starts_with("a=candidate:")).collect();
        let sections = self.taken.iter().zip(sections).map(|(taken, text)| self.section(taken, text, &candidates));
        Ok((self.session(session), sections.collect::<Result<_, _>>()?))
    }

    fn session(&self, library: &str) -> String {
        let mut out = String::with_capacity(library.len());
        for line in library.lines() {
            if line.starts_with("a=group:BUNDLE") {
                let mids = self.taken.iter().fold(String::new(), |mids, taken| mids + " " + &taken.mid);
                if self.bundled {
                    push(&mut out, &format!("a=group:BUNDLE{mids}"));
                }
            } else if self.purpose == Purpose::Subscribe || !line.starts_with("a=msid-semantic") {
                push(&mut out, line);
            }
        }
        out
    }

    /// A section with the client's mid and codec parameters. The candidates are in each: there are clients that take
    /// those of the first section of a bundle, and such that take those of the last.
    fn section(&self, taken: &Taken, library: &str, candidates: &[&str]) -> Result<String, OfferError> {
        let mut lines = library.lines();
        let head = lines.next().unwrap_or_default();
        if head.split(' ').nth(1) == Some("0") {
            return Err(not_agreed(taken));
        }
        let mut out = String::with_capacity(library.len() + 256);
        push(&mut out, head);
        let own_parameters = taken.formats.first().and_then(|format| format.parameters.as_deref());
        for line in lines {
            let parameters = attribute(line, "fmtp").and_then(|value| value.split_once(' '));
            if attribute(line, "mid").is_some() {
                push(&mut out, &format!("a=mid:{}", taken.mid));
            } else if let (Some((pt, _)), Some(own)) = (parameters, own_parameters) {
                push(&mut out, &format!("a=fmtp:{pt} {own}"));
            } else if !self.leaves_out(line) {
                push(&mut out, line);
            }
        }
        candidates.iter().for_each(|candidate| push(&mut out, candidate));
        push(&mut out, "a=end-of-candidates");
        Ok(out)
    }

    /// Whether a line of the library's has no place in the answer: a section that only receives names no stream.
    fn leaves_out(&self, line: &str) -> bool {
        let names_stream = self.purpose == Purpose::Publish && attribute(line, "msid").is_some();
        names_stream || line.starts_with("a=candidate:") || line == "a=end-of-candidates"
    }
}

/// The library's negotiation has the last word: what it turns down is refused, as there is no success in part
/// (RFC 9725, section 4.4).
fn not_agreed(taken: &Taken) -> OfferError {
    match taken.kind {
        Kind::Audio => OfferError::UnsupportedAudioCodec,
        Kind::Video => OfferError::UnsupportedVideoCodec("no video format of the offer could be agreed to".into()),
    }
}

fn split_sections(text: &str) -> Vec<&str> {
    if text.is_empty() {
        return Vec::new();
    }
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
