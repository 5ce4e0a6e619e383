//! JPEG files: their structure, and what they show (compared with FFmpeg's decoder in docs/design/codecs.md).

use greenroom_codecs::jpeg;
use greenroom_codecs::picture::Picture;

/// Markers of a JPEG file up to the scan, with their contents.
fn segments(file: &[u8]) -> Vec<(u8, &[u8])> {
    assert!(file.starts_with(&[0xff, 0xd8]) && file.ends_with(&[0xff, 0xd9]));
    let mut rest = &file[2..];
    let mut segments = Vec::new();
    loop {
        let &[0xff, marker, high, low, ..] = rest else { panic!("no marker") };
        let (segment, after) = rest[2..].split_at(usize::from(u16::from_be_bytes([high, low])));
        segments.push((marker, &segment[2..]));
        rest = after;
        if marker == 0xda {
            return segments;
        }
    }
}

fn gray(width: usize, height: usize, luma: u8) -> Picture {
    let chroma = vec![128; width.div_ceil(2) * height.div_ceil(2)];
    Picture::new(width, height, [vec![luma; width * height], chroma.clone(), chroma]).unwrap()
}

#[test]
fn a_file_is_a_baseline_jfif_of_the_pictures_size_with_420() {
    for (width, height) in [(1, 1), (2, 2), (17, 33), (320, 180), (1_921, 3)] {
        let file = jpeg::encode(&gray(width, height, 90), 80).unwrap();
        let segments = segments(&file);
        assert!(segments[0].0 == 0xe0 && segments[0].1.starts_with(b"JFIF\0"));
        let (_, frame) = segments.iter().find(|(marker, _)| *marker == 0xc0).unwrap();
        let size = [frame[3..5].try_into(), frame[1..3].try_into()]
            .map(|bytes| usize::from(u16::from_be_bytes(bytes.unwrap())));
        assert_eq!(size, [width, height]);
        assert_eq!([frame[0], frame[5], frame[7], frame[10], frame[13]], [8, 3, 0x22, 0x11, 0x11]);
    }
}

#[test]
fn more_quality_takes_more_bytes_and_the_range_matters() {
    let noise: Vec<u8> = (0..128u32 * 128).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let chroma = vec![128; 64 * 64];
    let picture = Picture::new(128, 128, [noise, chroma.clone(), chroma]).unwrap();
    let sizes = [10, 50, 80, 95].map(|quality| jpeg::encode(&picture, quality).unwrap().len());
    assert!(sizes.is_sorted() && sizes[0] * 2 < sizes[3], "{sizes:?}");
    assert!(jpeg::encode(&picture, 0).is_ok() && jpeg::encode(&picture, 255).is_ok());
    assert_ne!(jpeg::encode(&picture, 80), jpeg::encode(&picture.with_full_range(true), 80));
    // White of limited range is white of full range.
    assert_eq!(jpeg::encode(&gray(32, 32, 235), 90), jpeg::encode(&gray(32, 32, 255).with_full_range(true), 90));
}
