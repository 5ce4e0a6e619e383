//! Answers: rewrites the WebRTC library's answer for the client.

use super::offer::{AcceptedSection, Offer, Purpose, RejectedSection};
use super::{MediaKind, attribute, push_line};
use crate::OfferError;

impl Offer {
    /// The answer for the client, from the library's answer to [`Offer::library_text`] and the rejected sections.
    pub(crate) fn answer(&self, library: &str) -> Result<String, OfferError> {
        let (mut out, sections) = self.complete(library)?;
        let mut sections = sections.into_iter();
        for rejected in &self.rejected {
            match rejected {
                None => out.push_str(&sections.next().unwrap_or_default()),
                Some(section) => reject(&mut out, section),
            }
        }
        Ok(out)
    }

    /// The answer without rejected sections.
    pub(crate) fn answer_without_rejected(&self, library: &str) -> Result<String, OfferError> {
        let (session, sections) = self.complete(library)?;
        Ok(session + &sections.concat())
    }

    /// The session part and the accepted sections.
    fn complete(&self, library: &str) -> Result<(String, Vec<String>), OfferError> {
        let (session, rest) = library.find("m=").map_or((library, ""), |at| library.split_at(at));
        let sections = split_sections(rest);
        if sections.len() != self.accepted.len() {
            return Err(OfferError::Malformed("a media section of the offer cannot be answered".into()));
        }
        let candidates: Vec<&str> = library.lines().filter(|line| line.starts_with("a=candidate:")).collect();
        let sections =
            self.accepted.iter().zip(sections).map(|(accepted, text)| self.section(accepted, text, &candidates));
        Ok((self.session(session), sections.collect::<Result<_, _>>()?))
    }

    fn session(&self, library: &str) -> String {
        let mut out = String::with_capacity(library.len());
        for line in library.lines() {
            if line.starts_with("a=group:BUNDLE") {
                let mids = self.accepted.iter().fold(String::new(), |mids, section| mids + " " + &section.mid);
                if self.bundled {
                    push_line(&mut out, &format!("a=group:BUNDLE{mids}"));
                }
            } else if self.purpose == Purpose::Subscribe || !line.starts_with("a=msid-semantic") {
                push_line(&mut out, line);
            }
        }
        out
    }

    /// A section with the client's MID and codec parameters. Each section has the candidates, as some clients read
    /// those of the first section of a bundle and some those of the last.
    fn section(&self, accepted: &AcceptedSection, library: &str, candidates: &[&str]) -> Result<String, OfferError> {
        let mut lines = library.lines();
        let m_line = lines.next().unwrap_or_default();
        if m_line.split(' ').nth(1) == Some("0") {
            return Err(codec_error(accepted.kind));
        }
        let mut out = String::with_capacity(library.len() + 256);
        push_line(&mut out, m_line);
        let own_parameters = |pt: &str| {
            let format = accepted.formats.iter().find(|format| format.pt.to_string() == pt)?;
            format.parameters.as_deref()
        };
        for line in lines {
            let parameters = attribute(line, "fmtp").and_then(|value| value.split_once(' '));
            if attribute(line, "mid").is_some() {
                push_line(&mut out, &format!("a=mid:{}", accepted.mid));
            } else if let Some((pt, own)) = parameters.and_then(|(pt, _)| Some((pt, own_parameters(pt)?))) {
                push_line(&mut out, &format!("a=fmtp:{pt} {own}"));
            } else if !self.is_omitted(line) {
                push_line(&mut out, line);
            }
        }
        // The library answers the reports, which it does not negotiate.
        for format in accepted.formats.iter().filter(|format| format.rrtr) {
            push_line(&mut out, &format!("a=rtcp-fb:{} rrtr", format.pt));
        }
        candidates.iter().for_each(|candidate| push_line(&mut out, candidate));
        push_line(&mut out, "a=end-of-candidates");
        Ok(out)
    }

    /// Whether a line of the library's answer is omitted: candidates are added later, and a receiving section has no
    /// msid.
    fn is_omitted(&self, line: &str) -> bool {
        let is_msid_of_receiver = self.purpose == Purpose::Publish && attribute(line, "msid").is_some();
        is_msid_of_receiver || line.starts_with("a=candidate:") || line == "a=end-of-candidates"
    }
}

/// The error if the library rejects a section: the whole offer fails, as WHIP has no partial success (RFC 9725, section
/// 4.4).
fn codec_error(kind: MediaKind) -> OfferError {
    match kind {
        MediaKind::Audio => OfferError::UnsupportedAudioCodec,
        MediaKind::Video => {
            OfferError::UnsupportedVideoCodec("no video format of the offer could be negotiated".into())
        }
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

fn reject(out: &mut String, section: &RejectedSection) {
    let words: Vec<_> = section.m_line.split(' ').collect();
    let word = |index: usize| words.get(index).copied().unwrap_or_default();
    // For RTP the static payload type 0, which needs no a=rtpmap, as browsers do.
    let format = if word(2).contains("RTP") { "0" } else { word(3) };
    push_line(out, &format!("m={} 0 {} {format}", word(0), word(2)));
    push_line(out, "c=IN IP4 0.0.0.0");
    if let Some(mid) = &section.mid {
        push_line(out, &format!("a=mid:{mid}"));
    }
    push_line(out, "a=inactive");
}
