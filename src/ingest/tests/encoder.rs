//! A scripted encoder: the client's side of RTMP, as far as tests need it.

use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, split};

/// Types of messages.
pub const AUDIO: u8 = 8;
pub const VIDEO: u8 = 9;
const USER_CONTROL: u8 = 4;
const COMMAND: u8 = 20;

/// Length of C0 and C1.
const C0_C1: usize = 1537;
/// Length of S0, S1 and S2.
const S0_S1_S2: usize = 3073;

/// The AudioSpecificConfig of AAC-LC, 48 kHz, stereo.
pub const AAC_CONFIGURATION: [u8; 4] = [0xaf, 0x00, 0x11, 0x90];
/// The begin of a key frame of HEVC, as encoders sent it before Enhanced RTMP.
pub const HEVC_KEY_FRAME: [u8; 6] = [0x1c, 0x01, 0x00, 0x00, 0x00, 0x00];

/// A silent access unit of stereo AAC-LC: a channel pair element without spectrum.
pub fn silent_aac() -> Vec<u8> {
    [&[0xaf, 0x01][..], &[0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c]].concat()
}

pub struct Encoder {
    reader: ReadHalf<DuplexStream>,
    writer: Option<WriteHalf<DuplexStream>>,
}

/// AMF0 values of commands.
enum Amf<'a> {
    Number(f64),
    Text(&'a str),
    Null,
    Object(&'a [(&'a str, &'a str)]),
}

impl Amf<'_> {
    fn write(&self, to: &mut Vec<u8>) {
        let text = |to: &mut Vec<u8>, text: &str| {
            to.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
            to.extend(text.as_bytes());
        };
        match self {
            Amf::Number(number) => {
                to.push(0);
                to.extend(number.to_be_bytes());
            }
            Amf::Text(value) => {
                to.push(2);
                text(to, value);
            }
            Amf::Null => to.push(5),
            Amf::Object(members) => {
                to.push(3);
                for (name, value) in *members {
                    text(to, name);
                    Amf::Text(value).write(to);
                }
                to.extend([0, 0, 9]);
            }
        }
    }
}

impl Encoder {
    pub fn new(stream: DuplexStream) -> Encoder {
        let (reader, writer) = split(stream);
        Encoder { reader, writer: Some(writer) }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        // The server may have closed the connection.
        let _ = self.writer.as_mut().unwrap().write_all(bytes).await;
    }

    pub async fn handshake(&mut self) {
        let mut c0_c1 = vec![0; C0_C1];
        c0_c1[0] = 3;
        self.write(&c0_c1).await;
        let mut answer = vec![0; S0_S1_S2];
        self.reader.read_exact(&mut answer).await.unwrap();
        let c2 = answer[1..C0_C1].to_vec();
        self.write(&c2).await;
    }

    /// Connects to an application, and publishes with a key.
    pub async fn publish(&mut self, app: &str, key: &str) {
        let object = [("app", app), ("flashVer", "FMLE/3.0 (compatible; Lavf60.16.100)"), ("tcUrl", "rtmp://host/app")];
        self.command(0, &[Amf::Text("connect"), Amf::Number(1.0), Amf::Object(&object)]).await;
        self.command(0, &[Amf::Text("createStream"), Amf::Number(2.0), Amf::Null]).await;
        self.command(1, &[Amf::Text("publish"), Amf::Number(3.0), Amf::Null, Amf::Text(key), Amf::Text("live")]).await;
    }

    pub async fn unpublish(&mut self) {
        self.command(0, &[Amf::Text("deleteStream"), Amf::Number(4.0), Amf::Null, Amf::Number(1.0)]).await;
    }

    async fn command(&mut self, stream: u32, values: &[Amf<'_>]) {
        let mut body = Vec::new();
        values.iter().for_each(|value| value.write(&mut body));
        self.message(COMMAND, stream, 0, &body).await;
    }

    /// Sends an audio or video message.
    pub async fn send(&mut self, kind: u8, timestamp: u32, body: &[u8]) {
        self.message(kind, 1, timestamp, body).await;
    }

    async fn message(&mut self, kind: u8, stream: u32, timestamp: u32, body: &[u8]) {
        let mut bytes = header(kind, stream, timestamp, body.len());
        for (n, chunk) in body.chunks(128).enumerate() {
            if n > 0 {
                bytes.push(0xc3);
            }
            bytes.extend(chunk);
        }
        self.write(&bytes).await;
    }

    pub async fn send_part_of_a_message(&mut self) {
        let mut bytes = header(VIDEO, 1, 0, 100_000);
        bytes.extend([0x17; 128]);
        self.write(&bytes).await;
    }

    /// Closes the connection in both directions.
    pub fn hang_up(&mut self) {
        self.writer = None;
        self.reader = split(tokio::io::duplex(1).0).0;
    }

    /// Sends a byte of the handshake at a time, less than it has within any test's time.
    pub async fn drip(&mut self, interval: Duration) {
        self.write(&[3]).await;
        for _ in 0..C0_C1 - 2 {
            self.write(&[0]).await;
            tokio::time::sleep(interval).await;
        }
    }

    /// Sends messages that are no media, for longer than any test.
    pub async fn chatter(&mut self, interval: Duration) {
        for _ in 0..1000 {
            self.command(0, &[Amf::Text("_checkbw"), Amf::Number(5.0), Amf::Null]).await;
            tokio::time::sleep(interval).await;
        }
    }

    /// Sends ping requests and reads no answer.
    pub async fn flood_of_pings(&mut self) {
        for _ in 0..10_000 {
            self.message(USER_CONTROL, 0, 0, &[0, 6, 0, 0, 0, 1]).await;
        }
    }

    /// Reads until a text was received.
    pub async fn read_until(&mut self, text: &str) {
        let mut read: Vec<u8> = Vec::new();
        while !read.windows(text.len()).any(|found| found == text.as_bytes()) {
            let mut buffer = [0; 1024];
            let count = self.reader.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "no {text}");
            read.extend(&buffer[..count]);
        }
    }

    /// Reads to the end, and closes the connection.
    pub async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        self.reader.read_to_end(&mut read).await.unwrap();
        self.hang_up();
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// The header of a message on chunk stream 3.
fn header(kind: u8, stream: u32, timestamp: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0x03];
    bytes.extend(&timestamp.to_be_bytes()[1..]);
    bytes.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
    bytes.push(kind);
    bytes.extend(stream.to_le_bytes());
    bytes
}
