use super::CODEC;
use crate::CodecError;

/// Sampling frequencies by their index (ISO/IEC 14496-3, table 1.18).
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Audio object types (table 1.17).
const AAC_LC: u8 = 2;
const SBR: u8 = 5;
const PS: u8 = 29;
const ESCAPE: u8 = 31;

/// Sync extension types of backward-compatible signalling (section 1.6.5.2).
const SBR_SYNC: u32 = 0x2b7;
const PS_SYNC: u32 = 0x548;

/// An AudioSpecificConfig (ISO/IEC 14496-3, section 1.6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacConfig {
    /// Audio object type of the core: 2 is AAC-LC.
    pub object_type: u8,
    /// Sample rate of the core, in Hz.
    pub sample_rate: u32,
    /// The channel configuration, which is the number of channels up to 6; 0: described elsewhere.
    pub channels: u8,
    /// Spectral band replication is signalled: HE-AAC.
    pub sbr: bool,
    /// Parametric stereo is signalled: HE-AAC v2.
    pub ps: bool,
}

impl AacConfig {
    pub fn parse(config: &[u8]) -> Result<AacConfig, CodecError> {
        parse(&mut Reader::new(config)).ok_or_else(|| CodecError::invalid(CODEC, "damaged AudioSpecificConfig"))
    }

    /// Whether it is AAC-LC without extensions.
    pub fn is_lc(&self) -> bool {
        self.object_type == AAC_LC && !self.sbr && !self.ps
    }

    /// Whether the sample rate is one that has an index.
    pub(super) fn has_listed_rate(&self) -> bool {
        SAMPLE_RATES.contains(&self.sample_rate)
    }
}

fn parse(bits: &mut Reader) -> Option<AacConfig> {
    let mut object_type = bits.object_type()?;
    let sample_rate = bits.sample_rate()?;
    let channels = bits.take(4)? as u8;
    let (mut sbr, mut ps) = (matches!(object_type, SBR | PS), object_type == PS);
    if sbr {
        bits.sample_rate()?;
        object_type = bits.object_type()?;
    } else if object_type == AAC_LC && channels != 0 {
        (sbr, ps) = backward_compatible_extensions(bits).unwrap_or_default();
    }
    Some(AacConfig { object_type, sample_rate, channels, sbr, ps })
}

/// Whether SBR and PS are signalled after the GASpecificConfig.
fn backward_compatible_extensions(bits: &mut Reader) -> Option<(bool, bool)> {
    bits.take(1)?;
    if bits.take(1)? == 1 {
        bits.take(14)?;
    }
    bits.take(1)?;
    let signalled = bits.take(11)? == SBR_SYNC && bits.object_type()? == SBR && bits.take(1)? == 1;
    if !signalled {
        return None;
    }
    bits.sample_rate()?;
    let ps = bits.take(11) == Some(PS_SYNC) && bits.take(1) == Some(1);
    Some((true, ps))
}

/// Reads the bits of the first 16 bytes, which is more than the fields take.
struct Reader {
    bits: u128,
    left: u32,
}

impl Reader {
    fn new(bytes: &[u8]) -> Reader {
        let mut first = [0; 16];
        let length = bytes.len().min(first.len());
        first[..length].copy_from_slice(&bytes[..length]);
        Reader { bits: u128::from_be_bytes(first), left: length as u32 * 8 }
    }

    /// The next `count` bits, 1 to 24.
    fn take(&mut self, count: u32) -> Option<u32> {
        self.left = self.left.checked_sub(count)?;
        let value = (self.bits >> (128 - count)) as u32;
        self.bits <<= count;
        Some(value)
    }

    fn object_type(&mut self) -> Option<u8> {
        let object_type = self.take(5)? as u8;
        if object_type == ESCAPE { Some(32 + self.take(6)? as u8) } else { Some(object_type) }
    }

    fn sample_rate(&mut self) -> Option<u32> {
        match self.take(4)? {
            15 => self.take(24),
            index => SAMPLE_RATES.get(index as usize).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEREO: AacConfig = AacConfig { object_type: 2, sample_rate: 48_000, channels: 2, sbr: false, ps: false };

    #[test]
    fn profiles_are_told_apart() {
        for (config, expected) in [
            (&[0x11, 0x90][..], STEREO),
            (&[0x12, 0x08], AacConfig { sample_rate: 44_100, channels: 1, ..STEREO }),
            // FFmpeg says explicitly that there is no SBR.
            (&[0x11, 0x90, 0x56, 0xe5, 0x00], STEREO),
            (&[0x13, 0x10, 0x56, 0xe5, 0x98], AacConfig { sample_rate: 24_000, sbr: true, ..STEREO }),
            (
                &[0x13, 0x08, 0x56, 0xe5, 0x9d, 0x48, 0x80],
                AacConfig { sample_rate: 24_000, channels: 1, sbr: true, ps: true, ..STEREO },
            ),
            (&[0x2b, 0x11, 0x88, 0x00], AacConfig { sample_rate: 24_000, sbr: true, ..STEREO }),
            (&[0xeb, 0x09, 0x88, 0x00], AacConfig { sample_rate: 24_000, channels: 1, sbr: true, ps: true, ..STEREO }),
            (&[0x17, 0x80, 0x56, 0x22, 0x10], AacConfig { sample_rate: 44_100, ..STEREO }),
            (&[0x0a, 0x10], AacConfig { object_type: 1, sample_rate: 44_100, ..STEREO }),
            (&[0xf8, 0xe6, 0x40], AacConfig { object_type: 39, ..STEREO }),
        ] {
            assert_eq!(AacConfig::parse(config), Ok(expected), "{config:02x?}");
            assert_eq!(expected.is_lc(), expected.object_type == 2 && !expected.sbr, "{config:02x?}");
        }
    }

    #[test]
    fn truncated_configurations_are_errors() {
        for config in [&[][..], &[0x11], &[0x16, 0x90], &[0x17, 0x90, 0], &[0x2b, 0x11], &[0xf8, 0xe6]] {
            assert_eq!(AacConfig::parse(config).unwrap_err().reason(), "invalid_data", "{config:02x?}");
        }
    }
}
