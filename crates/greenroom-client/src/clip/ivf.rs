//! VP8 in IVF files: a header of 32 bytes, then frames, each with its size and timestamp.

use super::{Frame, VIDEO_RATE};
use std::sync::Arc;

/// Bytes of a frame header: size (4), timestamp (8).
const FRAME_HEADER: usize = 12;

/// Reads every frame of a file.
pub fn read(bytes: &[u8]) -> Result<Vec<Frame>, String> {
    let short = || "it is truncated".to_owned();
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let codec = bytes.get(8..12).ok_or_else(short)?;
    if codec != b"VP80" {
        return Err(format!("its codec is {}, only VP8 is supported in IVF files", codec.escape_ascii()));
    }
    let header = bytes.get(6..8).map(|two| u16::from_le_bytes([two[0], two[1]])).ok_or_else(short)?;
    let (rate, scale) = number(16).zip(number(20)).ok_or_else(short)?;
    if rate == 0 || scale == 0 {
        return Err("its time base is 0".into());
    }
    let mut rest = bytes.get(usize::from(header)..).ok_or_else(short)?;
    let mut times = Vec::new();
    let mut frames: Vec<Frame> = Vec::new();
    while !rest.is_empty() {
        let (size, time) = frame_header(rest).ok_or_else(short)?;
        let data = rest.get(FRAME_HEADER..FRAME_HEADER + size).filter(|data| !data.is_empty()).ok_or_else(short)?;
        // The first bit of a VP8 frame is 0 in a key frame (RFC 6386, 9.1).
        frames.push(Frame { data: Arc::from(data), ticks: 0, key: data[0] & 1 == 0 });
        times.push(u128::from(time) * u128::from(scale) * u128::from(VIDEO_RATE) / u128::from(rate));
        rest = &rest[FRAME_HEADER + size..];
    }
    let begin = frames.iter().position(|frame| frame.key).ok_or("it has no key frame")?;
    frames.drain(..begin);
    set_durations(&mut frames, &times[begin..])?;
    Ok(frames)
}

fn frame_header(bytes: &[u8]) -> Option<(usize, u64)> {
    let size = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let time = u64::from_le_bytes(bytes.get(4..FRAME_HEADER)?.try_into().ok()?);
    Some((usize::try_from(size).ok()?, time))
}

/// Sets the duration of each frame to the time until the next one; the last one gets that of its predecessor.
fn set_durations(frames: &mut [Frame], times: &[u128]) -> Result<(), String> {
    let mut ticks = VIDEO_RATE / 30;
    for (n, frame) in frames.iter_mut().enumerate() {
        if let Some(next) = times.get(n + 1) {
            let wait = next.checked_sub(times[n]).filter(|wait| (1..=u128::from(VIDEO_RATE) * 60).contains(wait));
            ticks = wait.and_then(|wait| u32::try_from(wait).ok()).ok_or("its timestamps do not increase")?;
        }
        frame.ticks = ticks;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(codec: &[u8; 4], (rate, scale): (u32, u32), frames: &[(u64, &[u8])]) -> Vec<u8> {
        let mut bytes = b"DKIF\0\0\x20\0".to_vec();
        bytes.extend_from_slice(codec);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&rate.to_le_bytes());
        bytes.extend_from_slice(&scale.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        for (time, data) in frames {
            bytes.extend_from_slice(&u32::try_from(data.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(&time.to_le_bytes());
            bytes.extend_from_slice(data);
        }
        bytes
    }

    #[test]
    fn a_frame_lasts_until_the_next_one() {
        let frames = read(&file(b"VP80", (25, 1), &[(0, &[0x10]), (1, &[0x11]), (3, &[0x13])])).unwrap();
        let seen: Vec<_> = frames.iter().map(|frame| (frame.ticks, frame.key)).collect();
        assert_eq!(seen, [(3600, true), (7200, false), (7200, false)]);
    }

    #[test]
    fn invalid_files_are_rejected_with_the_reason() {
        for (bytes, part) in [
            (file(b"VP90", (30, 1), &[]), "VP90"),
            (file(b"VP80", (0, 1), &[]), "time base"),
            (file(b"VP80", (30, 1), &[(0, &[1])]), "key frame"),
            (file(b"VP80", (30, 1), &[(5, &[0]), (5, &[1])]), "increase"),
            (b"DKIF".to_vec(), "truncated"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), rate: u32, scale: u32) {
            let mut long = file(b"VP80", (rate, scale), &[]);
            long.extend_from_slice(&bytes);
            let _ = (read(&bytes), read(&long));
        }
    }
}
