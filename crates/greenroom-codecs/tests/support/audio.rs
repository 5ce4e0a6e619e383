//! Fixtures of sound, as tests/fixtures/make.py writes them.

use std::path::Path;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn packets(name: &str) -> Vec<Vec<u8>> {
    let bytes = fixture(&format!("{name}.packets"));
    let mut rest = &bytes[..];
    let mut packets = Vec::new();
    while let [high, low, tail @ ..] = rest {
        let (packet, after) = tail.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        packets.push(packet.to_vec());
        rest = after;
    }
    packets
}

/// As in make.py: dot products of each 20 ms with four sequences of signs.
pub fn projections(pcm: &[i16]) -> Vec<[i64; 4]> {
    let mut state: u32 = 1;
    let mut of_block = |block: &[i16]| {
        let mut sums = [0; 4];
        for &sample in block {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            for (index, sum) in sums.iter_mut().enumerate() {
                *sum += if state >> (31 - index) & 1 == 1 { i64::from(sample) } else { -i64::from(sample) };
            }
        }
        sums
    };
    pcm.chunks(960 * 2).map(&mut of_block).collect()
}

/// RMS difference of interleaved stereo to what the fixture's decoder, of floating point, made of the packets: the square of a
/// projection of the difference is on average its energy.
pub fn difference(name: &str, pcm: &[i16]) -> f64 {
    let text = String::from_utf8(fixture(&format!("{name}.txt"))).unwrap();
    let mut numbers = text.split_whitespace().map(|number| number.parse::<i64>().unwrap());
    assert_eq!(pcm.len() / 2, numbers.next().unwrap() as usize, "{name}");
    let (mut difference, mut energy) = (0.0, 0.0);
    for projection in projections(pcm).iter().flatten() {
        let expected = numbers.next().unwrap();
        difference += ((projection - expected) as f64).powi(2) / 4.0;
        energy += (expected as f64).powi(2) / 4.0;
    }
    assert_eq!(numbers.next(), None);
    let (difference, level) = ((difference / pcm.len() as f64).sqrt(), (energy / pcm.len() as f64).sqrt());
    println!("{name}: RMS difference {difference:.2} of {level:.0}");
    assert!(level > 500.0, "{name} is not silent: {level}");
    difference
}
