//! Replicas of publishers in other stages.

use crate::cluster::{Node, code, from_json, on_each_engine, on_postgres, placed_here, scope, subscribe, verified};
use greenroom::app::connections::Placement;
use greenroom::app::replications;
use greenroom::domain::admission::{Intent, SignalingErrorCode};
use greenroom::model::stage::StageArn;
use serde_json::json;

pub async fn replicate(
    node: &Node,
    participant: &str,
    source: &str,
    destination: &str,
    window: u32,
) -> Result<(), greenroom::model::fault::Fault> {
    let input = json!({
        "sourceStageArn": StageArn::new(&scope(), source), "destinationStageArn": StageArn::new(&scope(), destination),
        "participantId": participant, "reconnectWindowSeconds": window, "attributes": {"replica": "yes"},
    });
    greenroom::app::retry(|| replications::start(node.ctx(), from_json(input.clone()))).await.map(drop)
}

#[tokio::test]
async fn a_replica_is_listed_and_can_be_subscribed_to_in_its_stage() {
    on_each_engine(&[], async |cluster, node| {
        let (source, destination) = (node.stage().await, node.stage().await);
        let a = verified(&node, &source, "a");
        let b = verified(&node, &destination, "b");
        node.run(&a, Intent::Publish, "pa").await;
        replicate(&node, "a", &source, &destination, 30).await.unwrap();
        let entry = node.view(&destination).await.participants.remove(0);
        assert_eq!((entry.id.as_str(), entry.publishing), ("a", true));
        assert_eq!((entry.attributes["who"].as_str(), entry.attributes["replica"].as_str()), ("a", "yes"));
        assert_eq!(node.open(&b, subscribe("a"), "sb").await, placed_here(Some("pa")));
        node.started(&b, "sb").await;
        let mut events = node.events_in(&destination, &node.sessions(&destination).await[0].0, "b").await;
        assert!(events.pop().unwrap().replica.unwrap().0);
        assert_eq!(node.connection_ids(&destination).await, ["sb"]);
        let impostor = verified(&node, &destination, "a");
        assert_eq!(code(node.open(&impostor, Intent::Events, "x").await), SignalingErrorCode::TokenNotAllowed);
        node.ended(&a, "pa").await;
        assert!(
            node.connection_ids(&destination).await.is_empty(),
            "the replica is removed; signaling closes the subscription"
        );
        node.ended(&b, "sb").await;
        assert_eq!(code(node.find(&b, subscribe("a")).await), SignalingErrorCode::PublisherNotFound);
        cluster.advance(10, &[&node]).await;
        node.run(&a, Intent::Publish, "pa2").await;
        assert_eq!(node.open(&b, subscribe("a"), "sb2").await, placed_here(Some("pa2")), "within the reconnect window");
        node.ended(&a, "pa2").await;
        cluster.advance(31, &[&node]).await;
        node.run(&a, Intent::Publish, "pa3").await;
        assert_eq!(
            code(node.find(&b, subscribe("a")).await),
            SignalingErrorCode::PublisherNotFound,
            "after the reconnect window"
        );
    })
    .await;
}

#[tokio::test]
async fn a_replica_does_not_return_where_a_participant_of_its_id_has_joined_meanwhile() {
    on_each_engine(&["--session-end-seconds", "1"], async |cluster, node| {
        for leave_seconds in [0, 5] {
            let (source, destination) = (node.stage().await, node.stage().await);
            let [a, native] = [&source, &destination].map(|stage| verified(&node, stage, "a"));
            node.run(&a, Intent::Publish, "pa").await;
            node.open(&a, Intent::Events, "ea").await.unwrap();
            replicate(&node, "a", &source, &destination, 30).await.unwrap();
            node.ended(&a, "pa").await;
            // After five seconds, the participant joins another session.
            cluster.advance(leave_seconds, &[&node]).await;
            node.open(&native, Intent::Events, "native").await.unwrap();
            node.run(&a, Intent::Publish, "pa2").await;
            assert!(node.participant(&source, "a").await.publishing);
            cluster.advance(40, &[&node]).await;
            let events = node.event_names(&source, "a").await;
            assert_eq!(events.iter().filter(|name| *name == "REPLICATION_STOPPED").count(), 1, "{events:?}");
            assert_eq!(node.connection_ids(&destination).await, ["native"]);
            let row = node.participant(&destination, "a").await;
            assert!(!row.publishing && row.source_stage_id.is_none());
            node.ended(&a, "pa2").await;
            node.ended(&a, "ea").await;
            node.ended(&native, "native").await;
        }
    })
    .await;
}

#[tokio::test]
async fn stopping_a_replication_ends_its_subscriptions_but_not_the_publisher() {
    on_each_engine(&[], async |_, node| {
        let (source, destination) = (node.stage().await, node.stage().await);
        let [a, b] = [(&source, "a"), (&destination, "b")].map(|(stage, id)| verified(&node, stage, id));
        node.run(&a, Intent::Publish, "pa").await;
        replicate(&node, "a", &source, &destination, 0).await.unwrap();
        node.open(&b, Intent::Events, "eb").await.unwrap();
        node.run(&b, subscribe("a"), "sb").await;
        let input = json!({
            "sourceStageArn": StageArn::new(&scope(), &source), "participantId": "a",
            "destinationStageArn": StageArn::new(&scope(), &destination),
        });
        replications::stop(node.ctx(), from_json(input)).await.unwrap();
        assert_eq!(
            (node.connection_ids(&source).await, node.connection_ids(&destination).await),
            (vec!["pa".into()], vec!["eb".into()])
        );
        node.ended(&b, "sb").await;
        assert_eq!(node.event_names(&destination, "b").await, ["JOINED", "SUBSCRIBE_STARTED a", "SUBSCRIBE_STOPPED a"]);
        assert!(node.participant(&source, "a").await.publishing);
    })
    .await;
}

#[tokio::test]
async fn replicas_count_towards_the_publisher_quota() {
    on_each_engine(&["--quotas", "publishers=1"], async |_, node| {
        let (source, destination) = (node.stage().await, node.stage().await);
        let [a, b] = [(&source, "a"), (&destination, "b")].map(|(stage, id)| verified(&node, stage, id));
        node.run(&a, Intent::Publish, "pa").await;
        node.run(&b, Intent::Publish, "pb").await;
        let fault = replicate(&node, "a", &source, &destination, 0).await.unwrap_err();
        assert_eq!(fault.name(), "ServiceQuotaExceededException");
        node.ended(&b, "pb").await;
        replicate(&node, "a", &source, &destination, 0).await.unwrap();
        assert_eq!(code(node.find(&b, Intent::Publish).await), SignalingErrorCode::QuotaExceeded);
    })
    .await;
}

#[tokio::test]
async fn the_media_of_a_replica_is_on_the_node_of_its_source() {
    on_postgres(&[], async |cluster, one| {
        let two = cluster.node("http://two").await;
        let (source, destination) = (one.stage().await, one.stage().await);
        let [a, b, c] =
            [(&source, "a"), (&destination, "b"), (&destination, "c")].map(|(stage, id)| verified(&one, stage, id));
        one.run(&a, Intent::Publish, "pa").await;
        two.run(&b, Intent::Publish, "pb").await;
        replicate(&one, "a", &source, &destination, 0).await.unwrap();
        assert_eq!(two.find(&c, subscribe("a")).await, Ok(Placement::Remote("http://one".into())));
        assert_eq!(one.open(&c, subscribe("a"), "sa").await, placed_here(Some("pa")));
        assert_eq!(two.open(&c, subscribe("b"), "sb").await, placed_here(Some("pb")));
        assert_eq!(
            (one.connection_ids(&destination).await, two.connection_ids(&destination).await),
            (vec!["sa".into()], vec!["pb".into(), "sb".into()])
        );
    })
    .await;
}
