//! Bodies of FLV tags (Adobe Flash Video File Format Specification 10.1, annex E), which are those of RTMP messages: H.264 and AAC.

mod avc;
mod bits;
mod metadata;

pub use avc::{FlvError, avc_end, avc_frame, avc_sequence_header, split_annex_b};
pub use metadata::{AudioProperties, OnMetaData, VideoProperties};

/// AAC; rate, size and channels are those of the AudioSpecificConfig, whatever these bits say.
const AAC: u8 = 0xaf;

/// The audio tag that precedes frames of AAC, of an AudioSpecificConfig (ISO/IEC 14496-3, section 1.6.2.1).
pub fn aac_sequence_header(config: &[u8]) -> Vec<u8> {
    [&[AAC, 0], config].concat()
}

/// The audio tag of a raw frame of AAC, without an ADTS header.
pub fn aac_frame(frame: &[u8]) -> Vec<u8> {
    [&[AAC, 1], frame].concat()
}
