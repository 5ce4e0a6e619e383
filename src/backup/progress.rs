//! How far a backup is, for whoever watches.

use super::Totals;
use crate::clock::{Clock, Timestamp};
use std::io::{IsTerminal as _, Write as _};

/// How often the line is written anew, in milliseconds.
const EVERY: i64 = 200;

/// One line on standard error that is written over and over. Where that is no terminal, nothing.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
    clock: Clock,
    began: Timestamp,
    last: Timestamp,
    /// How many bytes there will be, if that is known.
    whole: Option<u64>,
}

impl Progress {
    /// For standard error, and a file of `whole` bytes.
    pub fn new(clock: Clock, whole: Option<u64>) -> Self {
        let now = clock.now();
        let shown = std::io::stderr().is_terminal();
        Progress { shown, clock, began: now, last: now, whole: whole.filter(|bytes| *bytes > 0) }
    }

    /// Milliseconds since the beginning.
    pub fn elapsed(&self) -> i64 {
        (self.clock.now().0 - self.began.0).max(0)
    }

    /// Shows which table it is at, and what went through.
    pub fn show(&mut self, table: &str, totals: &Totals) {
        let now = self.clock.now();
        if self.shown && now.0 - self.last.0 >= EVERY {
            self.last = now;
            // A terminal that has gone away is no failure.
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", line(table, totals, self.elapsed(), self.whole));
        }
    }
}

/// The line goes, whatever comes after it.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(table: &str, totals: &Totals, elapsed: i64, whole: Option<u64>) -> String {
    let rows = totals.all();
    let part = whole.map(|whole| format!("{:>3} %  ", (totals.bytes * 100 / whole).min(100))).unwrap_or_default();
    let a_second = rows * 1000 / u64::try_from(elapsed).unwrap_or(0).max(1);
    format!("{part}{rows} rows  {} MB  {a_second} rows/s  {table}", totals.bytes / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_line_has_what_went_through_and_how_fast() {
        let totals = Totals { rows: BTreeMap::from([("a".into(), 30), ("b".into(), 20)]), bytes: 7_500_000 };
        assert_eq!(line("b", &totals, 2000, None), "50 rows  7 MB  25 rows/s  b");
        assert_eq!(line("b", &totals, 0, Some(10_000_000)), " 75 %  50 rows  7 MB  50000 rows/s  b");
    }
}
