//! Participant tokens: limits and defaults of their claims.

use super::ValidationErrors;
use crate::model::token::{ParticipantTokenCapabilities, ParticipantTokenCapability as Capability};
use std::collections::BTreeMap;

/// Most bytes that attributes may have, keys and values together (AWS: 1 KB in total).
pub const ATTRIBUTE_BYTES: usize = 1024;
/// Default validity of a token, in minutes.
pub const DEFAULT_MINUTES: i64 = 720;

/// Checks the size of a participant's attributes; `member` is what the request calls them.
pub fn attributes(member: &str, attributes: &BTreeMap<String, String>) -> Result<(), ValidationErrors> {
    let bytes: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > ATTRIBUTE_BYTES {
        return Err(ValidationErrors(format!(
            "{member}: keys and values have {bytes} bytes of UTF-8 together; at most {ATTRIBUTE_BYTES} are allowed"
        )));
    }
    Ok(())
}

/// The capabilities of a token: both by default, each once, in the order of the AWS model.
pub fn capabilities(given: Option<ParticipantTokenCapabilities>) -> ParticipantTokenCapabilities {
    let given = given.unwrap_or_default();
    let all = Capability::ALL.iter().copied();
    all.filter(|capability| given.is_empty() || given.contains(capability)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_counted_in_bytes() {
        let of = |value: String| BTreeMap::from([("k".to_owned(), value)]);
        assert!(attributes("attributes", &of("v".repeat(1023))).is_ok());
        assert!(attributes("attributes", &of("v".repeat(1024))).is_err());
        assert!(attributes("attributes", &of("é".repeat(512))).is_err());
    }

    #[test]
    fn without_capabilities_a_token_has_both() {
        use Capability::{Publish, Subscribe};
        let list = ParticipantTokenCapabilities;
        assert_eq!(capabilities(None), list(vec![Publish, Subscribe]));
        assert_eq!(capabilities(Some(list(vec![]))), list(vec![Publish, Subscribe]));
        assert_eq!(capabilities(Some(list(vec![Subscribe, Subscribe]))), list(vec![Subscribe]));
    }
}
