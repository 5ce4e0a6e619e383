pub mod amf;
pub mod bytes;
mod replies;

pub use replies::{Replies, Reply};

use bytes::{AUDIO, COMMAND, command_body, handshake, message};
use greenroom_rtmp::{Event, Limits, ProtocolError, PublishRequest, ServerConnection};

pub const KEY: &str = "rt_1_eu-west-1_abc_key";

/// A connection with an encoder at its other end, whose messages are not cut: it announces a large chunk size.
pub struct Encoder {
    pub server: ServerConnection,
    replies: Replies,
}

impl Encoder {
    /// Nothing has been sent.
    pub fn new(limits: Limits) -> Encoder {
        Encoder { server: ServerConnection::new(limits, [7; 32]), replies: Replies::default() }
    }

    /// The handshake is complete.
    pub fn greeted(limits: Limits) -> Encoder {
        let mut encoder = Encoder::new(limits);
        encoder.send(&handshake());
        encoder.send(&bytes::control(bytes::SET_CHUNK_SIZE, &0xff_ffff_u32.to_be_bytes()));
        encoder
    }

    /// `connect` has been answered.
    pub fn connected(limits: Limits) -> Encoder {
        let mut encoder = Encoder::greeted(limits);
        encoder.command(0, "connect", 1.0, &[connect_object()]);
        encoder
    }

    /// `publish` has been sent and not been answered.
    pub fn requested(limits: Limits) -> Encoder {
        let mut encoder = Encoder::connected(limits);
        encoder.command(0, "createStream", 2.0, &[amf::null()]);
        encoder.command(1, "publish", 3.0, &[amf::null(), amf::string(KEY), amf::string("live")]);
        assert_eq!(encoder.events(), [Event::PublishRequested(request())]);
        encoder.replies();
        encoder
    }

    /// Publishing has been accepted.
    pub fn publishing() -> Encoder {
        let mut encoder = Encoder::requested(Limits::default());
        encoder.server.accept().unwrap();
        encoder.replies();
        encoder
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.server.receive(bytes).unwrap();
    }

    /// The error that bytes lead to.
    pub fn send_bad(&mut self, bytes: &[u8]) -> ProtocolError {
        self.server.receive(bytes).unwrap_err()
    }

    pub fn command(&mut self, stream: u32, name: &str, transaction: f64, arguments: &[Vec<u8>]) {
        self.send(&command(stream, name, transaction, arguments));
    }

    pub fn audio(&mut self, timestamp: u32, body: &[u8]) {
        self.send(&message(4, AUDIO, 1, timestamp, body));
    }

    /// The server's messages since the last call.
    pub fn replies(&mut self) -> Vec<Reply> {
        while let Some(bytes) = self.server.poll_transmit() {
            self.replies.receive(&bytes);
        }
        self.replies.take()
    }

    pub fn events(&mut self) -> Vec<Event> {
        events(&mut self.server)
    }
}

/// Exactly one of the replies is a command with this name that contains this text.
#[track_caller]
pub fn assert_one(replies: &[Reply], name: &str, text: &str) {
    assert_eq!(replies.iter().filter(|reply| reply.is_command(name, text)).count(), 1, "{name} {text}: {replies:?}");
}

pub fn events(server: &mut ServerConnection) -> Vec<Event> {
    std::iter::from_fn(|| server.poll_event()).collect()
}

/// A command message with the encoder's chunk size.
pub fn command(stream: u32, name: &str, transaction: f64, arguments: &[Vec<u8>]) -> Vec<u8> {
    message(3, COMMAND, stream, 0, &command_body(name, transaction, arguments))
}

pub fn connect_object() -> Vec<u8> {
    amf::object(&[
        ("app", amf::string("app")),
        ("tcUrl", amf::string("rtmp://127.0.0.1:4602/app")),
        ("flashVer", amf::string("FMLE/3.0 (compatible; test)")),
    ])
}

/// What [`Encoder::requested`] asks for.
pub fn request() -> PublishRequest {
    PublishRequest {
        app: "app".to_owned(),
        tc_url: "rtmp://127.0.0.1:4602/app".to_owned(),
        stream_key: KEY.to_owned(),
        flash_version: "FMLE/3.0 (compatible; test)".to_owned(),
    }
}
