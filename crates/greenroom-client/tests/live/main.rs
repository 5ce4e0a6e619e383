//! A live publisher and the media engine of a node, over real sockets.

mod node;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use greenroom_client::live::{LiveClient, LiveEnd, LiveOptions, LivePacket, LivePublisher};
use greenroom_client::options::ConnectOptions;
use greenroom_client::whip_client::JoinError;
use greenroom_media::{CloseReason, MediaKind, MediaPacket, MediaSink, TrackDirection};
use node::Node;
use std::time::{Duration, Instant};

/// SPS of Constrained Baseline: 1280x720 and 320x192.
const SPS: [&[u8]; 2] =
    [&[0x67, 0x42, 0xe0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe4], &[0x67, 0x42, 0xe0, 0x1f, 0xda, 0x05, 0x06, 0x64]];
const FRAME: Duration = Duration::from_millis(20);
/// How long a packet may take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Frames from one key frame to the next.
const GOP: u64 = 1_000;

/// An encoder: frames of audio and video at 50 per second, with labels at the end of their payloads.
struct Encoder {
    publisher: LivePublisher,
    layers: u8,
    started: Instant,
    frames: u64,
}

impl Encoder {
    async fn start(node: &Node, layers: u8) -> Encoder {
        let publisher = client().publish(&options(node, layers)).await.unwrap();
        Encoder { publisher, layers, started: Instant::now(), frames: 0 }
    }

    /// Sends in real time.
    async fn send(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / FRAME.as_millis() {
            let at = self.started + FRAME * self.frames as u32;
            tokio::time::sleep_until(at.into()).await;
            let audio = [&[0xfc; 40][..], &self.frames.to_be_bytes()].concat();
            // As late as encoding takes.
            let captured = at.checked_sub(Duration::from_millis(30)).unwrap();
            self.push(0, 0, self.frames, self.frames as u32 * 960 + 777, captured, audio);
            for layer in 0..self.layers {
                let timestamp = (self.frames as u32 * 1_800).wrapping_sub(5_000 * u32::from(layer + 1));
                let sps = self.frames.is_multiple_of(GOP).then(|| SPS[usize::from(layer)].to_vec());
                let slice = [&[0x41, 0xc0][..], &[layer + 1; 900]].concat();
                for (index, head) in [sps.unwrap_or_else(|| slice.clone()), slice].into_iter().enumerate() {
                    let number = 70_000 + 2 * self.frames + index as u64;
                    let payload = [&head[..], &self.frames.to_be_bytes()].concat();
                    self.push(1, layer, number, timestamp, captured, payload);
                }
            }
            self.frames += 1;
        }
    }

    fn push(&mut self, track: usize, layer: u8, number: u64, timestamp: u32, captured: Instant, payload: Vec<u8>) {
        let marker = track == 0 || number % 2 == 1;
        let packet =
            LivePacket { track, layer, sequence_number: number, timestamp, marker, captured, payload: payload.into() };
        assert!(self.publisher.push(packet));
    }
}

fn client() -> LiveClient {
    LiveClient::new(&ConnectOptions { ca: None, user_agent: "encoder/1.0".into() }).unwrap()
}

fn options(node: &Node, layers: u8) -> LiveOptions {
    let claims = r#"{"jti":"participant1","topic":"stage1","events_url":"wss://x.example/events","whip_url":"https://x.example"}"#;
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let token = format!("{}.{}.{}", part("{}"), part(claims), part("x"));
    LiveOptions { node_url: node.url.clone(), token, layers }
}

/// The packets that a sink has, of a track.
fn received(packets: &[MediaPacket], track: usize) -> Vec<&MediaPacket> {
    packets.iter().filter(|packet| packet.track == track).collect()
}

/// The packets that a sink receives, up to this frame of every track.
async fn receive_until(sink: &mut MediaSink, frame: u64) -> Vec<MediaPacket> {
    let mut packets: Vec<MediaPacket> = Vec::new();
    let is_last = |packet: &MediaPacket, track| packet.track == track && packet.marker && label(packet) == frame;
    while !(0..2).all(|track| packets.iter().rev().any(|packet| is_last(packet, track))) {
        let packet = tokio::time::timeout(TIMEOUT, sink.recv()).await.expect("every packet arrives").unwrap();
        packets.push(packet);
    }
    packets
}

/// The frame number at the end of a payload.
fn label(packet: &MediaPacket) -> u64 {
    u64::from_be_bytes(*packet.payload.last_chunk().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_pass_through_in_time_with_each_other() {
    let mut node = Node::start(None).await;
    let mut encoder = Encoder::start(&node, 1).await;
    encoder.send(FRAME).await;
    let publisher = node.publisher().await;
    encoder.send(Duration::from_millis(900)).await;
    // One that joins late has the key frame at once, though none was requested.
    let mut sink = node.media.add_sink(publisher, 10_000).await.unwrap();
    encoder.send(Duration::from_millis(1_500)).await;
    let packets = receive_until(&mut sink, encoder.frames - 1).await;
    let stats = encoder.publisher.stats();
    assert_eq!((stats.sent.key_frame_requests, stats.sent.dropped, encoder.publisher.dropped()), (0, 0, 0));
    assert_eq!(encoder.publisher.participant(), "participant1");
    encoder.publisher.close().await;
    assert_eq!(node.closed().await, CloseReason::Requested);
    let requests = node.requests();
    assert!(requests[0].starts_with("POST /node/whip/publish/participant1 "), "{requests:?}");
    assert!(requests[1].starts_with("DELETE /node/whip/resource/") && requests.len() == 2, "{requests:?}");

    let (audio, video) = (received(&packets, 0), received(&packets, 1));
    let key_frame = &video[0];
    assert_eq!((&key_frame.payload[..9], label(key_frame), key_frame.marker), (SPS[0], 0, false));
    let labels: Vec<u64> = video.iter().map(|packet| label(packet)).collect();
    let expected: Vec<u64> = (0..encoder.frames).flat_map(|frame| [frame; 2]).collect();
    assert_eq!(labels, expected, "from the key frame to the end, nothing twice");
    assert!(video.iter().enumerate().all(|(index, packet)| packet.marker == (index % 2 == 1)));
    assert!(video.iter().skip(1).all(|packet| packet.payload[..902] == [&[0x41, 0xc0][..], &[1; 900]].concat()));
    assert!(audio.iter().all(|packet| packet.marker && packet.payload[..40] == [0xfc; 40]));
    assert!(audio.windows(2).all(|pair| pair[1].timestamp == pair[0].timestamp + 960));

    // By the sender reports, what belongs together was captured at the same time.
    let late = encoder.frames - 50..encoder.frames;
    for frame in late {
        let captured = |packets: &[&MediaPacket]| packets.iter().find(|p| label(p) == frame).unwrap().captured;
        let (audio, video) = (captured(&audio), captured(&video));
        let skew = audio.max(video) - audio.min(video);
        assert!(skew < Duration::from_millis(5), "frame {frame}: {skew:?}");
    }
    node.media.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_arrive_as_simulcast() {
    let mut node = Node::start(None).await;
    let mut encoder = Encoder::start(&node, 2).await;
    encoder.send(Duration::from_secs(1)).await;
    let publisher = node.publisher().await;
    let mut sink = node.media.add_sink(publisher, 10_000).await.unwrap();
    encoder.send(Duration::from_millis(100)).await;
    let stats = node.media.statistics_of(&[publisher]).await.unwrap().remove(0);
    let video = stats.tracks.iter().find(|track| track.kind == MediaKind::Video).unwrap();
    let TrackDirection::Received { layers } = &video.direction else { panic!("{video:?}") };
    let mut known: Vec<_> = layers.iter().map(|layer| (layer.layer.name.as_str(), layer.layer.resolution)).collect();
    known.sort();
    assert_eq!(known, [("l0", Some((1280, 720))), ("l1", Some((320, 192)))]);
    assert!(layers.iter().all(|layer| layer.live && layer.bitrate > 300_000), "{layers:?}");
    let packets = std::iter::from_fn(|| sink.try_recv()).collect::<Vec<_>>();
    assert!(received(&packets, 1)[0].payload.starts_with(SPS[0]), "the highest layer, from its key frame on");
    encoder.publisher.close().await;
    node.media.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_on_the_nodes_side_is_noticed() {
    let mut node = Node::start(None).await;
    let mut encoder = Encoder::start(&node, 1).await;
    encoder.send(FRAME).await;
    let publisher = node.publisher().await;
    node.media.close(publisher);
    let end = tokio::time::timeout(Duration::from_secs(10), encoder.publisher.ended()).await.unwrap();
    assert_eq!(end, LiveEnd::ClosedByServer);
    // Further packets are dropped and counted.
    let packet = LivePacket {
        track: 0,
        layer: 0,
        sequence_number: 9,
        timestamp: 9,
        marker: true,
        captured: Instant::now(),
        payload: vec![0xfc; 9].into(),
    };
    assert!(!encoder.publisher.push(packet));
    assert_eq!(encoder.publisher.dropped(), 1);
    node.media.stop().await;
}

#[tokio::test]
async fn a_refusal_is_passed_on() {
    let node = Node::start(Some((409, r#"{"code":"STREAM_KEY_IN_USE","message":"in use"}"#))).await;
    let error = client().publish(&options(&node, 1)).await.unwrap_err();
    assert!(matches!(&error, JoinError::Service(error) if error.code == "STREAM_KEY_IN_USE"), "{error:?}");
    assert_eq!(error.code(), "STREAM_KEY_IN_USE");
    node.media.stop().await;
}

#[tokio::test]
async fn a_node_that_is_not_there_is_an_error() {
    let node = Node::start(None).await;
    let unreachable = LiveOptions { node_url: "http://127.0.0.1:1".into(), ..options(&node, 1) };
    assert_eq!(client().publish(&unreachable).await.unwrap_err().code(), "NO_CONNECTION");
    let invalid = LiveOptions { node_url: "nowhere".into(), ..options(&node, 1) };
    assert_eq!(client().publish(&invalid).await.unwrap_err().code(), "TOKEN_UNREADABLE");
    node.media.stop().await;
}
