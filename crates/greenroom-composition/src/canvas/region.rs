//! Arithmetic of rectangles.

use crate::layout::Rect;

/// The common part, if there is one.
pub(super) fn intersect(one: Rect, other: Rect) -> Option<Rect> {
    let (x, y) = (one.x.max(other.x), one.y.max(other.y));
    let (right, bottom) = (one.right().min(other.right()), one.bottom().min(other.bottom()));
    (x < right && y < bottom).then(|| Rect::new(x, y, right - x, bottom - y))
}

/// The part of a rectangle outside of a hole: at most four rectangles that do not overlap.
pub(super) fn subtract(from: Rect, hole: Rect) -> Vec<Rect> {
    let Some(hole) = intersect(from, hole) else { return vec![from] };
    let above = Rect { height: hole.y - from.y, ..from };
    let below = Rect { y: hole.bottom(), height: from.bottom() - hole.bottom(), ..from };
    let left = Rect { width: hole.x - from.x, x: from.x, ..hole };
    let right = Rect { x: hole.right(), width: from.right() - hole.right(), ..hole };
    [above, below, left, right].into_iter().filter(|part| !part.is_empty()).collect()
}

/// A rectangle with even members in the samples of a plane that has fewer of them.
pub(super) fn shrink(rect: Rect, scale: usize) -> Rect {
    Rect::new(rect.x / scale, rect.y / scale, rect.width / scale, rect.height / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_leaves_the_rest() {
        let from = Rect::new(10, 10, 20, 20);
        let holes =
            [Rect::new(14, 14, 4, 4), Rect::new(0, 0, 15, 12), Rect::new(25, 5, 40, 40), Rect::new(12, 0, 2, 90), from];
        for hole in holes {
            let parts = subtract(from, hole);
            for (x, y) in (0..40).flat_map(|x| (0..40).map(move |y| (x, y))) {
                let pixel = Rect::new(x, y, 1, 1);
                let covered = parts.iter().filter(|part| part.overlaps(pixel)).count();
                assert_eq!(covered, usize::from(from.overlaps(pixel) && !hole.overlaps(pixel)), "{hole:?} {x} {y}");
            }
        }
        assert_eq!(subtract(from, Rect::new(30, 10, 5, 5)), [from]);
    }
}
