//! The health of the store, as errors show it: damaged, or on a disk that takes no writes. Each is logged once, when it
//! begins, and reported by readiness.

use super::{Db, EngineError, Pools, StoreError};
use crate::clock::{Clock, Timestamp};
use crate::store::sql::fetch;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Whether a store is damaged, and whether it can be written.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    damage: Option<String>,
    disk: Option<String>,
}

impl Health {
    /// Records an error. Damage that is known already is answered as an outage: the first error has reported it.
    pub(super) fn record(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Damaged(cause) => match self.is_first(|state| &mut state.damage, &cause) {
                true => {
                    tracing::error!(
                        finding = %cause,
                        "database is damaged: stop the server, restore a backup or recover the file, and start again"
                    );
                    StoreError::Damaged(cause)
                }
                false => StoreError::Unavailable(cause),
            },
            StoreError::Disk(cause) => {
                if self.is_first(|state| &mut state.disk, &cause) {
                    tracing::error!(reason = %cause, "database cannot be written");
                }
                StoreError::Disk(cause)
            }
            // The outcome of the transaction is unknown; that the disk fails is not.
            StoreError::Commit(cause) => {
                if cause.is_disk() && self.is_first(|state| &mut state.disk, &cause) {
                    tracing::error!(reason = %cause, "database cannot be written");
                }
                StoreError::Commit(cause)
            }
            other => other,
        }
    }

    fn is_first(&self, which: impl FnOnce(&mut State) -> &mut Option<String>, cause: &EngineError) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        which(&mut state).replace(cause.to_string()).is_none()
    }

    /// Records that something was written: the disk takes writes again.
    pub fn written(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.disk.take().is_some() {
            tracing::info!("database can be written again");
        }
    }

    /// The engine's finding, if the store is damaged.
    pub fn damage(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).damage.clone()
    }

    /// Why the last write failed, if the disk was the reason.
    pub fn disk_failure(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).disk.clone()
    }
}

/// The database's clock, and the offset of this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// The time of the database.
    pub database: Timestamp,
    /// Milliseconds that the local clock is ahead at least, beyond what the round trip may explain; negative if it is
    /// behind.
    pub offset: i64,
}

impl ClockReading {
    /// From the local times before and after the database's clock was read.
    fn new(before: Timestamp, database: Timestamp, after: Timestamp) -> Self {
        let offset = match database {
            _ if before > database => before.0 - database.0,
            _ if after < database => after.0 - database.0,
            _ => 0,
        };
        ClockReading { database, offset }
    }

    /// Whether the clocks differ by more than `tolerance`.
    pub fn is_off_by_more_than(self, tolerance: Duration) -> bool {
        u128::from(self.offset.unsigned_abs()) > tolerance.as_millis()
    }
}

impl Db {
    /// The health of the store, as far as errors have shown it.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Reads the clock of PostgreSQL; `None` for an embedded store, which has no clock of its own.
    pub async fn read_clock(&self, clock: &Clock) -> Result<Option<ClockReading>, StoreError> {
        const NOW: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
        let Pools::Postgres(_) = self.pools else { return Ok(None) };
        let mut conn = self.read().await?;
        let before = clock.real();
        let (database,) = fetch!(fetch_one, conn, (i64,), NOW)?;
        Ok(Some(ClockReading::new(before, Timestamp(database), clock.real())))
    }

    /// The time that leases are measured by: the database's where it has a clock, else the local one.
    pub async fn lease_time(&self, clock: &Clock) -> Result<Timestamp, StoreError> {
        Ok(self.read_clock(clock).await?.map_or_else(|| clock.real(), |reading| reading.database))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_what_the_round_trip_does_not_explain() {
        let offset = |before, database, after| {
            ClockReading::new(Timestamp(before), Timestamp(database), Timestamp(after)).offset
        };
        assert_eq!([offset(0, 5, 10), offset(0, 0, 10), offset(0, 10, 10)], [0; 3]);
        assert_eq!((offset(20_000, 5, 20_010), offset(-20_000, 5, -19_990)), (19_995, -19_995));
        let reading = ClockReading::new(Timestamp(2501), Timestamp(0), Timestamp(2501));
        assert!(reading.is_off_by_more_than(Duration::from_millis(2500)));
        assert!(!reading.is_off_by_more_than(Duration::from_millis(2501)));
    }
}
