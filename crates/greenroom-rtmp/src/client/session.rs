//! Commands of the client, one after the other, and the server's answers.

use super::{ClientEvent, ClientOptions};
use crate::amf::Value;
use crate::command::{Command, bounded};
use crate::error::ProtocolError;
use crate::messages::kind;
use crate::outbound::{Outbound, WINDOW_SIZE};
use crate::{Phase, PublishUrl};

/// Transaction ids. Those without a name here are 0: their answers are ignored.
const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;
const PUBLISH: f64 = 5.0;
const FC_UNPUBLISH: f64 = 6.0;

/// Codes that end a connection, whatever their level.
const CLOSING: [&str; 4] = [
    "NetConnection.Connect.AppShutdown",
    "NetConnection.Connect.Closed",
    "NetConnection.Connect.Rejected",
    "NetStream.Publish.BadName",
];

/// Which answer the client waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Handshake,
    Connect,
    CreateStream,
    Publish,
    Publishing,
    Ended,
}

pub(super) struct Session {
    options: ClientOptions,
    step: Step,
    /// The message stream that the server has created, 0 before.
    stream: u32,
    /// The Window Acknowledgement Size that the server has been sent.
    window: u32,
}

/// What a server says of a connection or publication.
struct Status<'a> {
    level: &'a str,
    code: &'a str,
    description: &'a str,
    redirect: Option<&'a str>,
}

impl Session {
    pub(super) fn new(options: ClientOptions) -> Session {
        Session { options, step: Step::Handshake, stream: 0, window: WINDOW_SIZE }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.step {
            Step::Handshake => Phase::Handshake,
            Step::Connect | Step::CreateStream => Phase::Setup,
            Step::Publish => Phase::Requested,
            Step::Publishing => Phase::Publishing,
            Step::Ended => Phase::Ended,
        }
    }

    pub(super) fn stream(&self) -> u32 {
        self.stream
    }

    pub(super) fn connect(&mut self, out: &mut Outbound) {
        self.step = Step::Connect;
        let ClientOptions { app, tc_url, flash_version, .. } = &self.options;
        let object = [("app", app.as_str()), ("type", "nonprivate"), ("flashVer", flash_version), ("tcUrl", tc_url)];
        out.command(0, "connect", CONNECT, &[Value::object(object.map(|(name, text)| (name, text.into())))]);
    }

    pub(super) fn end(&mut self, out: &mut Outbound) {
        if self.step != Step::Ended && self.stream != 0 {
            let key = self.options.stream_key.as_str().into();
            out.command(0, "FCUnpublish", FC_UNPUBLISH, &[Value::Null, key]);
            out.command(0, "deleteStream", 0.0, &[Value::Null, f64::from(self.stream).into()]);
        }
        self.step = Step::Ended;
    }

    pub(super) fn fail(&mut self) {
        self.step = Step::Ended;
    }

    /// Set Peer Bandwidth, which a Window Acknowledgement Size answers if it is another.
    pub(super) fn set_window(&mut self, size: u32, out: &mut Outbound) {
        if size != self.window && size != 0 {
            self.window = size;
            out.control(kind::WINDOW_SIZE, &size.to_be_bytes());
        }
    }

    /// Handles a command of the server.
    pub(super) fn handle(
        &mut self,
        command: &Command,
        out: &mut Outbound,
    ) -> Result<Option<ClientEvent>, ProtocolError> {
        match command.name.as_str() {
            "_result" => return self.result(command, out),
            "_error" if self.is_awaited(command.transaction) => {
                return Ok(Some(self.closed(Status::of(command, "NetConnection.Call.Failed"))));
            }
            "onStatus" | "onFCPublish" => return Ok(self.status(command)),
            "close" => return Ok(Some(self.closed(Status::of(command, "NetConnection.Connect.Closed")))),
            // A measurement of the round trip.
            "_onbwcheck" => out.result(command.transaction, Value::Null),
            _ => {}
        }
        Ok(None)
    }

    /// A command that the client waits for has this transaction. Others may fail: not every server knows `releaseStream`.
    fn is_awaited(&self, transaction: f64) -> bool {
        match self.step {
            Step::Connect => transaction == CONNECT,
            Step::CreateStream => transaction == CREATE_STREAM,
            Step::Publish => transaction == PUBLISH,
            Step::Handshake | Step::Publishing | Step::Ended => false,
        }
    }

    fn result(&mut self, command: &Command, out: &mut Outbound) -> Result<Option<ClientEvent>, ProtocolError> {
        if !self.is_awaited(command.transaction) {
            return Ok(None);
        }
        let status = Status::of(command, "");
        if status.is_closing() {
            return Ok(Some(self.closed(status)));
        }
        match self.step {
            Step::Connect => self.create_stream(out),
            Step::CreateStream => self.publish(stream_id(command)?, out),
            // The answer to `publish` is its status.
            _ => {}
        }
        Ok(None)
    }

    /// FFmpeg as a server expects `connect` before anything else; so the chunk size comes here.
    fn create_stream(&mut self, out: &mut Outbound) {
        self.step = Step::CreateStream;
        out.control(kind::WINDOW_SIZE, &self.window.to_be_bytes());
        out.set_chunk_size();
        let key = || Value::from(self.options.stream_key.as_str());
        out.command(0, "releaseStream", RELEASE_STREAM, &[Value::Null, key()]);
        out.command(0, "FCPublish", FC_PUBLISH, &[Value::Null, key()]);
        out.command(0, "createStream", CREATE_STREAM, &[Value::Null]);
    }

    fn publish(&mut self, stream: u32, out: &mut Outbound) {
        self.step = Step::Publish;
        self.stream = stream;
        let key = self.options.stream_key.as_str().into();
        out.command(stream, "publish", PUBLISH, &[Value::Null, key, "live".into()]);
    }

    fn status(&mut self, command: &Command) -> Option<ClientEvent> {
        let status = Status::of(command, "");
        if status.is_closing() {
            return Some(self.closed(status));
        }
        match (self.step, status.code) {
            (Step::Publish, "NetStream.Publish.Start") if command.name == "onStatus" => {
                self.step = Step::Publishing;
                Some(ClientEvent::Publishing)
            }
            (Step::Publishing, "NetStream.Unpublish.Success") => Some(self.closed(status)),
            _ => None,
        }
    }

    /// Ends the session, as the server says.
    fn closed(&mut self, status: Status) -> ClientEvent {
        let is_publishing = self.step == Step::Publishing;
        self.step = Step::Ended;
        let (code, description) = (self.public(status.code), self.public(status.description));
        if is_publishing {
            return ClientEvent::Ended { code, description };
        }
        let key = &self.options.stream_key;
        let redirect = status.redirect.and_then(|url| PublishUrl::with_key(url, key).ok());
        ClientEvent::Refused { code, description, redirect }
    }

    /// A text for logs. Some servers repeat the stream key, with or without its query.
    fn public(&self, text: &str) -> String {
        let key = self.options.stream_key.as_str();
        let name = key.split('?').next().unwrap_or_default();
        let mut text = text.replace(char::is_control, " ");
        for secret in [key, name].into_iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "<stream key>");
        }
        bounded(&text)
    }
}

impl Status<'_> {
    /// The status among a command's values. Without a code, it is that given.
    fn of<'a>(command: &'a Command, default_code: &'a str) -> Status<'a> {
        let values = || [&command.object].into_iter().chain(&command.arguments);
        let status = values().find(|value| value.get("code").is_some()).unwrap_or(&Value::Null);
        let text = |name| status.get(name).and_then(Value::as_str);
        Status {
            level: text("level").unwrap_or_default(),
            code: text("code").unwrap_or(default_code),
            description: text("description").unwrap_or_default(),
            redirect: status.get("ex").and_then(|extra| extra.get("redirect")).and_then(Value::as_str),
        }
    }

    fn is_closing(&self) -> bool {
        self.level == "error" || CLOSING.contains(&self.code)
    }
}

/// The id that `createStream` was answered with.
fn stream_id(command: &Command) -> Result<u32, ProtocolError> {
    let id = command.number(0).filter(|id| (1.0..=f64::from(u32::MAX)).contains(id) && id.fract() == 0.0);
    id.map(|id| id as u32)
        .ok_or_else(|| ProtocolError::new("message_streams", "createStream was answered without a message stream"))
}
