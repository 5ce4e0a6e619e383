//! Connections of a scripted encoder over a pipe in memory, with an admission that records what is published.

mod encoder;

use super::connection::LINGER;
use super::end::End;
use super::session::{self, Peer};
use super::{Admission, Admitted, Publication, Settings, Shared};
use crate::connections::{EncoderEnd, EncoderRequest};
use crate::domain::admission::{SignalingError, SignalingErrorCode};
use crate::ids::Ids;
use crate::metrics::{Format, IngestEnd, Metrics};
use crate::model::ingest_configuration::IngestProtocol;
use crate::model::participant::EventErrorCode;
use async_trait::async_trait;
use encoder::{AAC_CONFIGURATION, AUDIO, Encoder, HEVC_KEY_FRAME, VIDEO};
use greenroom_media::MediaPacket;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const TIMEOUT: Duration = Duration::from_secs(10);
const KEY: &str = "rt_000000000000_us-east-1_abc_secret";

/// What the admission has seen.
#[derive(Debug, Default)]
struct Seen {
    requests: Vec<(String, IngestProtocol, String)>,
    packets: usize,
    closed: Vec<Option<EventErrorCode>>,
}

/// Admits [`KEY`] only.
struct TestAdmission {
    seen: Arc<Mutex<Seen>>,
    end: watch::Receiver<Option<EncoderEnd>>,
}

struct TestPublication {
    seen: Arc<Mutex<Seen>>,
    end: watch::Receiver<Option<EncoderEnd>>,
}

#[async_trait]
impl Admission for TestAdmission {
    async fn admit(&self, request: EncoderRequest) -> Result<Admitted, SignalingError> {
        let EncoderRequest { stream_key, protocol, client } = request;
        let is_known = stream_key == KEY;
        self.seen.lock().unwrap().requests.push((stream_key, protocol, client.browser_name));
        if !is_known {
            return Err(SignalingError::new(SignalingErrorCode::InvalidStreamKey, "the stream key is unknown"));
        }
        let publication = TestPublication { seen: self.seen.clone(), end: self.end.clone() };
        Ok(Admitted { participant: "p".into(), stage: "s".into(), publication: Box::new(publication) })
    }
}

#[async_trait]
impl Publication for TestPublication {
    fn push(&mut self, _: MediaPacket) {
        self.seen.lock().unwrap().packets += 1;
    }

    async fn ended(&mut self) -> End {
        let end = *self.end.wait_for(Option::is_some).await.unwrap();
        End::Server(end.unwrap())
    }

    async fn close(self: Box<Self>, error: Option<EventErrorCode>) {
        self.seen.lock().unwrap().closed.push(error);
    }
}

/// A connection that is served, and the encoder at its other end.
struct Test {
    encoder: Encoder,
    serving: tokio::task::JoinHandle<IngestEnd>,
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
    end: watch::Sender<Option<EncoderEnd>>,
    metrics: Arc<Metrics>,
}

impl Test {
    /// Serves a connection over a pipe that holds `capacity` bytes in each direction.
    fn with_capacity(capacity: usize) -> Test {
        let (client, server) = tokio::io::duplex(capacity);
        let (seen, stop, metrics) =
            (Arc::<Mutex<Seen>>::default(), CancellationToken::new(), Arc::<Metrics>::default());
        let (end, ended) = watch::channel(None);
        let settings = Settings { timeout: TIMEOUT, strict_ivs: false, max_connections: 1, max_client_share: 100 };
        let admission = Box::new(TestAdmission { seen: seen.clone(), end: ended });
        let shared = Shared::new(settings, admission, metrics.clone(), Ids::seeded(1));
        let peer = Peer {
            address: Ipv4Addr::LOCALHOST.into(),
            protocol: IngestProtocol::Rtmp,
            deadline: Instant::now() + TIMEOUT,
        };
        let stopped = stop.clone();
        let serving = tokio::spawn(async move { session::serve(&shared, server, peer, &stopped).await.reason() });
        Test { encoder: Encoder::new(client), serving, seen, stop, end, metrics }
    }

    fn new() -> Test {
        Test::with_capacity(1 << 20)
    }

    /// A connection that publishes with a key.
    async fn publishing(key: &str) -> Test {
        let mut test = Test::new();
        test.encoder.handshake().await;
        test.encoder.publish("app", key).await;
        test
    }

    /// One whose publication was accepted.
    async fn accepted() -> Test {
        let mut test = Test::publishing(KEY).await;
        test.encoder.read_until("NetStream.Publish.Start").await;
        test
    }

    /// The reason of the end, and what the encoder has read until then.
    async fn ended(mut self) -> (IngestEnd, String, Seen) {
        let read = self.encoder.read_to_end().await;
        let reason = self.serving.await.unwrap();
        (reason, read, std::mem::take(&mut *self.seen.lock().unwrap()))
    }
}

#[tokio::test(start_paused = true)]
async fn media_are_published_until_the_encoder_stops() {
    let mut test = Test::accepted().await;
    test.encoder.send(AUDIO, 0, &AAC_CONFIGURATION).await;
    for n in 0..10 {
        test.encoder.send(AUDIO, n * 21, &encoder::silent_aac()).await;
    }
    test.encoder.unpublish().await;
    let (reason, _, seen) = test.ended().await;
    assert_eq!(reason, IngestEnd::Unpublished);
    assert_eq!(seen.requests, [(KEY.to_owned(), IngestProtocol::Rtmp, "Lavf".to_owned())]);
    assert!(seen.packets > 0);
    assert_eq!(seen.closed, [None]);
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_stops_is_the_first_to_close_the_connection() {
    let mut test = Test::accepted().await;
    let start = Instant::now();
    test.encoder.unpublish().await;
    test.encoder.read_to_end().await;
    assert_eq!(start.elapsed(), LINGER, "the server waits for the encoder");
    let mut test = Test::accepted().await;
    test.encoder.unpublish().await;
    test.encoder.hang_up();
    assert_eq!(test.serving.await.unwrap(), IngestEnd::Unpublished);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_in_a_frame_ends_the_publication_without_an_error() {
    let mut test = Test::accepted().await;
    test.encoder.send_part_of_a_message().await;
    test.encoder.hang_up();
    assert_eq!(test.serving.await.unwrap(), IngestEnd::Closed);
    assert_eq!(test.seen.lock().unwrap().closed, [None]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_refused_with_a_text() {
    let (reason, read, seen) = Test::publishing("rt_unknown").await.ended().await;
    assert_eq!(reason, IngestEnd::InvalidStreamKey);
    assert!(read.contains("NetStream.Publish.BadName") && read.contains("the stream key is unknown"), "{read}");
    assert!(seen.closed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_application_is_refused_without_asking_for_the_key() {
    let mut test = Test::new();
    test.encoder.handshake().await;
    test.encoder.publish("live", KEY).await;
    let (reason, read, seen) = test.ended().await;
    assert_eq!(reason, IngestEnd::UnknownApplication);
    assert!(read.contains("NetStream.Publish.BadName") && read.contains("/app/"), "{read}");
    assert!(seen.requests.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unusable_codec_ends_the_publication_with_an_error_that_the_encoder_reads() {
    let mut test = Test::accepted().await;
    test.encoder.send(VIDEO, 0, &HEVC_KEY_FRAME).await;
    let (reason, read, seen) = test.ended().await;
    assert_eq!(reason, IngestEnd::InvalidVideoCodec);
    assert!(read.contains("NetStream.Publish.Denied") && read.contains("FFmpeg: -c:v libx264"), "{read}");
    assert_eq!(seen.closed, [Some(EventErrorCode::InvalidVideoCodec)]);
}

#[tokio::test(start_paused = true)]
async fn silence_and_a_slow_drip_are_disconnected_in_time() {
    let start = Instant::now();
    let test = Test::new();
    assert_eq!(test.serving.await.unwrap(), IngestEnd::Timeout);
    assert_eq!(start.elapsed(), TIMEOUT);
    drop(test.encoder);

    let (start, mut test) = (Instant::now(), Test::new());
    let dripping = test.encoder.drip(Duration::from_millis(100));
    tokio::select! {
        () = dripping => panic!("the handshake is longer"),
        reason = &mut test.serving => assert_eq!(reason.unwrap(), IngestEnd::Timeout),
    }
    assert!((TIMEOUT..TIMEOUT + Duration::from_secs(3)).contains(&start.elapsed()));
    assert!(test.seen.lock().unwrap().requests.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_publication_without_media_is_idle_even_if_the_encoder_sends_other_messages() {
    let mut test = Test::accepted().await;
    let start = Instant::now();
    let chatter = test.encoder.chatter(Duration::from_millis(500));
    tokio::select! {
        () = chatter => {}
        reason = &mut test.serving => assert_eq!(reason.unwrap(), IngestEnd::Idle),
    }
    // The server waits two seconds for the encoder to read why.
    assert!((TIMEOUT..TIMEOUT + Duration::from_secs(3)).contains(&start.elapsed()), "{:?}", start.elapsed());
    let read = test.encoder.read_to_end().await;
    assert!(read.contains("NetConnection.Connect.IdleTimeOut"), "{read}");
    assert_eq!(test.seen.lock().unwrap().closed, [None]);
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_does_not_read_is_disconnected() {
    let mut test = Test::with_capacity(4096);
    test.encoder.handshake().await;
    test.encoder.publish("app", KEY).await;
    let flood = test.encoder.flood_of_pings();
    tokio::select! {
        () = flood => panic!("the server reads on"),
        reason = &mut test.serving => assert_eq!(reason.unwrap(), IngestEnd::Unread),
    }
    assert_eq!(test.seen.lock().unwrap().closed, [None]);
}

#[tokio::test(start_paused = true)]
async fn the_server_ends_publications_and_says_why() {
    for (end, reason, code) in [
        (EncoderEnd::Disconnected, IngestEnd::Disconnected, "NetConnection.Connect.Closed"),
        (EncoderEnd::StageDeleted, IngestEnd::StageDeleted, "NetConnection.Connect.Closed"),
        (EncoderEnd::DurationExceeded, IngestEnd::DurationExceeded, "NetConnection.Connect.Closed"),
        (EncoderEnd::Stopping, IngestEnd::Stopping, "NetConnection.Connect.AppShutdown"),
        (EncoderEnd::Removed, IngestEnd::Removed, "NetConnection.Connect.Closed"),
    ] {
        let test = Test::accepted().await;
        test.end.send(Some(end)).unwrap();
        let (found, read, seen) = test.ended().await;
        assert_eq!(found, reason);
        assert!(read.contains(code), "{end:?}: {read}");
        assert_eq!(seen.closed, [None]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_the_server_ends_connections_in_every_phase() {
    for (test, closed) in [(Test::new(), 0), (Test::accepted().await, 1)] {
        test.stop.cancel();
        let (reason, _, seen) = test.ended().await;
        assert_eq!((reason, seen.closed.len()), (IngestEnd::Stopping, closed));
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_is_a_violation_of_the_protocol() {
    let mut test = Test::new();
    test.encoder.write(&[0x16, 0x03, 0x01, 0x02, 0x00]).await;
    let (reason, _, seen) = test.ended().await;
    assert_eq!(reason, IngestEnd::Protocol);
    assert!(seen.requests.is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropped_frames_are_counted_by_reason() {
    let mut test = Test::accepted().await;
    // An access unit before its configuration.
    test.encoder.send(AUDIO, 0, &encoder::silent_aac()).await;
    test.encoder.unpublish().await;
    let metrics = test.metrics.clone();
    test.ended().await;
    let page = metrics.page(Format::Prometheus);
    assert!(page.contains(r#"greenroom_rtmp_frames_dropped_total{reason="not_configured"} 1"#), "{page}");
}
