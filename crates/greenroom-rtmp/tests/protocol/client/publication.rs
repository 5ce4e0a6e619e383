use super::support::{FLASH_VERSION, Pair, Scripted, client};
use crate::support::KEY;
use greenroom_rtmp::flv::{OnMetaData, VideoProperties};
use greenroom_rtmp::{ClientEvent, Event, Metadata, Phase, PublishRequest, SendError};
use proptest::prelude::*;

fn description() -> OnMetaData {
    let video = VideoProperties { width: 1280, height: 720, frame_rate: 30.0, bitrate: 2_500_000 };
    OnMetaData { encoder: "greenroom".to_owned(), video: Some(video), audio: None }
}

/// A publication of metadata and three frames that the client ends.
fn publish(pieces: &[usize]) -> Pair {
    let mut pair = Pair::publishing(pieces);
    pair.client.send_metadata(&description().body()).unwrap();
    pair.client.send_video(0, &[0x17; 10_000]).unwrap();
    pair.client.send_audio(0xff_ffff, &[0xaf; 300]).unwrap();
    pair.exchange();
    pair.client.send_video(0x0100_0000, &[0x27; 5_000]).unwrap();
    pair.client.end();
    pair.exchange();
    pair
}

fn check(pair: &Pair) {
    let request = PublishRequest {
        app: "app".to_owned(),
        tc_url: "rtmp://127.0.0.1:4602/app".to_owned(),
        stream_key: KEY.to_owned(),
        flash_version: FLASH_VERSION.to_owned(),
    };
    let metadata = Metadata {
        encoder: Some("greenroom".to_owned()),
        width: Some(1280.0),
        height: Some(720.0),
        frame_rate: Some(30.0),
    };
    let expected = [
        Event::PublishRequested(request),
        Event::Metadata(metadata),
        Event::Video { timestamp: 0, body: vec![0x17; 10_000] },
        Event::Audio { timestamp: 0xff_ffff, body: vec![0xaf; 300] },
        Event::Video { timestamp: 0x0100_0000, body: vec![0x27; 5_000] },
        Event::Unpublished,
    ];
    assert_eq!(pair.server_events, expected);
    assert_eq!(pair.client_events, [ClientEvent::Publishing]);
    assert_eq!((pair.client.phase(), pair.server.phase()), (Phase::Ended, Phase::Ended));
}

#[test]
fn a_publication_is_accepted_received_and_ended() {
    check(&publish(&[usize::MAX]));
}

#[test]
fn each_byte_may_come_alone() {
    check(&publish(&[1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn pieces_may_be_of_any_length(pieces in prop::collection::vec(1..4_000usize, 1..20)) {
        check(&publish(&pieces));
    }
}

#[test]
fn commands_go_out_in_the_order_that_servers_expect() {
    let mut scripted = Scripted::greeted();
    assert_eq!(scripted.client.phase(), Phase::Setup);
    assert_eq!(scripted.sent_commands(), ["connect"]);
    let mut scripted = Scripted::requested();
    assert_eq!(scripted.client.phase(), Phase::Requested);
    let sent = scripted.sent();
    let kinds: Vec<u8> = sent.iter().map(|message| message.kind).collect();
    assert_eq!(kinds, [20, 5, 1, 20, 20, 20, 20]);
    for (message, name) in sent[3..].iter().zip(["releaseStream", "FCPublish", "createStream", "publish"]) {
        assert!(message.is_command(name, if name == "createStream" { "" } else { KEY }), "{message:?}");
    }
    assert_eq!(sent[6].stream, 1);
}

#[test]
fn nothing_follows_the_handshake_before_the_server_has_confirmed_it() {
    let mut client = client();
    let hello = client.poll_transmit().unwrap();
    assert_eq!((hello.len(), hello[0]), (1 + 1536, 3));
    client.receive(&[&[3][..], &[4; 1536], &[5; 1535]].concat()).unwrap();
    assert_eq!(client.poll_transmit(), Some(vec![4; 1536]));
    assert_eq!(client.phase(), Phase::Handshake);
    client.receive(&[5]).unwrap();
    assert_eq!(client.phase(), Phase::Setup);
    assert!(client.poll_transmit().is_some());
}

#[test]
fn a_refusal_is_an_event_and_ends_the_connection() {
    let mut pair = Pair::requested();
    pair.server.refuse("NetStream.Publish.BadName", "No such stream key.");
    pair.exchange();
    let refused = ClientEvent::Refused {
        code: "NetStream.Publish.BadName".to_owned(),
        description: "No such stream key.".to_owned(),
        redirect: None,
    };
    assert_eq!((pair.client_events, pair.client.phase()), (vec![refused], Phase::Ended));
    assert_eq!(pair.client.send_audio(0, b"a"), Err(SendError::NotPublishing));
}

#[test]
fn a_server_that_ends_the_publication_says_why() {
    let mut pair = Pair::publishing(&[usize::MAX]);
    pair.server.refuse("NetStream.Publish.Denied", "The bitrate is too high.");
    pair.exchange();
    let ended = ClientEvent::Ended {
        code: "NetStream.Publish.Denied".to_owned(),
        description: "The bitrate is too high.".to_owned(),
    };
    assert_eq!(pair.client_events, [ClientEvent::Publishing, ended]);
    assert_eq!(pair.client.phase(), Phase::Ended);
}

#[test]
fn an_end_is_sent_once_and_as_far_as_there_is_a_stream() {
    let mut early = Scripted::connected();
    early.sent();
    early.client.end();
    assert_eq!((early.sent(), early.client.phase()), (vec![], Phase::Ended));

    for mut scripted in [Scripted::requested(), Scripted::publishing()] {
        scripted.sent();
        scripted.client.end();
        scripted.client.end();
        assert_eq!(scripted.sent_commands(), ["FCUnpublish", "deleteStream"]);
        assert_eq!(scripted.client.phase(), Phase::Ended);
        scripted.on_status("status", "NetStream.Unpublish.Success");
        assert_eq!((scripted.events(), scripted.sent()), (vec![], vec![]));
    }
}
