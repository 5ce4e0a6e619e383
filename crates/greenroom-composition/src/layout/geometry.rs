//! Grids of equal slots, and the featured area above them.

use super::{AspectRatio, Rect, Size, whole};
use std::cmp::Reverse;

/// A gap that would make a slot narrower or lower than this is reduced: AWS sets no upper limit to it.
const MIN_SIDE: usize = 16;

/// Rectangles of the featured and of the other participants, in order.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) featured: Vec<Rect>,
    pub(super) others: Vec<Rect>,
}

impl Slots {
    /// Slots for as many participants. There are fewer only if an output of a few pixels has no space for them: first the
    /// others have none.
    pub(super) fn new(output: Size, gap: usize, aspect: AspectRatio, featured: usize, others: usize) -> Slots {
        let mut gap = gap.saturating_add(1) & !1;
        loop {
            let min_side = if gap > 0 { MIN_SIDE } else { 2 };
            if let Some(slots) = Slots::with_gap(output, gap, aspect, (featured, others), min_side) {
                return slots;
            }
            if gap == 0 {
                break;
            }
            gap = (gap / 2) & !1;
        }
        let fewer = if others > 0 { (featured, others - 1) } else { (featured.saturating_sub(1), 0) };
        Slots::new(output, 0, aspect, fewer.0, fewer.1)
    }

    fn with_gap(
        output: Size,
        gap: usize,
        aspect: AspectRatio,
        (featured, others): (usize, usize),
        min_side: usize,
    ) -> Option<Slots> {
        let area = whole(output);
        if featured == 0 || others == 0 {
            let only_featured = grid(area, gap, AspectRatio::Auto, featured, min_side)?;
            return Some(Slots { featured: only_featured, others: grid(area, gap, aspect, others, min_side)? });
        }
        // The others are shown below the featured area. In portrait, three quarters of the height would mostly be bars around a
        // landscape picture.
        let (part, of) = if is_portrait(area) { (3, 5) } else { (3, 4) };
        let upper = even(output.height.checked_sub(gap)? * part / of);
        let lower = output.height.checked_sub(upper + gap)?;
        let above = Rect { height: upper, ..area };
        let below = Rect { y: upper + gap, height: lower, ..area };
        Some(Slots {
            featured: grid(above, gap, AspectRatio::Auto, featured, min_side)?,
            others: grid(below, gap, aspect, others, min_side)?,
        })
    }
}

fn is_landscape(area: Rect) -> bool {
    area.width * 2 >= area.height * 3
}

fn is_portrait(area: Rect) -> bool {
    area.height * 2 >= area.width * 3
}

/// A way to divide an area.
#[derive(Clone, Copy, Debug)]
struct Division {
    columns: usize,
    rows: usize,
    slot: Size,
}

/// The largest equal slots that fit an area, row by row; the block and its incomplete last row are centred. `None` if no
/// division has slots of `min_side`.
fn grid(area: Rect, gap: usize, aspect: AspectRatio, count: usize, min_side: usize) -> Option<Vec<Rect>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let ratio = match aspect {
        AspectRatio::Video => (16, 9),
        AspectRatio::Square => (1, 1),
        AspectRatio::Portrait => (3, 4),
        AspectRatio::Auto if is_landscape(area) => (16, 9),
        AspectRatio::Auto if is_portrait(area) => (9, 16),
        // In an area that is nearly square, 16:9 would be strips, and 9:16 columns.
        AspectRatio::Auto => (4, 3),
    };
    let divisions = (1..=count).filter_map(|columns| divide(area, gap, ratio, count, columns));
    let best = divisions.max_by_key(|one| {
        let line = if area.width >= area.height { one.columns } else { one.rows };
        (one.slot.width * one.slot.height, Reverse(one.columns * one.rows), line)
    })?;
    let slot = if aspect == AspectRatio::Auto { cell(area, gap, best.columns, best.rows)? } else { best.slot };
    let min = min_side.min(area.width).min(area.height);
    (slot.width >= min && slot.height >= min).then(|| fill(area, gap, count, Division { slot, ..best }))
}

/// Slots of an aspect ratio in so many columns, as large as the area lets them be. Each side of the exact size is rounded down,
/// which is nearer to the aspect ratio than one side that follows from the other, rounded one.
fn divide(area: Rect, gap: usize, (across, down): (usize, usize), count: usize, columns: usize) -> Option<Division> {
    let rows = count.div_ceil(columns);
    let (width, height) = available(area, gap, columns, rows)?;
    let limited_by_width = width * rows * down <= height * columns * across;
    let slot = if limited_by_width {
        Size::new(even(width / columns), even(width * down / (columns * across)))
    } else {
        Size::new(even(height * across / (rows * down)), even(height / rows))
    };
    // Only in outputs of a few pixels does a slot have less than two of them in one direction.
    let slot = Size::new(slot.width.max(2), slot.height.max(2));
    (slot.width * columns <= width && slot.height * rows <= height).then_some(Division { columns, rows, slot })
}

/// Size of a whole cell.
fn cell(area: Rect, gap: usize, columns: usize, rows: usize) -> Option<Size> {
    let (width, height) = available(area, gap, columns, rows)?;
    Some(Size::new(even(width / columns), even(height / rows)))
}

/// Width and height without the gaps.
fn available(area: Rect, gap: usize, columns: usize, rows: usize) -> Option<(usize, usize)> {
    let width = area.width.checked_sub(gap.checked_mul(columns - 1)?)?;
    let height = area.height.checked_sub(gap.checked_mul(rows - 1)?)?;
    Some((width, height))
}

fn fill(area: Rect, gap: usize, count: usize, Division { columns, rows, slot }: Division) -> Vec<Rect> {
    let length = |slots: usize, side: usize| slots * side + (slots - 1) * gap;
    let top = area.y + even((area.height - length(rows, slot.height)) / 2);
    (0..count)
        .map(|at| {
            let (row, column) = (at / columns, at % columns);
            let in_row = columns.min(count - row * columns);
            let left = area.x + even((area.width - length(in_row, slot.width)) / 2);
            Rect {
                x: left + column * (slot.width + gap),
                y: top + row * (slot.height + gap),
                width: slot.width,
                height: slot.height,
            }
        })
        .collect()
}

/// Rounds down to an even number.
pub(super) fn even(number: usize) -> usize {
    number & !1
}
