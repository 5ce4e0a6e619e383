use crate::support::bytes::{control, handshake, message};
use crate::support::{KEY, Replies, Reply, amf, command};
use greenroom_rtmp::{
    ClientConnection, ClientEvent, ClientOptions, Event, Limits, Phase, PublishUrl, ServerConnection,
};

pub const FLASH_VERSION: &str = "FMLE/3.0 (compatible; test)";

pub fn options() -> ClientOptions {
    PublishUrl::with_key("rtmp://127.0.0.1:4602/app/", KEY).unwrap().options(FLASH_VERSION)
}

pub fn client() -> ClientConnection {
    ClientConnection::new(options(), [9; 32])
}

pub fn client_events(client: &mut ClientConnection) -> Vec<ClientEvent> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

/// A client and the crate's server, between which bytes go in pieces of these lengths, over and over.
pub struct Pair {
    pub client: ClientConnection,
    pub server: ServerConnection,
    pub client_events: Vec<ClientEvent>,
    pub server_events: Vec<Event>,
    pieces: Vec<usize>,
}

impl Pair {
    pub fn new(pieces: &[usize]) -> Pair {
        Pair {
            client: client(),
            server: ServerConnection::new(Limits::default(), [7; 32]),
            client_events: Vec::new(),
            server_events: Vec::new(),
            pieces: pieces.to_vec(),
        }
    }

    /// The server has not answered the request to publish.
    pub fn requested() -> Pair {
        let mut pair = Pair::new(&[usize::MAX]);
        pair.exchange();
        assert_eq!((pair.client.phase(), pair.server.phase()), (Phase::Requested, Phase::Requested));
        pair
    }

    pub fn publishing(pieces: &[usize]) -> Pair {
        let mut pair = Pair::new(pieces);
        pair.exchange();
        pair.server.accept().unwrap();
        pair.exchange();
        assert_eq!((pair.client.phase(), pair.server.phase()), (Phase::Publishing, Phase::Publishing));
        pair
    }

    /// Passes bytes until neither side has any to send.
    pub fn exchange(&mut self) {
        loop {
            let (to_server, to_client) = (self.client.poll_transmit(), self.server.poll_transmit());
            if to_server.is_none() && to_client.is_none() {
                return;
            }
            for piece in cut(&to_server.unwrap_or_default(), &self.pieces) {
                self.server.receive(piece).unwrap();
                self.server_events.extend(std::iter::from_fn(|| self.server.poll_event()));
            }
            for piece in cut(&to_client.unwrap_or_default(), &self.pieces) {
                self.client.receive(piece).unwrap();
                self.client_events.extend(client_events(&mut self.client));
            }
        }
    }
}

/// Cuts bytes into pieces of these lengths, over and over.
pub fn cut<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(length.clamp(1, bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// A client whose server is the test.
pub struct Scripted {
    pub client: ClientConnection,
    sent: Replies,
}

impl Scripted {
    /// The handshake is complete, and the server's messages are not cut.
    pub fn greeted() -> Scripted {
        let mut scripted = Scripted { client: client(), sent: Replies::default() };
        scripted.send(&handshake());
        scripted.send(&control(1, &0xff_ffff_u32.to_be_bytes()));
        scripted
    }

    /// `connect` has been answered.
    pub fn connected() -> Scripted {
        let mut scripted = Scripted::greeted();
        let success = status("status", "NetConnection.Connect.Success", "");
        scripted.send(&command(0, "_result", 1.0, &[amf::object(&[]), success]));
        scripted
    }

    /// `createStream` has been answered.
    pub fn requested() -> Scripted {
        let mut scripted = Scripted::connected();
        scripted.send(&command(0, "_result", 4.0, &[amf::null(), amf::number(1.0)]));
        scripted
    }

    pub fn publishing() -> Scripted {
        let mut scripted = Scripted::requested();
        scripted.on_status("status", "NetStream.Publish.Start");
        assert_eq!(scripted.events(), [ClientEvent::Publishing]);
        scripted.sent();
        scripted
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.client.receive(bytes).unwrap();
    }

    pub fn on_status(&mut self, level: &str, code: &str) {
        self.send(&command(1, "onStatus", 0.0, &[amf::null(), status(level, code, "Text.")]));
    }

    pub fn media(&mut self, kind: u8, body: &[u8]) {
        self.send(&message(6, kind, 1, 0, body));
    }

    pub fn events(&mut self) -> Vec<ClientEvent> {
        client_events(&mut self.client)
    }

    /// The client's messages since the last call.
    pub fn sent(&mut self) -> Vec<Reply> {
        while let Some(bytes) = self.client.poll_transmit() {
            self.sent.receive(&bytes);
        }
        self.sent.take()
    }

    /// The names of the commands among them.
    pub fn sent_commands(&mut self) -> Vec<String> {
        let commands = self.sent().into_iter().filter(|message| message.kind == 20);
        commands.map(|message| String::from_utf8_lossy(&message.body[3..][..message.body[2] as usize]).into()).collect()
    }
}

pub fn status(level: &str, code: &str, description: &str) -> Vec<u8> {
    amf::object(&[
        ("level", amf::string(level)),
        ("code", amf::string(code)),
        ("description", amf::string(description)),
    ])
}
