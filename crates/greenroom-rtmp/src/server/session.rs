//! Commands of the encoder: it connects to an application, creates a message stream and publishes on it.

use super::replies::Replies;
use crate::amf::Value;
use crate::command::{Command, bounded};
use crate::error::ProtocolError;
use crate::{Phase, PublishRequest};

/// Message streams that an encoder may create. It needs one.
const MAX_STREAMS: u32 = 8;

/// Properties of `connect` by which encoders of Enhanced RTMP name their codecs and capabilities.
const ENHANCED: [&str; 4] = ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"];

/// What a command changes outside the session.
pub(crate) enum Outcome {
    Nothing,
    PublishRequested(PublishRequest),
    Unpublished,
}

/// The state that commands change.
pub(crate) struct Session {
    phase: Phase,
    connection: Option<ConnectCommand>,
    /// Number of message streams that have been created: their ids are 1 and following.
    streams: u32,
    /// The message stream of `publish`.
    published: u32,
}

struct ConnectCommand {
    app: String,
    tc_url: String,
    flash_version: String,
}

impl Session {
    pub(crate) fn new() -> Session {
        Session { phase: Phase::Handshake, connection: None, streams: 0, published: 0 }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// The message stream for statuses: that of `publish`, or the first, or else that of the connection.
    pub(crate) fn status_stream(&self) -> u32 {
        if self.published > 0 { self.published } else { self.streams.min(1) }
    }

    /// Handles a command that was received on a message stream.
    pub(crate) fn handle(
        &mut self,
        command: &Command,
        stream: u32,
        replies: &mut Replies,
    ) -> Result<Outcome, ProtocolError> {
        match command.name.as_str() {
            "connect" => self.connect(command, replies)?,
            "createStream" => self.create_stream(command, replies)?,
            "publish" => return self.publish(command, stream, replies),
            "play" | "play2" => return Err(self.refuse_play(stream, replies)),
            "FCPublish" => {
                replies.notice(0, "onFCPublish", "status", "NetStream.Publish.Start", "Ready to publish.");
            }
            "FCUnpublish" => {
                replies.notice(0, "onFCUnpublish", "status", "NetStream.Unpublish.Success", "Publishing stopped.");
                return Ok(self.unpublish(self.published, replies));
            }
            "closeStream" => return Ok(self.unpublish(stream, replies)),
            "deleteStream" => return Ok(self.unpublish(deleted_stream(command), replies)),
            "releaseStream" | "_checkbw" => answer(command, Value::Null, replies),
            "getStreamLength" => answer(command, 0.0.into(), replies),
            // Answers to the server.
            "_result" | "_error" | "onStatus" | "" => {}
            name => refuse_call(command, name, replies),
        }
        Ok(Outcome::Nothing)
    }

    fn connect(&mut self, command: &Command, replies: &mut Replies) -> Result<(), ProtocolError> {
        if self.connection.is_some() {
            return Err(ProtocolError::order("second connect on a connection"));
        }
        let text = |name| command.object.get(name).and_then(Value::as_str).unwrap_or_default();
        self.connection = Some(ConnectCommand {
            app: without_query(text("app")).to_owned(),
            tc_url: text("tcUrl").to_owned(),
            flash_version: bounded(text("flashVer")),
        });
        replies.setup();
        replies.connected(command.transaction, ENHANCED.iter().any(|name| command.object.get(name).is_some()));
        Ok(())
    }

    fn create_stream(&mut self, command: &Command, replies: &mut Replies) -> Result<(), ProtocolError> {
        if self.connection.is_none() {
            return Err(ProtocolError::order("createStream before connect"));
        }
        if self.streams >= MAX_STREAMS {
            return Err(ProtocolError::new("message_streams", format!("more than {MAX_STREAMS} message streams")));
        }
        self.streams += 1;
        replies.outbound.result(command.transaction, f64::from(self.streams).into());
        Ok(())
    }

    fn publish(&mut self, command: &Command, stream: u32, replies: &mut Replies) -> Result<Outcome, ProtocolError> {
        let Some(connection) = &self.connection else {
            return Err(ProtocolError::order("publish before connect"));
        };
        if self.streams == 0 {
            return Err(ProtocolError::order("publish before createStream"));
        }
        if self.phase != Phase::Setup {
            let description = "This connection publishes already.";
            replies.on_status(stream, "error", "NetStream.Publish.BadName", description);
            return Ok(Outcome::Nothing);
        }
        // Encoders that ignore the id of createStream's result use stream 0 or one of their own.
        self.published = if (1..=self.streams).contains(&stream) { stream } else { 1 };
        self.phase = Phase::Requested;
        Ok(Outcome::PublishRequested(PublishRequest {
            app: connection.app.clone(),
            tc_url: connection.tc_url.clone(),
            stream_key: without_query(command.text(0)).to_owned(),
            flash_version: connection.flash_version.clone(),
        }))
    }

    fn refuse_play(&self, stream: u32, replies: &mut Replies) -> ProtocolError {
        let reason = "play refused: this server only accepts publishing";
        replies.on_status(stream, "error", "NetStream.Play.Failed", "This server only accepts publishing.");
        ProtocolError::new("play", reason)
    }

    /// Ends the publication, if this is its message stream.
    fn unpublish(&mut self, stream: u32, replies: &mut Replies) -> Outcome {
        if self.phase != Phase::Publishing || stream != self.published {
            return Outcome::Nothing;
        }
        self.phase = Phase::Ended;
        replies.on_status(stream, "status", "NetStream.Unpublish.Success", "Publishing stopped.");
        Outcome::Unpublished
    }
}

/// The message stream that `deleteStream` names, 0 for none.
fn deleted_stream(command: &Command) -> u32 {
    command.number(0).unwrap_or_default() as u32
}

/// Answers a command that expects an answer.
fn answer(command: &Command, value: Value, replies: &mut Replies) {
    if command.transaction != 0.0 {
        replies.outbound.result(command.transaction, value);
    }
}

fn refuse_call(command: &Command, name: &str, replies: &mut Replies) {
    if command.transaction != 0.0 {
        let description = format!("Unknown command {:?}.", bounded(name));
        replies.error(command.transaction, "NetConnection.Call.Failed", &description);
    }
}

/// `app` of `app?token=…`.
fn without_query(text: &str) -> &str {
    text.split_once('?').map_or(text, |(name, _)| name)
}
