//! The standard process metrics of Prometheus. Only on Linux.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

/// Clock ticks per second in `/proc` (USER_HZ, the same on every Linux that Rust supports).
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn register(registry: &mut Registry, engine: &'static str) {
    let build = Family::<[(&'static str, &'static str); 2], Gauge>::default();
    build.get_or_create(&[("version", env!("CARGO_PKG_VERSION")), ("engine", engine)]).set(1);
    registry.register("greenroom_build_info", "Always 1; version of greenroom and engine of its store", build);
    registry.register_collector(Box::new(Process));
}

#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(stats) = ProcessStats::read() else { return Ok(()) };
        let cpu = ConstCounter::new(stats.cpu_seconds);
        let help = "User and system CPU time of the process in seconds.";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?)?;
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory of the process.", stats.resident),
            ("process_virtual_memory_bytes", "Virtual memory of the process.", stats.virtual_),
            ("process_threads", "Threads of the process.", stats.threads),
            ("process_open_fds", "Open file descriptors.", stats.open_files),
            ("process_max_fds", "Maximum open file descriptors.", stats.max_files),
            ("process_start_time_seconds", "Start time of the process in seconds since 1970.", stats.started_at),
        ] {
            let Some(value) = value else { continue };
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

/// Values from `/proc` for this process.
#[derive(Debug, PartialEq)]
struct ProcessStats {
    cpu_seconds: f64,
    resident: Option<f64>,
    virtual_: Option<f64>,
    threads: Option<f64>,
    open_files: Option<f64>,
    max_files: Option<f64>,
    started_at: Option<f64>,
}

impl ProcessStats {
    fn read() -> Option<ProcessStats> {
        let file = |path: &str| std::fs::read_to_string(path).ok();
        // The name of the program, in parentheses, may contain spaces and parentheses.
        let stat = file("/proc/self/stat")?;
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // The fields after the name begin with number 3 (proc(5)).
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let booted = file("/proc/stat").and_then(|text| number(&text, "btime "));
        let status = file("/proc/self/status").unwrap_or_default();
        Some(ProcessStats {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            resident: number(&status, "VmRSS:").map(|kilobytes| kilobytes * 1024.0),
            virtual_: number(&status, "VmSize:").map(|kilobytes| kilobytes * 1024.0),
            threads: field(20),
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64),
            max_files: file("/proc/self/limits").and_then(|text| number(&text, "Max open files")),
            started_at: booted.zip(field(22)).map(|(booted, ticks)| booted + ticks / TICKS_PER_SECOND),
        })
    }
}

/// The first number of the line that begins with `name`.
fn number(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
