//! Opus packets: any bytes are decoded, recovered or concealed to as many samples as they say, or are an error.
#![no_main]

use greenroom_codecs::opus::{MAX_PACKET_SAMPLES, OpusDecoder, packet_samples};
use libfuzzer_sys::fuzz_target;

// The number of channels, and packets, each after what to do with it and its length in two bytes.
fuzz_target!(|data: &[u8]| {
    let Some((first, mut rest)) = data.split_first() else { return };
    let channels = usize::from(first & 1) + 1;
    let mut decoder = OpusDecoder::new(channels).unwrap();
    while let [action, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (packet, after) = tail.split_at(length);
        rest = after;
        let mut pcm = Vec::new();
        let samples = match action % 4 {
            0 => usize::from(*action) * 7,
            1 => 960,
            _ => match decoder.decode(packet, &mut pcm) {
                Ok(samples) => {
                    assert!(packet.is_empty() || packet_samples(packet) == Some(samples as u32));
                    assert_eq!(pcm.len(), samples * channels);
                    assert!(samples <= MAX_PACKET_SAMPLES);
                    continue;
                }
                Err(_) => {
                    assert!(pcm.is_empty());
                    continue;
                }
            },
        };
        match action % 4 {
            0 => decoder.conceal(samples, &mut pcm).unwrap(),
            _ => decoder.recover(packet, samples, &mut pcm).unwrap(),
        }
        assert_eq!(pcm.len(), samples * channels);
    }
});
