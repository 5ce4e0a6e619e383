use super::EXTENDED;

/// Basic header of three bytes, message header of eleven, extended timestamp of four.
const MAX_HEADER: usize = 3 + 11 + 4;

/// The bytes of a chunk's header that have been received.
#[derive(Default)]
pub(super) struct HeaderBuffer {
    bytes: [u8; MAX_HEADER],
    length: usize,
}

/// A chunk's header.
pub(super) struct ChunkHeader {
    pub(super) chunk_stream: u32,
    pub(super) format: Format,
}

/// What a header says by its format, 0 to 3. In formats 0 to 2, `extended` says that the timestamp was written in four bytes.
pub(super) enum Format {
    Full { timestamp: u32, extended: bool, length: usize, kind: u8, stream: u32 },
    SameStream { delta: u32, extended: bool, length: usize, kind: u8 },
    Delta { delta: u32, extended: bool },
    Continued,
}

impl HeaderBuffer {
    /// Takes bytes of `input` until the header is complete, and returns it then, and starts anew.
    pub(super) fn receive(&mut self, input: &mut &[u8]) -> Option<ChunkHeader> {
        loop {
            let needed = self.needed();
            if self.length == needed {
                let header = parse(self.received());
                self.length = 0;
                return header;
            }
            let (piece, rest) = input.split_at(input.len().min(needed - self.length));
            if piece.is_empty() {
                return None;
            }
            self.bytes[self.length..self.length + piece.len()].copy_from_slice(piece);
            self.length += piece.len();
            *input = rest;
        }
    }

    fn received(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Length of the header, as far as it is known by now.
    fn needed(&self) -> usize {
        let received = self.received();
        let Some(&first) = received.first() else { return 1 };
        let basic = basic_length(first);
        let base = basic + message_length(first);
        match received.get(basic..basic + 3) {
            Some(field) if message_length(first) > 0 && big_endian(field) == EXTENDED => base + 4,
            _ => base,
        }
    }
}

fn basic_length(first: u8) -> usize {
    match first & 0x3f {
        0 => 2,
        1 => 3,
        _ => 1,
    }
}

fn message_length(first: u8) -> usize {
    match first >> 6 {
        0 => 11,
        1 => 7,
        2 => 3,
        _ => 0,
    }
}

/// Parses a complete header.
fn parse(bytes: &[u8]) -> Option<ChunkHeader> {
    let first = *bytes.first()?;
    let (basic, fields) = bytes.split_at_checked(basic_length(first))?;
    let chunk_stream = match basic {
        [_, low] => 64 + u32::from(*low),
        [_, low, high] => 64 + u32::from(*low) + 256 * u32::from(*high),
        _ => u32::from(first & 0x3f),
    };
    let (fields, extended) = fields.split_at_checked(message_length(first))?;
    let is_extended = !extended.is_empty();
    let time = |field| if is_extended { big_endian(extended) } else { big_endian(field) };
    let format = match fields {
        [t1, t2, t3, l1, l2, l3, kind, stream @ ..] => {
            let timestamp = time(&[*t1, *t2, *t3]);
            let length = big_endian(&[*l1, *l2, *l3]) as usize;
            match stream.first_chunk() {
                Some(stream) => {
                    let stream = u32::from_le_bytes(*stream);
                    Format::Full { timestamp, extended: is_extended, length, kind: *kind, stream }
                }
                None => Format::SameStream { delta: timestamp, extended: is_extended, length, kind: *kind },
            }
        }
        [] => Format::Continued,
        delta => Format::Delta { delta: time(delta), extended: is_extended },
    };
    Some(ChunkHeader { chunk_stream, format })
}

fn big_endian(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
