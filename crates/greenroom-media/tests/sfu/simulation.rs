//! The engine, its clients and the network between them, in one thread on a clock that the test controls.

use greenroom_media::{CloseReason, FailureReason, MediaEvent, OfferError, Sfu, TransportId};
use greenroom_netem::{Link, Profile};
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

/// No impairment.
pub const PERFECT_NETWORK: Profile = Profile { delay: Duration::from_millis(5), ..Profile::PERFECT };

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
    /// The network from and to the client.
    pub uplink: Link<Datagram>,
    pub downlink: Link<Datagram>,
    due: Instant,
}

/// Source, destination and contents.
pub type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

pub struct Simulation {
    pub sfu: Sfu,
    pub start: Instant,
    pub now: Instant,
    pub clients: Vec<Client>,
    pub events: Vec<(Duration, MediaEvent)>,
    /// If set, records all datagrams that the engine sends.
    pub captured: Option<Vec<(SocketAddr, Vec<u8>)>>,
    /// Modifies offers before the engine gets them.
    pub edit_offer: fn(String) -> String,
    /// Modifies answers before publishers get them.
    pub edit_answer: fn(String) -> String,
    network: Profile,
    seed: u64,
    out: VecDeque<Datagram>,
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
            captured: None,
            edit_offer: |offer| offer,
            edit_answer: |answer| answer,
            network: PERFECT_NETWORK,
            seed,
            out: VecDeque::new(),
        }
    }

    pub fn at(&self) -> Duration {
        self.now - self.start
    }

    /// Changes the network of all clients, present and future ones.
    pub fn set_network(&mut self, network: Profile) {
        self.network = network;
        for client in &mut self.clients {
            client.uplink.set_profile(self.now, network);
            client.downlink.set_profile(self.now, network);
        }
    }

    /// Adds a publisher with these media sections.
    pub fn publish(&mut self, kinds: &[&'static str]) -> Result<usize, OfferError> {
        self.publish_with(config(), kinds, None)
    }

    /// A simulation with a publisher of three layers.
    pub fn with_simulcast(seed: u64, kinds: &[&'static str]) -> (Simulation, usize) {
        let mut sim = Simulation::new(seed);
        let publisher = sim.publish_with(config(), kinds, Some(three_layers())).unwrap();
        (sim, publisher)
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
        self.subscribe_client(config, self.clients[publisher].id, kinds)
    }

    /// Adds a subscriber of a source that is none of the clients.
    pub fn subscribe_to(&mut self, source: TransportId, kinds: &[&'static str]) -> Result<usize, OfferError> {
        self.subscribe_client(config(), source, kinds)
    }

    fn subscribe_client(
        &mut self,
        config: RtcConfig,
        publisher: TransportId,
        kinds: &[&'static str],
    ) -> Result<usize, OfferError> {
        let (mut client, offer, pending) = self.client(config, kinds, Direction::RecvOnly, None);
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
            uplink: Link::new(self.network, self.seed ^ u64::from(number) << 32),
            downlink: Link::new(self.network, self.seed ^ u64::from(number) << 48),
            due: self.now,
        };
        (client, (self.edit_offer)(offer.to_sdp_string()), pending)
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.poll();
            let next = self.clients.iter().filter_map(Client::next_deadline).chain(self.sfu.next_timeout()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for client in 0..self.clients.len() {
                while let Some((from, to, bytes)) = self.clients[client].arrived(self.now) {
                    self.deliver(from, to, &bytes);
                }
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
                captured.push((transmit.path.remote, transmit.contents.clone()));
            }
            out.push_back((SERVER.parse().unwrap(), transmit.path.remote, transmit.contents));
        }
        while let Some(event) = self.sfu.poll_event() {
            self.events.push((self.now - self.start, event));
        }
        let server = SERVER.parse().unwrap();
        for datagram in out {
            let (from, to, bytes) = (datagram.0, datagram.1, datagram.2.len());
            let client = if to == server { from } else { to };
            let Some(client) = self.clients.iter_mut().find(|found| found.address == client) else { continue };
            let link = if to == server { &mut client.uplink } else { &mut client.downlink };
            // The network may drop it.
            let _ = link.push(self.now, datagram, bytes);
        }
    }

    pub fn close_reason(&self, client: usize) -> Option<CloseReason> {
        let id = self.clients[client].id;
        self.events.iter().find_map(|(_, event)| match event {
            MediaEvent::Closed(of, reason) if *of == id => Some(*reason),
            _ => None,
        })
    }

    /// When the engine had connected to a client.
    pub fn connected_at(&self, client: usize) -> Duration {
        let connected = MediaEvent::Connected(self.clients[client].id);
        self.events.iter().find(|(_, event)| *event == connected).unwrap().0
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
    fn next_deadline(&self) -> Option<Instant> {
        [Some(self.due), self.uplink.next_deadline(), self.downlink.next_deadline()].into_iter().flatten().min()
    }

    /// The next datagram that has arrived, at the client or from it.
    fn arrived(&mut self, now: Instant) -> Option<Datagram> {
        self.uplink.pop(now).or_else(|| self.downlink.pop(now))
    }

    fn poll(&mut self, now: Instant, start: Instant, out: &mut VecDeque<Datagram>) {
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
