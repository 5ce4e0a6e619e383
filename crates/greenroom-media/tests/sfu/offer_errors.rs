//! Offers that are rejected, and the texts of the errors.

use crate::simulation::{SERVER, Simulation, TIMEOUT, config};
use greenroom_media::{OfferError, OfferLimits, Sfu, TransportId};

const CHROMIUM_SENDS: &str = include_str!("offers/chromium-sends.sdp");

#[test]
fn invalid_offers_are_rejected_with_a_reason() {
    let mut sim = Simulation::new(56);
    let good = {
        let mut rtc = config().build(sim.now);
        let mut api = rtc.sdp_api();
        api.add_media(str0m::media::MediaKind::Audio, str0m::media::Direction::SendOnly, None, None, None);
        api.apply().unwrap().0.to_sdp_string()
    };
    let without = |start: &str| {
        let lines: Vec<_> = good.lines().filter(|line| !line.starts_with(start)).collect();
        lines.join("\r\n") + "\r\n"
    };
    let malformed = [
        String::new(),
        "hello".into(),
        "v=0\r\n".into(),
        without("v="),
        without("a=ice-pwd"),
        without("a=fingerprint"),
        without("m="),
        good.replace("a=sendonly", "a=recvonly"),
        good.replace("a=sendonly", "a=inactive"),
    ];
    for (number, offer) in malformed.iter().enumerate() {
        let answer = sim.sfu.publish(sim.now, TransportId(1), offer);
        assert!(matches!(answer, Err(OfferError::Malformed(_))), "{number}: {answer:?}");
    }
    for more in ["a=x\r\n".repeat(3_000), "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(80), "x".repeat(300_000)] {
        let answer = sim.sfu.publish(sim.now, TransportId(1), &(good.clone() + &more));
        assert!(matches!(answer, Err(OfferError::TooLarge(_))), "{answer:?}");
    }
    // Two sections without BUNDLE, and with another protocol.
    let more = good.split_once("m=audio").unwrap().1.replace("opus", "VP8").replace("/48000/2", "/90000");
    let second = format!("{good}m=video{more}");
    for offer in [second.clone(), second.replace("m=video 9 UDP/TLS/RTP/SAVPF", "m=video 9 UDP/TLS/RTX/SAVPF")] {
        let answer = sim.sfu.publish(sim.now, TransportId(1), &offer);
        assert!(matches!(answer, Err(OfferError::Malformed(_))), "{answer:?}");
    }
    let foreign = good.replace("opus", "speex");
    assert_eq!(sim.sfu.publish(sim.now, TransportId(1), &foreign), Err(OfferError::UnsupportedAudioCodec));
    assert_eq!(sim.sfu.subscribe(sim.now, TransportId(1), TransportId(2), &good), Err(OfferError::PublisherNotFound));
    assert_eq!(sim.sfu.snapshot(), []);
    sim.sfu.publish(sim.now, TransportId(1), &good).unwrap();
    assert!(matches!(sim.sfu.publish(sim.now, TransportId(1), &good), Err(OfferError::Unsupported(_))));
    let subscriber = good.replace("a=sendonly", "a=recvonly");
    sim.sfu.subscribe(sim.now, TransportId(2), TransportId(1), &subscriber).unwrap();
    let of_subscriber = sim.sfu.subscribe(sim.now, TransportId(3), TransportId(2), &subscriber);
    assert_eq!(of_subscriber, Err(OfferError::PublisherNotFound), "a subscriber is not a publisher");
}

#[test]
fn a_payload_type_with_two_definitions_is_rejected() {
    let mut sim = Simulation::new(59);
    let offer = |sim: &Simulation, direction| {
        let mut rtc = config().build(sim.now);
        let mut api = rtc.sdp_api();
        for kind in [str0m::media::MediaKind::Audio, str0m::media::MediaKind::Video] {
            api.add_media(kind, direction, None, None, None);
        }
        api.apply().unwrap().0.to_sdp_string()
    };
    let sends = offer(&sim, str0m::media::Direction::SendOnly);
    let receives = offer(&sim, str0m::media::Direction::RecvOnly);
    sim.sfu.publish(sim.now, TransportId(1), &sends).unwrap();
    let line = |start: &str, end: &str| {
        let found = receives.lines().find(|line| line.starts_with(start) && line.ends_with(end));
        found.unwrap_or_else(|| panic!("{start}…{end} in {receives}"))
    };
    let vp8 = line("a=rtpmap:", " VP8/90000");
    let h264 = line("a=rtpmap:", " H264/90000");
    let number = |line: &str| line[..line.find(' ').unwrap()].rsplit(':').next().unwrap().to_owned();
    let fmtp = line(&format!("a=fmtp:{} ", number(h264)), "");
    let audio = line("a=rtpmap:", " opus/48000/2");
    for more in [
        format!("a=rtpmap:{} H264/90000", number(vp8)),
        format!("a=rtpmap:{} VP8/90000", number(h264)),
        format!("a=rtpmap:0{} VP8/90000", number(h264)),
        // The same codec with another profile.
        h264.to_owned(),
        format!("{h264}\r\n{fmtp};x=1"),
    ] {
        let offer = receives.replacen(audio, &format!("{audio}\r\n{more}"), 1);
        let answer = sim.sfu.subscribe(sim.now, TransportId(2), TransportId(1), &offer);
        let Err(OfferError::Malformed(why)) = answer else { panic!("{more}: {answer:?}") };
        assert!(why.contains("has more than one definition"), "{more}: {why}");
    }
    // A repeated definition is valid.
    let offer = receives.replacen(audio, &format!("{audio}\r\n{h264}\r\n{fmtp}"), 1);
    sim.sfu.subscribe(sim.now, TransportId(2), TransportId(1), &offer).unwrap();
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
    sim.sfu = Sfu::with_limits(vec![SERVER.parse().unwrap()], TIMEOUT, false, limits).unwrap();
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
