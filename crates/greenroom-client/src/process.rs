//! What a process takes of the machine, as Linux tells it.

use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

/// Units of processor time a second in `/proc`: the same on every Linux.
const TICKS: u32 = 100;

/// A process at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    at: Instant,
    /// Processor time since its start.
    busy: Duration,
    /// Bytes of memory it has now, and had at most.
    pub resident: (u64, u64),
}

impl Sample {
    /// Looks at a process; without an id, at this one.
    pub fn of(pid: Option<u32>) -> std::io::Result<Sample> {
        let folder = pid.map_or("/proc/self".to_owned(), |pid| format!("/proc/{pid}"));
        let read = |name: &str| {
            let path = format!("{folder}/{name}");
            std::fs::read_to_string(&path).map_err(|error| Error::new(error.kind(), format!("{path}: {error}")))
        };
        let odd = || Error::new(ErrorKind::InvalidData, format!("{folder} is not what was expected"));
        let busy = busy(&read("stat")?).ok_or_else(odd)?;
        let status = read("status")?;
        let size = |name: &str| kilobytes(&status, name).unwrap_or_default();
        Ok(Sample { at: Instant::now(), busy, resident: (size("VmRSS:"), size("VmHWM:")) })
    }

    /// Percent of one processor that it took since an earlier look.
    pub fn percent_since(&self, before: &Sample) -> f64 {
        let wall = self.at.saturating_duration_since(before.at).as_secs_f64();
        if wall == 0.0 { 0.0 } else { 100.0 * self.busy.saturating_sub(before.busy).as_secs_f64() / wall }
    }
}

/// How many files and sockets this process may have open at once.
pub fn max_open_files() -> Option<u64> {
    most_open_of(&std::fs::read_to_string("/proc/self/limits").ok()?)
}

/// The first of two limits, which is the one that is held to.
fn most_open_of(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Time in user and in system mode, which are the fourteenth and fifteenth fields; the second may have blanks in it.
fn busy(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11).map(str::parse::<u32>);
    let ticks = fields.next()?.ok()?.checked_add(fields.next()?.ok()?)?;
    Some(Duration::from_secs(1) * ticks / TICKS)
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_after_a_name_with_blanks() {
        let stat = "42 (a) b c) S 1 42 42 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 4 0 100";
        assert_eq!(busy(stat), Some(Duration::from_secs(4)));
        assert_eq!(busy("nonsense"), None);
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12_288));
    }

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let limits = "Max processes   unlimited   unlimited   processes\nMax open files   1024   4096   files\n";
        assert_eq!(most_open_of(limits), Some(1024));
        assert_eq!(most_open_of("Max open files   unlimited   unlimited   files"), None);
        assert!(max_open_files().is_none_or(|most| most > 0));
    }

    #[test]
    fn this_process_takes_memory_and_one_that_is_not_there_is_named() {
        assert!(Sample::of(None).unwrap().resident.0 > 1_000_000);
        let error = Sample::of(Some(u32::MAX)).unwrap_err().to_string();
        assert!(error.contains(&u32::MAX.to_string()), "{error}");
    }
}
