//! The paths of the participants' endpoints, with their methods and content types.

use crate::domain::admission::{SignalingError, SignalingErrorCode};
use crate::model::participant::ParticipantId;
use crate::model::shape::{FieldPath, Shape as _, ValidationErrors};
use axum::http::{Method, Uri};
use percent_encoding::percent_decode_str;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/events/{topic}`: the events WebSocket of a stage.
    Events(String),
    /// `/whip`, `/whip/publish/{participantId}` and `/`: to publish, as the token's participant.
    Publish(Option<String>),
    /// `/whip/subscribe/{participantId}`: to subscribe to a participant.
    Subscribe(String),
    /// `/whip/resource/{connection}`: a media connection.
    Resource(String),
    /// `/whip/resource/{connection}/layer`: what a subscription is sent.
    Layer(String),
}

impl Target {
    /// Parses a path; `None` if it is unknown. Empty segments are ignored, as some clients add slashes.
    pub fn parse(uri: &Uri) -> Result<Option<Target>, SignalingError> {
        let segments: Vec<_> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        Ok(Some(match segments[..] {
            ["events", topic] => Target::Events(id(topic)?),
            [] | ["whip"] | ["whip", "publish"] => Target::Publish(None),
            ["whip", "publish", participant] => Target::Publish(Some(id(participant)?)),
            ["whip", "subscribe", participant] => Target::Subscribe(id(participant)?),
            ["whip", "resource", connection] => Target::Resource(id(connection)?),
            ["whip", "resource", connection, "layer"] => Target::Layer(id(connection)?),
            _ => return Ok(None),
        }))
    }

    /// The name of the endpoint in metrics and log.
    pub fn endpoint(&self) -> &'static str {
        match self {
            Target::Events(_) => "events",
            Target::Publish(_) => "publish",
            Target::Subscribe(_) => "subscribe",
            Target::Resource(_) | Target::Layer(_) => "resource",
        }
    }

    /// The allowed methods, besides `OPTIONS`.
    pub fn methods(&self) -> &'static [Method] {
        match self {
            Target::Events(_) => &[Method::GET],
            Target::Publish(_) | Target::Subscribe(_) | Target::Layer(_) => &[Method::POST],
            Target::Resource(_) => &[Method::DELETE, Method::PATCH],
        }
    }

    /// The accepted content type, and the header that advertises it.
    pub fn accepted_type(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Target::Events(_) => None,
            Target::Publish(_) | Target::Subscribe(_) => Some(("accept-post", super::whip::SDP)),
            Target::Resource(_) => Some(("accept-patch", super::whip::FRAGMENT)),
            Target::Layer(_) => Some(("accept-post", super::layer::JSON)),
        }
    }
}

/// An id in a path. The ids of stages, participants and connections have the same characters.
fn id(segment: &str) -> Result<String, SignalingError> {
    let wrong = || {
        SignalingError::new(
            SignalingErrorCode::MalformedRequest,
            "an id in a path must have 1 to 64 characters of A-Z, a-z, 0-9, - and _",
        )
    };
    let text = percent_decode_str(segment).decode_utf8().map_err(|_| wrong())?;
    let mut broken = ValidationErrors::default();
    let id = ParticipantId::decode(text.into(), FieldPath::Root, &mut broken).ok().flatten();
    id.filter(|_| broken.text().is_none()).map(|id| id.0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Result<Option<Target>, SignalingErrorCode> {
        Target::parse(&path.parse().unwrap()).map_err(|error| error.code)
    }

    #[test]
    fn extra_slashes_are_ignored() {
        let publish = |id: Option<&str>| Ok(Some(Target::Publish(id.map(str::to_owned))));
        for path in ["/", "/?x=1", "/whip", "/whip/", "//whip//", "/whip?x=1", "/whip/publish", "/whip/publish/"] {
            assert_eq!(of(path), publish(None), "{path}");
        }
        assert_eq!(of("/whip/publish/a-B_9"), publish(Some("a-B_9")));
        assert_eq!(of("/whip/publish/a%2DB/"), publish(Some("a-B")));
        assert_eq!(of("/whip//subscribe/p/"), Ok(Some(Target::Subscribe("p".into()))));
        assert_eq!(of("/whip/resource/c"), Ok(Some(Target::Resource("c".into()))));
        assert_eq!(of("/whip/resource/c/layer/"), Ok(Some(Target::Layer("c".into()))));
        assert_eq!(of("/events/s/"), Ok(Some(Target::Events("s".into()))));
    }

    #[test]
    fn unknown_paths_and_invalid_ids_are_rejected() {
        for path in [
            "/events",
            "/whip/x",
            "/whip/publish/a/b",
            "/whip/subscribe",
            "/whip/resource/",
            "/whip/resource/c/x",
            "/x/whip",
        ] {
            assert_eq!(of(path), Ok(None), "{path}");
        }
        let long = "a".repeat(65);
        for id in ["a%20b", "%ff", "%00", "a%2Fb", "..", "%2e%2e", "é", &long, "a%"] {
            let path = format!("/whip/publish/{}", percent_encoding::utf8_percent_encode(id, KEPT));
            assert_eq!(of(&path), Err(SignalingErrorCode::MalformedRequest), "{id}");
        }
    }

    /// Keeps what is percent-encoded already.
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ');
}
