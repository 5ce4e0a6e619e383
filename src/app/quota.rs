//! Quotas on the resources of an account in a region, and in all regions together.

use crate::model::arn::{ResourceKind, Scope};
use crate::model::fault::Fault;
use crate::store::Conn;

use super::OperationContext;

/// The region that stands for all regions in a lock and in a count. No region has this name.
const ALL_REGIONS: &str = "*";

/// The quotas on resources of a kind that are created and deleted, in a region and in all regions; compositions, which
/// end by themselves, are counted in [`super::compositions`].
fn limits(ctx: &OperationContext, kind: ResourceKind) -> (Option<u32>, Option<u32>) {
    let (region, account) = (&ctx.app.settings.quotas, &ctx.app.settings.account_quotas);
    match kind {
        ResourceKind::Stage => (region.stages, account.stages),
        ResourceKind::PublicKey => (region.public_keys, account.public_keys),
        ResourceKind::EncoderConfiguration => (region.encoder_configurations, account.encoder_configurations),
        ResourceKind::StorageConfiguration => (region.storage_configurations, account.storage_configurations),
        ResourceKind::IngestConfiguration => (region.ingest_configurations, account.ingest_configurations),
        ResourceKind::Composition => (None, None),
    }
}

/// The scope of all regions of an account, for a lock or a count.
pub(super) fn all_regions(scope: &Scope) -> Scope {
    Scope { account: scope.account.clone(), region: ALL_REGIONS.to_owned() }
}

/// Refuses to create one more resource of a kind than the quotas allow. Where there is a quota, transactions that create
/// resources of the kind run one after the other: each holds the lock row of the quota until it ends.
pub(super) async fn check(ctx: &OperationContext, tx: &mut Conn, kind: ResourceKind) -> Result<(), Fault> {
    let (of_region, of_account) = limits(ctx, kind);
    // Lock order: the account before the region.
    if let Some(limit) = of_account {
        Box::pin(check_one(tx, &all_regions(&ctx.scope), kind, limit)).await?;
    }
    match of_region {
        Some(limit) => check_one(tx, &ctx.scope, kind, limit).await,
        None => Ok(()),
    }
}

async fn check_one(tx: &mut Conn, scope: &Scope, kind: ResourceKind, limit: u32) -> Result<(), Fault> {
    tx.lock(scope, kind.as_str()).await?;
    let most = i64::from(limit);
    let count = match scope.region.as_str() {
        ALL_REGIONS => tx.count_resources_of_account(&scope.account, kind, most).await?,
        _ => tx.count_resources(scope, kind, most).await?,
    };
    if count >= most {
        return Err(exceeded(scope, &format!("resources of the kind {}", kind.as_str()), limit));
    }
    Ok(())
}

pub(super) fn exceeded(scope: &Scope, what: &str, limit: u32) -> Fault {
    let account = &scope.account;
    let regions = match scope.region.as_str() {
        ALL_REGIONS => "over all regions".to_owned(),
        region => format!("in {region}"),
    };
    Fault::quota(format!("The account {account} has reached its quota of {limit} {what} {regions}"))
}
