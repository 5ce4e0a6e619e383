//! What the server does beside the publication: it answers commands and pings, and acknowledges.

use crate::support::bytes::{
    ACKNOWLEDGEMENT, COMMAND, USER_CONTROL, VIDEO, WINDOW_SIZE, command_body, control, message,
};
use crate::support::{Encoder, Reply, amf, assert_one};
use greenroom_rtmp::{Limits, Phase};

#[test]
fn commands_that_expect_an_answer_get_one() {
    let mut encoder = Encoder::connected(Limits::default());
    encoder.replies();
    let cases = [
        ("_checkbw", command_body("_result", 5.0, &[amf::null(), amf::null()])),
        ("releaseStream", command_body("_result", 5.0, &[amf::null(), amf::null()])),
        ("getStreamLength", command_body("_result", 5.0, &[amf::null(), amf::number(0.0)])),
    ];
    for (name, answer) in cases {
        encoder.command(0, name, 5.0, &[amf::null()]);
        assert_eq!(encoder.replies(), [Reply { kind: COMMAND, stream: 0, body: answer }]);
        encoder.command(0, name, 0.0, &[amf::null()]);
        assert_eq!(encoder.replies(), []);
    }
    encoder.command(0, "whatever", 6.0, &[amf::null()]);
    assert_one(&encoder.replies(), "_error", "NetConnection.Call.Failed");
    for (name, transaction) in [("whatever", 0.0), ("_result", 7.0), ("_error", 7.0), ("onStatus", 7.0)] {
        encoder.command(0, name, transaction, &[amf::null()]);
        assert_eq!(encoder.replies(), []);
    }
}

#[test]
fn pings_are_answered() {
    let mut encoder = Encoder::publishing();
    encoder.send(&control(USER_CONTROL, &[0, 6, 1, 2, 3, 4]));
    assert_eq!(encoder.replies(), [Reply { kind: USER_CONTROL, stream: 0, body: vec![0, 7, 1, 2, 3, 4] }]);
    // Set Buffer Length, and an event of a type that is not known.
    encoder.send(&control(USER_CONTROL, &[0, 3, 0, 0, 0, 1, 0, 0, 1, 0]));
    encoder.send(&control(USER_CONTROL, &[0, 99]));
    assert_eq!(encoder.replies(), []);
}

#[test]
fn the_encoders_bytes_are_acknowledged_when_its_window_is_used_up() {
    let mut encoder = Encoder::publishing();
    encoder.send(&control(WINDOW_SIZE, &10_000_u32.to_be_bytes()));
    let mut acknowledged = Vec::new();
    for _ in 0..30 {
        encoder.audio(0, &[0; 1_988]);
        for reply in encoder.replies() {
            assert_eq!(reply.kind, ACKNOWLEDGEMENT);
            acknowledged.push(u32::from_be_bytes(reply.body.try_into().unwrap()));
        }
    }
    // 60,000 bytes of media and some 3,500 before.
    assert_eq!(acknowledged.len(), 6, "{acknowledged:?}");
    for pair in acknowledged.windows(2) {
        assert_eq!(pair[1] - pair[0], 10_000);
    }
}

#[test]
fn the_servers_own_window_counts_until_the_encoder_names_one() {
    let mut encoder = Encoder::publishing();
    for _ in 0..24 {
        encoder.audio(0, &[0; 100_000]);
    }
    assert_eq!(encoder.replies(), []);
    encoder.audio(0, &[0; 100_000]);
    assert_eq!(encoder.replies().len(), 1);
}

#[test]
fn messages_that_ask_for_nothing_are_ignored() {
    let mut encoder = Encoder::publishing();
    encoder.send(&control(ACKNOWLEDGEMENT, &1_u32.to_be_bytes()));
    encoder.send(&control(6, &[0, 0, 0, 1, 0]));
    for kind in [0, 7, 16, 19, 21, 23, 255] {
        encoder.send(&message(5, kind, 1, 0, b"anything"));
    }
    encoder.audio(1, b"");
    encoder.send(&message(6, VIDEO, 1, 0, b""));
    assert_eq!((encoder.events(), encoder.replies()), (vec![], vec![]));
    assert_eq!(encoder.server.phase(), Phase::Publishing);
}
