//! Bytes of an encoder.

use super::amf;

pub const SET_CHUNK_SIZE: u8 = 1;
pub const ABORT: u8 = 2;
pub const ACKNOWLEDGEMENT: u8 = 3;
pub const USER_CONTROL: u8 = 4;
pub const WINDOW_SIZE: u8 = 5;
pub const AUDIO: u8 = 8;
pub const VIDEO: u8 = 9;
pub const DATA_AMF3: u8 = 15;
pub const COMMAND_AMF3: u8 = 17;
pub const DATA: u8 = 18;
pub const COMMAND: u8 = 20;
pub const AGGREGATE: u8 = 22;

/// C0, C1 and C2.
pub fn handshake() -> Vec<u8> {
    [&[3][..], &client_packet(), &[9; 1536]].concat()
}

/// C1.
pub fn client_packet() -> Vec<u8> {
    (0..1536u32).map(|index| (index * 7 % 251) as u8).collect()
}

/// The header of a chunk: its basic header in the shortest form, and the fields that its format has.
#[derive(Clone, Copy)]
pub struct Header {
    pub format: u8,
    pub chunk_stream: u32,
    /// Timestamp or delta.
    pub time: u32,
    pub length: usize,
    pub kind: u8,
    pub stream: u32,
}

impl Header {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = basic_header(self.format, self.chunk_stream);
        let is_extended = self.time >= 0xff_ffff;
        if self.format < 3 {
            bytes.extend_from_slice(&self.time.min(0xff_ffff).to_be_bytes()[1..]);
        }
        if self.format < 2 {
            bytes.extend_from_slice(&(self.length as u32).to_be_bytes()[1..]);
            bytes.push(self.kind);
        }
        if self.format == 0 {
            bytes.extend_from_slice(&self.stream.to_le_bytes());
        }
        if self.format < 3 && is_extended {
            bytes.extend_from_slice(&self.time.to_be_bytes());
        }
        bytes
    }
}

pub fn basic_header(format: u8, chunk_stream: u32) -> Vec<u8> {
    let format = format << 6;
    match chunk_stream {
        0..64 => vec![format | chunk_stream as u8],
        64..320 => vec![format, (chunk_stream - 64) as u8],
        _ => [&[format | 1], &((chunk_stream - 64) as u16).to_le_bytes()[..]].concat(),
    }
}

/// A message in one chunk of format 0.
pub fn message(chunk_stream: u32, kind: u8, stream: u32, timestamp: u32, body: &[u8]) -> Vec<u8> {
    let header = Header { format: 0, chunk_stream, time: timestamp, length: body.len(), kind, stream };
    [&header.bytes(), body].concat()
}

/// A control message.
pub fn control(kind: u8, body: &[u8]) -> Vec<u8> {
    message(2, kind, 0, 0, body)
}

pub fn command_body(name: &str, transaction: f64, arguments: &[Vec<u8>]) -> Vec<u8> {
    [amf::string(name), amf::number(transaction), arguments.concat()].concat()
}
