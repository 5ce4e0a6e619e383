use crate::IngestError;
use greenroom_codecs::SAMPLE_RATE;
use greenroom_codecs::aac::AacConfig;

/// A configuration that is AAC-LC.
pub(super) struct Format(AacConfig);

impl Format {
    /// The error for a format that the decoder does not support.
    pub(super) fn unsupported(&self) -> IngestError {
        IngestError::AudioCodec(format!("AAC-LC with a sample rate of {} Hz", self.0.sample_rate))
    }
}

/// Checks an AudioSpecificConfig; `None` if it is damaged.
pub(super) fn supported(config: &[u8]) -> Result<Option<Format>, IngestError> {
    let Ok(config) = AacConfig::parse(config) else { return Ok(None) };
    let refused = |name: String| Err(IngestError::AudioCodec(name));
    match config.object_type {
        _ if config.ps => refused("HE-AAC v2".to_owned()),
        _ if config.sbr => refused("HE-AAC".to_owned()),
        2 => match config.channels {
            1 | 2 if config.sample_rate > SAMPLE_RATE => Err(Format(config).unsupported()),
            1 | 2 => Ok(Some(Format(config))),
            0 => refused("AAC-LC with a channel layout of its own".to_owned()),
            7 => refused("AAC-LC with 8 channels".to_owned()),
            channels => refused(format!("AAC-LC with {channels} channels")),
        },
        1 => refused("AAC Main".to_owned()),
        3 => refused("AAC SSR".to_owned()),
        4 => refused("AAC LTP".to_owned()),
        other => refused(format!("MPEG-4 audio object type {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_named() {
        for (config, name) in [
            (&[0x13, 0x10, 0x56, 0xe5, 0x98][..], "HE-AAC"),
            (&[0xeb, 0x09, 0x88, 0x00], "HE-AAC v2"),
            (&[0x0a, 0x10], "AAC Main"),
            (&[0x11, 0xb0], "AAC-LC with 6 channels"),
            (&[0x11, 0x80], "AAC-LC with a channel layout of its own"),
            (&[0x10, 0x10], "AAC-LC with a sample rate of 96000 Hz"),
            (&[0xf8, 0xe6, 0x40], "MPEG-4 audio object type 39"),
        ] {
            let error = supported(config).err();
            assert_eq!(error, Some(IngestError::AudioCodec(name.to_owned())), "{config:02x?}");
        }
        assert!(matches!(supported(&[0x12, 0x10]), Ok(Some(_))));
        assert!(matches!(supported(&[0x12]), Ok(None)));
    }
}
