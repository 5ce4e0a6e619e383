//! Leases: one node at a time delivers to a target; writes of a node that has lost its lease are rejected.

use crate::cluster::{on_each_engine, on_postgres};
use greenroom::app::deliveries::{EventTarget, Progress};
use greenroom::app::nodes::{self, Liveness};
use std::time::Duration;

fn progress(position: i64) -> Progress {
    Progress { position, ..Progress::default() }
}

#[tokio::test]
async fn a_lease_is_claimed_renewed_and_released() {
    on_each_engine(&[], async |cluster, node| {
        let target = EventTarget::new(&node.0, "t");
        assert!(target.claim().await.unwrap().is_none(), "there is no such target");
        target.register(false).await.unwrap();
        let first = target.claim().await.unwrap().unwrap().lease;
        assert_eq!(
            (first.node.clone(), first.expires_at),
            (node.0.node(), cluster.clock.now().plus(node.0.lease_duration()))
        );
        cluster.clock.advance(Duration::from_secs(60));
        let second = target.claim().await.unwrap().unwrap().lease;
        assert_eq!(
            second.expires_at,
            first.expires_at.plus(Duration::from_secs(60)),
            "the claim by the owner renews the lease"
        );
        assert!(target.record(&first, &progress(3)).await.unwrap());
        target.release(&second).await.unwrap();
        assert!(!target.record(&second, &progress(4)).await.unwrap());
        assert_eq!(target.claim().await.unwrap().unwrap().position, 3);
    })
    .await;
}

#[tokio::test]
async fn another_node_takes_over_an_expired_lease_and_the_former_owner_is_rejected() {
    on_postgres(&[], async |cluster, one| {
        let two = cluster.node("http://two").await;
        let (ours, theirs) = (EventTarget::new(&one.0, "t"), EventTarget::new(&two.0, "t"));
        ours.register(false).await.unwrap();
        let lost = ours.claim().await.unwrap().unwrap().lease;
        cluster.clock.advance(Duration::from_secs(9));
        assert!(theirs.claim().await.unwrap().is_none(), "the lease of the first node is valid");
        cluster.clock.advance(Duration::from_secs(1));
        let lease = theirs.claim().await.unwrap().unwrap().lease;
        assert!(!ours.record(&lost, &progress(1)).await.unwrap(), "a write of the former owner");
        assert!(ours.claim().await.unwrap().is_none(), "a late renewal");
        theirs.release(&lease).await.unwrap();
        assert!(ours.claim().await.unwrap().is_some(), "a released lease can be claimed immediately");
    })
    .await;
}

#[tokio::test]
async fn a_fenced_node_cannot_renew_or_claim_until_it_has_a_new_id() {
    on_postgres(&[], async |cluster, one| {
        let two = cluster.node("http://two").await;
        let (ours, theirs) = (EventTarget::new(&one.0, "t"), EventTarget::new(&two.0, "t"));
        ours.register(false).await.unwrap();
        let lost = ours.claim().await.unwrap().unwrap().lease;
        cluster.advance_with_heartbeats(11, &[&two]).await;
        assert!(ours.claim().await.unwrap().is_none(), "the node is fenced, although the target has no owner");
        assert!(!ours.record(&lost, &progress(1)).await.unwrap());
        assert_eq!(nodes::heartbeat(&one.0).await.unwrap(), Liveness::Lost);
        let lease = ours.claim().await.unwrap().unwrap().lease;
        assert_ne!(lease.node, lost.node);
        assert!(!ours.record(&lost, &progress(1)).await.unwrap(), "the former id is not the owner");
        assert!(theirs.claim().await.unwrap().is_none());
    })
    .await;
}
