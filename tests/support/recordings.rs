//! Rows of recordings.

use greenroom::domain::stage;
use greenroom::model::arn::Scope;
use greenroom::model::participant::ParticipantRecordingState;
use greenroom::store::{Json, RecordingRow};

/// A recording that starts, of a participant in a session of a stage. Without media.
pub fn starting(scope: &Scope, id: &str, [stage, session, participant]: [&str; 3], created_at: i64) -> RecordingRow {
    RecordingRow {
        account: scope.account.clone(),
        region: scope.region.clone(),
        id: id.into(),
        stage_id: stage.into(),
        session_id: session.into(),
        current_session_id: session.into(),
        participant_id: participant.into(),
        connection_id: "none".into(),
        storage_id: "none".into(),
        bucket: "films".into(),
        prefix: format!("{stage}/{session}/{participant}/2026-03-04T05-06-07Z"),
        recording: Json(stage::recording(None)),
        state: ParticipantRecordingState::Starting,
        node_id: None,
        created_at,
        started_at: None,
        unpublished_at: None,
        resume_until: None,
        uploaded: false,
        ended_at: None,
        duration_ms: 0,
        next_thumbnail: 0,
        error_code: None,
        reason: None,
    }
}
