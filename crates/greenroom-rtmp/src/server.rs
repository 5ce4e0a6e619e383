//! The server's side of a connection.

mod media;
mod replies;
mod session;

use crate::chunks::Message;
use crate::command::Command;
use crate::error::ProtocolError;
use crate::handshake::Handshake;
use crate::inbound::Inbound;
use crate::messages::kind;
use crate::{Event, Limits, Phase};
use replies::Replies;
use session::{Outcome, Session};
use std::collections::VecDeque;
use std::{fmt, mem};

/// The server's end of a connection. Its `Debug` form shows nothing that the encoder sent: that may be a stream key.
pub struct ServerConnection {
    limits: Limits,
    handshake: Handshake,
    inbound: Inbound,
    session: Session,
    replies: Replies,
    events: VecDeque<Event>,
    /// Bytes that were received after the request to publish and before its answer.
    held: Vec<u8>,
    bytes_before_publish: usize,
    failure: Option<ProtocolError>,
}

impl fmt::Debug for ServerConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ServerConnection").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

impl ServerConnection {
    /// `random` is used in the handshake.
    pub fn new(limits: Limits, random: [u8; 32]) -> ServerConnection {
        ServerConnection {
            limits,
            handshake: Handshake::server(random),
            inbound: Inbound::new(limits.max_command_bytes, limits.max_chunk_streams),
            session: Session::new(),
            replies: Replies::new(),
            events: VecDeque::new(),
            held: Vec::new(),
            bytes_before_publish: 0,
            failure: None,
        }
    }

    /// Handles received bytes. After an error, send what [`Self::poll_transmit`] returns and close the connection; later calls
    /// return the same error. What is received in [`Phase::Requested`] is kept until the request is answered, within the limit of
    /// bytes before publishing.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.phase() == Phase::Ended {
            return Ok(());
        }
        let result = self.count(bytes.len()).and_then(|()| self.process(bytes));
        self.fail_on_error(result)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next bytes to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.replies.outbound.take()
    }

    pub fn phase(&self) -> Phase {
        self.session.phase()
    }

    /// Accepts the request to publish and handles what was received meanwhile: errors are those of [`Self::receive`].
    pub fn accept(&mut self) -> Result<(), ProtocolError> {
        if self.phase() != Phase::Requested {
            return Ok(());
        }
        let stream = self.session.status_stream();
        self.session.set_phase(Phase::Publishing);
        self.inbound.set_max_message(self.limits.max_message_bytes);
        self.replies.stream_begin(stream);
        self.replies.on_status(stream, "status", "NetStream.Publish.Start", "Publishing started.");
        let held = mem::take(&mut self.held);
        let result = self.process(&held);
        self.fail_on_error(result)
    }

    /// Refuses the request to publish, or ends the publication: an `onStatus` of level `error` with this code, such as
    /// `NetStream.Publish.BadName`, and a description that encoders show. Nothing more is received.
    pub fn refuse(&mut self, code: &str, description: &str) {
        if self.phase() == Phase::Ended {
            return;
        }
        if self.session.is_connected() {
            self.replies.on_status(self.session.status_stream(), "error", code, description);
        }
        self.end();
    }

    /// Counts received bytes against the limit and for the acknowledgement.
    fn count(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        self.inbound.count(bytes);
        if self.phase() == Phase::Publishing {
            return Ok(());
        }
        let limit = self.limits.max_bytes_before_publish;
        self.bytes_before_publish = self.bytes_before_publish.saturating_add(bytes);
        if self.bytes_before_publish > limit {
            let reason = format!("more than {limit} bytes before publishing was accepted");
            return Err(ProtocolError::new("bytes_before_publish", reason));
        }
        Ok(())
    }

    fn process(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let mut input = self.handshake.receive(bytes, self.replies.outbound.handshake())?;
        if self.phase() == Phase::Handshake && self.handshake.is_complete() {
            self.session.set_phase(Phase::Setup);
        }
        while matches!(self.phase(), Phase::Setup | Phase::Publishing) {
            let Some(message) = self.inbound.next(&mut input, &mut self.replies.outbound)? else { break };
            self.handle(message)?;
        }
        if self.phase() == Phase::Requested {
            self.held.extend_from_slice(input);
        }
        if self.phase() != Phase::Ended && self.session.is_connected() {
            self.inbound.acknowledge(&mut self.replies.outbound);
        }
        Ok(())
    }

    fn handle(&mut self, message: Message) -> Result<(), ProtocolError> {
        match message.kind {
            kind::COMMAND | kind::COMMAND_AMF3 => self.command(&message),
            kind::AUDIO | kind::VIDEO | kind::AGGREGATE | kind::DATA | kind::DATA_AMF3
                if self.phase() != Phase::Publishing =>
            {
                Err(ProtocolError::order("media before publish"))
            }
            // The rest are media and metadata, and messages that ask for nothing.
            _ => media::handle(message, &mut self.events),
        }
    }

    fn command(&mut self, message: &Message) -> Result<(), ProtocolError> {
        let command = Command::read(message.kind, &message.body)?;
        match self.session.handle(&command, message.stream, &mut self.replies)? {
            Outcome::Nothing => {}
            Outcome::PublishRequested(request) => self.events.push_back(Event::PublishRequested(request)),
            Outcome::Unpublished => {
                self.events.push_back(Event::Unpublished);
                self.end();
            }
        }
        Ok(())
    }

    /// Ends the connection after an error and tells the encoder why, which shows it to its operator.
    fn fail_on_error(&mut self, result: Result<(), ProtocolError>) -> Result<(), ProtocolError> {
        if let Err(error) = &result {
            self.refuse("NetConnection.Connect.Closed", &error.reason);
            self.failure = Some(error.clone());
            self.end();
        }
        result
    }

    /// Releases memory, too: the driver may keep the connection until the encoder has read the last answer.
    fn end(&mut self) {
        self.session.set_phase(Phase::Ended);
        self.held = Vec::new();
        self.inbound.close();
    }
}
