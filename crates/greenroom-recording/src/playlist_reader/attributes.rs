//! Attribute lists (RFC 8216bis, section 4.2).

/// The attributes of a tag: name and value, quotes removed; `None` if the list does not follow the syntax.
pub(super) fn attributes(list: &str) -> Option<Vec<(&str, &str)>> {
    let (mut rest, mut found) = (list, Vec::new());
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(is_name) || found.iter().any(|(known, _)| *known == name) {
            return None;
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        found.push((name, value));
        rest = match after.strip_prefix(',') {
            Some("") => return None,
            Some(next) => next,
            None if after.is_empty() => "",
            None => return None,
        };
        // A tag has a dozen attributes at most.
        if found.len() > 64 {
            return None;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::attributes;

    #[test]
    fn values_are_quoted_or_end_at_a_comma() {
        assert_eq!(
            attributes("BANDWIDTH=12,CODECS=\"avc1.42c01f,mp4a.40.2\",RESOLUTION=1x2"),
            Some(vec![("BANDWIDTH", "12"), ("CODECS", "avc1.42c01f,mp4a.40.2"), ("RESOLUTION", "1x2")])
        );
        for bad in ["A", "=1", "a=1", "A=\"1", "A=1,", "A=\"1\"2", "A=1,A=2"] {
            assert_eq!(attributes(bad), None, "{bad}");
        }
    }
}
