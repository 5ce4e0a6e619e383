//! greenroom's media engine: a selective forwarding unit (SFU) that forwards WebRTC media from publishers to
//! subscribers, and the thread that drives it over UDP and TCP.
//!
//! The engine, [`Sfu`], is sans-IO: datagrams and the current time go in, datagrams and [`MediaEvent`]s come out. It
//! has no socket, clock or task, so tests run it on a virtual clock with a simulated network. [`MediaHandle`] is the
//! async interface to the thread that gives it sockets and a clock. The crate knows nothing of tokens, stages or
//! storage.
//!
//! ```text
//!  tokio tasks                      media thread ("media")
//!  ┌────────────────────┐ commands ┌──────────────────────────────────────────────────────────────┐
//!  │ handle             ├─────────►│ thread        poll loop: commands, datagrams, timers         │
//!  │   MediaHandle      │◄─────────┤   sockets     UDP sockets     gso   batched sends            │
//!  │                    │          │   tcp         ICE-TCP connections, framing, limits           │
//!  │ negotiator         │ replies, ├──────────────────────────────────────────────────────────────┤
//!  │   parses offers on │ events   │ engine        Sfu: demultiplexes datagrams, forwards packets │
//!  │   a blocking thread│          │   up_track    a publisher's m-section: layers, key frames    │
//!  │   sdp: offer,      │          │   down_track  a subscriber's stream: rewritten RTP headers   │
//!  │   answer, formats, │          │   catch_up    an encoder's subscriber that joins late        │
//!  │   fragment, …      │          │   codec       H.264 and VP8 payload headers                  │
//!  │                    │          │   ivs_limits  bitrate, resolution, B-frames                  │
//!  └────────────────────┘          │   transport   one str0m `Rtc` each: ICE, DTLS, SRTP, RTX;    │
//!                                  │               path validation, retransmission budget         │
//!                                  │   failure     why a transport did not connect                │
//!                                  └──────────────────────────────────────────────────────────────┘
//! ```
//!
//! # Main types
//!
//! - [`MediaHandle`]: answers offers, restarts ICE, closes transports, reads [`TransportStats`], [`ConnectionStats`] and
//!   [`SocketStats`].
//! - [`Sfu`]: the engine. [`Negotiator`] answers offers for it on any thread; [`Sfu::admit`] makes the
//!   [`AnsweredOffer`] a transport.
//! - [`TransportId`]: names a transport in commands and [`MediaEvent`]s.
//! - [`OfferError`], [`CloseReason`], [`Failure`]: why an offer was rejected, a transport closed or failed.
//!
//! # Invariants
//!
//! - A panic or error of the WebRTC library closes one transport and no other.
//! - Media goes only to addresses that the client has proved to receive at; before the DTLS handshake, at most three
//!   times the bytes received from an address are sent there.
//! - A received packet changes an address, a stream or a timeout only after its integrity check has passed.
//! - A subscriber sees one RTP stream per media section, with continuous sequence numbers, timestamps and VP8 picture
//!   IDs, whichever layer or SSRC the publisher sends. It starts at a key frame.
//! - A key-frame request within the throttling interval is deferred, not dropped.
//! - A source that sends no key frames on request is not asked for any; its last group of pictures is kept, within bounds,
//!   and answers the requests of its subscribers.
//! - Negotiation never runs on the media thread, and commands have a time budget there: neither delays packets.
//! - [`MediaEvent::Closed`] is emitted exactly once for each transport whose offer was answered.
//! - Queues are bounded. Dropped datagrams and events are counted in [`SocketStats`].
//!
//! # Sources of the rules
//!
//! | topic | source |
//! |---|---|
//! | WHIP | RFC 9725 |
//! | SDP offer/answer, BUNDLE | RFC 8866, RFC 9429, RFC 9143 |
//! | simulcast, RID, SSRC groups | RFC 8853, RFC 8851, RFC 5576 |
//! | trickle ICE, ICE-lite, ICE in SDP, consent | RFC 8840, RFC 8445, RFC 8839, RFC 7675 |
//! | ICE-TCP, framing | RFC 6544, RFC 4571 |
//! | RTP, RTCP, feedback, header extensions, RTX | RFC 3550, RFC 5761, RFC 4585, RFC 8285, RFC 4588 |
//! | H.264, VP8, Opus payloads | RFC 6184, RFC 7741, RFC 7587 |
//! | H.264 and VP8 bitstreams | ITU-T H.264, RFC 6386 |
//! | DTLS, DTLS-SRTP | RFC 6347, RFC 9147, RFC 5764 |
//! | anti-amplification limit, path validation | RFC 9000 sections 8.1 and 8.2 (QUIC), applied to ICE |

#![allow(missing_docs, reason = "fields and variants whose names say everything have no docs")]

mod bandwidth;
mod engine;
mod failure;
mod gso;
mod handle;
mod interfaces;
pub mod ivs_limits;
mod local;
mod negotiator;
mod router;
mod sdp;
mod sockets;
mod statistics;
mod tcp;
mod thread;
mod transport;

pub use engine::Sfu;
pub use failure::{Failure, FailureReason};
pub use handle::{MediaHandle, MediaSource, SOCKET_BUFFER_BYTES, bind};
pub use interfaces::addresses as interface_addresses;
pub use local::{KeyFrameRequest, MediaPacket, MediaSink, MediaTrack};
pub use negotiator::{AnsweredOffer, Negotiator};
pub use statistics::{
    ConnectionStats, LayerName, LayerStats, Limitation, MediaCounters, MediaTotals, NetworkPath, SentStats,
    TrackDirection, TrackStats,
};
pub use tcp::{TcpLimits, TcpRefusal};

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

/// Identifies a media transport in this process; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransportId(pub u64);

/// Counters of the media sockets since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStats {
    pub received_datagrams: u64,
    pub received_bytes: u64,
    pub sent_datagrams: u64,
    pub sent_bytes: u64,
    /// Datagrams dropped because the kernel did not accept them.
    pub send_drops: u64,
    /// [`MediaEvent`]s dropped because their channel was full.
    pub event_drops: u64,
}

/// Counters of the TCP connections since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpStats {
    /// Open connections.
    pub open: u64,
    pub accepted: u64,
    /// Connections that the server refused or closed.
    pub refused: [(TcpRefusal, u64); TcpRefusal::ALL.len()],
    /// Packets dropped because the queue of their connection was full.
    pub queue_full: u64,
    /// Packets dropped because their connection had ended.
    pub disconnected: u64,
}

/// Addresses to advertise as ICE candidates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    pub udp: Vec<SocketAddr>,
    /// Passive TCP candidates (RFC 6544).
    pub tcp: Vec<SocketAddr>,
}

/// UDP candidates only.
impl From<Vec<SocketAddr>> for Candidates {
    fn from(udp: Vec<SocketAddr>) -> Candidates {
        Candidates { udp, tcp: Vec::new() }
    }
}

/// Configuration of the media thread.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// IP addresses to advertise as ICE candidates before the socket's own, with the socket's port.
    pub public_ips: Vec<IpAddr>,
    /// Time in which a transport must connect, and after which a silent one is closed.
    pub timeout: Duration,
    /// Whether to enforce the publishing limits of Amazon IVS: H.264 only, 720p, 8.5 Mbit/s, no B-frames.
    pub strict_ivs: bool,
    pub offer_limits: OfferLimits,
    pub tcp_limits: TcpLimits,
}

/// Where the TCP connections of clients come from.
#[derive(Debug)]
pub enum TcpSource {
    /// Nowhere: TCP is off.
    None,
    Listener(TcpListener),
    /// From [`MediaHandle::hand_over`]; clients connect to this address.
    HandedOver(SocketAddr),
}

/// Configurable limits of SDP offers. Defaults: 256 KiB, 64 media sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferLimits {
    pub max_bytes: usize,
    pub max_media_sections: usize,
}

impl Default for OfferLimits {
    fn default() -> OfferLimits {
        OfferLimits { max_bytes: 256 * 1024, max_media_sections: 64 }
    }
}

/// Why an SDP offer or fragment was rejected. The texts are sent to clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Invalid SDP, or an offer that cannot be answered.
    #[error("{0}")]
    Malformed(String),
    /// Exceeds one of the limits of offers.
    #[error("{0}")]
    TooLarge(String),
    #[error("the offer has audio without Opus")]
    UnsupportedAudioCodec,
    /// Lists the offered and the supported video formats.
    #[error("{0}")]
    UnsupportedVideoCodec(String),
    /// A subscriber offers none of the publisher's codecs.
    #[error("the offer has none of the codecs that the publisher sends")]
    CodecMismatch,
    #[error("the publisher is not connected")]
    PublisherNotFound,
    #[error("the media connection does not exist")]
    TransportNotFound,
    /// An unsupported change, such as a second offer for a transport.
    #[error("{0}")]
    Unsupported(String),
    /// A queue of the media thread is full, or the thread has stopped.
    #[error("the media thread is busy")]
    Busy,
}

/// Why a transport was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Closed by [`MediaHandle::close`] or [`Sfu::close`].
    Requested,
    /// The client closed its DTLS connection or sent RTCP BYE.
    ClosedByClient,
    /// The publisher of this subscriber was closed.
    PublisherClosed,
    /// The publisher exceeded the bitrate limit.
    BitrateExceeded,
    /// The publisher exceeded the resolution limit.
    ResolutionExceeded,
    /// The publisher sent B-frames.
    BFramesPresent,
    /// The transport never connected, or was lost.
    Failed(Failure),
}

/// A state change of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaEvent {
    /// The DTLS handshake has finished.
    Connected(TransportId),
    /// The first RTP packet of a publisher has arrived.
    MediaStarted(TransportId),
    /// A connected publisher has sent no media within the timeout. The transport stays open.
    MediaMissing(TransportId, Failure),
    /// Sent exactly once for each transport whose offer was answered.
    Closed(TransportId, CloseReason),
}

/// State and counters of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportStats {
    pub id: TransportId,
    /// Whether the DTLS handshake has finished.
    pub connected: bool,
    /// Whether RTP has arrived; always false for a subscriber.
    pub media_received: bool,
    /// RTP packets received from a publisher or sent to a subscriber (including retransmissions to it).
    pub packets: u64,
    /// Bytes of [`packets`](Self::packets).
    pub bytes: u64,
    /// Packets that a subscriber's receiver reports count as lost.
    pub packets_lost: u64,
    /// Key frames received from a publisher, over all layers.
    pub key_frames: u64,
    /// A publisher's audio codec, once audio has arrived.
    pub audio_codec: Option<Codec>,
    /// A publisher's video codec, once video has arrived.
    pub video_codec: Option<Codec>,
}

/// Impairment of the RTP packets that a subscriber is sent, for tests of clients. The connection lives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// No packets are sent.
    pub freeze: bool,
    /// Share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// Delay of each packet. The number of delayed packets is bounded.
    pub delay: Duration,
    /// Determines which packets are lost.
    pub seed: u64,
}

/// What a subscriber wishes to be sent, of one media section or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// Maximum shorter side of the video, in pixels: 720 for 720p. If no layer is so small, the lowest is sent.
    pub max_height: Option<u32>,
    /// Nothing is sent; the connection lives.
    pub paused: bool,
}

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    Audio,
    Video,
}

/// A supported codec. VP8 is rejected under [`MediaConfig::strict_ivs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Opus,
    H264,
    Vp8,
}

/// Transport protocol of media packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Udp,
    /// ICE-TCP (RFC 6544), framed as of RFC 4571.
    Tcp,
}

/// A network path to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FiveTuple {
    pub protocol: Protocol,
    /// The server's address; `None` if the system chooses it.
    pub local: Option<SocketAddr>,
    /// The client's address.
    pub remote: SocketAddr,
}

/// A UDP path from the server's only address.
impl From<SocketAddr> for FiveTuple {
    fn from(remote: SocketAddr) -> FiveTuple {
        FiveTuple { protocol: Protocol::Udp, local: None, remote }
    }
}

impl std::fmt::Display for FiveTuple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.protocol {
            Protocol::Udp => write!(f, "{}", self.remote),
            Protocol::Tcp => write!(f, "{}/tcp", self.remote),
        }
    }
}

impl Codec {
    /// Name in SDP (RFC 8866).
    pub fn name(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::H264 => "H264",
            Codec::Vp8 => "VP8",
        }
    }
}

/// An outgoing packet: a UDP datagram, or a frame of a TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    pub path: FiveTuple,
    pub contents: Vec<u8>,
}

/// Capacity of the event channel. Further events are dropped and counted; recover from them with
/// [`MediaHandle::snapshot`].
pub const EVENT_QUEUE: usize = 8192;
