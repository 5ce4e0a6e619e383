//! The trace that a request belongs to (W3C Trace Context).

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Whether spans are exported.
static EXPORTED: AtomicBool = AtomicBool::new(false);

/// Marks spans as exported.
pub fn enable_export() {
    EXPORTED.store(true, Ordering::Relaxed);
}

/// Whether spans are exported. If not, span attributes need not be computed.
pub fn is_exported() -> bool {
    EXPORTED.load(Ordering::Relaxed)
}

/// The two headers of W3C Trace Context.
struct Headers<'a> {
    traceparent: &'a str,
    tracestate: &'a str,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.traceparent),
            "tracestate" => Some(self.tracestate),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// The parent context in the headers, if they are valid.
fn context(traceparent: Option<&str>, tracestate: Option<&str>) -> Option<Context> {
    let headers = Headers { traceparent: traceparent?, tracestate: tracestate.unwrap_or_default() };
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    context.span().span_context().is_valid().then_some(context)
}

/// Makes the trace in the headers the parent of a span. Returns the id of the trace that the span belongs to, if any.
pub fn continue_trace(span: &Span, traceparent: Option<&str>, tracestate: Option<&str>) -> Option<String> {
    let parent = context(traceparent, tracestate);
    if !is_exported() {
        return parent.map(|context| context.span().span_context().trace_id().to_string());
    }
    if let Some(context) = parent
        && let Err(error) = span.set_parent(context)
    {
        tracing::debug!(%error, "parent trace not set");
    }
    let own = span.context();
    let own = own.span().span_context().clone();
    own.is_valid().then(|| own.trace_id().to_string())
}

/// Names a span and sets its attributes and status.
pub fn describe(span: &Span, name: &'static str, failed: bool, attributes: impl IntoIterator<Item = KeyValue>) {
    let context = span.context();
    let span = context.span();
    span.update_name(name);
    span.set_attributes(attributes);
    if failed {
        span.set_status(Status::error(""));
    }
}

pub fn attribute(key: &'static str, value: impl Into<opentelemetry::Value>) -> KeyValue {
    KeyValue::new(key, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_ids_are_read_from_traceparent() {
        let trace = |text: &str| continue_trace(&Span::none(), Some(text), None);
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        assert_eq!(trace(&format!("00-{id}-00f067aa0ba902b7-00")).as_deref(), Some(id));
        for bad in [
            "",
            id,
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace(bad), None, "{bad}");
        }
        assert_eq!(continue_trace(&Span::none(), None, Some("a=b")), None);
    }
}
