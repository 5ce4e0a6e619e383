//! A connection with its UDP socket and counters.

use super::Error;
use super::publisher::{Layer, Publisher};
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use serde::Serialize;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::config::DtlsCert;
use str0m::media::{Direction, MediaKind, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// Interval of timers of a failed connection.
const FAILED_WAIT: Duration = Duration::from_secs(3600);

/// What all connections share: a DTLS certificate and the local address.
pub struct Identity(DtlsCert, IpAddr);

impl Identity {
    pub fn new(address: IpAddr) -> Result<Identity, Error> {
        let provider = str0m::crypto::from_feature_flags();
        Ok(Identity(provider.dtls_provider.generate_certificate().ok_or("no DTLS certificate")?, address))
    }

    fn config(&self) -> RtcConfig {
        let config = RtcConfig::new().set_rtp_mode(true).set_dtls_cert(self.0.clone());
        config.clear_codecs().enable_opus(true, false).enable_vp8(true)
    }
}

/// A connection.
pub struct Peer {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    publisher: Option<Publisher>,
    connected: bool,
    failed: bool,
    /// Time of the next call of [`Peer::handle_timeout`].
    pub due: Instant,
    streams: Vec<StreamCounter>,
    datagrams: u64,
    decrypted: u64,
    /// By payload type.
    kinds: [PayloadKind; 128],
}

#[derive(Clone, Copy, Default, PartialEq)]
enum PayloadKind {
    #[default]
    Other,
    Media,
    Retransmission,
}

/// Packets of an SSRC, counted by their headers.
struct StreamCounter {
    ssrc: u32,
    kind: PayloadKind,
    packets: u64,
    bytes: u64,
    first: u64,
    last: u64,
}

/// Counters of a connection since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub connected: bool,
    pub publishes: bool,
    pub sent: u64,
    pub key_frames: u64,
    pub packets: u64,
    pub bytes: u64,
    /// Packets by sequence numbers, with those that were lost.
    pub expected: u64,
    pub retransmissions: u64,
    pub datagrams: u64,
    pub decrypted: u64,
}

/// Sums over all connections.
#[derive(Debug, Default, Serialize)]
pub struct Totals {
    pub publishing: u64,
    pub subscribed: u64,
    /// Subscribers that have received media.
    pub receiving: u64,
    pub sent: u64,
    pub key_frames: u64,
    pub packets: u64,
    pub bytes: u64,
    pub expected: u64,
    pub retransmissions: u64,
    pub datagrams: u64,
    pub decrypted: u64,
    /// Packets of each subscriber.
    pub each: Vec<u64>,
}

impl Totals {
    pub fn add(&mut self, counters: &Counters) {
        if counters.publishes {
            self.publishing += u64::from(counters.connected);
            self.sent += counters.sent;
            self.key_frames += counters.key_frames;
            return;
        }
        self.subscribed += u64::from(counters.connected);
        self.receiving += u64::from(counters.packets > 0);
        self.packets += counters.packets;
        self.bytes += counters.bytes;
        self.expected += counters.expected;
        self.retransmissions += counters.retransmissions;
        self.datagrams += counters.datagrams;
        self.decrypted += counters.decrypted;
        self.each.push(counters.packets);
    }
}

impl Peer {
    /// A connection that publishes, and its offer.
    pub fn publish(identity: &Identity, layers: Vec<Layer>, burst: bool) -> Result<(Peer, String), Error> {
        let mut peer = Peer::new(identity)?;
        let mut rids = Simulcast::new();
        for rid in layers.iter().filter_map(|layer| layer.rid.as_deref()) {
            rids.add_send_layer(SimulcastLayer::new(rid));
        }
        let simulcast = (!rids.send.is_empty()).then_some(rids);
        let mut change = peer.rtc.sdp_api();
        let stream = Some("stream".to_owned());
        let audio = change.add_media(MediaKind::Audio, Direction::SendOnly, stream.clone(), None, None);
        let video = change.add_media(MediaKind::Video, Direction::SendOnly, stream, None, simulcast);
        let (offer, pending) = change.apply().ok_or("an empty offer")?;
        peer.pending = Some(pending);
        peer.publisher = Some(Publisher::new(audio, video, &layers, burst));
        Ok((peer, offer.to_sdp_string()))
    }

    /// A connection that receives, and its offer.
    pub fn subscribe(identity: &Identity) -> Result<(Peer, String), Error> {
        let mut peer = Peer::new(identity)?;
        let mut change = peer.rtc.sdp_api();
        change.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        change.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (offer, pending) = change.apply().ok_or("an empty offer")?;
        peer.pending = Some(pending);
        Ok((peer, offer.to_sdp_string()))
    }

    /// A connection that receives what a server has offered, and its answer.
    pub fn accept(identity: &Identity, offer: &str) -> Result<(Peer, String), Error> {
        let mut peer = Peer::new(identity)?;
        let answer = peer.rtc.sdp_api().accept_offer(SdpOffer::from_sdp_string(offer)?)?;
        peer.learn_payload_types();
        Ok((peer, answer.to_sdp_string()))
    }

    fn new(identity: &Identity) -> Result<Peer, Error> {
        let socket = UdpSocket::bind((identity.1, 0).into())?;
        let (local, now) = (socket.local_addr()?, Instant::now());
        let mut rtc = identity.config().build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp")?);
        Ok(Peer {
            rtc,
            socket,
            local,
            pending: None,
            publisher: None,
            connected: false,
            failed: false,
            due: now,
            streams: Vec::new(),
            datagrams: 0,
            decrypted: 0,
            kinds: [PayloadKind::Other; 128],
        })
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> Result<(), Error> {
        Ok(registry.register(&mut self.socket, token, Interest::READABLE)?)
    }

    pub fn answer(&mut self, sdp: &str) -> Result<(), Error> {
        let pending = self.pending.take().ok_or("no pending offer")?;
        self.rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(sdp)?)?;
        self.learn_payload_types();
        self.due = Instant::now();
        Ok(())
    }

    fn learn_payload_types(&mut self) {
        for params in self.rtc.codec_config().params() {
            self.kinds[usize::from(*params.pt())] = PayloadKind::Media;
            if let Some(pt) = params.resend() {
                self.kinds[usize::from(*pt)] = PayloadKind::Retransmission;
            }
        }
    }

    /// Ends the connection if it has failed; the others continue.
    pub fn end_on_error(&mut self, done: Result<(), Error>) {
        if let Err(error) = done {
            eprintln!("media_driver: a connection failed: {error}");
            (self.failed, self.connected) = (true, false);
            self.due = Instant::now() + FAILED_WAIT;
        }
    }

    /// Receives datagrams until the socket is empty.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        if self.failed {
            return Ok(());
        }
        // Readiness is edge-triggered.
        loop {
            let (length, source) = match self.socket.recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // ICMP port unreachable, for a datagram sent before.
                Err(_) => continue,
            };
            let datagram = &buffer[..length];
            self.datagrams += 1;
            self.count(datagram);
            let Ok(contents) = datagram.try_into() else { continue };
            let now = Instant::now();
            let receive = Receive { proto: Protocol::Udp, source, destination: self.local, contents };
            self.rtc.handle_input(Input::Receive(now, receive))?;
            self.poll(now)?;
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.failed {
            self.due = now + FAILED_WAIT;
            return Ok(());
        }
        self.rtc.handle_input(Input::Timeout(now))?;
        self.poll(now)
    }

    fn poll(&mut self, now: Instant) -> Result<(), Error> {
        loop {
            match self.rtc.poll_output()? {
                Output::Transmit(transmit) => {
                    // A full buffer counts as loss.
                    let _ = self.socket.send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(event) => self.handle_event(&event, now),
                Output::Timeout(at) => {
                    let Some(publisher) = &mut self.publisher else {
                        self.due = at;
                        return Ok(());
                    };
                    if !publisher.write(&mut self.rtc, now)? {
                        self.due = publisher.next_at().map_or(at, |next| next.min(at));
                        return Ok(());
                    }
                }
            }
        }
    }

    fn handle_event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Connected => {
                self.connected = true;
                if let Some(publisher) = &mut self.publisher {
                    publisher.start(now + Duration::from_millis(1));
                }
            }
            Event::Closed => self.connected = false,
            Event::RtpPacket(_) => self.decrypted += 1,
            Event::KeyframeRequest(request) => {
                if let Some(publisher) = &mut self.publisher {
                    publisher.request_key_frame(request);
                }
            }
            _ => {}
        }
    }

    /// Counts a datagram if it is an RTP packet. Headers are not encrypted.
    fn count(&mut self, datagram: &[u8]) {
        let [first, second, high, low, _, _, _, _, ssrc @ ..] = datagram else { return };
        let Some(ssrc) = ssrc.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else { return };
        // Not STUN or DTLS, and not RTCP (RFC 5761).
        if first >> 6 != 2 || (192..224).contains(second) {
            return;
        }
        let (kind, number) = (self.kinds[usize::from(second & 0x7f)], u16::from_be_bytes([*high, *low]));
        let bytes = datagram.len() as u64;
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc) else {
            let (first, last) = (u64::from(number), u64::from(number));
            self.streams.push(StreamCounter { ssrc, kind, packets: 1, bytes, first, last });
            return;
        };
        stream.packets += 1;
        stream.bytes += bytes;
        // Negative for a late packet.
        let ahead = number.wrapping_sub(stream.last as u16) as i16;
        stream.last += u64::try_from(ahead).unwrap_or(0);
    }

    pub fn counters(&self) -> Counters {
        let publisher = self.publisher.as_ref();
        let mut counters = Counters {
            connected: self.connected,
            publishes: publisher.is_some(),
            sent: publisher.map_or(0, |publisher| publisher.sent),
            key_frames: publisher.map_or(0, |publisher| publisher.key_frames),
            datagrams: self.datagrams,
            decrypted: self.decrypted,
            ..Counters::default()
        };
        for stream in &self.streams {
            match stream.kind {
                PayloadKind::Media => {
                    counters.packets += stream.packets;
                    counters.bytes += stream.bytes;
                    counters.expected += stream.last - stream.first + 1;
                }
                PayloadKind::Retransmission => counters.retransmissions += stream.packets,
                PayloadKind::Other => {}
            }
        }
        counters
    }
}
