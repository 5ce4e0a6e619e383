//! When sessions begin and end.

use crate::cluster::{each, ticket};
use greenroom::domain::admission::Intent;

#[tokio::test]
async fn a_session_ends_a_minute_after_the_last_participant_left_however_late_that_is_noticed() {
    each(&[], async |cluster, node| {
        let stage = node.stage().await;
        let a = ticket(&node, &stage, "a");
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
        assert_eq!(node.story(&stage, "a").await, ["JOINED"], "a new session begins from nothing");
    })
    .await;
}

#[tokio::test]
async fn a_participant_that_rejoins_in_time_finds_the_session_open_and_later_a_new_one() {
    each(&[], async |cluster, node| {
        let stage = node.stage().await;
        let a = ticket(&node, &stage, "a");
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
async fn without_a_wait_a_session_ends_with_its_last_participant() {
    each(&["--session-end-seconds", "0"], async |_, node| {
        let stage = node.stage().await;
        let [a, b] = ["a", "b"].map(|id| ticket(&node, &stage, id));
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
    each(&["--session-silent-seconds", "180"], async |cluster, node| {
        let stage = node.stage().await;
        let [a, b] = ["a", "b"].map(|id| ticket(&node, &stage, id));
        node.open(&a, Intent::Events, "1").await.unwrap();
        cluster.advance(100, &[&node]).await;
        node.run(&b, Intent::Publish, "2").await;
        cluster.advance(500, &[&node]).await;
        node.ended(&b, "2").await;
        cluster.advance(179, &[&node]).await;
        assert_eq!(node.sessions(&stage).await[0].2, None);
        assert_eq!(node.held(&stage).await, ["1"]);
        cluster.advance(5, &[&node]).await;
        assert_eq!(node.sessions(&stage).await[0].2, Some(780_000));
        assert_eq!(node.story(&stage, "a").await, ["JOINED", "LEFT"]);
        let session = node.sessions(&stage).await.remove(0).0;
        let left = node.events_in(&stage, &session, "a").await.remove(1);
        assert_eq!(left.event_time.unwrap().0.0, crate::cluster::START.0 + 780_000, "when it was due");
        assert!(node.held(&stage).await.is_empty(), "its participants have left");
        node.ended(&a, "1").await;
    })
    .await;
}
