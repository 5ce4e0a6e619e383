//! Logs and traces.
//!
//! Logs go to standard error, for people on a terminal, as JSON otherwise; `RUST_LOG` chooses what is in them. Spans go
//! to an OTLP endpoint where the usual `OTEL_…` variables name one, and nowhere otherwise.

mod otlp;
pub mod trace;

use std::io::IsTerminal as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

/// Logging and tracing, once started.
#[derive(Debug)]
#[must_use = "spans that were not sent are lost unless it is stopped"]
pub struct Telemetry {
    otlp: Option<otlp::Otlp>,
}

/// Starts logging to standard error. Standard output is for what the user asked for.
pub fn start() {
    drop(begin(None));
}

/// Starts logging, and sending spans if the environment says where to.
pub fn start_serving() -> Telemetry {
    match otlp::Otlp::of_environment() {
        Ok(otlp) => begin(otlp),
        Err(error) => {
            let telemetry = begin(None);
            // What watches the server must not keep it from serving.
            tracing::warn!(%error, "no spans are sent");
            telemetry
        }
    }
}

fn begin(otlp: Option<otlp::Otlp>) -> Telemetry {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,greenroom=info"));
    // It would write down session tokens, and signatures that would have been right.
    let filter = filter.add_directive("aws_sigv4=off".parse().expect("a target and a level"));
    let logs = fmt::layer().with_writer(std::io::stderr);
    let logs = if std::io::stderr().is_terminal() { logs.boxed() } else { logs.json().boxed() };
    let spans = otlp.as_ref().map(otlp::Otlp::layer);
    tracing_subscriber::registry().with(logs.with_filter(filter)).with(spans).init();
    Telemetry { otlp }
}

impl Telemetry {
    /// Sends the spans that were not sent yet.
    pub async fn stop(self) {
        let Some(otlp) = self.otlp else { return };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || otlp.stop()).await {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}
