//! Distributions of latency.

use std::f64::consts::TAU;
use std::time::Duration;

/// Maximum of a sample.
pub const MAX_LATENCY: Duration = Duration::from_secs(600);

/// A distribution of delays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    Constant(Duration),
    /// Between two delays, both included.
    Uniform {
        min: Duration,
        max: Duration,
    },
    /// Normal distribution; samples below zero are zero, those above [`MAX_LATENCY`] are that.
    Normal {
        mean: Duration,
        deviation: Duration,
    },
}

impl Latency {
    /// A random delay.
    pub fn sample(self, random: &mut fastrand::Rng) -> Duration {
        match self {
            Latency::Constant(delay) => delay,
            Latency::Uniform { min, max } => min + max.saturating_sub(min).mul_f64(random.f64()),
            Latency::Normal { mean, deviation } => {
                // Box-Muller; the logarithm is of a number in (0, 1].
                let (first, second) = (1.0 - random.f64(), random.f64());
                let standard = (-2.0 * first.ln()).sqrt() * (TAU * second).cos();
                let seconds = mean.as_secs_f64() + deviation.as_secs_f64() * standard;
                Duration::from_secs_f64(seconds.clamp(0.0, MAX_LATENCY.as_secs_f64()))
            }
        }
    }
}
