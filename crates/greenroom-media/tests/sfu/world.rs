//! An engine, clients of it and the network between them, in one thread on a clock that only the test moves.

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

/// Where the engine is.
pub const SERVER: &str = "192.0.2.1:4000";
/// How long a connection may be silent in these tests.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// What the network does to datagrams, out of a thousand, and how long it takes.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    pub lost: u64,
    pub doubled: u64,
    pub delay_ms: u64,
    /// Up to as much is added to the delay, so that datagrams overtake each other.
    pub jitter_ms: u64,
}

pub const PERFECT: Network = Network { lost: 0, doubled: 0, delay_ms: 5, jitter_ms: 0 };

/// SplitMix64: few lines, and enough for a network.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
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

/// What a client can do, before it has made its offer.
pub fn config() -> RtcConfig {
    let config = Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, false);
    config.enable_h264(true).enable_vp8(true).set_dtls_cert(certificate())
}

pub struct Client {
    pub peer: TransportId,
    pub rtc: Rtc,
    pub address: SocketAddr,
    pub mids: BTreeMap<&'static str, Mid>,
    pub connected: bool,
    pub closed: bool,
    pub packets: Vec<(Duration, RtpPacket)>,
    /// How often a key frame was asked of it, and when.
    pub asked: Vec<Duration>,
    /// The answer to its offer.
    pub answer: String,
    /// Which of its datagrams are not sent.
    pub mute: fn(&[u8]) -> bool,
    due: Instant,
}

pub struct World {
    pub sfu: Sfu,
    pub start: Instant,
    pub now: Instant,
    pub clients: Vec<Client>,
    pub events: Vec<(Duration, MediaEvent)>,
    pub network: Network,
    pub dice: Dice,
    /// All that the engine sent, for tests that look at datagrams.
    pub tap: Option<Vec<(SocketAddr, Vec<u8>)>>,
    /// What becomes of an offer on its way.
    pub edit: fn(String) -> String,
    /// What becomes of a publisher's answer on its way.
    pub edit_answer: fn(String) -> String,
    wire: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
    out: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>,
}

impl World {
    pub fn new(seed: u64) -> World {
        World::with(seed, false)
    }

    pub fn with(seed: u64, strict: bool) -> World {
        let sfu = Sfu::new(vec![SERVER.parse().unwrap()], TIMEOUT, strict).unwrap();
        let now = Instant::now();
        World {
            sfu,
            start: now,
            now,
            clients: Vec::new(),
            events: Vec::new(),
            network: PERFECT,
            dice: Dice::new(seed),
            tap: None,
            edit: |offer| offer,
            edit_answer: |answer| answer,
            wire: BTreeMap::new(),
            sent: 0,
            out: VecDeque::new(),
        }
    }

    pub fn at(&self) -> Duration {
        self.now - self.start
    }

    /// A client that sends the sections named.
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
        client.answer = (self.edit_answer)(self.sfu.publish(self.now, client.peer, &offer)?);
        let answer = SdpAnswer::from_sdp_string(&client.answer).unwrap();
        client.rtc.sdp_api().accept_answer(pending, answer).unwrap();
        self.clients.push(client);
        Ok(self.clients.len() - 1)
    }

    /// A client that receives from another.
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
        let publisher = self.clients[publisher].peer;
        client.answer = self.sfu.subscribe(self.now, client.peer, publisher, &offer)?;
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
            peer: TransportId(number.into()),
            rtc,
            address,
            mids,
            connected: false,
            closed: false,
            packets: Vec::new(),
            asked: Vec::new(),
            answer: String::new(),
            mute: |_| false,
            due: self.now,
        };
        (client, (self.edit)(offer.to_sdp_string()), pending)
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let clients = self.clients.iter().map(|client| client.due);
            let next = clients.chain(self.sfu.next_timeout()).chain(self.wire.keys().next().map(|(at, _)| *at)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
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
        self.settle();
    }

    pub fn run_ms(&mut self, time: u64) {
        self.run(Duration::from_millis(time));
    }

    /// A datagram arrives.
    pub fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if to == SERVER.parse().unwrap() {
            return self.sfu.handle_datagram(self.now, from, bytes);
        }
        let Some(client) = self.clients.iter_mut().find(|client| client.address == to) else { return };
        let receive = Receive::new(Protocol::Udp, from, local(client), bytes).unwrap();
        client.rtc.handle_input(Input::Receive(self.now, receive)).unwrap();
        // The library keeps one packet; it must be fetched before the next comes.
        client.settle(self.now, self.start, &mut self.out);
    }

    /// What the engine sends to an address by now; it goes on its way.
    pub fn sfu_sent_to(&mut self, address: SocketAddr) -> Vec<Vec<u8>> {
        self.settle();
        let to = |(to, bytes): &(SocketAddr, Vec<u8>)| (*to == address).then(|| bytes.clone());
        self.tap.iter().flatten().filter_map(to).collect()
    }

    fn settle(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        for client in &mut self.clients {
            client.settle(self.now, self.start, &mut out);
        }
        while let Some(transmit) = self.sfu.poll_transmit() {
            if let Some(tap) = &mut self.tap {
                tap.push((transmit.destination, transmit.contents.clone()));
            }
            out.push_back((SERVER.parse().unwrap(), transmit.destination, transmit.contents));
        }
        while let Some(event) = self.sfu.poll_event() {
            self.events.push((self.now - self.start, event));
        }
        for (from, to, bytes) in out {
            let Network { lost, doubled, delay_ms, jitter_ms } = self.network;
            if self.dice.below(1000) < lost {
                continue;
            }
            let copies = 1 + u64::from(self.dice.below(1000) < doubled);
            for _ in 0..copies {
                let delay = Duration::from_millis(delay_ms + self.dice.below(jitter_ms + 1));
                self.sent += 1;
                self.wire.insert((self.now + delay, self.sent), (from, to, bytes.clone()));
            }
        }
    }

    /// When and why a connection ended, if it has.
    pub fn closed(&self, client: usize) -> Option<CloseReason> {
        let peer = self.clients[client].peer;
        self.events.iter().find_map(|(_, event)| match event {
            MediaEvent::Closed(of, why) if *of == peer => Some(*why),
            _ => None,
        })
    }

    /// CloseReason a connection failed, if it did.
    pub fn failed(&self, client: usize) -> Option<FailureReason> {
        match self.closed(client)? {
            CloseReason::Failed(failure) => Some(failure.reason),
            _ => None,
        }
    }

    pub fn saw(&self, event: MediaEvent) -> bool {
        self.events.iter().any(|(_, seen)| *seen == event)
    }
}

/// Where a client is for itself; its network may show another address.
fn local(client: &Client) -> SocketAddr {
    SocketAddr::new([198, 51, 100, 7].into(), 10_000 + client.peer.0 as u16)
}

impl Client {
    fn settle(&mut self, now: Instant, start: Instant, out: &mut VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) if at <= now => self.rtc.handle_input(Input::Timeout(now)).unwrap(),
                Output::Timeout(at) => {
                    self.due = at;
                    return;
                }
                Output::Transmit(transmit) if (self.mute)(&transmit.contents) => {}
                Output::Transmit(transmit) => {
                    out.push_back((self.address, transmit.destination, transmit.contents.into()))
                }
                Output::Event(str0m::Event::Connected) => self.connected = true,
                Output::Event(str0m::Event::Closed) => self.closed = true,
                Output::Event(str0m::Event::KeyframeRequest(_)) => self.asked.push(now - start),
                Output::Event(str0m::Event::RtpPacket(packet)) => self.packets.push((now - start, packet)),
                Output::Event(_) => {}
            }
        }
    }
}

/// Three layers, as browsers offer them.
pub fn three_layers() -> Simulcast {
    let layer = |rid: &str| SimulcastLayer::new(rid);
    Simulcast { send: vec![layer("hi"), layer("mid"), layer("low")], recv: vec![] }
}
