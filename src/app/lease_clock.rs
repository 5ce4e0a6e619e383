//! The clock that nodes measure leases with: the database's, so that it is the same for all of them.
//!
//! It is read with every heartbeat, and advances with the monotonic clock in between. An embedded store has one node, and
//! uses that node's clock; so does a test whose clock is manual. The test API does not move it: a jump of the service's clock
//! must not end leases.

use super::App;
use crate::clock::{Clock, Timestamp};
use crate::store::{ClockReading, StoreError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A node whose clock differs from the database's by more than this share of the lease is not ready.
const TOLERANCE: u32 = 4;

/// The database's clock, as last read.
#[derive(Debug, Default)]
pub struct LeaseClock(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Milliseconds from the monotonic clock to the database's.
    ahead: Option<i64>,
    /// Milliseconds that the wall clock is ahead of the database's.
    offset: i64,
    /// Whether the offset is more than is tolerated.
    off: bool,
}

impl LeaseClock {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self, clock: &Clock) -> Timestamp {
        match self.state().ahead {
            Some(ahead) => Timestamp(clock.monotonic().0.saturating_add(ahead)),
            None => clock.real(),
        }
    }

    /// Milliseconds that the wall clock is ahead of the database's, if that is more than is tolerated.
    pub fn intolerable_offset(&self) -> Option<i64> {
        let state = self.state();
        state.off.then_some(state.offset)
    }

    /// Records a reading. Returns whether the database's clock has been set since the last one.
    fn note(&self, reading: ClockReading, clock: &Clock, tolerance: Duration) -> bool {
        let ahead = reading.database.0.saturating_sub(clock.monotonic().0);
        let (off, mut state) = (reading.is_off_by_more_than(tolerance), self.state());
        let was_off = std::mem::replace(&mut state.off, off);
        let was_ahead = state.ahead.replace(ahead);
        state.offset = reading.offset;
        drop(state);
        let offset_seconds = reading.offset as f64 / 1000.0;
        match (was_off, off) {
            (false, true) => tracing::warn!(
                offset_seconds,
                "clock differs from the database's: the node is not ready and ends no other node's lease; correct this machine's clock"
            ),
            (true, false) => tracing::info!(offset_seconds, "clock agrees with the database's again"),
            _ => {}
        }
        was_ahead.is_some_and(|was| u128::from(was.abs_diff(ahead)) > tolerance.as_millis())
    }
}

impl App {
    /// The time by the clock that leases are measured with.
    pub fn lease_now(&self) -> Timestamp {
        self.lease_clock.now(&self.clock)
    }

    /// Reads the database's clock. If the clock was set, leases of other nodes may seem to be over: this node fences others
    /// only after it has renewed its own for a whole lease again.
    pub(super) async fn read_lease_clock(&self) -> Result<(), StoreError> {
        if self.clock.is_manual() {
            return Ok(());
        }
        let (begun, tolerance) = (Instant::now(), self.settings.participation.lease / TOLERANCE);
        let Some(reading) = self.db.read_clock(&self.clock).await? else { return Ok(()) };
        // A late answer would set the clock back by as much.
        if begun.elapsed() > tolerance && self.lease_clock.state().ahead.is_some() {
            return Ok(());
        }
        if self.lease_clock.note(reading, &self.clock, tolerance) {
            tracing::warn!("the database's clock was set: this node fences others after another lease");
            self.heartbeats.reset();
        }
        self.metrics.clock_offset.set(reading.offset as f64 / 1000.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_database_and_notices_a_wrong_clock_and_a_step() {
        let (lease_clock, clock) = (LeaseClock::default(), Clock::manual(Timestamp(100_000)));
        let tolerance = Duration::from_millis(2500);
        let take = |database, offset| {
            lease_clock.note(ClockReading { database: Timestamp(database), offset }, &clock, tolerance)
        };
        assert!(!take(80_000, 20_000), "the first reading is no step");
        assert_eq!((lease_clock.now(&clock), lease_clock.intolerable_offset()), (Timestamp(80_000), Some(20_000)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(lease_clock.now(&clock), Timestamp(81_000));
        assert!(!take(82_000, 19_000), "it may be a little slow");
        assert!(take(101_000, 0), "it was set");
        assert_eq!((lease_clock.now(&clock), lease_clock.intolerable_offset()), (Timestamp(101_000), None));
    }
}
