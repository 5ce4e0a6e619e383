//! Sinks: clients that send events to a target.

mod eventbridge;
mod jsonl;
mod webhook;

use super::queue::QueueOptions;
use super::targets::{Kind, Target};
use crate::app::App;
use crate::app::event_log::{Event, StageKey};
use crate::clock::Timestamp;
use crate::http::tls::TlsError;
use std::sync::Arc;
use std::time::Duration;

/// An event to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    /// Position in the log.
    pub position: i64,
    /// The stage whose events are sent in order.
    pub stage: Option<StageKey>,
    pub id: String,
    /// The envelope, as JSON.
    pub body: String,
    pub written_at: Timestamp,
}

impl From<Event> for Outgoing {
    fn from(event: Event) -> Self {
        let Event { position, scope, stage, id, body, written_at, .. } = event;
        Outgoing { position, stage: stage.map(|stage| StageKey { scope, stage }), id, body, written_at }
    }
}

/// The result of sending an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    Failed(DeliveryError),
}

/// Why an event was not delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DeliveryError {
    /// One line without secrets.
    pub reason: String,
    /// The target's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Whether retries cannot succeed.
    pub permanent: bool,
}

impl DeliveryError {
    fn new(reason: impl Into<String>) -> Self {
        /// Maximum length of a stored reason.
        const LONGEST: usize = 300;
        let reason: String = reason.into();
        let line = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
        DeliveryError { reason: line.take(LONGEST).collect(), ..DeliveryError::default() }
    }
}

/// The client of one target.
#[derive(Debug)]
pub(super) enum Sink {
    Webhook(Box<webhook::WebhookSink>),
    EventBridge(Box<eventbridge::EventBridgeSink>),
    Jsonl(jsonl::JsonlSink),
}

impl Sink {
    /// The sink of a target; does not connect yet.
    pub(super) async fn new(target: &Target, app: &Arc<App>) -> Result<Sink, TlsError> {
        Ok(match &target.kind {
            Kind::Webhook(webhook) => {
                Sink::Webhook(Box::new(webhook::WebhookSink::new(webhook, target, app.clock().clone())?))
            }
            Kind::EventBridge(bus) => Sink::EventBridge(Box::new(eventbridge::EventBridgeSink::new(bus, target).await)),
            Kind::File(path) => Sink::Jsonl(jsonl::JsonlSink::new(Some(path.clone()), target)),
            Kind::Stdout => Sink::Jsonl(jsonl::JsonlSink::new(None, target)),
        })
    }

    /// The delivery options of the target.
    pub(super) fn options(&self, target: &Target) -> QueueOptions {
        let (batch, parallel, single_queue) = match &target.kind {
            Kind::Webhook(webhook) => (1, webhook.concurrency, false),
            Kind::EventBridge(bus) => (eventbridge::BATCH, bus.concurrency, false),
            Kind::File(_) | Kind::Stdout => (jsonl::BATCH, 1, true),
        };
        QueueOptions { batch, parallel, single_queue, retry: target.retry }
    }

    /// Sends events, at most one per stage unless the target has a single queue; returns the outcome of each.
    pub(super) async fn send(&self, events: &[Arc<Outgoing>]) -> Vec<Outcome> {
        match self {
            Sink::Webhook(webhook) => {
                let mut outcomes = Vec::with_capacity(events.len());
                for event in events {
                    outcomes.push(webhook.post(event).await);
                }
                outcomes
            }
            Sink::EventBridge(bus) => bus.put(events).await,
            Sink::Jsonl(file) => {
                let outcome = file.write(events).await;
                events.iter().map(|_| outcome.clone()).collect()
            }
        }
    }
}

/// The envelope, with the target's source if it has one. The first `"source"` is the envelope's: no earlier member is an
/// object.
fn body(event: &Outgoing, source: Option<&str>) -> String {
    const OWN: &str = "\"source\":\"aws.ivs\"";
    let Some(source) = source else { return event.body.clone() };
    event.body.replacen(OWN, &format!("\"source\":{}", serde_json::Value::from(source)), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_source_of_the_envelope_is_replaced() {
        let body_of = |body: &str| Outgoing {
            position: 1,
            stage: None,
            id: "i".into(),
            body: body.into(),
            written_at: Timestamp(0),
        };
        let event = body_of(r#"{"id":"i","source":"aws.ivs","detail":{"source":"aws.ivs"}}"#);
        assert_eq!(body(&event, None), event.body);
        let expected = r#"{"id":"i","source":"a\"b","detail":{"source":"aws.ivs"}}"#;
        assert_eq!(body(&event, Some("a\"b")), expected);
    }

    #[test]
    fn a_reason_is_one_line_with_limited_length() {
        let error = DeliveryError::new(format!("a\nb{}", "c".repeat(1000)));
        assert!(error.reason.starts_with("a b") && error.reason.len() == 300);
    }
}
