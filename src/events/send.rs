//! The ways on which events leave.

mod eventbridge;
mod lines;
mod webhook;

use super::targets::{Kind, Target};
use super::window::Rules;
use crate::app::App;
use crate::http::tls::TlsError;
use crate::store::StageKey;
use std::sync::Arc;
use std::time::Duration;

/// An event as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its place in the log.
    pub position: i64,
    /// The stage that it is ordered with.
    pub stage: StageKey,
    /// Its id.
    pub id: String,
    /// The envelope.
    pub body: String,
    /// When it was written, in milliseconds.
    pub written_at: i64,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The target has it.
    Taken,
    /// It has not.
    Refused(Refusal),
}

/// Why an event was not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What the operator is told: one line without secrets.
    pub reason: String,
    /// How long the target asks to be left alone.
    pub hold: Option<Duration>,
    /// Whether the event can never be taken.
    pub hopeless: bool,
}

impl Refusal {
    fn new(reason: impl Into<String>) -> Self {
        /// Longest reason that is kept.
        const LONGEST: usize = 300;
        let reason: String = reason.into();
        let line = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
        Refusal { reason: line.take(LONGEST).collect(), ..Refusal::default() }
    }
}

/// Sends to one target.
#[derive(Debug)]
pub(super) enum Sender {
    Webhook(Box<webhook::Poster>),
    EventBridge(Box<eventbridge::Putter>),
    Lines(lines::Writer),
}

impl Sender {
    /// The sender of a target; nothing is connected to yet.
    pub(super) async fn new(target: &Target, app: &Arc<App>) -> Result<Sender, TlsError> {
        Ok(match &target.kind {
            Kind::Webhook(webhook) => {
                Sender::Webhook(Box::new(webhook::Poster::new(webhook, target, app.clock.clone())?))
            }
            Kind::EventBridge(bus) => Sender::EventBridge(Box::new(eventbridge::Putter::new(bus, target).await)),
            Kind::File(path) => Sender::Lines(lines::Writer::new(Some(path.clone()), target)),
            Kind::Stdout => Sender::Lines(lines::Writer::new(None, target)),
        })
    }

    /// How it wants its events.
    pub(super) fn rules(&self, target: &Target) -> Rules {
        let (batch, parallel, one_lane) = match &target.kind {
            Kind::Webhook(webhook) => (1, webhook.concurrency, false),
            Kind::EventBridge(bus) => (eventbridge::BATCH, bus.concurrency, false),
            Kind::File(_) | Kind::Stdout => (lines::BATCH, 1, true),
        };
        Rules { batch, parallel, one_lane, retry: target.retry }
    }

    /// Sends events, of which no two are of one stage unless the rules say so; answers what became of each.
    pub(super) async fn send(&self, entries: &[Arc<Entry>]) -> Vec<Outcome> {
        match self {
            Sender::Webhook(poster) => {
                let mut outcomes = Vec::with_capacity(entries.len());
                for entry in entries {
                    outcomes.push(poster.post(entry).await);
                }
                outcomes
            }
            Sender::EventBridge(putter) => putter.put(entries).await,
            Sender::Lines(writer) => {
                let outcome = writer.write(entries).await;
                entries.iter().map(|_| outcome.clone()).collect()
            }
        }
    }
}

/// The envelope with another source, if the target has one. The first `source` is the envelope's: nothing before it
/// has members.
fn body(entry: &Entry, source: Option<&str>) -> String {
    const OWN: &str = "\"source\":\"aws.ivs\"";
    let Some(source) = source else { return entry.body.clone() };
    entry.body.replacen(OWN, &format!("\"source\":{}", serde_json::Value::from(source)), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_source_of_the_envelope_is_replaced() {
        let body_of = |body: &str| Entry {
            position: 1,
            stage: StageKey { account: String::new(), region: String::new(), stage_id: String::new() },
            id: "i".into(),
            body: body.into(),
            written_at: 0,
        };
        let entry = body_of(r#"{"id":"i","source":"aws.ivs","detail":{"source":"aws.ivs"}}"#);
        assert_eq!(body(&entry, None), entry.body);
        let expected = r#"{"id":"i","source":"a\"b","detail":{"source":"aws.ivs"}}"#;
        assert_eq!(body(&entry, Some("a\"b")), expected);
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let refusal = Refusal::new(format!("a\nb{}", "c".repeat(1000)));
        assert!(refusal.reason.starts_with("a b") && refusal.reason.len() == 300);
    }
}
