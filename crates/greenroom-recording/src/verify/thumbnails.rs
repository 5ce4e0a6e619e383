//! The thumbnails of a recording.

use super::metadata::Expected;
use super::report::Findings;
use super::{MAX_THUMBNAIL, Objects, Position, Source, Summary};
use crate::layout;

const FOLDER: &str = "media/thumbnails/high";

pub(super) fn verify<S: Source>(
    objects: &mut Objects<'_, S>,
    expected: &Expected,
    findings: &mut Findings,
    summary: &mut Summary,
) {
    let number = |path: &String| path.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".jpg")?.parse().ok();
    let mut numbers: Vec<u32> = objects.below(FOLDER).filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if let Some((missing, _)) = (0..).zip(&numbers).find(|(expected, found)| expected != *found) {
        let path = layout::thumbnail(missing);
        findings.error(&path, None, "missing-object", "a thumbnail is missing: its number is skipped");
    }
    for number in &numbers {
        image(objects, &layout::thumbnail(*number), findings);
    }
    if objects.has(layout::LATEST_THUMBNAIL) {
        image(objects, layout::LATEST_THUMBNAIL, findings);
    }
    summary.thumbnails = numbers.len();
    if !numbers.is_empty() && !expected.has_thumbnails && expected.has_started {
        findings.error(layout::STARTED, None, "metadata", "media.thumbnails is missing, but there are thumbnails");
    }
}

fn image<S: Source>(objects: &mut Objects<'_, S>, path: &str, findings: &mut Findings) {
    if let Some(contents) = objects.read(path, MAX_THUMBNAIL, findings)
        && let Err((position, text)) = size(&contents)
    {
        findings.error(path, Some(Position::Byte(position as u64)), "thumbnail", text);
    }
}

/// Width and height of a JPEG (ITU-T T.81), or why it is none.
fn size(jpeg: &[u8]) -> Result<(u16, u16), (usize, &'static str)> {
    if !jpeg.starts_with(&[0xff, 0xd8]) {
        return Err((0, "the file is not a JPEG"));
    }
    if !jpeg.ends_with(&[0xff, 0xd9]) {
        return Err((jpeg.len(), "the JPEG is cut off"));
    }
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = jpeg.get(at..at + 4) {
        // Start of frame, but for DHT, JPG and DAC, which have codes between.
        if (0xc0..=0xcf).contains(&marker) && ![0xc4, 0xc8, 0xcc].contains(&marker) {
            let field = |at: usize| jpeg.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            return match (field(at + 7), field(at + 5)) {
                (Some(width), Some(height)) if width > 0 && height > 0 => Ok((width, height)),
                _ => Err((at, "the JPEG has no size")),
            };
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
    }
    Err((at.min(jpeg.len()), "the JPEG has no frame"))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn a_jpeg_has_a_size() {
        let frame = [0xff, 0xc0, 0, 11, 8, 0, 90, 0, 160, 1, 1, 0x11, 0, 0xff, 0xd9];
        let start = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2];
        assert_eq!(size(&[&start[..], &frame].concat()), Ok((160, 90)));
        assert_eq!(size(b"GIF89a"), Err((0, "the file is not a JPEG")));
        assert_eq!(size(&[&start[..], &frame[..10]].concat()), Err((18, "the JPEG is cut off")));
        assert_eq!(size(&[&start[..], &[0xff, 0xd9]].concat()), Err((8, "the JPEG has no frame")));
    }
}
