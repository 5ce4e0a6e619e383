//! Webhooks, signed by the Standard Webhooks specification: <https://www.standardwebhooks.com>.

use super::{DeliveryError, Outcome, Outgoing, body};
use crate::clock::{Clock, Timestamp};
use crate::events::targets::{Key, Target, Webhook};
use crate::http::client::HttpClient;
use crate::http::tls::TlsError;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use hyper::{Request, StatusCode, Uri};
use std::time::Duration;

/// Maximum bytes of a response to read so that its connection can be reused.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The client of one webhook, with its own connections.
#[derive(Debug)]
pub(in crate::events) struct WebhookSink {
    client: HttpClient,
    url: Uri,
    keys: Vec<hmac::Key>,
    source: Option<String>,
    clock: Clock,
}

impl WebhookSink {
    pub(super) fn new(webhook: &Webhook, target: &Target, clock: Clock) -> Result<Self, TlsError> {
        Ok(WebhookSink {
            client: HttpClient::new(&webhook.ca, webhook.timeout, webhook.concurrency)?,
            url: webhook.url.clone(),
            keys: webhook.keys.iter().map(|Key(key)| hmac::Key::new(hmac::HMAC_SHA256, key)).collect(),
            source: target.source.clone(),
            clock,
        })
    }

    /// Posts an event.
    pub(super) async fn post(&self, event: &Outgoing) -> Outcome {
        // Receivers judge the age of a request by their own clock.
        let now = self.clock.real();
        let body = body(event, self.source.as_deref());
        let request = Request::post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", now.unix_seconds())
            .header("webhook-signature", signatures(&self.keys, &event.id, now, &body))
            .body(Bytes::from(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Outcome::Failed(DeliveryError::new(error.to_string())),
        };
        match self.client.send(request, MAX_RESPONSE_BYTES).await {
            // The status decides, even if the body exceeds the limit.
            Ok(response) => judge(response.status(), response.headers(), now),
            Err(error) => Outcome::Failed(DeliveryError::new(error.to_string())),
        }
    }
}

/// The outcome of a response. Redirects are not followed: signed events are sent only to the configured URL.
fn judge(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Outcome {
    if status.is_success() {
        return Outcome::Delivered;
    }
    let more = match status {
        status if status.is_redirection() => "; redirects are not followed",
        StatusCode::GONE => "; remove the target if it is not wanted any more",
        _ => "",
    };
    let mut error = DeliveryError::new(format!("it answered {status}{more}"));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        error.retry_after = headers.get(RETRY_AFTER).and_then(|value| parse_retry_after(value.to_str().ok()?, now));
    }
    Outcome::Failed(error)
}

/// Parses seconds or an HTTP date.
fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text.trim()).ok()?.timestamp_millis();
    Some(Duration::from_millis(u64::try_from(at.saturating_sub(now.0)).ok()?))
}

/// One signature per key, so that receivers can verify with either during a rotation.
fn signatures(keys: &[hmac::Key], id: &str, at: Timestamp, body: &str) -> String {
    let signed = format!("{id}.{}.{body}", at.unix_seconds());
    let signature = |key: &hmac::Key| format!("v1,{}", STANDARD.encode(hmac::sign(key, signed.as_bytes())));
    keys.iter().map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of the specification's reference implementations.
    #[test]
    fn signatures_match_the_test_vector_of_the_specification() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let keys = [hmac::Key::new(hmac::HMAC_SHA256, &key), hmac::Key::new(hmac::HMAC_SHA256, b"another")];
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let made = signatures(&keys[..1], id, Timestamp(1_614_265_330_000), r#"{"test": 2432232314}"#);
        assert_eq!(made, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(signatures(&keys, id, Timestamp(0), "").split(' ').count(), 2);
    }

    #[test]
    fn only_2xx_is_success() {
        let headers = HeaderMap::new();
        let judge = |status: u16| judge(StatusCode::from_u16(status).unwrap(), &headers, Timestamp(0));
        for status in [200, 201, 202, 204] {
            assert_eq!(judge(status), Outcome::Delivered);
        }
        for status in [301, 307, 400, 404, 410, 429, 500, 503] {
            let Outcome::Failed(error) = judge(status) else { panic!("{status}") };
            assert!(error.reason.contains(&status.to_string()) && !error.permanent, "{error:?}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Timestamp(1_700_000_000_000);
        assert_eq!(parse_retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(parse_retry_after("Tue, 14 Nov 2023 22:14:20 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(parse_retry_after("Tue, 14 Nov 2023 22:00:00 GMT", now), None, "past");
        assert_eq!(parse_retry_after("soon", now), None);
    }
}
