use crate::support::bytes::{
    AUDIO, COMMAND, COMMAND_AMF3, USER_CONTROL, VIDEO, WINDOW_SIZE, command_body, control, message,
};
use crate::support::{Encoder, KEY, Reply, amf, assert_one, command, connect_object, request};
use greenroom_rtmp::{Event, Limits, Phase};

fn publish(key: &str) -> Vec<u8> {
    command(1, "publish", 3.0, &[amf::null(), amf::string(key), amf::string("live")])
}

fn unpublish_commands() -> [Vec<u8>; 3] {
    [
        command(1, "FCUnpublish", 5.0, &[amf::null(), amf::string(KEY)]),
        command(1, "closeStream", 0.0, &[amf::null()]),
        command(0, "deleteStream", 6.0, &[amf::null(), amf::number(1.0)]),
    ]
}

fn audio_event(timestamp: u32, body: &[u8]) -> Event {
    Event::Audio { timestamp, body: body.to_vec() }
}

#[test]
fn connect_is_answered_after_the_settings() {
    let mut encoder = Encoder::connected(Limits::default());
    let replies = encoder.replies();
    let kinds: Vec<u8> = replies.iter().map(|reply| reply.kind).collect();
    assert_eq!(kinds, [WINDOW_SIZE, 6, 1, COMMAND]);
    assert_eq!(replies[1].body, [&replies[0].body[..], &[2]].concat(), "bandwidth as the window, dynamic");
    assert_eq!(replies[2].body, 4096_u32.to_be_bytes());
    assert_one(&replies, "_result", "NetConnection.Connect.Success");
    assert!(replies[3].body[10..].starts_with(&amf::number(1.0)), "the transaction");
    assert!(!replies[3].contains("fourCcList"));
}

#[test]
fn an_encoder_of_enhanced_rtmp_gets_the_servers_codecs() {
    let lists: [(&str, Vec<u8>); 2] = [
        ("fourCcList", [vec![10, 0, 0, 0, 2], amf::string("hvc1"), amf::string("av01")].concat()),
        ("capsEx", amf::number(2.0)),
    ];
    for property in lists {
        let mut encoder = Encoder::greeted(Limits::default());
        encoder.command(0, "connect", 1.0, &[amf::object(&[("app", amf::string("app")), property])]);
        let replies = encoder.replies();
        for expected in ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx", "avc1", "mp4a"] {
            assert_one(&replies, "_result", expected);
        }
        assert!(!replies.iter().any(|reply| reply.contains("hvc1") || reply.contains("av01")));
    }
}

#[test]
fn a_publication_is_requested_accepted_and_received() {
    let mut encoder = Encoder::connected(Limits::default());
    encoder.replies();
    encoder.command(0, "releaseStream", 2.0, &[amf::null(), amf::string(KEY)]);
    encoder.command(0, "FCPublish", 3.0, &[amf::null(), amf::string(KEY)]);
    encoder.command(0, "createStream", 4.0, &[amf::null()]);
    let replies = encoder.replies();
    assert_one(&replies, "onFCPublish", "NetStream.Publish.Start");
    let created = command_body("_result", 4.0, &[amf::null(), amf::number(1.0)]);
    assert_eq!(replies.last().unwrap().body, created);
    assert_eq!(encoder.server.phase(), Phase::Setup);

    encoder.send(&publish(KEY));
    assert_eq!(encoder.server.phase(), Phase::Requested);
    assert_eq!(encoder.events(), [Event::PublishRequested(request())]);
    assert_eq!(encoder.replies(), []);

    encoder.server.accept().unwrap();
    assert_eq!(encoder.server.phase(), Phase::Publishing);
    let replies = encoder.replies();
    assert_eq!(replies[0], Reply { kind: USER_CONTROL, stream: 0, body: vec![0, 0, 0, 0, 0, 1] });
    assert_one(&replies, "onStatus", "NetStream.Publish.Start");
    assert_eq!(replies[1].stream, 1);

    encoder.audio(17, b"audio");
    encoder.send(&message(6, VIDEO, 1, 23, b"video"));
    assert_eq!(encoder.events(), [audio_event(17, b"audio"), Event::Video { timestamp: 23, body: b"video".into() }]);
}

#[test]
fn queries_are_not_part_of_the_application_and_the_key() {
    let mut encoder = Encoder::greeted(Limits::default());
    encoder.command(0, "connect", 1.0, &[amf::object(&[("app", amf::string("app?x=y"))])]);
    encoder.command(0, "createStream", 2.0, &[amf::null()]);
    encoder.send(&publish("rt_key?bandwidthtest=true"));
    let Some(Event::PublishRequested(request)) = encoder.events().pop() else { panic!() };
    assert_eq!((request.app.as_str(), request.stream_key.as_str()), ("app", "rt_key"));
    assert_eq!((request.tc_url.as_str(), request.flash_version.as_str()), ("", ""));
}

#[test]
fn a_publish_without_a_key_is_a_request_with_an_empty_one() {
    let mut encoder = Encoder::connected(Limits::default());
    encoder.command(0, "createStream", 2.0, &[amf::null()]);
    encoder.command(1, "publish", 3.0, &[amf::null()]);
    let Some(Event::PublishRequested(request)) = encoder.events().pop() else { panic!() };
    assert_eq!(request.stream_key, "");
}

#[test]
fn the_name_of_the_encoder_is_bounded_and_the_key_not_shown() {
    let mut encoder = Encoder::greeted(Limits::default());
    encoder.command(0, "connect", 1.0, &[amf::object(&[("flashVer", amf::string(&"é".repeat(2_000)))])]);
    encoder.command(0, "createStream", 2.0, &[amf::null()]);
    encoder.send(&publish(KEY));
    let event = encoder.events().pop().unwrap();
    assert!(!format!("{event:?} {:?}", encoder.server).contains(KEY));
    let Event::PublishRequested(request) = event else { panic!() };
    assert_eq!(request.flash_version, "é".repeat(256));
}

#[test]
fn a_refusal_is_shown_and_ends_the_connection() {
    for is_accepted in [false, true] {
        let mut encoder = Encoder::requested(Limits::default());
        if is_accepted {
            encoder.server.accept().unwrap();
            encoder.replies();
        }
        encoder.server.refuse("NetStream.Publish.BadName", "Unknown stream key.");
        let replies = encoder.replies();
        assert_eq!(replies.len(), 1);
        assert_one(&replies, "onStatus", "NetStream.Publish.BadName");
        assert!(replies[0].contains("error") && replies[0].contains("Unknown stream key."));
        assert_eq!(replies[0].stream, 1);
        assert_eq!(encoder.server.phase(), Phase::Ended);

        encoder.audio(0, b"late");
        encoder.send(&[0xff; 10_000]);
        encoder.server.accept().unwrap();
        encoder.server.refuse("NetStream.Publish.Denied", "Again.");
        assert_eq!((encoder.events(), encoder.replies()), (vec![], vec![]));
    }
}

#[test]
fn a_refusal_before_there_is_a_message_stream_is_the_connections() {
    let mut encoder = Encoder::connected(Limits::default());
    encoder.replies();
    encoder.server.refuse("NetConnection.Connect.Closed", "Timeout.");
    assert_eq!(encoder.replies()[0].stream, 0);
    let mut encoder = Encoder::greeted(Limits::default());
    encoder.server.refuse("NetConnection.Connect.Closed", "Timeout.");
    assert_eq!(encoder.replies(), [], "nothing but the handshake before connect");
}

#[test]
fn what_is_sent_without_waiting_for_the_answer_is_kept() {
    let mut encoder = Encoder::requested(Limits::default());
    // Longer than messages may be before publishing.
    let frame = vec![0x17; 100_000];
    for piece in message(6, VIDEO, 1, 40, &frame).chunks(1_000) {
        encoder.send(piece);
    }
    encoder.audio(41, b"audio");
    assert_eq!(encoder.events(), []);
    encoder.server.accept().unwrap();
    assert_eq!(encoder.events(), [Event::Video { timestamp: 40, body: frame }, audio_event(41, b"audio")]);
}

#[test]
fn what_is_kept_can_end_the_publication_or_fail() {
    let mut encoder = Encoder::requested(Limits::default());
    encoder.audio(0, b"a");
    encoder.command(0, "deleteStream", 0.0, &[amf::null(), amf::number(1.0)]);
    encoder.server.accept().unwrap();
    assert_eq!(encoder.events(), [audio_event(0, b"a"), Event::Unpublished]);

    let mut encoder = Encoder::requested(Limits::default());
    encoder.send(&control(WINDOW_SIZE, &[]));
    assert_eq!(encoder.server.accept().unwrap_err().label, "control_message");
    assert_eq!(encoder.server.phase(), Phase::Ended);
    assert_one(&encoder.replies(), "onStatus", "control message ends early");
}

#[test]
fn each_way_to_stop_ends_the_publication_once() {
    for stop in unpublish_commands() {
        let mut encoder = Encoder::publishing();
        encoder.audio(0, b"a");
        encoder.send(&stop);
        assert_eq!(encoder.server.phase(), Phase::Ended);
        assert_one(&encoder.replies(), "onStatus", "NetStream.Unpublish.Success");
        encoder.send(&unpublish_commands().concat());
        assert_eq!(encoder.events(), [audio_event(0, b"a"), Event::Unpublished]);
    }
}

#[test]
fn what_stops_another_message_stream_does_not_end_the_publication() {
    let mut encoder = Encoder::publishing();
    encoder.command(0, "createStream", 7.0, &[amf::null()]);
    encoder.command(2, "closeStream", 0.0, &[amf::null()]);
    encoder.command(0, "deleteStream", 0.0, &[amf::null(), amf::number(2.0)]);
    encoder.command(0, "deleteStream", 0.0, &[amf::null()]);
    assert_eq!((encoder.server.phase(), encoder.events()), (Phase::Publishing, vec![]));
}

#[test]
fn what_stops_nothing_before_publishing_is_ignored() {
    let mut encoder = Encoder::connected(Limits::default());
    encoder.send(&unpublish_commands().concat());
    assert_eq!((encoder.server.phase(), encoder.events()), (Phase::Setup, vec![]));
}

#[test]
fn a_wrong_order_is_an_error_with_a_reason() {
    let create = || command(0, "createStream", 2.0, &[amf::null()]);
    let connect = || command(0, "connect", 1.0, &[connect_object()]);
    let cases = [
        (create(), "createStream before connect"),
        (publish(KEY), "publish before connect"),
        ([connect(), publish(KEY)].concat(), "publish before createStream"),
        ([connect(), connect()].concat(), "second connect on a connection"),
        (message(4, AUDIO, 1, 0, b"a"), "media before publish"),
        ([connect(), create(), message(4, VIDEO, 1, 0, b"v")].concat(), "media before publish"),
        ([connect(), create(), message(4, 18, 1, 0, &amf::string("onMetaData"))].concat(), "media before publish"),
        ([connect(), create(), message(4, 22, 1, 0, b"")].concat(), "media before publish"),
    ];
    for (bytes, reason) in cases {
        let mut encoder = Encoder::greeted(Limits::default());
        let error = encoder.send_bad(&bytes);
        assert_eq!((error.label, error.reason.as_str()), ("command_order", reason));
        assert_eq!((encoder.server.phase(), encoder.events()), (Phase::Ended, vec![]));
        let is_told = encoder.replies().iter().any(|reply| reply.is_command("onStatus", reason));
        assert_eq!(is_told, bytes.starts_with(&connect()), "{reason}");
    }
}

#[test]
fn playing_is_refused() {
    let mut encoder = Encoder::connected(Limits::default());
    encoder.command(0, "createStream", 2.0, &[amf::null()]);
    encoder.replies();
    let error = encoder.send_bad(&command(1, "play", 0.0, &[amf::null(), amf::string("x")]));
    assert_eq!(error.label, "play");
    let replies = encoder.replies();
    assert_one(&replies, "onStatus", "NetStream.Play.Failed");
    assert!(replies[0].contains("only accepts publishing") && replies[0].stream == 1);
}

#[test]
fn a_second_publish_is_refused_and_the_first_goes_on() {
    let mut encoder = Encoder::publishing();
    encoder.command(0, "createStream", 4.0, &[amf::null()]);
    encoder.replies();
    encoder.command(2, "publish", 5.0, &[amf::null(), amf::string("rt_other"), amf::string("live")]);
    let replies = encoder.replies();
    assert_one(&replies, "onStatus", "NetStream.Publish.BadName");
    assert_eq!(replies[0].stream, 2);
    encoder.audio(5, b"a");
    assert_eq!(encoder.events(), [audio_event(5, b"a")]);
}

#[test]
fn statuses_go_to_the_message_stream_of_publish_as_far_as_there_is_one() {
    for (used, answered) in [(2, 2), (1, 1), (0, 1), (9, 1)] {
        let mut encoder = Encoder::connected(Limits::default());
        encoder.command(0, "createStream", 2.0, &[amf::null()]);
        encoder.command(0, "createStream", 3.0, &[amf::null()]);
        encoder.replies();
        encoder.command(used, "publish", 4.0, &[amf::null(), amf::string(KEY)]);
        encoder.server.accept().unwrap();
        assert_eq!(encoder.replies()[1].stream, answered);
    }
}

#[test]
fn message_streams_are_bounded() {
    let mut encoder = Encoder::connected(Limits::default());
    for transaction in 0..8 {
        encoder.command(0, "createStream", f64::from(transaction), &[amf::null()]);
    }
    assert_eq!(encoder.send_bad(&command(0, "createStream", 9.0, &[amf::null()])).label, "message_streams");
}

#[test]
fn commands_of_amf3_connections_are_understood() {
    let mut encoder = Encoder::greeted(Limits::default());
    for (stream, body) in [
        (0, command_body("connect", 1.0, &[connect_object()])),
        (0, command_body("createStream", 2.0, &[amf::null()])),
        (1, command_body("publish", 3.0, &[amf::null(), amf::string(KEY)])),
    ] {
        encoder.send(&message(3, COMMAND_AMF3, stream, 0, &[&[0], &body[..]].concat()));
    }
    assert_eq!(encoder.events(), [Event::PublishRequested(request())]);
}
