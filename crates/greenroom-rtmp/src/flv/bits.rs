/// Reads bits of a NAL unit, in which `00 00 03` stands for `00 00`.
pub(super) struct BitReader<'a> {
    rest: &'a [u8],
    zeros: u8,
    byte: u8,
    /// Bits of `byte` that have not been read.
    left: u8,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { rest: bytes, zeros: 0, byte: 0, left: 0 }
    }

    pub(super) fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            self.byte = self.next_byte()?;
            self.left = 8;
        }
        self.left -= 1;
        Some(u32::from(self.byte >> self.left & 1))
    }

    /// An unsigned number, `ue(v)`, of less than 2^16.
    pub(super) fn exp_golomb(&mut self) -> Option<u32> {
        let mut length = 0;
        while self.bit()? == 0 {
            length += 1;
            if length > 15 {
                return None;
            }
        }
        let mut number = 1;
        for _ in 0..length {
            number = number << 1 | self.bit()?;
        }
        Some(number - 1)
    }

    fn next_byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        if self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            return self.next_byte();
        }
        self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        Some(byte)
    }
}
