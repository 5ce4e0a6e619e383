use crate::support::bytes::{
    ABORT, AUDIO, Header, SET_CHUNK_SIZE, VIDEO, WINDOW_SIZE, basic_header, control, handshake, message,
};
use crate::support::{Encoder, command, connect_object};
use greenroom_rtmp::{Event, Limits};

const FULL: Header = Header { format: 0, chunk_stream: 4, time: 0, length: 0, kind: AUDIO, stream: 1 };

fn chunk_size(size: u32) -> Vec<u8> {
    control(SET_CHUNK_SIZE, &size.to_be_bytes())
}

fn audio(timestamp: u32, body: &[u8]) -> Event {
    Event::Audio { timestamp, body: body.to_vec() }
}

fn timestamps(encoder: &mut Encoder) -> Vec<u32> {
    let timestamp = |event| match event {
        Event::Audio { timestamp, .. } | Event::Video { timestamp, .. } => timestamp,
        event => panic!("{event:?}"),
    };
    encoder.events().into_iter().map(timestamp).collect()
}

#[test]
fn chunk_stream_ids_have_three_forms() {
    for id in [2, 3, 63, 64, 319, 320, 65_599] {
        let mut encoder = Encoder::publishing();
        encoder.send(&message(id, AUDIO, 1, 7, b"first"));
        encoder.send(&[basic_header(3, id), b"again".to_vec()].concat());
        assert_eq!(encoder.events(), [audio(7, b"first"), audio(14, b"again")], "chunk stream {id}");
    }
}

#[test]
fn an_id_is_the_same_in_each_form() {
    let mut encoder = Encoder::publishing();
    encoder.send(&message(64, AUDIO, 1, 0, b"first"));
    encoder.send(&[&[0xc1, 0, 0][..], b"again"].concat());
    encoder.send(&message(319, AUDIO, 1, 0, b"first"));
    encoder.send(&[&[0xc1, 255, 0][..], b"again"].concat());
    assert_eq!(encoder.events().len(), 4);
}

#[test]
fn formats_leave_out_what_is_as_before() {
    let mut encoder = Encoder::publishing();
    encoder.send(&message(4, AUDIO, 1, 5_000, b"abc"));
    let header = Header { format: 1, time: 20, length: 2, kind: VIDEO, ..FULL };
    encoder.send(&[&header.bytes(), &b"de"[..]].concat());
    encoder.send(&[&Header { format: 2, time: 7, ..header }.bytes(), &b"fg"[..]].concat());
    encoder.send(&[&Header { format: 3, ..header }.bytes(), &b"hi"[..]].concat());
    let video = |timestamp, body: &[u8]| Event::Video { timestamp, body: body.to_vec() };
    let expected = [audio(5_000, b"abc"), video(5_020, b"de"), video(5_027, b"fg"), video(5_034, b"hi")];
    assert_eq!(encoder.events(), expected);
}

#[test]
fn format_3_after_format_0_repeats_a_small_timestamp_as_delta() {
    // FFmpeg: two frames at 23 and 46 ms. librtmp: two at the same time.
    for (first, second) in [(23, 46), (0, 0), (5_000, 5_000), (0x0100_0000, 0x0100_0000)] {
        let mut encoder = Encoder::publishing();
        encoder.send(&message(4, AUDIO, 1, first, b"abc"));
        encoder.send(&[&Header { format: 3, ..FULL }.bytes(), &b"def"[..]].concat());
        assert_eq!(timestamps(&mut encoder), [first, second]);
    }
}

#[test]
fn a_chunk_stream_may_begin_with_format_1() {
    let mut encoder = Encoder::publishing();
    let header = Header { format: 1, chunk_stream: 9, time: 40, length: 1, ..FULL };
    encoder.send(&[&header.bytes(), &b"a"[..]].concat());
    assert_eq!(encoder.events(), [audio(40, b"a")]);
}

#[test]
fn a_chunk_stream_does_not_begin_with_a_continuation() {
    for format in [2, 3] {
        let mut encoder = Encoder::publishing();
        let error = encoder.send_bad(&Header { format, chunk_stream: 9, ..FULL }.bytes());
        assert_eq!(error.label, "chunk_header");
    }
}

#[test]
fn a_message_does_not_begin_within_another_of_its_chunk_stream() {
    for format in [0, 1, 2] {
        let mut encoder = Encoder::publishing();
        encoder.send(&chunk_size(10));
        encoder.send(&[&Header { length: 20, ..FULL }.bytes(), &[1; 10][..]].concat());
        let error = encoder.send_bad(&Header { format, length: 20, ..FULL }.bytes());
        assert_eq!(error.label, "chunk_header");
    }
}

#[test]
fn timestamps_are_modulo_2_to_the_32() {
    let mut encoder = Encoder::publishing();
    encoder.send(&message(4, AUDIO, 1, u32::MAX - 9, b"a"));
    for _ in 0..2 {
        encoder.send(&[&Header { format: 1, time: 20, length: 1, ..FULL }.bytes(), &b"b"[..]].concat());
    }
    encoder.send(&message(4, AUDIO, 1, u32::MAX, b"a"));
    encoder.send(&[&Header { format: 1, time: u32::MAX, length: 1, ..FULL }.bytes(), &b"b"[..]].concat());
    assert_eq!(timestamps(&mut encoder), [u32::MAX - 9, 10, 30, u32::MAX, u32::MAX - 1]);
}

#[test]
fn timestamps_from_24_bits_on_are_extended() {
    let mut encoder = Encoder::publishing();
    let cases = [0xff_fffe, 0xff_ffff, 0x0100_0000, u32::MAX];
    for time in cases {
        encoder.send(&message(4, AUDIO, 1, time, b"a"));
    }
    assert_eq!(timestamps(&mut encoder), cases);
}

/// A message of 30 bytes in chunks of 10, each of which but the first begins with `repeated`.
fn extended_message(header: Header, body: &[u8; 30], repeated: &[u8]) -> Vec<u8> {
    let continuation = Header { format: 3, ..header }.bytes();
    let mut bytes = header.bytes();
    for (index, piece) in body.chunks(10).enumerate() {
        if index > 0 {
            bytes.extend_from_slice(&continuation);
            bytes.extend_from_slice(repeated);
        }
        bytes.extend_from_slice(piece);
    }
    bytes
}

#[test]
fn an_extended_timestamp_is_repeated_or_not() {
    let time = 0x1234_5678_u32;
    // Payload that begins as the timestamp does, and one that does not.
    for body in
        [[9; 30], *b"..........\x12\x34\x56.......\x12.........", *b"..........\x12\x34........\x12\x34\x56......."]
    {
        for format in [0, 1, 2] {
            for repeated in [&time.to_be_bytes()[..], &[]] {
                let mut encoder = Encoder::publishing();
                encoder.send(&[message(4, AUDIO, 1, 0, &[0; 30]), chunk_size(10)].concat());
                let bytes = extended_message(Header { format, time, length: 30, ..FULL }, &body, repeated);
                for byte in [bytes, message(5, AUDIO, 1, 0, b"next")].concat() {
                    encoder.send(&[byte]);
                }
                let expected = [audio(0, &[0; 30]), audio(time, &body), audio(0, b"next")];
                assert_eq!(encoder.events(), expected, "format {format}, repeated {repeated:?}");
            }
        }
    }
}

#[test]
fn bytes_taken_for_a_timestamp_can_be_of_the_next_chunks() {
    // Chunks of one byte without repeated timestamps. Chunk stream 19 has the basic header 0x13 in format 0.
    let mut encoder = Encoder::publishing();
    encoder.send(&chunk_size(1));
    let first = Header { chunk_stream: 19, time: 0x12d3_d312, length: 4, ..FULL };
    encoder.send(&[&first.bytes(), &b"\x12\xd3\x12\xd3\xd3\xd3\x12"[..]].concat());
    encoder.send(&message(5, AUDIO, 1, 0, b"n"));
    assert_eq!(encoder.events(), [audio(0x12d3_d312, &[0x12, 0x12, 0xd3, 0x12]), audio(0, b"n")]);
}

#[test]
fn an_extended_delta_counts_for_the_following_messages() {
    let delta = 0x0100_0000_u32;
    for repeated in [&delta.to_be_bytes()[..], &[]] {
        let mut encoder = Encoder::publishing();
        encoder.send(&message(4, AUDIO, 1, 5, b"a"));
        encoder.send(&[&Header { format: 1, time: delta, length: 1, ..FULL }.bytes(), &b"b"[..]].concat());
        encoder.send(&[&Header { format: 3, ..FULL }.bytes(), repeated, b"c"].concat());
        encoder.send(&[&Header { format: 2, time: 3, ..FULL }.bytes(), &b"d"[..]].concat());
        encoder.send(&[&Header { format: 3, ..FULL }.bytes(), &b"e"[..]].concat());
        assert_eq!(timestamps(&mut encoder), [5, 5 + delta, 5 + 2 * delta, 8 + 2 * delta, 11 + 2 * delta]);
    }
}

#[test]
fn messages_of_several_chunk_streams_are_interleaved() {
    let mut encoder = Encoder::publishing();
    encoder.send(&chunk_size(4));
    let video = Header { chunk_stream: 6, time: 40, length: 10, kind: VIDEO, ..FULL };
    let continued = basic_header(3, 6);
    encoder.send(&[&video.bytes(), &b"0123"[..]].concat());
    encoder.audio(41, b"abc");
    encoder.send(&[&continued[..], b"4567"].concat());
    encoder.send(&control(WINDOW_SIZE, &9_u32.to_be_bytes()));
    encoder.send(&[&continued[..], b"89"].concat());
    assert_eq!(encoder.events(), [audio(41, b"abc"), Event::Video { timestamp: 40, body: b"0123456789".into() }]);
}

#[test]
fn the_chunk_size_can_change_within_a_message() {
    let mut encoder = Encoder::publishing();
    encoder.send(&chunk_size(4));
    encoder.send(&[&Header { length: 8, ..FULL }.bytes(), &b"0123"[..]].concat());
    encoder.send(&chunk_size(1));
    encoder.send(&[&basic_header(3, 4)[..], b"4"].concat());
    // Its body of four bytes is cut into chunks of one.
    encoder.send(&[&control(SET_CHUNK_SIZE, &[])[..4], b"\0\0\x04\x01\0\0\0\0", b"\0\xc2\0\xc2\0\xc2\x03"].concat());
    encoder.send(&[&basic_header(3, 4)[..], b"567"].concat());
    assert_eq!(encoder.events(), [audio(0, b"01234567")]);
}

#[test]
fn chunks_have_128_bytes_until_a_size_is_announced() {
    let mut encoder = Encoder::new(Limits::default());
    encoder.send(&handshake());
    let connect = command(0, "connect", 1.0, &[connect_object(), vec![5; 200]]);
    let (header, body) = connect.split_at(12);
    encoder.send(header);
    for (index, piece) in body.chunks(128).enumerate() {
        encoder.send(&[if index > 0 { &[0xc3][..] } else { &[] }, piece].concat());
    }
    assert!(encoder.replies().iter().any(|reply| reply.is_command("_result", "NetConnection.Connect.Success")));
}

#[test]
fn chunk_sizes_are_bounded() {
    for size in [0, 0x8000_0000, u32::MAX] {
        assert_eq!(Encoder::publishing().send_bad(&chunk_size(size)).label, "chunk_size");
    }
    for size in [0x0100_0000, 0x7fff_ffff] {
        let mut encoder = Encoder::publishing();
        encoder.send(&chunk_size(size));
        encoder.audio(0, &[1; 100_000]);
        assert_eq!(encoder.events(), [audio(0, &[1; 100_000])]);
    }
}

#[test]
fn an_aborted_message_is_forgotten() {
    let mut encoder = Encoder::publishing();
    encoder.send(&chunk_size(4));
    encoder.send(&[&Header { length: 8, ..FULL }.bytes(), &b"0123"[..]].concat());
    encoder.send(&control(ABORT, &4_u32.to_be_bytes()));
    encoder.send(&control(ABORT, &77_u32.to_be_bytes()));
    encoder.audio(3, b"abc");
    assert_eq!(encoder.events(), [audio(3, b"abc")]);
}

#[test]
fn control_messages_need_their_number() {
    for kind in [SET_CHUNK_SIZE, ABORT, WINDOW_SIZE] {
        for length in 0..4 {
            assert_eq!(Encoder::publishing().send_bad(&control(kind, &[0, 0, 1][..length])).label, "control_message");
        }
    }
    for body in [&[][..], &[0], &[0, 6], &[0, 6, 1, 2, 3]] {
        assert_eq!(Encoder::publishing().send_bad(&control(4, body)).label, "control_message");
    }
}
