use crate::support::bytes::{
    ACKNOWLEDGEMENT, AUDIO, COMMAND, Header, SET_CHUNK_SIZE, VIDEO, control, handshake, message,
};
use crate::support::{Encoder, Replies, Reply, amf, command, connect_object, events};
use greenroom_rtmp::{Event, Limits, Phase, ProtocolError, ServerConnection};
use proptest::prelude::*;

const FULL: Header = Header { format: 0, chunk_stream: 4, time: 0, length: 0, kind: AUDIO, stream: 1 };

#[test]
fn a_message_is_refused_by_its_announced_length() {
    let limits = Limits::default();
    for (length, is_refused) in [(limits.max_command_bytes, false), (limits.max_command_bytes + 1, true)] {
        let mut encoder = Encoder::connected(limits);
        let header = Header { length, kind: COMMAND, ..FULL }.bytes();
        let label = encoder.server.receive(&header).err().map(|error| error.label);
        assert_eq!(label, is_refused.then_some("message_size"));
    }
    for (length, is_refused) in [(limits.max_message_bytes, false), (limits.max_message_bytes + 1, true)] {
        let mut encoder = Encoder::publishing();
        let label = encoder.server.receive(&Header { length, ..FULL }.bytes()).err().map(|error| error.label);
        assert_eq!(label, is_refused.then_some("message_size"));
    }
}

#[test]
fn the_longest_message_is_received() {
    let mut encoder = Encoder::publishing();
    let body = vec![0x17; Limits::default().max_message_bytes];
    for piece in message(6, VIDEO, 1, 0, &body).chunks(10_000) {
        encoder.send(piece);
    }
    assert_eq!(encoder.events(), [Event::Video { timestamp: 0, body }]);
}

#[test]
fn chunk_streams_are_bounded() {
    let mut encoder = Encoder::publishing();
    let error = (100..).find_map(|id| encoder.server.receive(&message(id, AUDIO, 1, 0, b"a")).err()).unwrap();
    assert_eq!(error.label, "chunk_streams");
    // Two more are those of the commands.
    assert_eq!(encoder.events().len(), Limits::default().max_chunk_streams - 2);
}

#[test]
fn incomplete_messages_are_bounded_together() {
    let limits = Limits { max_message_bytes: 10_000, ..Limits::default() };
    let mut encoder = Encoder::requested(limits);
    encoder.server.accept().unwrap();
    encoder.send(&control(SET_CHUNK_SIZE, &1_000_u32.to_be_bytes()));
    let start = |chunk_stream| {
        let header = Header { chunk_stream, length: 2_000, ..FULL };
        [header.bytes(), vec![0; 1_000]].concat()
    };
    for chunk_stream in 10..20 {
        encoder.send(&start(chunk_stream));
    }
    assert_eq!(encoder.send_bad(&start(20)).label, "partial_messages");
}

#[test]
fn completed_and_aborted_messages_do_not_count_as_incomplete() {
    let limits = Limits { max_message_bytes: 10_000, ..Limits::default() };
    let mut encoder = Encoder::requested(limits);
    encoder.server.accept().unwrap();
    encoder.send(&control(SET_CHUNK_SIZE, &9_000_u32.to_be_bytes()));
    for _ in 0..10 {
        encoder.audio(0, &[0; 9_000]);
        let header = Header { chunk_stream: 5, length: 9_500, ..FULL };
        encoder.send(&[header.bytes(), vec![0; 9_000]].concat());
        encoder.send(&control(2, &5_u32.to_be_bytes()));
    }
    assert_eq!(encoder.events().len(), 10);
}

#[test]
fn bytes_before_publishing_are_bounded() {
    let limits = Limits { max_bytes_before_publish: 10_000, ..Limits::default() };
    let connect = command(0, "connect", 1.0, &[connect_object()]);
    let ignored = command(0, "onStatus", 0.0, &[amf::null()]);
    let setup =
        [handshake(), control(SET_CHUNK_SIZE, &9_000_u32.to_be_bytes()), connect, ignored.repeat(1_000)].concat();
    let mut server = ServerConnection::new(limits, [7; 32]);
    let received = setup.chunks(100).take_while(|piece| server.receive(piece).is_ok()).count() * 100;
    assert_eq!(received, 10_000);
    assert_eq!(server.receive(&[]).unwrap_err().label, "bytes_before_publish");

    let mut encoder = Encoder::requested(limits);
    let error = (0..1_000).find_map(|_| encoder.server.receive(&message(4, AUDIO, 1, 0, &[0; 88])).err()).unwrap();
    assert_eq!(error.label, "bytes_before_publish");
    assert_eq!(encoder.server.phase(), Phase::Ended);
    encoder.server.accept().unwrap();
    assert_eq!((encoder.server.phase(), encoder.events()), (Phase::Ended, vec![]));
}

#[test]
fn a_publication_is_not_bounded_by_what_precedes_it() {
    let mut encoder = Encoder::publishing();
    for _ in 0..10 {
        encoder.audio(0, &[0; 100_000]);
    }
    assert_eq!(encoder.events().len(), 10);
}

#[test]
fn commands_that_end_early_are_errors_or_incomplete_commands() {
    let body = [amf::string("connect"), amf::number(1.0), connect_object()].concat();
    for length in 0..body.len() {
        let mut encoder = Encoder::greeted(Limits::default());
        let result = encoder.server.receive(&message(3, COMMAND, 0, 0, &body[..length]));
        assert!(result.is_ok_and(|()| encoder.events().is_empty()) || encoder.server.phase() == Phase::Ended);
    }
}

#[test]
fn reasons_do_not_grow_with_the_input() {
    let mut encoder = Encoder::connected(Limits::default());
    encoder.replies();
    encoder.command(0, &"x".repeat(60_000), 9.0, &[]);
    assert!(encoder.replies()[0].body.len() < 1_000);
}

type Outcome = (Vec<Event>, Vec<Reply>, Phase, Option<ProtocolError>);

/// What a server does that accepts every request. Acknowledgements are left out: when they are due is looked at after each piece.
fn outcome<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let limits = Limits { max_message_bytes: 20_000, ..Limits::default() };
    let mut server = ServerConnection::new(limits, [7; 32]);
    let (mut received, mut sent, mut failure) = (Vec::new(), Replies::default(), None);
    for piece in pieces {
        let mut result = server.receive(piece);
        if result.is_ok() && server.phase() == Phase::Requested {
            result = server.accept();
        }
        received.extend(events(&mut server));
        std::iter::from_fn(|| server.poll_transmit()).for_each(|bytes| sent.receive(&bytes));
        failure = result.err();
    }
    let sent = sent.take().into_iter().filter(|reply| reply.kind != ACKNOWLEDGEMENT).collect();
    (received, sent, server.phase(), failure)
}

/// Mostly valid input: parts of messages that an encoder sends, some of them with wrong bytes.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop_oneof![
        Just(command(0, "connect", 1.0, &[connect_object()])),
        Just(command(0, "createStream", 2.0, &[amf::null()])),
        Just(command(1, "publish", 3.0, &[amf::null(), amf::string("key")])),
        Just(control(SET_CHUNK_SIZE, &5_000_u32.to_be_bytes())),
        Just(control(4, &[0, 6, 1, 2, 3, 4])),
        (any::<u32>(), 0..3_000usize).prop_map(|(time, length)| message(4, AUDIO, 1, time, &vec![1; length])),
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
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let start = if is_greeted { handshake() } else { Vec::new() };
        let is_set_up = [control(SET_CHUNK_SIZE, &5_000_u32.to_be_bytes()), command(0, "connect", 1.0, &[connect_object()])];
        let bytes = [start, is_set_up.concat(), bytes].concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        let whole = outcome([&bytes[..]]);
        prop_assert_eq!(outcome(pieces), whole.clone());
        prop_assert_eq!(outcome(bytes.chunks(1)), whole);
    }
}
