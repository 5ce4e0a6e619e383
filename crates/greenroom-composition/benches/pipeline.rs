//! A whole composition: 4 participants with 720p at 30 frames a second and sound are decoded, composed at 720p and encoded. In the
//! same run FFmpeg, if there is one, does the same with `xstack`, `amix`, libx264 (superfast) and AAC.

use greenroom_codecs::h264::payloads::{MAX_PAYLOAD, packetize};
use greenroom_codecs::h264::{H264Encoder, nal_units};
use greenroom_codecs::opus::OpusEncoder;
use greenroom_codecs::picture::Picture;
use greenroom_composition::layout::{Layout, Size};
use greenroom_composition::pipeline::{Codec, ComposerConfig, Output, Packet, Pipeline};
use greenroom_composition::scene::{Publisher, SceneConfig, VideoState};
use greenroom_composition::{CompositorConfig, ParticipantId};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PARTICIPANTS: usize = 4;
const FRAME_RATE: u32 = 30;
const SECONDS: u32 = 5;
const BITRATE: u32 = 2_500_000;
const START: Duration = Duration::from_secs(1_000);

/// The access units of a participant: a texture that moves, with noise as of a camera.
fn video(participant: usize) -> Vec<Vec<u8>> {
    let mut encoder = H264Encoder::without_skips(FRAME_RATE as f32, BITRATE).expect("valid settings");
    let mut noise = participant as u32 + 1;
    let unit = |frame: u32| {
        let shift = f64::from(frame) * (1.0 + participant as f64);
        let mut luma = Vec::with_capacity(1_280 * 720);
        for y in 0..720 {
            let row = (f64::from(y) / 37.0).sin() * 40.0;
            luma.extend((0..1_280).map(|x| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let texture = ((f64::from(x) + shift) / 23.0).sin() * 40.0;
                (120.0 + row + texture + f64::from(noise >> 30)) as u8
            }));
        }
        let chroma = || vec![100 + 20 * participant as u8; 640 * 360];
        let picture = Picture::new(1_280, 720, [luma, chroma(), chroma()]).expect("planes of the size");
        let encoded = encoder.encode(&picture, time(frame), false).expect("encodes");
        encoded.expect("no picture is skipped").unit
    };
    (0..SECONDS * FRAME_RATE).map(unit).collect()
}

fn time(frame: u32) -> Duration {
    Duration::from_secs(1) * frame / FRAME_RATE
}

/// Processor time of this thread, or the time that has passed where the system does not tell.
fn processor_time(start: Instant) -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn config() -> ComposerConfig {
    ComposerConfig {
        compositor: CompositorConfig {
            output: Size::new(1_280, 720),
            frame_rate: f64::from(FRAME_RATE),
            layout: Layout::default(),
            delay: Duration::from_millis(200),
            transitions: SceneConfig::default(),
        },
        video_bitrate: BITRATE,
        audio_bitrate: 128_000,
        key_frame_interval: Duration::from_secs(2),
    }
}

/// Composes, and returns the processor time.
fn compose(videos: &[Vec<Vec<u8>>]) -> Duration {
    let mut pipeline = Pipeline::new(config(), START).expect("valid settings");
    let ids: Vec<_> = (0..videos.len()).map(|at| ParticipantId::from(format!("p{at}"))).collect();
    for id in &ids {
        let publisher =
            Publisher { id: id.clone(), attributes: BTreeMap::new(), audio: true, video: VideoState::Playing };
        pipeline.update(publisher).expect("a decoder");
    }
    let sound = sound();
    let packet = |codec, number: u64, timestamp: u32, captured, payload, marker| Packet {
        codec,
        sequence_number: number,
        timestamp,
        marker,
        captured,
        rotation: None,
        payload,
    };
    let (mut numbers, mut frames) = (vec![0; ids.len()], 0);
    let clock = Instant::now();
    let before = processor_time(clock);
    for frame in 0..SECONDS * FRAME_RATE {
        let now = START + time(frame);
        for ((id, video), number) in ids.iter().zip(videos).zip(&mut numbers) {
            let Some(unit) = video.get(frame as usize) else { continue };
            let payloads = packetize(&nal_units(unit).collect::<Vec<_>>(), MAX_PAYLOAD);
            let last = payloads.len() - 1;
            for (at, payload) in payloads.into_iter().enumerate() {
                pipeline.push(now, id, packet(Codec::H264, *number, frame * 3_000, now, payload, at == last));
                *number += 1;
            }
            for sample in (frame * 5).div_ceil(3)..(frame * 5 + 5).div_ceil(3) {
                let captured = START + Duration::from_millis(20) * sample;
                let payload = sound[sample as usize % sound.len()].clone();
                pipeline.push(now, id, packet(Codec::Opus, sample.into(), sample * 960, captured, payload, false));
            }
        }
        while pipeline.advance(now) {}
        while let Some(output) = pipeline.poll_output() {
            frames += u32::from(matches!(output, Output::Video(_)));
        }
    }
    assert!(frames >= (SECONDS - 1) * FRAME_RATE, "{frames} frames");
    processor_time(clock) - before
}

/// A second of sound.
fn sound() -> Vec<Arc<[u8]>> {
    let mut encoder = OpusEncoder::new(2, 64_000).expect("valid settings");
    let mut packet = |at: usize| {
        let sample = |at: usize| ((at as f64 / 17.0).sin() * 6_000.0) as i16;
        let pcm: Vec<_> = (at * 960..(at + 1) * 960).flat_map(|at| [sample(at); 2]).collect();
        Arc::from(encoder.encode(&pcm).expect("encodes"))
    };
    (0..50).map(&mut packet).collect()
}

/// FFmpeg's processor time; `None` if there is none.
fn ffmpeg(videos: &[Vec<Vec<u8>>]) -> Option<Duration> {
    let folder = std::env::temp_dir().join(format!("composition-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).ok()?;
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-benchmark"]);
    for (at, video) in videos.iter().enumerate() {
        let file = folder.join(format!("{at}.h264"));
        std::fs::write(&file, video.concat()).ok()?;
        command.args(["-f", "h264", "-framerate", "30", "-i"]).arg(file);
    }
    for _ in videos {
        command.args(["-f", "lavfi", "-i", "sine=sample_rate=48000"]);
    }
    let scaled = (0..4).map(|at| format!("[{at}:v]scale=640:360[v{at}];")).collect::<String>();
    let graph = format!(
        "{scaled}[v0][v1][v2][v3]xstack=inputs=4:layout=0_0|w0_0|0_h0|w0_h0[v];[4:a][5:a][6:a][7:a]amix=inputs=4[a]"
    );
    command.args(["-filter_complex", &graph, "-map", "[v]", "-map", "[a]"]);
    command.args(["-c:v", "libx264", "-preset", "superfast", "-b:v", "2500k", "-g", "60"]);
    command.args(["-c:a", "aac", "-t", &SECONDS.to_string(), "-f", "null", "-"]);
    let output = command.output();
    std::fs::remove_dir_all(&folder).ok();
    let text = String::from_utf8_lossy(&output.ok()?.stderr).into_owned();
    let seconds = |name: &str| text.split(name).nth(1)?.split('s').next()?.parse::<f64>().ok();
    Some(Duration::from_secs_f64(seconds("utime=")? + seconds("stime=")?))
}

/// Prints the medians of so many rounds.
pub fn run(rounds: usize) {
    let videos: Vec<_> = (0..PARTICIPANTS).map(video).collect();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(compose(&videos));
        theirs.extend(ffmpeg(&videos));
    }
    let share = |times: Vec<Duration>| super::median(times) / 1e6 / f64::from(SECONDS);
    let ours = share(ours);
    println!("{:30} {:8.1} % of a core", "4 of 720p to 720p30, whole", ours * 100.0);
    if theirs.is_empty() {
        println!("no FFmpeg to compare with");
    } else {
        let theirs = share(theirs);
        println!("{:30} {:8.1} %  ratio {:.2}", "the same by FFmpeg", theirs * 100.0, ours / theirs);
    }
}
