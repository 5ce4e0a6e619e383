//! The messages of the events WebSocket; `docs/reference/participants.md` shows each.

use crate::app::MediaKind;
use crate::app::views::Entry;
use crate::clock::Timestamp;
use crate::connections::{MediaError, StageSnapshot};
use crate::domain::admission::VerifiedToken;
use crate::model::participant::ParticipantAttributes;
use crate::model::token::ParticipantTokenCapabilities;
use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// A message of a client.
#[derive(PartialEq, Eq)]
pub enum ClientMessage {
    Ping,
    /// With the new token.
    TokenExchange(String),
    /// A message of an unknown type.
    Unknown,
    /// Not a message.
    Malformed,
}

/// A message of the server.
#[derive(Debug, Serialize)]
#[serde(tag = "type", content = "payload", rename_all = "SCREAMING_SNAKE_CASE")]
enum ServerMessage<'a> {
    #[serde(rename_all = "camelCase")]
    StageState {
        stage_id: &'a str,
        participants: Vec<ParticipantEntry<'a>>,
    },
    #[serde(rename_all = "camelCase")]
    TokenExchanged {
        user_id: &'a str,
        attributes: &'a ParticipantAttributes,
        capabilities: &'a ParticipantTokenCapabilities,
        expiration_time: String,
    },
    Error {
        code: &'a str,
        message: &'a str,
    },
    #[serde(rename = "ERROR")]
    MediaError(&'a MediaError),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ParticipantEntry<'a> {
    id: &'a str,
    user_id: &'a str,
    attributes: &'a ParticipantAttributes,
    is_publishing: bool,
    /// Of simulated participants only.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    muted: &'a BTreeSet<MediaKind>,
}

impl<'a> From<&'a Entry> for ParticipantEntry<'a> {
    fn from(entry: &'a Entry) -> Self {
        ParticipantEntry {
            id: &entry.id,
            user_id: &entry.user_id,
            attributes: &entry.attributes,
            is_publishing: entry.publishing,
            muted: &entry.muted,
        }
    }
}

impl ClientMessage {
    pub fn parse(text: &str) -> ClientMessage {
        #[derive(Deserialize)]
        struct Message {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            payload: Value,
        }
        let Ok(Message { kind, payload }) = serde_json::from_str(text) else { return ClientMessage::Malformed };
        match (kind.as_str(), payload.get("token").and_then(Value::as_str)) {
            ("PING", _) => ClientMessage::Ping,
            ("TOKEN_EXCHANGE", Some(token)) => ClientMessage::TokenExchange(token.to_owned()),
            ("TOKEN_EXCHANGE", None) => ClientMessage::Malformed,
            _ => ClientMessage::Unknown,
        }
    }
}

impl ServerMessage<'_> {
    fn to_text(&self) -> String {
        // Strings, booleans and maps of strings: serialization cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

pub const PONG: &str = r#"{"type":"PONG"}"#;

/// The state of a stage for the participant `own`, which is always in it: appended if the snapshot does not list it.
/// Sockets whose participants are listed share one text.
pub fn stage_state(stage_id: &str, snapshot: &StageSnapshot, own: &Entry) -> Utf8Bytes {
    let shared = snapshot.rendered(|participants| render_stage_state(stage_id, participants));
    let shared = Utf8Bytes::try_from(shared).unwrap_or_default();
    if snapshot.contains(&own.id) { shared } else { append_participant(&shared, own).into() }
}

fn render_stage_state(stage_id: &str, participants: &[Entry]) -> String {
    let participants = participants.iter().map(ParticipantEntry::from).collect();
    ServerMessage::StageState { stage_id, participants }.to_text()
}

/// A `STAGE_STATE` message with one more participant.
fn append_participant(stage_state: &str, own: &Entry) -> String {
    /// What follows the last participant.
    const TAIL: &str = "]}}";
    let head = stage_state.strip_suffix(TAIL).unwrap_or(stage_state);
    let comma = if head.ends_with('[') { "" } else { "," };
    let own = serde_json::to_string(&ParticipantEntry::from(own)).unwrap_or_default();
    format!("{head}{comma}{own}{TAIL}")
}

/// The claims of a new token, after an exchange.
pub fn token_exchanged(token: &VerifiedToken) -> String {
    let message = ServerMessage::TokenExchanged {
        user_id: &token.user_id,
        attributes: &token.attributes,
        capabilities: &token.capabilities,
        expiration_time: Timestamp(token.expires_at.saturating_mul(1000)).to_string(),
    };
    message.to_text()
}

pub fn error(code: &str, message: &str) -> String {
    ServerMessage::Error { code, message }.to_text()
}

pub fn media_error(error: &MediaError) -> String {
    ServerMessage::MediaError(error).to_text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(id: &str) -> Entry {
        let attributes = ParticipantAttributes([("k".to_owned(), "\"".to_owned())].into());
        let muted = if id == "m" { [MediaKind::Video, MediaKind::Audio].into() } else { BTreeSet::new() };
        Entry { id: id.to_owned(), user_id: "u".to_owned(), attributes, publishing: id == "p", muted }
    }

    #[test]
    fn a_participant_that_is_not_listed_is_appended() {
        let listed = |id: &str| json!({"id": id, "userId": "u", "attributes": {"k": "\""}, "isPublishing": id == "p"});
        for (others, expected) in
            [(vec![], vec!["me"]), (vec!["p", "b"], vec!["p", "b", "me"]), (vec!["me"], vec!["me"])]
        {
            let snapshot = StageSnapshot::new(others.iter().map(|id| entry(id)).collect());
            let read: Value = serde_json::from_str(&stage_state("s", &snapshot, &entry("me"))).unwrap();
            let participants: Vec<_> = expected.into_iter().map(listed).collect();
            let expected = json!({"type": "STAGE_STATE", "payload": {"stageId": "s", "participants": participants}});
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn what_a_simulated_participant_has_muted_is_shown() {
        let snapshot = StageSnapshot::new(vec![entry("m")]);
        let read: Value = serde_json::from_str(&stage_state("s", &snapshot, &entry("m"))).unwrap();
        assert_eq!(read["payload"]["participants"][0]["muted"], json!(["audio", "video"]));
    }

    #[test]
    fn errors_have_a_role_and_a_publisher_only_where_these_exist() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let expected = json!({"type": "ERROR", "payload": {"code": "C", "message": "m"}});
        assert_eq!(read(&error("C", "m")), expected);
        let mut failed =
            MediaError { code: "C".into(), message: "m".into(), role: "publish".into(), remote_participant_id: None };
        let expected = json!({"type": "ERROR", "payload": {"code": "C", "message": "m", "role": "publish"}});
        assert_eq!(read(&media_error(&failed)), expected);
        failed.remote_participant_id = Some("p".into());
        assert_eq!(read(&media_error(&failed))["payload"]["remoteParticipantId"], "p");
    }

    #[test]
    fn unknown_messages_are_distinguished_from_malformed_ones() {
        for (text, expected) in [
            (r#"{"type":"PING"}"#, ClientMessage::Ping),
            (r#"{"type":"PING","payload":{},"more":1}"#, ClientMessage::Ping),
            (r#"{"payload":{"token":"t","x":1},"type":"TOKEN_EXCHANGE"}"#, ClientMessage::TokenExchange("t".into())),
            (r#"{"type":"HELLO","payload":[]}"#, ClientMessage::Unknown),
            (r#"{"type":"TOKEN_EXCHANGE"}"#, ClientMessage::Malformed),
            (r#"{"type":"TOKEN_EXCHANGE","payload":{"token":1}}"#, ClientMessage::Malformed),
            (r#"{"type":1}"#, ClientMessage::Malformed),
            ("[]", ClientMessage::Malformed),
            ("", ClientMessage::Malformed),
        ] {
            assert!(ClientMessage::parse(text) == expected, "{text}");
        }
        assert!(ClientMessage::parse(&"[".repeat(60_000)) == ClientMessage::Malformed);
    }
}
