//! Messages that are cut into chunks in any valid way are received as they were.

use crate::support::Encoder;
use crate::support::bytes::{AUDIO, Header, SET_CHUNK_SIZE, VIDEO, control};
use greenroom_rtmp::Event;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Debug)]
struct Media {
    chunk_stream: u32,
    is_video: bool,
    timestamp: u32,
    length: usize,
    /// The shortest header that may be used, by its format.
    max_format: u8,
}

impl Media {
    fn body(&self) -> Vec<u8> {
        (0..self.length).map(|index| (index as u32).wrapping_mul(self.timestamp | 1).to_be_bytes()[2]).collect()
    }

    fn event(&self) -> Event {
        let (timestamp, body) = (self.timestamp, self.body());
        if self.is_video { Event::Video { timestamp, body } } else { Event::Audio { timestamp, body } }
    }
}

/// What an encoder remembers of a chunk stream.
#[derive(Clone, Copy)]
struct Sent {
    header: Header,
    timestamp: u32,
    /// The last delta; `None` after a message of format 0, as its meaning is disputed.
    delta: Option<u32>,
}

#[derive(Default)]
struct Writer {
    sent: BTreeMap<u32, Sent>,
    repeats_timestamps: bool,
}

impl Writer {
    /// The header of a message's first chunk.
    fn begin(&mut self, media: &Media) -> Vec<u8> {
        let kind = if media.is_video { VIDEO } else { AUDIO };
        let full = Header {
            format: 0,
            chunk_stream: media.chunk_stream,
            time: media.timestamp,
            length: media.length,
            kind,
            stream: 1,
        };
        let former = self.sent.get(&media.chunk_stream).copied();
        let delta = former.map(|former| media.timestamp.wrapping_sub(former.timestamp));
        // The format with the shortest valid header: longer ones are valid, too.
        let format = match former {
            None => 0,
            Some(Sent { header, .. }) if header.length != media.length || header.kind != kind => 1,
            Some(Sent { delta: former, .. }) if former != delta => 2,
            Some(_) => 3,
        };
        let format = u8::min(format, media.max_format);
        let delta = delta.filter(|_| format > 0);
        let header = Header { format, time: delta.unwrap_or(media.timestamp), ..full };
        self.sent.insert(media.chunk_stream, Sent { header, timestamp: media.timestamp, delta });
        let repeated = if format == 3 { self.repeated(media.chunk_stream) } else { Vec::new() };
        [header.bytes(), repeated].concat()
    }

    /// The header of a message's further chunks.
    fn continuation(&self, chunk_stream: u32) -> Vec<u8> {
        let header = Header { format: 3, ..self.sent[&chunk_stream].header };
        [header.bytes(), self.repeated(chunk_stream)].concat()
    }

    fn repeated(&self, chunk_stream: u32) -> Vec<u8> {
        let time = self.sent[&chunk_stream].header.time;
        if time >= 0xff_ffff && self.repeats_timestamps { time.to_be_bytes().to_vec() } else { Vec::new() }
    }
}

fn media() -> impl Strategy<Value = Media> {
    let chunk_stream = prop::sample::select(vec![4, 6, 63, 64, 319, 320, 65_599]);
    let timestamp = prop_oneof![0..100u32, Just(20), any::<u32>(), 0xff_fff0..0x0100_0010u32];
    let length = prop_oneof![Just(40usize), 1..3_000usize];
    (chunk_stream, any::<bool>(), timestamp, length, 0..4u8).prop_map(
        |(chunk_stream, is_video, timestamp, length, max_format)| Media {
            chunk_stream,
            is_video,
            timestamp,
            length,
            max_format,
        },
    )
}

/// The bytes of these messages, whose chunks are taken from chunk streams in the given order, and the messages in the order in which
/// they are complete.
fn write(all: &[Media], order: &[usize], chunk_size: usize, repeats_timestamps: bool) -> (Vec<u8>, Vec<Event>) {
    let mut writer = Writer { repeats_timestamps, ..Writer::default() };
    let mut queues: BTreeMap<u32, VecDeque<&Media>> = BTreeMap::new();
    for media in all {
        queues.entry(media.chunk_stream).or_default().push_back(media);
    }
    let mut progress: BTreeMap<u32, usize> = BTreeMap::new();
    let (mut bytes, mut complete) = (Vec::new(), Vec::new());
    for choice in order.iter().cycle() {
        queues.retain(|_, queue| !queue.is_empty());
        let Some(chunk_stream) = queues.keys().nth(choice % queues.len().max(1)).copied() else { break };
        let media = queues[&chunk_stream][0];
        let from = progress.remove(&chunk_stream).unwrap_or(0);
        bytes.extend(if from == 0 { writer.begin(media) } else { writer.continuation(chunk_stream) });
        let to = media.length.min(from + chunk_size);
        bytes.extend_from_slice(&media.body()[from..to]);
        if to == media.length {
            complete.push(media.event());
            queues.get_mut(&chunk_stream).map(VecDeque::pop_front);
        } else {
            progress.insert(chunk_stream, to);
        }
    }
    (bytes, complete)
}

proptest! {
    #[test]
    fn messages_are_received_as_they_were_sent(
        all in prop::collection::vec(media(), 1..20),
        order in prop::collection::vec(any::<usize>(), 1..30),
        chunk_size in prop_oneof![1..200usize, Just(128), Just(4_096)],
        repeats_timestamps in any::<bool>(),
        piece in prop_oneof![Just(1usize), 1..5_000usize],
    ) {
        let (bytes, expected) = write(&all, &order, chunk_size, repeats_timestamps);
        let mut encoder = Encoder::publishing();
        encoder.send(&control(SET_CHUNK_SIZE, &(chunk_size as u32).to_be_bytes()));
        for piece in bytes.chunks(piece) {
            encoder.send(piece);
        }
        prop_assert_eq!(encoder.events(), expected);
    }
}
