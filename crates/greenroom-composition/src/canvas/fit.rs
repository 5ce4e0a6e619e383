//! Which part of a picture is drawn where in a tile.

use crate::layout::{FillMode, Rect, Size};

/// A picture is cropped by up to this part more, or has bars of up to this part, if that spares resampling: the usual layers
/// (1280x720, 640x360) are a few pixels larger than the tiles that gaps leave, and stay sharp.
const TOLERANCE: f64 = 1.02;

/// Difference of aspect ratios that is not worth bars: it comes from rounding a tile to even numbers.
const SAME_ASPECT: f64 = 1.01;

/// Part of a picture, in its luma samples; not of whole ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Crop {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Crop {
    /// The same part in a plane that has fewer samples.
    pub(super) fn shrunk(self, scale: usize) -> Crop {
        let scale = scale as f64;
        Crop { x: self.x / scale, y: self.y / scale, width: self.width / scale, height: self.height / scale }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Placement {
    /// The part of the tile with the picture; the rest of it are bars. All members are even.
    pub(super) target: Rect,
    pub(super) crop: Crop,
}

/// Fits a picture into a tile.
pub(super) fn place(source: Size, tile: Rect, fill: FillMode) -> Placement {
    let (across, down) = (source.width as f64 / tile.width as f64, source.height as f64 / tile.height as f64);
    let same_aspect = across.max(down) / across.min(down) < SAME_ASPECT;
    match fill {
        FillMode::Fill => Placement { target: tile, crop: all(source) },
        FillMode::Cover => cover(source, tile, across.min(down)),
        FillMode::Contain if same_aspect => cover(source, tile, across.min(down)),
        FillMode::Contain => contain(source, tile, across.max(down)),
    }
}

fn all(source: Size) -> Crop {
    Crop { x: 0.0, y: 0.0, width: source.width as f64, height: source.height as f64 }
}

/// The middle of the picture, reduced by a power of two if it nearly is one.
fn cover(source: Size, tile: Rect, reduction: f64) -> Placement {
    let power = reduction.max(1.0).log2().floor().exp2();
    let exact = reduction >= power && reduction < power * TOLERANCE;
    let reduction = if exact { power } else { reduction };
    let (width, height) = (tile.width as f64 * reduction, tile.height as f64 * reduction);
    let margin = |all: usize, part: f64| {
        let margin = (all as f64 - part).max(0.0) / 2.0;
        // Whole samples of both luma and chroma, after reduction too.
        if exact { (margin / (2.0 * power)).floor() * 2.0 * power } else { margin }
    };
    let crop = Crop { x: margin(source.width, width), y: margin(source.height, height), width, height };
    Placement { target: tile, crop }
}

/// The whole picture in the middle of the tile, reduced by a power of two if it nearly is one.
fn contain(source: Size, tile: Rect, reduction: f64) -> Placement {
    let power = reduction.max(1.0).log2().ceil().exp2();
    let exact = reduction <= power && power < reduction * TOLERANCE;
    let reduction = if exact { power } else { reduction };
    let side = |all: usize, max: usize| ((all as f64 / reduction / 2.0 + 1e-6).floor() as usize * 2).clamp(2, max);
    let (width, height) = (side(source.width, tile.width), side(source.height, tile.height));
    let crop = if exact {
        let (width, height) = (width as f64 * power, height as f64 * power);
        Crop { width: width.min(source.width as f64), height: height.min(source.height as f64), ..all(source) }
    } else {
        all(source)
    };
    let x = tile.x + (tile.width - width) / 4 * 2;
    let y = tile.y + (tile.height - height) / 4 * 2;
    Placement { target: Rect::new(x, y, width, height), crop }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(source: (usize, usize), tile: (usize, usize), fill: FillMode) -> (Rect, [f64; 4]) {
        let Placement { target, crop } = place(Size::new(source.0, source.1), Rect::new(0, 0, tile.0, tile.1), fill);
        (target, [crop.x, crop.y, crop.width, crop.height])
    }

    #[test]
    fn fill_modes() {
        let tile = Rect::new(0, 0, 640, 640);
        let modes = [
            (FillMode::Fill, tile, [0.0, 0.0, 1280.0, 720.0]),
            (FillMode::Cover, tile, [280.0, 0.0, 720.0, 720.0]),
            (FillMode::Contain, Rect::new(0, 140, 640, 360), [0.0, 0.0, 1280.0, 720.0]),
        ];
        for (fill, target, crop) in modes {
            assert_eq!(placed((1280, 720), (640, 640), fill), (target, crop), "{fill:?}");
        }
        assert_eq!(placed((90, 160), (320, 180), FillMode::Contain).0, Rect::new(110, 0, 100, 180));
    }

    #[test]
    fn layers_that_nearly_fit_are_cropped_to_whole_samples() {
        for (source, reduction) in [((640, 360), 1.0), ((1280, 720), 2.0)] {
            let (_, [x, y, width, height]) = placed(source, (638, 358), FillMode::Cover);
            assert_eq!([x, y, width, height], [0.0, 0.0, 638.0 * reduction, 358.0 * reduction]);
        }
        let (target, crop) = placed((640, 360), (644, 640), FillMode::Contain);
        assert_eq!((target, crop), (Rect::new(2, 140, 640, 360), [0.0, 0.0, 640.0, 360.0]));
        // Without bars of a pixel.
        assert_eq!(placed((640, 360), (638, 358), FillMode::Contain), placed((640, 360), (638, 358), FillMode::Cover));
    }

    #[test]
    fn everything_stays_inside() {
        let sides = [1, 2, 3, 16, 89, 90, 639, 640, 641, 720, 1279, 1920, 4096];
        for (width, height) in sides.iter().flat_map(|width| sides.map(|height| (*width, height))) {
            for (across, down) in [(2, 2), (2, 1080), (638, 358), (1280, 720), (90, 88)] {
                for fill in [FillMode::Fill, FillMode::Cover, FillMode::Contain] {
                    let (target, [x, y, wide, high]) = placed((width, height), (across, down), fill);
                    assert!(target.right() <= across && target.bottom() <= down && !target.is_empty());
                    assert!(
                        [target.x, target.y, target.width, target.height].iter().all(|side| side.is_multiple_of(2))
                    );
                    assert!(x >= 0.0 && y >= 0.0 && wide > 0.0 && high > 0.0);
                    assert!(x + wide <= width as f64 + 1e-6 && y + high <= height as f64 + 1e-6);
                }
            }
        }
    }
}
