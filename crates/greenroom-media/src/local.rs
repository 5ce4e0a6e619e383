//! Sources and sinks in this process: what records, composes or ingests media uses the router as WebRTC transports do. A queue is
//! bounded; what it does not take is dropped and counted, and never delays the media thread.

use crate::router::packet::{CaptureTime, Delivery, Extensions, SourcePacket};
use crate::{Codec, MediaKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Most tracks of a source.
pub(crate) const MAX_SOURCE_TRACKS: usize = 8;

/// A packet of a source or sink.
#[derive(Clone, Debug)]
pub struct MediaPacket {
    /// Index of the track.
    pub track: usize,
    /// The layer of the track; 0 without simulcast. A sink sees one continuous stream, whichever layer it comes from.
    pub layer: u8,
    pub codec: Codec,
    /// Without rollover. A gap is a loss.
    pub sequence_number: u64,
    /// In units of the clock of the track's kind ([`MediaKind::clock_rate`]).
    pub timestamp: u32,
    /// The last packet of its frame.
    pub marker: bool,
    /// When the media were captured, by the clock of this process: the same for what belongs together, whatever its track.
    pub captured: Instant,
    /// Clockwise quarter turns by which a video frame is to be rotated for display (3GPP TS 26.114), where the packet says it.
    pub rotation: Option<u8>,
    /// An RTP payload of the codec.
    pub payload: Arc<[u8]>,
}

/// A track of a source or sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaTrack {
    pub kind: MediaKind,
    /// Of a publisher that may send several codecs, its last one or, before the first packet, the preferred one.
    pub codec: Codec,
}

/// A key frame that is requested of a source: of a track and its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFrameRequest {
    pub track: usize,
    pub layer: u8,
}

/// Receives what a publisher sends, as a subscriber does. Ends with the publisher.
#[derive(Debug)]
pub struct MediaSink {
    receiver: mpsc::Receiver<MediaPacket>,
    tracks: Vec<MediaTrack>,
    dropped: Arc<AtomicU64>,
    key_frame_requested: Arc<AtomicBool>,
}

impl MediaSink {
    /// The tracks of the publisher, with the codec that each had when the sink was added.
    pub fn tracks(&self) -> &[MediaTrack] {
        &self.tracks
    }

    /// The next packet; `None` once the publisher is gone and all packets were taken.
    pub async fn recv(&mut self) -> Option<MediaPacket> {
        self.receiver.recv().await
    }

    /// The next packet, if there is one now.
    pub fn try_recv(&mut self) -> Option<MediaPacket> {
        self.receiver.try_recv().ok()
    }

    /// Requests a key frame of the video. The request is passed on with the next packet that arrives, throttled with those of
    /// subscribers; the caller limits how often it asks.
    pub fn request_key_frame(&self) {
        self.key_frame_requested.store(true, Ordering::Relaxed);
    }

    /// Packets that were dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The engine's end of a [`MediaSink`].
#[derive(Debug)]
pub(crate) struct SinkQueue {
    sender: mpsc::Sender<MediaPacket>,
    /// Payload types and codecs of each track.
    formats: Vec<Vec<(u8, Codec)>>,
    dropped: Arc<AtomicU64>,
    key_frame_requested: Arc<AtomicBool>,
}

/// A sink for tracks of these payload types with a queue of so many packets.
pub(crate) fn sink(tracks: Vec<MediaTrack>, formats: Vec<Vec<(u8, Codec)>>, capacity: usize) -> (SinkQueue, MediaSink) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let (dropped, key_frame_requested) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let queue = SinkQueue {
        sender,
        formats,
        dropped: Arc::clone(&dropped),
        key_frame_requested: Arc::clone(&key_frame_requested),
    };
    (queue, MediaSink { receiver, tracks, dropped, key_frame_requested })
}

impl SinkQueue {
    /// Queues a packet; returns false if the sink is gone.
    pub(crate) fn push(&self, delivery: Delivery) -> bool {
        let formats = self.formats.get(delivery.track).into_iter().flatten();
        let Some((_, codec)) = formats.into_iter().find(|(pt, _)| *pt == delivery.payload_type) else { return true };
        let packet = MediaPacket {
            track: delivery.track,
            layer: 0,
            codec: *codec,
            sequence_number: delivery.sequence_number,
            timestamp: delivery.timestamp,
            marker: delivery.marker,
            captured: delivery.captured,
            rotation: delivery.extensions.video_orientation.map(|orientation| orientation & 3),
            payload: delivery.payload,
        };
        match self.sender.try_send(packet) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::info!(reason = "queue full", "packets for a sink dropped");
                }
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Takes the request of a key frame.
    pub(crate) fn take_key_frame_request(&self) -> bool {
        // Mostly there is none: reading is cheaper than writing.
        self.key_frame_requested.load(Ordering::Relaxed) && self.key_frame_requested.swap(false, Ordering::Relaxed)
    }
}

/// The engine's end of a source.
#[derive(Debug)]
pub(crate) struct LocalSource {
    started: Instant,
    /// `None`: key frames cannot be requested.
    pub(crate) requests: Option<mpsc::Sender<KeyFrameRequest>>,
}

impl LocalSource {
    pub(crate) fn new(now: Instant, requests: Option<mpsc::Sender<KeyFrameRequest>>) -> LocalSource {
        LocalSource { started: now, requests }
    }

    /// Time since it was added.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// Requests key frames of tracks and their layers. A source that does not take the requests gets the next ones.
    pub(crate) fn request_key_frames(&self, layers: &[(usize, u8)]) {
        for (track, layer) in layers {
            let request = KeyFrameRequest { track: *track, layer: *layer };
            let _ = self.requests.as_ref().map(|requests| requests.try_send(request));
        }
    }
}

/// The router's packet of a source.
pub(crate) fn source_packet(packet: MediaPacket) -> SourcePacket {
    let track = packet.track.min(MAX_SOURCE_TRACKS - 1);
    SourcePacket {
        track: packet.track,
        encoding: packet.layer,
        ssrc: (track as u32) << 8 | u32::from(packet.layer),
        payload_type: PAYLOAD_TYPE,
        sequence_number: packet.sequence_number,
        timestamp: packet.timestamp,
        marker: packet.marker,
        payload: packet.payload,
        extensions: Extensions { video_orientation: packet.rotation, ..Extensions::default() },
        capture_time: CaptureTime::Known(packet.captured),
    }
}

/// Payload type of the packets of a source in this process.
pub(crate) const PAYLOAD_TYPE: u8 = 96;
