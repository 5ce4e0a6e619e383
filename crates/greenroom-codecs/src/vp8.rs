//! VP8 (RFC 6386), by the library oxideav-vp8.

use crate::{
    CodecError,
    error::guarded,
    picture::{self, MAX_PIXELS, Picture},
};
use oxideav_vp8::{coded_header::Vp8CodedHeader, state::Vp8DecoderState};

pub mod payloads;

const CODEC: &str = "vp8";

/// Bytes of the largest frame.
const MAX_FRAME: usize = 8 * 1_024 * 1_024;

/// Decoder of one stream.
pub struct Vp8Decoder {
    decoder: Vp8DecoderState,
    /// A frame was lost or damaged: what refers to it is not decoded.
    damaged: bool,
}

impl Default for Vp8Decoder {
    fn default() -> Self {
        Vp8Decoder::new()
    }
}

impl Vp8Decoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Vp8Decoder {
        Vp8Decoder { decoder: new_decoder(), damaged: true }
    }

    /// Decodes a frame; `None` if it is not to be shown (`show_frame`). Only a key frame changes the size. After an error, and at
    /// first, frames are refused until a key frame.
    pub fn decode(&mut self, frame: &[u8]) -> Result<Option<Picture>, CodecError> {
        let result = self.decode_frame(frame);
        self.damaged |= result.is_err();
        result
    }

    /// Says that frames were lost: those that follow are refused until a key frame.
    pub fn lost(&mut self) {
        self.damaged = true;
    }

    fn decode_frame(&mut self, frame: &[u8]) -> Result<Option<Picture>, CodecError> {
        if frame.len() > MAX_FRAME {
            return Err(CodecError::LimitExceeded { codec: CODEC, limit: "bytes of a frame" });
        }
        let key_frame = check_header(frame)?;
        if self.damaged && !key_frame {
            return Err(CodecError::invalid(CODEC, "waiting for a key frame"));
        }
        if key_frame {
            self.decoder = new_decoder();
            self.damaged = false;
        }
        check_segmentation(frame, key_frame)?;
        let decoder = &mut self.decoder;
        let decoded =
            guarded(CODEC, || decoder.decode_frame(frame))?.map_err(|error| CodecError::invalid(CODEC, error))?;
        if self.decoder.last_frame_shown() != Some(true) {
            return Ok(None);
        }
        let planes = [decoded.y, decoded.u, decoded.v];
        Picture::new(decoded.width as usize, decoded.height as usize, planes).map(Some)
    }
}

fn new_decoder() -> Vp8DecoderState {
    Vp8DecoderState::new().with_max_pixels_per_frame(MAX_PIXELS as u64)
}

/// Whether a frame is a key frame, from its uncompressed header (section 9.1); an error if it is too short or too large.
fn check_header(frame: &[u8]) -> Result<bool, CodecError> {
    let &[first, _, _, ..] = frame else {
        return Err(CodecError::invalid(CODEC, "frame without a header"));
    };
    if first & 1 == 1 {
        return Ok(false);
    }
    let Some((width, height)) = payloads::key_frame_size(frame) else {
        return Err(CodecError::invalid(CODEC, "key frame without a start code"));
    };
    picture::check_size(width, height)?;
    Ok(true)
}

/// The library forgets segments from frame to frame, and would decode what refers to earlier ones (section 9.3) slightly wrong,
/// ever more from frame to frame. libvpx, in browsers, sends all segments with every frame that uses them.
fn check_segmentation(frame: &[u8], key_frame: bool) -> Result<(), CodecError> {
    let partition = frame.get(if key_frame { 10 } else { 3 }..).unwrap_or_default();
    let header = guarded(CODEC, || Vp8CodedHeader::parse(partition, key_frame))?;
    let header = header.map_err(|error| CodecError::invalid(CODEC, error))?;
    let complete = match &header.update_segmentation {
        Some(update) => update.update_mb_segmentation_map && update.update_segment_feature_data,
        None => false,
    };
    if header.segmentation_enabled && !complete && !key_frame {
        return Err(CodecError::Unsupported("VP8 with segments of an earlier frame"));
    }
    Ok(())
}
