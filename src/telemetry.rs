//! Logs: for people on a terminal, as JSON otherwise; `RUST_LOG` chooses what is in them.

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. Standard output is for what the user asked for.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,greenroom=info"));
    // It would write down session tokens, and signatures that would have been right.
    let filter = filter.add_directive("aws_sigv4=off".parse().expect("a target and a level"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        logs.init();
    } else {
        logs.json().init();
    }
}
