//! Chunk streams (RTMP specification, section 5.3): messages are cut into chunks, and chunks of several messages interleaved.

mod header;
mod reader;
mod writer;

pub(crate) use reader::ChunkReader;
pub(crate) use writer::ChunkWriter;

/// Value of a timestamp field that says that the timestamp follows in four bytes.
const EXTENDED: u32 = 0xff_ffff;

/// Chunk size of both sides until they announce another.
const DEFAULT_CHUNK_SIZE: usize = 128;

/// Maximum bytes of a message: its length field has 24 bits.
pub(crate) const MAX_MESSAGE: usize = 0xff_ffff;

/// A received message.
pub(crate) struct Message {
    pub(crate) kind: u8,
    /// Milliseconds, modulo 2^32.
    pub(crate) timestamp: u32,
    /// Message stream.
    pub(crate) stream: u32,
    pub(crate) body: Vec<u8>,
}

/// A message to send, of at most [`MAX_MESSAGE`] bytes.
pub(crate) struct OutgoingMessage<'a> {
    /// 2 to 63.
    pub(crate) chunk_stream: u8,
    pub(crate) kind: u8,
    /// Milliseconds, modulo 2^32.
    pub(crate) timestamp: u32,
    /// Message stream.
    pub(crate) stream: u32,
    pub(crate) body: &'a [u8],
}
