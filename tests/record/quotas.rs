//! Quotas under concurrent and external creations.

use crate::cluster::{on_each_engine, on_postgres};
use greenroom::app::stages;
use greenroom::model::fault::Fault;
use serde_json::json;

/// Inserts 19,999 stages, as created by other nodes meanwhile.
const FILL: &str = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 19999)
    INSERT INTO stages (account, region, id, name, tags, recording, recording_storage_id, created_at, quiet_since)
    SELECT '123456789012', 'us-west-2', 'filled' || n, '', '{}', '{}', '', 0, 0 FROM numbers";

async fn create(node: &crate::cluster::Node) -> Result<(), Fault> {
    greenroom::app::retry(|| stages::create(node.ctx(), crate::cluster::from_json(json!({})))).await.map(drop)
}

fn is_quota(result: Result<(), Fault>) -> bool {
    result.is_err_and(|fault| fault.to_string().contains("has reached its quota"))
}

#[tokio::test]
async fn a_quota_is_enforced_after_many_creations_by_other_nodes() {
    let of_account = ["--quotas", "stages=unlimited", "--account-quotas", "stages=20000"];
    for flags in [&["--quotas", "stages=20000"][..], &of_account] {
        on_each_engine(flags, async |cluster, node| {
            create(&node).await.unwrap();
            cluster.engine.write(&[FILL]).await;
            assert!(is_quota(create(&node).await), "the account has 20,000 stages");
        })
        .await;
    }
}

#[tokio::test]
async fn concurrent_creations_on_two_nodes_do_not_exceed_the_quota() {
    on_postgres(&["--quotas", "stages=10"], async |cluster, one| {
        let two = cluster.node("http://two").await;
        let created =
            futures_util::future::join_all((0..30).map(|n| create(if n % 2 == 0 { &one } else { &two }))).await;
        let (good, bad): (Vec<_>, Vec<_>) = created.into_iter().partition(Result::is_ok);
        assert_eq!((good.len(), bad.len()), (10, 20));
        assert!(bad.into_iter().all(is_quota));
    })
    .await;
}
