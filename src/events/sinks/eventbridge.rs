//! EventBridge buses, with the AWS SDK.

use super::{DeliveryError, Outcome, Outgoing};
use crate::config::Secret;
use crate::events::targets::{Bus, Target};
use crate::http::client::error_chain;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::config::Credentials;
use aws_sdk_eventbridge::error::ProvideErrorMetadata as _;
use aws_sdk_eventbridge::primitives::{DateTime, DateTimeFormat};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Maximum events per request.
pub(super) const BATCH: usize = 10;
/// Maximum bytes of a request, and thereby of an event.
const MOST: usize = 256 * 1024;

/// The client of one bus.
#[derive(Debug)]
pub(in crate::events) struct EventBridgeSink {
    client: Client,
    bus: String,
    source: Option<String>,
    id_member: Option<String>,
}

/// The members of an envelope that PutEvents accepts.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "detail-type")]
    detail_type: String,
    source: String,
    time: String,
    resources: Vec<String>,
    detail: Map<String, Value>,
}

impl EventBridgeSink {
    pub(super) async fn new(bus: &Bus, target: &Target) -> Self {
        // The queue retries.
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(bus.timeout).build());
        if let Some(region) = &bus.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &bus.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some((id, Secret(secret))) = &bus.credentials {
            loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "greenroom"));
        }
        EventBridgeSink {
            client: Client::new(&loader.load().await),
            bus: bus.bus.clone(),
            source: target.source.clone(),
            id_member: bus.id_member.clone(),
        }
    }

    /// Sends events in as few requests as their sizes allow.
    pub(super) async fn put(&self, events: &[Arc<Outgoing>]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(events.len());
        let (mut request, mut bytes) = (Vec::new(), 0);
        // An oversized event ends the current request, so that outcomes stay in order.
        for event in events {
            let made = self.entry(event);
            let more = made.as_ref().map_or(0, |(_, size)| *size);
            if made.is_err() || bytes + more > MOST {
                outcomes.extend(self.put_entries(std::mem::take(&mut request)).await);
                bytes = 0;
            }
            match made {
                Ok((event, size)) => {
                    request.push(event);
                    bytes += size;
                }
                Err(error) => outcomes.push(Outcome::Failed(error)),
            }
        }
        outcomes.extend(self.put_entries(request).await);
        outcomes
    }

    /// The entry of an event, and its size by AWS's formula.
    fn entry(&self, event: &Outgoing) -> Result<(PutEventsRequestEntry, usize), DeliveryError> {
        let permanent = |reason: String| DeliveryError { permanent: true, ..DeliveryError::new(reason) };
        let envelope: Envelope =
            serde_json::from_str(&event.body).map_err(|error| permanent(format!("it is no envelope: {error}")))?;
        let Envelope { detail_type, source, time, resources, mut detail } = envelope;
        let source = self.source.clone().unwrap_or(source);
        if let Some(member) = &self.id_member {
            detail.insert(member.clone(), event.id.clone().into());
        }
        let detail = Value::Object(detail).to_string();
        let resource_bytes: usize = resources.iter().map(String::len).sum();
        let size = 14 + source.len() + detail_type.len() + detail.len() + resource_bytes;
        if size > MOST {
            return Err(permanent(format!("it has {size} bytes, and a bus takes {MOST} at most")));
        }
        let made = PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .set_time(DateTime::from_str(&time, DateTimeFormat::DateTime).ok())
            .source(source)
            .detail_type(detail_type)
            .detail(detail)
            .set_resources(Some(resources))
            .build();
        Ok((made, size))
    }

    async fn put_entries(&self, entries: Vec<PutEventsRequestEntry>) -> Vec<Outcome> {
        let count = entries.len();
        if count == 0 {
            return Vec::new();
        }
        let answer = match self.client.put_events().set_entries(Some(entries)).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let reason = match (error.code(), error.message()) {
                    (Some(code), message) => format!("{code}: {}", message.unwrap_or_default()),
                    (None, _) => error_chain(&error),
                };
                return vec![Outcome::Failed(DeliveryError::new(reason)); count];
            }
        };
        let results = answer.entries();
        if results.len() != count {
            let reason = format!("it was sent {count} entries and answered {}", results.len());
            return vec![Outcome::Failed(DeliveryError::new(reason)); count];
        }
        results
            .iter()
            .map(|result| match result.error_code() {
                None => Outcome::Delivered,
                Some(code) => {
                    let message = result.error_message().unwrap_or_default();
                    Outcome::Failed(DeliveryError::new(format!("{code}: {message}")))
                }
            })
            .collect()
    }
}
