//! The bandwidth of a subscriber without transport-wide feedback, by the loss that its receiver reports tell.

use std::time::{Duration, Instant};

/// Share of lost packets, in percent, from which loss counts as congestion, and up to which the network has room.
const LOSS: (u32, u32) = (10, 2);
/// The share of what has arrived that is sent after congestion, in percent.
const AFTER_LOSS: u64 = 90;
/// Growth of the estimate without loss, in percent, and its interval.
const GROWTH: u64 = 125;
const GROWTH_INTERVAL: Duration = Duration::from_secs(5);
/// An estimate of so many times what is sent does not limit anything.
const UNLIMITED: u64 = 4;

/// An estimate in bits per second; there is none until packets are lost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossEstimator {
    estimate: Option<u64>,
    changed: Option<Instant>,
    /// Bits per second that were sent at the last report.
    sent: u64,
}

impl LossEstimator {
    /// Records the share of lost packets of a report, in percent, and the bits per second that are sent; returns the estimate.
    pub(super) fn record(&mut self, now: Instant, percent: u32, sent: u64) -> Option<u64> {
        // A report is of the time since the one before: after a change to a lower layer, it tells of the higher one, too.
        let sent_before = std::mem::replace(&mut self.sent, sent);
        if percent >= LOSS.0 {
            let arrived = sent.max(sent_before) * u64::from(100 - percent.min(100)) / 100;
            let estimate = arrived * AFTER_LOSS / 100;
            let lower = self.estimate.map_or(estimate, |known| known.min(estimate));
            (self.estimate, self.changed) = (Some(lower), Some(now));
        } else if percent < LOSS.1
            && let Some(estimate) = self.estimate
            && self.changed.is_none_or(|at| now.saturating_duration_since(at) >= GROWTH_INTERVAL)
        {
            let grown = estimate * GROWTH / 100;
            (self.estimate, self.changed) = (Some(grown).filter(|grown| *grown < sent * UNLIMITED), Some(now));
        }
        self.estimate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_falls_with_loss_and_grows_without() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut estimator = LossEstimator::default();
        assert_eq!(estimator.record(at(0), 5, 2_000_000), None);
        assert_eq!(estimator.record(at(1), 50, 2_000_000), Some(900_000));
        assert_eq!(estimator.record(at(3), 0, 500_000), Some(900_000));
        assert_eq!(estimator.record(at(6), 5, 500_000), Some(900_000));
        assert_eq!(estimator.record(at(6), 0, 500_000), Some(1_125_000));
        assert_eq!(estimator.record(at(11), 0, 500_000), Some(1_406_250));
        assert_eq!(estimator.record(at(16), 0, 500_000), Some(1_757_812));
        assert_eq!(estimator.record(at(21), 0, 500_000), None);
    }

    #[test]
    fn a_report_after_congestion_is_also_of_what_was_sent_before() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut estimator = LossEstimator::default();
        assert_eq!(estimator.record(at(0), 0, 2_000_000), None);
        assert_eq!(estimator.record(at(2), 70, 2_000_000), Some(540_000));
        assert_eq!(estimator.record(at(4), 50, 200_000), Some(540_000), "the higher layer's loss");
        assert_eq!(estimator.record(at(6), 50, 200_000), Some(90_000), "the lower one is lost, too");
    }
}
