use super::support::{Pair, Scripted};
use crate::support::bytes::control;
use greenroom_rtmp::{Event, SendError};
use proptest::prelude::*;

/// Maximum bytes of a message, by its length field.
const MAX_MESSAGE: usize = 0xff_ffff;

#[derive(Clone, Debug)]
struct Frame {
    is_video: bool,
    timestamp: u32,
    length: usize,
}

impl Frame {
    fn body(&self) -> Vec<u8> {
        (0..self.length).map(|index| (index as u32).wrapping_mul(self.timestamp | 1).to_be_bytes()[2]).collect()
    }

    fn event(&self) -> Event {
        let (timestamp, body) = (self.timestamp, self.body());
        if self.is_video { Event::Video { timestamp, body } } else { Event::Audio { timestamp, body } }
    }
}

/// What the server receives of these frames.
fn received(frames: &[Frame], pieces: &[usize]) -> Vec<Event> {
    let mut pair = Pair::publishing(pieces);
    pair.server_events.clear();
    for frame in frames {
        let body = frame.body();
        let send = if frame.is_video {
            pair.client.send_video(frame.timestamp, &body)
        } else {
            pair.client.send_audio(frame.timestamp, &body)
        };
        send.unwrap();
    }
    pair.exchange();
    pair.server_events
}

#[test]
fn timestamps_beyond_24_bits_and_their_wrap_are_received() {
    let times = [0, 0xff_fffe, 0xff_ffff, 0x0100_0000, 0x8000_0000, u32::MAX - 20, u32::MAX, 0, 20];
    let frames: Vec<Frame> = times
        .into_iter()
        .flat_map(|timestamp| {
            [(true, 9_000), (false, 100)].map(|(is_video, length)| Frame { is_video, timestamp, length })
        })
        .collect();
    let expected: Vec<Event> = frames.iter().map(Frame::event).collect();
    assert_eq!(received(&frames, &[usize::MAX]), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn frames_are_received_as_they_were_sent(
        frames in prop::collection::vec(
            (any::<bool>(), prop_oneof![0..100u32, any::<u32>(), 0xff_fff0..0x0100_0010u32], prop_oneof![1..200usize, 4_090..4_100usize, 1..20_000usize])
                .prop_map(|(is_video, timestamp, length)| Frame { is_video, timestamp, length }),
            1..10,
        ),
        pieces in prop::collection::vec(1..5_000usize, 1..10),
    ) {
        let expected: Vec<Event> = frames.iter().map(Frame::event).collect();
        prop_assert_eq!(received(&frames, &pieces), expected);
    }
}

#[test]
fn nothing_is_sent_before_the_publication_is_accepted() {
    let mut pair = Pair::requested();
    assert_eq!(pair.client.send_metadata(b""), Err(SendError::NotPublishing));
    assert_eq!(pair.client.send_audio(0, b"a"), Err(SendError::NotPublishing));
    assert_eq!(pair.client.send_video(0, b"v"), Err(SendError::NotPublishing));
    assert_eq!(pair.client.queued_bytes(), 0);
}

#[test]
fn a_message_that_its_length_field_cannot_hold_is_not_sent() {
    let mut scripted = Scripted::publishing();
    let body = vec![0; MAX_MESSAGE + 1];
    assert_eq!(scripted.client.send_video(0, &body), Err(SendError::TooLong));
    assert_eq!(scripted.client.queued_bytes(), 0);
    scripted.client.send_video(0, &body[..MAX_MESSAGE]).unwrap();
    let sent = scripted.client.poll_transmit().unwrap();
    // Its length, after the basic header and the timestamp.
    assert_eq!((sent[4..7].to_vec(), sent.len() > MAX_MESSAGE), (vec![0xff; 3], true));
}

#[test]
fn queued_bytes_are_those_that_have_not_been_taken() {
    let mut scripted = Scripted::publishing();
    assert_eq!(scripted.client.queued_bytes(), 0);
    scripted.client.send_video(0, &[0; 10_000]).unwrap();
    let queued = scripted.client.queued_bytes();
    scripted.client.send_audio(0, &[0; 100]).unwrap();
    assert!(queued > 10_000 && scripted.client.queued_bytes() == queued + 112);
    let taken = scripted.client.poll_transmit().unwrap();
    assert_eq!((taken.len(), scripted.client.queued_bytes()), (queued + 112, 0));
    assert_eq!(scripted.client.poll_transmit(), None);
}

#[test]
fn answers_go_between_frames() {
    let mut scripted = Scripted::publishing();
    scripted.client.send_video(0, &[1; 9_000]).unwrap();
    scripted.send(&control(4, &[0, 6, 0, 0, 0, 1]));
    scripted.client.send_video(0, &[2; 9_000]).unwrap();
    let kinds: Vec<(u8, u32)> = scripted.sent().iter().map(|message| (message.kind, message.stream)).collect();
    assert_eq!(kinds, [(9, 1), (4, 0), (9, 1)]);
}

#[test]
fn each_chunk_repeats_an_extended_timestamp() {
    for (timestamp, field, extended) in [
        (0xff_fffe_u32, [0xff, 0xff, 0xfe], &[][..]),
        (0xff_ffff, [0xff; 3], &[0, 0xff, 0xff, 0xff]),
        (0x0102_0304, [0xff; 3], &[1, 2, 3, 4]),
    ] {
        let mut scripted = Scripted::publishing();
        scripted.client.send_video(timestamp, &[0x17; 4_097]).unwrap();
        let length_kind_and_stream = [0, 0x10, 1, 9, 1, 0, 0, 0];
        let first = [&[6], &field[..], &length_kind_and_stream, extended, &[0x17; 4_096]].concat();
        let expected = [&first[..], &[0xc6], extended, &[0x17]].concat();
        assert_eq!(scripted.client.poll_transmit(), Some(expected), "{timestamp:x}");
    }
}
