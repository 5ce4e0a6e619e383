//! Media: a sans-IO engine that forwards them from publishers to subscribers, and the thread that feeds it.
//!
//! [`Media`] is what the rest of the house holds: it asks the thread, and hears of what becomes of peers through
//! [`Event`]s. Nothing here knows of tokens, stages or the record.

mod agree;
mod answer;
mod budget;
mod burst;
mod codecs;
mod engine;
mod failure;
mod forward;
mod fragment;
mod limits;
mod link;
mod media;
mod negotiate;
mod offer;
mod picture;
mod sdp;
mod sockets;
mod source;
mod streams;
mod thread;
mod vp8;

pub use engine::Sfu;
pub use failure::{Failure, Reason};
pub use media::{BUFFER, Media, bind};
pub use negotiate::{Negotiated, Negotiator};

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A connection that carries media: its number in this process, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(pub u64);

/// What went through the socket since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams that came, and their bytes.
    pub received: (u64, u64),
    /// Datagrams that were sent, and their bytes.
    pub sent: (u64, u64),
    /// Datagrams that the system would not send.
    pub unsent: u64,
    /// Events that nobody took in time.
    pub dropped: u64,
}

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses that clients are told, besides that of the socket; its port is theirs too.
    pub public_ips: Vec<IpAddr>,
    /// How long a connection may give no sign of life.
    pub timeout: Duration,
    /// Whether publishers are held to the limits of IVS.
    pub strict: bool,
    /// What offers may have.
    pub limits: OfferLimits,
}

/// The limits of offers that operators can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferLimits {
    /// Maximum bytes of an offer.
    pub bytes: usize,
    /// Maximum media sections of an offer.
    pub sections: usize,
}

impl Default for OfferLimits {
    fn default() -> OfferLimits {
        OfferLimits { bytes: 256 * 1024, sections: 64 }
    }
}

/// Why an offer was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not SDP, or not an offer that can be answered; why.
    #[error("{0}")]
    Malformed(String),
    /// It exceeds a limit of offers; which one.
    #[error("{0}")]
    OfferTooLarge(String),
    /// Its audio sections have no Opus.
    #[error("the offer has audio without Opus")]
    AudioCodec,
    /// Its video sections have no codec that is taken here.
    #[error("{0}")]
    VideoCodec(String),
    /// A subscriber offers none of the codecs of the publisher.
    #[error("the offer has none of the codecs that the publisher sends")]
    CodecMismatch,
    /// Whom to subscribe to is not connected here.
    #[error("the publisher is not connected")]
    NoPublisher,
    /// The peer is not connected here.
    #[error("the connection is not there")]
    NoPeer,
    /// A change that is not supported, such as another number of media sections.
    #[error("{0}")]
    Unsupported(String),
    /// More is asked of the media thread than it can take.
    #[error("the media thread is busy")]
    Busy,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was closed from here.
    Asked,
    /// The client closed it.
    Hangup,
    /// Its publisher has gone.
    PublisherGone,
    /// More bits a second than allowed.
    Bitrate,
    /// A larger picture than allowed.
    Resolution,
    /// B-frames, which are not allowed.
    BFrames,
    /// It was never connected, or was lost.
    Failed(Failure),
}

/// What becomes of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Keys are agreed; media may flow.
    Connected(Peer),
    /// The first packet of media has come from a publisher.
    MediaStarted(Peer),
    /// A publisher is connected, but its media have not come within the timeout. It stays.
    MediaMissing(Peer, Failure),
    /// It is gone. Said once of every peer whose offer was answered.
    Closed(Peer, Why),
}

/// A peer as the thread sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerState {
    /// Which.
    pub peer: Peer,
    /// Whether keys are agreed.
    pub connected: bool,
    /// Whether media have come from it; never for a subscriber.
    pub media: bool,
    /// Packets of media that a publisher sent or a subscriber was sent, without those sent again to a publisher's loss.
    pub packets: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Packets that a subscriber has reported as lost.
    pub lost: u64,
    /// Key frames that a publisher sent, over all its layers.
    pub key_frames: u64,
    /// What a publisher's sound comes in, once it has come.
    pub audio: Option<Codec>,
    /// What a publisher's pictures come in, once they have come.
    pub video: Option<Codec>,
}

/// How media are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Sound.
    Opus,
    /// Pictures, always taken.
    H264,
    /// Pictures, unless the operator holds publishers to the limits of IVS.
    Vp8,
}

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// To whom.
    pub destination: SocketAddr,
    /// Its bytes.
    pub contents: Vec<u8>,
}

/// How many events wait to be read; one more is dropped, counted, and made good from a [snapshot](Media::snapshot).
pub const EVENTS: usize = 8192;
