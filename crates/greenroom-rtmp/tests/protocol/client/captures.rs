//! What real servers sent (see `tests/captures/README.md`).

use super::support::{client, client_events, cut};
use crate::captures::capture;
use greenroom_rtmp::{ClientEvent, Phase};
use proptest::prelude::*;

/// Names, and the phase after what was received.
const CAPTURES: [(&str, Phase); 5] = [
    ("server-nginx", Phase::Publishing),
    ("server-ffmpeg", Phase::Publishing),
    ("server-ffmpeg-pypi", Phase::Publishing),
    ("server-node-media-server", Phase::Publishing),
    ("server-nginx-no-app", Phase::Setup),
];

fn check(lengths: &[usize]) {
    for (name, phase) in CAPTURES {
        let mut client = client();
        for piece in cut(&capture(name), lengths) {
            client.receive(piece).unwrap();
        }
        let expected = if phase == Phase::Publishing { vec![ClientEvent::Publishing] } else { vec![] };
        assert_eq!((client_events(&mut client), client.phase()), (expected, phase), "{name}");
    }
}

#[test]
fn servers_are_understood() {
    check(&[usize::MAX]);
}

#[test]
fn each_byte_may_come_alone() {
    check(&[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn pieces_may_be_of_any_length(lengths in prop::collection::vec(1..2_000usize, 1..20)) {
        check(&lengths);
    }
}
