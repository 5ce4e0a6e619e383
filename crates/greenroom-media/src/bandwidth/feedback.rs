//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1) in decrypted RTCP packets.

use std::time::Duration;

/// Packet type and format of the feedback in RTCP.
const TRANSPORT_FEEDBACK: (u8, u8) = (205, 15);
/// Most packets of one feedback that are taken: a second of media. A few bytes can state far more.
const MAX_PACKETS: u16 = 1_024;
/// Units of the reference time and of the deltas.
const REFERENCE_UNIT: Duration = Duration::from_millis(64);
const DELTA_UNIT: Duration = Duration::from_micros(250);

/// The fate of consecutive packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feedback {
    first_number: u16,
    /// When each packet arrived, on the receiver's clock; `None` if it did not.
    arrivals: Vec<Option<Duration>>,
}

impl Feedback {
    #[cfg(test)]
    pub(super) fn new(first_number: u16, arrivals: Vec<Option<Duration>>) -> Feedback {
        Feedback { first_number, arrivals }
    }

    /// Transport-wide sequence numbers and arrivals.
    pub(crate) fn packets(&self) -> impl Iterator<Item = (u16, Option<Duration>)> {
        let number = |index: usize| self.first_number.wrapping_add(index as u16);
        self.arrivals.iter().enumerate().map(move |(index, arrival)| (number(index), *arrival))
    }

    /// Parses the body of the RTCP packet, after sender and media SSRC.
    fn parse(body: &[u8]) -> Option<Feedback> {
        let (header, mut rest) = body.split_at_checked(8)?;
        let first_number = u16::from_be_bytes([header[0], header[1]]);
        let count = u16::from_be_bytes([header[2], header[3]]);
        if count > MAX_PACKETS {
            return None;
        }
        let reference = u32::from_be_bytes([0, header[4], header[5], header[6]]);
        let mut symbols = Vec::with_capacity(usize::from(count));
        while symbols.len() < usize::from(count) {
            let (chunk, after) = rest.split_first_chunk::<2>()?;
            rest = after;
            push_symbols(u16::from_be_bytes(*chunk), usize::from(count), &mut symbols);
        }
        let mut time = (REFERENCE_UNIT * reference).as_micros() as i64;
        let mut arrivals = Vec::with_capacity(symbols.len());
        for symbol in symbols {
            let delta = match symbol {
                0 => {
                    arrivals.push(None);
                    continue;
                }
                1 => {
                    let (delta, after) = rest.split_first()?;
                    rest = after;
                    i64::from(*delta)
                }
                2 => {
                    let (delta, after) = rest.split_first_chunk::<2>()?;
                    rest = after;
                    i64::from(i16::from_be_bytes(*delta))
                }
                _ => return None,
            };
            time += delta * DELTA_UNIT.as_micros() as i64;
            arrivals.push(Some(Duration::from_micros(u64::try_from(time).ok()?)));
        }
        Some(Feedback { first_number, arrivals })
    }
}

/// Adds the status symbols of a chunk, up to `count` in all.
fn push_symbols(chunk: u16, count: usize, symbols: &mut Vec<u8>) {
    let left = count - symbols.len();
    if chunk & 0x8000 == 0 {
        let symbol = (chunk >> 13 & 3) as u8;
        symbols.extend(std::iter::repeat_n(symbol, usize::from(chunk & 0x1fff).min(left)));
        // An empty run would never end the feedback.
        if chunk & 0x1fff == 0 {
            symbols.extend(std::iter::repeat_n(3, left));
        }
    } else if chunk & 0x4000 == 0 {
        symbols.extend((0..14).rev().map(|bit| (chunk >> bit & 1) as u8).take(left));
    } else {
        symbols.extend((0..7).rev().map(|pair| (chunk >> (2 * pair) & 3) as u8).take(left));
    }
}

/// The transport-wide feedback of a compound RTCP packet. What is malformed or of another kind is skipped.
pub(crate) fn parse_rtcp(mut compound: &[u8]) -> Vec<Feedback> {
    let mut found = Vec::new();
    while let Some((header, _)) = compound.split_first_chunk::<4>() {
        let length = 4 + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
        let Some((packet, rest)) = compound.split_at_checked(length) else { break };
        compound = rest;
        if (header[1], header[0] & 0x1f) == TRANSPORT_FEEDBACK {
            found.extend(packet.get(12..).and_then(Feedback::parse));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An RTCP packet with the feedback.
    pub(crate) fn packet(body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
        packet.extend(body);
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet[3] = (packet.len() / 4 - 1) as u8;
        packet
    }

    fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    #[test]
    fn run_lengths_and_vectors_are_parsed() {
        // A run of two small deltas, then 14 one-bit symbols of which the first and the third packet arrived.
        let body = [0xff, 0xff, 0, 6, 0, 0, 10, 1, 0x20, 2, 0xa8, 0, 4, 8, 40, 80];
        let feedback = &parse_rtcp(&packet(&body))[0];
        let packets: Vec<_> = feedback.packets().collect();
        let expected = [(65_535, ms(641)), (0, ms(643)), (1, ms(653)), (2, None), (3, ms(673)), (4, None)];
        assert_eq!(packets, expected);
        // Two-bit symbols: a large negative delta, a lost packet.
        let body = [0, 5, 0, 2, 0, 0, 10, 1, 0xe0, 0, 0xff, 0xfc];
        let packets: Vec<_> = parse_rtcp(&packet(&body))[0].packets().collect();
        assert_eq!(packets, [(5, ms(639)), (6, None)]);
    }

    #[test]
    fn other_packets_of_a_compound_are_skipped() {
        let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, 1];
        compound.extend(packet(&[0, 5, 0, 1, 0, 0, 10, 1, 0x20, 1, 4]));
        compound.extend([0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
        assert_eq!(parse_rtcp(&compound).len(), 1);
    }

    #[test]
    fn malformed_feedback_is_refused() {
        let valid = packet(&[0, 5, 0, 2, 0, 0, 10, 1, 0xe0, 0, 0xff, 0xfc]);
        for length in 0..valid.len() {
            assert_eq!(parse_rtcp(&valid[..length]), []);
        }
        // More packets than status chunks, an empty run, the reserved symbol, an arrival before the clock's start.
        let refused: [&[u8]; 4] = [
            &[0, 5, 0, 200, 0, 0, 10, 1, 0x20, 2, 1, 1],
            &[0, 5, 0, 2, 0, 0, 10, 1, 0x20, 0, 1, 1],
            &[0, 5, 0, 1, 0, 0, 10, 1, 0x60, 1, 1, 1],
            &[0, 5, 0, 1, 0, 0, 0, 1, 0x40, 1, 0x80, 0],
        ];
        for body in refused {
            assert_eq!(parse_rtcp(&packet(body)), [], "{body:?}");
        }
    }
}
