//! Checks of the limits of the operating system.

use super::finding::Finding;
use crate::config::ServeArgs;
use greenroom_client::process_stats;

/// File descriptors for everything but connections: store, media, logs, outgoing requests.
const RESERVE: u64 = 64;

/// File descriptors.
pub fn files(args: &ServeArgs) -> Finding {
    const CHECK: &str = "open files";
    let connections = u64::from(args.listener.max_connections);
    let encoders = u64::from(args.ingest.max_rtmp_connections);
    let needed = connections + encoders + u64::from(args.store.database_connections) + RESERVE;
    match process_stats::max_open_files() {
        None => Finding::ok(CHECK, "open files are unlimited".into()),
        Some(most) if most >= needed => Finding::ok(CHECK, format!("{most} allowed, {needed} needed")),
        Some(most) => {
            let text = format!(
                "{most} allowed, and {needed} needed by --max-connections {connections} and --max-rtmp-connections {encoders}: raise the limit (ulimit -n {needed}; LimitNOFILE= in systemd), or lower these"
            );
            Finding::warning(CHECK, text)
        }
    }
}

/// Maximum sizes of UDP socket buffers.
pub fn buffers() -> Vec<Finding> {
    let limit = |name: &str| {
        let path = format!("/proc/sys/net/core/{name}");
        std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<usize>().ok())
    };
    let (needed, mut found) = (greenroom_media::SOCKET_BUFFER_BYTES, Vec::new());
    for (name, direction) in [("rmem_max", "received"), ("wmem_max", "sent")] {
        found.push(match limit(name) {
            None => Finding::skipped("buffers", format!("net.core.{name} cannot be read")),
            Some(most) if most >= needed => Finding::ok("buffers", format!("net.core.{name} is {most}, {needed} needed")),
            Some(most) => {
                let text = format!(
                    "net.core.{name} is {most}, too small for bursts of {direction} media: sysctl -w net.core.{name}={needed}"
                );
                Finding::warning("buffers", text)
            }
        });
    }
    found
}
