//! Maximum log levels of libraries that log secrets at finer levels. `RUST_LOG` cannot exceed them.

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Crates and their maximum levels.
const CAPS: [(&str, LevelFilter); 9] = [
    // Session tokens and expected signatures.
    ("aws_sigv4", LevelFilter::OFF),
    // Bodies and headers of requests to AWS: web identity tokens, instance metadata tokens and credentials.
    ("aws_smithy_runtime", LevelFilter::DEBUG),
    // Commands of `credential_process`.
    ("aws_config", LevelFilter::DEBUG),
    // ICE passwords of both sides.
    ("is", LevelFilter::INFO),
    // SDP, STUN, SRTP keys, DTLS keys.
    ("str0m", LevelFilter::INFO),
    ("str0m_proto", LevelFilter::INFO),
    ("str0m_aws_lc_rs", LevelFilter::INFO),
    ("dimpl", LevelFilter::INFO),
    // Events WebSocket messages with tokens in them, if records of the `log` crate are collected.
    ("tungstenite", LevelFilter::INFO),
];

/// A layer that enforces these levels, for logs and spans.
pub(super) struct Cap;

fn is_allowed(metadata: &Metadata<'_>) -> bool {
    let krate = metadata.target().split("::").next().unwrap_or_default();
    CAPS.iter().all(|(name, max)| *name != krate || metadata.level() <= max)
}

impl<S: Subscriber> Layer<S> for Cap {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_allowed(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_allowed(metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{EnvFilter, fmt};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_directive_exceeds_the_maximum_level_of_a_library() {
        for directives in ["trace", "trace,is=trace,is::agent=trace,str0m=trace,aws_sigv4=trace"] {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::registry()
                .with(fmt::layer().with_writer(move || writer.clone()))
                .with(EnvFilter::new(directives))
                .with(Cap);
            tracing::subscriber::with_default(subscriber, || {
                tracing::debug!(target: "is::agent", "secret");
                tracing::trace!(target: "str0m", "secret");
                tracing::error!(target: "aws_sigv4", "secret");
                tracing::trace!(target: "aws_smithy_runtime::client::orchestrator", "secret");
                tracing::debug!(target: "aws_config::meta", "chain");
                tracing::info!(target: "is::agent", "candidate");
                tracing::trace!(target: "island", "beside");
            });
            let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert!(!text.contains("secret"), "{text}");
            assert!(["candidate", "beside", "chain"].iter().all(|kept| text.contains(kept)), "{text}");
        }
    }
}
