//! Events of participant recordings.

use super::{Detail, EventContext, Failure, OutboxEvent};
use crate::clock::Timestamp;
use crate::domain::recording::{Recording, RecordingEvent};
use crate::model::arn::Scope;
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

/// An event of a recording. The duration is that of the recorded media.
pub fn of_recording(scope: &Scope, recording: &Recording, event: RecordingEvent, at: Timestamp) -> OutboxEvent {
    let context = EventContext { scope, stage: &recording.session.stage, session: &recording.current_session };
    let has_duration = matches!(event, RecordingEvent::End | RecordingEvent::EndFailure);
    let change = RecordingChange {
        session_id: recording.current_session.clone(),
        event_name: event.name(),
        participant_id: recording.participant.clone(),
        recording_s3_bucket_name: recording.bucket.clone(),
        recording_s3_key_prefix: recording.prefix.clone(),
        recording_duration_ms: has_duration.then_some(recording.duration_ms),
        failure: recording.failure.clone(),
    };
    context.event(DETAIL_TYPE, at, Detail::Recording(Box::new(change)))
}
