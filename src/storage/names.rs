//! Names of buckets and keys, which become paths of folders and of URLs.

/// Maximum bytes of a key.
const MAX_KEY: usize = 1024;
/// Maximum bytes of a part of a key: a name in a file system, with room for the ending of a temporary file.
const MAX_PART: usize = 200;

/// Whether it is the name of a bucket, by S3's rules: 3 to 63 lower-case letters, digits, hyphens and single dots.
pub(super) fn is_valid(bucket: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let bytes = bucket.as_bytes();
    (3..=63).contains(&bytes.len())
        && bucket.bytes().all(is_allowed)
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && !bucket.contains("..")
}

/// The parts of a key between its slashes, if all of them can be names in a folder: letters, digits and `-_.:`, and not
/// beginning with a dot, as temporary files do.
pub(super) fn parts(key: &str) -> Option<Vec<&str>> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    let is_part =
        |part: &&str| (1..=MAX_PART).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(is_allowed);
    let parts: Vec<_> = key.split('/').collect();
    (key.len() <= MAX_KEY && parts.iter().all(is_part)).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_named_as_s3_allows() {
        for good in ["abc", "my-bucket.example", "1-2", &"a".repeat(63)] {
            assert!(is_valid(good), "{good}");
        }
        for bad in
            ["", "ab", "..", "...", "a..b", ".abc", "abc.", "-abc", "Abc", "a/b", "a\\b", "a\0b", &"a".repeat(64)]
        {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_key_cannot_leave_its_bucket() {
        assert_eq!(parts("st-1/p_2/2024-01-01T12-00-55Z/a.mp4").unwrap().len(), 4);
        let long = "a/".repeat(520);
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a/.hidden",
            "a\\b",
            "a\0",
            "a\n",
            "ü",
            "a b",
            "%2e%2e",
            &long,
        ] {
            assert_eq!(parts(bad), None, "{bad:?}");
        }
    }
}
