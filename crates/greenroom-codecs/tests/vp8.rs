//! The VP8 decoder against libvpx.

mod support;

use greenroom_codecs::vp8::Vp8Decoder;
use support::{Random, expected, summary, units};

const FIXTURES: [&str; 3] = ["vp8/real-time", "vp8/odd-size", "vp8/partitions"];

#[test]
fn every_picture_is_decoded_as_by_libvpx_and_the_size_may_change() {
    let mut decoder = Vp8Decoder::new();
    for name in FIXTURES {
        let expected = expected(name);
        for unit in units(name) {
            let picture = decoder.decode(&unit.data).unwrap().unwrap();
            assert_eq!(summary(&picture), expected[unit.order], "{name}, picture {}", unit.order);
        }
    }
}

#[test]
fn hidden_frames_are_decoded_and_not_returned() {
    let (units, expected) = (units("vp8/real-time"), expected("vp8/real-time"));
    let mut decoder = Vp8Decoder::new();
    for unit in units {
        let mut data = unit.data;
        let hidden = unit.order % 3 == 1;
        if hidden {
            data[0] &= !0x10;
        }
        let picture = decoder.decode(&data).unwrap();
        assert_eq!(picture.as_ref().map(summary), (!hidden).then(|| expected[unit.order]));
    }
}

#[test]
fn damage_is_an_error_and_the_next_key_frame_is_decoded() {
    let mut random = Random(9);
    for name in FIXTURES {
        let (units, expected) = (units(name), expected(name));
        for _ in 0..20 {
            let mut decoder = Vp8Decoder::new();
            let at = random.below(9);
            for unit in &units[..at] {
                decoder.decode(&unit.data).unwrap();
            }
            if decoder.decode(&random.damaged(&units[at].data)).is_err() {
                assert_eq!(
                    decoder.decode(&units[at + 1].data).unwrap_err().to_string(),
                    "invalid vp8 data: waiting for a key frame"
                );
            }
            for unit in &units {
                assert_eq!(summary(&decoder.decode(&unit.data).unwrap().unwrap()), expected[unit.order], "{name}");
            }
        }
    }
}

#[test]
fn what_is_not_a_frame_is_an_error() {
    let units = units("vp8/real-time");
    let mut decoder = Vp8Decoder::new();
    assert_eq!(decoder.decode(&units[1].data).unwrap_err().to_string(), "invalid vp8 data: waiting for a key frame");
    let key = &units[0].data;
    for length in 0..10 {
        assert!(decoder.decode(&key[..length]).is_err());
    }
    let mut large = key.clone();
    large[6..10].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    assert_eq!(decoder.decode(&large).unwrap_err().reason(), "limit_exceeded");
    assert!(decoder.decode(key).unwrap().is_some());
    decoder.lost();
    assert!(decoder.decode(&units[1].data).is_err());
}
