//! The course of compositions, and its events.

use crate::cluster::{Cluster, Node, each, from, scope, ticket};
use crate::engines::Engine;
use greenroom::app::{compositions, nodes};
use greenroom::domain::admission::Intent;
use greenroom::model::composition::{CompositionArn, StartCompositionRequest, StopCompositionRequest};
use greenroom::model::stage::StageArn;
use serde_json::json;

async fn start(node: &Node, stage: &str) -> CompositionArn {
    let input: StartCompositionRequest = from(json!({
        "stageArn": StageArn::new(&scope(), stage),
        "destinations": [{"channel": {"channelArn": "arn:aws:ivs:us-west-2:123456789012:channel/c"}}],
    }));
    compositions::start(node.call(), input).await.unwrap().composition.unwrap().arn
}

async fn stop(node: &Node, arn: &CompositionArn) {
    let input: StopCompositionRequest = from(json!({"arn": arn}));
    compositions::stop(node.call(), input).await.unwrap();
}

/// The events of a stage's compositions: second and name.
async fn course(node: &Node, stage: &str) -> Vec<(i64, String)> {
    let log = node.log_of(stage).await;
    let of_compositions = log.iter().filter(|entry| entry.body["detail-type"] == "IVS Composition State Change");
    of_compositions.map(|entry| (entry.second(), entry.name())).collect()
}

fn told(events: &[(i64, &str)]) -> Vec<(i64, String)> {
    events.iter().map(|(second, name)| (*second, (*name).to_owned())).collect()
}

/// This node, and another one where the store can be shared.
async fn two(cluster: &Cluster, one: Node) -> Vec<Node> {
    let mut nodes = vec![one];
    if let Engine::Postgres(..) = cluster.engine {
        nodes.push(cluster.node("http://two").await);
    }
    nodes
}

/// Advances the clock; every node sends a heartbeat, then all sweep at once, several times.
async fn advance(cluster: &Cluster, nodes: &[Node], seconds: u64) {
    cluster.clock.advance(std::time::Duration::from_secs(seconds));
    for node in nodes {
        nodes::heartbeat(&node.0).await.unwrap();
    }
    for _ in 0..3 {
        cluster.sweep_together(&nodes.iter().collect::<Vec<_>>()).await;
    }
}

const START: [(i64, &str); 2] = [(2, "Session Start"), (2, "Destination Start")];

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_emitted_once_when_it_is_due_by_any_node() {
    each(&[], async |cluster, node| {
        let stage = node.stage().await;
        let nodes = two(cluster, node).await;
        start(&nodes[0], &stage).await;
        advance(cluster, &nodes, 1).await;
        assert_eq!(course(&nodes[0], &stage).await, []);
        advance(cluster, &nodes, 1).await;
        assert_eq!(course(&nodes[0], &stage).await, told(&START));
        advance(cluster, &nodes, 58).await;
        assert_eq!(course(&nodes[0], &stage).await, told(&START), "it is stopping");
        advance(cluster, &nodes, 1).await;
        let all = [&START[..], &[(61, "Destination End"), (61, "Session End")]].concat();
        assert_eq!(course(&nodes[0], &stage).await, told(&all));
        advance(cluster, &nodes, 299).await;
        let rows = async || nodes[0].0.db().read().await.unwrap().all_compositions(&scope()).await.unwrap().len();
        assert_eq!(rows().await, 1);
        advance(cluster, &nodes, 1).await;
        assert_eq!(rows().await, 0, "it is forgotten");
        assert_eq!(course(&nodes[0], &stage).await, told(&all));
    })
    .await;
}

#[tokio::test]
async fn overdue_events_have_the_times_at_which_they_were_due() {
    each(&[], async |cluster, node| {
        let stage = node.stage().await;
        start(&node, &stage).await;
        cluster.advance(100_000, &[&node]).await;
        let all = [&START[..], &[(61, "Destination End"), (61, "Session End")]].concat();
        assert_eq!(course(&node, &stage).await, told(&all));
        assert!(node.0.db().read().await.unwrap().all_compositions(&scope()).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_composition_ends_a_minute_after_its_last_publisher_left() {
    each(&[], async |cluster, node| {
        let stage = node.stage().await;
        let a = ticket(&node, &stage, "a");
        start(&node, &stage).await;
        cluster.advance(30, &[&node]).await;
        node.run(&a, Intent::Publish, "1").await;
        cluster.advance(100, &[&node]).await;
        assert_eq!(course(&node, &stage).await, told(&START));
        node.ended(&a, "1").await;
        cluster.advance(60, &[&node]).await;
        assert_eq!(course(&node, &stage).await, told(&START), "130 + 60: it is stopping");
        let b = ticket(&node, &stage, "b");
        node.run(&b, Intent::Publish, "2").await;
        cluster.advance(1, &[&node]).await;
        let all = [&START[..], &[(191, "Destination End"), (191, "Session End")]].concat();
        assert_eq!(course(&node, &stage).await, told(&all), "too late to keep it");
    })
    .await;
}

#[tokio::test]
async fn a_stopped_composition_ends_a_second_later_without_events_of_a_start_that_never_was() {
    each(&[], async |cluster, node| {
        let stage = node.stage().await;
        let early = start(&node, &stage).await;
        cluster.advance(1, &[&node]).await;
        stop(&node, &early).await;
        let late = start(&node, &stage).await;
        cluster.advance(1, &[&node]).await;
        assert_eq!(course(&node, &stage).await, told(&[(2, "Session End")]));
        cluster.advance(8, &[&node]).await;
        stop(&node, &late).await;
        cluster.advance(1, &[&node]).await;
        let all = [
            (2, "Session End"),
            (3, "Session Start"),
            (3, "Destination Start"),
            (11, "Destination End"),
            (11, "Session End"),
        ];
        assert_eq!(course(&node, &stage).await, told(&all));
    })
    .await;
}

#[tokio::test]
async fn the_deletion_of_its_stage_fails_a_composition_unless_it_was_ending() {
    each(&[], async |cluster, node| {
        let stage = node.stage().await;
        let one = start(&node, &stage).await;
        start(&node, &stage).await;
        cluster.advance(10, &[&node]).await;
        stop(&node, &one).await;
        node.delete(&stage).await.unwrap();
        cluster.advance(1, &[&node]).await;
        let mut ends: Vec<_> = course(&node, &stage).await.split_off(4);
        ends.sort();
        let all = [(11, "Destination End"), (11, "Destination End"), (11, "Session End"), (11, "Session Failure")];
        assert_eq!(ends, told(&all));
        let log = node.log_of(&stage).await;
        let failure = log.iter().find(|entry| entry.name() == "Session Failure").unwrap();
        assert_eq!(failure.body["detail"]["error_code"], "StageDeleted");
        assert_ne!(failure.body["resources"][0].as_str(), Some(&*one), "that one was stopped before");
        cluster.advance(300, &[&node]).await;
        assert!(node.0.db().read().await.unwrap().all_compositions(&scope()).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_idempotency_token_of_an_expired_composition_starts_another() {
    each(&[], async |cluster, node| {
        let stage = node.stage().await;
        let input = json!({
            "stageArn": StageArn::new(&scope(), &stage), "idempotencyToken": "again",
            "destinations": [{"channel": {"channelArn": "arn:aws:ivs:us-west-2:123456789012:channel/c"}}],
        });
        let start = async || {
            let answer = compositions::start(node.call(), from(input.clone())).await.unwrap();
            answer.composition.unwrap().arn
        };
        let first = start().await;
        cluster.clock.advance(std::time::Duration::from_secs(60));
        assert_eq!(start().await, first);
        cluster.clock.advance(std::time::Duration::from_secs(3600));
        assert_ne!(start().await, first);
        cluster.advance(2, &[&node]).await;
        let all = [&START[..], &[(61, "Destination End"), (61, "Session End")]].concat();
        let all = [&all[..], &[(3662, "Session Start"), (3662, "Destination Start")]].concat();
        assert_eq!(course(&node, &stage).await, told(&all), "the first one's events are there all the same");
    })
    .await;
}
