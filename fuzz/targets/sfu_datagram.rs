//! Datagrams: whatever comes in a client's name or a stranger's, before, while and after it connects, a connection that
//! has nothing to do with it stays, and nothing is sent to a stranger.
#![no_main]

use greenroom_media::{CloseReason, Failure, FailureReason, MediaEvent, Sfu, TransportId};
use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::change::SdpAnswer;
use str0m::config::DtlsCert;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Output, Rtc};

const TIMEOUT: Duration = Duration::from_secs(10);

struct World {
    sfu: Sfu,
    now: Instant,
    client: Rtc,
    at: SocketAddr,
    connected: bool,
}

fn certificate() -> DtlsCert {
    static CERTIFICATE: std::sync::OnceLock<DtlsCert> = std::sync::OnceLock::new();
    let make = || str0m::crypto::from_feature_flags().dtls_provider.generate_certificate().unwrap();
    CERTIFICATE.get_or_init(make).clone()
}

fn server() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}

fn stranger() -> SocketAddr {
    "203.0.113.9:9".parse().unwrap()
}

impl World {
    fn new() -> World {
        let now = Instant::now();
        let mut sfu = Sfu::new(vec![server()], TIMEOUT, true).unwrap();
        let at = "198.51.100.7:7".parse().unwrap();
        let mut client = Rtc::builder().set_rtp_mode(true).set_dtls_cert(certificate()).build(now);
        client.add_local_candidate(Candidate::host(at, "udp").unwrap());
        let mut api = client.sdp_api();
        api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
        api.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        let answer = sfu.publish(now, TransportId(1), &offer.to_sdp_string()).unwrap();
        let answer = SdpAnswer::from_sdp_string(&answer).unwrap();
        client.sdp_api().accept_answer(pending, answer).unwrap();
        World { sfu, now, client, at, connected: false }
    }

    /// Carries datagrams both ways for a while. One of the client's may be changed on its way.
    fn run(&mut self, rounds: usize, mut change: impl FnMut(&mut Vec<u8>)) {
        for _ in 0..rounds {
            let mut sent = Vec::new();
            loop {
                match self.client.poll_output().unwrap() {
                    Output::Timeout(at) if at <= self.now => {
                        self.client.handle_input(Input::Timeout(self.now)).unwrap()
                    }
                    Output::Timeout(_) => break,
                    Output::Transmit(transmit) => sent.push(transmit.contents.to_vec()),
                    Output::Event(event) => self.connected |= matches!(event, str0m::Event::Connected),
                }
            }
            for mut bytes in sent {
                self.sfu.handle_datagram(self.now, self.at, &bytes);
                change(&mut bytes);
                self.sfu.handle_datagram(self.now, self.at, &bytes);
            }
            while let Some(transmit) = self.sfu.poll_transmit() {
                assert_ne!(transmit.path.remote, stranger());
                let receive = Receive::new(Protocol::Udp, server(), self.at, &transmit.contents).unwrap();
                let _ = self.client.handle_input(Input::Receive(self.now, receive));
            }
            self.now += Duration::from_millis(20);
            self.sfu.handle_timeout(self.now);
            let _ = self.client.handle_input(Input::Timeout(self.now));
        }
    }
}

/// Whether a connection ended because its client did not go on.
fn is_timeout(why: CloseReason) -> bool {
    use FailureReason::{DtlsTimeout, NoStunRequest, NotNominated, Silence, StunNotVerified};
    let CloseReason::Failed(Failure { reason, .. }) = why else { return false };
    matches!(reason, NoStunRequest | StunNotVerified | NotNominated | DtlsTimeout | Silence)
}

fuzz_target!(|data: &[u8]| {
    // The first byte says when the noise begins; then each byte of length is followed by a datagram.
    let Some((begin, mut noise)) = data.split_first() else { return };
    let mut world = World::new();
    let mut place = 0;
    world.run(usize::from(begin % 32), |bytes| {
        if begin & 0x80 != 0 && !noise.is_empty() {
            let at = (place * 31) % bytes.len();
            bytes[at] ^= noise[place % noise.len()];
            place += 1;
        }
    });
    while let Some((length, rest)) = noise.split_first() {
        let (datagram, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        noise = rest;
        let source = if length % 3 == 0 { stranger() } else { world.at };
        world.sfu.handle_datagram(world.now, source, datagram);
    }
    world.run(64, |_| {});
    while let Some(event) = world.sfu.poll_event() {
        // Noise in the client's name may keep it from connecting, no more; once connected, it stays.
        assert!(!matches!(event, MediaEvent::Closed(_, why) if !is_timeout(why) && world.connected), "{event:?}");
    }
});
