//! Checks of the machine's limits, as Linux tells them.

use super::finding::Finding;
use crate::config::ServeArgs;
use greenroom_client::process_stats;

/// Files that a server has open beside its connections: the store, media, logs, its own requests.
const SPARE: u64 = 64;

/// File descriptors.
pub fn files(args: &ServeArgs) -> Finding {
    const CHECK: &str = "open files";
    let connections = u64::from(args.listener.max_connections);
    let needed = connections + u64::from(args.store.database_connections) + SPARE;
    match process_stats::max_open_files() {
        None => Finding::ok(CHECK, "this process has no limit of open files".into()),
        Some(most) if most >= needed => Finding::ok(CHECK, format!("{most} allowed, {needed} needed")),
        Some(most) => {
            let text = format!(
                "{most} allowed, and --max-connections {connections} needs {needed}: raise the limit (ulimit -n {needed}; LimitNOFILE= in systemd), or lower --max-connections"
            );
            Finding::warning(CHECK, text)
        }
    }
}

/// Buffers of UDP sockets.
pub fn buffers() -> Vec<Finding> {
    let limit = |name: &str| {
        let path = format!("/proc/sys/net/core/{name}");
        std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<usize>().ok())
    };
    let (wanted, mut found) = (greenroom_media::SOCKET_BUFFER_BYTES, Vec::new());
    for (name, direction) in [("rmem_max", "received"), ("wmem_max", "sent")] {
        found.push(match limit(name) {
            None => Finding::skipped("buffers", format!("the system does not tell net.core.{name}")),
            Some(most) if most >= wanted => Finding::ok("buffers", format!("net.core.{name} is {most}, {wanted} needed")),
            Some(most) => {
                let text = format!(
                    "net.core.{name} is {most}, so that bursts of {direction} media are lost: sysctl -w net.core.{name}={wanted}"
                );
                Finding::warning("buffers", text)
            }
        });
    }
    found
}
