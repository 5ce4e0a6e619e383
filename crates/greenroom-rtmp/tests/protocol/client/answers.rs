//! What servers answer, beyond what the crate's own does.

use super::support::{Scripted, client, status};
use crate::support::bytes::{AUDIO, COMMAND_AMF3, DATA, VIDEO, WINDOW_SIZE, command_body, control, message};
use crate::support::{KEY, amf, command};
use greenroom_rtmp::{ClientEvent, Phase, SendError};

const SET_PEER_BANDWIDTH: u8 = 6;

fn refused(scripted: &mut Scripted) -> (String, String) {
    assert_eq!(scripted.client.phase(), Phase::Ended);
    match &scripted.events()[..] {
        [ClientEvent::Refused { code, description, redirect: None }] => (code.clone(), description.clone()),
        events => panic!("{events:?}"),
    }
}

#[test]
fn a_connect_that_is_refused_says_why() {
    let info = status("error", "NetConnection.Connect.Rejected", "No such application.");
    for arguments in [vec![amf::null(), info.clone()], vec![info.clone()], vec![amf::object(&[]), info]] {
        let mut scripted = Scripted::greeted();
        scripted.send(&command(0, "_error", 1.0, &arguments));
        let expected = ("NetConnection.Connect.Rejected".to_owned(), "No such application.".to_owned());
        assert_eq!(refused(&mut scripted), expected);
    }
}

#[test]
fn a_result_that_is_an_error_is_a_refusal() {
    let mut scripted = Scripted::greeted();
    let info = status("error", "NetConnection.Connect.Failed", "Busy.");
    scripted.send(&command(0, "_result", 1.0, &[amf::null(), info]));
    assert_eq!(refused(&mut scripted).0, "NetConnection.Connect.Failed");
}

#[test]
fn a_redirect_is_reported_with_the_stream_key() {
    let redirect = |url: &str| {
        let extra = amf::object(&[("code", amf::number(302.0)), ("redirect", amf::string(url))]);
        let info = amf::object(&[
            ("level", amf::string("error")),
            ("code", amf::string("NetConnection.Connect.Rejected")),
            ("ex", extra),
        ]);
        let mut scripted = Scripted::greeted();
        scripted.send(&command(0, "_error", 1.0, &[amf::null(), info]));
        match &scripted.events()[..] {
            [ClientEvent::Refused { redirect, .. }] => redirect.clone(),
            events => panic!("{events:?}"),
        }
    };
    let url = redirect("rtmps://other.example/live").unwrap();
    assert_eq!((url.host(), url.port(), url.is_secure()), ("other.example", 443, true));
    let options = url.options("");
    assert_eq!((options.app.as_str(), options.stream_key.as_str()), ("live", KEY));
    for invalid in ["", "http://other.example/live", "rtmp://other.example"] {
        assert_eq!(redirect(invalid), None);
    }
}

#[test]
fn an_error_without_a_status_is_a_refusal() {
    for (mut scripted, transaction) in
        [(Scripted::greeted(), 1.0), (Scripted::connected(), 4.0), (Scripted::requested(), 5.0)]
    {
        scripted.send(&command(0, "_error", transaction, &[]));
        assert_eq!(refused(&mut scripted), ("NetConnection.Call.Failed".to_owned(), String::new()));
    }
}

#[test]
fn a_server_need_not_know_every_command() {
    let mut scripted = Scripted::connected();
    for transaction in [2.0, 3.0] {
        let info = status("error", "NetConnection.Call.Failed", "Method not found.");
        scripted.send(&command(0, "_error", transaction, &[amf::null(), info]));
    }
    assert_eq!((scripted.events(), scripted.client.phase()), (vec![], Phase::Setup));
}

#[test]
fn chatter_before_the_answer_to_create_stream_is_ignored() {
    let mut scripted = Scripted::connected();
    scripted.sent();
    scripted.send(&command(0, "onBWDone", 0.0, &[amf::null()]));
    scripted.send(&command(0, "onFCPublish", 0.0, &[status("status", "NetStream.Publish.Start", KEY)]));
    scripted.send(&command(0, "_result", 2.0, &[amf::null(), amf::null()]));
    scripted.send(&command(0, "unknown", 9.0, &[amf::null()]));
    scripted.send(&control(3, &[0, 0, 1, 0]));
    scripted.send(&control(4, &[0, 0, 0, 0, 0, 1]));
    for kind in [AUDIO, VIDEO, DATA, 22, 99] {
        scripted.media(kind, b"\x02\x00");
    }
    assert_eq!((scripted.events(), scripted.client.phase(), scripted.sent()), (vec![], Phase::Setup, vec![]));
    scripted.send(&command(0, "_result", 4.0, &[amf::null(), amf::number(7.0)]));
    assert_eq!((scripted.sent()[0].stream, scripted.client.phase()), (7, Phase::Requested));
}

#[test]
fn answers_that_nothing_was_asked_for_are_ignored() {
    let mut scripted = Scripted::greeted();
    scripted.send(&command(0, "_result", 4.0, &[amf::null(), amf::number(1.0)]));
    scripted.on_status("status", "NetStream.Publish.Start");
    assert_eq!((scripted.events(), scripted.client.phase()), (vec![], Phase::Setup));
    let mut scripted = Scripted::publishing();
    scripted.send(&command(0, "_result", 1.0, &[]));
    scripted.send(&command(0, "_error", 5.0, &[]));
    scripted.on_status("status", "NetStream.Publish.Start");
    assert_eq!((scripted.events(), scripted.sent()), (vec![], vec![]));
    assert_eq!(scripted.client.phase(), Phase::Publishing);
}

#[test]
fn a_stream_id_is_a_positive_integer() {
    for id in [amf::number(0.0), amf::number(-1.0), amf::number(1.5), amf::number(1e10), amf::number(f64::NAN)] {
        let mut scripted = Scripted::connected();
        let error = scripted.client.receive(&command(0, "_result", 4.0, &[amf::null(), id])).unwrap_err();
        assert_eq!((error.label, scripted.client.phase()), ("message_streams", Phase::Ended));
    }
    let mut scripted = Scripted::connected();
    let largest = amf::number(f64::from(u32::MAX));
    scripted.send(&command(0, "_result", 4.0, &[amf::null(), largest]));
    assert_eq!(scripted.client.phase(), Phase::Requested);
}

#[test]
fn statuses_end_a_publication_or_say_nothing_of_it() {
    for (level, code, is_end) in [
        ("error", "NetStream.Publish.Failed", true),
        ("error", "", true),
        ("status", "NetConnection.Connect.Closed", true),
        ("status", "NetConnection.Connect.AppShutdown", true),
        ("status", "NetStream.Unpublish.Success", true),
        ("warning", "NetStream.Publish.Idle", false),
        ("status", "NetStream.Data.Start", false),
        ("status", "", false),
    ] {
        let mut scripted = Scripted::publishing();
        scripted.on_status(level, code);
        let ended = ClientEvent::Ended { code: code.to_owned(), description: "Text.".to_owned() };
        assert_eq!(scripted.events(), if is_end { vec![ended] } else { vec![] }, "{level} {code}");
    }
}

#[test]
fn a_publication_is_refused_by_any_status_that_says_so() {
    for (name, level, code) in [
        ("onStatus", "error", "NetStream.Publish.Denied"),
        ("onStatus", "status", "NetStream.Publish.BadName"),
        ("onFCPublish", "error", "NetStream.Publish.BadName"),
        ("onStatus", "status", "NetConnection.Connect.Rejected"),
    ] {
        let mut scripted = Scripted::requested();
        scripted.send(&command(1, name, 0.0, &[amf::null(), status(level, code, "Text.")]));
        assert_eq!(refused(&mut scripted).0, code);
    }
    let mut scripted = Scripted::requested();
    scripted.on_status("status", "NetStream.Unpublish.Success");
    assert_eq!((scripted.events(), scripted.client.phase()), (vec![], Phase::Requested));
}

#[test]
fn a_close_ends_the_connection() {
    let mut scripted = Scripted::connected();
    scripted.send(&command(0, "close", 0.0, &[]));
    assert_eq!(refused(&mut scripted).0, "NetConnection.Connect.Closed");
    let mut scripted = Scripted::publishing();
    scripted.send(&command(0, "close", 0.0, &[]));
    assert!(matches!(&scripted.events()[..], [ClientEvent::Ended { .. }]));
    assert_eq!(scripted.client.send_video(0, b"v"), Err(SendError::NotPublishing));
}

#[test]
fn commands_of_amf3_are_understood() {
    let mut scripted = Scripted::greeted();
    let body = command_body("_error", 1.0, &[amf::null(), status("error", "Some.Code", "")]);
    scripted.send(&message(3, COMMAND_AMF3, 0, 0, &[&[0], &body[..]].concat()));
    assert_eq!(refused(&mut scripted).0, "Some.Code");
}

#[test]
fn pings_and_measurements_are_answered() {
    let mut scripted = Scripted::publishing();
    scripted.send(&control(4, &[0, 6, 1, 2, 3, 4]));
    scripted.send(&command(0, "_onbwcheck", 11.0, &[amf::null()]));
    let sent = scripted.sent();
    assert_eq!((sent[0].kind, &sent[0].body[..]), (4, &[0, 7, 1, 2, 3, 4][..]));
    assert!(sent[1].is_command("_result", ""));
    assert_eq!(sent.len(), 2);
}

#[test]
fn a_window_of_received_bytes_is_acknowledged() {
    let mut scripted = Scripted::publishing();
    scripted.send(&control(WINDOW_SIZE, &5_000_u32.to_be_bytes()));
    scripted.sent();
    scripted.media(DATA, &[0; 3_000]);
    scripted.media(DATA, &[0; 3_000]);
    let acknowledgements: Vec<u8> = scripted.sent().iter().map(|message| message.kind).collect();
    assert_eq!(acknowledgements, [3]);
}

#[test]
fn a_bandwidth_is_answered_with_the_window_if_it_is_another() {
    let mut scripted = Scripted::publishing();
    for (bandwidth, is_answered) in [(2_500_000_u32, false), (0, false), (100_000, true), (100_000, false)] {
        scripted.send(&control(SET_PEER_BANDWIDTH, &[&bandwidth.to_be_bytes()[..], &[2]].concat()));
        let sent: Vec<(u8, Vec<u8>)> =
            scripted.sent().into_iter().map(|message| (message.kind, message.body)).collect();
        let expected = (WINDOW_SIZE, bandwidth.to_be_bytes().to_vec());
        assert_eq!(sent, if is_answered { vec![expected] } else { vec![] });
    }
}

#[test]
fn a_peer_that_does_not_speak_rtmp_is_named() {
    for (answer, hint) in
        [(&b"HTTP/1.1 400"[..], "speaks HTTP"), (&[0x15, 3, 3], "speaks TLS"), (&[6], "RTMPE"), (&[9], "version 9")]
    {
        let error = client().receive(answer).unwrap_err();
        assert_eq!(error.label, "version");
        assert!(error.reason.contains(hint), "{error}");
    }
}
