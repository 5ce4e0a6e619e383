//! The trace that a request is part of (W3C Trace Context).

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Whether spans go anywhere.
static SENT: AtomicBool = AtomicBool::new(false);

pub(super) fn begin() {
    SENT.store(true, Ordering::Relaxed);
}

/// Whether spans are sent. Where they are not, nothing is to be done for them.
pub fn is_sent() -> bool {
    SENT.load(Ordering::Relaxed)
}

/// The two headers of a trace.
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

/// What a request continues, if its headers name a trace as they should.
fn context(traceparent: Option<&str>, tracestate: Option<&str>) -> Option<Context> {
    let headers = Headers { traceparent: traceparent?, tracestate: tracestate.unwrap_or_default() };
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    context.span().span_context().is_valid().then_some(context)
}

/// Makes a span go on with the trace that a request names. Answers the id of its trace, if it is in one.
pub fn follow(span: &Span, traceparent: Option<&str>, tracestate: Option<&str>) -> Option<String> {
    let continued = context(traceparent, tracestate);
    if !is_sent() {
        return continued.map(|context| context.span().span_context().trace_id().to_string());
    }
    if let Some(context) = continued
        && let Err(error) = span.set_parent(context)
    {
        tracing::debug!(%error, "a span does not go on with the trace of its request");
    }
    let own = span.context();
    let own = own.span().span_context().clone();
    own.is_valid().then(|| own.trace_id().to_string())
}

/// Says what a span was about, once that is known.
pub fn describe(span: &Span, name: &'static str, failed: bool, attributes: impl IntoIterator<Item = KeyValue>) {
    let context = span.context();
    let span = context.span();
    span.update_name(name);
    span.set_attributes(attributes);
    if failed {
        span.set_status(Status::error(""));
    }
}

/// An attribute of a span.
pub fn attribute(key: &'static str, value: impl Into<opentelemetry::Value>) -> KeyValue {
    KeyValue::new(key, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_their_trace_as_w3c_has_it() {
        let trace = |text: &str| follow(&Span::none(), Some(text), None);
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
        assert_eq!(follow(&Span::none(), None, Some("a=b")), None);
    }
}
