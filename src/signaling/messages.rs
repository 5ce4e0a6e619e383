//! The messages of the events WebSocket. `docs/participants.md` shows each.

use crate::app::views::Entry;
use crate::clock::Timestamp;
use crate::domain::admission::VerifiedToken;
use crate::model::participant::ParticipantAttributes;
use crate::model::token::ParticipantTokenCapabilities;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a client says.
#[derive(PartialEq, Eq)]
pub enum Heard {
    /// It lives.
    Ping,
    /// It has a new token.
    TokenExchange(String),
    /// Something of a kind that is not known here.
    Unknown,
    /// No message.
    Noise,
}

/// What the server says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", content = "payload", rename_all = "SCREAMING_SNAKE_CASE")]
enum Say<'a> {
    #[serde(rename_all = "camelCase")]
    StageState { stage_id: &'a str, participants: Vec<Listed<'a>> },
    #[serde(rename_all = "camelCase")]
    TokenExchanged {
        user_id: &'a str,
        attributes: &'a ParticipantAttributes,
        capabilities: &'a ParticipantTokenCapabilities,
        expiration_time: String,
    },
    #[serde(rename_all = "camelCase")]
    Error {
        code: &'a str,
        message: &'a str,
        /// For an error of a media connection: `publish` or `subscribe`.
        #[serde(skip_serializing_if = "Option::is_none")]
        role: Option<&'a str>,
        /// For a subscription: the publisher.
        #[serde(skip_serializing_if = "Option::is_none")]
        remote_participant_id: Option<&'a str>,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    id: &'a str,
    user_id: &'a str,
    attributes: &'a ParticipantAttributes,
    is_publishing: bool,
}

impl<'a> From<&'a Entry> for Listed<'a> {
    fn from(entry: &'a Entry) -> Self {
        Listed {
            id: &entry.id,
            user_id: &entry.user_id,
            attributes: &entry.attributes,
            is_publishing: entry.publishing,
        }
    }
}

/// Reads what a client has sent.
pub fn heard(text: &str) -> Heard {
    #[derive(Deserialize)]
    struct Message {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        payload: Value,
    }
    let Ok(Message { kind, payload }) = serde_json::from_str(text) else { return Heard::Noise };
    match (kind.as_str(), payload.get("token").and_then(Value::as_str)) {
        ("PING", _) => Heard::Ping,
        ("TOKEN_EXCHANGE", Some(token)) => Heard::TokenExchange(token.to_owned()),
        ("TOKEN_EXCHANGE", None) => Heard::Noise,
        _ => Heard::Unknown,
    }
}

fn text(message: &Say<'_>) -> String {
    // Texts, booleans and maps of texts: nothing in them can fail.
    serde_json::to_string(message).unwrap_or_default()
}

/// The answer to a sign of life.
pub const PONG: &str = r#"{"type":"PONG"}"#;

/// How a stage looks.
pub fn stage_state(stage_id: &str, participants: &[Entry]) -> String {
    text(&Say::StageState { stage_id, participants: participants.iter().map(Listed::from).collect() })
}

/// A [`stage_state`] with one more participant at its end.
pub fn with(stage_state: &str, own: &Entry) -> String {
    /// What follows the last participant.
    const TAIL: &str = "]}}";
    let head = stage_state.strip_suffix(TAIL).unwrap_or(stage_state);
    let comma = if head.ends_with('[') { "" } else { "," };
    let own = serde_json::to_string(&Listed::from(own)).unwrap_or_default();
    format!("{head}{comma}{own}{TAIL}")
}

/// What a new token says.
pub fn token_exchanged(ticket: &VerifiedToken) -> String {
    text(&Say::TokenExchanged {
        user_id: &ticket.user_id,
        attributes: &ticket.attributes,
        capabilities: &ticket.capabilities,
        expiration_time: Timestamp(ticket.expires_at.saturating_mul(1000)).to_string(),
    })
}

/// Something that was refused.
pub fn error(code: &str, message: &str) -> String {
    text(&Say::Error { code, message, role: None, remote_participant_id: None })
}

/// An error of a media connection: what it was for, and the publisher if it was a subscription.
pub fn media_error(code: &str, message: &str, role: &str, publisher: Option<&str>) -> String {
    text(&Say::Error { code, message, role: Some(role), remote_participant_id: publisher })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(id: &str) -> Entry {
        let attributes = ParticipantAttributes([("k".to_owned(), "\"".to_owned())].into());
        Entry { id: id.to_owned(), user_id: "u".to_owned(), attributes, publishing: id == "p" }
    }

    #[test]
    fn whoever_is_not_listed_is_added_at_the_end() {
        let listed = |id: &str| json!({"id": id, "userId": "u", "attributes": {"k": "\""}, "isPublishing": id == "p"});
        for (others, expected) in [(vec![], vec!["me"]), (vec!["p", "b"], vec!["p", "b", "me"])] {
            let text = stage_state("s", &others.iter().map(|id| entry(id)).collect::<Vec<_>>());
            let read: Value = serde_json::from_str(&with(&text, &entry("me"))).unwrap();
            let participants: Vec<_> = expected.into_iter().map(listed).collect();
            let expected = json!({"type": "STAGE_STATE", "payload": {"stageId": "s", "participants": participants}});
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn messages_are_told_from_unknown_ones_and_from_noise() {
        for (text, expected) in [
            (r#"{"type":"PING"}"#, Heard::Ping),
            (r#"{"type":"PING","payload":{},"more":1}"#, Heard::Ping),
            (r#"{"payload":{"token":"t","x":1},"type":"TOKEN_EXCHANGE"}"#, Heard::TokenExchange("t".into())),
            (r#"{"type":"HELLO","payload":[]}"#, Heard::Unknown),
            (r#"{"type":"TOKEN_EXCHANGE"}"#, Heard::Noise),
            (r#"{"type":"TOKEN_EXCHANGE","payload":{"token":1}}"#, Heard::Noise),
            (r#"{"type":1}"#, Heard::Noise),
            ("[]", Heard::Noise),
            ("", Heard::Noise),
        ] {
            assert!(heard(text) == expected, "{text}");
        }
        assert!(heard(&"[".repeat(60_000)) == Heard::Noise);
    }
}
