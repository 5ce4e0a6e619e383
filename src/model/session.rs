//! Stage sessions: shapes, requests and answers.

use super::common::{PaginationToken, Time};
use super::declare::{integer_shapes, list_shapes, string_shapes, structures};
use super::stage::StageArn;

string_shapes! {
    /// Id of a session: `st-` and 13 letters and digits.
    StageSessionId { length: 16..=16, pattern: r"st-[a-zA-Z0-9]+" }
}

integer_shapes! {
    /// Most items of a page.
    MaxStageSessionResults { min: 1, max: 100 }
}

list_shapes! {
    /// Sessions of a page.
    StageSessionList [StageSessionSummary]
}

structures! {
    /// From the first joining of a stage until everybody has left.
    StageSession {
        /// Id of the session.
        session_id: Option<StageSessionId>,
        /// When it began.
        start_time: Option<Time>,
        /// When it ended; absent while it lasts.
        end_time: Option<Time>,
    }
    /// A session in short.
    StageSessionSummary {
        /// Id of the session.
        session_id: Option<StageSessionId>,
        /// When it began.
        start_time: Option<Time>,
        /// When it ended; absent while it lasts.
        end_time: Option<Time>,
    }
    /// Input of `GetStageSession`.
    GetStageSessionRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Id of the session.
        session_id: StageSessionId,
    }
    /// Answer of `GetStageSession`.
    GetStageSessionResponse {
        /// The session.
        stage_session: Option<StageSession>,
    }
    /// Input of `ListStageSessions`.
    ListStageSessionsRequest {
        /// ARN of the stage.
        stage_arn: StageArn,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
        /// Most items a page may hold.
        max_results: Option<MaxStageSessionResults>,
    }
    /// Answer of `ListStageSessions`.
    ListStageSessionsResponse {
        /// Sessions, the newest first.
        stage_sessions: StageSessionList,
        /// Where the next page begins; absent on the last page.
        next_token: Option<PaginationToken>,
    }
}
