//! The attributes of an offer that concern its transport: BUNDLE groups, ICE credentials, DTLS fingerprints and role.

use super::offer::AcceptedSection;
use super::{Sdp, Section, malformed};
use crate::OfferError;
use std::collections::BTreeSet;

/// The WebRTC library truncates MIDs to this many characters, and replaces all but letters and digits.
const MAX_MID_LENGTH: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct TransportAttributes {
    /// ICE ufrag and password.
    pub(super) credentials: (String, String),
    /// Values of `a=fingerprint`.
    pub(super) fingerprints: Vec<String>,
    /// Value of `a=setup`.
    pub(super) setup: &'static str,
}

/// Whether the offer bundles the accepted sections. They share one transport, so two sections must be in one BUNDLE
/// group (RFC 9143), and the MIDs as the WebRTC library reads them must differ.
pub(super) fn is_bundled(sdp: &Sdp<'_>, accepted: &[AcceptedSection]) -> Result<bool, OfferError> {
    let truncate = |mid: &str| -> String {
        mid.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(MAX_MID_LENGTH).collect()
    };
    let truncated: BTreeSet<String> = accepted.iter().map(|section| truncate(&section.mid)).collect();
    if truncated.len() < accepted.len() {
        return malformed(format!(
            "the audio and the video section have the same a=mid; only its first {MAX_MID_LENGTH} letters and digits are \
             compared"
        ));
    }
    let groups = sdp.session.values("group").filter_map(|group| group.strip_prefix("BUNDLE "));
    let mut groups = groups.map(|mids| mids.split(' ').collect::<Vec<_>>());
    match groups.any(|mids| accepted.iter().all(|section| mids.contains(&section.mid.as_str()))) {
        true => Ok(true),
        false if accepted.len() == 1 => Ok(false),
        false => malformed("the audio and the video section must be in one a=group:BUNDLE"),
    }
}

/// Validates an ICE ufrag or password (RFC 8839, section 5.4). The other characters of base64 alphabets are accepted as
/// well: passwords of Elixir WebRTC end with base64 padding.
pub(super) fn is_ice_credential(text: &str, min_length: usize) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
    (min_length..=256).contains(&text.len()) && text.chars().all(is_allowed)
}

/// Reads the attributes of the accepted sections, else of the session, else of another section of the bundle.
pub(super) fn transport_attributes(
    sdp: &Sdp<'_>,
    accepted: &[&Section<'_>],
) -> Result<TransportAttributes, OfferError> {
    if sdp.session.has_flag("ice-lite") {
        return malformed("the offer has a=ice-lite; the server is ICE-lite, so the client must be a full ICE agent");
    }
    let levels: Vec<&Section<'_>> =
        accepted.iter().copied().chain(std::iter::once(&sdp.session)).chain(&sdp.sections).collect();
    let first = |name: &str| levels.iter().find_map(|level| level.value(name));
    let credentials = levels.iter().find_map(|level| Some((level.value("ice-ufrag")?, level.value("ice-pwd")?)));
    let Some((ufrag, password)) = credentials else {
        return malformed("the offer has no a=ice-ufrag and a=ice-pwd");
    };
    if !is_ice_credential(ufrag, 4) || !is_ice_credential(password, 22) {
        return malformed("a=ice-ufrag or a=ice-pwd does not follow RFC 8839");
    }
    let Some(level) = levels.iter().find(|level| level.value("fingerprint").is_some()) else {
        return malformed("the offer has no a=fingerprint");
    };
    let fingerprints: Vec<String> = level.values("fingerprint").filter_map(fingerprint).collect();
    if fingerprints.is_empty() {
        return malformed("the offer has no valid a=fingerprint of sha-256 or sha-1");
    }
    let setup = match first("setup") {
        Some("actpass") | None => "actpass",
        Some("active") => "active",
        Some("passive") => "passive",
        Some(_) => return malformed("a=setup must be actpass, active or passive"),
    };
    let credentials = (ufrag.to_owned(), password.to_owned());
    Ok(TransportAttributes { credentials, fingerprints, setup })
}

/// Validates a fingerprint; `None` if the WebRTC library does not support its hash function.
fn fingerprint(value: &str) -> Option<String> {
    let (function, bytes) = value.split_once(' ')?;
    let length = match function {
        _ if function.eq_ignore_ascii_case("sha-256") => 32,
        _ if function.eq_ignore_ascii_case("sha-1") => 20,
        _ => return None,
    };
    let is_hex = |byte: &str| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut count = 0;
    let is_valid = bytes.trim().split(':').all(|byte| {
        count += 1;
        is_hex(byte)
    });
    (is_valid && count == length).then(|| format!("{function} {}", bytes.trim()))
}
