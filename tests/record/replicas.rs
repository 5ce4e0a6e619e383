//! Replicas of publishers in other stages.

use crate::cluster::{Node, code, each, from, here, scope, shared, subscribe, ticket};
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
    greenroom::app::again(|| replications::start(node.call(), from(input.clone()))).await.map(drop)
}

#[tokio::test]
async fn a_replica_is_seen_and_subscribed_to_in_its_stage() {
    each(&[], async |cluster, node| {
        let (source, destination) = (node.stage().await, node.stage().await);
        let a = ticket(&node, &source, "a");
        let b = ticket(&node, &destination, "b");
        node.run(&a, Intent::Publish, "pa").await;
        replicate(&node, "a", &source, &destination, 30).await.unwrap();
        let entry = node.view(&destination).await.participants.remove(0);
        assert_eq!((entry.id.as_str(), entry.publishing), ("a", true));
        assert_eq!((entry.attributes["who"].as_str(), entry.attributes["replica"].as_str()), ("a", "yes"));
        assert_eq!(node.open(&b, subscribe("a"), "sb").await, here(Some("pa")));
        node.started(&b, "sb").await;
        let mut events = node.events_in(&destination, &node.sessions(&destination).await[0].0, "b").await;
        assert!(events.pop().unwrap().replica.unwrap().0);
        assert_eq!(node.held(&destination).await, ["sb"]);
        let pretender = ticket(&node, &destination, "a");
        assert_eq!(code(node.open(&pretender, Intent::Events, "x").await), SignalingErrorCode::TokenNotAllowed);
        node.ended(&a, "pa").await;
        assert!(node.held(&destination).await.is_empty(), "the replica is gone; the door ends the subscription");
        node.ended(&b, "sb").await;
        assert_eq!(code(node.find(&b, subscribe("a")).await), SignalingErrorCode::PublisherNotFound);
        cluster.advance(10, &[&node]).await;
        node.run(&a, Intent::Publish, "pa2").await;
        assert_eq!(node.open(&b, subscribe("a"), "sb2").await, here(Some("pa2")), "back within its window");
        node.ended(&a, "pa2").await;
        cluster.advance(31, &[&node]).await;
        node.run(&a, Intent::Publish, "pa3").await;
        assert_eq!(
            code(node.find(&b, subscribe("a")).await),
            SignalingErrorCode::PublisherNotFound,
            "the window was over"
        );
    })
    .await;
}

#[tokio::test]
async fn stopping_a_replication_ends_its_subscriptions_while_the_publisher_goes_on() {
    each(&[], async |_, node| {
        let (source, destination) = (node.stage().await, node.stage().await);
        let [a, b] = [(&source, "a"), (&destination, "b")].map(|(stage, id)| ticket(&node, stage, id));
        node.run(&a, Intent::Publish, "pa").await;
        replicate(&node, "a", &source, &destination, 0).await.unwrap();
        node.open(&b, Intent::Events, "eb").await.unwrap();
        node.run(&b, subscribe("a"), "sb").await;
        let input = json!({
            "sourceStageArn": StageArn::new(&scope(), &source), "participantId": "a",
            "destinationStageArn": StageArn::new(&scope(), &destination),
        });
        replications::stop(node.call(), from(input)).await.unwrap();
        assert_eq!((node.held(&source).await, node.held(&destination).await), (vec!["pa".into()], vec!["eb".into()]));
        node.ended(&b, "sb").await;
        assert_eq!(node.story(&destination, "b").await, ["JOINED", "SUBSCRIBE_STARTED a", "SUBSCRIBE_STOPPED a"]);
        assert!(node.participant(&source, "a").await.publishing);
    })
    .await;
}

#[tokio::test]
async fn a_full_stage_takes_no_replica_and_a_replica_fills_a_stage() {
    each(&["--quotas", "publishers=1"], async |_, node| {
        let (source, destination) = (node.stage().await, node.stage().await);
        let [a, b] = [(&source, "a"), (&destination, "b")].map(|(stage, id)| ticket(&node, stage, id));
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
async fn the_media_of_a_replica_are_where_its_source_is() {
    shared(&[], async |cluster, one| {
        let two = cluster.node("http://two").await;
        let (source, destination) = (one.stage().await, one.stage().await);
        let [a, b, c] =
            [(&source, "a"), (&destination, "b"), (&destination, "c")].map(|(stage, id)| ticket(&one, stage, id));
        one.run(&a, Intent::Publish, "pa").await;
        two.run(&b, Intent::Publish, "pb").await;
        replicate(&one, "a", &source, &destination, 0).await.unwrap();
        assert_eq!(two.find(&c, subscribe("a")).await, Ok(Placement::Elsewhere("http://one".into())));
        assert_eq!(one.open(&c, subscribe("a"), "sa").await, here(Some("pa")));
        assert_eq!(two.open(&c, subscribe("b"), "sb").await, here(Some("pb")));
        assert_eq!(
            (one.held(&destination).await, two.held(&destination).await),
            (vec!["sa".into()], vec!["pb".into(), "sb".into()])
        );
    })
    .await;
}
