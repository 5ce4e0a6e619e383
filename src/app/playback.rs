//! Playback of recordings: the recordings of a stage, and the tokens that give access to the objects of one.
//!
//! A token is in the path of a URL, so that the relative URIs of playlists work in every player. It gives access to one
//! recording until it expires, and is signed with the master key, so that every node of a store accepts it.

use super::{App, retry};
use crate::clock::Timestamp;
use crate::model::arn::Scope;
use crate::model::fault::Fault;
use crate::model::page::Position;
use crate::model::participant::ParticipantRecordingState;
use crate::store::{RecordingFilter, RecordingRow};
use std::time::Duration;

/// Lifetime of a token: playback of a long recording takes that long.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(6 * 3600);
/// What tokens are signed for.
const CONTEXT: &[u8] = b"recording playback 1";

/// A recording of a stage.
#[derive(Clone, Debug)]
pub struct Recording {
    pub id: String,
    pub session_id: String,
    pub participant_id: String,
    pub bucket: String,
    pub prefix: String,
    pub state: ParticipantRecordingState,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub duration_ms: i64,
    pub error_code: Option<String>,
    pub reason: Option<String>,
    /// A new token, and when it expires; `None` if the recording has no objects.
    pub token: Option<(String, Timestamp)>,
}

/// A page of recordings, newest first.
#[derive(Debug)]
pub struct RecordingsPage {
    pub recordings: Vec<Recording>,
    /// Where the next page begins, if there is one.
    pub next: Option<Position>,
}

/// Which recordings of a stage to list.
#[derive(Debug)]
pub struct RecordingsQuery<'a> {
    pub scope: &'a Scope,
    pub stage: &'a str,
    pub state: Option<ParticipantRecordingState>,
    pub after: Option<Position>,
    pub limit: usize,
}

/// Where the objects of a recording are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingPlace {
    pub bucket: String,
    pub prefix: String,
}

/// Why a token gives no access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    Invalid,
    Expired,
}

impl App {
    /// The recordings of a stage, with tokens to play them.
    pub async fn recordings(&self, query: RecordingsQuery<'_>) -> Result<RecordingsPage, Fault> {
        let RecordingsQuery { scope, stage, state, after, limit } = query;
        let (account, region) = (Some(scope.account.as_str()), Some(scope.region.as_str()));
        let filter = RecordingFilter { account, region, stage: Some(stage), state };
        let place = after.unwrap_or_else(Position::last);
        let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let read = || async { Ok::<_, Fault>(self.db().read().await?.recordings(filter, &place, one_more).await?) };
        let mut rows = retry(read).await?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more);
        let next = last.map(|row| Position { order: row.created_at, id: row.id.clone() });
        let expires_at = self.clock().now().plus(TOKEN_LIFETIME);
        Ok(RecordingsPage { recordings: rows.into_iter().map(|row| self.recording(row, expires_at)).collect(), next })
    }

    fn recording(&self, row: RecordingRow, expires_at: Timestamp) -> Recording {
        let token = row.started_at.map(|_| (self.playback_token(&row.scope(), &row.id, expires_at), expires_at));
        Recording {
            token,
            id: row.id,
            session_id: row.session_id,
            participant_id: row.participant_id,
            bucket: row.bucket,
            prefix: row.prefix,
            state: row.state,
            created_at: Timestamp(row.created_at),
            started_at: row.started_at.map(Timestamp),
            ended_at: row.ended_at.map(Timestamp),
            duration_ms: row.duration_ms,
            error_code: row.error_code,
            reason: row.reason,
        }
    }

    fn playback_token(&self, scope: &Scope, id: &str, expires_at: Timestamp) -> String {
        let mut content = expires_at.0.to_be_bytes().to_vec();
        content.extend_from_slice([&scope.account, &scope.region, id].join("/").as_bytes());
        self.secret().sign(CONTEXT, &content)
    }

    /// The recording that a token gives access to.
    pub fn verify_playback_token(&self, token: &str) -> Result<(Scope, String), TokenError> {
        let content = self.secret().verify(CONTEXT, token).ok_or(TokenError::Invalid)?;
        let (expires_at, key) = content.split_first_chunk().ok_or(TokenError::Invalid)?;
        if i64::from_be_bytes(*expires_at) <= self.clock().now().0 {
            return Err(TokenError::Expired);
        }
        let key = std::str::from_utf8(key).map_err(|_| TokenError::Invalid)?;
        let mut parts = key.splitn(3, '/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(account), Some(region), Some(id)) => Ok((Scope { account, region }, id)),
            _ => Err(TokenError::Invalid),
        }
    }

    /// Where the objects of a recording are; `None` if it is forgotten.
    pub async fn recording_place(&self, scope: &Scope, id: &str) -> Result<Option<RecordingPlace>, Fault> {
        let read = || async { Ok::<_, Fault>(self.db().read().await?.recording(scope, id).await?) };
        let row = retry(read).await?;
        Ok(row.map(|row| RecordingPlace { bucket: row.bucket, prefix: row.prefix }))
    }
}
