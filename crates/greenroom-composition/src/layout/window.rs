//! The window of picture in picture.

use super::geometry::even;
use super::{PipLayout, PipPosition, Rect, Size};

/// Common aspect ratios. Those of a picture that differ by less than [`SNAP`] are taken as such, so that the window keeps its
/// size when the participant switches between layers whose sizes were rounded.
const COMMON: [f64; 7] = [16.0 / 9.0, 4.0 / 3.0, 3.0 / 2.0, 1.0, 2.0 / 3.0, 3.0 / 4.0, 9.0 / 16.0];
const SNAP: f64 = 0.02;

/// Part of the output's pixels that a window without configured width and height has.
const AREA: f64 = 1.0 / 16.0;

/// The window for a participant with pictures of this size. Without pictures, the window has the output's orientation.
pub(super) fn place(output: Size, config: &PipLayout, picture: Option<Size>) -> Rect {
    let aspect = aspect(output, picture);
    let Size { width, height } = size(output, config, aspect);
    let across = even(config.pip_offset).min(output.width - width);
    let down = even(config.pip_offset).min(output.height - height);
    let (right, bottom) = (output.width - width - across, output.height - height - down);
    let (x, y) = match config.pip_position {
        PipPosition::TopLeft => (across, down),
        PipPosition::TopRight => (right, down),
        PipPosition::BottomLeft => (across, bottom),
        PipPosition::BottomRight => (right, bottom),
    };
    Rect { x, y, width, height }
}

fn aspect(output: Size, picture: Option<Size>) -> f64 {
    let Some(Size { width, height }) = picture.filter(|size| size.width > 0 && size.height > 0) else {
        return if output.width >= output.height { 16.0 / 9.0 } else { 9.0 / 16.0 };
    };
    let exact = width as f64 / height as f64;
    COMMON.into_iter().find(|common| (exact / common - 1.0).abs() < SNAP).unwrap_or(exact)
}

/// A side that is not configured follows from the other one and the aspect ratio. Without either, the window has a fixed part
/// of the output's pixels, but at most half of its width and height: a quarter of both where the aspect ratios are the same.
fn size(output: Size, config: &PipLayout, aspect: f64) -> Size {
    let (max_width, max_height) = (output.width as f64, output.height as f64);
    let (width, height) = match (config.pip_width, config.pip_height) {
        (Some(width), Some(height)) => (width as f64, height as f64),
        (Some(width), None) => (width as f64, width as f64 / aspect),
        (None, Some(height)) => (height as f64 * aspect, height as f64),
        (None, None) => {
            let width = (max_width * max_height * AREA * aspect).sqrt();
            let width = width.min(max_width / 2.0).min(max_height / 2.0 * aspect);
            (width, width / aspect)
        }
    };
    Size::new(side(width, output.width), side(height, output.height))
}

/// An even number of pixels within the output; the small number makes up for inexact arithmetic.
fn side(pixels: f64, max: usize) -> usize {
    even((pixels + 1e-6) as usize).clamp(2, max)
}
