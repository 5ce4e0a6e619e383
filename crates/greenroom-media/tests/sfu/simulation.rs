//! The engine, its clients and the network between them, in one thread on a clock that the test controls.

use greenroom_media::{CloseReason, FailureReason, MediaEvent, OfferError, Sfu, TransportId};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::config::DtlsCert;
use str0m::media::{Direction, MediaKind, Mid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpPacket;
use str0m::{Candidate, Input, Output, Rtc, RtcConfig};

/// The engine's address.
pub const SERVER: &str = "192.0.2.1:4000";
/// The engine's timeout in these tests.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Impairments of the network; `loss` and `duplication` are per mille.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    pub loss: u64,
    pub duplication: u64,
    pub delay_ms: u64,
    /// Random addition to the delay, which reorders datagrams.
    pub jitter_ms: u64,
}

pub const PERFECT_NETWORK: Network = Network { loss: 0, duplication: 0, delay_ms: 5, jitter_ms: 0 };

/// SplitMix64.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn certificate() -> DtlsCert {
    static CERTIFICATE: OnceLock<DtlsCert> = OnceLock::new();
    let make = || str0m::crypto::from_feature_flags().dtls_provider.generate_certificate().unwrap();
    CERTIFICATE.get_or_init(make).clone()
}

/// The default configuration of a client.
pub fn config() -> RtcConfig {
    let config = Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, false);
    config.enable_h264(true).enable_vp8(true).set_dtls_cert(certificate())
}

pub struct Client {
    pub id: TransportId,
    pub rtc: Rtc,
    pub address: SocketAddr,
    pub mids: BTreeMap<&'static str, Mid>,
    pub connected: bool,
    pub closed: bool,
    pub packets: Vec<(Duration, RtpPacket)>,
    /// When key-frame requests arrived.
    pub key_frame_requests: Vec<Duration>,
    pub answer: String,
    /// Whether to drop an outgoing datagram.
    pub drop_outgoing: fn(&[u8]) -> bool,
    due: Instant,
}

pub struct Simulation {
    pub sfu: Sfu,
    pub start: Instant,
    pub now: Instant,
    pub clients: Vec<Client>,
    pub events: Vec<(Duration, MediaEvent)>,
    pub network: Network,
    pub rng: Rng,
    /// If set, records all datagrams that the engine sends.
    pub captured: Option<Vec<(SocketAddr, Vec<u8>)>>,
    /// Modifies offers before the engine gets them.
    pub edit_offer: fn(String) -> String,
    /// Modifies answers before publishers get them.
    pub edit_answer: fn(String) -> String,
    in_flight: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
    out: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>,
}

impl Simulation {
    pub fn new(seed: u64) -> Simulation {
        Simulation::with(seed, false)
    }

    pub fn with(seed: u64, strict: bool) -> Simulation {
        let sfu = Sfu::new(vec![SERVER.parse().unwrap()], TIMEOUT, strict).unwrap();
        let now = Instant::now();
        Simulation {
            sfu,
            start: now,
            now,
            clients: Vec::new(),
            events: Vec::new(),
            network: PERFECT_NETWORK,
            rng: Rng::new(seed),
            captured: None,
            edit_offer: |offer| offer,
            edit_answer: |answer| answer,
            in_flight: BTreeMap::new(),
            sent: 0,
            out: VecDeque::new(),
        }
    }

    pub fn at(&self) -> Duration {
        self.now - self.start
    }

    /// Adds a publisher with these media sections.
    pub fn publish(&mut self, kinds: &[&'static str]) -> Result<usize, OfferError> {
        self.publish_with(config(), kinds, None)
    }

    pub fn publish_with(
        &mut self,
        config: RtcConfig,
        kinds: &[&'static str],
        simulcast: Option<Simulcast>,
    ) -> Result<usize, OfferError> {
        let (mut client, offer, pending) = self.client(config, kinds, Direction::SendOnly, simulcast);
        client.answer = (self.edit_answer)(self.sfu.publish(self.now, client.id, &offer)?);
        let answer = SdpAnswer::from_sdp_string(&client.answer).unwrap();
        client.rtc.sdp_api().accept_answer(pending, answer).unwrap();
        self.clients.push(client);
        Ok(self.clients.len() - 1)
    }

    /// Adds a subscriber of a publisher.
    pub fn subscribe(&mut self, publisher: usize, kinds: &[&'static str]) -> Result<usize, OfferError> {
        self.subscribe_with(config(), publisher, kinds)
    }

    pub fn subscribe_with(
        &mut self,
        config: RtcConfig,
        publisher: usize,
        kinds: &[&'static str],
    ) -> Result<usize, OfferError> {
        let (mut client, offer, pending) = self.client(config, kinds, Direction::RecvOnly, None);
        let publisher = self.clients[publisher].id;
        client.answer = self.sfu.subscribe(self.now, client.id, publisher, &offer)?;
        let answer = SdpAnswer::from_sdp_string(&client.answer).unwrap();
        client.rtc.sdp_api().accept_answer(pending, answer).unwrap();
        self.clients.push(client);
        Ok(self.clients.len() - 1)
    }

    fn client(
        &self,
        config: RtcConfig,
        kinds: &[&'static str],
        direction: Direction,
        simulcast: Option<Simulcast>,
    ) -> (Client, String, SdpPendingOffer) {
        let number = self.clients.len() as u16 + 1;
        let address = SocketAddr::new([198, 51, 100, 7].into(), 10_000 + number);
        let mut rtc = config.build(self.now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut api = rtc.sdp_api();
        let mut mids = BTreeMap::new();
        for kind in kinds {
            let (media, layers) = match *kind {
                "audio" => (MediaKind::Audio, None),
                _ => (MediaKind::Video, simulcast.clone()),
            };
            mids.insert(*kind, api.add_media(media, direction, None, None, layers));
        }
        let (offer, pending) = api.apply().unwrap();
        let client = Client {
            id: TransportId(number.into()),
            rtc,
            address,
            mids,
            connected: false,
            closed: false,
            packets: Vec::new(),
            key_frame_requests: Vec::new(),
            answer: String::new(),
            drop_outgoing: |_| false,
            due: self.now,
        };
        (client, (self.edit_offer)(offer.to_sdp_string()), pending)
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.poll();
            let clients = self.clients.iter().map(|client| client.due);
            let next =
                clients.chain(self.sfu.next_timeout()).chain(self.in_flight.keys().next().map(|(at, _)| *at)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (from, to, bytes) = entry.remove();
                self.deliver(from, to, &bytes);
            }
            if self.sfu.next_timeout().is_some_and(|at| at <= self.now) {
                self.sfu.handle_timeout(self.now);
            }
            for client in self.clients.iter_mut().filter(|client| client.due <= self.now) {
                client.rtc.handle_input(Input::Timeout(self.now)).unwrap();
            }
        }
        self.now = end;
        self.poll();
    }

    pub fn run_ms(&mut self, time: u64) {
        self.run(Duration::from_millis(time));
    }

    /// Delivers a datagram.
    pub fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if to == SERVER.parse().unwrap() {
            return self.sfu.handle_datagram(self.now, from, bytes);
        }
        let Some(client) = self.clients.iter_mut().find(|client| client.address == to) else { return };
        let receive = Receive::new(Protocol::Udp, from, local(client), bytes).unwrap();
        client.rtc.handle_input(Input::Receive(self.now, receive)).unwrap();
        // The library buffers one packet, which must be polled before the next one.
        client.poll(self.now, self.start, &mut self.out);
    }

    /// The captured datagrams to an address, up to now.
    pub fn captured_to(&mut self, address: SocketAddr) -> Vec<Vec<u8>> {
        self.poll();
        let to = |(to, bytes): &(SocketAddr, Vec<u8>)| (*to == address).then(|| bytes.clone());
        self.captured.iter().flatten().filter_map(to).collect()
    }

    fn poll(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        for client in &mut self.clients {
            client.poll(self.now, self.start, &mut out);
        }
        while let Some(transmit) = self.sfu.poll_transmit() {
            if let Some(captured) = &mut self.captured {
                captured.push((transmit.destination, transmit.contents.clone()));
            }
            out.push_back((SERVER.parse().unwrap(), transmit.destination, transmit.contents));
        }
        while let Some(event) = self.sfu.poll_event() {
            self.events.push((self.now - self.start, event));
        }
        for (from, to, bytes) in out {
            let Network { loss, duplication, delay_ms, jitter_ms } = self.network;
            if self.rng.below(1000) < loss {
                continue;
            }
            let copies = 1 + u64::from(self.rng.below(1000) < duplication);
            for _ in 0..copies {
                let delay = Duration::from_millis(delay_ms + self.rng.below(jitter_ms + 1));
                self.sent += 1;
                self.in_flight.insert((self.now + delay, self.sent), (from, to, bytes.clone()));
            }
        }
    }

    pub fn close_reason(&self, client: usize) -> Option<CloseReason> {
        let id = self.clients[client].id;
        self.events.iter().find_map(|(_, event)| match event {
            MediaEvent::Closed(of, reason) if *of == id => Some(*reason),
            _ => None,
        })
    }

    pub fn failure_reason(&self, client: usize) -> Option<FailureReason> {
        match self.close_reason(client)? {
            CloseReason::Failed(failure) => Some(failure.reason),
            _ => None,
        }
    }

    pub fn has_emitted(&self, event: MediaEvent) -> bool {
        self.events.iter().any(|(_, seen)| *seen == event)
    }
}

/// A client's local address; behind a NAT, its public one differs.
fn local(client: &Client) -> SocketAddr {
    SocketAddr::new([198, 51, 100, 7].into(), 10_000 + client.id.0 as u16)
}

impl Client {
    fn poll(&mut self, now: Instant, start: Instant, out: &mut VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) if at <= now => self.rtc.handle_input(Input::Timeout(now)).unwrap(),
                Output::Timeout(at) => {
                    self.due = at;
                    return;
                }
                Output::Transmit(transmit) if (self.drop_outgoing)(&transmit.contents) => {}
                Output::Transmit(transmit) => {
                    out.push_back((self.address, transmit.destination, transmit.contents.into()))
                }
                Output::Event(str0m::Event::Connected) => self.connected = true,
                Output::Event(str0m::Event::Closed) => self.closed = true,
                Output::Event(str0m::Event::KeyframeRequest(_)) => self.key_frame_requests.push(now - start),
                Output::Event(str0m::Event::RtpPacket(packet)) => self.packets.push((now - start, packet)),
                Output::Event(_) => {}
            }
        }
    }
}

/// Three layers as browsers offer them.
pub fn three_layers() -> Simulcast {
    let layer = |rid: &str| SimulcastLayer::new(rid);
    Simulcast { send: vec![layer("hi"), layer("mid"), layer("low")], recv: vec![] }
}
