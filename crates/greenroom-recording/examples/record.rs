//! Records a file as fast as it can, for benches/recording: H.264 as a byte stream with access unit delimiters, and Opus
//! packets of 20 ms, each after its length in two bytes.
//!
//! Usage: record VIDEO AUDIO FRAMES_PER_SECOND FOLDER COUNT
//!
//! COUNT recordings are made at the same time.

use chrono::DateTime;
use greenroom_media::{Codec, MediaKind, MediaPacket, MediaTrack};
use greenroom_recording::{AudioFormat, MediaType, Output, RecordError, Recorder, RecorderConfig, Resume, Vp8Policy};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LARGEST_PAYLOAD: usize = 1_160;
const AUDIO: usize = 0;
const VIDEO: usize = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [video, audio, fps, folder, count] = &arguments[..] else {
        return Err("usage: record VIDEO AUDIO FPS FOLDER COUNT".into());
    };
    let (video, audio, fps) = (std::fs::read(video)?, std::fs::read(audio)?, fps.parse::<u64>()?);
    let tracks = [(MediaKind::Audio, Codec::Opus), (MediaKind::Video, Codec::H264)];
    let tracks = tracks.map(|(kind, codec)| MediaTrack { kind, codec });
    let config = RecorderConfig {
        media: MediaType::AudioVideo,
        audio: AudioFormat::Aac,
        vp8: Vp8Policy::Refuse,
        segment_target: Duration::from_secs(6),
        thumbnails: None,
    };
    let start = Instant::now();
    let recorder = |_: usize| Recorder::new(config, &tracks, start, DateTime::UNIX_EPOCH, Resume::default());
    let mut recorders = (0..count.parse()?).map(recorder).collect::<Result<Vec<_>, _>>()?;
    let folders: Vec<PathBuf> = (0..recorders.len()).map(|n| Path::new(folder).join(n.to_string())).collect();
    let mut sender = Sender { start, numbers: [0; 2] };
    let (mut sounds, mut sound) = (lengths(&audio), 0);
    let mut now = start;
    for (frame, unit) in access_units(&video).into_iter().enumerate() {
        let at = Duration::from_micros(frame as u64 * 1_000_000 / fps);
        while Duration::from_millis(20 * sound) <= at {
            let Some(packet) = sounds.next() else { break };
            let sound_at = Duration::from_millis(20 * sound);
            let packet = sender.packet(AUDIO, 960 * sound as u32, sound_at, true, packet.to_vec());
            push(&mut recorders, start + sound_at, packet)?;
            sound += 1;
        }
        now = start + at;
        let payloads = payloads(&unit);
        let last = payloads.len() - 1;
        for (n, payload) in payloads.into_iter().enumerate() {
            let timestamp = (frame as u64 * 90_000 / fps) as u32;
            push(&mut recorders, now, sender.packet(VIDEO, timestamp, at, n == last, payload))?;
        }
        for (recorder, folder) in recorders.iter_mut().zip(&folders) {
            recorder.advance(now)?;
            store(recorder, folder)?;
        }
    }
    for (recorder, folder) in recorders.iter_mut().zip(&folders) {
        recorder.finish(now)?;
        store(recorder, folder)?;
    }
    Ok(())
}

struct Sender {
    start: Instant,
    numbers: [u64; 2],
}

impl Sender {
    fn packet(&mut self, track: usize, timestamp: u32, at: Duration, marker: bool, payload: Vec<u8>) -> MediaPacket {
        self.numbers[track] += 1;
        MediaPacket {
            track,
            layer: 0,
            codec: if track == AUDIO { Codec::Opus } else { Codec::H264 },
            sequence_number: self.numbers[track],
            timestamp,
            marker,
            captured: self.start + at,
            rotation: None,
            payload: payload.into(),
        }
    }
}

fn push(recorders: &mut [Recorder], now: Instant, packet: MediaPacket) -> Result<(), RecordError> {
    recorders.iter_mut().try_for_each(|recorder| recorder.push(now, packet.clone()))
}

fn store(recorder: &mut Recorder, folder: &Path) -> std::io::Result<()> {
    while let Some(output) = recorder.poll_output() {
        if let Output::Store(object) = output {
            let path = folder.join(object.path);
            std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
            std::fs::write(path, object.contents)?;
        }
    }
    Ok(())
}

/// NAL units of each access unit.
fn access_units(stream: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut units: Vec<Vec<&[u8]>> = Vec::new();
    for unit in greenroom_codecs::h264::nal_units(stream) {
        if unit[0] & 0x1f == 9 {
            units.push(Vec::new());
        } else if let Some(last) = units.last_mut() {
            last.push(unit);
        }
    }
    units
}

/// Single NAL units, and fragments (FU-A) of larger ones.
fn payloads(units: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for unit in units {
        if unit.len() <= LARGEST_PAYLOAD {
            payloads.push(unit.to_vec());
            continue;
        }
        let chunks = unit[1..].chunks(LARGEST_PAYLOAD);
        let count = chunks.len();
        for (n, chunk) in chunks.enumerate() {
            let flags = u8::from(n == 0) << 7 | u8::from(n + 1 == count) << 6;
            payloads.push([&[(unit[0] & 0xe0) | 28, (unit[0] & 0x1f) | flags], chunk].concat());
        }
    }
    payloads
}

fn lengths(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (packet, after) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        Some(packet)
    })
}
