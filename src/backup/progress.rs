//! Progress of an export or import on the terminal.

use super::Totals;
use crate::clock::{Clock, Timestamp};
use std::io::{IsTerminal as _, Write as _};

/// Milliseconds between updates.
const INTERVAL: i64 = 200;

/// A line on standard error that is updated in place; nothing if that is no terminal.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
    clock: Clock,
    started_at: Timestamp,
    last: Timestamp,
    /// Size of the file, if it is known.
    total_bytes: Option<u64>,
}

impl Progress {
    /// `total_bytes` is the size of the file, if it is known.
    pub fn new(clock: Clock, total_bytes: Option<u64>) -> Self {
        let now = clock.now();
        let shown = std::io::stderr().is_terminal();
        Progress { shown, clock, started_at: now, last: now, total_bytes: total_bytes.filter(|bytes| *bytes > 0) }
    }

    /// Milliseconds since the start.
    pub fn elapsed(&self) -> i64 {
        (self.clock.now().0 - self.started_at.0).max(0)
    }

    /// Updates the line.
    pub fn show(&mut self, table: &str, totals: &Totals) {
        let now = self.clock.now();
        if self.shown && now.0 - self.last.0 >= INTERVAL {
            self.last = now;
            // A terminal that is gone is no failure.
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", line(table, totals, self.elapsed(), self.total_bytes));
        }
    }
}

/// Clears the line.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(table: &str, totals: &Totals, elapsed: i64, total_bytes: Option<u64>) -> String {
    let rows = totals.all();
    let percent =
        total_bytes.map(|total| format!("{:>3} %  ", (totals.bytes * 100 / total).min(100))).unwrap_or_default();
    let rows_per_second = rows * 1000 / u64::try_from(elapsed).unwrap_or(0).max(1);
    format!("{percent}{rows} rows  {} MB  {rows_per_second} rows/s  {table}", totals.bytes / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_line_shows_totals_and_rate() {
        let totals = Totals { rows: BTreeMap::from([("a".into(), 30), ("b".into(), 20)]), bytes: 7_500_000 };
        assert_eq!(line("b", &totals, 2000, None), "50 rows  7 MB  25 rows/s  b");
        assert_eq!(line("b", &totals, 0, Some(10_000_000)), " 75 %  50 rows  7 MB  50000 rows/s  b");
    }
}
