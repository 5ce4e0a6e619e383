//! VP8 payloads (RFC 7741) and the frame header in them (RFC 6386).

use super::FrameInfo;

pub(super) fn inspect(payload: &[u8]) -> FrameInfo {
    let frame = frame_start(payload).unwrap_or_default();
    // The lowest bit of a frame is 0 for a key frame; start code and size follow (RFC 6386, section 9.1).
    let [first, _, _, 0x9d, 0x01, 0x2a, width_low, width_high, height_low, height_high, ..] = *frame else {
        return FrameInfo::default();
    };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    match first & 1 {
        0 => FrameInfo {
            is_key: true,
            resolution: Some((side(width_low, width_high), side(height_low, height_high))),
            is_b_frame: false,
        },
        _ => FrameInfo::default(),
    }
}

/// The frame that starts in this payload, after the payload descriptor; `None` for a later partition or packet.
fn frame_start(payload: &[u8]) -> Option<&[u8]> {
    let (first, mut rest) = payload.split_first()?;
    if first & 0x17 != 0x10 {
        return None;
    }
    if first & 0x80 != 0 {
        let (extension, after) = rest.split_first()?;
        rest = after;
        if extension & 0x80 != 0 {
            let long = rest.first()? & 0x80 != 0;
            rest = rest.get(if long { 2 } else { 1 }..)?;
        }
        if extension & 0x40 != 0 {
            rest = rest.get(1..)?;
        }
        if extension & 0x30 != 0 {
            rest = rest.get(1..)?;
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolution_is_read_from_key_frames() {
        let key = [0, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x41];
        let expected = FrameInfo { is_key: true, resolution: Some((640, 480)), is_b_frame: false };
        for head in [&[0x10][..], &[0x90, 0x80, 0x11], &[0x90, 0x80, 0x91, 0x11], &[0x90, 0xe0, 0x91, 0x11, 7, 0x20]] {
            assert_eq!(inspect(&[head, &key].concat()), expected, "{head:x?}");
            let mut delta = key;
            delta[0] = 1;
            assert_eq!(inspect(&[head, &delta].concat()), FrameInfo::default());
            assert_eq!(inspect(head), FrameInfo::default());
        }
        assert_eq!(inspect(&[&[0x00][..], &key].concat()), FrameInfo::default(), "not the start of a partition");
        assert_eq!(inspect(&[&[0x11][..], &key].concat()), FrameInfo::default(), "a later partition");
    }
}
