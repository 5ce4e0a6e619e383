use super::header::{ChunkHeader, Format, HeaderBuffer};
use super::{DEFAULT_CHUNK_SIZE, MAX_MESSAGE, Message};
use crate::error::ProtocolError;
use std::collections::BTreeMap;
use std::mem;

/// The longest timestamp of a message of format 0 that is taken for the delta of a following one of format 3. The specification says
/// that it always is, and FFmpeg writes format 3 so, when the delta happens to be the same. librtmp means a delta of 0.
const MAX_FIRST_DELTA: u32 = 1_000;

/// Reassembles messages.
pub(crate) struct ChunkReader {
    chunk_size: usize,
    max_message: usize,
    max_streams: usize,
    streams: BTreeMap<u32, ChunkStream>,
    /// Bytes of all messages that are not complete.
    partial: usize,
    header: HeaderBuffer,
    /// Chunk stream of the chunk that is being read.
    current: u32,
    state: State,
    /// Bytes taken for an extended timestamp that were none; they precede the input.
    replay: Vec<u8>,
}

enum State {
    Header,
    /// A chunk of format 3 on a chunk stream with an extended timestamp, of which so many bytes have come again.
    RepeatedTimestamp {
        matched: usize,
    },
    Payload {
        left: usize,
    },
}

#[derive(Default)]
struct ChunkStream {
    timestamp: u32,
    delta: u32,
    /// The extended timestamp of the last header that had one of three bytes.
    extended: Option<[u8; 4]>,
    length: usize,
    kind: u8,
    stream: u32,
    body: Vec<u8>,
    /// A message has begun and is not complete.
    is_partial: bool,
}

impl ChunkReader {
    pub(crate) fn new(max_message: usize, max_streams: usize) -> ChunkReader {
        ChunkReader {
            chunk_size: DEFAULT_CHUNK_SIZE,
            max_message,
            max_streams,
            streams: BTreeMap::new(),
            partial: 0,
            header: HeaderBuffer::default(),
            current: 0,
            state: State::Header,
            replay: Vec::new(),
        }
    }

    /// Sets the maximum length of messages that begin from now on, and of all incomplete ones together.
    pub(crate) fn set_max_message(&mut self, bytes: usize) {
        self.max_message = bytes;
    }

    /// Set Chunk Size. Sizes above the longest message are the same as that.
    pub(crate) fn set_chunk_size(&mut self, size: u32) -> Result<(), ProtocolError> {
        if size == 0 || size > i32::MAX as u32 {
            return Err(ProtocolError::new("chunk_size", format!("chunk size {size}")));
        }
        self.chunk_size = MAX_MESSAGE.min(size as usize);
        Ok(())
    }

    /// Abort Message: forgets the incomplete message of a chunk stream.
    pub(crate) fn abort(&mut self, chunk_stream: u32) {
        if let Some(stream) = self.streams.get_mut(&chunk_stream) {
            self.partial -= mem::take(&mut stream.body).len();
            stream.is_partial = false;
        }
    }

    /// Takes bytes of `input` until a message is complete or the input is used up.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ProtocolError> {
        loop {
            let message = if self.replay.is_empty() {
                if input.is_empty() {
                    return Ok(None);
                }
                self.step(input)?
            } else {
                let replay = mem::take(&mut self.replay);
                let mut rest = replay.as_slice();
                let message = self.step(&mut rest)?;
                self.replay.extend_from_slice(rest);
                message
            };
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    fn step(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ProtocolError> {
        match self.state {
            State::Header => match self.header.receive(input) {
                Some(header) => self.begin_chunk(header),
                None => Ok(None),
            },
            State::RepeatedTimestamp { matched } => self.match_timestamp(matched, input),
            State::Payload { left } => self.read_payload(left, input),
        }
    }

    fn begin_chunk(&mut self, header: ChunkHeader) -> Result<Option<Message>, ProtocolError> {
        let ChunkHeader { chunk_stream, format } = header;
        self.current = chunk_stream;
        let is_continued = matches!(format, Format::Continued);
        let max_message = self.max_message;
        let stream = self.open(chunk_stream, &format)?;
        if !stream.is_partial {
            stream.begin_message(format);
            if stream.length > max_message {
                let reason = format!("message of {} bytes, maximum {max_message}", stream.length);
                return Err(ProtocolError::new("message_size", reason));
            }
        } else if !is_continued {
            let reason = format!("chunk stream {chunk_stream} began a message before the previous one was complete");
            return Err(ProtocolError::new("chunk_header", reason));
        }
        if is_continued && stream.extended.is_some() {
            self.state = State::RepeatedTimestamp { matched: 0 };
            return Ok(None);
        }
        self.begin_payload()
    }

    /// The chunk stream, which is new only with a header that says what its messages are. (librtmp begins with format 1.)
    fn open(&mut self, chunk_stream: u32, format: &Format) -> Result<&mut ChunkStream, ProtocolError> {
        if !self.streams.contains_key(&chunk_stream) {
            if matches!(format, Format::Delta { .. } | Format::Continued) {
                let reason = format!("chunk stream {chunk_stream} begins with a header that continues it");
                return Err(ProtocolError::new("chunk_header", reason));
            }
            if self.streams.len() >= self.max_streams {
                let reason = format!("more than {} chunk streams", self.max_streams);
                return Err(ProtocolError::new("chunk_streams", reason));
            }
        }
        Ok(self.streams.entry(chunk_stream).or_default())
    }

    /// Takes bytes as long as they are those of the extended timestamp, which most encoders repeat in chunks of format 3 and some do
    /// not. If they are others, they are payload.
    fn match_timestamp(&mut self, matched: usize, input: &mut &[u8]) -> Result<Option<Message>, ProtocolError> {
        let timestamp = self.streams.get(&self.current).and_then(|stream| stream.extended).unwrap_or_default();
        let Some((byte, rest)) = input.split_first() else { return Ok(None) };
        if timestamp.get(matched) != Some(byte) {
            self.replay.extend(timestamp.into_iter().take(matched));
            return self.begin_payload();
        }
        *input = rest;
        if matched + 1 == timestamp.len() {
            return self.begin_payload();
        }
        self.state = State::RepeatedTimestamp { matched: matched + 1 };
        Ok(None)
    }

    fn begin_payload(&mut self) -> Result<Option<Message>, ProtocolError> {
        let stream = self.streams.entry(self.current).or_default();
        let left = (stream.length - stream.body.len()).min(self.chunk_size);
        if left == 0 {
            return Ok(Some(self.finish_message()));
        }
        self.state = State::Payload { left };
        Ok(None)
    }

    fn read_payload(&mut self, left: usize, input: &mut &[u8]) -> Result<Option<Message>, ProtocolError> {
        let (piece, rest) = input.split_at(input.len().min(left));
        *input = rest;
        self.partial += piece.len();
        if self.partial > self.max_message {
            let reason = format!("incomplete messages of more than {} bytes", self.max_message);
            return Err(ProtocolError::new("partial_messages", reason));
        }
        let stream = self.streams.entry(self.current).or_default();
        stream.append(piece);
        if stream.body.len() == stream.length {
            return Ok(Some(self.finish_message()));
        }
        self.state = match left - piece.len() {
            0 => State::Header,
            left => State::Payload { left },
        };
        Ok(None)
    }

    fn finish_message(&mut self) -> Message {
        self.state = State::Header;
        let stream = self.streams.entry(self.current).or_default();
        stream.is_partial = false;
        let body = mem::take(&mut stream.body);
        self.partial -= body.len();
        Message { kind: stream.kind, timestamp: stream.timestamp, stream: stream.stream, body }
    }
}

impl ChunkStream {
    fn begin_message(&mut self, format: Format) {
        self.is_partial = true;
        match format {
            Format::Full { timestamp, extended, length, kind, stream } => {
                self.timestamp = timestamp;
                self.delta = if timestamp <= MAX_FIRST_DELTA { timestamp } else { 0 };
                self.extended = extended.then_some(timestamp.to_be_bytes());
                (self.length, self.kind, self.stream) = (length, kind, stream);
            }
            Format::SameStream { delta, extended, length, kind } => {
                self.advance(delta, extended);
                (self.length, self.kind) = (length, kind);
            }
            Format::Delta { delta, extended } => self.advance(delta, extended),
            Format::Continued => self.timestamp = self.timestamp.wrapping_add(self.delta),
        }
    }

    fn advance(&mut self, delta: u32, extended: bool) {
        self.timestamp = self.timestamp.wrapping_add(delta);
        self.delta = delta;
        self.extended = extended.then_some(delta.to_be_bytes());
    }

    /// Memory grows with the bytes that arrive, at most to the announced length.
    fn append(&mut self, piece: &[u8]) {
        let (capacity, needed) = (self.body.capacity(), self.body.len() + piece.len());
        if needed > capacity {
            let target = needed.max(2 * capacity).min(self.length);
            self.body.reserve_exact(target - self.body.len());
        }
        self.body.extend_from_slice(piece);
    }
}
