//! The processor time that one stream takes, as a share of real time: H.264 of 720p30 at 2.5 Mbit/s, and AAC at 48 kHz stereo that
//! becomes Opus.
//!
//! `cargo bench -p greenroom-ingest` prints the medians of interleaved rounds, of the whole stream, of its parts, and with a resampler
//! that corrects the drift of the encoder's clock, as it does for 44.1 kHz. Time is the thread's processor time, read from Linux;
//! elsewhere it is wall-clock time.
//!
//! Environment: `INGEST_ROUNDS` (number of rounds, default 7) and `INGEST_SECONDS` (of media a round, default 20).

use greenroom_codecs::aac::AacEncoder;
use greenroom_codecs::h264::{H264Encoder, nal_units};
use greenroom_codecs::picture::Picture;
use greenroom_ingest::{Ingest, Settings};
use std::hint::black_box;
use std::time::{Duration, Instant};

const FRAMES_PER_SECOND: usize = 30;
const KEY_FRAME_INTERVAL: usize = 60;
/// Bytes of frames, which make 2.5 Mbit/s.
const KEY_FRAME: usize = 60_000;
const INTER_FRAME: usize = 9_575;

/// A message: its time in µs, whether it is of audio, and its body.
struct Message {
    time: u64,
    is_audio: bool,
    body: Vec<u8>,
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Processor time of this thread.
fn thread_time(start: Instant) -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = text.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// Music of a kind: chords with attacks, and noise.
fn sound(samples: usize) -> Vec<i16> {
    let mut state = 1_u32;
    let mut sample = |at: usize, channel: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let tone = |frequency: f64| (at as f64 * frequency * std::f64::consts::TAU / 48_000.0).sin();
        let envelope = (-4.0 * (at % 19_200) as f64 / 48_000.0).exp();
        let chord = tone([440.0, 554.4][channel]) * envelope + 0.3 * tone([2_217.0, 3_520.0][channel]);
        (6_000.0 * chord + f64::from(state >> 21)) as i16
    };
    (0..samples).flat_map(|at| [sample(at, 0), sample(at, 1)]).collect()
}

fn audio(seconds: usize) -> Vec<Message> {
    let mut encoder = AacEncoder::new(2, 128_000).unwrap();
    let config = [&[0xaf, 0][..], &encoder.audio_specific_config()].concat();
    let mut messages = vec![Message { time: 0, is_audio: true, body: config }];
    let mut units: u64 = 0;
    let push = |unit: &[u8]| {
        let body = [&[0xaf, 1][..], unit].concat();
        messages.push(Message { time: units * 64_000 / 3, is_audio: true, body });
        units += 1;
    };
    encoder.encode(&sound(48_000 * seconds), push).unwrap();
    messages
}

/// Frames with real parameter sets and slice headers, and noise after them: what is in slices does not matter.
fn video(seconds: usize) -> Vec<Message> {
    let black = Picture::black(1_280, 720).unwrap();
    let unit = H264Encoder::new(30.0, 2_500_000).unwrap().encode(&black, Duration::ZERO, true).unwrap().unwrap().unit;
    let of = |kind: u8| nal_units(&unit).find(|nal| nal[0] & 0x1f == kind).unwrap();
    let (sps, pps) = (of(7), of(8));
    let mut config = vec![0x17, 0, 0, 0, 0, 1, sps[1], sps[2], sps[3], 0xff, 0xe1, 0, sps.len() as u8];
    config.extend([sps, &[1, 0, pps.len() as u8], pps].concat());
    let mut messages = vec![Message { time: 0, is_audio: false, body: config }];
    for frame in 0..seconds * FRAMES_PER_SECOND {
        let (header, length) = match frame % KEY_FRAME_INTERVAL {
            0 => ([0x65, 0x88], KEY_FRAME),
            _ => ([0x41, 0x9a], INTER_FRAME),
        };
        let mut body = vec![0x27, 1, 0, 0, 0];
        body.extend_from_slice(&(length as u32).to_be_bytes());
        body.extend_from_slice(&header);
        body.resize(9 + length, 0x55);
        messages.push(Message { time: frame as u64 * 1_000_000 / FRAMES_PER_SECOND as u64, is_audio: false, body });
    }
    messages
}

/// Share of real time that the messages take. `drift` is that of the timestamps of the audio, in ppm.
fn measure(messages: &[&Message], seconds: usize, drift: u64) -> f64 {
    let start = Instant::now();
    let mut ingest = Ingest::new(start, Settings { strict_ivs: false });
    let (mut packets, before) = (0, thread_time(start));
    for message in messages {
        let time = message.time + if message.is_audio { message.time * drift / 1_000_000 } else { 0 };
        let (now, timestamp) = (start + Duration::from_micros(time), (time / 1_000) as u32);
        match message.is_audio {
            true => ingest.audio(now, timestamp, &message.body).unwrap(),
            false => ingest.video(now, timestamp, &message.body).unwrap(),
        }
        while let Some(packet) = ingest.poll_packet() {
            black_box(packet);
            packets += 1;
        }
    }
    assert!(packets > 0 && ingest.statistics().frames_dropped == 0);
    (thread_time(start) - before).as_secs_f64() / seconds as f64
}

fn main() {
    let (rounds, seconds) = (number("INGEST_ROUNDS", 7), number("INGEST_SECONDS", 20));
    let mut messages = audio(seconds);
    messages.extend(video(seconds));
    messages.sort_by_key(|message| message.time);
    let all: Vec<&Message> = messages.iter().collect();
    let (audio, video): (Vec<&Message>, Vec<&Message>) = all.iter().partition(|message| message.is_audio);
    let cases = [("stream", &all, 0), ("audio", &audio, 0), ("video", &video, 0), ("stream, resampled", &all, 2_000)];
    let mut results = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for (result, (_, messages, drift)) in results.iter_mut().zip(&cases) {
            result.push(measure(messages, seconds, *drift));
        }
    }
    for (result, (name, ..)) in results.iter_mut().zip(&cases) {
        result.sort_by(f64::total_cmp);
        println!("{name}: {:.2} % of a core", result[rounds / 2] * 100.0);
    }
}
