//! What a participant token says of where to go; whether it is good is for the doors to say.

use super::connector::Origin;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Uri;
use serde::Deserialize;

/// Longest token that is taken, as at the doors.
const LONGEST: usize = 8192;

/// Why a text is not a token that a client can go by.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not a token.
    #[error("the token is not a JSON Web Token of at most {LONGEST} characters")]
    Form,
    /// A member is missing or has another form.
    #[error("the token cannot be read: {0}")]
    Payload(#[from] serde_json::Error),
    /// A URL.
    #[error("'{0}' is not a URL of events (ws://, wss://) or media (http://, https://)")]
    Url(String),
}

/// A token, and what is in it for whoever carries it.
#[derive(Clone)]
pub struct Token {
    /// As it is shown at the doors.
    pub text: String,
    /// The participant's id.
    pub participant: String,
    /// The stage's id.
    pub stage: String,
    /// Where the events are.
    pub events_url: Uri,
    /// Where media are exchanged.
    pub whip_url: Uri,
}

/// Without the token itself: it opens doors.
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
    /// Reads a token. URLs that are given take the place of those in it.
    pub fn read(text: &str, events_url: Option<&str>, whip_url: Option<&str>) -> Result<Token, TokenError> {
        let text = text.trim();
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let parts: Vec<_> = text.split('.').collect();
        let [_, payload, _] = parts[..] else { return Err(TokenError::Form) };
        if text.len() > LONGEST || !text.chars().all(fits) {
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

    /// Where the events WebSocket of the stage is.
    pub fn events(&self) -> Result<Uri, TokenError> {
        joined(&self.events_url, &["", &self.stage])
    }

    /// Where to publish.
    pub fn publish(&self) -> Result<Uri, TokenError> {
        joined(&self.whip_url, &["", "publish", &self.participant])
    }

    /// Where to subscribe to somebody.
    pub fn subscribe(&self, remote: &str) -> Result<Uri, TokenError> {
        joined(&self.whip_url, &["", "subscribe", remote])
    }
}

fn url(text: Option<&str>) -> Result<Uri, TokenError> {
    let text = text.unwrap_or_default();
    let url: Option<Uri> = text.parse().ok();
    url.filter(|url| Origin::of(url).is_ok()).ok_or_else(|| TokenError::Url(text.to_owned()))
}

/// A URL with more parts of a path; what would not stay one part is escaped.
fn joined(base: &Uri, parts: &[&str]) -> Result<Uri, TokenError> {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    let path: Vec<_> = parts.iter().map(|part| utf8_percent_encode(part, KEPT).to_string()).collect();
    let text = format!("{}{}", base.to_string().trim_end_matches('/'), path.join("/"));
    text.parse().map_err(|_| TokenError::Url(text))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A token with a payload; its signature is none.
    pub fn token(payload: &serde_json::Value) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(r#"{"alg":"ES384"}"#), part(&payload.to_string()), part("x"))
    }

    #[test]
    fn a_token_says_where_to_go() {
        let text = token(&serde_json::json!({
            "jti": "ABCDEFGHIJKL", "topic": "oRmLNwuCeMlQ",
            "events_url": "ws://127.0.0.1:4600/rt/events", "whip_url": "http://127.0.0.1:4600/rt/whip/",
        }));
        let token = Token::read(&format!("{text}\n"), None, None).unwrap();
        assert_eq!(token.events().unwrap(), "ws://127.0.0.1:4600/rt/events/oRmLNwuCeMlQ");
        assert_eq!(token.publish().unwrap(), "http://127.0.0.1:4600/rt/whip/publish/ABCDEFGHIJKL");
        assert_eq!(token.subscribe("a/../b").unwrap(), "http://127.0.0.1:4600/rt/whip/subscribe/a%2F..%2Fb");
        let token = Token::read(&text, Some("wss://x.example/e"), Some("https://x.example/w")).unwrap();
        assert_eq!(token.events().unwrap(), "wss://x.example/e/oRmLNwuCeMlQ");
        assert_eq!(token.publish().unwrap(), "https://x.example/w/publish/ABCDEFGHIJKL");
        assert!(!format!("{token:?}").contains(&text[..20]));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for bad in ["", "a.b", "a.b.c.d", "a.!.c", "a.e30.c", &"a".repeat(9000)] {
            assert!(Token::read(bad, None, None).is_err(), "{bad}");
        }
        let bare = token(&serde_json::json!({"jti": "a", "topic": "b"}));
        assert!(matches!(Token::read(&bare, None, None), Err(TokenError::Url(_))));
        assert!(matches!(Token::read(&bare, Some("ws://x/e"), Some("no")), Err(TokenError::Url(_))));
        assert!(Token::read(&bare, Some("ws://x/e"), Some("http://x/w")).is_ok());
    }
}
