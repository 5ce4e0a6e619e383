//! The playout delay that a subscriber is asked for (the header extension `playout-delay` of WebRTC): as much as the
//! retransmission of lost packets takes. A receiver's own estimate is lower, as it does not know the round-trip time, and each
//! retransmission stops its picture.

use std::time::{Duration, Instant};

/// Shares of lost packets, in percent, from which one, two and three attempts at retransmission are waited for.
const LOSS: [f32; 3] = [0.5, 3.0, 8.0];
/// Time for the receiver to notice a loss, and for bursts of packets.
const SLACK: Duration = Duration::from_millis(60);
/// The least time between two requests of a receiver that does not know the round-trip time.
const REPEAT: Duration = Duration::from_millis(100);
/// The longest delay: beyond it, a conversation suffers more than the picture.
const MAX: Duration = Duration::from_millis(600);
/// How long a delay stays after the last report that asks for it.
const HOLD: Duration = Duration::from_secs(20);
/// Delays change in steps, as each change is visible.
const STEP: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PlayoutDelay {
    delay: Duration,
    until: Option<Instant>,
}

impl PlayoutDelay {
    /// Records a receiver report. `percent`: the share of lost packets.
    pub(super) fn record(&mut self, now: Instant, percent: f32, rtt: Duration, jitter: Duration) {
        let attempts = LOSS.iter().filter(|loss| percent >= **loss).count() as u32;
        let Some(repeats) = attempts.checked_sub(1) else { return };
        let needed = rtt + 2 * jitter + SLACK + repeats * rtt.max(REPEAT);
        let steps = needed.as_micros().div_ceil(STEP.as_micros()) as u32;
        let needed = (steps * STEP).min(MAX);
        if needed >= self.delay || self.until.is_none_or(|until| until <= now) {
            (self.delay, self.until) = (needed, Some(now + HOLD));
        }
    }

    /// The delay; `None` if none was ever asked for.
    pub(super) fn get(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| if now < until { self.delay } else { Duration::ZERO })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_delay_is_as_long_as_retransmissions_take() {
        let now = Instant::now();
        let delay = |percent, rtt, jitter| {
            let mut delay = PlayoutDelay::default();
            delay.record(now, percent, ms(rtt), ms(jitter));
            delay.get(now)
        };
        assert_eq!(delay(0.0, 200, 5), None);
        assert_eq!(delay(1.0, 200, 15), Some(ms(300)));
        assert_eq!(delay(5.0, 40, 5), Some(ms(250)));
        assert_eq!(delay(10.0, 40, 5), Some(ms(350)));
        assert_eq!(delay(10.0, 400, 5), Some(ms(600)));
    }

    #[test]
    fn a_delay_stays_for_a_while() {
        let start = Instant::now();
        let mut delay = PlayoutDelay::default();
        delay.record(start, 1.0, ms(200), ms(15));
        delay.record(start + ms(5_000), 1.0, ms(40), ms(5));
        assert_eq!(delay.get(start + ms(19_999)), Some(ms(300)));
        assert_eq!(delay.get(start + ms(20_000)), Some(ms(0)), "the receiver is told that it is over");
        delay.record(start + ms(20_000), 1.0, ms(40), ms(5));
        assert_eq!(delay.get(start + ms(20_000)), Some(ms(150)));
    }
}
