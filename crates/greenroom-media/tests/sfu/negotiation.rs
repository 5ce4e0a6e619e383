//! What is agreed to in an answer: codecs, their parameters, streams and candidates.

use crate::camera::{Camera, film, frames};
use crate::world::{World, config};
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

/// The second word of an `a=ssrc` line and the rest.
fn of_ssrcs<'a>(answer: &'a str, name: &str) -> BTreeSet<&'a str> {
    values(answer, "a=ssrc:").iter().filter_map(|line| line.split_once(' ')?.1.strip_prefix(name)).collect()
}

/// An offer of video alone, of one format.
fn video_only(format: &str) -> String {
    let (session, video) = OBS_SENDS.split_once("m=audio").unwrap();
    let video = video.split_once("m=video").unwrap().1;
    let session = session.replace("BUNDLE 0 1", "BUNDLE 1");
    let lines: Vec<_> = video.lines().filter(|line| !line.starts_with("a=fmtp:")).collect();
    format!("{session}m=video{}\r\na=fmtp:96 {format}\r\n", lines.join("\r\n"))
}

#[test]
fn audio_and_video_of_a_publisher_are_one_stream_with_one_cname() {
    let mut world = World::new(70);
    let publisher = world.publish(BOTH).unwrap();
    let others = [world.subscribe(publisher, BOTH).unwrap(), world.subscribe(publisher, BOTH).unwrap()];
    world.run_ms(1_000);
    let (mut camera, mut microphone) = (Camera::new(publisher, Codec::H264), Camera::new(publisher, Codec::Opus));
    film(&mut world, &mut [&mut camera, &mut microphone], Duration::from_secs(6));
    let mut streams = BTreeSet::new();
    for subscriber in others {
        let client = &mut world.clients[subscriber];
        let answer = client.answer.clone();
        let msids: BTreeSet<_> = values(&answer, "a=msid:").into_iter().collect();
        assert_eq!(msids.len(), 2, "two tracks: {answer}");
        let ids: BTreeSet<_> = msids.iter().map(|msid| msid.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), 1, "of one stream: {answer}");
        let of_ssrcs_ids = of_ssrcs(&answer, "msid:");
        assert_eq!(of_ssrcs_ids, msids, "{answer}");
        streams.extend(ids);
        let cnames = of_ssrcs(&answer, "cname:");
        assert_eq!(cnames.len(), 1, "{answer}");
        let ssrcs: BTreeSet<_> =
            values(&answer, "a=ssrc:").iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(ssrcs.len(), 3, "audio, video and its retransmissions: {answer}");
        // And in RTCP.
        for kind in BOTH {
            let mid = client.mids[kind];
            let stream = client.rtc.direct_api();
            let mut stream = stream;
            let heard = stream.stream_rx_by_mid(mid, None).and_then(|stream| stream.cname().map(str::to_owned));
            assert_eq!(heard.as_deref(), cnames.first().copied(), "{kind}");
        }
    }
    assert_eq!(streams.len(), 2, "each connection has a stream of its own");
}

#[test]
fn ice_credentials_and_ssrcs_differ_between_connections() {
    let mut world = World::new(71);
    world.sfu.publish(world.now, TransportId(1), CHROMIUM_SENDS).unwrap();
    let answers: Vec<_> = (2..30)
        .map(|peer| world.sfu.subscribe(world.now, TransportId(peer), TransportId(1), CHROMIUM_RECEIVES).unwrap())
        .collect();
    for start in ["a=ice-ufrag:", "a=ice-pwd:"] {
        let all: BTreeSet<_> = answers.iter().flat_map(|answer| values(answer, start)).collect();
        assert_eq!(all.len(), answers.len(), "{start}");
    }
    let cnames: BTreeSet<_> = answers.iter().flat_map(|answer| of_ssrcs(answer, "cname:")).collect();
    assert_eq!(cnames.len(), answers.len());
}

#[test]
fn parameters_of_opus_are_the_peers() {
    const DEFAULT: &str = "minptime=10;useinbandfec=1";
    let line = |answer: &str| {
        let pt = values(answer, "a=rtpmap:").iter().find_map(|line| line.strip_suffix(" opus/48000/2")).unwrap();
        let parameters = values(answer, &format!("a=fmtp:{pt} "));
        assert_eq!(parameters.len(), 1, "{answer}");
        parameters[0].to_owned()
    };
    let mut peer = 1;
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
        let mut world = World::new(72);
        world.sfu.publish(world.now, TransportId(100), CHROMIUM_SENDS).unwrap();
        let sends = CHROMIUM_SENDS.replace(DEFAULT, offered);
        let answer = world.sfu.publish(world.now, TransportId(peer), &sends).unwrap();
        assert_eq!(line(&answer), publishing, "{offered}");
        let receives = CHROMIUM_RECEIVES.replace(DEFAULT, offered);
        let answer = world.sfu.subscribe(world.now, TransportId(peer + 1), TransportId(100), &receives).unwrap();
        assert_eq!(line(&answer), receiving, "{offered}");
        peer += 2;
    }
    let mut world = World::new(73);
    let answer = world.sfu.publish(world.now, TransportId(1), FFMPEG_SENDS).unwrap();
    assert_eq!(line(&answer), DEFAULT, "nothing was offered");
    let answer = world.sfu.publish(world.now, TransportId(2), OBS_SENDS).unwrap();
    assert_eq!(line(&answer), "minptime=10;useinbandfec=1;stereo=1;maxaveragebitrate=96000");
}

#[test]
fn profiles_of_h264_are_agreed_to_and_others_are_refused_by_name() {
    for strict in [false, true] {
        for (profile, level) in
            [("640c", "1f"), ("6400", "1f"), ("42e0", "1f"), ("42c0", "1e"), ("4200", "0d"), ("4d00", "28")]
        {
            for mode in [0, 1] {
                let mut world = World::with(74, strict);
                let format = format!("profile-level-id={profile}{level};packetization-mode={mode}");
                let answer = world.sfu.publish(world.now, TransportId(1), &video_only(&format)).unwrap();
                let level = if strict && level == "28" { "1f" } else { level };
                let agreed = values(&answer, "a=fmtp:96 ").join("");
                assert!(agreed.contains(&format!("profile-level-id={profile}{level}")), "{format}: {answer}");
                assert!(agreed.contains(&format!("packetization-mode={mode}")), "{format}: {answer}");
            }
        }
        for wrong in ["profile-level-id=6e001f;packetization-mode=1", "profile-level-id=zz", "packetization-mode=2"] {
            let mut world = World::with(75, strict);
            let offers = [video_only(wrong), OBS_SENDS.replace("profile-level-id=42e01f;packetization-mode=1", wrong)];
            for offer in offers {
                let refused = world.sfu.publish(world.now, TransportId(1), &offer);
                let Err(OfferError::UnsupportedVideoCodec(why)) = refused else { panic!("{wrong}: {refused:?}") };
                for part in ["H264", wrong.split(';').next().unwrap(), "640cxx", "42e0xx"] {
                    assert!(why.contains(part), "{part} in {why}");
                }
                assert_eq!(why.contains("VP8"), !strict, "{why}");
            }
        }
    }
    let mut world = World::new(76);
    let foreign = video_only("x=1").replace("H264/90000", "AV1/90000");
    let Err(OfferError::UnsupportedVideoCodec(why)) = world.sfu.publish(world.now, TransportId(1), &foreign) else {
        panic!()
    };
    assert!(why.contains("Offered: AV1.") && why.contains("VP8"), "{why}");
}

#[test]
fn a_stream_of_constrained_high_reaches_whoever_can_decode_it() {
    let of = |profiles: &[(u8, u32)]| {
        let mut config = config();
        config.codec_config().clear();
        config.codec_config().enable_opus(true, false);
        for (pt, profile) in profiles {
            config.codec_config().add_h264((*pt).into(), Some((pt + 1).into()), true, *profile);
        }
        config
    };
    // What a subscriber offers, and which of it the stream comes as.
    for (offered, best) in [
        (&[(96, 0x64_0c_1f), (98, 0x42_e0_1f)][..], 96),
        (&[(96, 0x42_e0_1f), (98, 0x64_00_1f)], 98),
        (&[(96, 0x42_e0_1f), (98, 0x4d_00_1f), (100, 0x64_0c_2a)], 100),
        (&[(96, 0x42_e0_1f)], 96),
    ] {
        let mut world = World::new(77);
        let publisher = world.publish_with(of(&[(110, 0x64_0c_1f)]), BOTH, None).unwrap();
        let subscriber = world.subscribe_with(of(offered), publisher, BOTH).unwrap();
        world.run_ms(1_000);
        let mut camera = Camera::new(publisher, Codec::H264);
        film(&mut world, &mut [&mut camera], Duration::from_secs(1));
        world.run_ms(50);
        let client = &world.clients[subscriber];
        assert!(!frames(client, "video").is_empty(), "{offered:x?}");
        assert!(client.packets.iter().all(|(_, packet)| *packet.header.payload_type == best), "{offered:x?}");
    }
}

#[test]
fn candidates_are_in_every_section_and_are_complete() {
    let mut world = World::new(78);
    let answers = [
        world.sfu.publish(world.now, TransportId(1), CHROMIUM_SENDS).unwrap(),
        world.sfu.subscribe(world.now, TransportId(2), TransportId(1), CHROMIUM_RECEIVES).unwrap(),
    ];
    let restart = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n";
    let fragment = world.sfu.trickle(world.now, TransportId(2), restart).unwrap().unwrap();
    // Clients that replace their candidates by those of a fragment put them into every section.
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
fn what_is_wrong_with_an_offer_is_said_in_our_own_words() {
    let mut world = World::new(79);
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
        (CHROMIUM_SENDS.replace("a=ssrc-group:FID 2002 2003", "a=rid:a-b send"), "RIDs"),
    ] {
        let refused = world.sfu.publish(world.now, TransportId(1), &offer);
        let Err(OfferError::Malformed(why)) = refused else { panic!("{words}: {refused:?}") };
        assert!(why.contains(words), "{words}: {why}");
        assert!(!why.contains("0x") && !why.contains('\n') && !why.contains("Parse"), "{why}");
    }
    // Lines that the library would choke on, and that nothing depends on, are not handed to it.
    let odd = CHROMIUM_SENDS
        .replace("o=- 4611731400430051336 2 IN IP4 127.0.0.1", "o=x y")
        .replace("t=0 0\r\n", "t=1 2\r\nb=X\r\ny=?\r\n")
        .replace(
            "a=rtcp-rsize\r\n",
            "a=rtcp-rsize\r\na=extmap:999 x\r\na=ssrc:x cname:y\r\na=rtpmap:200 z/0\r\nb=AS\r\n",
        );
    world.sfu.publish(world.now, TransportId(1), &odd).unwrap();
    // Elixir WebRTC leaves the padding of base64 in its passwords.
    let padded = CHROMIUM_SENDS.replace("a=ice-pwd:", "a=ice-pwd:3qO0mX2S4Ei1Yy8Z0bqk5A==\r\na=x:");
    world.sfu.publish(world.now, TransportId(4), &padded).unwrap();
    // A single section needs no bundle.
    let answer = world.sfu.publish(world.now, TransportId(2), &audio_only(CHROMIUM_SENDS)).unwrap();
    assert!(answer.contains("a=group:BUNDLE 0\r\n"), "{answer}");
    let alone = audio_only(CHROMIUM_SENDS).replace("a=group:BUNDLE 0\r\n", "");
    let answer = world.sfu.publish(world.now, TransportId(3), &alone).unwrap();
    assert!(!answer.contains("BUNDLE"), "{answer}");
}

#[test]
fn limits_of_offers_are_named() {
    let mut world = World::new(80);
    let limits = OfferLimits { max_bytes: 200_000, max_media_sections: 20 };
    world.sfu =
        Sfu::with_limits(vec![crate::world::SERVER.parse().unwrap()], crate::world::TIMEOUT, false, limits).unwrap();
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
        let refused = world.sfu.publish(world.now, TransportId(1), &offer);
        let Err(OfferError::TooLarge(why)) = refused else { panic!("{limit}: {refused:?}") };
        assert!(why.contains(limit), "{limit}: {why}");
    }
    // As much as a browser offers with dozens of transceivers.
    let video = CHROMIUM_SENDS.split_once("m=video").unwrap().1;
    let many: String =
        (2..20).map(|mid| "m=video".to_owned() + &video.replace("a=mid:1", &format!("a=mid:{mid}"))).collect();
    let mids = (2..20).map(|mid| format!(" {mid}")).collect::<String>();
    let offer = CHROMIUM_SENDS.replace("BUNDLE 0 1", &format!("BUNDLE 0 1{mids}")) + &many;
    let answer = world.sfu.publish(world.now, TransportId(1), &offer).unwrap();
    assert_eq!(answer.matches("\nm=").count(), 20);
    assert!(answer.contains("a=group:BUNDLE 0 1\r\n"), "{answer}");
}

#[test]
fn layers_by_ssrc_are_layers() {
    // High, middle and low, in this order; each with retransmissions.
    const GROUPS: &str = "a=ssrc-group:SIM 11 12 13\r\na=ssrc-group:FID 11 21\r\na=ssrc-group:FID 12 22\r\n\
        a=ssrc-group:FID 13 23\r\na=ssrc:11 cname:x\r\na=ssrc:12 cname:x\r\na=ssrc:13 cname:x\r\n";
    let mut world = World::new(81);
    world.edit = |offer| {
        let kept: Vec<_> = offer.lines().filter(|line| !line.starts_with("a=ssrc")).collect();
        kept.join("\r\n") + "\r\n" + GROUPS
    };
    let publisher = world.publish_with(without_rids(), &["video"], None).unwrap();
    world.edit = |offer| offer;
    let subscriber = world.subscribe(publisher, &["video"]).unwrap();
    let layers = [(11, 21, (640, 368), 900), (12, 22, (320, 192), 500), (13, 23, (160, 96), 200)];
    let mut cameras = layers.map(|(ssrc, rtx, size, weight)| camera(&mut world, publisher, ssrc, rtx, size, weight));
    let stray = camera(&mut world, publisher, 77, 78, (1280, 720), 1_050);
    world.run_ms(1_000);
    // A stream that is not of the group is left out, however large.
    let mut all = [stray, cameras[2].clone(), cameras[1].clone(), cameras[0].clone()];
    let [a, b, c, d] = &mut all;
    film(&mut world, &mut [a, b, c, d], Duration::from_secs(4));
    world.run_ms(100);
    let sent = weights(&world, subscriber, Duration::from_secs(3));
    assert!(sent.len() > 40 && sent.iter().all(|weight| *weight == 9), "the largest: {sent:?}");
    // Without the largest, the next.
    cameras = [all[3].clone(), all[2].clone(), all[1].clone()];
    let [_, middle, low] = &mut cameras;
    film(&mut world, &mut [low, middle], Duration::from_secs(3));
    let fallen = world.at();
    film(&mut world, &mut [low, middle], Duration::from_secs(1));
    world.run_ms(100);
    let sent = weights(&world, subscriber, fallen + Duration::from_millis(50));
    assert!(!sent.is_empty() && sent.iter().all(|weight| *weight == 5), "the next: {sent:?}");
}

#[test]
fn of_two_streams_of_a_section_one_is_kept_to() {
    let mut world = World::new(82);
    let publisher = world.publish_with(without_rids(), &["video"], None).unwrap();
    let subscriber = world.subscribe(publisher, &["video"]).unwrap();
    let mut first = camera(&mut world, publisher, 66, 67, (640, 368), 300);
    let mut other = camera(&mut world, publisher, 77, 78, (1280, 720), 900);
    world.run_ms(1_000);
    film(&mut world, &mut [&mut first], Duration::from_millis(500));
    film(&mut world, &mut [&mut first, &mut other], Duration::from_secs(3));
    world.run_ms(100);
    let sent = weights(&world, subscriber, Duration::ZERO);
    assert!(sent.len() > 100 && sent.iter().all(|weight| *weight == 3), "the first: {sent:?}");
    assert_eq!(crate::camera::decodable(&world.clients[subscriber]), first.frame);
    // Once it has ended, another takes its place, from a key frame on.
    film(&mut world, &mut [&mut other], Duration::from_secs(3));
    let since = world.at();
    other.frame = 0;
    film(&mut world, &mut [&mut other], Duration::from_secs(1));
    world.run_ms(100);
    let sent = weights(&world, subscriber, since + Duration::from_millis(50));
    assert!(!sent.is_empty() && sent.iter().all(|weight| *weight == 9), "the other: {sent:?}");
}

/// A client that does not name layers in its packets.
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

/// A camera that sends a stream of its own, of this SSRC.
fn camera(world: &mut World, client: usize, ssrc: u32, rtx: u32, size: (u32, u32), weight: usize) -> Camera {
    let rid = format!("r{ssrc}").as_str().into();
    let mid = world.clients[client].mids["video"];
    let rtc: &mut Rtc = &mut world.clients[client].rtc;
    rtc.direct_api().declare_stream_tx(ssrc.into(), Some(rtx.into()), mid, Some(rid));
    let camera = Camera::new(client, Codec::H264);
    Camera { rid: Some(rid), size, weight, number: 100 * u64::from(ssrc), time: ssrc * 77, ..camera }
}

/// The weights of the packets that a client was sent since a time, in hundreds of bytes.
fn weights(world: &World, client: usize, since: Duration) -> Vec<usize> {
    let packets = world.clients[client].packets.iter().filter(|(at, _)| *at >= since);
    packets.filter(|(_, packet)| packet.payload.len() > 60).map(|(_, packet)| packet.payload.len() / 100).collect()
}
