use super::{CODEC, bits::Bits};
use crate::{CodecError, picture};

/// Macroblocks of all reference pictures together that level 5.2 allows (table A-1, MaxDpbMbs).
const MAX_REFERENCE_MACROBLOCKS: u32 = 184_320;

/// What a sequence parameter set (section 7.3.2.1.1) says of the pictures. Only 8-bit 4:2:0 within [`picture::MAX_PIXELS`] is
/// accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceParameters {
    pub id: u8,
    pub profile: u8,
    /// The flags between profile and level.
    pub constraints: u8,
    pub level: u8,
    /// Size of what is shown, in pixels.
    pub width: usize,
    pub height: usize,
    /// Columns and rows of the decoded picture before what is shown.
    pub left: usize,
    pub top: usize,
    pub full_range: bool,
    /// Every picture is a frame, and none is interlaced.
    pub progressive: bool,
}

impl SequenceParameters {
    /// Parses a NAL unit of type 7.
    pub fn parse(nal: &[u8]) -> Result<SequenceParameters, CodecError> {
        parse(&mut Bits::new(nal)).ok_or_else(|| CodecError::invalid(CODEC, "damaged sequence parameter set"))?
    }
}

fn parse(bits: &mut Bits) -> Option<Result<SequenceParameters, CodecError>> {
    let (profile, constraints, level) = (bits.unsigned(8)? as u8, bits.unsigned(8)? as u8, bits.unsigned(8)? as u8);
    let id = bits.golomb().filter(|id| *id < 32)? as u8;
    let has_format = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile);
    if has_format && !parse_format(bits)? {
        return Some(Err(CodecError::Unsupported("H.264 other than 8-bit 4:2:0")));
    }
    parse_order_counts(bits)?;
    let references = bits.golomb().filter(|frames| *frames <= 16)?;
    bits.flag()?;
    let (columns, rows) = (bits.golomb()?.checked_add(1)?, bits.golomb()?.checked_add(1)?);
    let progressive = bits.flag()?;
    if !progressive {
        bits.flag()?;
    }
    bits.flag()?;
    let rows = rows.checked_mul(if progressive { 1 } else { 2 })?;
    let (coded_width, coded_height) = (columns as usize * 16, rows as usize * 16);
    if let Err(error) = picture::check_size(coded_width, coded_height) {
        return Some(Err(error));
    }
    if references.max(1) * columns * rows > MAX_REFERENCE_MACROBLOCKS {
        return Some(Err(CodecError::LimitExceeded { codec: CODEC, limit: "reference pictures of level 5.2" }));
    }
    let [left, right, top, bottom] = parse_cropping(bits, progressive)?;
    let width = coded_width.checked_sub(left.checked_add(right)?).filter(|width| *width > 0)?;
    let height = coded_height.checked_sub(top.checked_add(bottom)?).filter(|height| *height > 0)?;
    // A truncated VUI is no reason to refuse the pictures.
    let full_range = parse_full_range(bits).unwrap_or(false);
    let parameters =
        SequenceParameters { id, profile, constraints, level, width, height, left, top, full_range, progressive };
    Some(Ok(parameters))
}

/// Chroma format, bit depths and scaling matrices of the High profiles; returns whether it is 8-bit 4:2:0.
fn parse_format(bits: &mut Bits) -> Option<bool> {
    let chroma_format = bits.golomb().filter(|format| *format <= 3)?;
    if chroma_format == 3 {
        bits.flag()?;
    }
    let depths = (bits.golomb()?, bits.golomb()?);
    bits.flag()?;
    if bits.flag()? {
        for list in 0..if chroma_format == 3 { 12 } else { 8 } {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(chroma_format == 1 && depths == (0, 0))
}

fn skip_scaling_list(bits: &mut Bits, size: usize) -> Option<()> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.signed_golomb().filter(|delta| (-128..128).contains(delta))? + 256) % 256;
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

/// Frame numbers and picture order counts.
fn parse_order_counts(bits: &mut Bits) -> Option<()> {
    bits.golomb().filter(|bits| *bits <= 12)?;
    match bits.golomb()? {
        0 => bits.golomb().filter(|bits| *bits <= 12).map(|_| ()),
        1 => {
            bits.flag()?;
            bits.signed_golomb()?;
            bits.signed_golomb()?;
            let cycle = bits.golomb().filter(|frames| *frames <= 255)?;
            (0..cycle).try_for_each(|_| bits.signed_golomb().map(|_| ()))
        }
        2 => Some(()),
        _ => None,
    }
}

/// Left, right, top and bottom margin, in pixels (equations 7-19 to 7-22, with 4:2:0).
fn parse_cropping(bits: &mut Bits, progressive: bool) -> Option<[usize; 4]> {
    if !bits.flag()? {
        return Some([0; 4]);
    }
    let vertical = if progressive { 2 } else { 4 };
    let mut margins = [0; 4];
    for (margin, unit) in margins.iter_mut().zip([2, 2, vertical, vertical]) {
        *margin = bits.golomb()? as usize * unit;
    }
    Some(margins)
}

/// `video_full_range_flag` of the VUI (section E.1.1).
fn parse_full_range(bits: &mut Bits) -> Option<bool> {
    if !bits.flag()? {
        return Some(false);
    }
    if bits.flag()? && bits.unsigned(8)? == 255 {
        bits.unsigned(32)?;
    }
    if bits.flag()? {
        bits.flag()?;
    }
    if !bits.flag()? {
        return Some(false);
    }
    bits.unsigned(3)?;
    bits.flag()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the bits of a parameter set.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn unsigned(mut self, value: u32, bits: u32) -> Writer {
            self.0.extend((0..bits).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        fn golomb(self, value: u32) -> Writer {
            let bits = (value + 1).ilog2();
            self.unsigned(0, bits).unsigned(value + 1, bits + 1)
        }

        /// The NAL unit, with its stop bit and emulation prevention.
        fn nal(self) -> Vec<u8> {
            let bits = [self.0, vec![true]].concat();
            let mut nal = vec![0x67];
            for eight in bits.chunks(8) {
                let byte = eight.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at));
                if nal.ends_with(&[0, 0]) && byte <= 3 {
                    nal.push(3);
                }
                nal.push(byte);
            }
            nal
        }
    }

    struct Example {
        profile: u32,
        chroma_format: u32,
        bits: u32,
        references: u32,
        macroblocks: (u32, u32),
        margins: Option<[u32; 4]>,
        full_range: bool,
    }

    const EXAMPLE: Example = Example {
        profile: 100,
        chroma_format: 1,
        bits: 8,
        references: 4,
        macroblocks: (120, 68),
        margins: Some([0, 0, 0, 4]),
        full_range: false,
    };

    fn write(example: &Example) -> Vec<u8> {
        let mut writer = Writer::default().unsigned(example.profile, 8).unsigned(0x40, 8).unsigned(40, 8).golomb(3);
        if example.profile == 100 {
            let depth = example.bits - 8;
            writer = writer.golomb(example.chroma_format).golomb(depth).golomb(depth).unsigned(0, 1);
            // A matrix of which the first list falls back after one delta, and the seventh has no delta but the first.
            writer = writer.unsigned(1, 1).unsigned(1, 1).golomb(16).unsigned(0, 5).unsigned(1, 1).golomb(0);
            writer = (0..63).fold(writer, |writer, _| writer.golomb(0)).unsigned(0, 1);
        }
        // Order counts of type 1 with a cycle of two.
        writer = writer.golomb(4).golomb(1).unsigned(0, 1).golomb(0).golomb(1).golomb(2).golomb(5).golomb(6);
        writer = writer.golomb(example.references).unsigned(0, 1);
        writer = writer.golomb(example.macroblocks.0 - 1).golomb(example.macroblocks.1 - 1).unsigned(0b11, 2);
        writer = match example.margins {
            Some(margins) => margins.into_iter().fold(writer.unsigned(1, 1), Writer::golomb),
            None => writer.unsigned(0, 1),
        };
        let signal = 0b1010 | u32::from(example.full_range);
        writer.unsigned(0b11, 2).unsigned(255, 8).unsigned(0x0010_0011, 32).unsigned(0b01, 2).unsigned(signal, 4).nal()
    }

    #[test]
    fn size_margins_and_range_are_read() {
        let parameters = SequenceParameters::parse(&write(&EXAMPLE)).unwrap();
        assert_eq!((parameters.id, parameters.profile, parameters.constraints, parameters.level), (3, 100, 0x40, 40));
        assert_eq!((parameters.width, parameters.height, parameters.left, parameters.top), (1_920, 1_080, 0, 0));
        assert!(parameters.progressive && !parameters.full_range);
        let cropped = Example { profile: 66, margins: Some([3, 5, 7, 9]), full_range: true, ..EXAMPLE };
        let parameters = SequenceParameters::parse(&write(&cropped)).unwrap();
        assert_eq!((parameters.width, parameters.height, parameters.left, parameters.top), (1_904, 1_056, 6, 14));
        assert!(parameters.full_range);
    }

    #[test]
    fn what_is_not_supported_or_too_large_is_refused() {
        let reason = |example: Example| SequenceParameters::parse(&write(&example)).unwrap_err().reason();
        assert_eq!(reason(Example { chroma_format: 2, ..EXAMPLE }), "unsupported");
        assert_eq!(reason(Example { bits: 10, ..EXAMPLE }), "unsupported");
        assert_eq!(reason(Example { chroma_format: 4, ..EXAMPLE }), "invalid_data");
        assert_eq!(reason(Example { macroblocks: (1_024, 1_024), ..EXAMPLE }), "limit_exceeded");
        assert_eq!(reason(Example { macroblocks: (256, 144), references: 6, ..EXAMPLE }), "limit_exceeded");
        assert_eq!(reason(Example { references: 17, ..EXAMPLE }), "invalid_data");
        assert_eq!(reason(Example { margins: Some([480, 480, 0, 0]), ..EXAMPLE }), "invalid_data");
        assert_eq!(reason(Example { margins: Some([0, 0, 0, 0x7fff_fffe]), ..EXAMPLE }), "invalid_data");
        let whole = write(&EXAMPLE);
        // The VUI may be cut off.
        let needed = write(&Example { margins: None, ..EXAMPLE }).len() - 8;
        for length in 0..needed {
            assert!(SequenceParameters::parse(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
    }
}
