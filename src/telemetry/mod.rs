//! Logs and traces.
//!
//! Logs go to standard error, for people on a terminal, as JSON otherwise; `RUST_LOG` chooses what is in them. Spans go
//! to an OTLP endpoint where the usual `OTEL_…` variables name one, and nowhere otherwise.

mod lines;
mod otlp;
pub mod trace;

use lines::{Lines, Writing};
use std::io::{IsTerminal as _, Stderr};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

/// Logging and tracing, once started.
#[derive(Debug)]
#[must_use = "spans that were not sent are lost unless it is stopped"]
pub struct Telemetry {
    otlp: Option<otlp::Otlp>,
    /// Dropped last, as what comes before it may have something to say.
    _writing: Option<Writing<Stderr>>,
}

/// Starts logging to standard error. Standard output is for what the user asked for.
pub fn start() {
    drop(begin(None, None));
}

/// Starts logging, and sending spans if the environment says where to.
pub fn start_serving() -> Telemetry {
    // Without a thread for it, lines are written by whoever says them.
    let lines = (!std::io::stderr().is_terminal()).then(|| Lines::start(std::io::stderr()).ok()).flatten();
    match otlp::Otlp::of_environment() {
        Ok(otlp) => begin(otlp, lines),
        Err(error) => {
            let telemetry = begin(None, lines);
            // What watches the server must not keep it from serving.
            tracing::warn!(%error, "no spans are sent");
            telemetry
        }
    }
}

fn begin(otlp: Option<otlp::Otlp>, lines: Option<(Lines<Stderr>, Writing<Stderr>)>) -> Telemetry {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,greenroom=info"));
    // It would write down session tokens, and signatures that would have been right.
    let filter = filter.add_directive("aws_sigv4=off".parse().expect("a target and a level"));
    let (lines, writing) = lines.unzip();
    let logs = fmt::layer();
    let logs = match lines {
        Some(lines) => logs.json().with_writer(lines).boxed(),
        None if std::io::stderr().is_terminal() => logs.with_writer(std::io::stderr).boxed(),
        None => logs.json().with_writer(std::io::stderr).boxed(),
    };
    let spans = otlp.as_ref().map(otlp::Otlp::layer);
    tracing_subscriber::registry().with(logs.with_filter(filter)).with(spans).init();
    Telemetry { otlp, _writing: writing }
}

impl Telemetry {
    /// Sends the spans that were not sent yet.
    pub async fn stop(self) {
        let Telemetry { otlp, _writing } = self;
        let Some(otlp) = otlp else { return };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || otlp.stop()).await {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}
