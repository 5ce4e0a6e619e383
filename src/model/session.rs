//! Stage sessions: shapes, requests and answers.

use super::common::{PaginationToken, Time};
use super::declare::{integer_shapes, list_shapes, string_shapes, structures};
use super::stage::StageArn;

string_shapes! {
    /// Id of a session: `st-` and 13 letters and digits.
    StageSessionId { length: 16..=16, pattern: r"st-[a-zA-Z0-9]+" }
}

integer_shapes! {
    /// Maximum number of items per page.
    MaxStageSessionResults { min: 1, max: 100 }
}

list_shapes! {
    /// Sessions of a page.
    StageSessionList [StageSessionSummary]
}

structures! {
    /// A session: from the first participant's joining until the last one has left.
    StageSession {
        /// Id of the session.
        session_id: Option<StageSessionId>,
        /// Start time.
        start_time: Option<Time>,
        /// End time; absent until it has ended.
        end_time: Option<Time>,
    }
    /// Summary of a session.
    StageSessionSummary {
        /// Id of the session.
        session_id: Option<StageSessionId>,
        /// Start time.
        start_time: Option<Time>,
        /// End time; absent until it has ended.
        end_time: Option<Time>,
    }
    /// Input of `GetStageSession`.
    GetStageSessionRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Id of the session.
        session_id: StageSessionId,
    }
    /// Output of `GetStageSession`.
    GetStageSessionResponse {
        /// The session.
        stage_session: Option<StageSession>,
    }
    /// Input of `ListStageSessions`.
    ListStageSessionsRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Maximum number of items per page.
        max_results: Option<MaxStageSessionResults>,
    }
    /// Output of `ListStageSessions`.
    ListStageSessionsResponse {
        /// Sessions, the newest first.
        stage_sessions: StageSessionList,
        /// Token of the next page; absent on the last page.
        next_token: Option<PaginationToken>,
    }
}
