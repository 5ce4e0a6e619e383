//! JPEG (JFIF), by the library jpeg-encoder.

use crate::{CodecError, error::guarded, picture::Picture};
use jpeg_encoder::{Encoder, ImageBuffer, JpegColorType, SamplingFactor};

const CODEC: &str = "jpeg";

/// Encodes a picture, with 4:2:0; `quality` is 1 to 100. JFIF has samples of full range: those of limited range are converted.
pub fn encode(picture: &Picture, quality: u8) -> Result<Vec<u8>, CodecError> {
    let image = Image { picture, luma: range(picture, 16, 219), chroma: range(picture, 128, 224) };
    let mut out = Vec::new();
    let result = guarded(CODEC, || {
        let mut encoder = Encoder::new(&mut out, quality.clamp(1, 100));
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        encoder.encode_image(image)
    });
    result?.map_err(|error| CodecError::library(CODEC, error))?;
    Ok(out)
}

/// Table from the samples of a plane to those of full range: `zero` is kept for chroma and becomes 0 for luma.
fn range(picture: &Picture, zero: i32, steps: i32) -> [u8; 256] {
    std::array::from_fn(|sample| {
        let sample = sample as i32;
        let origin = if zero == 128 { 128 } else { 0 };
        let wide = (sample - zero) * 255;
        let rounded = (wide + wide.signum() * steps / 2) / steps + origin;
        if picture.full_range() { sample as u8 } else { rounded.clamp(0, 255) as u8 }
    })
}

struct Image<'a> {
    picture: &'a Picture,
    luma: [u8; 256],
    chroma: [u8; 256],
}

impl ImageBuffer for Image<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.picture.width() as u16
    }

    fn height(&self) -> u16 {
        self.picture.height() as u16
    }

    /// Repeats the chroma samples; the encoder takes means of two by two, which are the samples again.
    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let (row, width, chroma) = (usize::from(y), self.picture.width(), self.picture.chroma_width());
        let luma = &self.picture.y()[row * width..][..width];
        buffers[0].extend(luma.iter().map(|sample| self.luma[usize::from(*sample)]));
        for (plane, buffer) in [self.picture.u(), self.picture.v()].into_iter().zip(&mut buffers[1..3]) {
            let samples = &plane[row / 2 * chroma..][..chroma];
            let twice =
                samples.iter().map(|sample| self.chroma[usize::from(*sample)]).flat_map(|sample| [sample, sample]);
            buffer.extend(twice.take(width));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limited_range_is_converted() {
        let picture = Picture::black(2, 2).unwrap();
        let luma = range(&picture, 16, 219);
        assert_eq!([0, 15, 16, 17, 126, 235, 255].map(|sample: usize| luma[sample]), [0, 0, 0, 1, 128, 255, 255]);
        let chroma = range(&picture, 128, 224);
        assert_eq!(
            [0, 16, 127, 128, 129, 240, 255].map(|sample: usize| chroma[sample]),
            [0, 0, 127, 128, 129, 255, 255]
        );
        let full = range(&picture.with_full_range(true), 16, 219);
        assert!((0..256).all(|sample| full[sample] == sample as u8));
    }
}
