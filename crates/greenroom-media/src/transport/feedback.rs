//! A subscriber's transport-wide feedback: finds the sequence numbers in sent packets and the reports in received ones, as the
//! WebRTC library has no interface to either.

use super::srtp;
use crate::bandwidth::{BandwidthEstimator, parse_rtcp};
use crate::sdp::negotiated::NegotiatedSection;
use std::time::Instant;
use str0m::Rtc;
use str0m::rtp::Extension;

/// Profiles of the header extension (RFC 8285): of one-byte headers, and of two-byte headers without the application bits.
const ONE_BYTE: u16 = 0xbede;
const TWO_BYTE: u16 = 0x1000;

#[derive(Debug)]
pub(super) struct TransportFeedback {
    /// The number of the header extension.
    extension: u8,
    estimator: BandwidthEstimator,
}

impl TransportFeedback {
    /// `None` if the subscriber did not negotiate it.
    pub(super) fn negotiated(now: Instant, rtc: &Rtc, sections: &[NegotiatedSection]) -> Option<TransportFeedback> {
        let mut media = sections.iter().filter_map(|section| rtc.media(section.mid));
        let extension = media.find_map(|media| media.remote_extmap().id_of(Extension::TransportSequenceNumber))?;
        Some(TransportFeedback { extension, estimator: BandwidthEstimator::new(now) })
    }

    pub(super) fn record_sent(&mut self, now: Instant, packet: &[u8]) {
        if let Some(number) = sequence_number(packet, self.extension) {
            self.estimator.record_sent(now, number, packet.len());
        }
    }

    /// Bits per second that the network carries.
    pub(super) fn estimate(&self) -> u64 {
        self.estimator.estimate()
    }

    pub(super) fn start_probe(&mut self, now: Instant, bitrate: u64) {
        self.estimator.start_probe(now, bitrate);
    }

    pub(super) fn is_probe_sent(&self, now: Instant) -> bool {
        self.estimator.is_probe_sent(now)
    }

    /// Calls the library for a received RTCP packet, and reads the feedback that it decrypts. Returns the new
    /// estimate of the bandwidth, if there is one.
    pub(super) fn observe<T>(&mut self, now: Instant, packet: &[u8], receive: impl FnOnce() -> T) -> (T, Option<u64>) {
        srtp::capture_next();
        let result = receive();
        // The first packet's header is not encrypted (RFC 3711, section 3.4).
        let mut compound = packet.first_chunk::<8>().map_or(Vec::new(), |header| header.to_vec());
        compound.extend(srtp::take_captured());
        let feedback = parse_rtcp(&compound);
        let estimate = feedback.iter().filter_map(|feedback| self.estimator.record_feedback(now, feedback)).last();
        (result, estimate)
    }
}

/// The transport-wide sequence number in the header of an RTP packet, which is not encrypted.
fn sequence_number(packet: &[u8], extension: u8) -> Option<u16> {
    let first = packet.first()?;
    if first & 0x10 == 0 {
        return None;
    }
    let start = 12 + 4 * usize::from(first & 0x0f);
    let (header, rest) = packet.get(start..)?.split_first_chunk::<4>()?;
    let profile = u16::from_be_bytes([header[0], header[1]]);
    let mut elements = rest.get(..4 * usize::from(u16::from_be_bytes([header[2], header[3]])))?;
    while let Some((first, rest)) = elements.split_first() {
        let (id, length, rest) = match profile {
            // Padding.
            _ if *first == 0 => {
                elements = rest;
                continue;
            }
            ONE_BYTE => (first >> 4, usize::from(first & 0x0f) + 1, rest),
            profile if profile & 0xfff0 == TWO_BYTE => {
                let (length, rest) = rest.split_first()?;
                (*first, usize::from(*length), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        if id == extension {
            return Some(u16::from_be_bytes(*value.first_chunk()?));
        }
        elements = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_among_other_extensions() {
        let mut packet = vec![0x91, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 9, 9, 9, 9];
        packet.extend([0xbe, 0xde, 0, 2, 0x10, 5, 0, 0x31, 0xab, 0xcd, 0, 0, 77, 78]);
        assert_eq!(sequence_number(&packet, 3), Some(0xabcd));
        assert_eq!(sequence_number(&packet, 4), None);
        assert_eq!(sequence_number(&packet[..20], 3), None);
        packet[0] = 0x81;
        assert_eq!(sequence_number(&packet, 3), None);
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        packet.extend([0x10, 0, 0, 2, 1, 0, 3, 2, 0xab, 0xcd, 0, 0, 77]);
        assert_eq!(sequence_number(&packet, 3), Some(0xabcd));
    }
}
