//! Several nodes, and the death of one.

use crate::cluster::{Cluster, Node, each, here, scope, shared, subscribe, ticket};
use greenroom::app::connections::{self, Placement};
use greenroom::app::nodes::{self, Liveness};
use greenroom::domain::admission::Intent;
use std::time::Duration;

async fn two(cluster: &Cluster, one: Node) -> (Node, Node) {
    (one, cluster.node("http://two/rt").await)
}

#[tokio::test]
async fn a_stage_has_one_media_home_while_a_participant_publishes() {
    shared(&[], async |cluster, one| {
        let (one, two) = two(cluster, one).await;
        let stage = one.stage().await;
        let [a, b, c] = ["a", "b", "c"].map(|id| ticket(&one, &stage, id));
        one.run(&a, Intent::Publish, "pa").await;
        let other = |node: &str| Ok(Placement::Elsewhere(node.to_owned()));
        assert_eq!(two.find(&b, Intent::Publish).await, other("http://one"));
        assert_eq!(two.open(&b, Intent::Publish, "pb").await, other("http://one"));
        assert_eq!(two.find(&b, subscribe("a")).await, other("http://one"));
        assert_eq!(two.open(&b, subscribe("a"), "sb").await, other("http://one"));
        assert!(one.rows(&stage, "b").await.is_empty(), "nothing is left behind");
        assert_eq!(two.open(&b, Intent::Events, "eb").await, here(None), "anybody may watch from anywhere");
        assert_eq!(one.open(&c, subscribe("a"), "sc").await, here(Some("pa")));
        let elsewhere = async |node: &Node, id| connections::elsewhere(&node.0, &scope(), &stage, id).await.unwrap();
        assert_eq!(elsewhere(&two, "pa").await.as_deref(), Some("http://one"));
        assert_eq!(elsewhere(&one, "eb").await.as_deref(), Some("http://two/rt"));
        assert_eq!((elsewhere(&one, "pa").await, elsewhere(&one, "unknown").await), (None, None));
        assert_eq!(
            (one.held(&stage).await, two.held(&stage).await),
            (vec!["pa".into(), "sc".into()], vec!["eb".into()])
        );
        one.ended(&a, "pa").await;
        assert_eq!(two.open(&b, Intent::Publish, "pb").await, here(None), "the first one is released");
        assert_eq!(one.find(&a, Intent::Publish).await, other("http://two/rt"));
    })
    .await;
}

#[tokio::test]
async fn connections_of_a_dead_node_are_ended_once_by_any_other_node() {
    shared(&[], async |cluster, one| {
        let (one, two) = two(cluster, one).await;
        let three = cluster.node("http://three").await;
        let stage = one.stage().await;
        let [a, b, c] = ["a", "b", "c"].map(|id| ticket(&one, &stage, id));
        one.run(&a, Intent::Publish, "pa").await;
        one.run(&b, subscribe("a"), "sb").await;
        two.open(&b, Intent::Events, "eb").await.unwrap();
        two.open(&c, Intent::Events, "ec").await.unwrap();
        cluster.live(9, &[&two, &three]).await;
        assert_eq!(one.story(&stage, "a").await.len(), 2, "its lease is not over");
        cluster.clock.advance(Duration::from_secs(1));
        for node in [&two, &three] {
            nodes::heartbeat(&node.0).await.unwrap();
        }
        let swept = tokio::join!(nodes::sweep(&two.0), nodes::sweep(&three.0), nodes::sweep(&two.0));
        assert!(swept.0.is_ok() && swept.1.is_ok() && swept.2.is_ok(), "{swept:?}");
        assert_eq!(two.story(&stage, "a").await, ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]);
        assert_eq!(two.story(&stage, "b").await, ["JOINED", "SUBSCRIBE_STARTED a", "SUBSCRIBE_STOPPED a"]);
        assert_eq!(two.story(&stage, "c").await, ["JOINED"]);
        let was = one.0.node();
        assert!(
            one.open(&a, Intent::Events, "late").await.is_err(),
            "connections of a fenced node would never be ended"
        );
        assert_eq!(nodes::heartbeat(&one.0).await.unwrap(), Liveness::Lost);
        assert_ne!(one.0.node(), was);
        assert_eq!(nodes::heartbeat(&one.0).await.unwrap(), Liveness::Known);
        assert!(one.held(&stage).await.is_empty());
        assert_eq!(one.open(&a, Intent::Publish, "again").await, here(None));
    })
    .await;
}

#[tokio::test]
async fn the_next_publisher_claims_the_media_home_of_a_dead_node_before_any_sweep() {
    shared(&[], async |cluster, one| {
        let (one, two) = two(cluster, one).await;
        let stage = one.stage().await;
        let [a, b] = ["a", "b"].map(|id| ticket(&one, &stage, id));
        one.run(&a, Intent::Publish, "pa").await;
        for _ in 0..11 {
            cluster.clock.advance(Duration::from_secs(1));
            nodes::heartbeat(&two.0).await.unwrap();
        }
        assert!(two.find(&b, subscribe("a")).await.is_err(), "the publisher is gone with its node");
        assert_eq!(two.find(&a, Intent::Publish).await, here(None));
        assert_eq!(two.open(&a, Intent::Publish, "pa2").await, here(None));
        two.started(&a, "pa2").await;
        let story = ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT", "JOINED", "PUBLISH_STARTED"];
        assert_eq!(two.story(&stage, "a").await, story);
        assert_eq!(nodes::heartbeat(&one.0).await.unwrap(), Liveness::Lost);
        assert_eq!(two.open(&b, subscribe("a"), "sb").await, here(Some("pa2")));
    })
    .await;
}

#[tokio::test]
async fn after_an_outage_every_node_has_a_full_lease_to_renew() {
    shared(&[], async |cluster, one| {
        let (one, two) = two(cluster, one).await;
        let stage = one.stage().await;
        let [a, b] = ["a", "b"].map(|id| ticket(&one, &stage, id));
        one.run(&a, Intent::Publish, "pa").await;
        cluster.live(20, &[&one, &two]).await;
        // No node reaches the store; then the second one does, long after every lease has expired.
        cluster.clock.advance(Duration::from_secs(60));
        cluster.advance(1, &[&two]).await;
        assert_eq!(two.find(&b, Intent::Publish).await, Ok(Placement::Elsewhere("http://one".into())));
        cluster.live(9, &[&two]).await;
        assert_eq!(nodes::heartbeat(&one.0).await.unwrap(), Liveness::Known);
        cluster.live(30, &[&one, &two]).await;
        assert_eq!(two.story(&stage, "a").await, ["JOINED", "PUBLISH_STARTED"]);
        // A node that is gone for good is fenced, and so is one that alone could not reach the store.
        cluster.clock.advance(Duration::from_secs(60));
        cluster.live(10, &[&two]).await;
        assert_eq!(two.story(&stage, "a").await.len(), 2, "not before a lease has passed");
        cluster.live(1, &[&two]).await;
        assert_eq!(two.story(&stage, "a").await, ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]);
        assert_eq!(nodes::heartbeat(&one.0).await.unwrap(), Liveness::Lost);
    })
    .await;
}

#[tokio::test]
async fn a_node_that_stops_leaves_nothing() {
    each(&[], async |_, node| {
        let stage = node.stage().await;
        let [a, b] = ["a", "b"].map(|id| ticket(&node, &stage, id));
        node.run(&a, Intent::Publish, "pa").await;
        node.run(&b, subscribe("a"), "sb").await;
        nodes::deregister(&node.0).await.unwrap();
        assert!(node.held(&stage).await.is_empty());
        assert_eq!(node.story(&stage, "b").await.last().map(String::as_str), Some("LEFT"));
        assert_eq!(node.story(&stage, "a").await.last().map(String::as_str), Some("LEFT"));
    })
    .await;
}

#[tokio::test]
async fn a_restarted_server_ends_the_connections_of_its_predecessor() {
    each(&[], async |cluster, node| {
        let stage = node.stage().await;
        let a = ticket(&node, &stage, "a");
        node.run(&a, Intent::Publish, "pa").await;
        let crate::engines::Engine::Sqlite(_) = cluster.engine else { return };
        node.0.db().close().await;
        drop(node);
        let next = cluster.node("http://one").await;
        assert_eq!(next.story(&stage, "a").await, ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]);
    })
    .await;
}
