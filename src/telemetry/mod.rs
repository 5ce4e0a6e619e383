//! Logs and traces.
//!
//! Logs go to standard error, for people on a terminal, as JSON otherwise; `RUST_LOG` chooses what is in them. Spans go
//! to an OTLP endpoint where the usual `OTEL_…` variables name one, and nowhere otherwise.

mod cap;
mod json;
mod lines;
mod otlp;

use cap::Cap;
use json::Json;
use lines::{Lines, Writing};
use std::io::{IsTerminal as _, Stderr};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Dispatch, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// What is logged where `RUST_LOG` says nothing.
const USUAL: &str = "warn,greenroom=info";

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

/// What a server writes to its log where nothing is set, for whoever measures it without one: to `writer`.
pub fn usual<W>(writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let registry = tracing_subscriber::registry().with(Json::new(writer));
    Dispatch::new(registry.with(Plain(EnvFilter::new(USUAL))).with(Cap))
}

fn begin(otlp: Option<otlp::Otlp>, lines: Option<(Lines<Stderr>, Writing<Stderr>)>) -> Telemetry {
    let chosen = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|chosen| !chosen.is_empty());
    let chosen = chosen.and_then(|chosen| EnvFilter::try_new(chosen).ok());
    let filter = chosen.unwrap_or_else(|| EnvFilter::new(USUAL));
    let (lines, writing) = lines.unzip();
    let logs = match lines {
        Some(lines) => Json::new(lines).boxed(),
        None if std::io::stderr().is_terminal() => fmt::layer().with_writer(std::io::stderr).boxed(),
        None => Json::new(std::io::stderr).boxed(),
    };
    let registry = tracing_subscriber::registry();
    match &otlp {
        // What spans are sent of is another choice than what is logged.
        Some(otlp) => registry.with(logs.with_filter(filter)).with(otlp.layer()).with(Cap).init(),
        None if is_of_spans(&filter) => registry.with(logs).with(filter).with(Cap).init(),
        None => registry.with(logs).with(Plain(filter)).with(Cap).init(),
    }
    Telemetry { otlp, _writing: writing }
}

/// Whether what is logged depends on the spans that it is said in.
fn is_of_spans(filter: &EnvFilter) -> bool {
    filter.to_string().contains('[')
}

/// A filter that need not be told of spans: it would lock itself to look, for each that begins, is entered, or ends.
struct Plain(EnvFilter);

impl<S: Subscriber> Layer<S> for Plain {
    fn register_callsite(&self, what: &'static Metadata<'static>) -> Interest {
        Layer::<S>::register_callsite(&self.0, what)
    }

    fn enabled(&self, what: &Metadata<'_>, ctx: Context<'_, S>) -> bool {
        self.0.enabled(what, ctx)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.max_level_hint()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_told_of_spans_if_it_names_any() {
        let of_spans = |text: &str| is_of_spans(&EnvFilter::try_new(text).unwrap());
        for text in ["warn", "warn,greenroom=info", "info,greenroom::requests=off", "greenroom", "off"] {
            assert!(!of_spans(text), "{text}");
        }
        for text in ["[request]", "[request]=debug", "warn,greenroom[request{id=a}]=trace", "[{id}]=debug"] {
            assert!(of_spans(text), "{text}");
        }
    }
}
