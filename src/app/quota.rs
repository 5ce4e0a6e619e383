//! Quotas on what an account has in a region, and over all regions together.

use crate::clock::Timestamp;
use crate::model::arn::{ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::store::Conn;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::OperationContext;

/// More than all nodes together can make in a second.
const A_SECOND: i64 = 10_000;
/// How long it may be before the resources are counted again, however far the quota is.
const MOST: Duration = Duration::from_secs(60);
/// So many accounts are remembered.
const ACCOUNTS: usize = 10_000;
/// Stands for all regions.
const EVERYWHERE: &str = "*";

/// Until when no account can come to its quota, however many resources are made meanwhile. Nobody needs to wait for
/// anybody, nor count, until then.
#[derive(Debug, Default)]
pub struct Far(Mutex<HashMap<(Scope, ResourceKind), Timestamp>>);

impl Far {
    fn is_far(&self, scope: &Scope, kind: ResourceKind, now: Timestamp) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(scope.clone(), kind)).is_some_and(|until| now < *until && *until <= now.plus(MOST))
    }

    /// Notes how many resources were missing at `now`.
    fn note(&self, scope: &Scope, kind: ResourceKind, missing: i64, now: Timestamp) {
        // Half of the time that it must take, as clocks differ.
        let seconds = u64::try_from(missing / A_SECOND / 2).unwrap_or_default();
        if seconds == 0 {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ACCOUNTS {
            known.retain(|_, until| now < *until);
        }
        if known.len() < ACCOUNTS {
            known.insert((scope.clone(), kind), now.plus(Duration::from_secs(seconds).min(MOST)));
        }
    }
}

/// The quotas on resources of a kind that are created and deleted, in a region and over all regions; compositions, which
/// end by themselves, are counted in [`super::compositions`].
fn limits(call: &OperationContext, kind: ResourceKind) -> (Option<u32>, Option<u32>) {
    let (region, account) = (&call.app.settings.quotas, &call.app.settings.account_quotas);
    match kind {
        ResourceKind::Stage => (region.stages, account.stages),
        ResourceKind::PublicKey => (region.public_keys, account.public_keys),
        ResourceKind::EncoderConfiguration => (region.encoder_configurations, account.encoder_configurations),
        ResourceKind::StorageConfiguration => (region.storage_configurations, account.storage_configurations),
        ResourceKind::IngestConfiguration => (region.ingest_configurations, account.ingest_configurations),
        ResourceKind::Composition => (None, None),
    }
}

/// What stands for all regions of an account, for a lock or a count. No region has this name.
pub(super) fn everywhere(scope: &Scope) -> Scope {
    Scope { account: scope.account.clone(), region: EVERYWHERE.to_owned() }
}

/// Refuses one more resource of a kind than the quotas allow.
pub(super) async fn within(call: &OperationContext, tx: &mut Conn, kind: ResourceKind) -> Result<(), Fault> {
    let (of_region, of_account) = limits(call, kind);
    // The lock of the account is taken before that of the region (lock order).
    if let Some(limit) = of_account {
        Box::pin(within_one(call, tx, &everywhere(&call.scope), kind, limit)).await?;
    }
    match of_region {
        Some(limit) => within_one(call, tx, &call.scope, kind, limit).await,
        None => Ok(()),
    }
}

async fn within_one(
    call: &OperationContext,
    tx: &mut Conn,
    scope: &Scope,
    kind: ResourceKind,
    limit: u32,
) -> Result<(), Fault> {
    let now = call.now();
    if call.app.far_from_quota.is_far(scope, kind, now) {
        return Ok(());
    }
    // Held until the end of the transaction, so that two cannot both be the last.
    tx.lock(scope, kind.as_str()).await?;
    let most = i64::from(limit);
    let missing = most
        - match scope.region.as_str() {
            EVERYWHERE => tx.count_resources_of_account(&scope.account, kind, most).await?,
            _ => tx.count_resources(scope, kind, most).await?,
        };
    if missing <= 0 {
        return Err(over(scope, &format!("resources of the kind {}", kind.as_str()), limit));
    }
    call.app.far_from_quota.note(scope, kind, missing, now);
    Ok(())
}

pub(super) fn over(scope: &Scope, what: &str, limit: u32) -> Fault {
    let account = &scope.account;
    let place = match scope.region.as_str() {
        EVERYWHERE => "over all regions".to_owned(),
        region => format!("in {region}"),
    };
    Fault::quota(format!("The account {account} has reached its quota of {limit} {what} {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(account: &str) -> Scope {
        Scope { account: account.into(), region: "us-east-1".into() }
    }

    #[test]
    fn who_is_far_from_a_quota_is_not_counted_for_a_while_and_who_is_near_always() {
        let (far, start) = (Far::default(), Timestamp(0));
        let at = |seconds| start.plus(Duration::from_secs(seconds));
        let (one, two) = (scope("1"), scope("2"));
        far.note(&one, ResourceKind::Stage, 200_000, start);
        let is_far = |scope: &Scope, seconds| far.is_far(scope, ResourceKind::Stage, at(seconds));
        assert_eq!([0, 9, 10].map(|seconds| is_far(&one, seconds)), [true, true, false]);
        assert!(!far.is_far(&one, ResourceKind::PublicKey, start) && !is_far(&two, 0));
        far.note(&two, ResourceKind::Stage, 2 * A_SECOND - 1, start);
        assert!(!is_far(&two, 0), "what could be made within a second is counted");
        far.note(&two, ResourceKind::Stage, i64::from(u32::MAX), start);
        assert_eq!([59, 60].map(|seconds| is_far(&two, seconds)), [true, false]);
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let far = Far::default();
        for n in 0..ACCOUNTS as i64 + 10 {
            far.note(&scope(&n.to_string()), ResourceKind::Stage, 200_000, Timestamp(0));
        }
        assert_eq!(far.0.lock().unwrap().len(), ACCOUNTS);
        let later = Timestamp(0).plus(Duration::from_secs(60));
        far.note(&scope("new"), ResourceKind::Stage, 200_000, later);
        assert!(far.is_far(&scope("new"), ResourceKind::Stage, later));
        assert_eq!(far.0.lock().unwrap().len(), 1);
    }
}
