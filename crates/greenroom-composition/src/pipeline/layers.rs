//! Which layer of a participant fits its tile.

use crate::layout::{FillMode, Size, Tile};

/// A layer may be this much larger than the tile: the next smaller one could be half as large.
const ROOM: f64 = 1.5;
/// Under load a layer is at most this large.
const LESS: f64 = 0.75;
/// Heights are multiples of this, so that a slightly different picture is no new wish.
const STEP: f64 = 16.0;
/// Assumed before the first picture.
const USUAL: Size = Size::new(16, 9);

/// Most pixels of the shorter side of a participant's pictures.
pub(super) fn max_height(tile: &Tile, picture: Option<Size>, is_degraded: bool) -> u32 {
    let picture = picture.filter(|size| size.width > 0 && size.height > 0).unwrap_or(USUAL);
    let across = tile.rect.width as f64 / picture.width as f64;
    let down = tile.rect.height as f64 / picture.height as f64;
    let scale = if tile.fill == FillMode::Contain { across.min(down) } else { across.max(down) };
    let shorter = picture.width.min(picture.height) as f64 * scale;
    let height = shorter * if is_degraded { LESS } else { ROOM };
    ((height / STEP).ceil().max(1.0) * STEP) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Content, Rect, Slot};

    fn tile(width: usize, height: usize, fill: FillMode) -> Tile {
        let rect = Rect::new(0, 0, width, height);
        Tile { participant: "a".into(), rect, fill, content: Content::Picture, slot: Slot::Grid, z: 0 }
    }

    #[test]
    fn the_shorter_side_follows_from_tile_and_fill_mode() {
        let (landscape, portrait) = (Some(Size::new(1_280, 720)), Some(Size::new(720, 1_280)));
        let whole = tile(640, 360, FillMode::Cover);
        assert_eq!(max_height(&whole, None, false), 544);
        assert_eq!(max_height(&whole, landscape, false), 544);
        assert_eq!(max_height(&whole, landscape, true), 272);
        assert_eq!(max_height(&whole, portrait, false), 960);
        assert_eq!(max_height(&tile(640, 360, FillMode::Contain), portrait, false), 304);
        assert_eq!(max_height(&tile(2, 2, FillMode::Fill), landscape, true), 16);
    }
}
