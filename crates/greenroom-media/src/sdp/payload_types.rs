//! Checks that each payload type of a subscriber's offer has one definition.

use super::{Section, malformed};
use crate::OfferError;
use std::collections::{BTreeMap, BTreeSet};

/// The `a=rtpmap` and `a=fmtp` values of a payload type.
#[derive(Clone, Debug, Default, PartialEq)]
struct Definition {
    encodings: BTreeSet<String>,
    parameters: BTreeSet<String>,
}

fn definitions(section: &Section<'_>) -> BTreeMap<u8, Definition> {
    let mut all: BTreeMap<u8, Definition> = BTreeMap::new();
    for name in ["rtpmap", "fmtp"] {
        for (number, value) in section.values(name).filter_map(|value| value.split_once(' ')) {
            let Ok(number) = number.parse() else { continue };
            let Definition { encodings, parameters } = all.entry(number).or_default();
            let values = if name == "rtpmap" { encodings } else { parameters };
            values.insert(value.trim().to_ascii_lowercase());
        }
    }
    all.retain(|_, definition| !definition.encodings.is_empty());
    all
}

/// Rejects offers in which a payload type has two definitions: in a bundle it must have one (RFC 9143, section 9.1),
/// and the receiver chooses the numbers.
pub(super) fn check_unambiguous(sections: &[&Section<'_>]) -> Result<(), OfferError> {
    let mut all = BTreeMap::new();
    for (number, definition) in sections.iter().flat_map(|section| definitions(section)) {
        let has_one_encoding = definition.encodings.len() == 1;
        if !has_one_encoding || *all.entry(number).or_insert_with(|| definition.clone()) != definition {
            return malformed(format!("payload type {number} has more than one definition in the offer"));
        }
    }
    Ok(())
}
