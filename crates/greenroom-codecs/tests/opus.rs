//! The Opus decoder against FFmpeg's libopus, on packets of every mode (tests/fixtures/make.py).

#[path = "support/audio.rs"]
mod support_audio;

use greenroom_codecs::opus::{MAX_PACKET_SAMPLES, OpusDecoder, OpusEncoder, packet_samples};
use support_audio::{difference, packets, projections};

/// RMS difference that is allowed, in units of the 16-bit samples: the fixtures' decoder calculates with floating point, ours with
/// fixed point.
const MAX_RMS_DIFFERENCE: f64 = 4.0;

fn decode(channels: usize, packets: &[Vec<u8>]) -> Vec<i16> {
    let mut decoder = OpusDecoder::new(channels).unwrap();
    let mut pcm = Vec::new();
    for packet in packets {
        let before = pcm.len();
        let samples = decoder.decode(packet, &mut pcm).unwrap();
        assert_eq!(samples, packet_samples(packet).unwrap() as usize);
        assert_eq!(pcm.len() - before, samples * channels);
    }
    pcm
}

fn assert_like_libopus(name: &str) {
    let difference = difference(&format!("opus/{name}"), &decode(2, &packets(&format!("opus/{name}"))));
    assert!(difference < MAX_RMS_DIFFERENCE, "{name}: {difference}");
}

#[test]
fn silk_is_decoded_as_by_libopus() {
    assert_like_libopus("silk-narrowband-60ms");
    assert_like_libopus("silk-mediumband-40ms");
    assert_like_libopus("silk-wideband-20ms-fec");
    assert_like_libopus("silk-wideband-20ms-pause");
}

#[test]
fn hybrid_is_decoded_as_by_libopus() {
    assert_like_libopus("hybrid-superwideband-20ms");
    assert_like_libopus("hybrid-fullband-10ms");
}

#[test]
fn celt_is_decoded_as_by_libopus() {
    assert_like_libopus("celt-fullband-120ms");
    assert_like_libopus("celt-fullband-20ms");
    assert_like_libopus("celt-fullband-5ms");
    assert_like_libopus("celt-fullband-2.5ms");
    assert_like_libopus("celt-superwideband-10ms-cbr");
}

#[test]
fn the_comparison_finds_a_small_difference() {
    let pcm = decode(2, &packets("opus/celt-fullband-20ms"));
    let mut noisy = pcm.clone();
    for (at, sample) in noisy.iter_mut().enumerate() {
        *sample = sample.saturating_add([10, -10][at / 3 % 2]);
    }
    let pairs = projections(&pcm).into_iter().flatten().zip(projections(&noisy).into_iter().flatten());
    let energy: f64 = pairs.map(|(a, b)| ((a - b) as f64).powi(2) / 4.0).sum();
    assert!((energy / pcm.len() as f64).sqrt() > MAX_RMS_DIFFERENCE);
}

#[test]
fn stereo_is_mixed_to_mono() {
    let stereo = decode(2, &packets("opus/celt-fullband-20ms"));
    let mono = decode(1, &packets("opus/celt-fullband-20ms"));
    assert_eq!(mono.len() * 2, stereo.len());
    // The decoder mixes the spectra, before filters that are not linear: not exactly the mean.
    let mean = |frame: &[i16]| (f64::from(frame[0]) + f64::from(frame[1])) / 2.0;
    let energy: f64 = stereo.chunks(2).map(|frame| mean(frame).powi(2)).sum();
    let difference: f64 =
        stereo.chunks(2).zip(&mono).map(|(frame, &mono)| (mean(frame) - f64::from(mono)).powi(2)).sum();
    assert!(10.0 * (energy / difference).log10() > 15.0, "{difference} of {energy}");
}

#[test]
fn every_configuration_has_its_duration() {
    let tenths: [[u32; 4]; 3] = [[100, 200, 400, 600], [100, 200, 100, 200], [25, 50, 100, 200]];
    for config in 0..32u8 {
        let row = if config < 12 { 0 } else { usize::from(config >= 16) + 1 };
        let samples = tenths[row][usize::from(config & 3)] * 48 / 10;
        assert_eq!(packet_samples(&[config << 3]), Some(samples));
        assert_eq!(packet_samples(&[config << 3 | 1, 0, 0]), Some(2 * samples));
        assert_eq!(packet_samples(&[config << 3 | 2, 0]), Some(2 * samples));
        for count in 0..64u8 {
            let expected = Some(samples * u32::from(count)).filter(|all| (1..=5_760).contains(all));
            assert_eq!(packet_samples(&[config << 3 | 3, 0xc0 | count]), expected);
        }
        assert_eq!(packet_samples(&[config << 3 | 3]), None);
    }
    assert_eq!(packet_samples(&[]), None);
}

#[test]
fn empty_and_short_packets_last_as_long_as_they_say() {
    let mut decoder = OpusDecoder::new(2).unwrap();
    let mut pcm = Vec::new();
    assert_eq!(decoder.decode(&[], &mut pcm), Ok(960));
    decoder.decode(&packets("opus/celt-fullband-5ms")[0], &mut pcm).unwrap();
    pcm.clear();
    assert_eq!(decoder.decode(&[], &mut pcm), Ok(240));
    for config in 0..32u8 {
        let expected = packet_samples(&[config << 3]).unwrap() as usize;
        assert_eq!(decoder.decode(&[config << 3], &mut pcm), Ok(expected), "{config}");
        assert_eq!(decoder.decode(&[config << 3 | 4, 0], &mut pcm), Ok(expected), "{config}");
        assert_eq!(decoder.decode(&[config << 3 | 1], &mut pcm), Ok(2 * expected), "{config}");
    }
}

#[test]
fn invalid_packets_are_errors_and_append_nothing() {
    let mut decoder = OpusDecoder::new(2).unwrap();
    let mut pcm = vec![7; 3];
    // Code 1 with an odd length, code 2 with a length beyond the packet, code 3 with no or too many frames or too much padding.
    let odd = [1, 2, 3, 4];
    for invalid in [&odd[..], &[2, 200, 1], &[3], &[3, 0], &[0xe3, 63, 1], &[3, 0x41, 250, 1], &[11, 7, 1]] {
        let error = decoder.decode(invalid, &mut pcm).unwrap_err();
        assert_eq!(error.reason(), "invalid_data", "{invalid:?}");
        assert_eq!(pcm, [7; 3]);
    }
    assert!(OpusDecoder::new(0).is_err() && OpusDecoder::new(3).is_err());
    assert_eq!(decoder.decode(&packets("opus/celt-fullband-20ms")[0], &mut pcm), Ok(960));
}

#[test]
fn gaps_are_concealed_at_any_length_and_fade_to_silence() {
    let packets = packets("opus/celt-fullband-20ms");
    for samples in [0, 1, 119, 120, 121, 960, 1_000, MAX_PACKET_SAMPLES + 1, 100_000] {
        let mut decoder = OpusDecoder::new(2).unwrap();
        let mut pcm = Vec::new();
        for packet in &packets[..20] {
            decoder.decode(packet, &mut pcm).unwrap();
        }
        let level = |part: &[i16]| part.iter().map(|sample| i64::from(sample.abs())).max().unwrap_or(0);
        let before = level(&pcm[pcm.len() - 960..]);
        let start = pcm.len();
        decoder.conceal(samples, &mut pcm).unwrap();
        assert_eq!(pcm.len() - start, samples * 2);
        let head = &pcm[start..start + samples.min(960) * 2];
        assert!(samples < 960 || level(head) > before / 4, "the gap of {samples} begins with sound");
        assert!(samples < 100_000 || level(&pcm[start + 96_000..]) < 10, "a long gap ends silent");
        assert_eq!(decoder.decode(&packets[20], &mut pcm), Ok(960));
    }
}

#[test]
fn a_lost_packet_is_recovered_from_the_next_one() {
    let packets = packets("opus/silk-wideband-20ms-fec");
    let whole = decode(2, &packets);
    let lost = |recover: bool| {
        let mut decoder = OpusDecoder::new(2).unwrap();
        let mut pcm = Vec::new();
        for (at, packet) in packets.iter().enumerate() {
            match at % 10 {
                5 if recover => decoder.recover(&packets[at + 1], 960, &mut pcm).unwrap(),
                5 => decoder.conceal(960, &mut pcm).unwrap(),
                _ => assert_eq!(decoder.decode(packet, &mut pcm), Ok(960)),
            }
        }
        assert_eq!(pcm.len(), whole.len());
        let difference = pcm.iter().zip(&whole).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
        (difference / whole.len() as f64).sqrt()
    };
    let (recovered, concealed) = (lost(true), lost(false));
    assert!(recovered < concealed * 0.7, "rms difference {recovered:.0}, concealed {concealed:.0}");
}

#[test]
fn what_is_encoded_comes_back_after_the_delay() {
    let tone =
        |at: usize, frequency: f64| (9_000.0 * (at as f64 * frequency * std::f64::consts::TAU / 48_000.0).sin()) as i16;
    for (channels, bitrate) in [(1, 64_000), (2, 128_000)] {
        let pcm: Vec<i16> =
            (0..48_000 * channels).map(|at| tone(at / channels, [440.0, 622.0][at % channels])).collect();
        let mut encoder = OpusEncoder::new(channels, bitrate).unwrap();
        let units = pcm.chunks_exact(OpusEncoder::PACKET_SAMPLES * channels).map(|part| encoder.encode(part).unwrap());
        let units: Vec<Vec<u8>> = units.collect();
        assert!(units.iter().map(Vec::len).sum::<usize>() * 8 < bitrate as usize * 5 / 4);
        let decoded = decode(channels, &units);
        let error = |delay: usize| {
            let pairs = pcm.iter().zip(&decoded[delay * channels..]).skip(4_800 * channels);
            pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>()
        };
        let energy: f64 = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        let delay = encoder.delay_samples();
        assert!(10.0 * (energy / error(delay)).log10() > 20.0);
        assert!(error(delay) < error(delay - 2) && error(delay) < error(delay + 2));
        assert!(encoder.encode(&pcm[1..]).is_err());
    }
    assert!(OpusEncoder::new(3, 64_000).is_err() && OpusEncoder::new(1, 0).is_err());
}
