//! The claims of a participant token that a client needs. The client does not verify it.

use super::connector::Origin;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Uri;
use serde::Deserialize;

/// Maximum length of a token, as on the server.
const MAX_LENGTH: usize = 8192;

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token is not a JSON Web Token of at most {MAX_LENGTH} characters")]
    Form,
    /// A claim is missing or invalid.
    #[error("cannot read the token: {0}")]
    Payload(#[from] serde_json::Error),
    #[error("'{0}' is not a URL for events (ws://, wss://) or WHIP (http://, https://)")]
    Url(String),
}

/// A token and its claims.
#[derive(Clone)]
pub struct Token {
    /// The token as it is sent.
    pub text: String,
    /// Id of the participant.
    pub participant: String,
    /// Id of the stage.
    pub stage: String,
    /// Base URL of events WebSockets.
    pub events_url: Uri,
    /// Base URL of WHIP.
    pub whip_url: Uri,
}

/// Without the token itself, which is a secret.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("participant", &self.participant).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Payload {
    jti: String,
    topic: String,
    events_url: Option<String>,
    whip_url: Option<String>,
}

impl Token {
    /// Parses a token. URLs that are given override its claims.
    pub fn parse(text: &str, events_url: Option<&str>, whip_url: Option<&str>) -> Result<Token, TokenError> {
        let text = text.trim();
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let parts: Vec<_> = text.split('.').collect();
        let [_, payload, _] = parts[..] else { return Err(TokenError::Form) };
        if text.len() > MAX_LENGTH || !text.chars().all(fits) {
            return Err(TokenError::Form);
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Form)?;
        let payload: Payload = serde_json::from_slice(&payload)?;
        Ok(Token {
            text: text.to_owned(),
            events_url: url(events_url.or(payload.events_url.as_deref()))?,
            whip_url: url(whip_url.or(payload.whip_url.as_deref()))?,
            participant: payload.jti,
            stage: payload.topic,
        })
    }

    /// URL of the events WebSocket of the stage.
    pub fn events_target(&self) -> Result<Uri, TokenError> {
        append_path(&self.events_url, &["", &self.stage])
    }

    /// URL to publish to.
    pub fn publish_target(&self) -> Result<Uri, TokenError> {
        append_path(&self.whip_url, &["", "publish", &self.participant])
    }

    /// URL to subscribe to a participant.
    pub fn subscribe_target(&self, remote: &str) -> Result<Uri, TokenError> {
        append_path(&self.whip_url, &["", "subscribe", remote])
    }
}

fn url(text: Option<&str>) -> Result<Uri, TokenError> {
    let text = text.unwrap_or_default();
    let url: Option<Uri> = text.parse().ok();
    url.filter(|url| Origin::of(url).is_ok()).ok_or_else(|| TokenError::Url(text.to_owned()))
}

/// Appends path segments, percent-encoded, to a URL.
fn append_path(base: &Uri, segments: &[&str]) -> Result<Uri, TokenError> {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    let path: Vec<_> = segments.iter().map(|segment| utf8_percent_encode(segment, KEPT).to_string()).collect();
    let text = format!("{}{}", base.to_string().trim_end_matches('/'), path.join("/"));
    text.parse().map_err(|_| TokenError::Url(text))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A token with a payload and an invalid signature.
    pub fn token(payload: &serde_json::Value) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(r#"{"alg":"ES384"}"#), part(&payload.to_string()), part("x"))
    }

    #[test]
    fn urls_are_built_from_the_claims() {
        let text = token(&serde_json::json!({
            "jti": "ABCDEFGHIJKL", "topic": "oRmLNwuCeMlQ",
            "events_url": "ws://127.0.0.1:4600/rt/events", "whip_url": "http://127.0.0.1:4600/rt/whip/",
        }));
        let token = Token::parse(&format!("{text}\n"), None, None).unwrap();
        assert_eq!(token.events_target().unwrap(), "ws://127.0.0.1:4600/rt/events/oRmLNwuCeMlQ");
        assert_eq!(token.publish_target().unwrap(), "http://127.0.0.1:4600/rt/whip/publish/ABCDEFGHIJKL");
        assert_eq!(token.subscribe_target("a/../b").unwrap(), "http://127.0.0.1:4600/rt/whip/subscribe/a%2F..%2Fb");
        let token = Token::parse(&text, Some("wss://x.example/e"), Some("https://x.example/w")).unwrap();
        assert_eq!(token.events_target().unwrap(), "wss://x.example/e/oRmLNwuCeMlQ");
        assert_eq!(token.publish_target().unwrap(), "https://x.example/w/publish/ABCDEFGHIJKL");
        assert!(!format!("{token:?}").contains(&text[..20]));
    }

    #[test]
    fn invalid_tokens_are_rejected() {
        for bad in ["", "a.b", "a.b.c.d", "a.!.c", "a.e30.c", &"a".repeat(9000)] {
            assert!(Token::parse(bad, None, None).is_err(), "{bad}");
        }
        let bare = token(&serde_json::json!({"jti": "a", "topic": "b"}));
        assert!(matches!(Token::parse(&bare, None, None), Err(TokenError::Url(_))));
        assert!(matches!(Token::parse(&bare, Some("ws://x/e"), Some("no")), Err(TokenError::Url(_))));
        assert!(Token::parse(&bare, Some("ws://x/e"), Some("http://x/w")).is_ok());
    }
}
