//! Messages of an encoder: any bytes become packets within bounds, are dropped and counted, or end the stream.
#![no_main]

use greenroom_ingest::{DropReason, Ingest, MAX_LAYERS, Settings};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

// Whether the limits apply, and messages: their kind and arrival, timestamp and length, each in front of its body.
fuzz_target!(|data: &[u8]| {
    let Some((first, mut rest)) = data.split_first() else { return };
    let start = Instant::now();
    let (mut now, mut sent) = (start, 0);
    let mut ingest = Ingest::new(start, Settings { strict_ivs: first & 1 == 1 });
    let mut next_sequence_numbers: BTreeMap<(usize, u8), u64> = BTreeMap::new();
    while let [kind, t0, t1, t2, t3, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (body, after) = tail.split_at(length);
        rest = after;
        sent += length;
        now += Duration::from_millis(u64::from(kind >> 1).pow(2));
        let timestamp = u32::from_be_bytes([*t0, *t1, *t2, *t3]);
        let result = match kind & 1 {
            0 => ingest.audio(now, timestamp, body),
            _ => ingest.video(now, timestamp, body),
        };
        let mut bytes = 0;
        while let Some(packet) = ingest.poll_packet() {
            bytes += packet.payload.len();
            let number = next_sequence_numbers.entry((packet.track, packet.layer)).or_default();
            assert_eq!(packet.sequence_number, *number);
            *number += 1;
            assert!(packet.captured <= now && packet.payload.len() <= 1_276);
            assert!(packet.track < 2 && usize::from(packet.layer) < MAX_LAYERS);
        }
        // A second of silence, and parameter sets with each of the smallest frames.
        assert!(bytes <= 100_000 + 40 * 1_024 * (1 + length / 10), "{bytes} bytes of {length}");
        let statistics = ingest.statistics();
        assert_eq!(
            DropReason::ALL.map(|reason| statistics.dropped(reason)).iter().sum::<u64>(),
            statistics.frames_dropped
        );
        if result.is_err() || ingest.next_timeout().is_some_and(|due| due <= now) && ingest.handle_timeout(now).is_err()
        {
            return;
        }
    }
    assert!(sent <= data.len());
});
