//! Start and end of sessions.

use crate::cluster::{on_each_engine, verified};
use greenroom::domain::admission::Intent;

#[tokio::test]
async fn a_session_ends_a_minute_after_the_last_participant_left_regardless_of_the_sweep() {
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        let a = verified(&node, &stage, "a");
        node.open(&a, Intent::Events, "1").await.unwrap();
        cluster.advance(10, &[&node]).await;
        node.ended(&a, "1").await;
        cluster.advance(59, &[&node]).await;
        assert_eq!(node.sessions(&stage).await[0].2, None);
        cluster.advance(300, &[&node]).await;
        assert_eq!(node.sessions(&stage).await[0].2, Some(70_000));
        node.open(&a, Intent::Events, "2").await.unwrap();
        let sessions = node.sessions(&stage).await;
        assert_eq!((sessions.len(), sessions[0].1, sessions[0].2), (2, 369_000, None));
        assert_eq!(node.event_names(&stage, "a").await, ["JOINED"], "a new session has no earlier events");
    })
    .await;
}

#[tokio::test]
async fn a_rejoin_within_a_minute_continues_the_session_and_a_later_one_opens_a_new_session() {
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        let a = verified(&node, &stage, "a");
        for round in 0..3 {
            node.open(&a, Intent::Events, "1").await.unwrap();
            cluster.clock.advance(std::time::Duration::from_secs(100));
            greenroom::app::nodes::sweep(&node.0).await.unwrap();
            node.ended(&a, "1").await;
            assert_eq!(node.sessions(&stage).await.len(), 1, "round {round}");
            cluster.clock.advance(std::time::Duration::from_secs(59));
        }
        cluster.clock.advance(std::time::Duration::from_secs(1));
        node.open(&a, Intent::Events, "2").await.expect("before any sweep");
        let sessions = node.sessions(&stage).await;
        assert_eq!((sessions.len(), sessions[1].2, sessions[0].1), (2, Some(478_000), 478_000));
    })
    .await;
}

#[tokio::test]
async fn with_session_end_seconds_0_a_session_ends_with_its_last_participant() {
    on_each_engine(&["--session-end-seconds", "0"], async |_, node| {
        let stage = node.stage().await;
        let [a, b] = ["a", "b"].map(|id| verified(&node, &stage, id));
        node.open(&a, Intent::Events, "1").await.unwrap();
        node.run(&b, Intent::Publish, "2").await;
        node.ended(&a, "1").await;
        assert_eq!(node.sessions(&stage).await[0].2, None);
        node.disconnect(&stage, "b").await.unwrap();
        assert_eq!(node.sessions(&stage).await[0].2, Some(0));
        node.open(&a, Intent::Events, "3").await.unwrap();
        assert_eq!(node.sessions(&stage).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_session_without_publishers_ends_after_the_configured_time() {
    on_each_engine(&["--session-silent-seconds", "180"], async |cluster, node| {
        let stage = node.stage().await;
        let [a, b] = ["a", "b"].map(|id| verified(&node, &stage, id));
        node.open(&a, Intent::Events, "1").await.unwrap();
        cluster.advance(100, &[&node]).await;
        node.run(&b, Intent::Publish, "2").await;
        cluster.advance(500, &[&node]).await;
        node.ended(&b, "2").await;
        cluster.advance(179, &[&node]).await;
        assert_eq!(node.sessions(&stage).await[0].2, None);
        assert_eq!(node.connection_ids(&stage).await, ["1"]);
        cluster.advance(5, &[&node]).await;
        assert_eq!(node.sessions(&stage).await[0].2, Some(780_000));
        assert_eq!(node.event_names(&stage, "a").await, ["JOINED", "LEFT"]);
        let session = node.sessions(&stage).await.remove(0).0;
        let left = node.events_in(&stage, &session, "a").await.remove(1);
        assert_eq!(left.event_time.unwrap().0.0, crate::cluster::START.0 + 780_000, "at the due time");
        assert!(node.connection_ids(&stage).await.is_empty(), "its participants have left");
        node.ended(&a, "1").await;
    })
    .await;
}
