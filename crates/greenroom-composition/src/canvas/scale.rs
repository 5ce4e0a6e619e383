//! Scaling of a plane into a rectangle: halved while it is at least twice as large, then bilinear.
//!
//! Halving averages all samples, so that large reductions do not alias. What is left is a reduction by less than two, for which
//! bilinear interpolation is enough.

use super::fit::Crop;
use crate::layout::Rect;

/// Fractions of positions are in this many steps: products fit 16 bits, which compilers vectorize well.
const STEPS: u16 = 128;

/// Difference that is due to inexact arithmetic.
const EPSILON: f64 = 1e-6;

/// From full to limited range.
pub(super) static LIMITED_LUMA: [u8; 256] = limited(219, 0, 16);
pub(super) static LIMITED_CHROMA: [u8; 256] = limited(224, 128, 128);

const fn limited(steps: i32, zero: i32, origin: i32) -> [u8; 256] {
    let mut table = [0; 256];
    let mut sample = 0;
    while sample < 256 {
        let wide = (sample as i32 - zero) * steps;
        let rounding = if wide < 0 { -127 } else { 127 };
        table[sample] = ((wide + rounding) / 255 + origin) as u8;
        sample += 1;
    }
    table
}

/// A packed plane.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    pub(super) samples: &'a [u8],
    pub(super) width: usize,
    pub(super) height: usize,
}

impl<'a> Plane<'a> {
    /// Samples of a row, which is limited to the plane; the first ones are left out.
    fn row(self, row: usize, first: usize) -> &'a [u8] {
        let start = row.min(self.height.saturating_sub(1)) * self.width;
        self.samples.get(start + first..start + self.width).unwrap_or_default()
    }
}

/// Position between two samples.
struct Tap {
    at: u32,
    /// Weight of the second sample, in [`STEPS`].
    weight: u16,
}

impl Tap {
    /// The position in a source of `count` samples for a sample of the target; `start` is where the target starts in the source, and
    /// `ratio` how much smaller it is.
    fn new(target: usize, start: f64, ratio: f64, count: usize) -> Tap {
        let last = count.saturating_sub(1);
        let position = (start + (target as f64 + 0.5) * ratio - 0.5).clamp(0.0, last as f64);
        Tap { at: position as u32, weight: (position.fract() * f64::from(STEPS)).round() as u16 }
    }
}

/// Scales planes; keeps its buffers.
#[derive(Default)]
pub(super) struct Scaler {
    halved: Vec<u8>,
    spare: Vec<u8>,
    /// Positions of the columns, and weights of their second samples.
    columns: (Vec<u32>, Vec<u16>),
    /// A row between two of the source.
    line: Vec<u8>,
    /// The two samples of each column.
    pairs: Vec<[u8; 2]>,
}

impl Scaler {
    /// Draws a part of a plane as `target` into the rows of `out`, as far as `parts` of the target show it.
    pub(super) fn draw(
        &mut self,
        source: Plane<'_>,
        mut crop: Crop,
        target: Rect,
        parts: &[Rect],
        (out, stride): (&mut [u8], usize),
    ) {
        let mut halved = std::mem::take(&mut self.halved);
        let (mut width, mut height, mut is_halved) = (source.width, source.height, false);
        loop {
            let across = crop.width + EPSILON >= 2.0 * target.width as f64;
            let down = crop.height + EPSILON >= 2.0 * target.height as f64;
            if !across && !down {
                break;
            }
            let from = if is_halved { Plane { samples: &halved, width, height } } else { source };
            (width, height) = halve(from, &mut crop, (across, down), &mut self.spare);
            std::mem::swap(&mut halved, &mut self.spare);
            is_halved = true;
        }
        let from = if is_halved { Plane { samples: &halved, width, height } } else { source };
        if !copy(from, crop, target, parts, out, stride) {
            self.interpolate(from, crop, target, parts, out, stride);
        }
        self.halved = halved;
    }

    fn interpolate(
        &mut self,
        source: Plane<'_>,
        crop: Crop,
        target: Rect,
        parts: &[Rect],
        out: &mut [u8],
        stride: usize,
    ) {
        let (across, down) = (crop.width / target.width as f64, crop.height / target.height as f64);
        let (columns, weights) = &mut self.columns;
        columns.clear();
        weights.clear();
        for Tap { at, weight } in (0..target.width).map(|at| Tap::new(at, crop.x, across, source.width)) {
            columns.push(at);
            weights.push(weight);
        }
        for part in parts {
            let range = part.x - target.x..part.right() - target.x;
            let (Some(columns), Some(weights)) = (columns.get(range.clone()), weights.get(range)) else { continue };
            let (Some(first), Some(last)) = (columns.first(), columns.last()) else { continue };
            // The line begins at the first column's sample, and ends with the sample after the last column's.
            let (start, length) = (*first as usize, (last - first) as usize + 2);
            for (row, out) in out.chunks_exact_mut(stride).enumerate().skip(part.y).take(part.height) {
                let Tap { at, weight } = Tap::new(row - target.y, crop.y, down, source.height);
                let at = at as usize;
                blend(source.row(at, start), source.row(at + 1, start), weight, length, &mut self.line);
                let Some(out) = out.get_mut(part.x..part.right()) else { continue };
                // In two steps, of which compilers vectorize the second.
                self.pairs.clear();
                self.pairs.extend(columns.iter().map(|at| pair(&self.line, (at - first) as usize)));
                for ((sample, [one, other]), weight) in out.iter_mut().zip(&self.pairs).zip(weights) {
                    *sample = mix(*one, *other, *weight);
                }
            }
        }
    }
}

/// Two samples of a line; zero outside of it.
fn pair(line: &[u8], at: usize) -> [u8; 2] {
    line.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default()
}

/// Copies the rows if no scaling is left to do.
fn copy(source: Plane<'_>, crop: Crop, target: Rect, parts: &[Rect], out: &mut [u8], stride: usize) -> bool {
    let whole = |number: f64| (number - number.round()).abs() < EPSILON;
    let same = |length: f64, target: usize| (length - target as f64).abs() < EPSILON;
    if !(whole(crop.x) && whole(crop.y) && same(crop.width, target.width) && same(crop.height, target.height)) {
        return false;
    }
    let (left, top) = (crop.x.round() as usize, crop.y.round() as usize);
    if left + target.width > source.width || top + target.height > source.height {
        return false;
    }
    for part in parts {
        for (row, out) in out.chunks_exact_mut(stride).enumerate().skip(part.y).take(part.height) {
            let from = source.row(top + row - target.y, left + part.x - target.x).get(..part.width);
            if let (Some(out), Some(from)) = (out.get_mut(part.x..part.right()), from) {
                out.copy_from_slice(from);
            }
        }
    }
    true
}

/// Halves the part of a plane that the crop needs, across or down or both, and the crop with it. Returns the size.
fn halve(source: Plane<'_>, crop: &mut Crop, (across, down): (bool, bool), out: &mut Vec<u8>) -> (usize, usize) {
    let start = |start: f64| (start + EPSILON).max(0.0) as usize & !1;
    let end = |end: f64, max: usize| (((end - EPSILON).ceil() as usize).next_multiple_of(2)).min(max);
    let (left, top) = (start(crop.x), start(crop.y));
    let (right, bottom) = (end(crop.x + crop.width, source.width), end(crop.y + crop.height, source.height));
    let (width, height) = (right.saturating_sub(left), bottom.saturating_sub(top));
    let (columns, rows) = (halved(width, across), halved(height, down));
    out.clear();
    out.resize(columns * rows, 0);
    for (row, out) in out.chunks_exact_mut(columns.max(1)).enumerate() {
        let step = if down { 2 } else { 1 };
        let one = source.row(top + row * step, left);
        let other = source.row((top + row * step + step - 1).min(bottom.saturating_sub(1)), left);
        let (one, other) = (one.get(..width).unwrap_or_default(), other.get(..width).unwrap_or_default());
        if across {
            average_pairs(one, other, out);
        } else {
            out.iter_mut()
                .zip(one)
                .zip(other)
                .for_each(|((out, one), other)| *out = average([*one, *other, *one, *other]));
        }
    }
    crop.x -= left as f64;
    crop.y -= top as f64;
    if across {
        (crop.x, crop.width) = (crop.x / 2.0, crop.width / 2.0);
    }
    if down {
        (crop.y, crop.height) = (crop.y / 2.0, crop.height / 2.0);
    }
    (columns, rows)
}

fn halved(length: usize, halves: bool) -> usize {
    if halves { length.div_ceil(2) } else { length }
}

fn average_pairs(one: &[u8], other: &[u8], out: &mut [u8]) {
    // Both samples of a pair in one number: compilers calculate with eight pairs at once.
    let sum = |pair: &[u8; 2]| {
        let pair = u16::from_le_bytes(*pair);
        (pair & 0xff) + (pair >> 8)
    };
    for ((out, one), other) in out.iter_mut().zip(one.as_chunks::<2>().0).zip(other.as_chunks::<2>().0) {
        *out = ((sum(one) + sum(other) + 2) >> 2) as u8;
    }
    if !one.len().is_multiple_of(2)
        && let (Some(out), Some(one), Some(other)) = (out.last_mut(), one.last(), other.last())
    {
        *out = average([*one, *other, *one, *other]);
    }
}

fn average(samples: [u8; 4]) -> u8 {
    (samples.into_iter().map(u16::from).sum::<u16>().wrapping_add(2) >> 2) as u8
}

fn mix(one: u8, other: u8, weight: u16) -> u8 {
    ((u16::from(one) * (STEPS - weight) + u16::from(other) * weight + STEPS / 2) / STEPS) as u8
}

/// A line of `length` samples between two rows; the last sample is repeated where the rows end.
fn blend(one: &[u8], other: &[u8], weight: u16, length: usize, line: &mut Vec<u8>) {
    let available = length.min(one.len()).min(other.len());
    line.resize(length, 0);
    let (blended, rest) = line.split_at_mut(available);
    for ((out, one), other) in blended.iter_mut().zip(one).zip(other) {
        *out = mix(*one, *other, weight);
    }
    rest.fill(blended.last().copied().unwrap_or_default());
}
