//! The datagrams of a connection: which are the client's, what the WebRTC library makes of them, and where answers go.

use super::resend::Verdict;
use super::{AGAIN, Happening, Link, Role, guarded, srtp};
use crate::Transmit;
use crate::failure::FailureReason;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::ice::{StunMessage, TransId};
use str0m::media::{Mid, Rid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::Ssrc;
use str0m::stats::MediaEgressStats;
use str0m::{Event, Input, Output, RtcError};

/// How many transactions of STUN are remembered, so that one cannot be replayed from elsewhere.
const TRANSACTIONS: usize = 32;
/// How often a connection may ask to be called again at once before it has to wait.
const AT_ONCE: usize = 64;
/// How many streams of a client are remembered as proved.
const PROVED: usize = 16;
/// The ICE priority of the server's path checks: that of a peer-reflexive candidate (RFC 8445, section 5.1.2).
const CHECK_PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

impl Link {
    /// Whether a binding request is this client's, proved by its integrity, and no replay from another address.
    pub(crate) fn proves(&self, now: Instant, source: SocketAddr, local: SocketAddr, bytes: &[u8]) -> bool {
        let Ok(receive) = Receive::new(Protocol::Udp, source, local, bytes) else { return false };
        let Ok(message) = StunMessage::parse(bytes) else { return false };
        let id = transaction(bytes);
        let replayed = self.transactions.iter().any(|(known, from)| Some(*known) == id && *from != source);
        let input = Input::Receive(now, receive);
        !replayed && message.is_binding_request() && guarded(|| Ok::<_, String>(self.rtc.accepts(&input))) == Ok(true)
    }

    /// Records a request that was [proved](Link::proves). Returns an address that is forgotten for its source.
    pub(crate) fn learn(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) -> Option<SocketAddr> {
        self.seen = now;
        if let Some(id) = transaction(bytes) {
            self.transactions.push_back((id, source));
            self.transactions.drain(..self.transactions.len().saturating_sub(TRANSACTIONS));
        }
        let nominates = StunMessage::parse(bytes).is_ok_and(|message| message.use_candidate());
        self.progress.verified(source, nominates);
        self.paths.request(now, source, nominates)
    }

    /// Sends a binding request to an address that media should go to, if they go elsewhere. ICE-lite agents do not have to
    /// check paths; a full agent answers all the same. A lost check is made up for by the client's next request.
    pub(crate) fn check_path(&mut self, now: Instant, address: SocketAddr, out: &mut VecDeque<Transmit>) {
        if !self.paths.wants_check(now, address) {
            return;
        }
        self.checks += 1;
        let hmac = |key: &[u8], parts: &[&[u8]]| self.crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let digest = hmac(&self.check_key, &[&self.checks.to_be_bytes()]);
        let Some(id) = digest.first_chunk::<12>() else { return };
        let own = self.rtc.direct_api().local_ice_credentials().ufrag;
        let (Some(transaction_id), Some((ufrag, password))) = (trans_id(id), self.remote_credentials()) else { return };
        let (name, tie_breaker) = (format!("{ufrag}:{own}"), self.checks);
        let request = StunMessage::binding_request(&name, transaction_id, false, tie_breaker, CHECK_PRIORITY, false);
        let mut contents = vec![0; 256 + name.len()];
        let Ok(length) = request.to_bytes(Some(password.as_bytes()), &mut contents, hmac) else { return };
        contents.truncate(length);
        self.paths.checking(address, *id);
        out.push_back(Transmit { destination: address, contents });
    }

    /// Takes the answer to a path check: media go there from now on.
    pub(crate) fn path_answered(&mut self, now: Instant, source: SocketAddr, message: &StunMessage<'_>, bytes: &[u8]) {
        let hmac = |key: &[u8], parts: &[&[u8]]| self.crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let Some((_, password)) = self.remote_credentials() else { return };
        let expected = transaction(bytes).is_some_and(|id| self.paths.answers_check(source, id));
        if !expected || !message.verify(password.as_bytes(), hmac) {
            return;
        }
        tracing::debug!(from = ?self.paths.active(), to = %source, "media path changed");
        self.seen = now;
        self.paths.authenticated(now, source);
        self.paths.validate(source);
    }

    /// Hands a datagram to the WebRTC library, and lets it do what comes of it. One that it cannot make sense of is as if
    /// it had not come: anybody could have sent it in the client's name.
    pub(crate) fn receive(
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
        self.paths.received(source, bytes.len());
        let (verified, connected) = (srtp::verified(), self.connected);
        if stream.is_some() {
            self.progress.rtp();
        }
        let rtc = &mut self.rtc;
        let handled = guarded(|| {
            let handled = rtc.handle_input(Input::Receive(now, receive));
            Ok::<_, String>(handled.inspect_err(|error| tracing::debug!(%error, "a datagram was left out")).is_ok())
        });
        match handled {
            Ok(handled) => self.progress.datagram(now, bytes, handled),
            Err(why) => return vec![Happening::Failed(FailureReason::Internal, why)],
        }
        let happenings = self.drive(now, out);
        if srtp::verified() > verified {
            self.paths.authenticated(now, source);
        }
        if self.connected && !connected {
            self.paths.authenticated(now, source);
            self.paths.handshake_ended(source);
            self.check_path(now, source, out);
        }
        if let Some(ssrc) = stream.filter(|ssrc| !self.proved.contains(ssrc)) {
            self.unlearn(ssrc);
        }
        happenings
    }

    /// Undoes what a packet of an unknown stream did that was not proved to be the client's. The library takes a section's
    /// new stream from a packet's header before it has looked at its integrity, and the old one would be heard no more.
    pub(crate) fn unlearn(&mut self, ssrc: Ssrc) {
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
    pub(crate) fn deliver(&mut self, now: Instant, out: &mut VecDeque<Transmit>) -> Vec<Happening> {
        let rtc = &mut self.rtc;
        match guarded(|| rtc.handle_input(Input::Timeout(now))) {
            Ok(()) => self.drive(now, out),
            Err(why) => vec![Happening::Failed(FailureReason::Internal, why)],
        }
    }

    /// Lets the WebRTC library do all that it has to do by now. [`Link::wants`] then says when it wants more.
    pub(crate) fn drive(&mut self, now: Instant, out: &mut VecDeque<Transmit>) -> Vec<Happening> {
        self.written = None;
        let (mut happenings, mut reason) = (Vec::new(), FailureReason::Internal);
        let mut work =
            || self.work_off(now, out, &mut happenings).inspect_err(|error| reason = FailureReason::of(error));
        if let Err(why) = guarded(&mut work) {
            happenings.push(Happening::Failed(reason, why));
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
                Output::Transmit(transmit) => self.transmit(now, transmit, out),
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

    /// Answers to STUN go where the request came from; all else to the [active path](super::paths), which the library
    /// itself would follow only when the former address has been silent for 15 s.
    fn transmit(&mut self, now: Instant, transmit: str0m::net::Transmit, out: &mut VecDeque<Transmit>) {
        let contents: Vec<u8> = transmit.contents.into();
        if contents.first().is_some_and(|first| *first < 2) {
            return out.push_back(Transmit { destination: transmit.destination, contents });
        }
        let destination = self.paths.active().unwrap_or(transmit.destination);
        let stream = rtp_stream(&contents).filter(|_| matches!(self.role, Role::Subscriber { .. }));
        if stream.is_some_and(|ssrc| !self.may_resend(now, ssrc, contents.len()))
            || !self.paths.may_send(destination, contents.len())
        {
            return;
        }
        if stream.is_some() {
            self.packets += 1;
            self.bytes += contents.len() as u64;
        }
        out.push_back(Transmit { destination, contents });
    }

    /// Whether a packet for a subscriber may be sent: one that repeats another, only within the budget.
    fn may_resend(&mut self, now: Instant, ssrc: Ssrc, bytes: usize) -> bool {
        let Some((_, mid)) = self.rtx.iter().find(|(rtx, _)| *rtx == ssrc).copied() else {
            self.resends.sent(bytes);
            return true;
        };
        match self.resends.verdict(now, srtp::original_sequence_number(), bytes) {
            Verdict::Send => true,
            Verdict::TooSoon => false,
            Verdict::OverBudget => {
                // With an empty cache, what else is asked for is not even encrypted.
                if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
                    stream.set_rtx_cache(AGAIN.0, AGAIN.1, AGAIN.2);
                }
                if !std::mem::replace(&mut self.over_budget, true) {
                    let address = self.paths.active();
                    tracing::info!(?address, reason = "retransmission budget", "NACKs ignored");
                }
                false
            }
        }
    }

    fn happening(&mut self, now: Instant, event: Event) -> Option<Happening> {
        match event {
            Event::Connected => {
                self.connected = true;
                self.progress.connected(now);
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
        if let Some(rtt) = stats.rtt {
            self.resends.measured(rtt);
        }
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

/// A transaction id of given bytes. The library only makes ids of its own, or parses them: here from the shortest
/// message, a binding indication.
fn trans_id(id: &[u8; 12]) -> Option<TransId> {
    let mut message = [0; 20];
    message[..8].copy_from_slice(&[0x00, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
    message[8..].copy_from_slice(id);
    StunMessage::parse(&message).ok().map(|message| message.trans_id())
}

/// The stream that a datagram of RTP says that it is of; none if it is RTCP (RFC 5761) or no RTP at all.
fn rtp_stream(bytes: &[u8]) -> Option<Ssrc> {
    let [first, second, ..] = bytes else { return None };
    let rtp = matches!(first, 128..=191) && !matches!(second & 0x7f, 64..=95);
    let ssrc = <[u8; 4]>::try_from(bytes.get(8..12)?).ok()?;
    rtp.then(|| u32::from_be_bytes(ssrc).into())
}
