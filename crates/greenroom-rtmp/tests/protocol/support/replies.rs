/// A message of the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub kind: u8,
    pub stream: u32,
    pub body: Vec<u8>,
}

impl Reply {
    /// A command with this name that contains this text, such as a status code.
    pub fn is_command(&self, name: &str, text: &str) -> bool {
        let start = [&[2, 0, name.len() as u8], name.as_bytes()].concat();
        self.kind == 20 && self.body.starts_with(&start) && self.contains(text)
    }

    pub fn contains(&self, text: &str) -> bool {
        text.is_empty() || self.body.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// Reads what the server sends: the handshake, and messages in chunks of formats 0 and 3, one after the other.
pub struct Replies {
    bytes: Vec<u8>,
    chunk_size: usize,
    is_greeted: bool,
}

impl Default for Replies {
    fn default() -> Replies {
        Replies { bytes: Vec::new(), chunk_size: 128, is_greeted: false }
    }
}

impl Replies {
    pub fn receive(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn take(&mut self) -> Vec<Reply> {
        if !self.is_greeted && !self.bytes.is_empty() {
            assert_eq!(self.bytes[0], 3);
            self.bytes.drain(..1 + 2 * 1536);
            self.is_greeted = true;
        }
        std::iter::from_fn(|| (!self.bytes.is_empty()).then(|| self.message())).collect()
    }

    fn message(&mut self) -> Reply {
        let header: Vec<u8> = self.bytes.drain(..12).collect();
        assert_eq!(header[0] >> 6, 0, "a message begins with format 0");
        assert_eq!(header[1..4], [0; 3], "timestamp 0");
        let length = u32::from_be_bytes([0, header[4], header[5], header[6]]) as usize;
        let mut body = Vec::new();
        while body.len() < length {
            if !body.is_empty() {
                assert_eq!(self.bytes.remove(0), 0xc0 | header[0]);
            }
            body.extend(self.bytes.drain(..self.chunk_size.min(length - body.len())));
        }
        let stream = u32::from_le_bytes(header[8..].try_into().unwrap());
        if header[7] == 1 {
            self.chunk_size = u32::from_be_bytes(body[..].try_into().unwrap()) as usize;
        }
        Reply { kind: header[7], stream, body }
    }
}
