//! RTP payloads of H.264 (RFC 6184), packetization mode 1.

use super::{IDR_SLICE, SEQUENCE_PARAMETERS};
use std::sync::Arc;

/// Bytes of the largest payload that [`packetize`] makes by default: with RTP, its header extensions and SRTP a datagram has at
/// most 1,200.
pub const MAX_PAYLOAD: usize = 1_150;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const NAL_TYPE: u8 = 0x1f;
/// `nal_ref_idc`.
const IMPORTANCE: u8 = 0x60;
const START: u8 = 0x80;
const END: u8 = 0x40;

/// The payloads of an access unit, in order. NAL units that fit share a payload with others of their kind (STAP-A) if they are
/// parameter sets, have one of their own otherwise, and are split if they are larger (FU-A). Empty NAL units are left out.
pub fn packetize(nal_units: &[&[u8]], max_payload: usize) -> Vec<Arc<[u8]>> {
    let mut payloads = Vec::new();
    let mut rest = nal_units;
    while let Some((nal, after)) = rest.split_first() {
        let together = aggregated(rest, max_payload);
        if together > 1 {
            payloads.push(aggregate(&rest[..together]));
            rest = &rest[together..];
            continue;
        }
        rest = after;
        match nal.split_first() {
            None => {}
            Some(_) if nal.len() <= max_payload => payloads.push(Arc::from(*nal)),
            Some((header, body)) => fragment(*header, body, max_payload, &mut payloads),
        }
    }
    payloads
}

/// How many parameter sets at the front fit into one payload.
fn aggregated(nal_units: &[&[u8]], max_payload: usize) -> usize {
    let mut length = 1;
    let fits = |nal: &&&[u8]| {
        length += 2 + nal.len();
        nal.first().is_some_and(|header| matches!(header & NAL_TYPE, 7 | 8)) && length <= max_payload
    };
    nal_units.iter().take_while(fits).count()
}

fn aggregate(nal_units: &[&[u8]]) -> Arc<[u8]> {
    let importance =
        nal_units.iter().filter_map(|nal| nal.first()).map(|header| header & IMPORTANCE).max().unwrap_or(0);
    let mut payload = vec![importance | STAP_A];
    for nal in nal_units {
        payload.extend_from_slice(&(nal.len() as u16).to_be_bytes());
        payload.extend_from_slice(nal);
    }
    Arc::from(payload)
}

fn fragment(header: u8, body: &[u8], max_payload: usize, payloads: &mut Vec<Arc<[u8]>>) {
    // Fragments of about the same size.
    let room = max_payload.saturating_sub(2).max(1);
    let size = body.len().div_ceil(body.len().div_ceil(room).max(1)).max(1);
    let last = body.len().div_ceil(size).saturating_sub(1);
    for (index, part) in body.chunks(size).enumerate() {
        let start = if index == 0 { START } else { 0 };
        let end = if index == last { END } else { 0 };
        let mut payload = Vec::with_capacity(part.len() + 2);
        payload.extend_from_slice(&[header & !NAL_TYPE | FU_A, start | end | header & NAL_TYPE]);
        payload.extend_from_slice(part);
        payloads.push(Arc::from(payload));
    }
}

/// Whether a payload begins a key frame, or what belongs to one: parameter sets or an IDR picture.
pub fn starts_key_frame(payload: &[u8]) -> bool {
    let is_key = |kind: u8| kind == IDR_SLICE || kind == SEQUENCE_PARAMETERS;
    match payload {
        [first, header, ..] if first & NAL_TYPE == FU_A => header & START != 0 && is_key(header & NAL_TYPE),
        [first, _, _, unit, ..] if first & NAL_TYPE == STAP_A => is_key(unit & NAL_TYPE),
        [first, ..] => is_key(first & NAL_TYPE),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NAL units of payloads, as a receiver puts them together.
    fn depacketize(payloads: &[Arc<[u8]>]) -> Vec<Vec<u8>> {
        let mut nal_units: Vec<Vec<u8>> = Vec::new();
        let mut open = false;
        for payload in payloads {
            match payload[0] & NAL_TYPE {
                STAP_A => {
                    let mut rest = &payload[1..];
                    while let [high, low, tail @ ..] = rest {
                        let (nal, after) = tail.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                        nal_units.push(nal.to_vec());
                        rest = after;
                    }
                    assert!(rest.is_empty());
                }
                FU_A => {
                    assert_eq!(payload[1] & START == 0, open, "only the first fragment has the start bit");
                    match open {
                        false => {
                            nal_units.push([&[payload[0] & !NAL_TYPE | payload[1] & NAL_TYPE], &payload[2..]].concat())
                        }
                        true => nal_units.last_mut().unwrap().extend_from_slice(&payload[2..]),
                    }
                    open = payload[1] & END == 0;
                }
                _ => nal_units.push(payload.to_vec()),
            }
            assert!(!open || payload[0] & NAL_TYPE == FU_A);
        }
        assert!(!open, "the last fragment has the end bit");
        nal_units
    }

    fn nal(header: u8, length: usize) -> Vec<u8> {
        std::iter::once(header).chain((1..length).map(|at| at as u8 ^ header)).collect()
    }

    #[test]
    fn an_access_unit_comes_back_from_its_payloads() {
        for slice in [1, 2, 99, 100, 101, 102, 196, 197, 198, 199, 5_000] {
            let units = [nal(0x67, 20), nal(0x68, 5), nal(0x06, 30), nal(0x65, slice), nal(0x41, 1), nal(0x61, slice)];
            let slices: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
            let payloads = packetize(&slices, 100);
            assert!(payloads.iter().all(|payload| payload.len() <= 100), "{slice}");
            assert_eq!(depacketize(&payloads), units, "{slice}");
        }
    }

    #[test]
    fn only_parameter_sets_share_a_payload_and_only_if_they_fit() {
        let (sps, pps, idr) = (nal(0x67, 20), nal(0x28, 5), nal(0x65, 10));
        let payloads = packetize(&[&sps, &pps, &idr], 30);
        let expected = [&[0x78, 0, 20][..], &sps, &[0, 5], &pps].concat();
        assert_eq!(payloads, [Arc::from(expected), Arc::from(idr.clone())]);
        let payloads = packetize(&[&sps, &pps, &[], &idr], 29);
        assert_eq!(payloads, [&sps[..], &pps, &idr].map(Arc::from));
        assert!(packetize(&[&[]], 100).is_empty() && packetize(&[], 100).is_empty());
    }

    #[test]
    fn a_large_nal_unit_is_split_evenly() {
        let unit = nal(0x65, 2_301);
        let payloads = packetize(&[&unit], 1_150);
        assert_eq!(payloads.iter().map(|payload| payload.len()).collect::<Vec<_>>(), [769, 769, 768]);
        assert_eq!(
            payloads.iter().map(|payload| [payload[0], payload[1]]).collect::<Vec<_>>(),
            [[0x7c, 0x85], [0x7c, 0x05], [0x7c, 0x45]]
        );
    }

    #[test]
    fn the_first_payload_of_a_key_frame_is_recognized() {
        for (payload, key) in [
            (&[0x65, 0x88][..], true),
            (&[0x41, 0x9a], false),
            (&[0x67, 0x42], true),
            (&[0x78, 0, 1, 0x67], true),
            (&[0x78, 0, 1, 0x06], false),
            (&[0x7c, 0x85, 0x88], true),
            (&[0x7c, 0x05], false),
            (&[0x7c], false),
            (&[], false),
        ] {
            assert_eq!(starts_key_frame(payload), key, "{payload:02x?}");
        }
    }
}
