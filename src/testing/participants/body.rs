//! Bodies of requests, and their schemas.

use super::actions::Change;
use crate::api::operations::decode;
use crate::app::MediaKind;
use crate::domain::admission::Intent;
use crate::model::fault::Fault;
use crate::model::participant::{EventErrorCode, EventName};
use crate::model::token::ParticipantTokenConfiguration;
use crate::testing::schema::{boolean, list, object, text};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateBody {
    pub stage: Option<String>,
    token: Option<String>,
    user_id: Option<Value>,
    attributes: Option<Value>,
    capabilities: Option<Value>,
    duration: Option<Value>,
    pub publish: Option<bool>,
    pub subscribe: Option<Vec<String>>,
}

/// The token of a participant that is created.
pub enum JoinToken {
    /// One that the caller has made.
    Given(String),
    /// A new one with these claims.
    New(ParticipantTokenConfiguration),
}

impl CreateBody {
    pub fn token(self) -> Result<JoinToken, Fault> {
        let claims = claims([
            ("userId", self.user_id),
            ("attributes", self.attributes),
            ("capabilities", self.capabilities),
            ("duration", self.duration),
        ]);
        match self.token {
            None => Ok(JoinToken::New(configuration(claims)?)),
            Some(token) if claims.is_empty() => Ok(JoinToken::Given(token)),
            Some(_) => Err(Fault::validation(
                "token: cannot be used with userId, attributes, capabilities or duration, which are claims of a token",
            )),
        }
    }
}

fn claims<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The claims of a token, under the constraints of `CreateParticipantToken`.
fn configuration(claims: Map<String, Value>) -> Result<ParticipantTokenConfiguration, Fault> {
    let configuration: ParticipantTokenConfiguration = decode(Value::Object(claims))?;
    let attributes = configuration.attributes.clone().unwrap_or_default();
    crate::domain::token::attributes("attributes", &attributes)?;
    Ok(configuration)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoteBody {
    pub participant_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuteBody {
    kinds: Vec<String>,
}

impl MuteBody {
    pub fn kinds(self) -> Result<BTreeSet<MediaKind>, Fault> {
        let kind = |word: String| match word.as_str() {
            "audio" => Ok(MediaKind::Audio),
            "video" => Ok(MediaKind::Video),
            _ => Err(Fault::validation(format!("kinds: '{word}' is neither audio nor video"))),
        };
        self.kinds.into_iter().map(kind).collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailBody {
    code: String,
    event: Option<String>,
    participant_id: Option<String>,
}

impl FailBody {
    pub fn change(self) -> Result<Change, Fault> {
        let FailBody { code, event, participant_id } = self;
        let code = EventErrorCode::parse(&code).ok_or_else(|| {
            let codes: Vec<_> = EventErrorCode::ALL.iter().map(|code| code.as_str()).collect();
            Fault::validation(format!("code: '{code}' is not one of {}", codes.join(", ")))
        })?;
        let unknown = || Fault::validation("event: must be JOIN_ERROR, PUBLISH_ERROR or SUBSCRIBE_ERROR");
        let event = event.map(|event| EventName::parse(&event).ok_or_else(unknown)).transpose()?;
        let intent = match (event, participant_id) {
            (None, None) => return Ok(Change::fail(code)),
            (None | Some(EventName::SubscribeError), Some(remote)) => Intent::Subscribe(remote),
            (Some(EventName::SubscribeError), None) => Intent::Subscribe(String::new()),
            (Some(EventName::PublishError), None) => Intent::Publish,
            (Some(EventName::JoinError), None) => Intent::Events,
            (Some(EventName::PublishError | EventName::JoinError), Some(_)) => {
                return Err(Fault::validation("participantId: is of SUBSCRIBE_ERROR only"));
            }
            (Some(_), _) => return Err(unknown()),
        };
        Ok(Change::Fail(intent, code))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExchangeBody {
    token: Option<String>,
    user_id: Option<Value>,
    attributes: Option<Value>,
    capabilities: Option<Value>,
}

impl ExchangeBody {
    pub fn change(self) -> Result<Change, Fault> {
        let claims =
            claims([("userId", self.user_id), ("attributes", self.attributes), ("capabilities", self.capabilities)]);
        match self.token {
            None => Ok(Change::Exchange(configuration(claims)?)),
            Some(token) if claims.is_empty() => Ok(Change::ExchangeToken(token)),
            Some(_) => Err(Fault::validation("token: cannot be used with userId, attributes or capabilities")),
        }
    }
}

fn words<T: AsRef<str>>(words: &[T]) -> Value {
    json!({"type": "string", "enum": words.iter().map(AsRef::as_ref).collect::<Vec<_>>()})
}

fn claims_schema() -> Value {
    json!({
        "token": text("A participant token (default: one is made with the other members, as CreateParticipantToken does)."),
        "userId": text("User id."),
        "attributes": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Attributes."},
        "capabilities": list(&words(&["PUBLISH", "SUBSCRIBE"]), "Capabilities (default: both)."),
    })
}

pub fn create_schema() -> Value {
    let mut properties = claims_schema();
    properties["stage"] = text("ARN or name of the stage; required without a token, otherwise the token's stage.");
    properties["duration"] =
        json!({"type": "integer", "description": "Minutes that the token is valid (default 720)."});
    properties["publish"] = boolean("Whether it publishes at once (default false).");
    properties["subscribe"] = list(&text(""), "Ids of the participants that it subscribes to.");
    object(properties, &[])
}

pub fn remote_schema() -> Value {
    object(json!({"participantId": text("Id of the publisher.")}), &["participantId"])
}

pub fn mute_schema() -> Value {
    object(json!({"kinds": list(&words(&["audio", "video"]), "Kinds of media.")}), &["kinds"])
}

pub fn fail_schema() -> Value {
    let codes: Vec<_> = EventErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let events = words(&["JOIN_ERROR", "PUBLISH_ERROR", "SUBSCRIBE_ERROR"]);
    let remote = text("Id of the publisher, for SUBSCRIBE_ERROR.");
    object(json!({"code": words(&codes), "event": events, "participantId": remote}), &["code"])
}

pub fn exchange_schema() -> Value {
    object(claims_schema(), &[])
}

pub fn participant_schema() -> Value {
    let properties = json!({
        "participantId": text("Id."),
        "token": text("Token; absent for the members of a group of a scenario."),
        "stageArn": text("ARN of the stage."),
        "sessionId": text("Id of the session that it joined last."),
        "userId": text("User id, or an empty string."),
        "attributes": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Attributes."},
        "state": words(&["CONNECTED", "DISCONNECTED"]),
        "publishing": boolean("Whether it publishes."),
        "muted": list(&words(&["audio", "video"]), "What it has muted."),
        "subscriptions": list(&text(""), "Ids of the participants that it is subscribed to."),
    });
    let required = [
        "participantId",
        "stageArn",
        "sessionId",
        "userId",
        "attributes",
        "state",
        "publishing",
        "muted",
        "subscriptions",
    ];
    object(properties, &required)
}

pub fn list_schema() -> Value {
    object(json!({"participants": list(&participant_schema(), "In the order of their ids.")}), &["participants"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_of_an_error_follows_from_what_is_given() {
        let change = |body: Value| serde_json::from_value::<FailBody>(body).unwrap().change();
        let intent = |body: Value| match change(body) {
            Ok(Change::Fail(intent, _)) => intent,
            other => panic!("{other:?}"),
        };
        let code = "BITRATE_EXCEEDED";
        assert_eq!(intent(json!({"code": code})), Intent::Publish);
        assert_eq!(intent(json!({"code": "PUBLISHER_NOT_FOUND"})), Intent::Subscribe(String::new()));
        assert_eq!(intent(json!({"code": code, "participantId": "p"})), Intent::Subscribe("p".into()));
        assert_eq!(intent(json!({"code": code, "event": "JOIN_ERROR"})), Intent::Events);
        for body in [
            json!({"code": "NOTHING"}),
            json!({"code": code, "event": "JOINED"}),
            json!({"code": code, "event": "nothing"}),
            json!({"code": code, "event": "PUBLISH_ERROR", "participantId": "p"}),
        ] {
            assert!(change(body.clone()).is_err(), "{body}");
        }
    }
}
