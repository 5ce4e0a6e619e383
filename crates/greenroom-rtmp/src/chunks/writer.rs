use super::{DEFAULT_CHUNK_SIZE, EXTENDED, OutgoingMessage};

/// Cuts messages into chunks, each message complete before the next. Each begins with a header of format 0: it costs four bytes more than
/// that of format 1, and every server understands absolute timestamps in the same way.
pub(crate) struct ChunkWriter {
    chunk_size: usize,
}

impl ChunkWriter {
    pub(crate) fn new() -> ChunkWriter {
        ChunkWriter { chunk_size: DEFAULT_CHUNK_SIZE }
    }

    pub(crate) fn set_chunk_size(&mut self, size: usize) {
        self.chunk_size = size;
    }

    /// Appends a message.
    pub(crate) fn write(&self, out: &mut Vec<u8>, message: &OutgoingMessage) {
        let OutgoingMessage { chunk_stream, kind, timestamp, stream, body } = *message;
        let extended = timestamp.to_be_bytes();
        // Chunks of format 3 repeat the extended timestamp (section 5.3.1.3).
        let extended = if timestamp >= EXTENDED { &extended[..] } else { &[] };
        let length = (body.len() as u32).to_be_bytes();
        out.push(chunk_stream);
        out.extend_from_slice(&timestamp.min(EXTENDED).to_be_bytes()[1..]);
        out.extend_from_slice(&length[1..]);
        out.push(kind);
        out.extend_from_slice(&stream.to_le_bytes());
        out.extend_from_slice(extended);
        for (index, chunk) in body.chunks(self.chunk_size).enumerate() {
            if index > 0 {
                out.push(0xc0 | chunk_stream);
                out.extend_from_slice(extended);
            }
            out.extend_from_slice(chunk);
        }
    }
}
