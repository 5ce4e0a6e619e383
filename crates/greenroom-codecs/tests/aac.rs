//! The AAC decoder against FFmpeg's, on streams of FFmpeg's encoder, and the encoder through the decoder.

#[path = "support/audio.rs"]
mod support_audio;

use greenroom_codecs::aac::{ACCESS_UNIT_SAMPLES, AacDecoder, AacEncoder};

/// Two different channels: tones with attacks.
fn source(channels: usize, samples: usize) -> Vec<i16> {
    let tone = |at: usize, frequency: f64| (at as f64 * frequency * std::f64::consts::TAU / 48_000.0).sin();
    let envelope = |at: usize| (-4.0 * ((at % 19_200) as f64) / 48_000.0).exp();
    let sample = |at: usize, channel: usize| {
        let value =
            0.3 * tone(at, [440.0, 554.4][channel]) * envelope(at) + 0.1 * tone(at, [2_217.0, 3_520.0][channel]);
        (value * 32_767.0) as i16
    };
    (0..samples).flat_map(|at| (0..channels).map(move |channel| sample(at, channel))).collect()
}

fn encode(encoder: &mut AacEncoder, pcm: &[i16], chunk: usize) -> Vec<Vec<u8>> {
    let mut units = Vec::new();
    for part in pcm.chunks(chunk) {
        encoder.encode(part, |unit| units.push(unit.to_vec())).unwrap();
    }
    encoder.flush(|unit| units.push(unit.to_vec())).unwrap();
    units
}

fn decode(config: &[u8], units: &[Vec<u8>]) -> Vec<i16> {
    let mut decoder = AacDecoder::new(config).unwrap();
    let mut pcm = Vec::new();
    for unit in units {
        assert_eq!(decoder.decode(unit, &mut pcm), Ok(ACCESS_UNIT_SAMPLES));
    }
    pcm
}

fn signal_to_noise(signal: &[i16], decoded: &[i16]) -> f64 {
    let energy: f64 = signal.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let noise: f64 = signal.iter().zip(decoded).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (energy / noise.max(1e-9)).log10()
}

#[test]
fn streams_of_ffmpeg_are_decoded_as_by_ffmpeg() {
    let mono = decode(&[0x11, 0x88], &support_audio::packets("aac/mono"));
    let twice: Vec<i16> = mono.iter().flat_map(|sample| [*sample, *sample]).collect();
    assert!(support_audio::difference("aac/mono", &twice) < 1.0);
    let stereo = decode(&[0x11, 0x90], &support_audio::packets("aac/stereo"));
    assert!(support_audio::difference("aac/stereo", &stereo) < 1.0);
}

#[test]
fn what_is_encoded_comes_back_after_the_delay() {
    for (channels, bitrate) in [(1, 64_000), (2, 128_000)] {
        let pcm = source(channels, 96_000);
        let mut encoder = AacEncoder::new(channels, bitrate).unwrap();
        let units = encode(&mut encoder, &pcm, 960 * channels);
        assert_eq!(units.len(), (96_000usize.div_ceil(1_024)) + 1);
        let decoded = decode(&encoder.audio_specific_config(), &units);
        let delay = encoder.delay_samples() * channels;
        let best = signal_to_noise(&pcm, &decoded[delay..]);
        assert!(best > 25.0, "{channels} channels: {best:.1} dB");
        for shifted in [delay - channels, delay + channels] {
            assert!(signal_to_noise(&pcm, &decoded[shifted..]) < best - 3.0, "the delay is exact");
        }
        let rate = units.iter().map(Vec::len).sum::<usize>() * 8 / 2;
        assert!((bitrate as usize * 9 / 10..bitrate as usize * 11 / 10).contains(&rate), "{rate} bit/s");
    }
}

#[test]
fn the_configuration_is_aac_lc_at_48_khz() {
    assert_eq!(AacEncoder::new(1, 64_000).unwrap().audio_specific_config(), [0x11, 0x88]);
    assert_eq!(AacEncoder::new(2, 128_000).unwrap().audio_specific_config(), [0x11, 0x90]);
    for (channels, bitrate) in [(0, 64_000), (3, 128_000), (1, 0), (1, 7_999), (2, 600_000)] {
        assert_eq!(AacEncoder::new(channels, bitrate).err().unwrap().reason(), "unsupported");
    }
}

#[test]
fn the_chunks_of_the_input_do_not_matter_and_an_encoder_can_be_used_again() {
    let pcm = source(2, 20_000);
    let mut encoder = AacEncoder::new(2, 128_000).unwrap();
    let expected = encode(&mut encoder, &pcm, usize::MAX);
    for chunk in [2, 14, 1_920, 4_096] {
        assert_eq!(encode(&mut encoder, &pcm, chunk), expected);
    }
    let mut units = 0;
    encoder.flush(|_| units += 1).unwrap();
    assert_eq!(units, 0);
}

#[test]
fn full_scale_and_noise_are_encoded() {
    let mut state = 1u32;
    let noise = (0..48_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 31 == 0 { i16::MIN } else { i16::MAX }
    });
    let mut encoder = AacEncoder::new(1, 96_000).unwrap();
    let units = encode(&mut encoder, &noise.collect::<Vec<_>>(), 480);
    assert!(units.iter().all(|unit| unit.len() <= 768), "6,144 bits at most");
    decode(&encoder.audio_specific_config(), &units);
}

#[test]
fn other_configurations_and_damaged_units_are_errors() {
    for config in [&[][..], &[0x11], &[0x2b, 0x92], &[0x11, 0x80], &[0x11, 0xb0], &[0x17, 0x90]] {
        assert!(AacDecoder::new(config).is_err(), "{config:02x?}");
    }
    let pcm = source(2, 20_000);
    let mut encoder = AacEncoder::new(2, 128_000).unwrap();
    let units = encode(&mut encoder, &pcm, usize::MAX);
    let mut decoder = AacDecoder::new(&encoder.audio_specific_config()).unwrap();
    let mut out = vec![1, 2];
    for invalid in [&[][..], &[0xff; 40], &units[3][..units[3].len() / 2], &vec![0; 9_000]] {
        assert!(decoder.decode(invalid, &mut out).is_err(), "{} bytes", invalid.len());
        assert_eq!(out, [1, 2]);
    }
    assert_eq!(decoder.decode(&units[3], &mut out), Ok(1_024));
}
