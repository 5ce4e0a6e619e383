//! Tags of H.264.

use super::bits::BitReader;

const AVC_KEY_FRAME: u8 = 0x17;
const AVC_INTER_FRAME: u8 = 0x27;

/// AVCPacketType.
const SEQUENCE_HEADER: u8 = 0;
const NAL_UNITS: u8 = 1;
const END_OF_SEQUENCE: u8 = 2;

/// Types of NAL units.
const IDR_SLICE: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const ACCESS_UNIT_DELIMITER: u8 = 9;

/// Profiles without the fields of a sequence parameter set that say chroma format and bit depth: Baseline, Main and Extended.
const SIMPLE_PROFILES: [u8; 3] = [66, 77, 88];

/// Lengths of NAL units have four bytes; the other bits are reserved.
const LENGTH_SIZE: u8 = 0xff;

/// Composition times have 24 bits with sign.
const MAX_COMPOSITION_TIME: i32 = 0x7f_ffff;

/// Why there is no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    #[error("too many parameter sets for an AVC sequence header")]
    TooManyParameterSets,
    #[error("a parameter set is longer than 65,535 bytes")]
    ParameterSetLength,
    #[error("the sequence parameter set cannot be read")]
    SequenceParameterSet,
    #[error("a NAL unit is too long")]
    NalUnitLength,
    #[error("the composition time is out of range")]
    CompositionTime,
}

/// The NAL units of an Annex B byte stream.
pub fn split_annex_b(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream).unwrap_or_default();
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let next = after_start_code(rest);
            let end = next.map_or(rest.len(), |next| rest.len() - next.len() - 3);
            // Zeros before a start code are not part of the unit.
            let unit = rest.get(..end).unwrap_or_default();
            let end = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            rest = next.unwrap_or_default();
            if end > 0 {
                return unit.get(..end);
            }
        }
        None
    })
}

/// What follows the first start code, `00 00 01`.
fn after_start_code(stream: &[u8]) -> Option<&[u8]> {
    let start = stream.windows(3).position(|bytes| bytes == [0, 0, 1])?;
    stream.get(start + 3..)
}

/// The video tag that precedes frames, with the parameter sets among these NAL units, equal ones once: an
/// AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1). `None` without a sequence and a picture parameter set. It has to be
/// sent again when it changes.
pub fn avc_sequence_header<'a>(units: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Vec<u8>>, FlvError> {
    let (mut sps, mut pps): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    for unit in units {
        let sets = match unit_type(unit) {
            Some(SPS) => &mut sps,
            Some(PPS) => &mut pps,
            _ => continue,
        };
        if !sets.contains(&unit) {
            sets.push(unit);
        }
    }
    let Some(first) = sps.first().filter(|_| !pps.is_empty()) else { return Ok(None) };
    // Five bits, and eight.
    if sps.len() > 31 || pps.len() > 255 {
        return Err(FlvError::TooManyParameterSets);
    }
    let [_, profile, compatibility, level, fields @ ..] = first else { return Err(FlvError::SequenceParameterSet) };
    let mut body = vec![AVC_KEY_FRAME, SEQUENCE_HEADER, 0, 0, 0, 1, *profile, *compatibility, *level, LENGTH_SIZE];
    body.push(0xe0 | sps.len() as u8);
    write_sets(&mut body, &sps)?;
    body.push(pps.len() as u8);
    write_sets(&mut body, &pps)?;
    if !SIMPLE_PROFILES.contains(profile) {
        let [chroma, luma_depth, chroma_depth] = picture_format(fields).ok_or(FlvError::SequenceParameterSet)?;
        // No extensions of sequence parameter sets follow.
        body.extend_from_slice(&[0xfc | chroma, 0xf8 | luma_depth, 0xf8 | chroma_depth, 0]);
    }
    Ok(Some(body))
}

fn write_sets(body: &mut Vec<u8>, sets: &[&[u8]]) -> Result<(), FlvError> {
    for set in sets {
        let length = u16::try_from(set.len()).map_err(|_| FlvError::ParameterSetLength)?;
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(set);
    }
    Ok(())
}

/// `chroma_format_idc`, `bit_depth_luma_minus8` and `bit_depth_chroma_minus8` of what follows the level in a sequence parameter set.
fn picture_format(fields: &[u8]) -> Option<[u8; 3]> {
    let mut bits = BitReader::new(fields);
    bits.exp_golomb()?;
    let chroma = bits.exp_golomb().filter(|&format| format <= 3)?;
    if chroma == 3 {
        bits.bit()?;
    }
    let mut depth = || bits.exp_golomb().filter(|&depth| depth <= 6);
    Some([chroma as u8, depth()? as u8, depth()? as u8])
}

/// The video tag of a frame's NAL units, those of its parameter sets and access unit delimiters left out. `composition_time` is the time of
/// presentation after that of decoding, in milliseconds. Without other units, the tag has its five bytes of header only.
pub fn avc_frame<'a>(units: impl IntoIterator<Item = &'a [u8]>, composition_time: i32) -> Result<Vec<u8>, FlvError> {
    if !(-MAX_COMPOSITION_TIME - 1..=MAX_COMPOSITION_TIME).contains(&composition_time) {
        return Err(FlvError::CompositionTime);
    }
    let [_, time @ ..] = composition_time.to_be_bytes();
    let mut body = vec![AVC_INTER_FRAME, NAL_UNITS];
    body.extend_from_slice(&time);
    for unit in units {
        match unit_type(unit) {
            None | Some(SPS | PPS | ACCESS_UNIT_DELIMITER) => continue,
            Some(IDR_SLICE) => body[0] = AVC_KEY_FRAME,
            Some(_) => {}
        }
        let length = u32::try_from(unit.len()).map_err(|_| FlvError::NalUnitLength)?;
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(unit);
    }
    Ok(body)
}

/// The video tag that follows the last frame.
pub fn avc_end() -> [u8; 5] {
    [AVC_KEY_FRAME, END_OF_SEQUENCE, 0, 0, 0]
}

fn unit_type(unit: &[u8]) -> Option<u8> {
    unit.first().map(|header| header & 0x1f)
}
