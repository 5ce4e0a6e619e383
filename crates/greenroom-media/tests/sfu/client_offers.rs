//! Recorded offers of real clients.

use crate::simulation::Simulation;
use greenroom_media::{OfferError, TransportId};

const CHROMIUM_SENDS: &str = include_str!("offers/chromium-sends.sdp");
const CHROMIUM_SENDS_LAYERS: &str = include_str!("offers/chromium-sends-layers.sdp");
const CHROMIUM_RECEIVES: &str = include_str!("offers/chromium-receives.sdp");
const OBS_SENDS: &str = include_str!("offers/obs-sends.sdp");
const FFMPEG_SENDS: &str = include_str!("offers/ffmpeg-sends.sdp");
const AIORTC_RECEIVES: &str = include_str!("offers/aiortc-receives.sdp");

/// The codecs of an answer's video section, in order, without repetitions.
fn codecs(answer: &str) -> Vec<&str> {
    let video = answer.split("m=video").nth(1).unwrap_or_default();
    let names = video.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
    let mut names: Vec<_> =
        names.map(|(_, name)| name.split('/').next().unwrap()).filter(|name| *name != "rtx").collect();
    names.dedup();
    names
}

#[test]
fn publishers_offers_are_accepted() {
    for (offer, setup, loose, strict) in [
        (CHROMIUM_SENDS, "passive", &["H264", "VP8"][..], &["H264"][..]),
        (CHROMIUM_SENDS_LAYERS, "passive", &["H264", "VP8"], &["H264"]),
        (OBS_SENDS, "passive", &["H264"], &["H264"]),
        (FFMPEG_SENDS, "active", &["H264"], &["H264"]),
    ] {
        for (strict_ivs, expected) in [(false, loose), (true, strict)] {
            let mut sim = Simulation::with(60, strict_ivs);
            let answer = sim.sfu.publish(sim.now, TransportId(1), offer).unwrap();
            assert_eq!(codecs(&answer), expected, "{answer}");
            assert!(answer.contains(&format!("a=setup:{setup}\r\n")), "{answer}");
            assert!(answer.contains("a=ice-lite\r\n") && answer.contains("opus/48000/2"));
            assert_eq!(answer.matches("a=recvonly\r\n").count(), 2);
            assert_eq!(answer.matches("a=candidate:").count(), 2, "in each section");
            assert_eq!(answer.contains("a=simulcast:recv h;m;l"), offer.contains("simulcast"));
        }
    }
}

#[test]
fn subscribers_offers_are_accepted() {
    for publisher in [CHROMIUM_SENDS, CHROMIUM_SENDS_LAYERS, OBS_SENDS, FFMPEG_SENDS] {
        for subscriber in [CHROMIUM_RECEIVES, AIORTC_RECEIVES] {
            let mut sim = Simulation::new(61);
            sim.sfu.publish(sim.now, TransportId(1), publisher).unwrap();
            let answer = sim.sfu.subscribe(sim.now, TransportId(2), TransportId(1), subscriber).unwrap();
            assert_eq!(answer.matches("a=sendonly\r\n").count(), 2);
            assert!(answer.contains("a=ssrc:") && answer.contains("a=msid:"), "{answer}");
            let audio = subscriber.split("m=video").next().unwrap().to_owned();
            sim.sfu
                .subscribe(sim.now, TransportId(3), TransportId(1), &audio.replace("BUNDLE 0 1", "BUNDLE 0"))
                .unwrap();
            let wrong = subscriber.replace("H264", "H265");
            let refused = sim.sfu.subscribe(sim.now, TransportId(4), TransportId(1), &wrong);
            assert_eq!(refused, Err(OfferError::CodecMismatch));
        }
    }
}

#[test]
fn answers_have_the_clients_mids() {
    let mids = ["audio-stream", "video_stream-of-more-than-16"];
    for (offer, direction) in [(OBS_SENDS, "recvonly"), (CHROMIUM_RECEIVES, "sendonly")] {
        let named = offer
            .replace("a=group:BUNDLE 0 1", &format!("a=group:BUNDLE {} {}", mids[0], mids[1]))
            .replace("a=mid:0", &format!("a=mid:{}", mids[0]))
            .replace("a=mid:1", &format!("a=mid:{}", mids[1]));
        assert_ne!(named, offer);
        let mut sim = Simulation::new(62);
        sim.sfu.publish(sim.now, TransportId(1), OBS_SENDS).unwrap();
        let answer = match direction {
            "recvonly" => sim.sfu.publish(sim.now, TransportId(2), &named).unwrap(),
            _ => sim.sfu.subscribe(sim.now, TransportId(2), TransportId(1), &named).unwrap(),
        };
        let answered: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("a=mid:")).collect();
        assert_eq!(answered, mids, "{answer}");
        assert!(answer.contains(&format!("a=group:BUNDLE {} {}\r\n", mids[0], mids[1])), "{answer}");
        assert_eq!(answer.matches(&format!("a={direction}\r\n")).count(), 2);
        let restart = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n";
        let fragment = sim.sfu.trickle(sim.now, TransportId(2), restart).unwrap().unwrap();
        assert!(mids.iter().all(|mid| fragment.contains(&format!("a=mid:{mid}\r\n"))), "{fragment}");
    }
}
