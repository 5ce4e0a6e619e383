//! The streams that a publisher's media section announces: simulcast layers by RID or by SSRC, or a single stream.

use super::{Section, push_line};
use crate::OfferError;
use crate::router::MAX_LAYERS;
use std::collections::BTreeSet;

/// The WebRTC library truncates RIDs to this many characters.
const MAX_RID_LENGTH: usize = 8;

/// An SSRC and that of its RTX stream.
pub(crate) type SsrcWithRtx = (u32, Option<u32>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// Layers by RID (RFC 8851), preferred first; `simulcast`: whether `a=simulcast` (RFC 8853) lists them.
    Rids { rids: Vec<String>, simulcast: bool },
    /// Layers by `a=ssrc-group:SIM`, highest resolution first.
    Ssrcs(Vec<SsrcWithRtx>),
    /// One stream, with its SSRC if that is announced.
    Single(Option<SsrcWithRtx>),
}

impl Streams {
    pub(super) fn parse(section: &Section<'_>) -> Result<Streams, OfferError> {
        if let Some((rids, simulcast)) = rids(section)? {
            return Ok(Streams::Rids { rids, simulcast });
        }
        let groups: Vec<(&str, Vec<u32>)> = section.values("ssrc-group").filter_map(group).collect();
        let rtx_of = |ssrc: u32| {
            let mut pairs = groups.iter().filter(|(semantics, _)| semantics.eq_ignore_ascii_case("FID"));
            pairs.find_map(|(_, ssrcs)| match ssrcs[..] {
                [original, rtx] if original == ssrc && rtx != ssrc => Some(rtx),
                _ => None,
            })
        };
        let layers = groups.iter().find(|(semantics, _)| semantics.eq_ignore_ascii_case("SIM"));
        if let Some((_, ssrcs)) = layers.filter(|(_, ssrcs)| ssrcs.len() > 1) {
            return Ok(Streams::Ssrcs(ssrcs.iter().take(MAX_LAYERS).map(|ssrc| (*ssrc, rtx_of(*ssrc))).collect()));
        }
        // All but the first SSRC of a group are repair streams.
        let secondary = |ssrc: &u32| groups.iter().any(|(_, ssrcs)| ssrcs[1..].contains(ssrc));
        let mut announced = section.values("ssrc").filter_map(|value| ssrc(value.split(' ').next()?));
        Ok(Streams::Single(announced.find(|ssrc| !secondary(ssrc)).map(|ssrc| (ssrc, rtx_of(ssrc)))))
    }

    /// Whether these are simulcast layers.
    pub(crate) fn are_layers(&self) -> bool {
        match self {
            Streams::Rids { rids, .. } => rids.len() > 1,
            Streams::Ssrcs(_) => true,
            Streams::Single(_) => false,
        }
    }

    /// Writes the attributes for the WebRTC library. It does not support `ssrc-group:SIM`; those layers are declared
    /// afterwards.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Streams::Rids { rids, simulcast } => {
                rids.iter().for_each(|rid| push_line(out, &format!("a=rid:{rid} send")));
                if *simulcast {
                    push_line(out, &format!("a=simulcast:send {}", rids.join(";")));
                }
            }
            Streams::Single(Some((ssrc, rtx))) => {
                for ssrc in std::iter::once(ssrc).chain(rtx) {
                    push_line(out, &format!("a=ssrc:{ssrc} cname:-"));
                }
                if let Some(rtx) = rtx {
                    push_line(out, &format!("a=ssrc-group:FID {ssrc} {rtx}"));
                }
            }
            Streams::Ssrcs(_) | Streams::Single(None) => {}
        }
    }
}

fn ssrc(word: &str) -> Option<u32> {
    word.parse().ok().filter(|ssrc| *ssrc != 0)
}

/// The semantics of an `ssrc-group` (RFC 5576) and its SSRCs, at least one.
fn group(value: &str) -> Option<(&str, Vec<u32>)> {
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    let semantics = words.next()?;
    let ssrcs: Vec<u32> = words.filter_map(ssrc).collect();
    let distinct = ssrcs.iter().collect::<BTreeSet<_>>().len() == ssrcs.len();
    (distinct && !ssrcs.is_empty()).then_some((semantics, ssrcs))
}

/// The RIDs that a section sends, and whether they are simulcast layers; `None` if it has none.
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
        let start: String = rid.chars().take(MAX_RID_LENGTH).collect();
        if rid.is_empty() || !rid.chars().all(|c| c.is_ascii_alphanumeric()) || !known.insert(start) {
            let text = format!(
                "{} has an unsupported a=rid: RIDs must be letters and digits, and unique in their first {MAX_RID_LENGTH} \
                 characters",
                section.label()
            );
            return Err(OfferError::Malformed(text));
        }
    }
    Ok((!rids.is_empty()).then_some((rids, simulcast)))
}

/// The RIDs in the send direction of `a=simulcast` (RFC 8853): the first alternative of each, including paused ones.
fn simulcast_sends(value: &str) -> Vec<String> {
    let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
    let list = words.iter().position(|word| *word == "send").and_then(|at| words.get(at + 1));
    let first = |alternatives: &str| alternatives.split(',').next().map(|rid| rid.trim_start_matches('~').to_owned());
    list.map(|list| list.split(';').filter_map(first).collect()).unwrap_or_default()
}
