//! The mix: levels, times, drift, gaps and peaks.

use greenroom_composition::mixer::{Mixer, SAMPLE_RATE};
use greenroom_composition::{DropReason, ParticipantId};
use std::f64::consts::TAU;
use std::time::Duration;

const RATE: f64 = SAMPLE_RATE as f64;
const START: Duration = Duration::from_secs(1_700_000_000);
const PACKET: usize = 960;

fn at(seconds: f64) -> Duration {
    START + Duration::from_secs_f64(seconds)
}

fn mixer<const N: usize>(ids: [&str; N]) -> (Mixer, [ParticipantId; N]) {
    let mut mixer = Mixer::new(START);
    let ids: [ParticipantId; N] = ids.map(Into::into);
    ids.iter().for_each(|id| mixer.add(id.clone()));
    (mixer, ids)
}

/// A tone on both channels: samples from number `first` on.
fn tone(frequency: f64, amplitude: f64, first: usize, count: usize) -> Vec<i16> {
    let sample = |at: usize| (amplitude * (TAU * frequency * at as f64 / RATE).sin()).round() as i16;
    (first..first + count).flat_map(|at| [sample(at); 2]).collect()
}

fn pull(mixer: &mut Mixer, samples: usize) -> Vec<i16> {
    let mut out = Vec::new();
    mixer.pull(samples, &mut out);
    assert_eq!(out.len(), samples * 2);
    out
}

fn left(pcm: &[i16]) -> Vec<f64> {
    pcm.iter().step_by(2).map(|sample| f64::from(*sample)).collect()
}

/// Amplitude and phase (in turns) of a frequency (Goertzel's sums, with a Hann window).
fn component(samples: &[f64], frequency: f64) -> (f64, f64) {
    let length = samples.len() as f64;
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let window = 1.0 - (TAU * at as f64 / length).cos();
        let angle = TAU * frequency * at as f64 / RATE;
        real += sample * window * angle.cos();
        imaginary += sample * window * angle.sin();
    }
    (2.0 * real.hypot(imaginary) / length, real.atan2(imaginary) / TAU)
}

fn decibels(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}

/// Pushes packets of a tone with the capture times of its samples.
fn push_tone(mixer: &mut Mixer, id: &ParticipantId, frequency: f64, amplitude: f64, packets: std::ops::Range<usize>) {
    for packet in packets {
        let pcm = tone(frequency, amplitude, packet * PACKET, PACKET);
        mixer.push(id, at((packet * PACKET) as f64 / RATE), &pcm).unwrap();
    }
}

#[test]
fn a_participant_alone_is_not_changed() {
    let (mut mixer, [a, _]) = mixer(["a", "silent"]);
    push_tone(&mut mixer, &a, 997.0, 32_767.0, 0..50);
    let out = pull(&mut mixer, 47_000);
    // But for a millisecond of fading in.
    assert!(out[2 * 48..] == tone(997.0, 32_767.0, 48, 47_000 - 48));
    // The full range of 16 bits passes.
    let (mut mixer, [a]) = self::mixer(["a"]);
    let square: Vec<_> = (0..PACKET).flat_map(|at| [[i16::MIN, i16::MAX][at / 40 % 2]; 2]).collect();
    mixer.push(&a, START, &square).unwrap();
    assert!(pull(&mut mixer, PACKET - 240)[2 * 48..] == square[2 * 48..2 * (PACKET - 240)]);
}

#[test]
fn participants_are_summed_at_their_level() {
    let frequencies = [300.0, 440.0, 1_000.0, 3_500.0];
    let (mut mixer, ids) = mixer(["a", "b", "c", "d"]);
    for (id, frequency) in ids.iter().zip(frequencies) {
        push_tone(&mut mixer, id, frequency, 6_000.0, 0..60);
    }
    let out = left(&pull(&mut mixer, 52_800));
    for frequency in frequencies {
        let level = decibels(component(&out[4_800..], frequency).0 / 6_000.0);
        assert!(level.abs() < 0.02, "{frequency} Hz: {level} dB");
    }
}

#[test]
fn twelve_full_scale_tones_do_not_clip() {
    let (mut mixer, ids) = mixer(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]);
    let frequencies: Vec<_> = (0..12).map(|at| 200.0 + 150.0 * f64::from(at)).collect();
    for (id, frequency) in ids.iter().zip(&frequencies) {
        push_tone(&mut mixer, id, *frequency, 32_767.0, 0..95);
    }
    let out = left(&pull(&mut mixer, 90_000));
    // Clipped samples come in runs.
    let longest = out.chunk_by(|one, other| one == other).filter(|run| run[0].abs() > 32_700.0).map(<[f64]>::len).max();
    assert!(longest.unwrap_or(0) <= 2, "{longest:?}");
    // Each is as loud as the others, and the difference to a sum that was only turned down is small.
    let levels: Vec<_> = frequencies.iter().map(|one| component(&out[24_000..72_000], *one).0).collect();
    let (min, max) = levels.iter().fold((f64::MAX, 0.0_f64), |(min, max), level| (min.min(*level), max.max(*level)));
    assert!(decibels(max / min) < 0.5 && min > 32_767.0 / 13.0, "{levels:?}");
    let total = out[24_000..72_000].iter().map(|sample| sample * sample).sum::<f64>() / 48_000.0;
    let tones = levels.iter().map(|level| level * level / 2.0).sum::<f64>();
    assert!(decibels((total - tones).max(0.0).sqrt() / tones.sqrt()) < -20.0);
}

#[test]
fn the_limiter_lets_go_after_a_peak() {
    let (mut mixer, [a, b]) = mixer(["a", "b"]);
    push_tone(&mut mixer, &a, 500.0, 20_000.0, 0..95);
    push_tone(&mut mixer, &b, 500.0, 32_767.0, 20..30);
    let out = left(&pull(&mut mixer, 90_000));
    let level = |from: usize| decibels(component(&out[from..from + 4_800], 500.0).0 / 20_000.0);
    assert!(level(12_000).abs() < 0.01, "before the peak");
    assert!(level(21_600) < 4.5, "during the peak: {} dB", level(21_600));
    assert!(level(28_800 + 48_000).abs() < 0.05, "a second after the peak: {} dB", level(28_800 + 48_000));
    assert_eq!(out[88_000..], left(&tone(500.0, 20_000.0, 88_000, 2_000)));
}

#[test]
fn sound_is_at_its_capture_time() {
    for late in [0.0, 0.000_4, 0.25, 1.003_7] {
        let (mut mixer, [a, b]) = mixer(["a", "b"]);
        // Packets of 20 ms from a given time on; the other participant's are of 2.5 ms.
        for packet in 0..40 {
            let pcm = tone(100.0, 8_000.0, packet * PACKET, PACKET);
            mixer.push(&a, at(late + packet as f64 * 0.02), &pcm).unwrap();
        }
        for packet in 0..320 {
            let pcm = tone(250.0, 8_000.0, packet * 120, 120);
            mixer.push(&b, at(late + packet as f64 * 0.002_5), &pcm).unwrap();
        }
        let out = left(&pull(&mut mixer, 91_200));
        let first = ((late + 0.1) * RATE).round() as usize;
        for frequency in [100.0, 250.0] {
            let phase = component(&out[first..first + 24_000], frequency).1;
            let expected = (first as f64 / RATE - late) * frequency;
            let difference = (phase - expected + 0.5).rem_euclid(1.0) - 0.5;
            let seconds = difference / frequency;
            assert!(seconds.abs() < 0.000_1, "{late} {frequency} Hz: {} ms", seconds * 1_000.0);
        }
        let before = &out[..((late * RATE) as usize).saturating_sub(2)];
        assert!(before.iter().all(|sample| *sample == 0.0));
    }
}

#[test]
fn gaps_are_silence_without_clicks_and_of_their_length() {
    let (mut mixer, [a]) = mixer(["a"]);
    push_tone(&mut mixer, &a, 1_000.0, 20_000.0, 0..20);
    // Five packets are lost.
    push_tone(&mut mixer, &a, 1_000.0, 20_000.0, 25..60);
    let out = left(&pull(&mut mixer, 57_000));
    let tone = left(&tone(1_000.0, 20_000.0, 0, 57_000));
    assert_eq!(out[48..20 * PACKET], tone[48..20 * PACKET]);
    assert!(out[20 * PACKET + 600..25 * PACKET].iter().all(|sample| *sample == 0.0));
    assert_eq!(out[25 * PACKET + 48..], tone[25 * PACKET + 48..]);
    let steps = |samples: &[f64]| samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max);
    assert!(steps(&out) <= steps(&tone) * 1.1, "{} instead of {}", steps(&out), steps(&tone));
}

#[test]
fn late_early_and_overlapping_packets() {
    let (mut mixer, [a]) = mixer(["a"]);
    let id = "other".into();
    let packet = |first: usize| tone(1_000.0, 20_000.0, first, PACKET);
    assert_eq!(mixer.push(&id, START, &packet(0)), Err(DropReason::Unknown));
    assert_eq!(mixer.push(&a, START - Duration::from_millis(20), &packet(0)), Err(DropReason::Late));
    assert_eq!(mixer.push(&a, at(2.1), &packet(0)), Err(DropReason::Early));
    for pcm in [vec![], vec![0; 3], vec![0; 2 * SAMPLE_RATE as usize]] {
        assert_eq!(mixer.push(&a, START, &pcm), Err(DropReason::Invalid));
    }
    push_tone(&mut mixer, &a, 1_000.0, 20_000.0, 0..3);
    // A copy, and a packet of which the first half is there already.
    assert_eq!(mixer.push(&a, at(0.04), &packet(2 * PACKET)), Err(DropReason::Late));
    mixer.push(&a, at(0.05), &packet(5 * PACKET / 2)).unwrap();
    let expected = left(&tone(1_000.0, 20_000.0, 0, 7 * PACKET / 2));
    // What is mixed before it comes is not heard; the rest is.
    let mut out = left(&pull(&mut mixer, 3 * PACKET));
    mixer.push(&a, at(0.07), &packet(7 * PACKET / 2)).unwrap();
    assert_eq!(mixer.push(&a, at(0.02), &packet(PACKET)), Err(DropReason::Late));
    out.extend(left(&pull(&mut mixer, PACKET / 2)));
    assert_eq!(out[48..], expected[48..]);
}

#[test]
fn a_packet_that_comes_while_its_time_runs_is_heard_from_there() {
    let (mut mixer, [a]) = mixer(["a"]);
    push_tone(&mut mixer, &a, 1_000.0, 20_000.0, 0..1);
    let mut out = left(&pull(&mut mixer, PACKET));
    push_tone(&mut mixer, &a, 1_000.0, 20_000.0, 1..4);
    out.extend(left(&pull(&mut mixer, 2 * PACKET)));
    let tone = left(&tone(1_000.0, 20_000.0, 0, 3 * PACKET));
    // The limiter had looked 5 ms ahead.
    assert_eq!(out[PACKET + 240 + 48..], tone[PACKET + 240 + 48..]);
}

#[test]
fn a_removed_participant_is_silent_at_once() {
    let (mut mixer, [a, b]) = mixer(["a", "b"]);
    push_tone(&mut mixer, &a, 1_000.0, 20_000.0, 0..50);
    push_tone(&mut mixer, &b, 440.0, 2_000.0, 0..50);
    pull(&mut mixer, 9_600);
    mixer.remove(&a);
    assert_eq!(mixer.push(&a, at(0.5), &tone(1_000.0, 20_000.0, 0, PACKET)), Err(DropReason::Unknown));
    let out = left(&pull(&mut mixer, 9_600));
    assert_eq!(out[800..], left(&tone(440.0, 2_000.0, 9_600 + 800, 8_800)));
    // It can come back.
    mixer.add(a.clone());
    push_tone(&mut mixer, &a, 1_000.0, 20_000.0, 25..30);
    let out = left(&pull(&mut mixer, 9_600));
    assert!(component(&out[4_800..8_800], 1_000.0).0 > 19_000.0);
}

/// An hour with device clocks that are off by 200 ppm either way, and capture times with jitter: sound stays within a millisecond
/// of its capture time, at its level, and without clicks.
#[test]
fn drift_is_followed_for_an_hour() {
    const HOUR: usize = 3_600;
    let measured = |second: usize| second >= 5 && (second.is_multiple_of(100) || second == HOUR - 1);
    let (mut mixer, ids) = mixer(["fast", "slow"]);
    let mut devices = [Device::new(1.0 + 200e-6, 250.0), Device::new(1.0 - 200e-6, 400.0)];
    for second in 0..HOUR {
        let sounds = [second, second + 1, second + 2].into_iter().any(measured);
        for (device, id) in devices.iter_mut().zip(&ids) {
            device.send(&mut mixer, id, second as f64 + 1.2, sounds);
        }
        let out = left(&pull(&mut mixer, SAMPLE_RATE as usize));
        if !measured(second) {
            continue;
        }
        for Device { clock, frequency, .. } in &devices {
            let (level, phase) = component(&out, *frequency);
            // Capture times are a millisecond later than the tone's own.
            let expected = (second as f64 - 0.001) * frequency;
            let difference = ((phase - expected + 0.5).rem_euclid(1.0) - 0.5) / frequency;
            assert!(difference.abs() < 0.001, "after {second} s with {clock}: {} ms", difference * 1_000.0);
            assert!(decibels(level / 8_000.0).abs() < 0.1, "after {second} s with {clock}: {level}");
        }
        // The curvature of both tones is up to 31; a sample that is left out or repeated makes one of some hundreds.
        let curvature = out.windows(3).map(|three| (three[0] - 2.0 * three[1] + three[2]).abs()).fold(0.0, f64::max);
        assert!(curvature < 36.0, "after {second} s: {curvature}");
    }
}

/// A microphone whose clock is off.
struct Device {
    clock: f64,
    frequency: f64,
    sent: usize,
    random: u32,
}

impl Device {
    fn new(clock: f64, frequency: f64) -> Device {
        Device { clock, frequency, sent: 0, random: 1 }
    }

    /// True time of a sample.
    fn time(&self, sample: usize) -> f64 {
        sample as f64 / (RATE * self.clock)
    }

    /// Up to half a millisecond either way.
    fn jitter(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f64::from(self.random >> 8) / f64::from(1 << 24) - 0.5) * 0.001
    }

    /// Sends what it captures up to a time: its tone, or silence.
    fn send(&mut self, mixer: &mut Mixer, id: &ParticipantId, until: f64, sounds: bool) {
        while self.time(self.sent) < until {
            let angle = |sample: usize| TAU * (self.frequency * self.time(sample)).fract();
            let sample = |at: usize| if sounds { (8_000.0 * angle(at).sin()).round() as i16 } else { 0 };
            let pcm: Vec<_> = (self.sent..self.sent + PACKET).flat_map(|at| [sample(at); 2]).collect();
            let capture = self.time(self.sent) + 0.001 + self.jitter();
            mixer.push(id, at(capture), &pcm).unwrap();
            self.sent += PACKET;
        }
    }
}
