//! Faults of the test API in deliveries to event targets.

use super::sinks::{DeliveryError, Outcome, Outgoing, Sink};
use super::targets::{Kind, Target};
use crate::app::App;
use crate::domain::faults::DeliveryFault;
use crate::model::arn::Scope;
use std::sync::Arc;
use std::time::Duration;

/// The timeout of targets that have none of their own.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends events, except those whose delivery is to fail; returns the outcome of each.
pub(super) async fn send(app: &App, target: &Target, sink: &Sink, events: &[Arc<Outgoing>]) -> Vec<Outcome> {
    let Some(controls) = app.test_controls() else { return sink.send(events).await };
    let of = |event: &Arc<Outgoing>| controls.faults.of_delivery(&target.name, &scope(&event.body)?);
    let mut faults: Vec<_> = events.iter().map(of).collect();
    if sink.options(target).single_queue
        && let Some(fault) = faults.iter().flatten().next().copied()
    {
        // A request fails as a whole.
        faults.fill(Some(fault));
    }
    let passed: Vec<_> =
        events.iter().zip(&faults).filter(|(_, fault)| fault.is_none()).map(|(event, _)| event.clone()).collect();
    let sent = if passed.is_empty() { Vec::new() } else { sink.send(&passed).await };
    if faults.contains(&Some(DeliveryFault::Hang)) {
        tokio::time::sleep(timeout(target)).await;
    }
    let mut sent = sent.into_iter();
    let outcome = |fault: Option<DeliveryFault>| match fault {
        None => sent.next().unwrap_or_else(|| failed("it was not sent".into())),
        Some(DeliveryFault::Refuse) => failed("it answered 503 Service Unavailable (a fault of the test API)".into()),
        Some(DeliveryFault::Hang) => {
            let seconds = timeout(target).as_secs();
            failed(format!("there was no answer within {seconds} seconds (a fault of the test API)"))
        }
    };
    faults.into_iter().map(outcome).collect()
}

fn failed(reason: String) -> Outcome {
    Outcome::Failed(DeliveryError { reason, ..DeliveryError::default() })
}

fn timeout(target: &Target) -> Duration {
    match &target.kind {
        Kind::Webhook(webhook) => webhook.timeout,
        Kind::EventBridge(bus) => bus.timeout,
        Kind::File(_) | Kind::Stdout => TIMEOUT,
    }
}

/// The account and region of an event, by its envelope.
fn scope(body: &str) -> Option<Scope> {
    #[derive(serde::Deserialize)]
    struct Envelope {
        account: String,
        region: String,
    }
    let Envelope { account, region } = serde_json::from_str(body).ok()?;
    Some(Scope { account, region })
}
