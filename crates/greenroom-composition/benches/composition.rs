//! The cost of composing a picture of 720p and of mixing, as ratios to copying a picture of 720p in the same run.
//!
//! `cargo bench -p greenroom-composition --bench composition` prints the medians of interleaved rounds. Every picture of every
//! participant is new in every frame: none of the work is saved. Nothing is asserted: only ratios within one run are comparable.
//!
//! At the end whole compositions, with decoders and encoders, are compared with FFmpeg in a tenth of the rounds.
//!
//! Environment: `COMPOSITION_ROUNDS` (number of rounds, default 30).

mod pipeline;

use greenroom_codecs::picture::Picture;
use greenroom_composition::ParticipantId;
use greenroom_composition::canvas::Canvas;
use greenroom_composition::layout::{AspectRatio, GridLayout, Layout, Participant, PipLayout, Size, Video, arrange};
use greenroom_composition::mixer::Mixer;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

const HD: Size = Size::new(1280, 720);

/// Frames of a round.
const FRAMES: u32 = 8;

/// A canvas with the pictures of a frame.
struct Composition {
    name: &'static str,
    canvas: Canvas,
    pictures: Vec<(ParticipantId, Picture)>,
}

impl Composition {
    fn new(name: &'static str, layout: &Layout, sizes: &[Size]) -> Composition {
        let ids: Vec<_> = (0..sizes.len()).map(|at| ParticipantId::from(format!("p{at}"))).collect();
        let participants = ids.iter().zip(sizes).enumerate().map(|(at, (id, size))| Participant {
            id: id.clone(),
            attributes: BTreeMap::from([("window".to_owned(), (at == 1).to_string())]),
            audio: true,
            video: Video::Playing(*size),
        });
        let mut canvas = Canvas::new(HD).expect("720p is allowed");
        canvas.lay_out(arrange(HD, layout, &participants.collect::<Vec<_>>()));
        Composition { name, canvas, pictures: ids.into_iter().zip(sizes.iter().map(|size| noise(*size))).collect() }
    }

    fn frame(&mut self) {
        for (id, picture) in &self.pictures {
            assert!(self.canvas.draw(id, picture));
        }
        black_box(self.canvas.picture());
    }
}

fn noise(Size { width, height }: Size) -> Picture {
    let plane = |count: usize| (0..count as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let chroma = width.div_ceil(2) * height.div_ceil(2);
    Picture::new(width, height, [plane(width * height), plane(chroma), plane(chroma)]).expect("planes of the size")
}

fn compositions() -> Vec<Composition> {
    let grid = |gap| Layout::Grid(GridLayout { grid_gap: gap, ..GridLayout::default() });
    let auto = Layout::Grid(GridLayout { video_aspect_ratio: AspectRatio::Auto, ..GridLayout::default() });
    let pip = Layout::Pip(PipLayout { pip_participant_attribute: "window".to_owned(), ..PipLayout::default() });
    vec![
        Composition::new("4 of 720p", &grid(2), &[HD; 4]),
        Composition::new("4 of 360p", &grid(2), &[Size::new(640, 360); 4]),
        Composition::new("9 of 720p", &grid(2), &[HD; 9]),
        Composition::new("12 of 360p", &grid(2), &[Size::new(640, 360); 12]),
        Composition::new("2 of 720p, AUTO", &auto, &[HD; 2]),
        Composition::new("1 of 720p", &grid(0), &[HD]),
        Composition::new("1 of 1080p", &grid(0), &[Size::new(1920, 1080)]),
        Composition::new("720p in a window over 720p", &pip, &[HD; 2]),
    ]
}

fn timed(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..FRAMES).for_each(|_| work());
    start.elapsed() / FRAMES
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// Time to mix the 33 ms of a frame of 12 participants, half of them with clocks that drift.
fn mixing(rounds: usize) -> Vec<Duration> {
    const SAMPLES: usize = 1_600;
    let mut mixer = Mixer::new(Duration::ZERO);
    let ids: Vec<_> = (0..12).map(|at| ParticipantId::from(format!("p{at}"))).collect();
    ids.iter().for_each(|id| mixer.add(id.clone()));
    let pcm: Vec<i16> = (0..SAMPLES * 2).map(|at| ((at / 2 * 97) % 4_000) as i16).collect();
    let mut out = Vec::new();
    let frame = |number: usize| {
        let start = Instant::now();
        for (at, id) in ids.iter().enumerate() {
            let drift = if at.is_multiple_of(2) { 1.0 } else { 1.000_2 };
            let capture = Duration::from_secs_f64((number * SAMPLES) as f64 / 48_000.0 * drift + 0.02);
            mixer.push(id, capture, &pcm).expect("in time");
        }
        out.clear();
        mixer.pull(SAMPLES, &mut out);
        black_box(&out);
        start.elapsed()
    };
    // Drift has to be some samples before it is followed.
    (0..200 + rounds).map(frame).skip(200).collect()
}

fn main() {
    let rounds = std::env::var("COMPOSITION_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(30).max(1);
    let (source, mut target) = (noise(HD), noise(HD));
    let mut compositions = compositions();
    let mut copies = Vec::new();
    let mut times = vec![Vec::new(); compositions.len()];
    for _ in 0..rounds {
        copies.push(timed(|| {
            let from = [source.y(), source.u(), source.v()];
            black_box(&mut target).planes_mut().into_iter().zip(from).for_each(|(to, from)| to.copy_from_slice(from));
        }));
        for (composition, times) in compositions.iter_mut().zip(&mut times) {
            times.push(timed(|| composition.frame()));
        }
    }
    let copy = median(copies);
    println!("{:30} {copy:8.0} µs", "copy of a picture of 720p");
    let named = compositions.iter().map(|composition| composition.name).zip(times);
    for (name, times) in named.chain([("mix of 12, for one of 30 frames/s", mixing(rounds * 10))]) {
        let time = median(times);
        println!("{name:30} {time:8.0} µs  {:6.2} copies", time / copy);
    }
    pipeline::run(rounds.div_ceil(10));
}
