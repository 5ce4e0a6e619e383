//! What is told of a run: how long answers took, and what the processor spent on them.

use serde_json::{Value, json};
use std::time::Duration;

/// The latencies of a run.
#[derive(Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Room for many, so that none is waited for.
    pub fn with_capacity(capacity: usize) -> Self {
        Latencies(Vec::with_capacity(capacity))
    }

    /// One more.
    pub fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Percentiles, in microseconds.
    pub fn value(mut self) -> Value {
        self.0.sort_unstable();
        let at = |share: f64| {
            let last = self.0.len().checked_sub(1)?;
            let place = (self.0.len() as f64 * share) as usize;
            Some(self.0[place.min(last)].as_secs_f64() * 1e6)
        };
        json!({"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": at(1.0)})
    }
}

/// Seconds of the processor that a process has had, all its threads together. Where the system does not say, 0.
pub fn cpu_seconds(pid: Option<u32>) -> f64 {
    let folder = pid.map_or_else(|| "/proc/self".to_owned(), |pid| format!("/proc/{pid}"));
    let threads = std::fs::read_dir(format!("{folder}/task")).into_iter().flatten().flatten();
    let nanoseconds = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    threads.filter_map(nanoseconds).sum::<f64>() / 1e9
}
