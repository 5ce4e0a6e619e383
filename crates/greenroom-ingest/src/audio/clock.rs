use greenroom_codecs::SAMPLE_RATE;

/// A difference between timestamps and samples that is no jitter, in µs.
const TOLERANCE: i64 = 60_000;
/// Rounding and jitter of timestamps, in µs, that nothing follows.
const DEAD_ZONE: f64 = 1_500.0;
/// In which time a difference is made up for, in µs.
const CORRECTION_TIME: f64 = 10_000_000.0;
/// Largest correction of the ratio: 8 cents, which nobody hears.
const MAX_CORRECTION: f64 = 0.005;
/// Weight of the newest difference in the mean.
const SMOOTHING: f64 = 1.0 / 32.0;
/// Samples of a gap that are filled with silence. What is longer is a gap of the RTP timestamps.
const MAX_SILENCE: u64 = SAMPLE_RATE as u64;
const PACKET: u64 = greenroom_codecs::opus::OpusEncoder::PACKET_SAMPLES as u64;

/// Media time of the samples at 48 kHz.
#[derive(Clone, Debug)]
pub(super) struct SampleClock {
    /// Media time of the first sample, in µs.
    origin: i64,
    /// Samples since, and those of them that are in packets.
    produced: u64,
    packed: u64,
    /// Samples by which decoded Opus is later than its input.
    delay: u64,
    /// Mean of the differences between timestamps and samples, in µs.
    difference: f64,
    /// A gap between packets: how many samples are packed before it, and its length.
    gap: Option<(u64, u64)>,
}

/// What to do before the samples of an access unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Adjustment {
    /// Stretch the samples by so much.
    Ratio(f64),
    /// Fill up so many samples.
    Gap(u64),
    /// Drop the samples.
    Overlap,
}

fn micros(samples: u64) -> i64 {
    (u128::from(samples) * 1_000_000 / u128::from(SAMPLE_RATE)) as i64
}

impl SampleClock {
    pub(super) fn new(origin: i64, delay: usize) -> SampleClock {
        SampleClock { origin, produced: 0, packed: 0, delay: delay as u64, difference: 0.0, gap: None }
    }

    /// Compares the timestamp of an access unit, in µs, with the samples before it. `pending` is the time of the samples that the
    /// resampler holds, in µs.
    pub(super) fn adjust(&mut self, media_time: i64, pending: i64) -> Adjustment {
        let difference = media_time - (self.origin + micros(self.produced) + pending);
        if difference.abs() > TOLERANCE {
            self.difference = 0.0;
            return match u64::try_from(difference) {
                Ok(gap) => Adjustment::Gap(gap.saturating_mul(u64::from(SAMPLE_RATE)) / 1_000_000),
                Err(_) => Adjustment::Overlap,
            };
        }
        self.difference += (difference as f64 - self.difference) * SMOOTHING;
        let excess = (self.difference.abs() - DEAD_ZONE).max(0.0) * self.difference.signum();
        Adjustment::Ratio((excess / CORRECTION_TIME).clamp(-MAX_CORRECTION, MAX_CORRECTION))
    }

    pub(super) fn produced(&mut self, samples: usize) {
        self.produced += samples as u64;
    }

    /// Accounts for a gap, when so many samples are not in packets yet. Returns the samples of silence; the rest is a gap between
    /// packets.
    pub(super) fn fill(&mut self, gap: u64, unpacked: usize) -> usize {
        if gap <= MAX_SILENCE + PACKET {
            self.produced += gap;
            return gap as usize;
        }
        self.skip_gap();
        let silence = (unpacked as u64 + MAX_SILENCE).next_multiple_of(PACKET) - unpacked as u64;
        self.produced += gap;
        self.gap = Some((self.packed + unpacked as u64 + silence, gap - silence));
        silence as usize
    }

    /// Leaves out a gap that all packets before are packed of.
    fn skip_gap(&mut self) {
        if let Some((_, length)) = self.gap.take_if(|(position, _)| self.packed >= *position) {
            self.packed += length;
        }
    }

    /// Media time, in µs, and RTP timestamp of the next packet.
    pub(super) fn next_packet(&mut self) -> (i64, u32) {
        self.skip_gap();
        let begins = self.packed;
        self.packed += PACKET;
        let media_time = self.origin + micros(begins) - micros(self.delay);
        let first = self.origin.wrapping_mul(i64::from(SAMPLE_RATE)) / 1_000_000;
        (media_time, (first as u32).wrapping_add(begins as u32).wrapping_sub(self.delay as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_ignored_and_drift_is_followed_within_milliseconds() {
        for (ppm, tolerance) in [(0.0, 1_000), (200.0, 4_500), (-200.0, 4_500), (1_000.0, 12_500)] {
            let mut clock = SampleClock::new(0, 312);
            let (mut owed, mut worst) = (0.0, 0);
            for unit in 0..200_000_u32 {
                let true_time = f64::from(unit) * 1_024.0 / 48_000.0 * (1.0 + ppm / 1e6) * 1e6;
                let timestamp = (true_time / 1e3).floor() as i64 * 1_000;
                let Adjustment::Ratio(correction) = clock.adjust(timestamp, 0) else { panic!("unit {unit}") };
                assert!(ppm != 0.0 || correction == 0.0);
                owed += 1_024.0 * (1.0 + correction);
                let samples = f64::floor(owed);
                owed -= samples;
                worst = worst.max((true_time as i64 - micros(clock.produced)).abs());
                clock.produced(samples as usize);
            }
            assert!(worst < tolerance, "{ppm} ppm: {worst} µs");
        }
    }

    #[test]
    fn gaps_are_filled_and_long_ones_are_between_packets() {
        let mut clock = SampleClock::new(1_000_000, 312);
        clock.produced(1_000);
        assert_eq!(clock.next_packet(), (1_000_000 - 6_500, 48_000 - 312));
        assert!(matches!(clock.adjust(1_080_000, 0), Adjustment::Ratio(_)));
        assert_eq!(clock.adjust(1_120_833, 0), Adjustment::Gap(4_800));
        assert_eq!(clock.fill(4_800, 40), 4_800);
        clock.packed += 5 * PACKET;
        assert_eq!((clock.produced, clock.packed), (5_800, 5_760));
        // An hour: silence up to the end of a packet after a second, then nothing.
        let hour = 3_600 * 48_000;
        let silence = clock.fill(hour, 40);
        assert_eq!(silence, 48_920);
        let packets: Vec<u32> = (0..52).map(|_| clock.next_packet().1.wrapping_sub(48_000 - 312)).collect();
        assert_eq!(packets[..51], (0..51).map(|n| 5_760 + n * 960).collect::<Vec<_>>());
        assert_eq!(packets[51], 5_800 + hour as u32);
        assert_eq!(clock.produced, 5_800 + hour);
    }

    #[test]
    fn what_comes_twice_is_an_overlap() {
        let mut clock = SampleClock::new(0, 0);
        clock.produced(48_000);
        assert_eq!(clock.adjust(930_000, 0), Adjustment::Overlap);
        assert!(matches!(clock.adjust(950_000, 0), Adjustment::Ratio(_)));
        assert_eq!(clock.adjust(950_000, 20_000), Adjustment::Overlap);
    }
}
