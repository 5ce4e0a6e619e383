//! The structure of ISO base media files: boxes and their fields.

use super::ReadError;

/// A box, and where it stands in its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoxAt<'a> {
    pub kind: [u8; 4],
    /// Offset of its header.
    pub start: usize,
    /// Offset of its body.
    pub body_start: usize,
    pub body: &'a [u8],
}

impl BoxAt<'_> {
    pub fn end(&self) -> usize {
        self.body_start + self.body.len()
    }
}

/// The boxes of a file, or of a box whose body begins at `base`. Ends after the first error.
pub(crate) fn boxes(bytes: &[u8], base: usize) -> impl Iterator<Item = Result<BoxAt<'_>, ReadError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let found = one(bytes, at, base);
        at = found.as_ref().map_or(bytes.len(), |found| found.end() - base);
        Some(found)
    })
}

fn one(bytes: &[u8], at: usize, base: usize) -> Result<BoxAt<'_>, ReadError> {
    let cut = || ReadError::new(base + at, "a box header is cut off");
    let rest = &bytes[at..];
    let mut fields = Fields::new(rest, base + at);
    let size = fields.u32().map_err(|_| cut())?;
    let kind = fields.bytes().map_err(|_| cut())?;
    let (size, header) = match size {
        // To the end of the file.
        0 => (rest.len() as u64, 8),
        1 => (fields.u64().map_err(|_| cut())?, 16),
        size => (u64::from(size), 8),
    };
    let name = kind.escape_ascii();
    let size = usize::try_from(size).ok().filter(|size| *size >= header);
    let size = size.ok_or_else(|| ReadError::new(base + at, format!("the box '{name}' has an impossible size")))?;
    let body = rest.get(header..size).ok_or_else(|| {
        let message = format!("the box '{name}' of {size} bytes is cut off after {}", rest.len());
        ReadError::new(base + at, message)
    })?;
    Ok(BoxAt { kind, start: base + at, body_start: base + at + header, body })
}

/// Reads the fields of a box, in network byte order.
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    base: usize,
}

impl<'a> Fields<'a> {
    /// `base`: offset of `bytes` in the file.
    pub fn new(bytes: &'a [u8], base: usize) -> Fields<'a> {
        Fields { bytes, at: 0, base }
    }

    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let rest = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk);
        let found = *rest.ok_or_else(|| ReadError::new(self.base + self.at, "a box is cut off"))?;
        self.at += N;
        Ok(found)
    }

    pub fn u32(&mut self) -> Result<u32, ReadError> {
        self.bytes().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, ReadError> {
        self.bytes().map(u64::from_be_bytes)
    }

    /// Version and flags of a full box.
    pub fn full(&mut self) -> Result<(u8, u32), ReadError> {
        let word = self.u32()?;
        Ok((word.to_be_bytes()[0], word & 0xff_ffff))
    }

    /// A field that is there if `present`.
    pub fn optional(&mut self, present: bool) -> Result<Option<u32>, ReadError> {
        present.then(|| self.u32()).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(bytes: &[u8]) -> Vec<Result<String, usize>> {
        let name = |found: BoxAt<'_>| format!("{} {} {}", found.kind.escape_ascii(), found.start, found.end());
        boxes(bytes, 100).map(|found| found.map(name).map_err(|error| error.position)).collect()
    }

    #[test]
    fn sizes_have_32_or_64_bits_or_run_to_the_end() {
        let bytes = [&b"\0\0\0\x09free!"[..], b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x12ab", b"\0\0\0\0mdatabc"].concat();
        assert_eq!(kinds(&bytes), [Ok("free 100 109".into()), Ok("mdat 109 127".into()), Ok("mdat 127 138".into())]);
    }

    #[test]
    fn impossible_sizes_are_errors_that_end_the_reading() {
        for bytes in
            [&b"\0\0\0\x07free"[..], b"\0\0\0\x09free", b"\0\0\0", b"\0\0\0\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            assert_eq!(kinds(bytes), [Err(100)], "{bytes:?}");
        }
    }
}
