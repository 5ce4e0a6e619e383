use crate::support::bytes::{client_packet, handshake};
use crate::support::{Encoder, command, connect_object};
use greenroom_rtmp::{Limits, Phase};

#[test]
fn the_answer_is_plain_and_echoes_the_client() {
    let mut encoder = Encoder::new(Limits::default());
    encoder.send(&[3]);
    assert_eq!(encoder.server.poll_transmit(), None);
    encoder.send(&client_packet());
    let answer = encoder.server.poll_transmit().unwrap();
    assert_eq!(answer.len(), 1 + 2 * 1536);
    assert_eq!(answer[0], 3);
    assert_eq!(answer[1..9], [0; 8], "time and version of S1");
    assert_eq!(answer[9..1537], [7; 1528]);
    assert_eq!(answer[1537..], client_packet());
}

#[test]
fn it_ends_with_the_last_byte_of_the_clients_confirmation() {
    let mut encoder = Encoder::new(Limits::default());
    let (last, rest) = handshake().split_last().map(|(last, rest)| (*last, rest.to_vec())).unwrap();
    encoder.send(&rest);
    assert_eq!(encoder.server.phase(), Phase::Handshake);
    encoder.send(&[last]);
    assert_eq!(encoder.server.phase(), Phase::Setup);
}

#[test]
fn messages_may_follow_in_the_same_bytes() {
    let mut encoder = Encoder::new(Limits::default());
    let object = vec![3, 0, 0, 9];
    encoder.send(&[handshake(), command(0, "connect", 1.0, &[object])].concat());
    assert!(encoder.replies().iter().any(|reply| reply.is_command("_result", "NetConnection.Connect.Success")));
}

#[test]
fn other_versions_are_refused_at_the_first_byte() {
    for (version, hint) in [(6, "RTMPE"), (8, "RTMPE"), (0x16, "RTMPS port"), (b'G', "HTTP"), (0, "instead of 3")] {
        let mut encoder = Encoder::new(Limits::default());
        let error = encoder.send_bad(&[version]);
        assert_eq!(error.label, "version");
        assert!(error.reason.contains(hint), "{error}");
        assert_eq!(encoder.server.poll_transmit(), None);
        assert_eq!(encoder.server.phase(), Phase::Ended);
    }
}

#[test]
fn a_connection_that_has_failed_stays_so() {
    let mut encoder = Encoder::new(Limits::default());
    let error = encoder.send_bad(&[6]);
    assert_eq!(encoder.send_bad(&handshake()), error);
    assert_eq!(encoder.send_bad(&command(0, "connect", 1.0, &[connect_object()])), error);
    assert_eq!(encoder.server.poll_transmit(), None);
}
