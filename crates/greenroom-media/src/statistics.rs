//! Statistics of transports and their media. The types are plain data; `docs/observe/media.md` explains each value.

use crate::{Codec, MediaKind, TransportId};
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::time::Duration;

/// Statistics of a transport, or of a source in this process, which has no network path of its own.
///
/// Values that come from the client's RTCP reports are as old as the last report, and absent before the first one.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionStats {
    pub id: TransportId,
    /// The publisher of a subscriber; `None` for a publisher.
    pub publisher: Option<TransportId>,
    /// Time since admission, or since the source was added.
    pub age: Duration,
    /// Whether the DTLS handshake has finished; true of a source.
    pub connected: bool,
    /// Time from admission to the nomination of a candidate pair.
    pub ice_time: Option<Duration>,
    /// Time from there to the end of the DTLS handshake.
    pub dtls_time: Option<Duration>,
    /// The selected candidate pair.
    pub path: Option<NetworkPath>,
    pub round_trip: Option<Duration>,
    /// Bits per second of RTP: received from a publisher, or sent to a subscriber with retransmissions.
    pub bitrate: u64,
    /// Estimated bits per second that a subscriber can receive; `None` if its bandwidth is not estimated.
    pub estimate: Option<u64>,
    /// In the order of the media sections.
    pub tracks: Vec<TrackStats>,
    /// The sums of its counters.
    pub counters: MediaCounters,
}

/// Local and remote address of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkPath {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// `udp`.
    pub protocol: &'static str,
}

/// Statistics of a media section.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackStats {
    /// `a=mid`; of a source the index of the track.
    pub mid: String,
    pub kind: MediaKind,
    /// The codec that is sent, once it is known.
    pub codec: Option<Codec>,
    /// Share of packets that were lost, 0 to 1, by the last receiver report: of the client about what it was sent, of the
    /// server about the worst of a publisher's layers.
    pub loss: Option<f32>,
    /// Interarrival jitter (RFC 3550), by the same report.
    pub jitter: Option<Duration>,
    pub direction: TrackDirection,
    pub counters: MediaCounters,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TrackDirection {
    /// Received from a publisher: the layers that have arrived.
    Received { layers: Vec<LayerStats> },
    /// Sent to a subscriber.
    Sent(SentStats),
}

/// What a subscriber is sent of a track.
#[derive(Clone, Debug, PartialEq)]
pub struct SentStats {
    /// The layer that was chosen for it; it is sent from its next key frame on.
    pub wanted: Option<LayerName>,
    /// The layer that is sent.
    pub sent: Option<LayerName>,
    pub limitation: Limitation,
    /// Time since the last packet; `None` before the first.
    pub silent_for: Option<Duration>,
}

/// A layer: its RID or, of a source, its number, or an empty name if the track has one layer; and the size of its picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerName {
    pub name: String,
    /// Width and height in pixels, once they are known.
    pub resolution: Option<(u32, u32)>,
}

/// Why a subscriber is not sent the highest layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limitation {
    /// It is sent the highest one.
    None,
    /// It has asked for less, or for a pause.
    Preferences,
    /// Its network takes no more.
    Bandwidth,
    /// It asks for key frames all the time.
    KeyFrameRequests,
}

impl Limitation {
    pub const ALL: [Limitation; 4] =
        [Limitation::None, Limitation::Preferences, Limitation::Bandwidth, Limitation::KeyFrameRequests];

    /// Name in the API and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Limitation::None => "none",
            Limitation::Preferences => "preferences",
            Limitation::Bandwidth => "bandwidth",
            Limitation::KeyFrameRequests => "key_frame_requests",
        }
    }
}

/// A layer as it arrives from a publisher.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerStats {
    pub layer: LayerName,
    /// Whether packets arrive.
    pub live: bool,
    /// Bits per second of its packets.
    pub bitrate: u64,
}

/// Counters since admission, in one direction: of a publisher what was received, of a subscriber what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaCounters {
    /// RTP packets, without retransmissions.
    pub packets: u64,
    /// Bytes of the payloads of [`packets`](Self::packets).
    pub bytes: u64,
    /// Packets that were lost: of a publisher those that have not arrived, also not by retransmission; of a subscriber those
    /// that its receiver reports count, which may include packets that arrived by retransmission.
    pub lost: u64,
    /// Packets that were retransmitted to a subscriber.
    pub retransmitted: u64,
    /// NACK messages: sent to a publisher, or received from a subscriber.
    pub nacks: u64,
    /// Requests for key frames by PLI or FIR: sent to a publisher, or received from a subscriber.
    pub key_frame_requests: u64,
    /// Key frames of a publisher, over all layers.
    pub key_frames: u64,
    /// Gaps in the video that was forwarded to a subscriber which did not ask for a pause: longer than three frame
    /// intervals and than a frame interval and 150 ms, as in the W3C's `freezeCount`.
    pub freezes: u64,
    pub freeze_time: Duration,
}

impl AddAssign for MediaCounters {
    fn add_assign(&mut self, other: MediaCounters) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.retransmitted += other.retransmitted;
        self.nacks += other.nacks;
        self.key_frame_requests += other.key_frame_requests;
        self.key_frames += other.key_frames;
        self.freezes += other.freezes;
        self.freeze_time += other.freeze_time;
    }
}

/// Counters since the start of the engine, of open and closed transports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaTotals {
    pub published: MediaCounters,
    pub subscribed: MediaCounters,
}

impl MediaTotals {
    /// Adds the counters of a transport.
    pub fn add(&mut self, stats: &ConnectionStats) {
        match stats.publisher {
            None => self.published += stats.counters,
            Some(_) => self.subscribed += stats.counters,
        }
    }
}
