//! What a packet of video says of its picture, read from the payload: whether a key frame begins with it, how large the
//! picture is, whether it is a B-frame. Everything here is told by the client, and may be anything.

/// What could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// A picture that can be decoded without any before it begins here.
    pub(super) key: bool,
    /// Width and height.
    pub(super) size: Option<(u32, u32)>,
    /// Part of a picture that needs a later one.
    pub(super) b_frame: bool,
}

const SLICE: u8 = 1;
const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Looks at a payload of H.264 (RFC 6184).
pub(super) fn h264(payload: &[u8]) -> Look {
    let mut look = Look::default();
    match payload.first().map(|first| first & 0x1f) {
        Some(STAP_A) => {
            let mut rest = &payload[1..];
            while let [high, low, tail @ ..] = rest {
                let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
                let (unit, after) = tail.split_at(length);
                unit_of_h264(unit, &mut look);
                rest = after;
            }
        }
        // A fragment: only the first tells what it is of. Its header is put together from the two bytes.
        Some(FU_A) => {
            if let [indicator, header, body @ ..] = payload
                && header & 0x80 != 0
            {
                let head = &body[..body.len().min(64)];
                let unit: Vec<u8> =
                    std::iter::once((indicator & 0xe0) | (header & 0x1f)).chain(head.to_vec()).collect();
                unit_of_h264(&unit, &mut look);
            }
        }
        Some(_) => unit_of_h264(payload, &mut look),
        None => {}
    }
    look
}

fn unit_of_h264(unit: &[u8], look: &mut Look) {
    let Some((first, body)) = unit.split_first() else { return };
    match first & 0x1f {
        SPS => {
            look.key = true;
            look.size = size_of_sps(body).or(look.size);
        }
        IDR => look.key = true,
        SLICE => look.b_frame |= is_b_slice(body).unwrap_or(false),
        _ => {}
    }
}

/// Slice types 1 and 6 are B (ITU-T H.264, table 7-6).
fn is_b_slice(body: &[u8]) -> Option<bool> {
    let mut bits = Bits::new(body);
    bits.exp_golomb()?;
    Some(matches!(bits.exp_golomb()?, 1 | 6))
}

/// Profiles whose sequence parameter set tells of chroma and scaling (7.3.2.1.1).
const WITH_CHROMA: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Width and height from a sequence parameter set, after cropping (7.3.2.1.1, 7.4.2.1.1).
fn size_of_sps(body: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits::new(body);
    let profile = bits.take(8)?;
    bits.take(16)?;
    bits.exp_golomb()?;
    let mut chroma = 1;
    if WITH_CHROMA.contains(&profile) {
        chroma = bits.exp_golomb()?;
        if chroma == 3 {
            bits.take(1)?;
        }
        bits.exp_golomb()?;
        bits.exp_golomb()?;
        bits.take(1)?;
        if bits.take(1)? == 1 {
            skip_scaling(&mut bits, if chroma == 3 { 12 } else { 8 })?;
        }
    }
    bits.exp_golomb()?;
    skip_order(&mut bits)?;
    bits.exp_golomb()?;
    bits.take(1)?;
    let width = bits.exp_golomb()?.checked_add(1)?.checked_mul(16)?;
    let units = bits.exp_golomb()?.checked_add(1)?;
    let frames_only = bits.take(1)?;
    let height = units.checked_mul(16)?.checked_mul(2 - frames_only)?;
    if frames_only == 0 {
        bits.take(1)?;
    }
    bits.take(1)?;
    let (across, down) = crop(&mut bits, chroma, frames_only)?;
    Some((width.checked_sub(across)?, height.checked_sub(down)?))
}

fn skip_scaling(bits: &mut Bits<'_>, lists: usize) -> Option<()> {
    for list in 0..lists {
        if bits.take(1)? == 0 {
            continue;
        }
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.signed()? + 256).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
    }
    Some(())
}

fn skip_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.exp_golomb()? {
        0 => {
            bits.exp_golomb()?;
        }
        1 => {
            bits.take(1)?;
            bits.exp_golomb()?;
            bits.exp_golomb()?;
            for _ in 0..bits.exp_golomb()?.min(255) {
                bits.exp_golomb()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// How much is cut off the width and the height. Must stand behind `frame_mbs_only_flag` and its company.
fn crop(bits: &mut Bits<'_>, chroma: u32, frames_only: u32) -> Option<(u32, u32)> {
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
        *side = bits.exp_golomb()?;
    }
    let across = sides[0].checked_add(sides[1])?.checked_mul(unit_across)?;
    let down = sides[2].checked_add(sides[3])?.checked_mul(unit_down * (2 - frames_only))?;
    Some((across, down))
}

/// Looks at a payload of VP8 (RFC 7741).
pub(super) fn vp8(payload: &[u8]) -> Look {
    let frame = vp8_frame(payload).unwrap_or_default();
    // The lowest bit of the first byte of a frame is 0 in a key frame; its start code and size follow (RFC 6386, 9.1).
    let [first, _, _, 0x9d, 0x01, 0x2a, width_low, width_high, height_low, height_high, ..] = *frame else {
        return Look::default();
    };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    match first & 1 {
        0 => {
            Look { key: true, size: Some((side(width_low, width_high), side(height_low, height_high))), b_frame: false }
        }
        _ => Look::default(),
    }
}

/// The frame that begins in this payload, behind its descriptor.
fn vp8_frame(payload: &[u8]) -> Option<&[u8]> {
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

/// Bits of a unit of H.264, with the bytes that keep start codes from appearing taken out.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Zero bytes in a row before the next.
    zeros: u32,
    byte: u8,
    left: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, zeros: 0, byte: 0, left: 0 }
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

    /// An unsigned Exp-Golomb code (9.1).
    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        ((1_u64 << zeros) - 1 + u64::from(self.take(zeros)?)).try_into().ok()
    }

    fn signed(&mut self) -> Option<i64> {
        let code = i64::from(self.exp_golomb()?);
        Some(if code % 2 == 0 { -(code / 2) } else { (code + 1) / 2 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameter sets that x264 and OpenH264 write.
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
    fn sizes_are_read_from_parameter_sets() {
        for (unit, size) in [(HIGH_720P, (1280, 720)), (HIGH_1080P, (1920, 1080)), (BASELINE_VGA, (640, 480))] {
            let alone = h264(unit);
            assert_eq!((alone.key, alone.size), (true, Some(size)));
            let length = (unit.len() as u16).to_be_bytes();
            let together = [&[0x78][..], &length, unit, &[0, 4, 0x68, 0xce, 0x3c, 0x80]].concat();
            assert_eq!(h264(&together), alone, "with another unit in a packet");
            let fragment = [&[0x7c, 0x87][..], &unit[1..]].concat();
            assert_eq!(h264(&fragment), alone, "as the first of fragments");
            for end in 0..unit.len() {
                let cut = h264(&unit[..end]);
                assert!(cut.size.is_none() || cut.size == Some(size), "cut off at {end}");
            }
        }
    }

    #[test]
    fn slices_tell_their_kind() {
        // first_mb_in_slice 0 is one bit; the slice types 0, 5 (P), 1, 6 (B), 2, 7 (I) follow.
        for (bits, b_frame) in
            [(0b1100_0000, false), (0b1001_1000, false), (0b1010_0000, true), (0b1001_1100, true), (0b1011_0000, false)]
        {
            assert_eq!(h264(&[0x41, bits, 0]).b_frame, b_frame, "{bits:b}");
        }
        assert!(h264(&[0x65, 0x88, 0x80]).key);
        assert!(h264(&[0x7c, 0x85, 0x88]).key);
        assert!(!h264(&[0x7c, 0x05, 0x88]).key, "a later fragment");
        for nothing in [&[][..], &[0x41], &[0x78], &[0x78, 0xff, 0xff], &[0x7c], &[0x67], &[0x78, 0, 0, 0, 0]] {
            assert!(!h264(nothing).b_frame && h264(nothing).size.is_none());
        }
    }

    #[test]
    fn key_frames_of_vp8_tell_their_size() {
        let key = [0, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x41];
        let look = Look { key: true, size: Some((640, 480)), b_frame: false };
        for head in [&[0x10][..], &[0x90, 0x80, 0x11], &[0x90, 0x80, 0x91, 0x11], &[0x90, 0xe0, 0x91, 0x11, 7, 0x20]] {
            assert_eq!(vp8(&[head, &key].concat()), look, "{head:x?}");
            let mut delta = key;
            delta[0] = 1;
            assert_eq!(vp8(&[head, &delta].concat()), Look::default());
            assert_eq!(vp8(head), Look::default());
        }
        assert_eq!(vp8(&[&[0x00][..], &key].concat()), Look::default(), "not the start of a partition");
        assert_eq!(vp8(&[&[0x11][..], &key].concat()), Look::default(), "a later partition");
    }
}
