//! Samples between samples: windowed-sinc interpolation.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// Samples on each side of a position that its value depends on.
pub(super) const REACH: usize = 16;

/// Positions between two samples with coefficients of their own; between these, coefficients are interpolated.
const PHASES: usize = 128;

/// Values of both channels that are calculated with at once.
const LANES: usize = 8;

/// Coefficients of the samples of both channels, in the order of the samples.
type Taps = [[f32; LANES]; 4 * REACH / LANES];

static TABLE: LazyLock<Vec<Taps>> = LazyLock::new(|| (0..=PHASES).map(taps).collect());

fn taps(phase: usize) -> Taps {
    let fraction = phase as f64 / PHASES as f64;
    let weight = |at: usize| {
        let distance = at as f64 - (REACH as f64 - 1.0) - fraction;
        sinc(distance) * blackman(distance / REACH as f64)
    };
    let sum: f64 = (0..2 * REACH).map(weight).sum();
    let both = |at: usize| (weight(at / 2) / sum) as f32;
    std::array::from_fn(|chunk| std::array::from_fn(|lane| both(chunk * LANES + lane)))
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-12 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The Blackman window over -1 to 1.
fn blackman(x: f64) -> f64 {
    if x.abs() >= 1.0 { 0.0 } else { 0.42 + 0.5 * (PI * x).cos() + 0.08 * (2.0 * PI * x).cos() }
}

/// The value at `fraction` (0 to 1) after the sample at [`REACH`] - 1 of `around`.
pub(super) fn interpolate(around: &[[f32; 2]; 2 * REACH], fraction: f64) -> [f32; 2] {
    let position = fraction.clamp(0.0, 1.0) * PHASES as f64;
    let phase = (position as usize).min(PHASES - 1);
    let part = (position - phase as f64) as f32;
    let Some([one, other]) = TABLE.get(phase..phase + 2) else { return [0.0; 2] };
    let (samples, _) = around.as_flattened().as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for ((samples, one), other) in samples.iter().zip(one).zip(other) {
        for lane in 0..LANES {
            sums[lane] += samples[lane] * (one[lane] + (other[lane] - one[lane]) * part);
        }
    }
    [0, 1].map(|side| sums.iter().skip(side).step_by(2).sum())
}
