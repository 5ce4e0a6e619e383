//! Sound and picture together: a constant frame rate, and participants whose sound and picture stay together for an hour.

mod support;

use greenroom_codecs::picture::Picture;
use greenroom_composition::layout::{Layout, Size};
use greenroom_composition::mixer::SAMPLE_RATE;
use greenroom_composition::scene::{Publisher, SceneConfig, VideoState};
use greenroom_composition::{Compositor, CompositorConfig, DropReason, ParticipantId};
use std::sync::Arc;
use std::time::Duration;
use support::{attributes, pixel, plain};

const START: Duration = Duration::from_secs(1_700_000_000);
const RATE: f64 = SAMPLE_RATE as f64;
const DARK: [u8; 3] = [30, 128, 128];
const BRIGHT: [u8; 3] = [200, 128, 128];

fn compositor(frame_rate: f64) -> Compositor {
    let config = CompositorConfig {
        output: Size::new(128, 72),
        frame_rate,
        layout: Layout::default(),
        delay: Duration::from_millis(200),
        transitions: SceneConfig::default(),
    };
    Compositor::new(config, START).unwrap()
}

fn publisher(id: &str) -> Publisher {
    Publisher { id: id.into(), attributes: attributes([]), audio: true, video: VideoState::Playing }
}

/// A camera and, for some, a microphone that make a flash and a beep of 100 ms every two seconds.
struct Device {
    id: ParticipantId,
    /// Speed of the microphone's clock.
    clock: Option<f64>,
    frame_rate: f64,
    samples: usize,
    pictures: usize,
}

fn is_flash(seconds: f64) -> bool {
    seconds.rem_euclid(2.0) < 0.1
}

impl Device {
    fn new(id: &str, clock: Option<f64>, frame_rate: f64) -> Device {
        Device { id: id.into(), clock, frame_rate, samples: 0, pictures: 0 }
    }

    /// Delivers all that is captured before a time, in seconds.
    fn deliver(&mut self, until: f64, compositor: &mut Compositor, looks: &[Arc<Picture>; 2]) {
        let at = |seconds: f64| START + Duration::from_secs_f64(seconds);
        while let Some(clock) = self.clock.filter(|clock| (self.samples as f64) < until * RATE * clock) {
            let time = |sample: usize| sample as f64 / (RATE * clock);
            let square = |sample: usize| if (sample / 24).is_multiple_of(2) { 9_000 } else { -9_000 };
            let sample = |at: usize| if is_flash(time(at)) { square(at) } else { 0 };
            let (first, end) = (self.samples, self.samples + 960);
            let pcm: Vec<_> = match is_flash(time(first)) || is_flash(time(end)) {
                true => (first..end).flat_map(|at| [sample(at); 2]).collect(),
                false => vec![0; 2 * 960],
            };
            compositor.push_sound(&self.id, at(time(self.samples)), &pcm).unwrap();
            self.samples += 960;
        }
        while (self.pictures as f64) < until * self.frame_rate {
            let time = self.pictures as f64 / self.frame_rate;
            let look = looks[usize::from(is_flash(time))].clone();
            compositor.push_picture(&self.id, at(time), look).unwrap();
            self.pictures += 1;
        }
    }
}

/// Times at which something begins.
#[derive(Default)]
struct Onsets {
    times: Vec<f64>,
    last: f64,
}

impl Onsets {
    /// Notes a time at which it is there.
    fn note(&mut self, time: f64) {
        if self.times.is_empty() || time - self.last > 0.5 {
            self.times.push(time);
        }
        self.last = time;
    }

    /// Distance of the worst one to the even seconds. The first one is left out: a tile has just appeared.
    fn worst(&self) -> f64 {
        let distance = |time: &f64| (time - (time / 2.0).round() * 2.0).abs();
        self.times.iter().skip(1).map(distance).fold(0.0, f64::max)
    }
}

/// Every flash and every beep begins within 40 ms of its time, and of each other, after an hour too. Only one microphone is on, so
/// that beeps can be told apart.
#[test]
fn sound_and_picture_stay_together_for_an_hour() {
    let mut compositor = compositor(30.0);
    let mut devices = [Device::new("a", Some(1.0 + 200e-6), 30.0), Device::new("b", None, 24.0)];
    let looks = [DARK, BRIGHT].map(|color| Arc::new(plain(64, 36, color)));
    for device in &devices {
        compositor.update(Publisher { audio: device.clock.is_some(), ..publisher(&device.id) });
    }
    let (mut beeps, mut flashes) = (Onsets::default(), [Onsets::default(), Onsets::default()]);
    while compositor.due() < START + Duration::from_secs(3_600) {
        let until = (compositor.due() - START).as_secs_f64();
        devices.iter_mut().for_each(|device| device.deliver(until, &mut compositor, &looks));
        let frame = compositor.next_frame(true);
        let time = (frame.time - START).as_secs_f64();
        for (tile, flashes) in flashes.iter_mut().enumerate() {
            if pixel(frame.picture, 32 + tile * 64, 36)[0] == BRIGHT[0] {
                flashes.note(time);
            }
        }
        let loud = frame.sound.iter().step_by(2).enumerate().filter(|(_, sample)| sample.abs() > 1_000);
        loud.for_each(|(at, _)| beeps.note(time + at as f64 / RATE));
    }
    assert!(beeps.worst() < 0.002, "beeps: {}", beeps.worst());
    for flashes in &flashes {
        assert!(flashes.worst() < 0.04, "flashes: {}", flashes.worst());
        assert_eq!(flashes.times.len(), 1_800);
    }
    assert_eq!(beeps.times.len(), 1_800);
    let apart = |(beep, flash): (&f64, &f64)| (beep - flash).abs();
    let worst = beeps.times.iter().zip(&flashes[0].times).skip(1).map(apart).fold(0.0, f64::max);
    assert!(worst < 0.04, "{worst}");
}

#[test]
fn frames_and_samples_are_constant_through_everything() {
    let mut compositor = compositor(29.97);
    let picture = |width, height| Arc::new(plain(width, height, BRIGHT));
    let (mut samples, mut last) = (0, None);
    for number in 0..3_000_u64 {
        let now = compositor.due() - Duration::from_millis(200);
        match number {
            10 => compositor.update(publisher("a")),
            40 => compositor.update(publisher("b")),
            100 => compositor.remove(&"a".into(), true),
            130 => compositor.update(publisher("a")),
            200 => compositor.update(Publisher { audio: false, ..publisher("a") }),
            300 => compositor.update(Publisher { video: VideoState::Stopped, ..publisher("b") }),
            _ => {}
        }
        if number.is_multiple_of(3) {
            let side = 16 + usize::try_from(number % 7).unwrap() * 40;
            let known = compositor.push_picture(&"a".into(), now, picture(side, 90));
            assert_eq!(known.is_err(), number < 10 || (100..130).contains(&number), "{number}: {known:?}");
            compositor.push_sound(&"b".into(), now, &[100; 960]).ok();
        }
        let frame = compositor.next_frame(number % 5 != 4);
        assert_eq!(frame.number, number);
        assert!(last.replace(frame.time).is_none_or(|last| frame.time > last));
        samples += frame.sound.len() / 2;
    }
    let seconds = 3_000.0 / 29.97;
    assert!((samples as f64 / RATE - seconds).abs() < 0.000_1);
    let unknown = compositor.push_sound(&"nobody".into(), START, &[0; 2]);
    assert_eq!(unknown.map_err(DropReason::as_str), Err("unknown"));
}

#[test]
fn a_frame_that_is_not_drawn_repeats_the_picture() {
    let mut compositor = compositor(25.0);
    compositor.update(publisher("a"));
    let push = |compositor: &mut Compositor, frame: u64, color| {
        compositor.push_picture(&"a".into(), START + Duration::from_millis(frame * 40), Arc::new(plain(64, 36, color)))
    };
    push(&mut compositor, 0, DARK).unwrap();
    assert_eq!(pixel(compositor.next_frame(true).picture, 64, 36), DARK);
    push(&mut compositor, 1, BRIGHT).unwrap();
    assert_eq!(pixel(compositor.next_frame(false).picture, 64, 36), DARK);
    assert_eq!(compositor.next_frame(true).number, 2);
    assert_eq!(pixel(compositor.next_frame(true).picture, 64, 36), BRIGHT);
}
