use crate::support::bytes::{AGGREGATE, AUDIO, COMMAND, DATA, VIDEO, message};
use crate::support::{Encoder, amf};
use greenroom_rtmp::{Event, Metadata};

/// A tag of FLV and its length.
fn tag(kind: u8, timestamp: u32, body: &[u8]) -> Vec<u8> {
    let [t0, t1, t2, t3] = timestamp.to_be_bytes();
    let length = &(body.len() as u32).to_be_bytes()[1..];
    let back_pointer = (11 + body.len() as u32).to_be_bytes();
    [&[kind], length, &[t1, t2, t3, t0, 0, 0, 0], body, &back_pointer].concat()
}

fn aggregate(timestamp: u32, body: &[u8]) -> Vec<u8> {
    message(6, AGGREGATE, 1, timestamp, body)
}

#[test]
fn its_tags_are_events_with_timestamps_from_that_of_the_message() {
    let mut encoder = Encoder::publishing();
    let metadata = [amf::string("onMetaData"), amf::ecma_array(&[("width", amf::number(640.0))])].concat();
    let tags = [
        tag(AUDIO, 0x0200_0000, b"first"),
        tag(VIDEO, 0x0200_0014, b"second"),
        tag(DATA, 0x0200_0014, &metadata),
        tag(AUDIO, 0x0200_0000 - 4, b"third"),
        tag(AUDIO, 0x0200_0000, b""),
        tag(COMMAND, 0x0200_0000, b"ignored"),
    ];
    encoder.send(&aggregate(1_000, &tags.concat()));
    let expected = [
        Event::Audio { timestamp: 1_000, body: b"first".into() },
        Event::Video { timestamp: 1_020, body: b"second".into() },
        Event::Metadata(Metadata { width: Some(640.0), ..Metadata::default() }),
        Event::Audio { timestamp: 996, body: b"third".into() },
    ];
    assert_eq!(encoder.events(), expected);
}

#[test]
fn its_timestamps_wrap() {
    let mut encoder = Encoder::publishing();
    encoder.send(&aggregate(u32::MAX, &[tag(AUDIO, 10, b"a"), tag(AUDIO, 12, b"b")].concat()));
    let timestamps: Vec<u32> = encoder
        .events()
        .into_iter()
        .map(|event| if let Event::Audio { timestamp, .. } = event { timestamp } else { panic!("{event:?}") })
        .collect();
    assert_eq!(timestamps, [u32::MAX, 1]);
}

#[test]
fn the_last_back_pointer_may_be_missing() {
    let mut encoder = Encoder::publishing();
    let tags = tag(AUDIO, 0, b"only");
    encoder.send(&aggregate(0, &tags[..tags.len() - 4]));
    encoder.send(&aggregate(0, b""));
    assert_eq!(encoder.events(), [Event::Audio { timestamp: 0, body: b"only".into() }]);
}

#[test]
fn one_that_ends_within_a_tag_is_an_error() {
    let tags = tag(AUDIO, 0, b"only");
    for length in (1..tags.len()).filter(|&length| length != tags.len() - 4) {
        let mut encoder = Encoder::publishing();
        assert_eq!(encoder.send_bad(&aggregate(0, &tags[..length])).label, "aggregate", "{length} bytes");
    }
}

#[test]
fn one_within_another_is_an_error() {
    let inner = tag(AUDIO, 0, b"a");
    assert_eq!(Encoder::publishing().send_bad(&aggregate(0, &tag(AGGREGATE, 0, &inner))).label, "aggregate");
}
