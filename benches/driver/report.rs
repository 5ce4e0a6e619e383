//! The report of a run: latencies and processor time.

use serde_json::{Value, json};
use std::time::Duration;

/// The latencies of a run.
#[derive(Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Allocates for many samples ahead.
    pub fn with_capacity(capacity: usize) -> Self {
        Latencies(Vec::with_capacity(capacity))
    }

    /// Adds a sample.
    pub fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// Number of samples.
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

/// Processor time of a process in seconds, all threads together; 0 where the system does not report it.
pub fn cpu_seconds(pid: Option<u32>) -> f64 {
    let folder = pid.map_or_else(|| "/proc/self".to_owned(), |pid| format!("/proc/{pid}"));
    let threads = std::fs::read_dir(format!("{folder}/task")).into_iter().flatten().flatten();
    let nanoseconds = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    threads.filter_map(nanoseconds).sum::<f64>() / 1e9
}
