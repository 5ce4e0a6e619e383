//! Decoded pictures.

use crate::CodecError;

/// Longest side of a picture, in pixels: more than level 5.2 of H.264 allows.
pub const MAX_SIDE: usize = 4_096;

/// Most pixels of a picture: 4096 by 2304, the largest frame of level 5.2 of H.264.
pub const MAX_PIXELS: usize = 4_096 * 2_304;

/// An 8-bit picture in planes of 4:2:0 (I420). The planes are packed: a row of `y` has `width` samples, one of `u` and `v` half
/// as many, rounded up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    /// Samples are 0 to 255 (full range) instead of 16 to 235 and 240 (limited range).
    full_range: bool,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

/// Returns an error unless a picture of this size is within [`MAX_SIDE`] and [`MAX_PIXELS`], and not empty.
pub fn check_size(width: usize, height: usize) -> Result<(), CodecError> {
    if width == 0 || height == 0 {
        return Err(CodecError::invalid("picture", "no width or no height"));
    }
    if width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS {
        return Err(CodecError::LimitExceeded { codec: "picture", limit: "4096 by 2304 pixels" });
    }
    Ok(())
}

impl Picture {
    /// A picture of these planes; an error if their lengths do not fit the size, or the size is outside of the limits.
    pub fn new(width: usize, height: usize, planes: [Vec<u8>; 3]) -> Result<Picture, CodecError> {
        check_size(width, height)?;
        let [y, u, v] = planes;
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        if y.len() != width * height || u.len() != chroma || v.len() != chroma {
            return Err(CodecError::library("picture", "planes of another size"));
        }
        Ok(Picture { width, height, full_range: false, y, u, v })
    }

    /// A black picture.
    pub fn black(width: usize, height: usize) -> Result<Picture, CodecError> {
        check_size(width, height)?;
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        Picture::new(width, height, [vec![16; width * height], vec![128; chroma], vec![128; chroma]])
    }

    /// Says whether the samples are of full range.
    pub fn with_full_range(mut self, full_range: bool) -> Picture {
        self.full_range = full_range;
        self
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Width of a row of `u` and `v`, in samples.
    pub fn chroma_width(&self) -> usize {
        self.width.div_ceil(2)
    }

    /// Whether the samples are of full range.
    pub fn full_range(&self) -> bool {
        self.full_range
    }

    /// The luma plane.
    pub fn y(&self) -> &[u8] {
        &self.y
    }

    /// The plane of blue-difference chroma.
    pub fn u(&self) -> &[u8] {
        &self.u
    }

    /// The plane of red-difference chroma.
    pub fn v(&self) -> &[u8] {
        &self.v
    }

    /// The planes of luma and of blue- and red-difference chroma, to draw into.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        [&mut self.y, &mut self.u, &mut self.v]
    }

    /// The picture turned clockwise by so many quarter turns.
    pub fn turned(self, quarters: u8) -> Picture {
        let quarters = quarters & 3;
        if quarters == 0 {
            return self;
        }
        let chroma = self.chroma_width();
        let (width, height) = if quarters == 2 { (self.width, self.height) } else { (self.height, self.width) };
        Picture {
            width,
            height,
            full_range: self.full_range,
            y: turn(&self.y, self.width, quarters),
            u: turn(&self.u, chroma, quarters),
            v: turn(&self.v, chroma, quarters),
        }
    }

    /// The picture without `left` columns and `top` rows, which are rounded down to even numbers.
    pub(crate) fn without_margin(self, left: usize, top: usize) -> Result<Picture, CodecError> {
        let (left, top) = (left & !1, top & !1);
        if left == 0 && top == 0 {
            return Ok(self);
        }
        if left >= self.width || top >= self.height {
            return Err(CodecError::invalid("picture", "cropped to nothing"));
        }
        let chroma = self.chroma_width();
        let planes = [
            remove_margin(&self.y, self.width, left, top),
            remove_margin(&self.u, chroma, left / 2, top / 2),
            remove_margin(&self.v, chroma, left / 2, top / 2),
        ];
        let picture = Picture::new(self.width - left, self.height - top, planes)?;
        Ok(picture.with_full_range(self.full_range))
    }

    /// The picture with its last column and row repeated until it has this size, which is even.
    pub(crate) fn padded(&self, width: usize, height: usize) -> Result<Picture, CodecError> {
        let planes = [
            pad(&self.y, self.width, (width, height)),
            pad(&self.u, self.chroma_width(), (width / 2, height / 2)),
            pad(&self.v, self.chroma_width(), (width / 2, height / 2)),
        ];
        Ok(Picture::new(width, height, planes)?.with_full_range(self.full_range))
    }
}

/// A plane turned clockwise by one to three quarter turns.
fn turn(plane: &[u8], width: usize, quarters: u8) -> Vec<u8> {
    let column = |left: usize| plane[left..].iter().step_by(width).copied();
    match quarters {
        1 => (0..width).flat_map(|left| column(left).rev()).collect(),
        2 => plane.iter().rev().copied().collect(),
        _ => (0..width).rev().flat_map(column).collect(),
    }
}

fn remove_margin(plane: &[u8], width: usize, left: usize, top: usize) -> Vec<u8> {
    plane.chunks_exact(width).skip(top).flat_map(|row| &row[left..]).copied().collect()
}

fn pad(plane: &[u8], from_width: usize, (width, height): (usize, usize)) -> Vec<u8> {
    let mut out = Vec::with_capacity(width * height);
    for row in plane.chunks_exact(from_width).take(height) {
        out.extend_from_slice(&row[..from_width.min(width)]);
        let last = *out.last().unwrap_or(&0);
        out.resize(out.len().next_multiple_of(width), last);
    }
    while out.len() < width * height {
        out.extend_from_within(out.len() - width..);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: usize, height: usize) -> Picture {
        let plane = |width: usize, height: usize| (0..width * height).map(|at| (at % 251) as u8).collect::<Vec<_>>();
        let chroma = || plane(width.div_ceil(2), height.div_ceil(2));
        Picture::new(width, height, [plane(width, height), chroma(), chroma()]).unwrap()
    }

    #[test]
    fn sizes_are_limited() {
        assert!(check_size(4_096, 2_304).is_ok() && check_size(2_304, 4_096).is_ok() && check_size(1, 1).is_ok());
        for (width, height) in [(4_096, 2_305), (4_097, 2), (2, 4_097), (usize::MAX, 2)] {
            assert_eq!(check_size(width, height).unwrap_err().reason(), "limit_exceeded");
        }
        assert_eq!(check_size(0, 7).unwrap_err().reason(), "invalid_data");
        assert!(Picture::new(3, 3, [vec![0; 9], vec![0; 4], vec![0; 4]]).is_ok());
        assert!(Picture::new(3, 3, [vec![0; 9], vec![0; 4], vec![0; 1]]).is_err());
    }

    #[test]
    fn a_picture_is_turned_clockwise() {
        let picture = Picture::new(3, 2, [vec![1, 2, 3, 4, 5, 6], vec![7, 8], vec![9, 10]]).unwrap();
        let planes = |quarters| {
            let turned = picture.clone().with_full_range(true).turned(quarters);
            assert!(turned.full_range());
            (turned.width(), turned.height(), turned.y().to_vec(), turned.u().to_vec(), turned.v().to_vec())
        };
        assert_eq!(planes(0), (3, 2, vec![1, 2, 3, 4, 5, 6], vec![7, 8], vec![9, 10]));
        assert_eq!(planes(1), (2, 3, vec![4, 1, 5, 2, 6, 3], vec![7, 8], vec![9, 10]));
        assert_eq!(planes(2), (3, 2, vec![6, 5, 4, 3, 2, 1], vec![8, 7], vec![10, 9]));
        assert_eq!(planes(3), (2, 3, vec![3, 6, 2, 5, 1, 4], vec![8, 7], vec![10, 9]));
        assert_eq!(planes(4), planes(0));
        let odd = gradient(5, 7);
        assert_eq!((0..4).fold(odd.clone(), |picture, _| picture.turned(1)), odd);
    }

    #[test]
    fn margins_are_removed_and_added() {
        let picture = gradient(7, 5);
        let cropped = picture.clone().without_margin(2, 3).unwrap();
        assert_eq!((cropped.width(), cropped.height(), cropped.chroma_width()), (5, 3, 3));
        assert_eq!(cropped.y()[..5], picture.y()[2 * 7 + 2..3 * 7]);
        assert_eq!(cropped.u()[..3], picture.u()[4 + 1..8]);
        assert!(picture.clone().without_margin(8, 0).is_err());
        let padded = picture.padded(8, 6).unwrap();
        assert_eq!(padded.y()[..7], picture.y()[..7]);
        assert_eq!(padded.y()[7], picture.y()[6]);
        assert_eq!(padded.y()[5 * 8..], padded.y()[4 * 8..5 * 8]);
    }
}
