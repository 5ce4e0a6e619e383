//! The datagrams of a connection: which are the client's, what the WebRTC library makes of them, and where answers go.

use super::{Happening, Link, Role, guarded};
use crate::sfu::Transmit;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::ice::StunMessage;
use str0m::media::{Mid, Rid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::Ssrc;
use str0m::stats::MediaEgressStats;
use str0m::{Event, Input, Output, RtcError};

/// The most addresses that a connection may have proved to be its own.
const MOST_ADDRESSES: usize = 8;
/// How many transactions of STUN are remembered, so that one cannot be replayed from elsewhere.
const TRANSACTIONS: usize = 32;
/// How often a connection may ask to be called again at once before it has to wait.
const AT_ONCE: usize = 64;
/// How many streams of a client are remembered as proved.
const PROVED: usize = 16;

impl Link {
    /// Whether a binding request is this client's, proved by its integrity, and no replay from another address.
    pub(in crate::sfu) fn proves(&self, now: Instant, source: SocketAddr, local: SocketAddr, bytes: &[u8]) -> bool {
        let Ok(receive) = Receive::new(Protocol::Udp, source, local, bytes) else { return false };
        let Ok(message) = StunMessage::parse(bytes) else { return false };
        let id = transaction(bytes);
        let replayed = self.transactions.iter().any(|(known, from)| Some(*known) == id && *from != source);
        let input = Input::Receive(now, receive);
        !replayed && message.is_binding_request() && guarded(|| Ok::<_, String>(self.rtc.accepts(&input))) == Ok(true)
    }

    /// Takes note of an address that a request has proved to be the client's; gives back one that is forgotten for it.
    pub(in crate::sfu) fn learn(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) -> Option<SocketAddr> {
        self.seen = now;
        if let Some(id) = transaction(bytes) {
            self.transactions.push_back((id, source));
            self.transactions.drain(..self.transactions.len().saturating_sub(TRANSACTIONS));
        }
        if StunMessage::parse(bytes).is_ok_and(|message| message.use_candidate()) {
            self.destination = Some(source);
        }
        if self.addresses.contains(&source) {
            return None;
        }
        self.addresses.push_back(source);
        if self.addresses.len() <= MOST_ADDRESSES {
            return None;
        }
        let kept = self.destination;
        let oldest = self.addresses.iter().position(|address| Some(*address) != kept)?;
        self.addresses.remove(oldest)
    }

    /// Hands a datagram to the WebRTC library, and lets it do what comes of it. One that it cannot make sense of is as if
    /// it had not come: anybody could have sent it in the client's name.
    pub(in crate::sfu) fn receive(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
        out: &mut VecDeque<Transmit>,
    ) -> Vec<Happening> {
        let Ok(receive) = Receive::new(Protocol::Udp, source, local, bytes) else { return Vec::new() };
        let stream = rtp_stream(bytes);
        if stream.is_some() && matches!(self.role, Role::Subscriber { .. }) {
            return Vec::new();
        }
        let rtc = &mut self.rtc;
        let handled = guarded(|| {
            if let Err(error) = rtc.handle_input(Input::Receive(now, receive)) {
                tracing::debug!(%error, "a datagram was left out");
            }
            Ok::<_, String>(())
        });
        if let Err(why) = handled {
            return vec![Happening::Failed(why)];
        }
        let happenings = self.drive(now, out);
        if let Some(ssrc) = stream.filter(|ssrc| !self.proved.contains(ssrc)) {
            self.unlearn(ssrc);
        }
        happenings
    }

    /// Undoes what a packet of an unknown stream did that was not proved to be the client's. The library takes a section's
    /// new stream from a packet's header before it has looked at its integrity, and the old one would be heard no more.
    fn unlearn(&mut self, ssrc: Ssrc) {
        let Role::Publisher(source) = &self.role else { return };
        let layers = source.tracks.iter().flat_map(|track| track.streams().map(|(rid, ssrc)| (track.mid, rid, ssrc)));
        let layers: Vec<(Mid, Option<Rid>, Ssrc)> = layers.collect();
        let mut api = self.rtc.direct_api();
        for (mid, rid, known) in layers {
            let Some(now) = api.stream_rx_by_mid(mid, rid).map(|stream| (stream.ssrc(), stream.rtx())) else {
                continue;
            };
            if now.0 == ssrc && known != ssrc {
                api.remove_stream_rx(ssrc);
                api.expect_stream_rx(known, now.1, mid, rid);
            }
        }
    }

    /// Has packets made that were put down. The library looks at them when time passes; to tell it so at once spares it
    /// one look at all the rest.
    pub(in crate::sfu) fn deliver(&mut self, now: Instant, out: &mut VecDeque<Transmit>) -> Vec<Happening> {
        let rtc = &mut self.rtc;
        match guarded(|| rtc.handle_input(Input::Timeout(now))) {
            Ok(()) => self.drive(now, out),
            Err(why) => vec![Happening::Failed(why)],
        }
    }

    /// Lets the WebRTC library do all that it has to do by now. [`Link::wants`] then says when it wants more.
    pub(in crate::sfu) fn drive(&mut self, now: Instant, out: &mut VecDeque<Transmit>) -> Vec<Happening> {
        self.written = None;
        let mut happenings = Vec::new();
        if let Err(why) = guarded(|| self.work_off(now, out, &mut happenings)) {
            happenings.push(Happening::Failed(why));
        }
        happenings
    }

    fn work_off(
        &mut self,
        now: Instant,
        out: &mut VecDeque<Transmit>,
        happenings: &mut Vec<Happening>,
    ) -> Result<(), RtcError> {
        let mut at_once = 0;
        loop {
            match self.rtc.poll_output()? {
                Output::Transmit(transmit) => self.transmit(transmit, out),
                Output::Event(event) => happenings.extend(self.happening(now, event)),
                Output::Timeout(at) if at <= now && at_once < AT_ONCE => {
                    at_once += 1;
                    self.rtc.handle_input(Input::Timeout(now))?;
                }
                Output::Timeout(at) => {
                    self.wants = Some(at.max(now + Duration::from_millis(1)));
                    return Ok(());
                }
            }
        }
    }

    /// Answers to STUN go where the request came from; all else to where the client last asked for it, which the library
    /// itself would follow only when the former address has been silent for 15 s.
    fn transmit(&mut self, transmit: str0m::net::Transmit, out: &mut VecDeque<Transmit>) {
        let contents: Vec<u8> = transmit.contents.into();
        let stun = contents.first().is_some_and(|first| *first < 2);
        let destination = self.destination.filter(|_| !stun).unwrap_or(transmit.destination);
        if matches!(self.role, Role::Subscriber { .. }) && rtp_stream(&contents).is_some() {
            self.packets += 1;
            self.bytes += contents.len() as u64;
        }
        out.push_back(Transmit { destination, contents });
    }

    fn happening(&mut self, now: Instant, event: Event) -> Option<Happening> {
        match event {
            Event::Connected => {
                self.connected = true;
                self.seen = now;
                Some(Happening::Connected)
            }
            Event::RtpPacket(packet) => {
                self.seen = now;
                let ssrc = packet.header.ssrc;
                if !self.proved.contains(&ssrc) {
                    self.proved.push(ssrc);
                    self.proved.drain(..self.proved.len().saturating_sub(PROVED));
                }
                self.packets += 1;
                self.bytes += (packet.payload.len() + packet.header.header_len) as u64;
                Some(Happening::Packet(Box::new(packet)))
            }
            Event::KeyframeRequest(_) => {
                self.seen = now;
                Some(Happening::KeyFrameWanted)
            }
            Event::SenderFeedback(_) | Event::EgressBitrateEstimate(_) => {
                self.seen = now;
                None
            }
            Event::MediaEgressStats(stats) => {
                self.report(now, &stats);
                None
            }
            Event::Closed => Some(Happening::HungUp),
            _ => None,
        }
    }

    /// Somebody who receives may say so by RTCP alone: a report that differs from the last is a sign of life.
    fn report(&mut self, now: Instant, stats: &MediaEgressStats) {
        let Some(remote) = &stats.remote else { return };
        let report = (stats.mid, remote.packets_lost, *remote.maximum_sequence_number + stats.nacks, remote.jitter);
        match self.reports.iter_mut().find(|(mid, ..)| *mid == stats.mid) {
            Some(known) if *known == report => {}
            Some(known) => {
                *known = report;
                self.seen = now;
            }
            None => {
                self.reports.push(report);
                self.seen = now;
            }
        }
    }
}

fn transaction(bytes: &[u8]) -> Option<[u8; 12]> {
    bytes.get(8..20)?.try_into().ok()
}

/// The stream that a datagram of RTP says that it is of; none if it is RTCP (RFC 5761) or no RTP at all.
fn rtp_stream(bytes: &[u8]) -> Option<Ssrc> {
    let [first, second, ..] = bytes else { return None };
    let rtp = matches!(first, 128..=191) && !matches!(second & 0x7f, 64..=95);
    let ssrc = <[u8; 4]>::try_from(bytes.get(8..12)?).ok()?;
    rtp.then(|| u32::from_be_bytes(ssrc).into())
}
