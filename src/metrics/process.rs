//! The process, in the names that every client library of Prometheus uses. The figures are Linux's; elsewhere there are
//! none.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

/// Ticks of a second in `/proc`; the same on every Linux that Rust knows.
const TICKS: f64 = 100.0;

pub(super) fn register(registry: &mut Registry, engine: &'static str) {
    let build = Family::<[(&'static str, &'static str); 2], Gauge>::default();
    build.get_or_create(&[("version", env!("CARGO_PKG_VERSION")), ("engine", engine)]).set(1);
    registry.register("greenroom_build_info", "1; the version of greenroom, and the engine of its store", build);
    registry.register_collector(Box::new(Process));
}

#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(figures) = Figures::read() else { return Ok(()) };
        let cpu = ConstCounter::new(figures.cpu_seconds);
        let help = "Seconds of user and system time of the process.";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?)?;
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory of the process.", figures.resident),
            ("process_virtual_memory_bytes", "Virtual memory of the process.", figures.virtual_),
            ("process_threads", "Threads of the process.", figures.threads),
            ("process_open_fds", "File descriptors that are open.", figures.open_files),
            ("process_max_fds", "Most file descriptors that may be open.", figures.most_files),
            ("process_start_time_seconds", "When the process began, in seconds since 1970.", figures.started_at),
        ] {
            let Some(value) = value else { continue };
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

/// What `/proc` says of this process.
#[derive(Debug, PartialEq)]
struct Figures {
    cpu_seconds: f64,
    resident: Option<f64>,
    virtual_: Option<f64>,
    threads: Option<f64>,
    open_files: Option<f64>,
    most_files: Option<f64>,
    started_at: Option<f64>,
}

impl Figures {
    fn read() -> Option<Figures> {
        let file = |path: &str| std::fs::read_to_string(path).ok();
        // The name of the program, in parentheses, may have anything in it.
        let stat = file("/proc/self/stat")?;
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // What follows the name begins with field 3 (proc(5)).
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let booted = file("/proc/stat").and_then(|text| number(&text, "btime "));
        let status = file("/proc/self/status").unwrap_or_default();
        Some(Figures {
            cpu_seconds: (field(14)? + field(15)?) / TICKS,
            resident: number(&status, "VmRSS:").map(|kilobytes| kilobytes * 1024.0),
            virtual_: number(&status, "VmSize:").map(|kilobytes| kilobytes * 1024.0),
            threads: field(20),
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64),
            most_files: file("/proc/self/limits").and_then(|text| number(&text, "Max open files")),
            started_at: booted.zip(field(22)).map(|(booted, ticks)| booted + ticks / TICKS),
        })
    }
}

/// The first number in the line that begins with `name`.
fn number(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
