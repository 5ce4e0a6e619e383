//! Tags: limits of the tags of a resource.

use super::ValidationErrors;
use crate::model::tag::{TagKey, Tags};

/// Most tags a resource may have (AWS: tag naming limits and requirements).
pub const MOST: usize = 50;
/// Keys that begin so, in any case, are AWS's own.
const RESERVED: &str = "aws:";

/// The tags of a new resource.
pub fn given(tags: Option<Tags>) -> Result<Tags, ValidationErrors> {
    merged(Tags::default(), tags.unwrap_or_default())
}

/// Adds tags; those with the same keys are replaced.
pub fn merged(mut present: Tags, added: Tags) -> Result<Tags, ValidationErrors> {
    let reserved = |key: &&TagKey| key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED));
    if let Some(key) = added.keys().find(reserved) {
        return Err(ValidationErrors(format!("tags: the key '{}' begins with 'aws:', which is reserved", &**key)));
    }
    present.0.extend(added.0);
    if present.len() > MOST {
        return Err(ValidationErrors(format!(
            "tags: the resource would have {} tags; at most {MOST} are allowed",
            present.len()
        )));
    }
    Ok(present)
}

/// `present` without `keys`.
pub fn without(mut present: Tags, keys: &[TagKey]) -> Tags {
    present.0.retain(|key, _| !keys.contains(key));
    present
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(keys: impl IntoIterator<Item = String>) -> Tags {
        Tags(keys.into_iter().map(|key| (key.into(), "v".into())).collect())
    }

    #[test]
    fn the_fifty_first_tag_is_refused_after_merging() {
        let present = tags((0..50).map(|n| n.to_string()));
        assert!(merged(present.clone(), tags(["7".to_owned()])).is_ok());
        assert!(merged(present, tags(["new".to_owned()])).is_err());
    }

    #[test]
    fn keys_of_aws_are_refused_in_any_case() {
        for key in ["aws:x", "AWS:x", "aWs:"] {
            assert!(given(Some(tags([key.to_owned()]))).is_err(), "{key}");
        }
        assert!(given(Some(tags(["awsome".to_owned(), "é".to_owned()]))).is_ok());
    }

    #[test]
    fn removed_keys_are_gone_and_others_stay() {
        let left = without(tags(["a".to_owned(), "b".to_owned()]), &["a".into(), "zzz".into()]);
        assert_eq!(left, tags(["b".to_owned()]));
    }
}
