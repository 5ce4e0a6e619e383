//! Connections of encoders to a server that runs, with its media engine.

use crate::cluster::{Cluster, Node, on_each_engine, on_postgres, scope, verified};
use crate::encoders::{attached_arn, ingest, state, update};
use greenroom::app::admission::{Purpose, admit};
use greenroom::connections::{Connections, EncoderConnection, EncoderEnd, EncoderOutcome, EncoderRequest};
use greenroom::domain::admission::{Intent, SignalingError, SignalingErrorCode};
use greenroom::domain::participant::Client;
use greenroom::model::ingest_configuration::{IngestConfiguration, IngestProtocol};
use greenroom::model::participant::EventErrorCode;
use greenroom_media::{Codec, MediaPacket};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs.
struct Running {
    node: Node,
    connections: Arc<Connections>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Running {
    async fn start(cluster: &Cluster, url: &str) -> Running {
        let server = cluster.server(url).await;
        let (node, connections) = (Node(server.app.clone()), server.connections.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server.run(async move { drop(stopped.await) }));
        Running { node, connections, stop, server }
    }

    async fn open(&self, key: &str) -> Result<EncoderOutcome, SignalingError> {
        let request =
            EncoderRequest { stream_key: key.to_owned(), protocol: IngestProtocol::Rtmps, client: Client::default() };
        self.connections.open_encoder(request).await
    }

    async fn opened(&self, key: &str) -> EncoderConnection {
        match self.open(key).await.unwrap() {
            EncoderOutcome::Opened(connection) => connection,
            EncoderOutcome::Relay { node_url, .. } => panic!("relayed to {node_url}"),
        }
    }

    /// Waits until a condition holds, which is checked after each change of the node.
    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let mut changes = self.node.0.notifier().subscribe();
        let holds = async {
            while !condition().await {
                changes.changed().await;
            }
        };
        tokio::time::timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("{what}"));
    }

    async fn until_state(&self, ingest: &IngestConfiguration, expected: &str) {
        self.until(expected, async || state(&self.node, ingest).await.1 == expected).await;
    }

    /// Ids of the participants that others see, and whether they publish.
    async fn seen(&self, stage: &str) -> Vec<(String, bool)> {
        self.node.view(stage).await.participants.into_iter().map(|entry| (entry.id, entry.publishing)).collect()
    }
}

/// Runs a test on each engine against a server. The node of the cluster is replaced: an embedded store has one.
async fn on_each_server(flags: &[&str], check: impl AsyncFn(&Cluster, &Running)) {
    on_each_engine(flags, async |cluster, node| {
        node.0.db().close().await;
        drop(node);
        let running = Running::start(cluster, "http://served").await;
        Box::pin(check(cluster, &running)).await;
        let _ = running.stop.send(());
        running.server.await.unwrap();
    })
    .await;
}

async fn end_of(mut connection: EncoderConnection) -> EncoderEnd {
    tokio::time::timeout(PATIENCE, connection.ended()).await.expect("the server ends the connection")
}

/// A key frame of one packet.
fn key_frame(n: u64) -> MediaPacket {
    MediaPacket {
        track: 1,
        layer: 0,
        codec: Codec::H264,
        sequence_number: n,
        timestamp: u32::try_from(n * 3000).unwrap(),
        marker: true,
        captured: Instant::now(),
        rotation: None,
        payload: Arc::from([0x65, 0x88, 0x84, 0x00]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_starts_with_the_first_packet_and_ends_with_the_connection() {
    on_each_server(&[], async |_, server| {
        let stage = server.node.stage().await;
        let camera = ingest(&server.node, &stage, json!({})).await;
        let mut connection = server.opened(&camera.stream_key).await;
        let id = camera.participant_id.0.as_str();
        assert_eq!((connection.participant.as_str(), connection.stage.as_str()), (id, stage.as_str()));
        assert_eq!(server.seen(&stage).await, [(id.to_owned(), false)]);
        (0..3).for_each(|n| connection.push(key_frame(n)));
        server.until_state(&camera, "ACTIVE").await;
        assert_eq!(server.seen(&stage).await, [(id.to_owned(), true)]);
        let error = server.open(&camera.stream_key).await.unwrap_err();
        assert_eq!(error.code, SignalingErrorCode::StreamKeyInUse);
        drop(connection);
        server.until_state(&camera, "INACTIVE").await;
        let expected = ["JOINED", "PUBLISH_STARTED", "PUBLISH_ERROR REUSE_OF_STREAM_KEY", "PUBLISH_STOPPED", "LEFT"];
        assert_eq!(server.node.event_names(&stage, id).await, expected);
        let mut failed = server.opened(&camera.stream_key).await;
        failed.push(key_frame(0));
        failed.end(Some(EventErrorCode::BFramePresent));
        let events = async || server.node.event_names(&stage, id).await.split_off(expected.len());
        server.until("it leaves again", async || events().await.len() == 5).await;
        let again = ["JOINED", "PUBLISH_STARTED", "PUBLISH_ERROR B_FRAME_PRESENT", "PUBLISH_STOPPED", "LEFT"];
        assert_eq!(events().await, again);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_ends_encoders_and_says_why() {
    on_each_server(&["--stream-max-seconds", "5"], async |cluster, server| {
        let stage = server.node.stage().await;
        let camera = ingest(&server.node, &stage, json!({})).await;
        let attach = json!({"stageArn": attached_arn(&stage)});
        let mut connection = server.opened(&camera.stream_key).await;
        connection.push(key_frame(0));
        server.until_state(&camera, "ACTIVE").await;
        server.node.disconnect(&stage, &connection.participant).await.unwrap();
        assert_eq!(end_of(connection).await, EncoderEnd::Disconnected);
        update(&server.node, &camera, attach.clone()).await.unwrap();
        let pending = server.opened(&camera.stream_key).await;
        update(&server.node, &camera, attach.clone()).await.unwrap();
        assert_eq!(end_of(pending).await, EncoderEnd::Disconnected, "its configuration was changed");
        let old = server.opened(&camera.stream_key).await;
        cluster.clock.advance(Duration::from_secs(5));
        assert_eq!(end_of(old).await, EncoderEnd::DurationExceeded);
        let id = camera.participant_id.0.as_str();
        server.until("it has left", async || server.node.rows(&stage, id).await.is_empty()).await;
        let events = server.node.event_names(&stage, id).await;
        assert!(events.contains(&"PUBLISH_ERROR STREAM_DURATION_EXCEEDED".to_owned()), "{events:?}");
        let last = server.opened(&camera.stream_key).await;
        server.node.delete(&stage).await.unwrap();
        assert_eq!(end_of(last).await, EncoderEnd::StageDeleted);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_its_encoders() {
    on_each_engine(&[], async |cluster, node| {
        node.0.db().close().await;
        drop(node);
        let server = Running::start(cluster, "http://served").await;
        let stage = server.node.stage().await;
        let camera = ingest(&server.node, &stage, json!({})).await;
        let mut connection = server.opened(&camera.stream_key).await;
        connection.push(key_frame(0));
        server.until_state(&camera, "ACTIVE").await;
        let Running { node, connections, stop, server } = server;
        stop.send(()).unwrap();
        assert_eq!(end_of(connection).await, EncoderEnd::Stopping);
        server.await.unwrap();
        // An embedded store has one node at a time.
        drop((node, connections));
        let next = cluster.node("http://next").await;
        assert_eq!(state(&next, &camera).await.1, "INACTIVE");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_virtual_participant_publishes_while_one_of_redundant_encoders_does() {
    on_each_server(&[], async |_, server| {
        let stage = server.node.stage().await;
        let camera = ingest(&server.node, &stage, json!({"redundantIngest": true})).await;
        let credentials = camera.redundant_ingest_credentials.as_ref().unwrap();
        let keys: Vec<_> = credentials.iter().map(|credential| credential.stream_key.clone().unwrap()).collect();
        let seen = camera.participant_id.0.clone();
        let (mut primary, mut secondary) = tokio::join!(server.opened(&keys[0]), server.opened(&keys[1]));
        assert_eq!(server.seen(&stage).await, [(seen.clone(), false)]);
        assert_eq!(server.node.rows(&stage, &seen).await.len(), 1, "one stream for both");
        let error = server.open(&keys[0]).await.unwrap_err();
        assert_eq!(error.code, SignalingErrorCode::StreamKeyInUse);
        primary.push(key_frame(0));
        secondary.push(key_frame(0));
        let publishes = async |publishing| server.seen(&stage).await == [(seen.clone(), publishing)];
        server.until("the virtual participant publishes", async || publishes(true).await).await;
        let first = primary.participant.clone();
        drop(primary);
        server.until("the primary has left", async || server.node.rows(&stage, &first).await.is_empty()).await;
        assert!(publishes(true).await && state(&server.node, &camera).await.1 == "ACTIVE");
        drop(secondary);
        server.until("the virtual participant has left", async || server.seen(&stage).await.is_empty()).await;
        server.until_state(&camera, "INACTIVE").await;
        assert_eq!(
            server.node.event_names(&stage, &seen).await,
            ["JOINED", "PUBLISH_STARTED", "PUBLISH_STOPPED", "LEFT"]
        );
        let (primary, secondary) = tokio::join!(server.opened(&keys[0]), server.opened(&keys[1]));
        server.node.disconnect(&stage, &seen).await.unwrap();
        assert_eq!(
            (end_of(primary).await, end_of(secondary).await),
            (EncoderEnd::Disconnected, EncoderEnd::Disconnected)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_is_relayed_to_the_home_of_the_media() {
    on_postgres(&[], async |cluster, one| {
        let two = Running::start(cluster, "http://two").await;
        let stage = one.stage().await;
        let camera = ingest(&one, &stage, json!({})).await;
        one.run(&verified(&one, &stage, "a"), Intent::Publish, "pa").await;
        let outcome = two.open(&camera.stream_key).await.unwrap();
        let EncoderOutcome::Relay { node_url, token, participant, stage: relayed } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!((node_url.as_str(), &participant, &relayed), ("http://one", &camera.participant_id.0, &stage));
        let admitted = admit(&one.0, &token, Purpose::Join).await.unwrap();
        assert_eq!((&admitted.participant, &admitted.scope), (&participant, &scope()));
        one.run(&admitted, Intent::Publish, "c").await;
        two.connections.report_relayed_encoder(&token, EventErrorCode::BFramePresent).await;
        let last = one.event_names(&stage, &participant).await.pop();
        assert_eq!(last.as_deref(), Some("PUBLISH_ERROR B_FRAME_PRESENT"));
        let _ = two.stop.send(());
        two.server.await.unwrap();
    })
    .await;
}
