//! VP8 payloads (RFC 7741) and the frame header in them (RFC 6386).

use super::FrameInfo;
use crate::router::packet::Vp8Counters;

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

/// A payload descriptor (RFC 7741, section 4.2) and what follows it.
struct Descriptor<'a> {
    first: u8,
    picture_id: Option<u16>,
    tl0_pic_idx: Option<u8>,
    frame: &'a [u8],
}

impl<'a> Descriptor<'a> {
    fn parse(payload: &'a [u8]) -> Option<Descriptor<'a>> {
        let (first, mut frame) = payload.split_first()?;
        let (mut picture_id, mut tl0_pic_idx) = (None, None);
        if first & 0x80 != 0 {
            let (extension, mut rest) = frame.split_first()?;
            if extension & 0x80 != 0 {
                let (id, after) = match rest {
                    [high, low, after @ ..] if high & 0x80 != 0 => (u16::from_be_bytes([high & 0x7f, *low]), after),
                    [id, after @ ..] if id & 0x80 == 0 => (u16::from(*id), after),
                    _ => return None,
                };
                (picture_id, rest) = (Some(id), after);
            }
            if extension & 0x40 != 0 {
                let (index, after) = rest.split_first()?;
                (tl0_pic_idx, rest) = (Some(*index), after);
            }
            if extension & 0x30 != 0 {
                rest = rest.get(1..)?;
            }
            frame = rest;
        }
        Some(Descriptor { first: *first, picture_id, tl0_pic_idx, frame })
    }
}

/// The frame that starts in this payload, after the payload descriptor; `None` for a later partition or packet.
fn frame_start(payload: &[u8]) -> Option<&[u8]> {
    Descriptor::parse(payload).filter(|descriptor| descriptor.first & 0x17 == 0x10).map(|descriptor| descriptor.frame)
}

pub(super) fn counters(payload: &[u8]) -> Option<Vp8Counters> {
    let Descriptor { picture_id, tl0_pic_idx, .. } = Descriptor::parse(payload)?;
    Some(Vp8Counters { picture_id: picture_id?, tl0_pic_idx })
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

    #[test]
    fn counters_are_read_from_the_descriptor() {
        let of = |head: &[u8]| counters(&[head, &[0; 4]].concat());
        let expected = |picture_id, tl0_pic_idx| Some(Vp8Counters { picture_id, tl0_pic_idx });
        assert_eq!(of(&[0x10]), None);
        assert_eq!(of(&[0x90, 0x80, 0x11]), expected(0x11, None));
        assert_eq!(of(&[0x90, 0x80, 0x91, 0x11]), expected(0x1111, None));
        assert_eq!(of(&[0x90, 0xe0, 0x91, 0x11, 7, 0x20]), expected(0x1111, Some(7)));
        assert_eq!(counters(&[0x90, 0x80, 0x91]), None, "cut off");
        assert_eq!(counters(&[0x90]), None, "cut off");
    }
}
