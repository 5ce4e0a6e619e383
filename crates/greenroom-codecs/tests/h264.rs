//! The H.264 decoder against FFmpeg's, and the encoder through the decoder.

mod support;

use greenroom_codecs::h264::{H264Decoder, H264Encoder, nal_units};
use greenroom_codecs::picture::Picture;
use std::time::Duration;
use support::{Random, expected, summary, units};

const FIXTURES: [&str; 6] = [
    "h264/baseline-slices",
    "h264/main-bidirectional",
    "h264/high-8x8-cabac",
    "h264/high-8x8-cavlc",
    "h264/intra-refresh",
    "h264/cropped-full-range",
];

#[test]
fn every_picture_is_decoded_as_by_ffmpeg() {
    for name in FIXTURES {
        let expected = expected(name);
        let mut decoder = H264Decoder::new();
        for unit in units(name) {
            let picture = decoder.decode(&unit.data).unwrap().unwrap();
            assert_eq!(summary(&picture), expected[unit.order], "{name}, picture {}", unit.order);
            assert_eq!(picture.full_range(), name == "h264/cropped-full-range");
        }
    }
}

#[test]
fn size_and_profile_change_at_a_key_frame() {
    let mut decoder = H264Decoder::new();
    for name in ["h264/baseline-slices", "h264/cropped-full-range", "h264/high-8x8-cavlc", "h264/baseline-slices"] {
        let expected = expected(name);
        for unit in units(name) {
            assert_eq!(summary(&decoder.decode(&unit.data).unwrap().unwrap()), expected[unit.order], "{name}");
        }
    }
}

/// Whatever is damaged, what is decoded after the next key frame is right, and until then nothing is made up.
#[test]
fn damage_is_an_error_and_the_next_key_frame_is_decoded() {
    let mut random = Random(7);
    let mut refused = 0;
    for name in FIXTURES {
        let (units, expected) = (units(name), expected(name));
        for _ in 0..12 {
            let mut decoder = H264Decoder::new();
            let at = 1 + random.below(8);
            for unit in &units[..at] {
                decoder.decode(&unit.data).unwrap();
            }
            let failed = decoder.decode(&random.damaged(&units[at].data)).is_err();
            let after = decoder.decode(&units[at + 1].data);
            if failed {
                assert_eq!(after.unwrap_err().to_string(), "invalid h264 data: waiting for a key frame after an error");
                refused += 1;
            }
            for unit in &units {
                assert_eq!(summary(&decoder.decode(&unit.data).unwrap().unwrap()), expected[unit.order], "{name}");
            }
        }
    }
    assert!(refused > 10, "{refused} damaged access units were refused");
}

#[test]
fn what_follows_a_loss_waits_for_a_key_frame() {
    let units = units("h264/baseline-slices");
    let mut decoder = H264Decoder::new();
    assert_eq!(
        decoder.decode(&units[1].data).unwrap_err().to_string(),
        "invalid h264 data: slice without parameter sets"
    );
    decoder.decode(&units[0].data).unwrap();
    decoder.lost();
    assert_eq!(decoder.decode(&units[1].data).unwrap_err().reason(), "invalid_data");
    assert!(decoder.decode(&units[0].data).unwrap().is_some());
    assert!(decoder.decode(&units[1].data).unwrap().is_some());
    assert_eq!(decoder.decode(&[]), Ok(None));
    assert_eq!(decoder.decode(&vec![0; 9_000_000]).unwrap_err().reason(), "limit_exceeded");
}

/// Peak signal-to-noise ratio of the luma, in dB.
fn psnr(left: &Picture, right: &Picture) -> f64 {
    assert_eq!((left.width(), left.height()), (right.width(), right.height()));
    let error = left.y().iter().zip(right.y()).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
    10.0 * (255.0 * 255.0 * left.y().len() as f64 / error.max(1e-9)).log10()
}

/// A moving gradient with an edge.
fn source(width: usize, height: usize, at: usize) -> Picture {
    let plane = |width: usize, height: usize, step: usize| -> Vec<u8> {
        let sample =
            move |x: usize, y: usize| 40 + ((x * 3 + y * 2 + at * step) % 128) as u8 + if x > y { 60 } else { 0 };
        (0..height).flat_map(|y| (0..width).map(move |x| sample(x, y))).collect()
    };
    let chroma = |step| plane(width.div_ceil(2), height.div_ceil(2), step);
    Picture::new(width, height, [plane(width, height, 2), chroma(1), chroma(3)]).unwrap()
}

#[test]
fn what_is_encoded_is_decoded_again() {
    let mut encoder = H264Encoder::new(30.0, 1_500_000).unwrap();
    let mut decoder = H264Decoder::new();
    for at in 0..30 {
        let picture = source(320, 180, at);
        let encoded = encoder.encode(&picture, Duration::from_millis(at as u64 * 33), at == 20).unwrap().unwrap();
        assert_eq!(encoded.key_frame, at == 0 || at == 20);
        let kinds: Vec<u8> = nal_units(&encoded.unit).map(|nal| nal[0] & 0x1f).collect();
        assert_eq!(kinds, if encoded.key_frame { vec![7, 8, 5] } else { vec![1] });
        let decoded = decoder.decode(&encoded.unit).unwrap().unwrap();
        assert!(psnr(&picture, &decoded) > 30.0, "picture {at}: {}", psnr(&picture, &decoded));
    }
}

#[test]
fn any_size_is_encoded_and_may_change() {
    let mut encoder = H264Encoder::new(30.0, 1_000_000).unwrap();
    let mut decoder = H264Decoder::new();
    let mut times = (0..).map(|at| Duration::from_millis(33 * at));
    for (width, height) in [(16, 16), (2, 2), (1, 1), (18, 34), (33, 17), (160, 90), (90, 160), (1_920, 1_080)] {
        for force in [false, false, true] {
            let picture = source(width, height, 1);
            let Some(encoded) = encoder.encode(&picture, times.next().unwrap(), force).unwrap() else {
                assert!(!force, "a key frame is never skipped");
                continue;
            };
            assert!(encoded.key_frame || !force);
            let decoded = decoder.decode(&encoded.unit).unwrap().unwrap();
            let even = |side: usize| side.max(16).next_multiple_of(2);
            assert_eq!((decoded.width(), decoded.height()), (even(width), even(height)));
        }
    }
    let large = Picture::black(4_096, 2_304).unwrap();
    assert_eq!(encoder.encode(&large, times.next().unwrap(), false).unwrap_err().reason(), "limit_exceeded");
    assert!(
        H264Encoder::new(0.0, 1_000_000).is_err()
            && H264Encoder::new(30.0, 0).is_err()
            && H264Encoder::new(f32::NAN, 1_000_000).is_err()
    );
}

#[test]
fn the_bitrate_is_kept() {
    let (rate, _) = encode_noise(H264Encoder::new(30.0, 400_000).unwrap());
    assert!((200_000..700_000).contains(&rate), "{rate} bit/s");
}

#[test]
fn without_skips_every_picture_is_encoded_and_the_bitrate_is_kept_as_far_as_possible() {
    let (rate, pictures) = encode_noise(H264Encoder::without_skips(30.0, 400_000).unwrap());
    assert_eq!(pictures, 150);
    assert!((200_000..800_000).contains(&rate), "{rate} bit/s");
}

/// Encodes 5 s of noise, and returns the bitrate and the number of encoded pictures.
fn encode_noise(mut encoder: H264Encoder) -> (usize, usize) {
    let mut random = Random(3);
    let (mut bytes, mut pictures) = (0, 0);
    for at in 0..150u64 {
        let mut noise = |count: usize| (0..count).map(|_| 100 + random.below(40) as u8).collect::<Vec<_>>();
        let picture = Picture::new(320, 240, [noise(320 * 240), noise(160 * 120), noise(160 * 120)]).unwrap();
        let encoded = encoder.encode(&picture, Duration::from_millis(at * 1_000 / 30), false).unwrap();
        pictures += usize::from(encoded.is_some());
        bytes += encoded.map_or(0, |encoded| encoded.unit.len());
    }
    (bytes * 8 / 5, pictures)
}
