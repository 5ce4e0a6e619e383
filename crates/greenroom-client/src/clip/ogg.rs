//! Opus in Ogg files (RFC 3533, RFC 7845): pages of segments, joined into packets.

use super::Frame;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of a page header before its segment table.
const PAGE_HEADER: usize = 27;
/// Maximum duration of an Opus packet: 120 ms.
const MAX_PACKET_TICKS: u32 = 5760;

/// Reads every packet of the first Opus stream of a file.
pub fn read(bytes: &[u8]) -> Result<Vec<Frame>, String> {
    let mut packets = packets(bytes)?;
    let head = packets.pop_front().unwrap_or_default();
    // Magic (8), version, channels, pre-skip (2), rate (4), gain (2), mapping family.
    if head.get(18).is_none_or(|family| *family != 0) {
        return Err("it has more than two channels, or a channel mapping".into());
    }
    // Comments.
    packets.pop_front();
    let frames = packets.into_iter().filter(|packet| !packet.is_empty()).map(|packet| {
        let ticks = duration(&packet).ok_or("it has an invalid Opus packet")?;
        Ok(Frame { data: Arc::from(packet), ticks, key: true })
    });
    let frames = frames.collect::<Result<Vec<_>, String>>()?;
    if frames.is_empty() {
        return Err("it has no audio packets".into());
    }
    Ok(frames)
}

/// The packets of the first Opus stream.
fn packets(mut bytes: &[u8]) -> Result<VecDeque<Vec<u8>>, String> {
    let mut stream = None;
    let mut packets = VecDeque::new();
    let mut open = Vec::new();
    while !bytes.is_empty() {
        let page = Page::read(bytes).ok_or("it is truncated or damaged")?;
        bytes = &bytes[page.length..];
        if stream.is_none() && page.body.starts_with(b"OpusHead") {
            stream = Some(page.serial);
        }
        if stream != Some(page.serial) {
            continue;
        }
        let mut at = 0;
        for lace in page.table {
            let size = usize::from(*lace);
            open.extend_from_slice(&page.body[at..at + size]);
            at += size;
            // A segment of less than 255 bytes ends its packet.
            if size < 255 {
                packets.push_back(std::mem::take(&mut open));
            }
        }
    }
    match stream {
        Some(_) => Ok(packets),
        None => Err("it has no Opus stream; only Opus is supported in Ogg files".into()),
    }
}

struct Page<'a> {
    serial: u32,
    table: &'a [u8],
    body: &'a [u8],
    length: usize,
}

impl Page<'_> {
    fn read(bytes: &[u8]) -> Option<Page<'_>> {
        let head = bytes.get(..PAGE_HEADER).filter(|head| head.starts_with(b"OggS\0"))?;
        let table = bytes.get(PAGE_HEADER..PAGE_HEADER + usize::from(head[26]))?;
        let start = PAGE_HEADER + table.len();
        let length = start + table.iter().map(|lace| usize::from(*lace)).sum::<usize>();
        let serial = u32::from_le_bytes(head[14..18].try_into().ok()?);
        Some(Page { serial, table, body: bytes.get(start..length)?, length })
    }
}

/// Duration of a packet in 48 kHz ticks, by its TOC byte (RFC 6716, 3.1), and its frame count byte if it has one.
fn duration(packet: &[u8]) -> Option<u32> {
    let first = *packet.first()?;
    let (config, code) = (usize::from(first >> 3), first & 3);
    let frame = match config {
        0..12 => [480, 960, 1920, 2880][config % 4],
        12..16 => [480, 960][config % 2],
        _ => [120, 240, 480, 960][config % 4],
    };
    let count = match code {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    Some(frame * count).filter(|ticks| (1..=MAX_PACKET_TICKS).contains(ticks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(serial: u32, laces: &[u8], body: &[u8]) -> Vec<u8> {
        let mut bytes = b"OggS\0\0".to_vec();
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&serial.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.push(u8::try_from(laces.len()).unwrap());
        bytes.extend_from_slice(laces);
        bytes.extend_from_slice(body);
        bytes
    }

    fn opening(family: u8) -> Vec<u8> {
        let head = [&b"OpusHead\x01\x01"[..], &[0; 8], &[family]].concat();
        [page(7, &[19], &head), page(7, &[8], b"OpusTags")].concat()
    }

    #[test]
    fn packets_may_span_segments_and_pages_and_other_streams_are_ignored() {
        let long = [&[0xfc][..], &[1; 299]].concat();
        let bytes = [
            opening(0),
            page(7, &[255], &long[..255]),
            page(8, &[3], b"abc"),
            page(7, &[45, 2], &[&long[255..], &[0x78, 0]].concat()),
        ];
        let frames = read(&bytes.concat()).unwrap();
        assert_eq!(
            frames.iter().map(|frame| (frame.data.len(), frame.ticks)).collect::<Vec<_>>(),
            [(300, 960), (2, 960)]
        );
    }

    #[test]
    fn the_duration_of_a_packet_is_that_of_its_frames() {
        for (packet, ticks) in [
            (&[0x00][..], Some(480)),
            (&[0x18], Some(2880)),
            (&[0x68], Some(960)),
            (&[0xe1], Some(240)),
            (&[0xff, 0x03], Some(2880)),
            (&[0xff], None),
            (&[0xff, 0x3f], None),
            (&[0xff, 0x00], None),
            (&[], None),
        ] {
            assert_eq!(duration(packet), ticks, "{packet:x?}");
        }
    }

    #[test]
    fn invalid_files_are_rejected_with_the_reason() {
        for (bytes, part) in [
            (page(1, &[7], b"\x01vorbis"), "no Opus"),
            (opening(1), "channels"),
            (opening(0), "no audio"),
            (opening(0)[..30].to_vec(), "truncated"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (read(&bytes), read(&[opening(0), bytes].concat()));
        }
    }
}
