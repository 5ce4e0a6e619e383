//! Bytes to send.

use crate::amf::{Value, write};
use crate::chunks::{ChunkWriter, OutgoingMessage};
use crate::messages::{control, kind};

/// Chunk size of both sides.
const CHUNK_SIZE: u32 = 4_096;

/// Bytes after which each side acknowledges.
pub(crate) const WINDOW_SIZE: u32 = 2_500_000;

const CONTROL_CHUNK_STREAM: u8 = 2;
const COMMAND_CHUNK_STREAM: u8 = 3;

pub(crate) struct Outbound {
    out: Vec<u8>,
    writer: ChunkWriter,
    /// Bytes of control messages and commands since the last call of [`Self::take`].
    answers: usize,
}

impl Outbound {
    pub(crate) fn new() -> Outbound {
        Outbound { out: Vec::new(), writer: ChunkWriter::new(), answers: 0 }
    }

    /// For bytes that precede all messages.
    pub(crate) fn handshake(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The bytes that have been queued, if there are any.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        self.answers = 0;
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out))
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Bytes of control messages and commands among those that have been queued.
    pub(crate) fn answers(&self) -> usize {
        self.answers
    }

    pub(crate) fn set_chunk_size(&mut self) {
        self.control(kind::SET_CHUNK_SIZE, &CHUNK_SIZE.to_be_bytes());
        self.writer.set_chunk_size(CHUNK_SIZE as usize);
    }

    pub(crate) fn acknowledgement(&mut self, received: u32) {
        self.control(kind::ACKNOWLEDGEMENT, &received.to_be_bytes());
    }

    pub(crate) fn ping_response(&mut self, timestamp: u32) {
        self.user_control(control::PING_RESPONSE, timestamp);
    }

    pub(crate) fn user_control(&mut self, event: u16, number: u32) {
        let mut body = event.to_be_bytes().to_vec();
        body.extend_from_slice(&number.to_be_bytes());
        self.control(kind::USER_CONTROL, &body);
    }

    pub(crate) fn control(&mut self, kind: u8, body: &[u8]) {
        self.answer(CONTROL_CHUNK_STREAM, kind, 0, body);
    }

    pub(crate) fn result(&mut self, transaction: f64, value: Value) {
        self.command(0, "_result", transaction, &[Value::Null, value]);
    }

    pub(crate) fn command(&mut self, stream: u32, name: &str, transaction: f64, arguments: &[Value]) {
        let mut body = Vec::new();
        write(&mut body, &name.into());
        write(&mut body, &transaction.into());
        for argument in arguments {
            write(&mut body, argument);
        }
        self.answer(COMMAND_CHUNK_STREAM, kind::COMMAND, stream, &body);
    }

    pub(crate) fn message(&mut self, message: &OutgoingMessage) {
        self.writer.write(&mut self.out, message);
    }

    fn answer(&mut self, chunk_stream: u8, kind: u8, stream: u32, body: &[u8]) {
        let before = self.out.len();
        self.message(&OutgoingMessage { chunk_stream, kind, timestamp: 0, stream, body });
        self.answers += self.out.len() - before;
    }
}
