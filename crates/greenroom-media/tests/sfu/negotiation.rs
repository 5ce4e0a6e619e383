//! The content of answers: codecs, their parameters, streams and candidates.

use crate::frame_source::{FrameSource, frames, send_frames};
use crate::simulation::{Simulation, config};
use greenroom_media::{OfferError, TransportId};
use std::collections::BTreeSet;
use std::time::Duration;
use str0m::format::Codec;

const BOTH: &[&str] = &["audio", "video"];
const CHROMIUM_SENDS: &str = include_str!("offers/chromium-sends.sdp");
const CHROMIUM_RECEIVES: &str = include_str!("offers/chromium-receives.sdp");
const OBS_SENDS: &str = include_str!("offers/obs-sends.sdp");
const FFMPEG_SENDS: &str = include_str!("offers/ffmpeg-sends.sdp");

fn values<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(start)).collect()
}

/// The values of an SSRC attribute.
fn ssrc_values<'a>(answer: &'a str, name: &str) -> BTreeSet<&'a str> {
    values(answer, "a=ssrc:").iter().filter_map(|line| line.split_once(' ')?.1.strip_prefix(name)).collect()
}

/// An offer with one video format only.
fn video_only(format: &str) -> String {
    let (session, video) = OBS_SENDS.split_once("m=audio").unwrap();
    let video = video.split_once("m=video").unwrap().1;
    let session = session.replace("BUNDLE 0 1", "BUNDLE 1");
    let lines: Vec<_> = video.lines().filter(|line| !line.starts_with("a=fmtp:")).collect();
    format!("{session}m=video{}\r\na=fmtp:96 {format}\r\n", lines.join("\r\n"))
}

#[test]
fn audio_and_video_of_a_publisher_have_one_stream_id_and_cname() {
    let mut sim = Simulation::new(70);
    let publisher = sim.publish(BOTH).unwrap();
    let others = [sim.subscribe(publisher, BOTH).unwrap(), sim.subscribe(publisher, BOTH).unwrap()];
    sim.run_ms(1_000);
    let (mut source, mut audio) = (FrameSource::new(publisher, Codec::H264), FrameSource::new(publisher, Codec::Opus));
    send_frames(&mut sim, &mut [&mut source, &mut audio], Duration::from_secs(6));
    let mut streams = BTreeSet::new();
    for subscriber in others {
        let client = &mut sim.clients[subscriber];
        let answer = client.answer.clone();
        let msids: BTreeSet<_> = values(&answer, "a=msid:").into_iter().collect();
        assert_eq!(msids.len(), 2, "two tracks: {answer}");
        let ids: BTreeSet<_> = msids.iter().map(|msid| msid.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), 1, "one media stream: {answer}");
        let ssrc_msids = ssrc_values(&answer, "msid:");
        assert_eq!(ssrc_msids, msids, "{answer}");
        streams.extend(ids);
        let cnames = ssrc_values(&answer, "cname:");
        assert_eq!(cnames.len(), 1, "{answer}");
        let ssrcs: BTreeSet<_> =
            values(&answer, "a=ssrc:").iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(ssrcs.len(), 3, "audio, video and its retransmissions: {answer}");
        // RTCP has the same CNAME.
        for kind in BOTH {
            let mid = client.mids[kind];
            let stream = client.rtc.direct_api();
            let mut stream = stream;
            let received = stream.stream_rx_by_mid(mid, None).and_then(|stream| stream.cname().map(str::to_owned));
            assert_eq!(received.as_deref(), cnames.first().copied(), "{kind}");
        }
    }
    assert_eq!(streams.len(), 2, "stream IDs are unique");
}

#[test]
fn ice_credentials_and_cnames_are_unique() {
    let mut sim = Simulation::new(71);
    sim.sfu.publish(sim.now, TransportId(1), CHROMIUM_SENDS).unwrap();
    let answers: Vec<_> = (2..30)
        .map(|id| sim.sfu.subscribe(sim.now, TransportId(id), TransportId(1), CHROMIUM_RECEIVES).unwrap())
        .collect();
    for start in ["a=ice-ufrag:", "a=ice-pwd:"] {
        let all: BTreeSet<_> = answers.iter().flat_map(|answer| values(answer, start)).collect();
        assert_eq!(all.len(), answers.len(), "{start}");
    }
    let cnames: BTreeSet<_> = answers.iter().flat_map(|answer| ssrc_values(answer, "cname:")).collect();
    assert_eq!(cnames.len(), answers.len());
}

#[test]
fn opus_parameters_mirror_the_clients() {
    const DEFAULT: &str = "minptime=10;useinbandfec=1";
    let line = |answer: &str| {
        let pt = values(answer, "a=rtpmap:").iter().find_map(|line| line.strip_suffix(" opus/48000/2")).unwrap();
        let parameters = values(answer, &format!("a=fmtp:{pt} "));
        assert_eq!(parameters.len(), 1, "{answer}");
        parameters[0].to_owned()
    };
    let mut id = 1;
    for (offered, publishing, receiving) in [
        (DEFAULT, DEFAULT, DEFAULT),
        (
            "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1",
            "minptime=10;useinbandfec=1;stereo=1",
            "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1",
        ),
        ("sprop-stereo=1", "minptime=10;useinbandfec=1;stereo=1", DEFAULT),
        (
            "usedtx=1; cbr=1;maxaveragebitrate=96000 ;maxplaybackrate=24000;useinbandfec=0;x-other=1",
            "minptime=10;useinbandfec=0;usedtx=1;cbr=1;maxaveragebitrate=96000;maxplaybackrate=24000",
            "minptime=10;useinbandfec=0;usedtx=1;cbr=1;maxaveragebitrate=96000;maxplaybackrate=24000",
        ),
        ("stereo=x;usedtx=;maxaveragebitrate=1e9", DEFAULT, DEFAULT),
    ] {
        let mut sim = Simulation::new(72);
        sim.sfu.publish(sim.now, TransportId(100), CHROMIUM_SENDS).unwrap();
        let sends = CHROMIUM_SENDS.replace(DEFAULT, offered);
        let answer = sim.sfu.publish(sim.now, TransportId(id), &sends).unwrap();
        assert_eq!(line(&answer), publishing, "{offered}");
        let receives = CHROMIUM_RECEIVES.replace(DEFAULT, offered);
        let answer = sim.sfu.subscribe(sim.now, TransportId(id + 1), TransportId(100), &receives).unwrap();
        assert_eq!(line(&answer), receiving, "{offered}");
        id += 2;
    }
    let mut sim = Simulation::new(73);
    let answer = sim.sfu.publish(sim.now, TransportId(1), FFMPEG_SENDS).unwrap();
    assert_eq!(line(&answer), DEFAULT, "defaults");
    let answer = sim.sfu.publish(sim.now, TransportId(2), OBS_SENDS).unwrap();
    assert_eq!(line(&answer), "minptime=10;useinbandfec=1;stereo=1;maxaveragebitrate=96000");
}

#[test]
fn unsupported_h264_profiles_are_rejected_by_name() {
    for strict in [false, true] {
        for (profile, level) in
            [("640c", "1f"), ("6400", "1f"), ("42e0", "1f"), ("42c0", "1e"), ("4200", "0d"), ("4d00", "28")]
        {
            for mode in [0, 1] {
                let mut sim = Simulation::with(74, strict);
                let format = format!("profile-level-id={profile}{level};packetization-mode={mode}");
                let answer = sim.sfu.publish(sim.now, TransportId(1), &video_only(&format)).unwrap();
                let level = if strict && level == "28" { "1f" } else { level };
                let parameters = values(&answer, "a=fmtp:96 ").join("");
                assert!(parameters.contains(&format!("profile-level-id={profile}{level}")), "{format}: {answer}");
                assert!(parameters.contains(&format!("packetization-mode={mode}")), "{format}: {answer}");
            }
        }
        for wrong in ["profile-level-id=6e001f;packetization-mode=1", "profile-level-id=zz", "packetization-mode=2"] {
            let mut sim = Simulation::with(75, strict);
            let offers = [video_only(wrong), OBS_SENDS.replace("profile-level-id=42e01f;packetization-mode=1", wrong)];
            for offer in offers {
                let refused = sim.sfu.publish(sim.now, TransportId(1), &offer);
                let Err(OfferError::UnsupportedVideoCodec(why)) = refused else { panic!("{wrong}: {refused:?}") };
                for part in ["H264", wrong.split(';').next().unwrap(), "640cxx", "42e0xx"] {
                    assert!(why.contains(part), "{part} in {why}");
                }
                assert_eq!(why.contains("VP8"), !strict, "{why}");
            }
        }
    }
    let mut sim = Simulation::new(76);
    let unsupported = video_only("x=1").replace("H264/90000", "AV1/90000");
    let Err(OfferError::UnsupportedVideoCodec(why)) = sim.sfu.publish(sim.now, TransportId(1), &unsupported) else {
        panic!()
    };
    assert!(why.contains("Offered: AV1.") && why.contains("VP8"), "{why}");
}

#[test]
fn constrained_high_is_mapped_to_the_best_offered_profile() {
    let of = |profiles: &[(u8, u32)]| {
        let mut config = config();
        config.codec_config().clear();
        config.codec_config().enable_opus(true, false);
        for (pt, profile) in profiles {
            config.codec_config().add_h264((*pt).into(), Some((pt + 1).into()), true, *profile);
        }
        config
    };
    // The subscriber's payload types and profiles, and the one that is used.
    for (offered, best) in [
        (&[(96, 0x64_0c_1f), (98, 0x42_e0_1f)][..], 96),
        (&[(96, 0x42_e0_1f), (98, 0x64_00_1f)], 98),
        (&[(96, 0x42_e0_1f), (98, 0x4d_00_1f), (100, 0x64_0c_2a)], 100),
        (&[(96, 0x42_e0_1f)], 96),
    ] {
        let mut sim = Simulation::new(77);
        let publisher = sim.publish_with(of(&[(110, 0x64_0c_1f)]), BOTH, None).unwrap();
        let subscriber = sim.subscribe_with(of(offered), publisher, BOTH).unwrap();
        sim.run_ms(1_000);
        let mut source = FrameSource::new(publisher, Codec::H264);
        send_frames(&mut sim, &mut [&mut source], Duration::from_secs(1));
        sim.run_ms(50);
        let client = &sim.clients[subscriber];
        assert!(!frames(client, "video").is_empty(), "{offered:x?}");
        assert!(client.packets.iter().all(|(_, packet)| *packet.header.payload_type == best), "{offered:x?}");
    }
}

#[test]
fn every_section_has_all_candidates() {
    let mut sim = Simulation::new(78);
    let answers = [
        sim.sfu.publish(sim.now, TransportId(1), CHROMIUM_SENDS).unwrap(),
        sim.sfu.subscribe(sim.now, TransportId(2), TransportId(1), CHROMIUM_RECEIVES).unwrap(),
    ];
    let restart = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n";
    let fragment = sim.sfu.trickle(sim.now, TransportId(2), restart).unwrap().unwrap();
    // A fragment has the candidates once: clients copy them into every section.
    for (text, expected) in [(&answers[0], [1, 1]), (&answers[1], [1, 1]), (&fragment, [1, 0])] {
        let sections: Vec<_> = text.split("m=").skip(1).collect();
        assert_eq!(sections.len(), 2, "{text}");
        for (section, expected) in sections.into_iter().zip(expected) {
            assert_eq!(section.matches("a=candidate:").count(), expected, "{text}");
            assert_eq!(section.matches("192.0.2.1 4000 typ host").count(), expected, "{text}");
            assert_eq!(section.matches("a=end-of-candidates\r\n").count(), 1, "{text}");
        }
    }
}

#[test]
fn unused_sections_are_rejected_in_their_place() {
    let mut sim = Simulation::new(57);
    let mut rtc = config().build(sim.now);
    let mut api = rtc.sdp_api();
    for kind in ["video", "audio", "video"] {
        let kind = if kind == "audio" { str0m::media::MediaKind::Audio } else { str0m::media::MediaKind::Video };
        api.add_media(kind, str0m::media::Direction::SendRecv, None, None, None);
    }
    api.add_channel("chat".into());
    let offer = api.apply().unwrap().0.to_sdp_string();
    let answer = sim.sfu.publish(sim.now, TransportId(1), &offer).unwrap();
    let heads = |text: &str| -> Vec<String> {
        let heads = text.lines().filter_map(|line| line.strip_prefix("m="));
        heads.map(|head| head.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
    };
    let ports: Vec<_> = heads(&answer).iter().map(|head| head.ends_with(" 0")).collect();
    let kinds = |text| heads(text).iter().map(|head| head.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(kinds(&answer), kinds(&offer));
    let rejected = kinds(&answer).iter().zip(&ports).filter(|(_, is_rejected)| **is_rejected).count();
    assert_eq!(rejected, 2, "{answer}");
    assert!(!answer.contains("a=sendrecv"), "nothing is sent to a publisher");
    let mids =
        |text: &str| text.lines().filter(|line| line.starts_with("a=mid:")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(mids(&answer), mids(&offer));
}
