//! Logs and traces.
//!
//! Logs go to standard error: as text on a terminal, as JSON lines (`tracing_subscriber`'s format) otherwise. `RUST_LOG`
//! is the filter. Spans are exported to an OTLP endpoint if the `OTEL_…` variables name one.

mod cap;
mod otlp;

use cap::Cap;
use otlp::Otlp;
use std::io::{BufWriter, IsTerminal as _, stderr};
use tracing::{Dispatch, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// The filter if `RUST_LOG` is unset, empty or malformed.
const DEFAULT_FILTER: &str = "warn,greenroom=info";
/// `PIPE_BUF` of Linux: so many bytes go into a pipe in one piece, never between those of another process.
const PIECE_BYTES: usize = 4096;
/// Lines that may wait for the writer thread. Beyond them the threads that log wait: no line is dropped.
const QUEUED_LINES: usize = 8192;

/// Log and trace output of a server.
#[derive(Debug)]
#[must_use = "lines and spans that wait are lost unless it is stopped"]
pub struct Telemetry {
    otlp: Option<Otlp>,
    /// Dropped last, so that what [`Telemetry::stop`] logs is written.
    _log_thread: Option<WorkerGuard>,
}

/// Starts logging to standard error, line by line. Standard output is for the output of the command.
pub fn start() {
    match stderr().is_terminal() {
        true => subscriber(filter(), None, text_layer()).init(),
        false => subscriber(filter(), None, json_layer(stderr)).init(),
    }
}

/// Starts the logs and traces of a server. JSON lines are written by a thread, several at a time under load.
pub fn start_serving() -> Telemetry {
    let (otlp, problem) = match Otlp::from_environment() {
        Ok(otlp) => (otlp, None),
        Err(error) => (None, Some(error)),
    };
    let log_thread = if stderr().is_terminal() {
        subscriber(filter(), otlp.as_ref(), text_layer()).init();
        None
    } else {
        let (writer, thread) = log_thread();
        subscriber(filter(), otlp.as_ref(), json_layer(writer)).init();
        Some(thread)
    };
    if let Some(error) = problem {
        // A server without traces is better than none.
        tracing::warn!(%error, "span export disabled");
    }
    Telemetry { otlp, _log_thread: log_thread }
}

/// The JSON log of a server with the default filter, written to `writer`: what benchmarks measure.
pub fn json_log<W>(writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    Dispatch::new(subscriber(EnvFilter::new(DEFAULT_FILTER), None, json_layer(writer)))
}

fn filter() -> EnvFilter {
    let chosen = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|chosen| !chosen.is_empty());
    chosen.and_then(|chosen| EnvFilter::try_new(chosen).ok()).unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER))
}

/// The log with its filter, and the spans of `otlp`, which do not depend on that filter.
fn subscriber<L>(
    filter: EnvFilter,
    otlp: Option<&Otlp>,
    log: L,
) -> impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync
where
    L: Layer<Registry> + Send + Sync,
{
    tracing_subscriber::registry().with(log.with_filter(filter)).with(otlp.map(Otlp::layer)).with(Cap)
}

fn text_layer<S>() -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fmt::layer().with_writer(stderr)
}

fn json_layer<S, W>(writer: W) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Standard error has JSON lines only, even if what reads it is gone.
    fmt::layer().json().with_writer(writer).log_internal_errors(false)
}

/// A writer that hands lines to a thread, which writes as many whole lines at once as wait and fit a piece.
fn log_thread() -> (NonBlocking, WorkerGuard) {
    let out = BufWriter::with_capacity(PIECE_BYTES, stderr());
    NonBlockingBuilder::default().lossy(false).buffered_lines_limit(QUEUED_LINES).thread_name("log").finish(out)
}

impl Telemetry {
    /// Exports the spans and writes the log lines that wait. Lines wait at most a second for a reader that is stuck.
    pub async fn stop(self) {
        let Telemetry { otlp, _log_thread } = self;
        let Some(otlp) = otlp else { return };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || otlp.stop()).await {
            tracing::warn!(%error, "span export at shutdown failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    /// Keeps the calls of `write`.
    #[derive(Clone, Default)]
    struct Calls(Arc<Mutex<Vec<String>>>);

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The form that docs/observe/logs.md shows, and log collectors are configured for.
    #[test]
    fn a_line_has_the_documented_members() {
        let calls = Calls::default();
        let writer = calls.clone();
        tracing::dispatcher::with_default(&json_log(move || writer.clone()), || {
            tracing::info!(target: "greenroom::requests", id = "a", status = 404, "request");
            tracing::debug!(target: "greenroom", "finer than the default filter");
        });
        let calls = calls.0.lock().unwrap();
        let [line] = &calls[..] else { panic!("{calls:?}") };
        let (start, rest) = line.split_once("\",").unwrap();
        assert!(start.starts_with("{\"timestamp\":\"20") && start.ends_with('Z'), "{start}");
        let expected =
            r#""level":"INFO","fields":{"message":"request","id":"a","status":404},"target":"greenroom::requests"}"#;
        assert_eq!(rest, format!("{expected}\n"));
    }

    #[test]
    fn lines_are_written_whole_in_pieces_that_a_pipe_takes_at_once() {
        let calls = Calls::default();
        let (mut writer, thread) = NonBlockingBuilder::default()
            .lossy(false)
            .buffered_lines_limit(2)
            .finish(BufWriter::with_capacity(PIECE_BYTES, calls.clone()));
        let lines: Vec<_> = (0..200).map(|n| format!("{n} {}\n", "x".repeat(n * 37 % 5000))).collect();
        lines.iter().for_each(|line| writer.write_all(line.as_bytes()).unwrap());
        drop(thread);
        let calls = calls.0.lock().unwrap();
        assert_eq!(calls.concat(), lines.concat());
        for call in &*calls {
            assert!(call.ends_with('\n') && (call.len() <= PIECE_BYTES || call.lines().count() == 1));
        }
    }
}
