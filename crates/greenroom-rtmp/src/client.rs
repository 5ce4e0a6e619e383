//! The client's side of a connection.

mod session;

use crate::chunks::{MAX_MESSAGE, Message, OutgoingMessage};
use crate::command::Command;
use crate::error::ProtocolError;
use crate::handshake::Handshake;
use crate::inbound::Inbound;
use crate::messages::{control_number, kind};
use crate::outbound::Outbound;
use crate::{Phase, PublishUrl};
use session::Session;
use std::collections::VecDeque;
use std::fmt;

/// Maximum bytes of a message from the server, and of all incomplete ones together. Servers send answers of less than 1 KiB.
const MAX_RECEIVED_MESSAGE: usize = 64 * 1024;

/// Servers use up to eight.
const MAX_CHUNK_STREAMS: usize = 64;

/// Maximum bytes of answers, mostly to pings, that wait to be sent: a server may ask without reading.
const MAX_ANSWERS: usize = 256 * 1024;

const DATA_CHUNK_STREAM: u8 = 4;
const AUDIO_CHUNK_STREAM: u8 = 5;
const VIDEO_CHUNK_STREAM: u8 = 6;

/// `@setDataFrame` in AMF0: the server keeps what follows for viewers that come later.
const SET_DATA_FRAME: &[u8] = b"\x02\0\x0d@setDataFrame";

/// What a client publishes to; [`PublishUrl::options`] makes it of a URL. Its `Debug` form shows neither the stream key nor the URL.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// The application: `live2` of `rtmp://host/live2/KEY`.
    pub app: String,
    /// The URL without the stream key.
    pub tc_url: String,
    pub stream_key: String,
    /// Name and version of the software. Some services accept encoders only whose name begins with `FMLE/3.0`.
    pub flash_version: String,
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClientOptions").field("flash_version", &self.flash_version).finish_non_exhaustive()
    }
}

/// An event of a client's connection. Codes and descriptions have at most 256 characters, no control characters, and not the stream
/// key.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The server has accepted the publication: media may be sent.
    Publishing,
    /// The server has refused to connect or to publish.
    Refused {
        /// Such as `NetConnection.Connect.Rejected` or `NetStream.Publish.BadName`.
        code: String,
        description: String,
        /// Where to publish instead, as the server says. Not necessarily over TLS.
        redirect: Option<PublishUrl>,
    },
    /// The server has ended the publication.
    Ended { code: String, description: String },
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the server has not accepted the publication, or it has ended")]
    NotPublishing,
    #[error("a message of more than {MAX_MESSAGE} bytes")]
    TooLong,
}

/// The client's end of a connection on which it publishes. It begins with bytes to send. It does not know time: the driver bounds the time
/// until [`Phase::Publishing`], and that in which the server reads nothing. Its `Debug` form shows no secret.
pub struct ClientConnection {
    handshake: Handshake,
    inbound: Inbound,
    outbound: Outbound,
    session: Session,
    events: VecDeque<ClientEvent>,
    failure: Option<ProtocolError>,
}

impl fmt::Debug for ClientConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientConnection")
            .field("phase", &self.phase())
            .field("queued_bytes", &self.queued_bytes())
            .finish_non_exhaustive()
    }
}

impl ClientConnection {
    /// `random` is used in the handshake.
    pub fn new(options: ClientOptions, random: [u8; 32]) -> ClientConnection {
        let mut outbound = Outbound::new();
        ClientConnection {
            handshake: Handshake::client(random, outbound.handshake()),
            inbound: Inbound::new(MAX_RECEIVED_MESSAGE, MAX_CHUNK_STREAMS),
            outbound,
            session: Session::new(options),
            events: VecDeque::new(),
            failure: None,
        }
    }

    /// Handles received bytes. After an error, close the connection; later calls return the same error.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.phase() == Phase::Ended {
            return Ok(());
        }
        self.inbound.count(bytes.len());
        let result = self.process(bytes);
        self.failure = result.as_ref().err().cloned();
        if result.is_err() {
            self.session.fail();
        }
        if self.phase() == Phase::Ended {
            self.inbound.close();
        }
        result
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// All bytes that are queued. Ask for more when they are written.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbound.take()
    }

    /// Bytes that [`Self::poll_transmit`] has not returned. They grow while the network is slower than the media: the caller then drops
    /// frames before it sends them.
    pub fn queued_bytes(&self) -> usize {
        self.outbound.len()
    }

    pub fn phase(&self) -> Phase {
        self.session.phase()
    }

    /// Sends metadata: the body of an FLV script tag, such as [`crate::flv::OnMetaData::body`].
    pub fn send_metadata(&mut self, body: &[u8]) -> Result<(), SendError> {
        self.send(DATA_CHUNK_STREAM, kind::DATA, 0, &[SET_DATA_FRAME, body].concat())
    }

    /// Sends the body of an FLV audio tag. Timestamps are milliseconds modulo 2^32.
    pub fn send_audio(&mut self, timestamp: u32, body: &[u8]) -> Result<(), SendError> {
        self.send(AUDIO_CHUNK_STREAM, kind::AUDIO, timestamp, body)
    }

    /// Sends the body of an FLV video tag. The timestamp is that of decoding.
    pub fn send_video(&mut self, timestamp: u32, body: &[u8]) -> Result<(), SendError> {
        self.send(VIDEO_CHUNK_STREAM, kind::VIDEO, timestamp, body)
    }

    /// Stops publishing. Send what [`Self::poll_transmit`] returns and close the connection; nothing more is received.
    pub fn end(&mut self) {
        self.session.end(&mut self.outbound);
        self.inbound.close();
    }

    fn send(&mut self, chunk_stream: u8, kind: u8, timestamp: u32, body: &[u8]) -> Result<(), SendError> {
        if self.phase() != Phase::Publishing {
            return Err(SendError::NotPublishing);
        }
        if body.len() > MAX_MESSAGE {
            return Err(SendError::TooLong);
        }
        let stream = self.session.stream();
        self.outbound.message(&OutgoingMessage { chunk_stream, kind, timestamp, stream, body });
        Ok(())
    }

    fn process(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let mut input = self.handshake.receive(bytes, self.outbound.handshake())?;
        if !self.handshake.is_complete() {
            return Ok(());
        }
        if self.phase() == Phase::Handshake {
            self.session.connect(&mut self.outbound);
        }
        while self.phase() != Phase::Ended {
            let message = self.inbound.next(&mut input, &mut self.outbound)?;
            if self.outbound.answers() > MAX_ANSWERS {
                let reason = format!("more than {MAX_ANSWERS} bytes of answers that the server has not read");
                return Err(ProtocolError::new("unread_answers", reason));
            }
            let Some(message) = message else {
                self.inbound.acknowledge(&mut self.outbound);
                break;
            };
            self.handle(&message)?;
        }
        Ok(())
    }

    fn handle(&mut self, message: &Message) -> Result<(), ProtocolError> {
        match message.kind {
            kind::SET_PEER_BANDWIDTH => self.session.set_window(control_number(&message.body)?, &mut self.outbound),
            kind::COMMAND | kind::COMMAND_AMF3 => {
                let command = Command::read(message.kind, &message.body)?;
                self.events.extend(self.session.handle(&command, &mut self.outbound)?);
            }
            // Acknowledgements, and media and data, for which the client has no use.
            _ => {}
        }
        Ok(())
    }
}
