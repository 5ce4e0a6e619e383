//! Offers and fragments: whatever is answered is SDP with a section for each that was offered, and nothing is left behind.
#![no_main]

use greenroom_media::{Sfu, TransportId};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::time::{Duration, Instant};

thread_local! {
    /// Engines with and without the limits of IVS; they outlive a round, as making their certificates takes long.
    static ENGINES: RefCell<Vec<Sfu>> = RefCell::new([false, true].map(engine).into());
}

fn engine(strict: bool) -> Sfu {
    Sfu::new(vec!["127.0.0.1:4000".parse().unwrap()], Duration::from_secs(10), strict).unwrap()
}

fn sections(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("m=")).count()
}

fuzz_target!(|text: &str| {
    // The offer, and behind an empty line the fragment.
    let (offer, fragment) = text.split_once("\n\n").unwrap_or((text, text));
    let now = Instant::now();
    ENGINES.with_borrow_mut(|engines| {
        for sfu in engines {
            let (publisher, subscriber) = (TransportId(1), TransportId(2));
            if let Ok(answer) = sfu.publish(now, publisher, offer) {
                assert!(answer.starts_with("v=0\r\n"));
                assert_eq!(sections(&answer), sections(offer));
                let turned = offer.replace("sendonly", "recvonly");
                if let Ok(answer) = sfu.subscribe(now, subscriber, publisher, &turned) {
                    assert_eq!(sections(&answer), sections(offer));
                }
            }
            let _ = sfu.trickle(now, publisher, fragment);
            sfu.handle_timeout(now + Duration::from_secs(1));
            sfu.close_all(now + Duration::from_secs(1));
            while sfu.poll_transmit().is_some() {}
            while sfu.poll_event().is_some() {}
            assert!(sfu.snapshot().is_empty());
            assert_eq!(sfu.next_timeout(), None);
        }
    });
});
