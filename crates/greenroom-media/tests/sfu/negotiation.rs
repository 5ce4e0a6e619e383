//! The content of answers: codecs, their parameters, streams and candidates.

use crate::frame_source::{FrameSource, frames, send_frames};
use crate::simulation::{Simulation, config};
use greenroom_media::{OfferError, OfferLimits, Sfu, TransportId};
use std::collections::BTreeSet;
use std::time::Duration;
use str0m::Rtc;
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
fn errors_of_malformed_offers_name_the_problem() {
    let mut sim = Simulation::new(79);
    let audio_only = |offer: &str| offer.split("m=video").next().unwrap().replace("BUNDLE 0 1", "BUNDLE 0");
    for (offer, words) in [
        (CHROMIUM_SENDS.replace("a=mid:0\r\n", ""), "the audio section has no a=mid"),
        (CHROMIUM_SENDS.replace("a=mid:1\r\n", ""), "the video section has no a=mid"),
        (CHROMIUM_SENDS.replace("a=mid:1", "a=mid:1\r\na=mid:2"), "more than one a=mid"),
        (CHROMIUM_SENDS.replace("a=mid:1", "a=mid:0"), "the same a=mid"),
        (CHROMIUM_SENDS.replace("a=group:BUNDLE 0 1\r\n", ""), "a=group:BUNDLE"),
        (CHROMIUM_SENDS.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0\r\na=group:BUNDLE 1"), "a=group:BUNDLE"),
        (CHROMIUM_SENDS.replace("a=ice-pwd:", "a=x:"), "no a=ice-ufrag and a=ice-pwd"),
        (CHROMIUM_SENDS.replace("a=ice-pwd:", "a=ice-pwd:short\r\na=x:"), "RFC 8839"),
        (CHROMIUM_SENDS.replace("a=fingerprint:", "a=x:"), "no a=fingerprint"),
        (CHROMIUM_SENDS.replace("a=fingerprint:sha-256", "a=fingerprint:md5"), "sha-256 or sha-1"),
        (CHROMIUM_SENDS.replace("a=setup:actpass", "a=setup:holdconn"), "a=setup"),
        (CHROMIUM_SENDS.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "UDP/TLS/RTP/SAVPF"),
        (CHROMIUM_SENDS.replace("s=-\r\n", "s=-\r\na=ice-lite\r\n"), "ICE-lite"),
        (CHROMIUM_SENDS.replace("s=-\r\n", "s=a\u{1}b\r\n"), "line 3 of the offer has a control character"),
        (CHROMIUM_SENDS.replace("a=ssrc-group:FID 2002 2003", "a=rid:a-b send"), "unsupported a=rid"),
    ] {
        let refused = sim.sfu.publish(sim.now, TransportId(1), &offer);
        let Err(OfferError::Malformed(why)) = refused else { panic!("{words}: {refused:?}") };
        assert!(why.contains(words), "{words}: {why}");
        assert!(!why.contains("0x") && !why.contains('\n') && !why.contains("Parse"), "{why}");
    }
    // Irrelevant lines that the library would reject are not passed to it.
    let odd = CHROMIUM_SENDS
        .replace("o=- 4611731400430051336 2 IN IP4 127.0.0.1", "o=x y")
        .replace("t=0 0\r\n", "t=1 2\r\nb=X\r\ny=?\r\n")
        .replace(
            "a=rtcp-rsize\r\n",
            "a=rtcp-rsize\r\na=extmap:999 x\r\na=ssrc:x cname:y\r\na=rtpmap:200 z/0\r\nb=AS\r\n",
        );
    sim.sfu.publish(sim.now, TransportId(1), &odd).unwrap();
    // Elixir WebRTC has passwords with base64 padding.
    let padded = CHROMIUM_SENDS.replace("a=ice-pwd:", "a=ice-pwd:3qO0mX2S4Ei1Yy8Z0bqk5A==\r\na=x:");
    sim.sfu.publish(sim.now, TransportId(4), &padded).unwrap();
    // A single section needs no BUNDLE group.
    let answer = sim.sfu.publish(sim.now, TransportId(2), &audio_only(CHROMIUM_SENDS)).unwrap();
    assert!(answer.contains("a=group:BUNDLE 0\r\n"), "{answer}");
    let alone = audio_only(CHROMIUM_SENDS).replace("a=group:BUNDLE 0\r\n", "");
    let answer = sim.sfu.publish(sim.now, TransportId(3), &alone).unwrap();
    assert!(!answer.contains("BUNDLE"), "{answer}");
}

#[test]
fn errors_of_too_large_offers_name_the_limit() {
    let mut sim = Simulation::new(80);
    let limits = OfferLimits { max_bytes: 200_000, max_media_sections: 20 };
    sim.sfu =
        Sfu::with_limits(vec![crate::simulation::SERVER.parse().unwrap()], crate::simulation::TIMEOUT, false, limits)
            .unwrap();
    let more = |line: &dyn Fn(usize) -> String, count: usize| {
        CHROMIUM_SENDS.to_owned() + &(0..count).map(|number| line(number) + "\r\n").collect::<String>()
    };
    let section = |number: usize| format!("m=application {number} UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d{number}");
    let payload_types = (0..200).map(|pt| format!(" {pt}")).collect::<String>();
    for (offer, limit) in [
        (
            more(&|number| format!("a=ssrc:{} cname:x", number + 9_000), 1_900),
            "the video section has 1902 a=ssrc lines; the limit is 64",
        ),
        (more(&|number| format!("a=ssrc-group:FID {number} 7"), 64), "a=ssrc-group lines; the limit is 32"),
        (
            more(&|number| format!("a=candidate:{number} 1 udp 1 192.0.2.1 9 typ host"), 200),
            "a=candidate lines; the limit is 128",
        ),
        (more(&|number| format!("a=rtpmap:{} x/1", number % 128), 200), "a=rtpmap lines; the limit is 128"),
        (more(&|number| format!("a=fmtp:{} x=1", number % 128), 200), "a=fmtp lines; the limit is 128"),
        (more(&|number| format!("a=rtcp-fb:{} nack", number % 128), 600), "a=rtcp-fb lines; the limit is 512"),
        (more(&|number| format!("a=extmap:{} urn:x", number % 14), 100), "a=extmap lines; the limit is 64"),
        (more(&|number| format!("a=rid:r{number} send"), 30), "a=rid lines; the limit is 16"),
        (more(&|_| "a=x".into(), 1_200), "lines; the limit is 1000"),
        (more(&section, 30), "more than 20 sections"),
        (more(&|number| if number % 900 == 0 { section(0) } else { "a=x".into() }, 12_000), "more than 10000 lines"),
        (more(&|_| "a=".to_owned() + &"x".repeat(5_000), 1), "bytes; the limit is 4096"),
        (more(&|_| "a=".to_owned() + &"x".repeat(250), 900), "bytes; the limit is 200000"),
        (CHROMIUM_SENDS.replace(" 111 63", &(payload_types + " 111 63")), "payload types; the limit is 128"),
    ] {
        let refused = sim.sfu.publish(sim.now, TransportId(1), &offer);
        let Err(OfferError::TooLarge(why)) = refused else { panic!("{limit}: {refused:?}") };
        assert!(why.contains(limit), "{limit}: {why}");
    }
    // A browser with many transceivers stays within the limits.
    let video = CHROMIUM_SENDS.split_once("m=video").unwrap().1;
    let many: String =
        (2..20).map(|mid| "m=video".to_owned() + &video.replace("a=mid:1", &format!("a=mid:{mid}"))).collect();
    let mids = (2..20).map(|mid| format!(" {mid}")).collect::<String>();
    let offer = CHROMIUM_SENDS.replace("BUNDLE 0 1", &format!("BUNDLE 0 1{mids}")) + &many;
    let answer = sim.sfu.publish(sim.now, TransportId(1), &offer).unwrap();
    assert_eq!(answer.matches("\nm=").count(), 20);
    assert!(answer.contains("a=group:BUNDLE 0 1\r\n"), "{answer}");
}

#[test]
fn ssrc_groups_are_simulcast_layers() {
    // High, middle and low, each with RTX.
    const GROUPS: &str = "a=ssrc-group:SIM 11 12 13\r\na=ssrc-group:FID 11 21\r\na=ssrc-group:FID 12 22\r\n\
        a=ssrc-group:FID 13 23\r\na=ssrc:11 cname:x\r\na=ssrc:12 cname:x\r\na=ssrc:13 cname:x\r\n";
    let mut sim = Simulation::new(81);
    sim.edit_offer = |offer| {
        let kept: Vec<_> = offer.lines().filter(|line| !line.starts_with("a=ssrc")).collect();
        kept.join("\r\n") + "\r\n" + GROUPS
    };
    let publisher = sim.publish_with(without_rids(), &["video"], None).unwrap();
    sim.edit_offer = |offer| offer;
    let subscriber = sim.subscribe(publisher, &["video"]).unwrap();
    let layers = [(11, 21, (640, 368), 900), (12, 22, (320, 192), 500), (13, 23, (160, 96), 200)];
    let mut sources =
        layers.map(|(ssrc, rtx, size, payload_size)| source(&mut sim, publisher, ssrc, rtx, size, payload_size));
    let stray = source(&mut sim, publisher, 77, 78, (1280, 720), 1_050);
    sim.run_ms(1_000);
    // A stream outside the group is ignored, even with a higher resolution.
    let mut all = [stray, sources[2].clone(), sources[1].clone(), sources[0].clone()];
    let [a, b, c, d] = &mut all;
    send_frames(&mut sim, &mut [a, b, c, d], Duration::from_secs(4));
    sim.run_ms(100);
    let sent = payload_sizes(&sim, subscriber, Duration::from_secs(3));
    assert!(sent.len() > 40 && sent.iter().all(|payload_size| *payload_size == 9), "the best layer: {sent:?}");
    // Without the best layer, the next one.
    sources = [all[3].clone(), all[2].clone(), all[1].clone()];
    let [_, middle, low] = &mut sources;
    send_frames(&mut sim, &mut [low, middle], Duration::from_secs(3));
    let switched = sim.at();
    send_frames(&mut sim, &mut [low, middle], Duration::from_secs(1));
    sim.run_ms(100);
    let sent = payload_sizes(&sim, subscriber, switched + Duration::from_millis(50));
    assert!(!sent.is_empty() && sent.iter().all(|payload_size| *payload_size == 5), "the next layer: {sent:?}");
}

#[test]
fn a_second_stream_of_a_section_is_ignored_while_the_first_is_active() {
    let mut sim = Simulation::new(82);
    let publisher = sim.publish_with(without_rids(), &["video"], None).unwrap();
    let subscriber = sim.subscribe(publisher, &["video"]).unwrap();
    let mut first = source(&mut sim, publisher, 66, 67, (640, 368), 300);
    let mut other = source(&mut sim, publisher, 77, 78, (1280, 720), 900);
    sim.run_ms(1_000);
    send_frames(&mut sim, &mut [&mut first], Duration::from_millis(500));
    send_frames(&mut sim, &mut [&mut first, &mut other], Duration::from_secs(3));
    sim.run_ms(100);
    let sent = payload_sizes(&sim, subscriber, Duration::ZERO);
    assert!(sent.len() > 100 && sent.iter().all(|payload_size| *payload_size == 3), "the first: {sent:?}");
    assert_eq!(crate::frame_source::decodable(&sim.clients[subscriber]), first.frame);
    // When the first has ended, the second replaces it from a key frame on.
    send_frames(&mut sim, &mut [&mut other], Duration::from_secs(3));
    let since = sim.at();
    other.frame = 0;
    send_frames(&mut sim, &mut [&mut other], Duration::from_secs(1));
    sim.run_ms(100);
    let sent = payload_sizes(&sim, subscriber, since + Duration::from_millis(50));
    assert!(!sent.is_empty() && sent.iter().all(|payload_size| *payload_size == 9), "the other: {sent:?}");
}

/// A client without RIDs in its packets.
fn without_rids() -> str0m::RtcConfig {
    let mut config = config();
    let mut kept = str0m::rtp::ExtensionMap::empty();
    for (id, extension) in config.extension_map().iter() {
        use str0m::rtp::Extension;
        if !matches!(extension, Extension::RtpStreamId | Extension::RepairedRtpStreamId) {
            kept.set(id, extension.clone());
        }
    }
    *config.extension_map() = kept;
    config
}

/// A source of a stream with these SSRCs.
fn source(
    sim: &mut Simulation,
    client: usize,
    ssrc: u32,
    rtx: u32,
    size: (u32, u32),
    payload_size: usize,
) -> FrameSource {
    let rid = format!("r{ssrc}").as_str().into();
    let mid = sim.clients[client].mids["video"];
    let rtc: &mut Rtc = &mut sim.clients[client].rtc;
    rtc.direct_api().declare_stream_tx(ssrc.into(), Some(rtx.into()), mid, Some(rid));
    let source = FrameSource::new(client, Codec::H264);
    FrameSource {
        rid: Some(rid),
        size,
        payload_size,
        sequence_number: 100 * u64::from(ssrc),
        timestamp: ssrc * 77,
        ..source
    }
}

/// The payload sizes of packets received since a time, in hundreds of bytes.
fn payload_sizes(sim: &Simulation, client: usize, since: Duration) -> Vec<usize> {
    let packets = sim.clients[client].packets.iter().filter(|(at, _)| *at >= since);
    packets.filter(|(_, packet)| packet.payload.len() > 60).map(|(_, packet)| packet.payload.len() / 100).collect()
}
