//! Events of participant recordings.

use super::{Detail, EventContext, Failure, OutboxEvent};
use crate::clock::Timestamp;
use crate::model::participant::ParticipantRecordingState;
use serde::Serialize;

const DETAIL_TYPE: &str = "IVS Participant Recording State Change";

/// The detail of an `IVS Participant Recording State Change`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecordingChange {
    session_id: String,
    event_name: &'static str,
    participant_id: String,
    recording_s3_bucket_name: String,
    recording_s3_key_prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_duration_ms: Option<i64>,
    #[serde(flatten)]
    failure: Option<Failure>,
}

/// The new state of a participant's recording.
#[derive(Clone, Copy, Debug)]
pub struct Recording<'a> {
    pub state: ParticipantRecordingState,
    /// Why it failed, if it did.
    pub failure: Option<&'a Failure>,
    /// The S3 bucket.
    pub bucket: &'a str,
    /// The prefix of its keys.
    pub prefix: &'a str,
}

/// The event of a recording whose state changes at `at` from `before`, with media since `since`; and since when media are
/// recorded afterwards.
pub fn of_recording(
    context: EventContext<'_>,
    participant: &str,
    (before, since): (ParticipantRecordingState, Option<Timestamp>),
    after: Recording<'_>,
    at: Timestamp,
) -> (Option<OutboxEvent>, Option<Timestamp>) {
    use ParticipantRecordingState::{Active, Disabled, Failed, Starting, Stopped, Stopping};
    let (event_name, goes_on) = match (after.state, since) {
        (Active, None) => ("Recording Start", Some(at)),
        (Stopped | Disabled, Some(_)) => ("Recording End", None),
        (Failed, Some(_)) => ("Recording End Failure", None),
        (Failed, None) if before != Failed => ("Recording Start Failure", None),
        (Starting | Stopping | Active | Stopped | Disabled | Failed, since) => return (None, since),
    };
    let change = RecordingChange {
        session_id: context.session.to_owned(),
        event_name,
        participant_id: participant.to_owned(),
        recording_s3_bucket_name: after.bucket.to_owned(),
        recording_s3_key_prefix: after.prefix.to_owned(),
        recording_duration_ms: since.map(|since| (at.0 - since.0).max(0)),
        failure: after.failure.filter(|_| after.state == Failed).cloned(),
    };
    (Some(context.event(DETAIL_TYPE, at, Detail::Recording(Box::new(change)))), goes_on)
}
