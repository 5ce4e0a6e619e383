//! Fixtures of video, as tests/fixtures/make.py writes them.

use greenroom_codecs::picture::Picture;
use std::path::Path;

/// An access unit or frame, with its place in the order of presentation.
pub struct Unit {
    pub order: usize,
    pub data: Vec<u8>,
}

pub fn units(name: &str) -> Vec<Unit> {
    let bytes = read(&format!("{name}.packets"));
    let mut rest = &bytes[..];
    let mut units = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<6>() {
        let (data, after) = tail.split_at(u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize);
        units.push(Unit { order: usize::from(u16::from_be_bytes([head[0], head[1]])), data: data.to_vec() });
        rest = after;
    }
    assert!(units.len() > 10 && rest.is_empty());
    units
}

/// Width, height and Adler-32 of each picture, in the order of presentation.
pub fn expected(name: &str) -> Vec<[usize; 3]> {
    let text = String::from_utf8(read(&format!("{name}.txt"))).unwrap();
    let numbers = |line: &str| line.split(' ').map(|number| number.parse().unwrap()).collect::<Vec<usize>>();
    text.lines().map(|line| numbers(line).try_into().unwrap()).collect()
}

fn read(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn summary(picture: &Picture) -> [usize; 3] {
    let (mut low, mut high) = (1u32, 0u32);
    for sample in picture.y().iter().chain(picture.u()).chain(picture.v()) {
        low = (low + u32::from(*sample)) % 65_521;
        high = (high + low) % 65_521;
    }
    [picture.width(), picture.height(), (high << 16 | low) as usize]
}

/// Deterministic pseudo-random numbers.
pub struct Random(pub u32);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % bound
    }

    /// Data that are cut off, have a wrong bit, or are overwritten from some byte on.
    pub fn damaged(&mut self, data: &[u8]) -> Vec<u8> {
        let mut damaged = data.to_vec();
        let from = self.below(damaged.len());
        match self.below(3) {
            0 => damaged.truncate(from),
            1 => damaged[from] ^= 1 << self.below(8),
            _ => damaged[from..].fill(0xff),
        }
        damaged
    }
}
