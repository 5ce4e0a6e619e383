//! The actions of the service, and the check of a new policy against them.
//!
//! An action without a wildcard that does not exist is a typing error, which would silently deny or fail to deny: a new
//! policy with one is rejected. A wildcard that matches no action may be meant for a later version, and yields a warning.
//! Stored policies are not checked, so that they load in every version.

use super::document::{Json, Node};
use super::wildcard::Wildcard;
use super::{Policy, PolicyError, invalid};

const SERVICE: &str = "ivs:";

/// The operations of the API, and greenroom's own actions.
pub const ACTIONS: [&str; 44] = [
    "CreateEncoderConfiguration",
    "CreateIngestConfiguration",
    "CreateParticipantToken",
    "CreateStage",
    "CreateStorageConfiguration",
    "DeleteEncoderConfiguration",
    "DeleteIngestConfiguration",
    "DeletePublicKey",
    "DeleteStage",
    "DeleteStorageConfiguration",
    "DisconnectParticipant",
    "GetComposition",
    "GetEncoderConfiguration",
    "GetIngestConfiguration",
    "GetParticipant",
    "GetPublicKey",
    "GetStage",
    "GetStageSession",
    "GetStorageConfiguration",
    "ImportPublicKey",
    "InspectMedia",
    "ListCompositions",
    "ListEncoderConfigurations",
    "ListIngestConfigurations",
    "ListParticipantEvents",
    "ListParticipantReplicas",
    "ListParticipants",
    "ListPublicKeys",
    "ListStageSessions",
    "ListStages",
    "ListStorageConfigurations",
    "ListTagsForResource",
    "PlayRecordings",
    "RevokeConnectionToken",
    "StartComposition",
    "StartParticipantReplication",
    "StopComposition",
    "StopParticipantReplication",
    "StreamAudit",
    "StreamEvents",
    "TagResource",
    "UntagResource",
    "UpdateIngestConfiguration",
    "UpdateStage",
];

/// Actions of IVS Low-Latency Streaming, which has the same prefix. Policies for both services contain them, such as AWS's
/// `IVSReadOnlyAccess`. No operation here requires them.
const LOW_LATENCY: [&str; 36] = [
    "BatchGetChannel",
    "BatchGetStreamKey",
    "BatchStartViewerSessionRevocation",
    "CreateAdConfiguration",
    "CreateChannel",
    "CreatePlaybackRestrictionPolicy",
    "CreateRecordingConfiguration",
    "CreateStreamKey",
    "DeleteAdConfiguration",
    "DeleteChannel",
    "DeletePlaybackKeyPair",
    "DeletePlaybackRestrictionPolicy",
    "DeleteRecordingConfiguration",
    "DeleteStreamKey",
    "GetAdConfiguration",
    "GetChannel",
    "GetPlaybackKeyPair",
    "GetPlaybackRestrictionPolicy",
    "GetRecordingConfiguration",
    "GetStream",
    "GetStreamKey",
    "GetStreamSession",
    "ImportPlaybackKeyPair",
    "ListAdConfigurations",
    "ListChannels",
    "ListPlaybackKeyPairs",
    "ListPlaybackRestrictionPolicies",
    "ListRecordingConfigurations",
    "ListStreamKeys",
    "ListStreamSessions",
    "ListStreams",
    "PutMetadata",
    "StartViewerSessionRevocation",
    "StopStream",
    "UpdateChannel",
    "UpdatePlaybackRestrictionPolicy",
];

impl Policy {
    /// Rejects the first action of this service that does not exist. Returns a warning for each wildcard that matches no
    /// action. Actions of other services are not checked.
    pub fn check_actions(&self) -> Result<Vec<PolicyError>, PolicyError> {
        let json: Json = serde_json::from_str(&self.text).map_err(|_| invalid("policy", "is not JSON"))?;
        let mut warnings = Vec::new();
        for statement in Node::root(&json).members(None)?.required("Statement")?.one_or_many()? {
            let members = statement.members(None)?;
            for node in [members.get("Action"), members.get("NotAction")].into_iter().flatten() {
                for action in node.one_or_many()? {
                    warnings.extend(check(&action)?);
                }
            }
        }
        Ok(warnings)
    }
}

fn check(node: &Node<'_>) -> Result<Option<PolicyError>, PolicyError> {
    let text = node.text()?;
    let Some((start, name)) = text.split_at_checked(SERVICE.len()) else { return Ok(None) };
    let pattern = Wildcard::text(&name.to_ascii_lowercase());
    let known = || ACTIONS.iter().chain(&LOW_LATENCY);
    if !start.eq_ignore_ascii_case(SERVICE) || known().any(|known| pattern.matches(&known.to_ascii_lowercase())) {
        return Ok(None);
    }
    if name.contains(['*', '?']) {
        return Ok(Some(node.invalid(format!("'{text}' matches no action of this service"))));
    }
    let nearest = ACTIONS.iter().min_by_key(|known| distance(known, name)).copied().unwrap_or_default();
    Err(node.invalid(format!("'{text}' is not an action of this service; the nearest is {SERVICE}{nearest}")))
}

/// The Levenshtein distance of two names, case-insensitive.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<u8> = other.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, byte) in one.bytes().map(|byte| byte.to_ascii_lowercase()).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], n + 1);
        for (m, of_other) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != *of_other);
            diagonal = row[m + 1];
            row[m + 1] = replaced.min(row[m] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(member: &str, actions: serde_json::Value) -> Result<Vec<String>, String> {
        let statement = json!({"Effect": "Allow", member: actions, "Resource": "*"});
        let policy = Policy::parse(&json!({"Version": "2012-10-17", "Statement": statement}).to_string()).unwrap();
        let texts = |warnings: Vec<PolicyError>| warnings.iter().map(ToString::to_string).collect();
        policy.check_actions().map(texts).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_action_is_rejected_with_the_nearest_one() {
        for (action, nearest) in [
            ("ivs:CreateStge", "ivs:CreateStage"),
            ("ivs:getstages", "ivs:GetStage"),
            ("IVS:ListParticipant", "ivs:ListParticipants"),
            ("ivs:StreamEvent", "ivs:StreamEvents"),
        ] {
            let error = checked("Action", json!(["ivs:GetStage", action])).unwrap_err();
            let expected =
                format!("Statement.Action[1]: '{action}' is not an action of this service; the nearest is {nearest}");
            assert_eq!(error, expected);
            assert!(checked("NotAction", json!(action)).is_err());
        }
    }

    #[test]
    fn a_wildcard_that_matches_no_action_yields_a_warning() {
        let warned = checked("Action", json!("ivs:Craete*")).unwrap();
        assert_eq!(warned, ["Statement.Action: 'ivs:Craete*' matches no action of this service"]);
        let fine = ["*", "ivs:*", "ivs:Get*", "IVS:getstage", "ivs:Get?tage", "s3:PutObjekt", "ivs:PutMetadata", "x:y"];
        assert_eq!(checked("Action", json!(fine)).unwrap(), [""; 0]);
    }

    #[test]
    fn the_distance_is_that_of_levenshtein() {
        for (one, other, changes) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("AB", "ab", 0)] {
            assert_eq!((distance(one, other), distance(other, one)), (changes, changes));
        }
    }
}
