//! CPU and memory usage of a process, from `/proc` (Linux only).

use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

/// `USER_HZ`, the unit of CPU time in `/proc`: 100 on all Linux architectures.
const TICKS_PER_SECOND: u32 = 100;

/// The usage of a process at a point in time.
#[derive(Clone, Copy, Debug)]
pub struct ProcessSample {
    at: Instant,
    /// Processor time since its start.
    cpu_time: Duration,
    /// Resident memory in bytes: current and peak.
    pub resident: (u64, u64),
}

impl ProcessSample {
    /// Samples a process; `None` is this one.
    pub fn of(pid: Option<u32>) -> std::io::Result<ProcessSample> {
        let folder = pid.map_or("/proc/self".to_owned(), |pid| format!("/proc/{pid}"));
        let read = |name: &str| {
            let path = format!("{folder}/{name}");
            std::fs::read_to_string(&path).map_err(|error| Error::new(error.kind(), format!("{path}: {error}")))
        };
        let unexpected = || Error::new(ErrorKind::InvalidData, format!("{folder} has an unexpected format"));
        let cpu_time = cpu_time(&read("stat")?).ok_or_else(unexpected)?;
        let status = read("status")?;
        let size = |name: &str| memory_bytes(&status, name).unwrap_or_default();
        Ok(ProcessSample { at: Instant::now(), cpu_time, resident: (size("VmRSS:"), size("VmHWM:")) })
    }

    /// CPU usage since an earlier sample, in percent of one CPU.
    pub fn percent_since(&self, before: &ProcessSample) -> f64 {
        let wall = self.at.saturating_duration_since(before.at).as_secs_f64();
        if wall == 0.0 { 0.0 } else { 100.0 * self.cpu_time.saturating_sub(before.cpu_time).as_secs_f64() / wall }
    }
}

/// Maximum open files and sockets of this process: the soft limit.
pub fn max_open_files() -> Option<u64> {
    parse_max_open_files(&std::fs::read_to_string("/proc/self/limits").ok()?)
}

/// The soft limit, which is the first of the two.
fn parse_max_open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// `utime` and `stime`, fields 14 and 15 of `stat`. Field 2, the name, may contain spaces.
fn cpu_time(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11).map(str::parse::<u32>);
    let ticks = fields.next()?.ok()?.checked_add(fields.next()?.ok()?)?;
    Some(Duration::from_secs(1) * ticks / TICKS_PER_SECOND)
}

fn memory_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_is_skipped() {
        let stat = "42 (a) b c) S 1 42 42 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 4 0 100";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(4)));
        assert_eq!(cpu_time("nonsense"), None);
        assert_eq!(memory_bytes("Name:\tx\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12_288));
    }

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let limits = "Max processes   unlimited   unlimited   processes\nMax open files   1024   4096   files\n";
        assert_eq!(parse_max_open_files(limits), Some(1024));
        assert_eq!(parse_max_open_files("Max open files   unlimited   unlimited   files"), None);
        assert!(max_open_files().is_none_or(|most| most > 0));
    }

    #[test]
    fn this_process_uses_memory_and_an_unknown_one_is_named() {
        assert!(ProcessSample::of(None).unwrap().resident.0 > 1_000_000);
        let error = ProcessSample::of(Some(u32::MAX)).unwrap_err().to_string();
        assert!(error.contains(&u32::MAX.to_string()), "{error}");
    }
}
