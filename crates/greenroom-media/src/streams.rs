//! The streams that a publisher's section announces: simulcast layers by RID or by SSRC, or a single stream.

use super::OfferError;
use super::sdp::{Section, push};
use super::source::MAX_LAYERS;
use std::collections::BTreeSet;

/// Maximum characters of a RID that tell layers apart.
const RID_CHARACTERS: usize = 8;

/// An SSRC and that of its retransmissions.
pub(super) type Repaired = (u32, Option<u32>);

/// What a section announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Streams {
    /// Layers by RID (RFC 8853), the preferred first; `simulcast` if they are offered as such.
    Rids { rids: Vec<String>, simulcast: bool },
    /// Layers by `a=ssrc-group:SIM`, the largest first.
    Ssrcs(Vec<Repaired>),
    /// One stream, and its SSRC if it is announced.
    Single(Option<Repaired>),
}

impl Streams {
    /// Reads the streams of a section that the client sends.
    pub(super) fn read(section: &Section<'_>) -> Result<Streams, OfferError> {
        if let Some((rids, simulcast)) = rids(section)? {
            return Ok(Streams::Rids { rids, simulcast });
        }
        let groups: Vec<(&str, Vec<u32>)> = section.values("ssrc-group").filter_map(group).collect();
        let repairs = |ssrc: u32| {
            let mut pairs = groups.iter().filter(|(semantics, _)| semantics.eq_ignore_ascii_case("FID"));
            pairs.find_map(|(_, ssrcs)| match ssrcs[..] {
                [main, repair] if main == ssrc && repair != ssrc => Some(repair),
                _ => None,
            })
        };
        let layers = groups.iter().find(|(semantics, _)| semantics.eq_ignore_ascii_case("SIM"));
        if let Some((_, ssrcs)) = layers.filter(|(_, ssrcs)| ssrcs.len() > 1) {
            return Ok(Streams::Ssrcs(ssrcs.iter().take(MAX_LAYERS).map(|ssrc| (*ssrc, repairs(*ssrc))).collect()));
        }
        // What stands second in a group repairs the first.
        let secondary = |ssrc: &u32| groups.iter().any(|(_, ssrcs)| ssrcs[1..].contains(ssrc));
        let mut announced = section.values("ssrc").filter_map(|value| ssrc(value.split(' ').next()?));
        Ok(Streams::Single(announced.find(|ssrc| !secondary(ssrc)).map(|ssrc| (ssrc, repairs(ssrc)))))
    }

    /// Writes what the WebRTC library has to know. It has no groups of layers: these are declared to it afterwards.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Streams::Rids { rids, simulcast } => {
                rids.iter().for_each(|rid| push(out, &format!("a=rid:{rid} send")));
                if *simulcast {
                    push(out, &format!("a=simulcast:send {}", rids.join(";")));
                }
            }
            Streams::Single(Some((ssrc, repair))) => {
                for ssrc in std::iter::once(ssrc).chain(repair) {
                    push(out, &format!("a=ssrc:{ssrc} cname:-"));
                }
                if let Some(repair) = repair {
                    push(out, &format!("a=ssrc-group:FID {ssrc} {repair}"));
                }
            }
            Streams::Ssrcs(_) | Streams::Single(None) => {}
        }
    }
}

fn ssrc(word: &str) -> Option<u32> {
    word.parse().ok().filter(|ssrc| *ssrc != 0)
}

/// The semantics of an `ssrc-group` and its SSRCs, at least one.
fn group(value: &str) -> Option<(&str, Vec<u32>)> {
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    let semantics = words.next()?;
    let ssrcs: Vec<u32> = words.filter_map(ssrc).collect();
    let distinct = ssrcs.iter().collect::<BTreeSet<_>>().len() == ssrcs.len();
    (distinct && !ssrcs.is_empty()).then_some((semantics, ssrcs))
}

/// The RIDs that a section sends, and whether they are layers of simulcast; `None` if it has none.
fn rids(section: &Section<'_>) -> Result<Option<(Vec<String>, bool)>, OfferError> {
    let sends = |value: &str| {
        let mut words = value.split(' ').filter(|word| !word.is_empty());
        let rid = words.next()?;
        (words.next() == Some("send")).then(|| rid.to_owned())
    };
    let declared: Vec<String> = section.values("rid").filter_map(sends).collect();
    let listed = section.value("simulcast").map(simulcast_sends).unwrap_or_default();
    let layers: Vec<String> = listed.into_iter().filter(|rid| declared.contains(rid)).collect();
    let (mut rids, simulcast) = if layers.is_empty() { (declared, false) } else { (layers, true) };
    rids.truncate(MAX_LAYERS);
    let mut known = BTreeSet::new();
    for rid in &rids {
        let start: String = rid.chars().take(RID_CHARACTERS).collect();
        if rid.is_empty() || !rid.chars().all(|c| c.is_ascii_alphanumeric()) || !known.insert(start) {
            let text = format!(
                "{} has an a=rid that is not taken: RIDs consist of letters and digits, and differ in the first \
                 {RID_CHARACTERS} of them",
                section.label()
            );
            return Err(OfferError::Malformed(text));
        }
    }
    Ok((!rids.is_empty()).then_some((rids, simulcast)))
}

/// The RIDs of the streams that an `a=simulcast` sends: the first of each set of alternatives, paused ones too.
fn simulcast_sends(value: &str) -> Vec<String> {
    let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
    let list = words.iter().position(|word| *word == "send").and_then(|at| words.get(at + 1));
    let first = |alternatives: &str| alternatives.split(',').next().map(|rid| rid.trim_start_matches('~').to_owned());
    list.map(|list| list.split(';').filter_map(first).collect()).unwrap_or_default()
}
