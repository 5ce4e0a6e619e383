//! The limits of IVS, for operators who want them.

use crate::camera::{Camera, film};
use crate::world::World;
use greenroom_media::{CloseReason, OfferError};
use std::time::Duration;
use str0m::Rtc;
use str0m::format::Codec;

const BOTH: &[&str] = &["audio", "video"];

fn outcome(strict: bool, change: impl Fn(&mut Camera)) -> Option<CloseReason> {
    let mut world = World::with(40, strict);
    let publisher = world.publish(BOTH).unwrap();
    world.run_ms(500);
    let mut camera = Camera::new(publisher, Codec::H264);
    change(&mut camera);
    film(&mut world, &mut [&mut camera], Duration::from_secs(4));
    world.run_ms(50);
    assert_eq!(world.closed(publisher).is_some(), world.clients[publisher].closed);
    world.closed(publisher)
}

#[test]
fn pictures_of_720p_are_let_through_and_larger_ones_are_not() {
    for (size, why) in [
        ((1280, 720), None),
        ((720, 1280), None),
        ((1296, 720), Some(CloseReason::ResolutionExceeded)),
        ((1920, 1088), Some(CloseReason::ResolutionExceeded)),
        ((1280, 736), Some(CloseReason::ResolutionExceeded)),
        ((736, 1280), Some(CloseReason::ResolutionExceeded)),
    ] {
        assert_eq!(outcome(true, |camera| camera.size = size), why, "{size:?}");
        assert_eq!(outcome(false, |camera| camera.size = size), None, "{size:?}");
    }
}

#[test]
fn eight_and_a_half_megabits_a_second_are_let_through_and_more_are_not() {
    // A frame is two packets of some 1,140 bytes, and there are 30.3 rounds a second.
    for (frames_a_round, strict, why) in
        [(14, true, None), (17, true, Some(CloseReason::BitrateExceeded)), (17, false, None)]
    {
        let mut world = World::with(43, strict);
        let publisher = world.publish(BOTH).unwrap();
        world.run_ms(500);
        let mut camera = Camera { weight: 1_100, ..Camera::new(publisher, Codec::H264) };
        for _ in 0..100 {
            (0..frames_a_round).for_each(|_| camera.film(&mut world));
            world.run_ms(33);
        }
        world.run_ms(50);
        assert_eq!(world.closed(publisher), why, "{frames_a_round} frames a round");
    }
}

#[test]
fn pictures_that_need_later_ones_are_not_let_through() {
    assert_eq!(outcome(true, |camera| camera.b_frames = true), Some(CloseReason::BFramesPresent));
    assert_eq!(outcome(false, |camera| camera.b_frames = true), None);
}

#[test]
fn an_offer_must_have_h264() {
    let mut world = World::with(41, true);
    let vp8 = || Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, false).enable_vp8(true);
    assert!(matches!(world.publish_with(vp8(), BOTH, None), Err(OfferError::UnsupportedVideoCodec(_))));
    assert!(matches!(world.publish(&["audio"]), Err(OfferError::UnsupportedVideoCodec(_))));
    let publisher = world.publish(BOTH).unwrap();
    assert!(!world.clients[publisher].answer.contains("VP8"));
    // Who only receives need not have it.
    world.subscribe(publisher, &["audio"]).unwrap();

    let mut world = World::new(42);
    let publisher = world.publish(BOTH).unwrap();
    let answer = world.clients[publisher].answer.clone();
    assert!(answer.find("H264").unwrap() < answer.find("VP8").unwrap());
    world.publish_with(vp8(), BOTH, None).unwrap();
    world.publish(&["audio"]).unwrap();
}
