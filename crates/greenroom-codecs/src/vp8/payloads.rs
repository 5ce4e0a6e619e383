//! RTP payloads of VP8 (RFC 7741) to frames.

use crate::InvalidPayload;

/// Largest frame, in bytes.
const MAX_FRAME: usize = 4 << 20;

/// Appends a payload without its descriptor (section 4.2) to a frame.
pub fn append(frame: &mut Vec<u8>, payload: &[u8]) -> Result<(), InvalidPayload> {
    let data = without_descriptor(payload).ok_or(InvalidPayload)?;
    if frame.len() + data.len() > MAX_FRAME {
        return Err(InvalidPayload);
    }
    frame.extend_from_slice(data);
    Ok(())
}

fn without_descriptor(payload: &[u8]) -> Option<&[u8]> {
    let (first, mut rest) = payload.split_first()?;
    if first & 0x80 != 0 {
        let (extension, after) = rest.split_first()?;
        rest = after;
        if extension & 0x80 != 0 {
            let length = if rest.first()? & 0x80 != 0 { 2 } else { 1 };
            rest = rest.get(length..)?;
        }
        if extension & 0x40 != 0 {
            rest = rest.get(1..)?;
        }
        if extension & 0x30 != 0 {
            rest = rest.get(1..)?;
        }
    }
    Some(rest).filter(|rest| !rest.is_empty())
}

/// Whether a frame is a key frame (RFC 6386, section 9.1).
pub fn is_key(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 1 == 0)
}

/// Whether a payload begins a key frame.
pub fn starts_key_frame(payload: &[u8]) -> bool {
    // The start of a partition whose index is 0.
    payload.first().is_some_and(|first| first & 0x1f == 0x10) && without_descriptor(payload).is_some_and(is_key)
}

/// Width and height of a key frame in pixels; `None` if it is none or damaged.
pub fn key_frame_size(frame: &[u8]) -> Option<(usize, usize)> {
    let [first, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = frame else { return None };
    let side = |low: u8, high: u8| usize::from(u16::from_le_bytes([low, high]) & 0x3fff);
    (first & 1 == 0).then(|| (side(*w0, *w1), side(*h0, *h1)))
}
