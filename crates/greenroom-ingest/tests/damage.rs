//! Streams with damage of all kinds: what comes out is one stream, whatever comes in.

mod support;

use greenroom_ingest::DropReason;
use greenroom_media::MediaPacket;
use proptest::prelude::*;
use std::collections::BTreeMap;
use support::{Encoder, Tag, fixture};

/// What happens to a tag.
#[derive(Clone, Debug)]
enum Damage {
    Bit(usize, u8),
    Cut(usize),
    Fill(usize),
    Timestamp(u32),
    Pause(u64),
    Lose,
    Repeat,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), 0..8_u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        // Mostly in the headers.
        (0..24_usize, 0..8_u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        any::<usize>().prop_map(Damage::Cut),
        any::<usize>().prop_map(Damage::Fill),
        any::<u32>().prop_map(Damage::Timestamp),
        (0..20_000_u64).prop_map(Damage::Pause),
        Just(Damage::Lose),
        Just(Damage::Repeat),
    ]
}

/// Tags as they are sent: what a damage makes of one, and the time that it takes more.
fn damaged(tag: &Tag, damage: &Damage) -> (Vec<Tag>, u64) {
    let mut tag = tag.clone();
    let length = tag.body.len().max(1);
    match damage {
        Damage::Bit(at, bit) => tag.body.iter_mut().skip(at % length).take(1).for_each(|byte| *byte ^= 1 << bit),
        Damage::Cut(at) => tag.body.truncate(at % length),
        Damage::Fill(at) => tag.body.iter_mut().skip(at % length).for_each(|byte| *byte = 0xff),
        Damage::Timestamp(by) => tag.timestamp = tag.timestamp.wrapping_add(*by),
        Damage::Pause(time) => return (vec![tag], *time),
        Damage::Lose => return (Vec::new(), 0),
        Damage::Repeat => return (vec![tag.clone(), tag], 0),
    }
    (vec![tag], 0)
}

fn check(encoder: &Encoder) {
    let mut streams: BTreeMap<(usize, u8), Vec<&MediaPacket>> = BTreeMap::new();
    encoder.packets.iter().for_each(|packet| streams.entry((packet.track, packet.layer)).or_default().push(packet));
    for ((track, _), packets) in streams {
        assert!(packets.iter().enumerate().all(|(number, packet)| packet.sequence_number == number as u64));
        for pair in packets.windows(2) {
            let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32;
            match track {
                0 => assert!(step == 960 || step > 48_000 / 2, "{step}"),
                _ => assert!(if pair[0].marker { step > 0 } else { step == 0 }, "{step}"),
            }
        }
    }
    let statistics = encoder.ingest.statistics();
    let dropped = DropReason::ALL.map(|reason| statistics.dropped(reason));
    assert_eq!(dropped.iter().sum::<u64>(), statistics.frames_dropped);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn damaged_streams_stay_continuous(
        name in prop_oneof![Just("stereo-44100.flv"), Just("mono-48000.flv"), Just("multitrack.flv")],
        strict_ivs in any::<bool>(),
        damages in proptest::collection::vec((0..60_usize, damage()), 0..20),
    ) {
        let mut encoder = Encoder::new(strict_ivs);
        let (mut late, mut newest) = (0, 0);
        for (number, original) in fixture(name).iter().enumerate() {
            let (mut tags, mut paused) = (vec![original.clone()], 0);
            for (_, damage) in damages.iter().filter(|(at, _)| *at == number) {
                let (damaged, time) = tags.iter().map(|tag| damaged(tag, damage)).fold((Vec::new(), 0), |mut all, one| {
                    all.0.extend(one.0);
                    (all.0, all.1 + one.1)
                });
                (tags, paused) = (damaged, paused + time);
            }
            late += paused;
            newest = newest.max(original.timestamp);
            encoder.at(u64::from(newest) + late);
            for tag in &tags {
                if encoder.send(tag).is_err() {
                    check(&encoder);
                    return Ok(());
                }
                let now = encoder.now;
                prop_assert!(encoder.packets.iter().rev().take(100).all(|packet| packet.captured <= now));
            }
        }
        check(&encoder);
    }
}
