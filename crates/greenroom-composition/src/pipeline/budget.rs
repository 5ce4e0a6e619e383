use std::time::Duration;

/// Token bucket: so much a second, and so much at once.
#[derive(Debug)]
pub(super) struct Budget {
    rate: f64,
    capacity: f64,
    left: f64,
    filled_at: Duration,
}

impl Budget {
    pub(super) fn new(rate: f64, capacity: f64) -> Budget {
        Budget { rate, capacity, left: capacity, filled_at: Duration::ZERO }
    }

    /// Takes `cost` and returns true, if there is so much.
    pub(super) fn take(&mut self, now: Duration, cost: f64) -> bool {
        self.fill(now);
        let enough = self.left >= cost;
        if enough {
            self.left -= cost;
        }
        enough
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.left = (self.left + passed * self.rate).min(self.capacity);
        self.filled_at = self.filled_at.max(now);
    }
}
