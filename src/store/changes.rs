//! Changes of stages, for the nodes that hold connections to them.

use super::sql::{execute, fetch, rows};
use super::{Conn, StageKey, StoreError};
use crate::model::arn::Scope;

rows! {
    /// The last change of a stage.
    #[derive(Clone, Debug, PartialEq, Eq)]
    ChangeRow {
        account: String,
        region: String,
        stage_id: String,
        /// Increases with every change.
        revision: i64,
        /// In milliseconds, by the database's clock.
        changed_at: i64,
        /// Whether the stage was deleted.
        deleted: bool,
    }
}

impl ChangeRow {
    /// The key of the stage.
    pub fn key(&self) -> StageKey {
        let (account, region, stage_id) = (self.account.clone(), self.region.clone(), self.stage_id.clone());
        StageKey { account, region, stage_id }
    }
}

const TOUCH: &str = "INSERT INTO stage_changes (account, region, stage_id, revision, changed_at, deleted)
    VALUES ($1, $2, $3, 1, $4, $5)
    ON CONFLICT (account, region, stage_id) DO UPDATE SET revision = stage_changes.revision + 1,
        changed_at = excluded.changed_at, deleted = excluded.deleted
    RETURNING revision";
const PAGE: &str = "SELECT account, region, stage_id, revision, changed_at, deleted FROM stage_changes
    WHERE (changed_at, account, region, stage_id) > ($1, $2, $3, $4)
    ORDER BY changed_at, account, region, stage_id LIMIT $5";
const FORGET: &str = "DELETE FROM stage_changes WHERE deleted AND changed_at < $1";

impl Conn {
    /// Increments the revision of a stage that changes at `now`, or is deleted. Returns the revision.
    pub async fn bump_revision(
        &mut self,
        scope: &Scope,
        stage: &str,
        now: i64,
        deleted: bool,
    ) -> Result<i64, StoreError> {
        let Scope { account, region } = scope;
        let (revision,) = fetch!(fetch_one, self, (i64,), TOUCH, account, region, stage, now, deleted)?;
        let (account, region, stage_id) = (account.clone(), region.clone(), stage.to_owned());
        self.noted.push(ChangeRow { account, region, stage_id, revision, changed_at: now, deleted });
        Ok(revision)
    }

    /// Stages that changed at `at` or later, in the order of the changes, after `place`, a stage that changed at `at`.
    pub async fn changes(
        &mut self,
        at: i64,
        place: Option<&StageKey>,
        limit: i64,
    ) -> Result<Vec<ChangeRow>, StoreError> {
        let (account, region, stage) =
            place.map_or(("", "", ""), |place| (&*place.account, &*place.region, &*place.stage_id));
        fetch!(fetch_all, self, ChangeRow, PAGE, at, account, region, stage, limit)
    }

    /// Deletes what is left of stages that were deleted before `before`.
    pub async fn forget_deleted_stages(&mut self, before: i64) -> Result<(), StoreError> {
        execute!(self, FORGET, before).map(drop)
    }
}
