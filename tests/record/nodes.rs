//! Several nodes: placement of media, fencing, shutdown and restart.

use crate::cluster::{Cluster, Node, on_each_engine, on_postgres, placed_here, scope, subscribe, verified};
use greenroom::app::connections::{self, Placement};
use greenroom::app::nodes::{self, Liveness};
use greenroom::domain::admission::Intent;
use std::time::Duration;

async fn two(cluster: &Cluster, one: Node) -> (Node, Node) {
    (one, cluster.node("http://two/rt").await)
}

#[tokio::test]
async fn a_stage_has_one_media_home_while_a_participant_publishes() {
    on_postgres(&[], async |cluster, one| {
        let (one, two) = two(cluster, one).await;
        let stage = one.stage().await;
        let [a, b, c] = ["a", "b", "c"].map(|id| verified(&one, &stage, id));
        one.run(&a, Intent::Publish, "pa").await;
        let other = |node: &str| Ok(Placement::Remote(node.to_owned()));
        assert_eq!(two.find(&b, Intent::Publish).await, other("http://one"));
        assert_eq!(two.open(&b, Intent::Publish, "pb").await, other("http://one"));
        assert_eq!(two.find(&b, subscribe("a")).await, other("http://one"));
        assert_eq!(two.open(&b, subscribe("a"), "sb").await, other("http://one"));
        assert!(one.rows(&stage, "b").await.is_empty(), "no connection row is left");
        assert_eq!(
            two.open(&b, Intent::Events, "eb").await,
            placed_here(None),
            "events connections are possible on every node"
        );
        assert_eq!(one.open(&c, subscribe("a"), "sc").await, placed_here(Some("pa")));
        let remote_url =
            async |node: &Node, id| connections::remote_node_url(&node.0, &scope(), &stage, id).await.unwrap();
        assert_eq!(remote_url(&two, "pa").await.as_deref(), Some("http://one"));
        assert_eq!(remote_url(&one, "eb").await.as_deref(), Some("http://two/rt"));
        assert_eq!((remote_url(&one, "pa").await, remote_url(&one, "unknown").await), (None, None));
        assert_eq!(
            (one.connection_ids(&stage).await, two.connection_ids(&stage).await),
            (vec!["pa".into(), "sc".into()], vec!["eb".into()])
        );
        one.ended(&a, "pa").await;
        assert_eq!(two.open(&b, Intent::Publish, "pb").await, placed_here(None), "the media home was released");
        assert_eq!(one.find(&a, Intent::Publish).await, other("http://two/rt"));
    })
    .await;
}

#[tokio::test]
async fn connections_of_a_dead_node_are_ended_exactly_once() {
    on_postgres(&[], async |cluster, one| {
        let (one, two) = two(cluster, one).await;
        let three = cluster.node("http://three").await;
        let stage = one.stage().await;
        let [a, b, c] = ["a", "b", "c"].map(|id| verified(&one, &stage, id));
        one.run(&a, Intent::Publish, "pa").await;
        one.run(&b, subscribe("a"), "sb").await;
        two.open(&b, Intent::Events, "eb").await.unwrap();
        two.open(&c, Intent::Events, "ec").await.unwrap();
        cluster.advance_with_heartbeats(9, &[&two, &three]).await;
        assert_eq!(one.event_names(&stage, "a").await.len(), 2, "its lease has not expired");
        cluster.clock.advance(Duration::from_secs(1));
        for node in [&two, &three] {
            nodes::heartbeat(&node.0).await.unwrap();
        }
        let swept = tokio::join!(nodes::sweep(&two.0), nodes::sweep(&three.0), nodes::sweep(&two.0));
        assert!(swept.0.is_ok() && swept.1.is_ok() && swept.2.is_ok(), "{swept:?}");
        assert_eq!(two.event_names(&stage, "a").await, ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]);
        assert_eq!(two.event_names(&stage, "b").await, ["JOINED", "SUBSCRIBE_STARTED a", "SUBSCRIBE_STOPPED a"]);
        assert_eq!(two.event_names(&stage, "c").await, ["JOINED"]);
        let before = one.0.node();
        assert!(
            one.open(&a, Intent::Events, "late").await.is_err(),
            "connections of a fenced node would never be ended"
        );
        assert_eq!(nodes::heartbeat(&one.0).await.unwrap(), Liveness::Lost);
        assert_ne!(one.0.node(), before);
        assert_eq!(nodes::heartbeat(&one.0).await.unwrap(), Liveness::Known);
        assert!(one.connection_ids(&stage).await.is_empty());
        assert_eq!(one.open(&a, Intent::Publish, "again").await, placed_here(None));
    })
    .await;
}

#[tokio::test]
async fn the_next_publisher_claims_the_media_home_of_a_dead_node_before_any_sweep() {
    on_postgres(&[], async |cluster, one| {
        let (one, two) = two(cluster, one).await;
        let stage = one.stage().await;
        let [a, b] = ["a", "b"].map(|id| verified(&one, &stage, id));
        one.run(&a, Intent::Publish, "pa").await;
        for _ in 0..11 {
            cluster.clock.advance(Duration::from_secs(1));
            nodes::heartbeat(&two.0).await.unwrap();
        }
        assert!(two.find(&b, subscribe("a")).await.is_err(), "the publisher is gone with its node");
        assert_eq!(two.find(&a, Intent::Publish).await, placed_here(None));
        assert_eq!(two.open(&a, Intent::Publish, "pa2").await, placed_here(None));
        two.started(&a, "pa2").await;
        let event_names = ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT", "JOINED", "PUBLISH_STARTED"];
        assert_eq!(two.event_names(&stage, "a").await, event_names);
        assert_eq!(nodes::heartbeat(&one.0).await.unwrap(), Liveness::Lost);
        assert_eq!(two.open(&b, subscribe("a"), "sb").await, placed_here(Some("pa2")));
    })
    .await;
}

#[tokio::test]
async fn after_an_outage_every_node_has_a_full_lease_to_renew() {
    on_postgres(&[], async |cluster, one| {
        let (one, two) = two(cluster, one).await;
        let stage = one.stage().await;
        let [a, b] = ["a", "b"].map(|id| verified(&one, &stage, id));
        one.run(&a, Intent::Publish, "pa").await;
        cluster.advance_with_heartbeats(20, &[&one, &two]).await;
        // No node reaches the store until long after all leases have expired; then the second node does.
        cluster.clock.advance(Duration::from_secs(60));
        cluster.advance(1, &[&two]).await;
        assert_eq!(two.find(&b, Intent::Publish).await, Ok(Placement::Remote("http://one".into())));
        cluster.advance_with_heartbeats(9, &[&two]).await;
        assert_eq!(nodes::heartbeat(&one.0).await.unwrap(), Liveness::Known);
        cluster.advance_with_heartbeats(30, &[&one, &two]).await;
        assert_eq!(two.event_names(&stage, "a").await, ["JOINED", "PUBLISH_STARTED"]);
        // A node that stays unreachable is fenced.
        cluster.clock.advance(Duration::from_secs(60));
        cluster.advance_with_heartbeats(10, &[&two]).await;
        assert_eq!(two.event_names(&stage, "a").await.len(), 2, "not before a full lease duration");
        cluster.advance_with_heartbeats(1, &[&two]).await;
        assert_eq!(two.event_names(&stage, "a").await, ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]);
        assert_eq!(nodes::heartbeat(&one.0).await.unwrap(), Liveness::Lost);
    })
    .await;
}

#[tokio::test]
async fn a_stopped_node_ends_its_connections() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let [a, b] = ["a", "b"].map(|id| verified(&node, &stage, id));
        node.run(&a, Intent::Publish, "pa").await;
        node.run(&b, subscribe("a"), "sb").await;
        nodes::deregister(&node.0).await.unwrap();
        assert!(node.connection_ids(&stage).await.is_empty());
        assert_eq!(node.event_names(&stage, "b").await.last().map(String::as_str), Some("LEFT"));
        assert_eq!(node.event_names(&stage, "a").await.last().map(String::as_str), Some("LEFT"));
    })
    .await;
}

#[tokio::test]
async fn a_restarted_server_ends_the_connections_of_its_predecessor() {
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        let a = verified(&node, &stage, "a");
        node.run(&a, Intent::Publish, "pa").await;
        let crate::engines::Engine::Sqlite(_) = cluster.engine else { return };
        node.0.db().close().await;
        drop(node);
        let next = cluster.node("http://one").await;
        assert_eq!(next.event_names(&stage, "a").await, ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]);
    })
    .await;
}
