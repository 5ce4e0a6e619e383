//! VP8 frames to H.264.

use crate::h264::{AccessUnit, Invalid};
use greenroom_codecs::h264::H264Encoder;
use greenroom_codecs::vp8::Vp8Decoder;
use std::time::Duration;

/// Bits per second and pixel of the transcoded video, as 2.5 Mbit/s are for 720p at 30 frames a second, and their bounds.
const BITS_PER_PIXEL: f64 = 2_500_000.0 / (1280.0 * 720.0);
const BITRATES: (f64, f64) = (200_000.0, 8_500_000.0);
const FRAME_RATE: f32 = 30.0;

/// Decodes VP8 and encodes H.264.
#[derive(Default)]
pub(crate) struct Transcoder {
    decoder: Option<Vp8Decoder>,
    /// With the size of its pictures.
    encoder: Option<(H264Encoder, (usize, usize))>,
    force_key: bool,
}

impl Transcoder {
    pub(crate) fn force_key(&mut self) {
        self.force_key = true;
    }

    /// A frame as H.264; `None` if it is not shown, or if the encoder leaves it out to keep its bitrate. `time` in microseconds.
    pub(crate) fn transcode(&mut self, frame: &[u8], time: i64) -> Result<Option<AccessUnit>, Invalid> {
        let decoder = self.decoder.get_or_insert_with(Vp8Decoder::new);
        let Some(picture) = decoder.decode(frame).map_err(|_| Invalid)? else { return Ok(None) };
        let size = (picture.width(), picture.height());
        if self.encoder.as_ref().is_none_or(|(_, known)| *known != size) {
            let bitrate = (size.0 as f64 * size.1 as f64 * BITS_PER_PIXEL).clamp(BITRATES.0, BITRATES.1);
            self.encoder = Some((H264Encoder::new(FRAME_RATE, bitrate as u32).map_err(|_| Invalid)?, size));
        }
        let Some((encoder, _)) = &mut self.encoder else { return Err(Invalid) };
        let at = Duration::from_micros(time.max(0) as u64);
        let encoded = encoder.encode(&picture, at, self.force_key).map_err(|_| Invalid)?;
        let Some(encoded) = encoded else { return Ok(None) };
        self.force_key = false;
        AccessUnit::from_byte_stream(&encoded.unit).map(Some)
    }
}

impl std::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcoder").field("force_key", &self.force_key).finish_non_exhaustive()
    }
}
