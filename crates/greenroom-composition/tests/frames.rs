//! The frame clock and the choice of pictures.

mod support;

use greenroom_composition::frames::{FrameClock, PictureQueue};
use greenroom_composition::{CompositionError, DropReason};
use std::sync::Arc;
use std::time::Duration;
use support::plain;

const START: Duration = Duration::from_secs(1_700_000_000);

fn ms(millis: u64) -> Duration {
    START + Duration::from_millis(millis)
}

/// Adds a picture for the frame `next`, captured at so many milliseconds.
fn push(queue: &mut PictureQueue, clock: &FrameClock, next: u64, capture: u64) -> Result<(), DropReason> {
    queue.push(clock, next, ms(capture), Arc::new(plain(2, 2, [16, 128, 128])))
}

/// Milliseconds of the picture at a frame.
fn pick(queue: &mut PictureQueue, frame: u64) -> Option<u128> {
    queue.pick(frame).map(|(capture, _)| (capture - START).as_millis())
}

#[test]
fn frame_times_are_exact_after_a_day() {
    for (rate, day) in
        [(30.0, 30 * 86_400), (29.97, 2_589_408), (1.0, 86_400), (60.0, 60 * 86_400), (23.976, 2_071_526)]
    {
        let clock = FrameClock::new(START, rate).unwrap();
        let drift = clock.time(day).as_secs_f64() - START.as_secs_f64() - 86_400.0;
        assert!(drift.abs() <= 0.5 / rate, "{rate}: {drift}");
        let samples = clock.samples(day, 48_000) as f64 / 48_000.0 - (clock.time(day) - START).as_secs_f64();
        assert!(samples.abs() <= 1.0 / 48_000.0, "{rate}: {samples}");
        let intervals = (0..1_000).map(|frame| clock.time(frame + 1) - clock.time(frame));
        let (min, max) =
            intervals.fold((Duration::MAX, Duration::ZERO), |(min, max), one| (min.min(one), max.max(one)));
        assert!(max - min <= Duration::from_nanos(1), "{rate}");
    }
    for rate in [0.0, 0.99, 60.01, -30.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(FrameClock::new(START, rate), Err(CompositionError::FrameRate(_))));
    }
    assert!(FrameClock::new(START, 60.0).unwrap().time(u64::MAX) > START);
}

#[test]
fn every_frame_shows_the_nearest_picture() {
    let clock = FrameClock::new(START, 25.0).unwrap();
    let mut queue = PictureQueue::default();
    // Frame 1 is at 40 ms.
    for capture in [10, 25, 59, 61] {
        push(&mut queue, &clock, 0, capture).ok();
    }
    assert_eq!([0, 1, 2, 3].map(|frame| pick(&mut queue, frame)), [Some(10), Some(59), Some(61), None]);
    // At 2 frames a second, a picture is not shown a quarter of a second before its time.
    let clock = FrameClock::new(START, 2.0).unwrap();
    assert_eq!([20, 21, 519, 521].map(|capture| clock.frame_of(ms(capture))), [0, 1, 1, 2]);
    assert_eq!(clock.frame_of(Duration::ZERO), 0);
}

#[test]
fn late_pictures_are_shown_if_they_are_newer() {
    let clock = FrameClock::new(START, 25.0).unwrap();
    let mut queue = PictureQueue::default();
    push(&mut queue, &clock, 0, 40).unwrap();
    assert_eq!(pick(&mut queue, 5), Some(40));
    push(&mut queue, &clock, 6, 120).unwrap();
    push(&mut queue, &clock, 6, 80).unwrap();
    assert_eq!(pick(&mut queue, 6), Some(120));
    assert_eq!(push(&mut queue, &clock, 7, 100), Err(DropReason::Late));
    assert_eq!(push(&mut queue, &clock, 7, 120), Err(DropReason::Late));
    assert_eq!(pick(&mut queue, 7), None);
}

#[test]
fn pictures_out_of_order_are_shown_in_order() {
    let clock = FrameClock::new(START, 25.0).unwrap();
    let mut queue = PictureQueue::default();
    for capture in [120, 0, 80, 40] {
        push(&mut queue, &clock, 0, capture).unwrap();
    }
    assert_eq!([0, 1, 2, 3].map(|frame| pick(&mut queue, frame)), [Some(0), Some(40), Some(80), Some(120)]);
}

#[test]
fn a_flood_costs_little_and_the_right_pictures_are_shown() {
    let clock = FrameClock::new(START, 25.0).unwrap();
    let mut queue = PictureQueue::default();
    let (mut accepted, mut superseded, mut early) = (0, 0, 0);
    for capture in 0..3_000 {
        match push(&mut queue, &clock, 0, capture) {
            Ok(()) => accepted += 1,
            Err(DropReason::Superseded) => superseded += 1,
            Err(reason) => {
                assert_eq!(reason, DropReason::Early);
                early += 1;
            }
        }
    }
    assert!((26..=27).contains(&accepted) && superseded > 900 && early > 1_900, "{accepted} {superseded} {early}");
    for frame in 0..25 {
        let shown = pick(&mut queue, frame).unwrap();
        assert!(shown.abs_diff(u128::from(frame) * 40) <= 20, "frame {frame}: {shown}");
    }
    // At 60 frames a second, the number of pictures is the limit.
    let clock = FrameClock::new(START, 60.0).unwrap();
    let mut queue = PictureQueue::default();
    let accepted = (0..100_u64).filter(|at| push(&mut queue, &clock, 0, at * 17).is_ok()).count();
    assert_eq!(accepted, 32);
}
