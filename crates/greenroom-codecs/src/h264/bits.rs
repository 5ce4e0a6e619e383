/// Bits of a NAL unit's payload, without the emulation prevention bytes (section 7.3.1).
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    zeros: u8,
    current: u8,
    left: u8,
}

impl<'a> Bits<'a> {
    /// A reader of what follows a NAL unit's first byte.
    pub fn new(nal: &'a [u8]) -> Bits<'a> {
        Bits { bytes: nal, at: 1, zeros: 0, current: 0, left: 0 }
    }

    /// The next bit; `None` at the end.
    fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            let mut byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if self.zeros >= 2 && byte == 3 {
                self.zeros = 0;
                byte = *self.bytes.get(self.at)?;
                self.at += 1;
            }
            self.zeros = if byte == 0 { self.zeros + 1 } else { 0 }.min(2);
            (self.current, self.left) = (byte, 8);
        }
        self.left -= 1;
        Some(u32::from(self.current >> self.left & 1))
    }

    /// An unsigned number of at most 32 bits.
    pub fn unsigned(&mut self, bits: u8) -> Option<u32> {
        (0..bits).try_fold(0, |value, _| Some(value << 1 | self.bit()?))
    }

    /// A flag of one bit.
    pub fn flag(&mut self) -> Option<bool> {
        self.bit().map(|bit| bit == 1)
    }

    /// An Exp-Golomb code, ue(v) (section 9.1), less than 2^31.
    pub fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 30 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.unsigned(zeros)?)
    }

    /// A signed Exp-Golomb code, se(v).
    pub fn signed_golomb(&mut self) -> Option<i32> {
        let code = i64::from(self.golomb()?);
        Some((if code & 1 == 1 { code / 2 + 1 } else { -(code / 2) }) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_across_emulation_prevention() {
        let mut bits = Bits::new(&[0x67, 0b1010_0110, 0b0100_0000, 0, 0, 3, 1, 0x80]);
        assert_eq!([bits.golomb(), bits.golomb(), bits.golomb()], [Some(0), Some(1), Some(2)]);
        assert_eq!(bits.signed_golomb(), Some(2));
        let mut bits = Bits::new(&[0, 0, 0, 3, 1, 0x80]);
        assert_eq!(bits.unsigned(24), Some(1));
        assert_eq!([bits.flag(), bits.flag()], [Some(true), Some(false)]);
        assert_eq!(bits.unsigned(7), None);
        assert_eq!(Bits::new(&[0, 0, 0, 0, 0, 0, 0]).golomb(), None);
    }
}
