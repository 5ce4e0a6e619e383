//! State changes of compositions, and their events.

use crate::cluster::{Cluster, Node, from_json, on_each_engine, scope, verified};
use crate::engines::Engine;
use greenroom::app::{compositions, nodes};
use greenroom::domain::admission::Intent;
use greenroom::model::composition::{CompositionArn, StartCompositionRequest, StopCompositionRequest};
use greenroom::model::stage::StageArn;
use serde_json::json;

async fn start(node: &Node, stage: &str) -> CompositionArn {
    let input: StartCompositionRequest = from_json(json!({
        "stageArn": StageArn::new(&scope(), stage),
        "destinations": [{"channel": {"channelArn": "arn:aws:ivs:us-west-2:123456789012:channel/c"}}],
    }));
    compositions::start(node.ctx(), input).await.unwrap().composition.unwrap().arn
}

async fn stop(node: &Node, arn: &CompositionArn) {
    let input: StopCompositionRequest = from_json(json!({"arn": arn}));
    compositions::stop(node.ctx(), input).await.unwrap();
}

/// The events of a stage's compositions: second and name.
async fn composition_events(node: &Node, stage: &str) -> Vec<(i64, String)> {
    let log = node.log_of(stage).await;
    let of_compositions = log.iter().filter(|entry| entry.body["detail-type"] == "IVS Composition State Change");
    of_compositions.map(|entry| (entry.second(), entry.name())).collect()
}

fn expected(events: &[(i64, &str)]) -> Vec<(i64, String)> {
    events.iter().map(|(second, name)| (*second, (*name).to_owned())).collect()
}

/// This node, and a second one if the store can be shared.
async fn nodes_on(cluster: &Cluster, one: Node) -> Vec<Node> {
    let mut nodes = vec![one];
    if let Engine::Postgres(..) = cluster.engine {
        nodes.push(cluster.node("http://two").await);
    }
    nodes
}

/// Advances the clock; every node sends a heartbeat, then all sweep concurrently, several times.
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
async fn an_event_is_emitted_once_when_it_is_due_by_any_node() {
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        let nodes = nodes_on(cluster, node).await;
        start(&nodes[0], &stage).await;
        advance(cluster, &nodes, 1).await;
        assert_eq!(composition_events(&nodes[0], &stage).await, []);
        advance(cluster, &nodes, 1).await;
        assert_eq!(composition_events(&nodes[0], &stage).await, expected(&START));
        advance(cluster, &nodes, 58).await;
        assert_eq!(composition_events(&nodes[0], &stage).await, expected(&START), "the composition is stopping");
        advance(cluster, &nodes, 1).await;
        let all = [&START[..], &[(61, "Destination End"), (61, "Session End")]].concat();
        assert_eq!(composition_events(&nodes[0], &stage).await, expected(&all));
        advance(cluster, &nodes, 299).await;
        let rows = async || nodes[0].0.db().read().await.unwrap().all_compositions(&scope()).await.unwrap().len();
        assert_eq!(rows().await, 1);
        advance(cluster, &nodes, 1).await;
        assert_eq!(rows().await, 0, "the row is deleted");
        assert_eq!(composition_events(&nodes[0], &stage).await, expected(&all));
    })
    .await;
}

#[tokio::test]
async fn overdue_events_have_their_due_times() {
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        start(&node, &stage).await;
        cluster.advance(100_000, &[&node]).await;
        let all = [&START[..], &[(61, "Destination End"), (61, "Session End")]].concat();
        assert_eq!(composition_events(&node, &stage).await, expected(&all));
        assert!(node.0.db().read().await.unwrap().all_compositions(&scope()).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_composition_stops_a_minute_after_its_last_publisher_left() {
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        let a = verified(&node, &stage, "a");
        start(&node, &stage).await;
        cluster.advance(30, &[&node]).await;
        node.run(&a, Intent::Publish, "1").await;
        cluster.advance(100, &[&node]).await;
        assert_eq!(composition_events(&node, &stage).await, expected(&START));
        node.ended(&a, "1").await;
        cluster.advance(60, &[&node]).await;
        assert_eq!(composition_events(&node, &stage).await, expected(&START), "130 + 60: the composition is stopping");
        let b = verified(&node, &stage, "b");
        node.run(&b, Intent::Publish, "2").await;
        cluster.advance(1, &[&node]).await;
        let all = [&START[..], &[(191, "Destination End"), (191, "Session End")]].concat();
        assert_eq!(composition_events(&node, &stage).await, expected(&all), "a new publisher does not revive it");
    })
    .await;
}

#[tokio::test]
async fn a_composition_stopped_before_its_start_has_no_start_events() {
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        let early = start(&node, &stage).await;
        cluster.advance(1, &[&node]).await;
        stop(&node, &early).await;
        let late = start(&node, &stage).await;
        cluster.advance(1, &[&node]).await;
        assert_eq!(composition_events(&node, &stage).await, expected(&[(2, "Session End")]));
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
        assert_eq!(composition_events(&node, &stage).await, expected(&all));
    })
    .await;
}

#[tokio::test]
async fn deleting_the_stage_fails_a_composition_unless_it_was_stopping() {
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        let one = start(&node, &stage).await;
        start(&node, &stage).await;
        cluster.advance(10, &[&node]).await;
        stop(&node, &one).await;
        node.delete(&stage).await.unwrap();
        cluster.advance(1, &[&node]).await;
        let mut ends: Vec<_> = composition_events(&node, &stage).await.split_off(4);
        ends.sort();
        let all = [(11, "Destination End"), (11, "Destination End"), (11, "Session End"), (11, "Session Failure")];
        assert_eq!(ends, expected(&all));
        let log = node.log_of(&stage).await;
        let failure = log.iter().find(|entry| entry.name() == "Session Failure").unwrap();
        assert_eq!(failure.body["detail"]["error_code"], "StageDeleted");
        assert_ne!(failure.body["resources"][0].as_str(), Some(&*one), "the stopped composition does not fail");
        cluster.advance(300, &[&node]).await;
        assert!(node.0.db().read().await.unwrap().all_compositions(&scope()).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_idempotency_token_of_an_expired_composition_starts_another() {
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        let input = json!({
            "stageArn": StageArn::new(&scope(), &stage), "idempotencyToken": "again",
            "destinations": [{"channel": {"channelArn": "arn:aws:ivs:us-west-2:123456789012:channel/c"}}],
        });
        let start = async || {
            let answer = compositions::start(node.ctx(), from_json(input.clone())).await.unwrap();
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
        assert_eq!(
            composition_events(&node, &stage).await,
            expected(&all),
            "the events of the first composition are emitted as well"
        );
    })
    .await;
}
