//! RTMP connections on which media are published (Adobe's RTMP specification 1.0, Enhanced RTMP v2), sans-IO: bytes and requests in, bytes
//! and events out. It has no socket, clock or task.
//! - [`ServerConnection`]: the server's side. Encoders publish to greenroom.
//! - [`ClientConnection`]: the client's side. greenroom publishes to a channel of another service, whose address is a [`PublishUrl`].
//! - [`flv`]: the bodies of messages that a client sends.

mod amf;
mod chunks;
mod client;
mod command;
mod error;
pub mod flv;
mod handshake;
mod inbound;
mod limits;
mod messages;
mod outbound;
mod server;
mod url;

pub use client::{ClientConnection, ClientEvent, ClientOptions, SendError};
pub use error::ProtocolError;
pub use limits::Limits;
pub use server::ServerConnection;
pub use url::{PublishUrl, UrlError};

use std::fmt;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The handshake is not complete.
    Handshake,
    /// The client has not asked to publish.
    Setup,
    /// The server has not accepted or refused to publish.
    Requested,
    /// Media are sent.
    Publishing,
    /// Publishing has ended, or was refused.
    Ended,
}

/// What an encoder asks for in order to publish. Its `Debug` form does not show the stream key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishRequest {
    /// The application, without a query: `app` for `rtmp://host/app/KEY`.
    pub app: String,
    /// `tcUrl` of the connect command, or `""`.
    pub tc_url: String,
    /// The stream key, without a query; `""` if the encoder sent none.
    pub stream_key: String,
    /// `flashVer` of the connect command: the encoder's software, or `""`. At most 256 characters.
    pub flash_version: String,
}

impl fmt::Debug for PublishRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PublishRequest")
            .field("app", &self.app)
            .field("flash_version", &self.flash_version)
            .finish_non_exhaustive()
    }
}

/// An event of a server's connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Answer with [`ServerConnection::accept`] or [`ServerConnection::refuse`].
    PublishRequested(PublishRequest),
    /// `@setDataFrame` `onMetaData`: what the encoder says of itself.
    Metadata(Metadata),
    /// The body of an audio message, without its RTMP header; never empty.
    Audio { timestamp: u32, body: Vec<u8> },
    /// The body of a video message, without its RTMP header; never empty.
    Video { timestamp: u32, body: Vec<u8> },
    /// The encoder has stopped publishing.
    Unpublished,
}

/// What is used of `onMetaData`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Name and version of the encoder. At most 256 characters.
    pub encoder: Option<String>,
    /// Finite, as the numbers that follow.
    pub width: Option<f64>,
    pub height: Option<f64>,
    pub frame_rate: Option<f64>,
}
