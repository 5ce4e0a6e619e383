//! The publishing limits of Amazon IVS.

use crate::frame_source::{FrameSource, send_frames};
use crate::simulation::Simulation;
use greenroom_media::{CloseReason, OfferError};
use std::time::Duration;
use str0m::Rtc;
use str0m::format::Codec;

const BOTH: &[&str] = &["audio", "video"];

fn outcome(strict: bool, change: impl Fn(&mut FrameSource)) -> Option<CloseReason> {
    let mut sim = Simulation::with(40, strict);
    let publisher = sim.publish(BOTH).unwrap();
    sim.run_ms(500);
    let mut source = FrameSource::new(publisher, Codec::H264);
    change(&mut source);
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(4));
    sim.run_ms(50);
    assert_eq!(sim.close_reason(publisher).is_some(), sim.clients[publisher].closed);
    sim.close_reason(publisher)
}

#[test]
fn resolutions_above_720p_are_rejected() {
    for (size, reason) in [
        ((1280, 720), None),
        ((720, 1280), None),
        ((1296, 720), Some(CloseReason::ResolutionExceeded)),
        ((1920, 1088), Some(CloseReason::ResolutionExceeded)),
        ((1280, 736), Some(CloseReason::ResolutionExceeded)),
        ((736, 1280), Some(CloseReason::ResolutionExceeded)),
    ] {
        assert_eq!(outcome(true, |source| source.size = size), reason, "{size:?}");
        assert_eq!(outcome(false, |source| source.size = size), None, "{size:?}");
    }
}

#[test]
fn bitrates_above_8_5_megabits_are_rejected() {
    // A frame is two packets of about 1,140 bytes; there are 30.3 rounds per second.
    for (frames_per_round, strict, reason) in
        [(14, true, None), (17, true, Some(CloseReason::BitrateExceeded)), (17, false, None)]
    {
        let mut sim = Simulation::with(43, strict);
        let publisher = sim.publish(BOTH).unwrap();
        sim.run_ms(500);
        let mut source = FrameSource { payload_size: 1_100, ..FrameSource::new(publisher, Codec::H264) };
        for _ in 0..100 {
            (0..frames_per_round).for_each(|_| source.send_frame(&mut sim));
            sim.run_ms(33);
        }
        sim.run_ms(50);
        assert_eq!(sim.close_reason(publisher), reason, "{frames_per_round} frames per round");
    }
}

#[test]
fn b_frames_are_rejected() {
    assert_eq!(outcome(true, |source| source.b_frames = true), Some(CloseReason::BFramesPresent));
    assert_eq!(outcome(false, |source| source.b_frames = true), None);
}

#[test]
fn publishers_must_offer_h264() {
    let mut sim = Simulation::with(41, true);
    let vp8 = || Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, false).enable_vp8(true);
    assert!(matches!(sim.publish_with(vp8(), BOTH, None), Err(OfferError::UnsupportedVideoCodec(_))));
    assert!(matches!(sim.publish(&["audio"]), Err(OfferError::UnsupportedVideoCodec(_))));
    let publisher = sim.publish(BOTH).unwrap();
    assert!(!sim.clients[publisher].answer.contains("VP8"));
    // Subscribers need not.
    sim.subscribe(publisher, &["audio"]).unwrap();

    let mut sim = Simulation::new(42);
    let publisher = sim.publish(BOTH).unwrap();
    let answer = sim.clients[publisher].answer.clone();
    assert!(answer.find("H264").unwrap() < answer.find("VP8").unwrap());
    sim.publish_with(vp8(), BOTH, None).unwrap();
    sim.publish(&["audio"]).unwrap();
}
