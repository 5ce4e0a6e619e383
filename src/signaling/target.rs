//! What a path names, and which methods it takes.

use crate::domain::admission::{SignalingError, SignalingErrorCode};
use crate::model::participant::ParticipantId;
use crate::model::shape::{FieldPath, Shape as _, ValidationErrors};
use axum::http::{Method, Uri};
use percent_encoding::percent_decode_str;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/events/{topic}`: what happens in a stage.
    Events(String),
    /// `/whip`, `/whip/publish/{participantId}` and `/`: to send media, as oneself.
    Publish(Option<String>),
    /// `/whip/subscribe/{participantId}`: to receive somebody's media.
    Subscribe(String),
    /// `/whip/resource/{connection}`: a connection that was made.
    Resource(String),
}

impl Target {
    /// Reads a path. Slashes that are one too many do not matter: there are clients that add them.
    pub fn of(uri: &Uri) -> Result<Option<Target>, SignalingError> {
        let segments: Vec<_> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        Ok(Some(match segments[..] {
            ["events", topic] => Target::Events(id(topic)?),
            [] | ["whip"] | ["whip", "publish"] => Target::Publish(None),
            ["whip", "publish", participant] => Target::Publish(Some(id(participant)?)),
            ["whip", "subscribe", participant] => Target::Subscribe(id(participant)?),
            ["whip", "resource", connection] => Target::Resource(id(connection)?),
            _ => return Ok(None),
        }))
    }

    /// The name of the endpoint in metrics and log.
    pub fn endpoint(&self) -> &'static str {
        match self {
            Target::Events(_) => "events",
            Target::Publish(_) => "publish",
            Target::Subscribe(_) => "subscribe",
            Target::Resource(_) => "resource",
        }
    }

    /// The methods it takes, beside `OPTIONS`.
    pub fn methods(&self) -> &'static [Method] {
        match self {
            Target::Events(_) => &[Method::GET],
            Target::Publish(_) | Target::Subscribe(_) => &[Method::POST],
            Target::Resource(_) => &[Method::DELETE, Method::PATCH],
        }
    }

    /// What bodies it takes: the header that says so, and the type.
    pub fn accepts(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Target::Events(_) => None,
            Target::Publish(_) | Target::Subscribe(_) => Some(("accept-post", super::whip::SDP)),
            Target::Resource(_) => Some(("accept-patch", super::whip::FRAGMENT)),
        }
    }
}

/// An id in a path. Stages, participants and connections are all named by the letters that a participant's id may have.
fn id(segment: &str) -> Result<String, SignalingError> {
    let wrong = || {
        SignalingError::new(
            SignalingErrorCode::MalformedRequest,
            "an id in a path has at most 64 of A-Z, a-z, 0-9, - and _",
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
        Target::of(&path.parse().unwrap()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn paths_are_read_whatever_their_slashes() {
        let publish = |id: Option<&str>| Ok(Some(Target::Publish(id.map(str::to_owned))));
        for path in ["/", "/?x=1", "/whip", "/whip/", "//whip//", "/whip?x=1", "/whip/publish", "/whip/publish/"] {
            assert_eq!(of(path), publish(None), "{path}");
        }
        assert_eq!(of("/whip/publish/a-B_9"), publish(Some("a-B_9")));
        assert_eq!(of("/whip/publish/a%2DB/"), publish(Some("a-B")));
        assert_eq!(of("/whip//subscribe/p/"), Ok(Some(Target::Subscribe("p".into()))));
        assert_eq!(of("/whip/resource/c"), Ok(Some(Target::Resource("c".into()))));
        assert_eq!(of("/events/s/"), Ok(Some(Target::Events("s".into()))));
    }

    #[test]
    fn other_paths_name_nothing_and_other_ids_are_refused() {
        for path in ["/events", "/whip/x", "/whip/publish/a/b", "/whip/subscribe", "/whip/resource/", "/x/whip"] {
            assert_eq!(of(path), Ok(None), "{path}");
        }
        let long = "a".repeat(65);
        for id in ["a%20b", "%ff", "%00", "a%2Fb", "..", "%2e%2e", "é", &long, "a%"] {
            let path = format!("/whip/publish/{}", percent_encoding::utf8_percent_encode(id, KEPT));
            assert_eq!(of(&path), Err(SignalingErrorCode::MalformedRequest), "{id}");
        }
    }

    /// Leaves what is encoded already as it is.
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ');
}
