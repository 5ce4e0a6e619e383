//! Bytes of an RTMP server to which a client publishes: the outcome does not depend on the pieces in which they come, and no more is sent
//! or kept than goes with what was received.
#![no_main]

use greenroom_rtmp::{ClientConnection, ClientEvent, Phase, ProtocolError, PublishUrl};
use libfuzzer_sys::fuzz_target;

const CONNECTED: &[u8] = b"\x03\0\0\0\0\0\x14\x14\0\0\0\0\x02\0\x07_result\0\x3f\xf0\0\0\0\0\0\0\x05";
const CREATED: &[u8] =
    b"\x03\0\0\0\0\0\x1d\x14\0\0\0\0\x02\0\x07_result\0\x40\x10\0\0\0\0\0\0\x05\0\x3f\xf0\0\0\0\0\0\0";
const STARTED: &[u8] = b"\x03\0\0\0\0\0\x39\x14\x01\0\0\0\x02\0\x08onStatus\0\0\0\0\0\0\0\0\0\x05\
    \x03\0\x04code\x02\0\x17NetStream.Publish.Start\0\0\x09";

/// Far more than the longest answer to a byte of a message.
const MAX_ANSWER: usize = 64;

/// The handshake and the client's commands.
const MAX_SETUP: usize = 2 * 1536 + 2_048;

#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<ClientEvent>,
    phase: Phase,
    error: Option<ProtocolError>,
}

/// What a client does that sends a frame whenever it may.
fn outcome<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let url = PublishUrl::with_key("rtmp://host/app", "key").expect("a valid URL");
    let mut client = ClientConnection::new(url.options("fuzz"), [7; 32]);
    let (mut events, mut error, mut received, mut sent) = (Vec::new(), None, 0, 0);
    for piece in pieces {
        received += piece.len();
        error = client.receive(piece).err();
        events.extend(std::iter::from_fn(|| client.poll_event()));
        sent += client.poll_transmit().map_or(0, |bytes| bytes.len());
        assert_eq!(client.send_video(u32::MAX, &[0; 10]).is_ok(), client.phase() == Phase::Publishing);
        client.poll_transmit();
    }
    assert!(sent <= MAX_SETUP + MAX_ANSWER * received);
    assert!(events.len() <= 2 && (error.is_none() || client.phase() == Phase::Ended));
    Outcome { events, phase: client.phase(), error }
}

// What precedes the bytes (nothing, the handshake, or an accepted publication), and the length of pieces.
fuzz_target!(|data: &[u8]| {
    let [start, length, bytes @ ..] = data else { return };
    let handshake = [&[3][..], &[0; 2 * 1536]].concat();
    let input = match start % 3 {
        0 => bytes.to_vec(),
        1 => [&handshake, bytes].concat(),
        _ => [&handshake, CONNECTED, CREATED, STARTED, bytes].concat(),
    };
    let whole = outcome(std::iter::once(&input[..]));
    assert!(start % 3 != 2 || matches!(whole.events[..], [ClientEvent::Publishing, ..]));
    assert_eq!(outcome(input.chunks(usize::from(*length) + 1)), whole);
});
