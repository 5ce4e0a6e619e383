//! The layer extension of WHEP: what a subscription is sent.

use crate::connections::Preferences;
use crate::domain::admission::{SignalingError, SignalingErrorCode};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Content type of a [`Choice`].
pub const JSON: &str = "application/json";
/// Relation of the `Link` that announces the extension.
const RELATION: &str = "urn:ietf:params:whep:ext:core:layer";

/// What a subscriber wishes to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// `a=mid` of the media section; `None` for all.
    pub media_id: Option<String>,
    pub preferences: Preferences,
}

/// The body of a request. An absent or null member has its default.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    media_id: Option<String>,
    max_height: Option<u32>,
    paused: Option<bool>,
    encoding_id: Option<IgnoredAny>,
    spatial_layer_id: Option<IgnoredAny>,
    temporal_layer_id: Option<IgnoredAny>,
    max_spatial_layer_id: Option<IgnoredAny>,
    max_temporal_layer_id: Option<IgnoredAny>,
}

/// The `Link` of a connection's layer resource. `location`: the URL of the connection.
pub fn link(location: &str) -> String {
    format!("<{location}/layer>; rel=\"{RELATION}\"")
}

/// Parses the body of a request.
pub fn parse(text: &str) -> Result<Choice, SignalingError> {
    let malformed = |text: String| SignalingError::new(SignalingErrorCode::MalformedRequest, text);
    // serde would read an array as well.
    if !text.trim_start().starts_with('{') {
        return Err(malformed("The body must be a JSON object".into()));
    }
    let body: Body = serde_json::from_str(text).map_err(|error| malformed(format!("The body: {error}")))?;
    let unsupported = [
        ("encodingId", body.encoding_id),
        ("spatialLayerId", body.spatial_layer_id),
        ("temporalLayerId", body.temporal_layer_id),
        ("maxSpatialLayerId", body.max_spatial_layer_id),
        ("maxTemporalLayerId", body.max_temporal_layer_id),
    ];
    if let Some((name, _)) = unsupported.iter().find(|(_, value)| value.is_some()) {
        let text = format!("{name} is not supported: the server chooses the layer, within maxHeight");
        return Err(SignalingError::new(SignalingErrorCode::Unprocessable, text));
    }
    if body.max_height == Some(0) {
        return Err(malformed("maxHeight must be at least 1; paused stops the media".into()));
    }
    let preferences = Preferences { max_height: body.max_height, paused: body.paused.unwrap_or(false) };
    Ok(Choice { media_id: body.media_id, preferences })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_have_their_defaults() {
        let choice = |media_id: Option<&str>, max_height, paused| {
            Ok(Choice { media_id: media_id.map(str::to_owned), preferences: Preferences { max_height, paused } })
        };
        let parse = |text| parse(text).map_err(|error| error.message);
        assert_eq!(parse("{}"), choice(None, None, false));
        assert_eq!(parse(r#" {"mediaId": null, "maxHeight": null, "paused": null}"#), choice(None, None, false));
        assert_eq!(parse(r#"{"mediaId": "1", "maxHeight": 360}"#), choice(Some("1"), Some(360), false));
        assert_eq!(parse(r#"{"paused": true}"#), choice(None, None, true));
    }

    #[test]
    fn malformed_bodies_are_rejected() {
        for (body, code, words) in [
            ("", "MALFORMED_REQUEST", "JSON object"),
            ("[]", "MALFORMED_REQUEST", "JSON object"),
            ("{", "MALFORMED_REQUEST", "EOF"),
            ("{} {}", "MALFORMED_REQUEST", "trailing"),
            (r#"{"maxheight": 1}"#, "MALFORMED_REQUEST", "unknown field `maxheight`"),
            (r#"{"paused": true, "paused": false}"#, "MALFORMED_REQUEST", "duplicate field `paused`"),
            (r#"{"paused": 1}"#, "MALFORMED_REQUEST", "expected a boolean"),
            (r#"{"mediaId": 0}"#, "MALFORMED_REQUEST", "expected a string"),
            (r#"{"maxHeight": "720"}"#, "MALFORMED_REQUEST", "expected u32"),
            (r#"{"maxHeight": 720.5}"#, "MALFORMED_REQUEST", "expected u32"),
            (r#"{"maxHeight": -1}"#, "MALFORMED_REQUEST", "expected u32"),
            (r#"{"maxHeight": 0}"#, "MALFORMED_REQUEST", "at least 1"),
            (r#"{"encodingId": "hi"}"#, "UNPROCESSABLE", "encodingId is not supported"),
            (r#"{"maxSpatialLayerId": 1}"#, "UNPROCESSABLE", "maxSpatialLayerId is not supported"),
        ] {
            let error = parse(body).unwrap_err();
            assert_eq!(error.code.name(), code, "{body}");
            assert!(error.message.contains(words), "{body}: {}", error.message);
        }
    }
}
