//! Participants and pictures for the tests.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod cases;
pub mod device;
pub mod png;
pub mod studio;

use greenroom_codecs::picture::Picture;
use greenroom_composition::layout::{Participant, Size, Video};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub const HD: Size = Size::new(1280, 720);
pub const PORTRAIT: Size = Size::new(720, 1280);
pub const SQUARE: Size = Size::new(720, 720);

pub fn attributes<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A participant that plays pictures of a size.
pub fn playing<const N: usize>(id: &str, size: Size, pairs: [(&str, &str); N]) -> Participant {
    Participant { id: id.into(), attributes: attributes(pairs), audio: true, video: Video::Playing(size) }
}

/// So many participants with 720p, of which the first ones have the attribute `main`.
pub fn crowd(featured: usize, others: usize) -> Vec<Participant> {
    let one = |at: usize| {
        let value = if at < featured { "true" } else { "false" };
        playing(&format!("p{at}"), HD, [("main", value)])
    };
    (0..featured + others).map(one).collect()
}

/// A picture of one colour, in limited range.
pub fn plain(width: usize, height: usize, [y, u, v]: [u8; 3]) -> Picture {
    let chroma = width.div_ceil(2) * height.div_ceil(2);
    Picture::new(width, height, [vec![y; width * height], vec![u; chroma], vec![v; chroma]]).unwrap()
}

/// The value of a smooth pattern at a position from 0 to 1 in both directions, for a plane.
pub fn pattern(plane: usize, x: f64, y: f64) -> f64 {
    match plane {
        0 => 40.0 + 150.0 * x + 40.0 * y,
        1 => 60.0 + 130.0 * y,
        _ => 190.0 - 120.0 * x,
    }
}

/// A picture of the pattern.
pub fn gradient(width: usize, height: usize) -> Picture {
    let plane = |at: usize, width: usize, height: usize| {
        let center = |at: usize, length: usize| (at as f64 + 0.5) / length as f64;
        let sample = |x: usize, y: usize| pattern(at, center(x, width), center(y, height)).round() as u8;
        (0..height).flat_map(|y| (0..width).map(move |x| sample(x, y))).collect::<Vec<_>>()
    };
    let (wide, high) = (width.div_ceil(2), height.div_ceil(2));
    Picture::new(width, height, [plane(0, width, height), plane(1, wide, high), plane(2, wide, high)]).unwrap()
}

/// A plane of a picture with its width.
pub fn plane(picture: &Picture, at: usize) -> (&[u8], usize) {
    match at {
        0 => (picture.y(), picture.width()),
        1 => (picture.u(), picture.chroma_width()),
        _ => (picture.v(), picture.chroma_width()),
    }
}

/// Luma and chroma of the pixel at a position.
pub fn pixel(picture: &Picture, x: usize, y: usize) -> [u8; 3] {
    let chroma = y / 2 * picture.chroma_width() + x / 2;
    [picture.y()[y * picture.width() + x], picture.u()[chroma], picture.v()[chroma]]
}

/// A picture for people: a colour by number, a frame at its edge, a circle, and as many dots as its number. Kept, as many tests of
/// a file need the same ones.
pub fn card(number: usize, width: usize, height: usize) -> Arc<Picture> {
    static CARDS: Mutex<BTreeMap<[usize; 3], Arc<Picture>>> = Mutex::new(BTreeMap::new());
    let mut cards = CARDS.lock().unwrap();
    cards.entry([number, width, height]).or_insert_with(|| Arc::new(draw_card(number, width, height))).clone()
}

fn draw_card(number: usize, width: usize, height: usize) -> Picture {
    let (wide, high) = (width as f64, height as f64);
    let angle = number as f64 * 2.4;
    let [u, v] = [angle.cos(), angle.sin()].map(|side| (128.0 + 45.0 * side) as u8);
    let unit = wide.min(high);
    let frame = unit * 0.03;
    let luma = |x: f64, y: f64| {
        let (across, down) = (x - wide / 2.0, y - high / 2.0);
        let dot = |at: usize| {
            let (column, row) = ((at % 4) as f64 - 1.5, (at / 4) as f64 - 1.0);
            (across - column * unit * 0.12).hypot(down - row * unit * 0.12) < unit * 0.04
        };
        let edge = x < frame || y < frame || x > wide - frame || y > high - frame;
        let circle = (across.hypot(down) - unit * 0.36).abs() < frame / 2.0;
        if edge || circle || (0..number).any(dot) { 220 } else { 100 }
    };
    let luma = (0..height).flat_map(|y| (0..width).map(move |x| luma(x as f64 + 0.5, y as f64 + 0.5))).collect();
    let chroma = width.div_ceil(2) * height.div_ceil(2);
    Picture::new(width, height, [luma, vec![u; chroma], vec![v; chroma]]).unwrap()
}
