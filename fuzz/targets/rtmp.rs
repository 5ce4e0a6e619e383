//! Bytes of an RTMP encoder: the outcome does not depend on the pieces in which they come, and no more is sent or kept than goes with
//! what was received.
#![no_main]

use greenroom_rtmp::{Event, Limits, Phase, ProtocolError, ServerConnection};
use libfuzzer_sys::fuzz_target;

const CONNECT: &[u8] = b"\x03\0\0\0\0\0\x14\x14\0\0\0\0\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x05";
const CREATE_STREAM: &[u8] = b"\x03\0\0\0\0\0\x19\x14\0\0\0\0\x02\0\x0ccreateStream\0\x40\0\0\0\0\0\0\0\x05";
const PUBLISH: &[u8] = b"\x03\0\0\0\0\0\x18\x14\x01\0\0\0\x02\0\x07publish\0\x40\x08\0\0\0\0\0\0\x05\x02\0\x01k";

/// Far more than the longest answer to a byte of a command.
const MAX_ANSWER: usize = 256;

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    events: Vec<Event>,
    phase: Option<Phase>,
    error: Option<ProtocolError>,
}

/// What a server does that accepts every request.
fn outcome<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut server = ServerConnection::new(Limits::default(), [7; 32]);
    let (mut outcome, mut received, mut sent) = (Outcome::default(), 0, 0);
    for piece in pieces {
        received += piece.len();
        let mut result = server.receive(piece);
        if result.is_ok() && server.phase() == Phase::Requested {
            result = server.accept();
        }
        outcome.events.extend(std::iter::from_fn(|| server.poll_event()));
        sent += std::iter::from_fn(|| server.poll_transmit()).map(|bytes| bytes.len()).sum::<usize>();
        outcome.error = result.err();
    }
    let media: usize = outcome.events.iter().map(body_length).sum();
    assert!(media <= received);
    assert!(sent <= 2 * 1536 + MAX_ANSWER * received);
    outcome.phase = Some(server.phase());
    outcome
}

fn body_length(event: &Event) -> usize {
    match event {
        Event::Audio { body, .. } | Event::Video { body, .. } => {
            assert!(!body.is_empty());
            body.capacity()
        }
        _ => 0,
    }
}

// What precedes the bytes (nothing, the handshake, or a request to publish), and the length of pieces.
fuzz_target!(|data: &[u8]| {
    let [start, length, bytes @ ..] = data else { return };
    let handshake = [&[3][..], &[0; 2 * 1536]].concat();
    let input = match start % 3 {
        0 => bytes.to_vec(),
        1 => [&handshake, bytes].concat(),
        _ => [&handshake, CONNECT, CREATE_STREAM, PUBLISH, bytes].concat(),
    };
    let whole = outcome(std::iter::once(&input[..]));
    assert!(start % 3 != 2 || matches!(whole.events[..], [Event::PublishRequested(_), ..]));
    assert_eq!(outcome(input.chunks(usize::from(*length) + 1)), whole);
});
