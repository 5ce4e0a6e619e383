//! Received bytes: messages from chunks, and what both sides do with messages that control the protocol.

use crate::chunks::{ChunkReader, Message};
use crate::error::ProtocolError;
use crate::messages::{control_number, kind, ping_request};
use crate::outbound::{Outbound, WINDOW_SIZE};

pub(crate) struct Inbound {
    chunks: ChunkReader,
    /// Bytes after which an Acknowledgement is due.
    window: u32,
    /// Modulo 2^32, as in the message.
    received: u32,
    acknowledged: u32,
}

impl Inbound {
    pub(crate) fn new(max_message: usize, max_chunk_streams: usize) -> Inbound {
        Inbound {
            chunks: ChunkReader::new(max_message, max_chunk_streams),
            window: WINDOW_SIZE,
            received: 0,
            acknowledged: 0,
        }
    }

    /// Sets the maximum length of messages that begin from now on, and of all incomplete ones together.
    pub(crate) fn set_max_message(&mut self, bytes: usize) {
        self.chunks.set_max_message(bytes);
    }

    /// Counts received bytes for the Acknowledgement.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.received = self.received.wrapping_add(bytes as u32);
    }

    /// Takes bytes of `input` until a message is complete that does not control the protocol, or the input is used up.
    pub(crate) fn next(&mut self, input: &mut &[u8], out: &mut Outbound) -> Result<Option<Message>, ProtocolError> {
        while let Some(message) = self.chunks.next(input)? {
            match message.kind {
                kind::SET_CHUNK_SIZE => self.chunks.set_chunk_size(control_number(&message.body)?)?,
                kind::ABORT => self.chunks.abort(control_number(&message.body)?),
                kind::WINDOW_SIZE => self.window = control_number(&message.body)?,
                kind::USER_CONTROL => {
                    if let Some(timestamp) = ping_request(&message.body)? {
                        out.ping_response(timestamp);
                    }
                }
                _ => return Ok(Some(message)),
            }
        }
        Ok(None)
    }

    /// Acknowledges once the other side has sent a window's bytes.
    pub(crate) fn acknowledge(&mut self, out: &mut Outbound) {
        if self.received.wrapping_sub(self.acknowledged) >= self.window {
            self.acknowledged = self.received;
            out.acknowledgement(self.received);
        }
    }

    /// Releases memory. Nothing may be received any more.
    pub(crate) fn close(&mut self) {
        self.chunks = ChunkReader::new(0, 0);
    }
}
