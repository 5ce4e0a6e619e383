//! H.264 payloads (RFC 6184): NAL unit types, the resolution of a sequence parameter set (SPS) and slice types
//! (ITU-T H.264; clause numbers below are of that).
//!
//! The parser reads an SPS only as far as the cropping rectangle. Decoders ignore what follows it, so that a limit on
//! the resolution must not depend on that being well-formed. `h264-reader` 0.9 parses whole parameter sets and rejects
//! those with trailing bytes; `scuffle-h264` 0.2 panics on hostile ones.

use super::FrameInfo;

/// NAL unit and packet types.
const SLICE: u8 = 1;
const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

pub(super) fn inspect(payload: &[u8]) -> FrameInfo {
    let mut frame = FrameInfo::default();
    match payload.first().map(|first| first & 0x1f) {
        Some(STAP_A) => {
            let mut rest = &payload[1..];
            while let [high, low, tail @ ..] = rest {
                let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
                let (unit, after) = tail.split_at(length);
                inspect_nal_unit(unit, &mut frame);
                rest = after;
            }
        }
        // Only the first fragment of a NAL unit is inspected. The unit's header is split over two bytes.
        Some(FU_A) => {
            if let [indicator, header, body @ ..] = payload
                && header & 0x80 != 0
            {
                let head = &body[..body.len().min(64)];
                let unit: Vec<u8> =
                    std::iter::once((indicator & 0xe0) | (header & 0x1f)).chain(head.to_vec()).collect();
                inspect_nal_unit(&unit, &mut frame);
            }
        }
        Some(_) => inspect_nal_unit(payload, &mut frame),
        None => {}
    }
    frame
}

fn inspect_nal_unit(unit: &[u8], frame: &mut FrameInfo) {
    let Some((first, body)) = unit.split_first() else { return };
    match first & 0x1f {
        SPS => {
            frame.is_key = true;
            frame.resolution = sps_resolution(body).or(frame.resolution);
        }
        IDR => frame.is_key = true,
        SLICE => frame.is_b_frame |= is_b_slice(body).unwrap_or(false),
        _ => {}
    }
}

/// Slice types 1 and 6 are B (ITU-T H.264, table 7-6).
fn is_b_slice(body: &[u8]) -> Option<bool> {
    let mut bits = BitReader::new(body);
    bits.ue()?;
    Some(matches!(bits.ue()?, 1 | 6))
}

/// `profile_idc` values whose SPS has chroma and scaling fields (7.3.2.1.1).
const PROFILES_WITH_CHROMA: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Width and height of an SPS after cropping (7.3.2.1.1, 7.4.2.1.1).
fn sps_resolution(body: &[u8]) -> Option<(u32, u32)> {
    let mut bits = BitReader::new(body);
    let profile = bits.take(8)?;
    bits.take(16)?;
    bits.ue()?;
    let mut chroma = 1;
    if PROFILES_WITH_CHROMA.contains(&profile) {
        chroma = bits.ue()?;
        if chroma == 3 {
            bits.take(1)?;
        }
        bits.ue()?;
        bits.ue()?;
        bits.take(1)?;
        if bits.take(1)? == 1 {
            skip_scaling_lists(&mut bits, if chroma == 3 { 12 } else { 8 })?;
        }
    }
    bits.ue()?;
    skip_pic_order_cnt(&mut bits)?;
    bits.ue()?;
    bits.take(1)?;
    let width = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let units = bits.ue()?.checked_add(1)?;
    let frames_only = bits.take(1)?;
    let height = units.checked_mul(16)?.checked_mul(2 - frames_only)?;
    if frames_only == 0 {
        bits.take(1)?;
    }
    bits.take(1)?;
    let (across, down) = read_cropping(&mut bits, chroma, frames_only)?;
    Some((width.checked_sub(across)?, height.checked_sub(down)?))
}

fn skip_scaling_lists(bits: &mut BitReader<'_>, lists: usize) -> Option<()> {
    for list in 0..lists {
        if bits.take(1)? == 0 {
            continue;
        }
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.se()? + 256).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
    }
    Some(())
}

fn skip_pic_order_cnt(bits: &mut BitReader<'_>) -> Option<()> {
    match bits.ue()? {
        0 => {
            bits.ue()?;
        }
        1 => {
            bits.take(1)?;
            bits.ue()?;
            bits.ue()?;
            for _ in 0..bits.ue()?.min(255) {
                bits.ue()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// The pixels cropped off width and height, from `frame_cropping_flag` on.
fn read_cropping(bits: &mut BitReader<'_>, chroma: u32, frames_only: u32) -> Option<(u32, u32)> {
    if bits.take(1)? == 0 {
        return Some((0, 0));
    }
    let (unit_across, unit_down) = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let mut sides = [0; 4];
    for side in &mut sides {
        *side = bits.ue()?;
    }
    let across = sides[0].checked_add(sides[1])?.checked_mul(unit_across)?;
    let down = sides[2].checked_add(sides[3])?.checked_mul(unit_down * (2 - frames_only))?;
    Some((across, down))
}

/// Reads bits of a NAL unit, skipping emulation prevention bytes (7.4.1).
struct BitReader<'a> {
    bytes: &'a [u8],
    /// Consecutive zero bytes read.
    zeros: u32,
    byte: u8,
    /// Unread bits of `byte`.
    left: u32,
}

impl<'a> BitReader<'a> {
    fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, zeros: 0, byte: 0, left: 0 }
    }

    fn next_byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        if self.zeros >= 2 && *byte == 3 {
            self.zeros = 0;
            return self.next_byte();
        }
        self.zeros = if *byte == 0 { self.zeros + 1 } else { 0 };
        Some(*byte)
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            if self.left == 0 {
                self.byte = self.next_byte()?;
                self.left = 8;
            }
            self.left -= 1;
            value = (value << 1) | u32::from((self.byte >> self.left) & 1);
        }
        Some(value)
    }

    /// An unsigned Exp-Golomb code, `ue(v)` (9.1).
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        ((1_u64 << zeros) - 1 + u64::from(self.take(zeros)?)).try_into().ok()
    }

    /// A signed Exp-Golomb code, `se(v)`.
    fn se(&mut self) -> Option<i64> {
        let code = i64::from(self.ue()?);
        Some(if code % 2 == 0 { -(code / 2) } else { (code + 1) / 2 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SPS NAL units of x264 and OpenH264.
    const HIGH_720P: &[u8] = &[
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
        0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
    ];
    const HIGH_1080P: &[u8] = &[
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04,
        0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];
    const BASELINE_VGA: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x3d, 0xa1, 0x00, 0x00, 0x03, 0x00, 0x01];

    #[test]
    fn resolution_is_read_from_parameter_sets() {
        for (unit, size) in [(HIGH_720P, (1280, 720)), (HIGH_1080P, (1920, 1080)), (BASELINE_VGA, (640, 480))] {
            let alone = inspect(unit);
            assert_eq!((alone.is_key, alone.resolution), (true, Some(size)));
            let length = (unit.len() as u16).to_be_bytes();
            let together = [&[0x78][..], &length, unit, &[0, 4, 0x68, 0xce, 0x3c, 0x80]].concat();
            assert_eq!(inspect(&together), alone, "in an aggregation packet");
            let fragment = [&[0x7c, 0x87][..], &unit[1..]].concat();
            assert_eq!(inspect(&fragment), alone, "in the first fragment of an FU-A");
            for end in 0..unit.len() {
                let cut = inspect(&unit[..end]);
                assert!(cut.resolution.is_none() || cut.resolution == Some(size), "truncated to {end} bytes");
            }
        }
    }

    #[test]
    fn slice_types_and_key_frames_are_recognized() {
        // first_mb_in_slice 0 is one bit; the slice types 0, 5 (P), 1, 6 (B), 2, 7 (I) follow.
        for (bits, b_frame) in
            [(0b1100_0000, false), (0b1001_1000, false), (0b1010_0000, true), (0b1001_1100, true), (0b1011_0000, false)]
        {
            assert_eq!(inspect(&[0x41, bits, 0]).is_b_frame, b_frame, "{bits:b}");
        }
        assert!(inspect(&[0x65, 0x88, 0x80]).is_key);
        assert!(inspect(&[0x7c, 0x85, 0x88]).is_key);
        assert!(!inspect(&[0x7c, 0x05, 0x88]).is_key, "a later fragment");
        for empty in [&[][..], &[0x41], &[0x78], &[0x78, 0xff, 0xff], &[0x7c], &[0x67], &[0x78, 0, 0, 0, 0]] {
            assert!(!inspect(empty).is_b_frame && inspect(empty).resolution.is_none());
        }
    }
}
