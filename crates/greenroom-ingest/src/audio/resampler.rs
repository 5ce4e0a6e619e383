//! Resampling to 48 kHz by a windowed sinc in phases, with a ratio that can be corrected at any time.

use greenroom_codecs::SAMPLE_RATE;
use std::f64::consts::PI;
use std::sync::LazyLock;

/// Input samples before and after an output sample that it is made of.
const HALF: usize = 24;
const TAPS: usize = 2 * HALF;
/// Positions between two input samples for which there are coefficients. Between them they are interpolated, with an error below
/// 16 bits.
const PHASES: usize = 256;
/// Shape of the Kaiser window: 80 dB of attenuation.
const BETA: f64 = 8.0;

type Coefficients = [f32; TAPS];

static COEFFICIENTS: LazyLock<Vec<Coefficients>> =
    LazyLock::new(|| (0..=PHASES).map(|phase| coefficients(phase as f64 / PHASES as f64)).collect());

/// The coefficients for a position between two input samples, which add up to 1.
fn coefficients(fraction: f64) -> Coefficients {
    let taps: [f64; TAPS] = std::array::from_fn(|tap| {
        let distance = tap as f64 - (HALF as f64 - 1.0) - fraction;
        let sinc = if distance == 0.0 { 1.0 } else { (PI * distance).sin() / (PI * distance) };
        let across = (distance / HALF as f64).clamp(-1.0, 1.0);
        sinc * bessel(BETA * (1.0 - across * across).sqrt()) / bessel(BETA)
    });
    let sum: f64 = taps.iter().sum();
    taps.map(|tap| (tap / sum) as f32)
}

/// The modified Bessel function of the first kind and order 0.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..40 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

pub(super) struct Resampler {
    rate: u32,
    channels: usize,
    /// Input samples by channel.
    planes: [Vec<f32>; 2],
    /// Where the next output sample is, in input samples of the planes.
    position: f64,
    /// Input samples for one output sample.
    step: f64,
}

impl Resampler {
    /// A resampler of one or two channels of at most 48 kHz. Its output begins with the first input sample.
    pub(super) fn new(rate: u32, channels: usize) -> Resampler {
        let planes = std::array::from_fn(|_| vec![0.0; HALF]);
        let mut resampler = Resampler { rate, channels, planes, position: HALF as f64, step: 1.0 };
        resampler.set_correction(0.0);
        resampler
    }

    /// Makes the output longer by this part.
    pub(super) fn set_correction(&mut self, correction: f64) {
        self.step = f64::from(self.rate) / f64::from(SAMPLE_RATE) / (1.0 + correction);
    }

    /// Duration of the input that there is no output of, in µs.
    pub(super) fn pending(&self) -> i64 {
        ((self.planes[0].len() as f64 - self.position) * 1e6 / f64::from(self.rate)) as i64
    }

    /// Takes interleaved samples, and appends those at 48 kHz.
    pub(super) fn process(&mut self, input: &[i16], output: &mut Vec<i16>) {
        for (channel, plane) in self.planes[..self.channels].iter_mut().enumerate() {
            plane.extend(input.iter().skip(channel).step_by(self.channels).map(|sample| f32::from(*sample)));
        }
        let length = self.planes[0].len();
        let mut taps = [0.0; TAPS];
        loop {
            let whole = self.position as usize;
            if whole + HALF >= length {
                break;
            }
            let is_between = interpolate(self.position - whole as f64, &mut taps);
            for plane in &self.planes[..self.channels] {
                let sample = match is_between {
                    true => dot(&taps, &plane[whole + 1 - HALF..]),
                    false => plane[whole],
                };
                output.push(sample.round() as i16);
            }
            self.position += self.step;
        }
        let used = (self.position as usize + 1).saturating_sub(HALF).min(length);
        self.planes[..self.channels].iter_mut().for_each(|plane| drop(plane.drain(..used)));
        self.position -= used as f64;
    }
}

/// Sets the coefficients for a position between two input samples; returns false if it is on the first of them.
fn interpolate(fraction: f64, taps: &mut Coefficients) -> bool {
    let phase = fraction * PHASES as f64;
    let (whole, weight) = (phase as usize, phase.fract() as f32);
    let (Some(low), Some(high)) = (COEFFICIENTS.get(whole), COEFFICIENTS.get(whole + 1)) else { return false };
    for ((tap, low), high) in taps.iter_mut().zip(low).zip(high) {
        *tap = low + (high - low) * weight;
    }
    fraction != 0.0
}

/// The sum of products, in an order that processors do eight at once.
fn dot(taps: &Coefficients, samples: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (taps, samples) in taps.chunks_exact(8).zip(samples.chunks_exact(8)) {
        for ((sum, tap), sample) in sums.iter_mut().zip(taps).zip(samples) {
            *sum += tap * sample;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frequency: f64, rate: u32, samples: usize) -> Vec<i16> {
        let sample = |at: usize| (20_000.0 * (at as f64 * frequency * 2.0 * PI / f64::from(rate)).sin()).round() as i16;
        (0..samples).map(sample).collect()
    }

    /// The loudest difference of the output to a tone without delay, in dB of the tone.
    fn distortion(rate: u32, frequency: f64, correction: f64) -> f64 {
        let mut resampler = Resampler::new(rate, 1);
        resampler.set_correction(correction);
        let mut output = Vec::new();
        tone(frequency, rate, rate as usize / 8).chunks(1_024).for_each(|part| resampler.process(part, &mut output));
        let ideal = tone(frequency, (f64::from(SAMPLE_RATE) * (1.0 + correction)).round() as u32, output.len());
        let worst = output.iter().zip(&ideal).skip(100).map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs()).max();
        20.0 * (f64::from(worst.unwrap()).max(0.5) / 20_000.0).log10()
    }

    #[test]
    fn tones_come_out_undelayed_and_undistorted() {
        for rate in [44_100, 32_000, 22_050, 16_000] {
            for part in [0.01, 0.1, 0.3, 0.4] {
                let distortion = distortion(rate, f64::from(rate) * part, 0.0);
                assert!(distortion < -70.0, "{rate} Hz, {part}: {distortion:.1} dB");
            }
        }
        let corrected = distortion(48_000, 5_000.0, 0.005);
        assert!(corrected < -70.0, "{corrected:.1} dB");
    }

    #[test]
    fn at_48_khz_samples_stay_as_they_are() {
        let input: Vec<i16> = (0..5_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 16) as i16).collect();
        let mut resampler = Resampler::new(48_000, 2);
        let mut output = Vec::new();
        input.chunks(2_000).for_each(|part| resampler.process(part, &mut output));
        assert_eq!(output, input[..input.len() - 2 * HALF]);
        assert_eq!(resampler.pending(), 500);
    }

    #[test]
    fn all_of_the_input_is_accounted_for() {
        for (rate, correction) in [(44_100, 0.0), (44_100, -0.005), (8_000, 0.003), (48_000, 0.001)] {
            let mut resampler = Resampler::new(rate, 1);
            resampler.set_correction(correction);
            let (mut output, mut input) = (Vec::new(), 0);
            for length in (0..60).map(|n| n * 19) {
                resampler.process(&vec![1_000; length], &mut output);
                input += length;
                let seconds = input as f64 / f64::from(rate) - resampler.pending() as f64 / 1e6;
                let expected = seconds * 48_000.0 * (1.0 + correction);
                assert!((output.len() as f64 - expected).abs() < 1.5, "{} of {expected}", output.len());
            }
            assert!(output[HALF * 8..].iter().all(|sample| (sample - 1_000).abs() <= 1), "a constant stays one");
            assert!(resampler.planes[0].len() <= TAPS + 1 && resampler.planes[0].capacity() < 10_000);
        }
    }

    #[test]
    fn full_scale_is_clipped() {
        let mut resampler = Resampler::new(44_100, 1);
        let mut output = Vec::new();
        let square: Vec<i16> = (0..4_410).map(|at| if at / 50 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        resampler.process(&square, &mut output);
        assert!(output.contains(&i16::MAX) && output.contains(&i16::MIN));
    }
}
