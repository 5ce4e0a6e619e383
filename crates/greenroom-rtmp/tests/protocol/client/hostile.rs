use super::support::{Scripted, client, client_events, cut, status};
use crate::support::bytes::{COMMAND, Header, SET_CHUNK_SIZE, VIDEO, control, handshake, message};
use crate::support::{KEY, amf, command};
use greenroom_rtmp::{ClientEvent, Phase, ProtocolError};
use proptest::prelude::*;

const PING: [u8; 6] = [0, 6, 0, 0, 0, 1];

fn bad(bytes: &[u8]) -> &'static str {
    let mut scripted = Scripted::publishing();
    let error = scripted.client.receive(bytes).unwrap_err();
    assert_eq!(scripted.client.phase(), Phase::Ended);
    assert_eq!(scripted.client.receive(b"more"), Err(error.clone()));
    assert_eq!(scripted.events(), []);
    error.label
}

#[test]
fn invalid_messages_are_errors() {
    let deep = |start: &[u8]| [&amf::string("onStatus"), &amf::number(0.0)[..], &start.repeat(100)].concat();
    let header = Header { format: 0, chunk_stream: 4, time: 0, length: 64 * 1024 + 1, kind: VIDEO, stream: 1 };
    for (bytes, label) in [
        (control(SET_CHUNK_SIZE, &[0; 4]), "chunk_size"),
        (control(SET_CHUNK_SIZE, &[1]), "control_message"),
        (control(4, &[0]), "control_message"),
        (control(6, &[0]), "control_message"),
        (header.bytes(), "message_size"),
        (Header { format: 3, chunk_stream: 50, ..header }.bytes(), "chunk_header"),
        (message(3, COMMAND, 0, 0, &[255]), "amf"),
        (message(3, COMMAND, 0, 0, &deep(&[3, 0, 1, b'a'])), "amf"),
        (message(3, COMMAND, 0, 0, &deep(&[10, 0, 0, 0, 1])), "amf"),
        (message(3, COMMAND, 0, 0, &[10, 255, 255, 255, 255, 5]), "amf"),
    ] {
        assert_eq!(bad(&bytes), label);
    }
}

#[test]
fn chunk_streams_are_bounded() {
    let bytes: Vec<u8> = (100..200).flat_map(|id| message(id, VIDEO, 1, 0, b"v")).collect();
    assert_eq!(bad(&bytes), "chunk_streams");
}

#[test]
fn incomplete_messages_are_bounded_together() {
    let header = Header { format: 0, chunk_stream: 0, time: 0, length: 60_000, kind: VIDEO, stream: 1 };
    let start = |chunk_stream| [Header { chunk_stream, ..header }.bytes(), vec![0; 30_000]].concat();
    let bytes = [control(SET_CHUNK_SIZE, &30_000_u32.to_be_bytes()), start(10), start(11), start(12)].concat();
    assert_eq!(bad(&bytes), "partial_messages");
}

#[test]
fn a_server_that_asks_without_reading_is_an_error() {
    let pings = control(4, &PING).repeat(1_000);
    let mut reading = Scripted::publishing();
    let mut deaf = Scripted::publishing();
    let mut failure = None;
    for _ in 0..100 {
        reading.send(&pings);
        assert_eq!(reading.sent().len(), 1_000);
        failure = deaf.client.receive(&pings).err().or(failure);
    }
    assert_eq!(failure.unwrap().label, "unread_answers");
    assert!(deaf.client.queued_bytes() < 300_000);
}

#[test]
fn media_that_wait_do_not_count_as_answers() {
    let mut scripted = Scripted::publishing();
    scripted.client.send_video(0, &[0; 1_000_000]).unwrap();
    scripted.send(&control(4, &PING));
    assert_eq!(scripted.sent().len(), 2);
}

#[test]
fn nothing_is_received_after_the_end() {
    let mut scripted = Scripted::publishing();
    scripted.on_status("error", "NetStream.Publish.Denied");
    assert_eq!(scripted.events().len(), 1);
    scripted.send(&[0xff; 10_000]);
    assert_eq!((scripted.events(), scripted.sent()), (vec![], vec![]));
}

type Outcome = (Vec<ClientEvent>, usize, Phase, Option<ProtocolError>);

/// What a client does, with the number of bytes that it sent.
fn outcome(pieces: &[&[u8]]) -> Outcome {
    let mut client = client();
    let (mut received, mut sent, mut failure) = (Vec::new(), 0, None);
    for piece in pieces {
        failure = client.receive(piece).err();
        received.extend(client_events(&mut client));
        sent += client.poll_transmit().map_or(0, |bytes| bytes.len());
    }
    (received, sent, client.phase(), failure)
}

/// Mostly valid input: parts of messages that a server sends, some of them with wrong bytes.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let success = status("status", "NetConnection.Connect.Success", "");
    let parts = prop_oneof![
        Just(command(0, "_result", 1.0, &[amf::object(&[]), success])),
        Just(command(0, "_result", 4.0, &[amf::null(), amf::number(1.0)])),
        Just(command(1, "onStatus", 0.0, &[amf::null(), status("status", "NetStream.Publish.Start", "")])),
        Just(command(1, "onStatus", 0.0, &[amf::null(), status("error", "NetStream.Publish.BadName", KEY)])),
        Just(command(0, "_error", 2.0, &[])),
        Just(control(SET_CHUNK_SIZE, &5_000_u32.to_be_bytes())),
        Just(control(4, &PING)),
        any::<u32>().prop_map(|bandwidth| control(6, &bandwidth.to_be_bytes())),
        (any::<u32>(), 0..3_000usize).prop_map(|(time, length)| message(4, VIDEO, 1, time, &vec![1; length])),
        (0..4u8, 2..70u32, any::<u32>(), 0..300usize, 0..25u8).prop_map(
            |(format, chunk_stream, time, length, kind)| {
                Header { format, chunk_stream, time, length, kind, stream: 1 }.bytes()
            }
        ),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(parts, 0..20).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_bytes_have_the_same_outcome_in_any_pieces(
        is_greeted in prop::bool::weighted(0.9),
        bytes in input(),
        lengths in prop::collection::vec(1..2_000usize, 1..12),
    ) {
        let start = if is_greeted { handshake() } else { Vec::new() };
        let bytes = [start, control(SET_CHUNK_SIZE, &5_000_u32.to_be_bytes()), bytes].concat();
        let whole = outcome(&[&bytes]);
        prop_assert_eq!(outcome(&cut(&bytes, &lengths)), whole.clone());
        prop_assert_eq!(outcome(&cut(&bytes, &[1])), whole);
    }
}
