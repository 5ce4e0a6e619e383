//! Connections: joining, publishing, subscribing, replacement and ends.

use crate::cluster::{code, on_each_engine, placed_here, subscribe, verified};
use greenroom::app::connections;
use greenroom::domain::admission::{Intent, SignalingError, SignalingErrorCode};
use greenroom::domain::participant::Client;
use greenroom::model::participant::{EventErrorCode, ParticipantProtocol, ParticipantState};
use greenroom::model::token::{ParticipantTokenCapabilities, ParticipantTokenCapability};

#[tokio::test]
async fn a_participant_is_in_the_session_while_it_has_a_connection() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let a = verified(&node, &stage, "a");
        for (id, intent) in [("one", Intent::Events), ("two", Intent::Publish)] {
            assert_eq!(node.open(&a, intent, id).await, placed_here(None));
        }
        assert_eq!(node.event_names(&stage, "a").await, ["JOINED"]);
        assert_eq!(node.connection_ids(&stage).await, ["one", "two"]);
        node.ended(&a, "one").await;
        node.ended(&a, "one").await;
        assert_eq!(node.participant(&stage, "a").await.state, ParticipantState::Connected);
        node.ended(&a, "two").await;
        assert_eq!(node.event_names(&stage, "a").await, ["JOINED", "LEFT"]);
        assert_eq!(node.sessions(&stage).await.len(), 1);
        let row = node.participant(&stage, "a").await;
        assert_eq!((row.user_id.as_str(), row.attributes.0["who"].as_str()), ("user of a", "a"));
    })
    .await;
}

#[tokio::test]
async fn a_second_events_connection_replaces_only_the_first() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let [a, b] = ["a", "b"].map(|id| verified(&node, &stage, id));
        node.open(&b, Intent::Events, "other").await.unwrap();
        node.open(&a, Intent::Events, "first").await.unwrap();
        node.open(&a, Intent::Publish, "pub").await.unwrap();
        node.started(&a, "pub").await;
        assert!(!connections::is_reused(&node.0, &a, "first").await.unwrap());
        node.open(&a, Intent::Events, "second").await.unwrap();
        assert_eq!(node.connection_ids(&stage).await, ["other", "pub", "second"]);
        assert!(connections::is_reused(&node.0, &a, "first").await.unwrap());
        assert!(!connections::is_reused(&node.0, &a, "second").await.unwrap());
        node.ended(&a, "first").await;
        assert_eq!(node.event_names(&stage, "a").await, ["JOINED", "PUBLISH_STARTED"], "the participant has not left");
    })
    .await;
}

#[tokio::test]
async fn publishing_starts_with_media_and_stops_before_leaving() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let [a, b] = ["a", "b"].map(|id| verified(&node, &stage, id));
        assert_eq!(node.open(&a, Intent::Publish, "pub").await, placed_here(None));
        let row = node.participant(&stage, "a").await;
        assert_eq!((row.published, row.publishing, row.protocol), (false, false, ParticipantProtocol::Unknown));
        node.started(&a, "pub").await;
        node.started(&a, "pub").await;
        let row = node.participant(&stage, "a").await;
        assert_eq!((row.published, row.publishing, row.protocol), (true, true, ParticipantProtocol::Whip));
        assert_eq!(node.open(&b, subscribe("a"), "sub").await, placed_here(Some("pub")));
        assert_eq!(node.event_names(&stage, "b").await, ["JOINED"], "the subscription has not started");
        node.started(&b, "sub").await;
        assert_eq!(node.participant(&stage, "b").await.subscriptions.0, ["a"]);
        node.ended(&a, "pub").await;
        node.ended(&b, "sub").await;
        assert_eq!(node.event_names(&stage, "a").await, ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]);
        assert_eq!(
            node.event_names(&stage, "b").await,
            ["JOINED", "SUBSCRIBE_STARTED a", "SUBSCRIBE_STOPPED a", "LEFT"]
        );
        node.started(&b, "sub").await;
        assert_eq!(node.event_names(&stage, "b").await.len(), 4, "a connection that has ended does not start");
    })
    .await;
}

#[tokio::test]
async fn a_second_publish_or_subscribe_connection_replaces_the_first() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let [a, b] = ["a", "b"].map(|id| verified(&node, &stage, id));
        node.run(&a, Intent::Publish, "p1").await;
        node.run(&b, subscribe("a"), "s1").await;
        node.open(&a, Intent::Publish, "p2").await.unwrap();
        assert_eq!(node.connection_ids(&stage).await, ["p2", "s1"]);
        assert_eq!(node.event_names(&stage, "a").await, ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED"]);
        node.ended(&a, "p1").await;
        node.started(&a, "p2").await;
        assert!(
            node.participant(&stage, "a").await.publishing,
            "the end of the first connection does not affect the second"
        );
        assert_eq!(node.open(&b, subscribe("a"), "s2").await, placed_here(Some("p2")));
        node.started(&b, "s2").await;
        assert_eq!(node.connection_ids(&stage).await, ["p2", "s2"]);
        let event_names = ["JOINED", "SUBSCRIBE_STARTED a", "SUBSCRIBE_STOPPED a", "SUBSCRIBE_STARTED a"];
        assert_eq!(node.event_names(&stage, "b").await, event_names);
    })
    .await;
}

#[tokio::test]
async fn subscribing_requires_a_publish_connection() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let [a, b] = ["a", "b"].map(|id| verified(&node, &stage, id));
        assert_eq!(code(node.find(&b, subscribe("a")).await), SignalingErrorCode::PublisherNotFound);
        node.open(&a, Intent::Events, "e").await.unwrap();
        node.open(&b, Intent::Events, "f").await.unwrap();
        let refusal = node.open(&b, subscribe("a"), "s").await.unwrap_err();
        assert_eq!(refusal.code, SignalingErrorCode::PublisherNotFound);
        for _ in 0..3 {
            connections::record_error(&node.0, &b, &subscribe("a"), &refusal).await;
        }
        assert_eq!(node.event_names(&stage, "b").await, ["JOINED", "SUBSCRIBE_ERROR a PUBLISHER_NOT_FOUND"]);
        node.open(&a, Intent::Publish, "p").await.unwrap();
        assert_eq!(node.find(&b, subscribe("a")).await, placed_here(Some("p")), "also before its media has started");
        node.ended(&a, "p").await;
        assert_eq!(code(node.find(&b, subscribe("a")).await), SignalingErrorCode::PublisherNotFound);
        let stranger = verified(&node, &stage, "never joined");
        connections::record_error(&node.0, &stranger, &Intent::Publish, &refusal).await;
        assert_eq!(node.view(&stage).await.participants.len(), 2, "a participant outside of the session has no events");
    })
    .await;
}

#[tokio::test]
async fn capabilities_are_enforced() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let list = |one| ParticipantTokenCapabilities(vec![one]);
        let mut a = verified(&node, &stage, "a");
        a.capabilities = list(ParticipantTokenCapability::Subscribe);
        assert_eq!(code(node.find(&a, Intent::Publish).await), SignalingErrorCode::InsufficientCapabilities);
        assert_eq!(code(node.open(&a, Intent::Publish, "p").await), SignalingErrorCode::InsufficientCapabilities);
        assert_eq!(node.open(&a, Intent::Events, "e").await, placed_here(None));
        let mut b = verified(&node, &stage, "b");
        b.capabilities = list(ParticipantTokenCapability::Publish);
        node.open(&b, Intent::Publish, "p").await.unwrap();
        assert_eq!(code(node.find(&b, subscribe("b")).await), SignalingErrorCode::InsufficientCapabilities);
        let refusal = SignalingError::new(SignalingErrorCode::InsufficientCapabilities, "");
        connections::record_error(&node.0, &a, &Intent::Publish, &refusal).await;
        assert_eq!(node.event_names(&stage, "a").await, ["JOINED", "PUBLISH_ERROR INSUFFICIENT_CAPABILITIES"]);
    })
    .await;
}

#[tokio::test]
async fn quotas_of_publishers_and_subscribers_are_enforced() {
    on_each_engine(&["--quotas", "publishers=2,subscribers=2"], async |_, node| {
        let stage = node.stage().await;
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|id| verified(&node, &stage, id));
        node.open(&a, Intent::Publish, "pa").await.unwrap();
        node.run(&b, Intent::Publish, "pb").await;
        for answer in [node.find(&c, Intent::Publish).await, node.open(&c, Intent::Publish, "pc").await] {
            assert_eq!(
                code(answer),
                SignalingErrorCode::QuotaExceeded,
                "connections count before their media has started"
            );
        }
        node.open(&a, Intent::Publish, "pa2").await.expect("it replaces its own connection");
        for (verified, id) in [(&a, "sa"), (&b, "sb")] {
            node.run(verified, subscribe("a"), id).await;
        }
        node.open(&b, subscribe("b"), "sb2").await.expect("a subscriber counts once");
        assert_eq!(code(node.open(&c, subscribe("a"), "sc").await), SignalingErrorCode::QuotaExceeded);
        node.open(&c, Intent::Events, "ec").await.expect("an events connection is not a subscription");
        node.ended(&b, "pb").await;
        node.ended(&a, "sa").await;
        node.open(&c, Intent::Publish, "pc").await.unwrap();
        node.open(&d, subscribe("a"), "sd").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_reason_of_a_failed_connection_is_an_event() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let a = verified(&node, &stage, "a");
        node.open(&a, Intent::Events, "e").await.unwrap();
        node.run(&a, Intent::Publish, "p").await;
        let why = Some(EventErrorCode::BitrateExceeded);
        connections::ended(&node.0, &a, "p", why).await.unwrap();
        connections::ended(&node.0, &a, "e", Some(EventErrorCode::InternalServerException)).await.unwrap();
        let event_names = [
            "JOINED",
            "PUBLISH_STARTED",
            "PUBLISH_ERROR BITRATE_EXCEEDED",
            "PUBLISH_STOPPED",
            "JOIN_ERROR INTERNAL_SERVER_EXCEPTION",
            "LEFT",
        ];
        assert_eq!(node.event_names(&stage, "a").await, event_names);
    })
    .await;
}

#[tokio::test]
async fn a_rejoin_updates_client_and_user() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let mut a = verified(&node, &stage, "a");
        let client = |name: &str| Client { browser_name: name.into(), os_name: "x".repeat(500), ..Client::default() };
        let open = async |verified: &_, id: &str, name: &str| {
            connections::open(&node.0, verified, &Intent::Events, id, client(name)).await.unwrap();
            node.participant(&stage, "a").await
        };
        let row = open(&a, "1", "Chrome (\u{1F600})<script>").await;
        assert_eq!((row.client.browser_name.as_str(), row.client.os_name.len()), ("Chrome script", 128));
        assert_eq!(
            open(&a, "2", "Firefox").await.client.browser_name,
            "Chrome script",
            "unchanged while the participant is connected"
        );
        node.ended(&a, "1").await;
        node.ended(&a, "2").await;
        a.user_id = "another".into();
        let row = open(&a, "3", "Firefox").await;
        assert_eq!((row.client.browser_name.as_str(), row.user_id.as_str()), ("Firefox", "another"));
        assert_eq!(node.event_names(&stage, "a").await, ["JOINED", "LEFT", "JOINED"]);
    })
    .await;
}

#[tokio::test]
async fn disconnecting_ends_all_connections_and_bans_the_participant() {
    on_each_engine(&[], async |_, node| {
        let stage = node.stage().await;
        let [a, b] = ["a", "b"].map(|id| verified(&node, &stage, id));
        node.run(&b, Intent::Publish, "pb").await;
        node.open(&a, Intent::Events, "e").await.unwrap();
        node.run(&a, Intent::Publish, "pa").await;
        node.run(&a, subscribe("b"), "sa").await;
        node.disconnect(&stage, "a").await.unwrap();
        let end = ["SUBSCRIBE_STOPPED b", "PUBLISH_STOPPED", "LEFT"];
        assert_eq!(node.event_names(&stage, "a").await[3..], end);
        assert_eq!(node.connection_ids(&stage).await, ["pb"]);
        for answer in [node.open(&a, Intent::Events, "x").await, node.open(&a, Intent::Publish, "y").await] {
            assert_eq!(code(answer), SignalingErrorCode::ParticipantDisconnected);
        }
        for id in ["e", "pa", "sa"] {
            node.ended(&a, id).await;
        }
        assert_eq!(node.event_names(&stage, "a").await.len(), 6);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_stage_leaves_only_its_change() {
    on_each_engine(&[], async |cluster, node| {
        let stage = node.stage().await;
        let a = verified(&node, &stage, "a");
        node.run(&a, Intent::Publish, "p").await;
        cluster.advance(2, &[&node]).await;
        let since = node.0.clock().now();
        node.delete(&stage).await.unwrap();
        let view = node.view(&stage).await;
        assert!(view.deleted && view.connections.is_empty() && view.participants.is_empty(), "{view:?}");
        let changes = greenroom::app::views::changes(&node.0, since).await.unwrap();
        assert_eq!(changes.iter().map(|change| change.stage.as_str()).collect::<Vec<_>>(), [stage.as_str()]);
        for answer in [node.find(&a, Intent::Events).await, node.open(&a, Intent::Events, "x").await] {
            assert_eq!(code(answer), SignalingErrorCode::StageDeleted);
        }
        node.started(&a, "p").await;
        node.ended(&a, "p").await;
        cluster.advance(14 * 24 * 3600, &[&node]).await;
        assert_eq!(greenroom::app::views::changes(&node.0, since).await.unwrap().len(), 1);
        cluster.advance(2 * 24 * 3600, &[&node]).await;
        assert!(greenroom::app::views::changes(&node.0, since).await.unwrap().is_empty(), "all tokens have expired");
    })
    .await;
}
