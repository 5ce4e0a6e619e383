//! The engine: connections, datagrams and time in; datagrams and events out. No socket, clock or task is in it.

use super::forward::Packet;
use super::fragment::Fragment;
use super::limits;
use super::link::{Ground, Happening, Link, Role, crypto_provider};
use super::negotiate::{Negotiated, Negotiator};
use super::offer::Kind;
use super::source::Heard;
use super::{CloseReason, Codec, MediaEvent, OfferError, OfferLimits, Transmit, TransportId, TransportStats};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};

/// Forwards media from publishers to subscribers.
///
/// After one or several calls that take `now`, [`Sfu::poll_transmit`] is to be emptied and then [`Sfu::poll_event`], and
/// [`Sfu::handle_timeout`] called no later than at [`Sfu::next_timeout`], which is right when both are empty.
///
/// A packet of a publisher is only put down for its subscribers. It is encrypted when polled: whoever hands over several
/// datagrams before polling has each subscriber's packets made in one go, which costs less, and gets them one after the
/// other.
pub struct Sfu {
    ground: Arc<Ground>,
    /// In boxes, as they are large and a node of the tree has room for eleven.
    links: BTreeMap<TransportId, Box<Link>>,
    by_address: HashMap<SocketAddr, TransportId>,
    by_ufrag: HashMap<String, TransportId>,
    timers: BTreeSet<(Instant, TransportId)>,
    work: VecDeque<(TransportId, Happening)>,
    /// Subscribers that packets were put down for.
    waiting: VecDeque<TransportId>,
    /// How many packets were put down since nobody waited.
    backlog: usize,
    transmits: VecDeque<Transmit>,
    events: VecDeque<MediaEvent>,
}

impl Sfu {
    /// An engine without connections. `candidates` are the addresses that clients are told, at least one.
    pub fn new(candidates: Vec<SocketAddr>, timeout: Duration, strict: bool) -> Result<Sfu, OfferError> {
        Sfu::with_limits(candidates, timeout, strict, OfferLimits::default())
    }

    /// An engine with limits of offers other than the default ones.
    pub fn with_limits(
        candidates: Vec<SocketAddr>,
        timeout: Duration,
        strict: bool,
        limits: OfferLimits,
    ) -> Result<Sfu, OfferError> {
        let crypto = Arc::new(crypto_provider());
        let certificate = crypto.dtls_provider.generate_certificate();
        let certificate =
            certificate.ok_or_else(|| OfferError::Unsupported("no DTLS certificate could be made".into()))?;
        if candidates.is_empty() {
            return Err(OfferError::Unsupported("no address is there that clients could be told".into()));
        }
        Ok(Sfu {
            ground: Arc::new(Ground { candidates, certificate, crypto, timeout, strict, limits }),
            links: BTreeMap::new(),
            by_address: HashMap::new(),
            by_ufrag: HashMap::new(),
            timers: BTreeSet::new(),
            work: VecDeque::new(),
            waiting: VecDeque::new(),
            backlog: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        })
    }

    /// Answers offers apart from the engine, on any thread.
    pub fn negotiator(&self) -> Negotiator {
        Negotiator { ground: Arc::clone(&self.ground) }
    }

    /// Negotiates and admits a publisher.
    pub fn publish(&mut self, now: Instant, peer: TransportId, offer: &str) -> Result<String, OfferError> {
        self.check_new(peer)?;
        let negotiated = self.negotiator().publish(now, offer)?;
        self.admit(now, peer, negotiated)
    }

    /// Negotiates and admits a subscriber of `publisher`.
    pub fn subscribe(
        &mut self,
        now: Instant,
        peer: TransportId,
        publisher: TransportId,
        offer: &str,
    ) -> Result<String, OfferError> {
        self.check_new(peer)?;
        if !self.links.get(&publisher).is_some_and(|link| matches!(link.role, Role::Publisher(_))) {
            return Err(OfferError::PublisherNotFound);
        }
        let negotiated = self.negotiator().subscribe(now, publisher, offer)?;
        self.admit(now, peer, negotiated)
    }

    /// Makes a negotiated offer a connection; its answer. A subscriber is checked against its publisher here: parsing
    /// was done before, so that this is cheap.
    pub fn admit(&mut self, now: Instant, peer: TransportId, negotiated: Negotiated) -> Result<String, OfferError> {
        self.check_new(peer)?;
        let Negotiated { mut link, answer, publisher } = negotiated;
        if let Some(publisher) = publisher {
            let source = self.links.get_mut(&publisher).ok_or(OfferError::PublisherNotFound)?;
            link.listen_to(publisher, source)?;
            if let Role::Publisher(source) = &mut source.role {
                source.subscribers.push(peer);
            }
        }
        link.admitted(now);
        self.by_ufrag.insert(link.ufrag(), peer);
        self.links.insert(peer, link);
        self.drive(now, peer);
        self.settle(now);
        Ok(answer)
    }

    fn check_new(&self, peer: TransportId) -> Result<(), OfferError> {
        match self.links.contains_key(&peer) {
            true => Err(OfferError::Unsupported("the connection has made its offer already".into())),
            false => Ok(()),
        }
    }

    /// Takes a fragment of SDP (RFC 8840). Candidates are not needed, as the server is ICE-lite; new credentials restart
    /// ICE, which is answered.
    pub fn trickle(&mut self, now: Instant, peer: TransportId, fragment: &str) -> Result<Option<String>, OfferError> {
        if !self.links.contains_key(&peer) {
            return Err(OfferError::TransportNotFound);
        }
        match Fragment::read(fragment)?.credentials {
            Some((ufrag, password)) => self.restart(now, peer, &ufrag, &password),
            None => Ok(None),
        }
    }

    /// Restarts ICE with new credentials of the client; the fragment to answer with, `None` if they are the current ones.
    pub fn restart(
        &mut self,
        now: Instant,
        peer: TransportId,
        ufrag: &str,
        password: &str,
    ) -> Result<Option<String>, OfferError> {
        let link = self.links.get_mut(&peer).ok_or(OfferError::TransportNotFound)?;
        if !link.would_restart((ufrag, password)) {
            return Ok(None);
        }
        let before = link.ufrag();
        let answer = link.restart(ufrag, password);
        let after = link.ufrag();
        self.by_ufrag.remove(&before);
        self.by_ufrag.insert(after, peer);
        self.drive(now, peer);
        self.settle(now);
        Ok(Some(answer))
    }

    /// Ends a connection, if it is there.
    pub fn close(&mut self, now: Instant, peer: TransportId) {
        self.end(now, peer, CloseReason::Requested);
        self.settle(now);
    }

    /// Ends every connection.
    pub fn close_all(&mut self, now: Instant) {
        while let Some((peer, _)) = self.links.first_key_value() {
            self.end(now, *peer, CloseReason::Requested);
        }
        self.work.clear();
    }

    /// Takes a datagram. STUN is routed by its user name, all else by addresses that STUN has proved.
    pub fn handle_datagram(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) {
        let peer = match bytes.first() {
            Some(0..=1) => self.prove(now, source, bytes),
            Some(20..=63 | 128..=191) => self.by_address.get(&source).copied(),
            _ => None,
        };
        let Some(peer) = peer else { return };
        let Some(link) = self.links.get_mut(&peer) else { return };
        let local = self.ground.candidates[0];
        let happenings = link.receive(now, source, local, bytes, &mut self.transmits);
        self.work.extend(happenings.into_iter().map(|happening| (peer, happening)));
        self.schedule(now, peer);
        self.settle(now);
    }

    /// Returns the connection of a binding request, once its integrity is proved; its source is that connection's from now
    /// on. A binding response validates the path that it comes from, and is not returned.
    fn prove(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) -> Option<TransportId> {
        let message = str0m::ice::StunMessage::parse(bytes).ok()?;
        if message.is_successful_binding_response() {
            let peer = self.by_address.get(&source)?;
            self.links.get_mut(peer)?.path_answered(now, source, &message, bytes);
            return None;
        }
        let (ufrag, _) = message.username()?.split_once(':')?;
        let peer = *self.by_ufrag.get(ufrag)?;
        let link = self.links.get_mut(&peer)?;
        link.progress.stun(source);
        if !link.proves(now, source, self.ground.candidates[0], bytes) {
            return None;
        }
        if let Some(holder) = self.by_address.get(&source).copied().filter(|holder| *holder != peer) {
            let holder = self.links.get_mut(&holder)?;
            if holder.paths.holds(now, source) {
                tracing::debug!(peer = peer.0, %source, reason = "address in use", "STUN request ignored");
                return None;
            }
            holder.paths.forget(source);
        }
        let link = self.links.get_mut(&peer)?;
        let forgotten = link.learn(now, source, bytes);
        link.check_path(now, source, &mut self.transmits);
        forgotten.map(|address| self.by_address.remove(&address));
        self.by_address.insert(source, peer);
        Some(peer)
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, peer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, peer));
            let Some(link) = self.links.get_mut(&peer) else { continue };
            link.due = None;
            if link.media_due(self.ground.timeout).is_some_and(|at| at <= now) {
                self.events.push_back(MediaEvent::MediaMissing(peer, link.progress.without_media()));
            }
            if now >= link.deadline(self.ground.timeout) {
                let failure = link.progress.expired();
                self.end(now, peer, CloseReason::Failed(failure));
            } else {
                self.ask(now, peer);
                self.drive(now, peer);
            }
            self.settle(now);
        }
    }

    /// When something is due next.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next datagram to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        loop {
            if let Some(transmit) = self.transmits.pop_front() {
                return Some(transmit);
            }
            let Some(peer) = self.waiting.pop_front() else {
                self.backlog = 0;
                return None;
            };
            self.deliver(peer);
        }
    }

    /// How many packets are put down for subscribers, at most: each becomes a datagram when polled.
    pub fn backlog(&self) -> usize {
        self.backlog
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop_front()
    }

    /// Every connection.
    pub fn snapshot(&self) -> Vec<TransportStats> {
        self.links.iter().map(|(peer, link)| link.state(*peer)).collect()
    }
}

/// What goes on inside.
impl Sfu {
    /// Has the packets made that were put down for a subscriber.
    fn deliver(&mut self, peer: TransportId) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        // It may have got them with something else that was done for it.
        let Some(now) = link.written else { return };
        let happenings = link.deliver(now, &mut self.transmits);
        self.work.extend(happenings.into_iter().map(|happening| (peer, happening)));
        self.schedule(now, peer);
        self.settle(now);
    }

    fn drive(&mut self, now: Instant, peer: TransportId) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let happenings = link.drive(now, &mut self.transmits);
        self.work.extend(happenings.into_iter().map(|happening| (peer, happening)));
        self.schedule(now, peer);
    }

    /// Sets the timer of a connection to the first of what it waits for.
    fn schedule(&mut self, now: Instant, peer: TransportId) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let request = match &link.role {
            Role::Publisher(source) => source.tracks.iter().filter_map(|track| track.next_request(now)).min(),
            Role::Subscriber { .. } => None,
        };
        let timeout = self.ground.timeout;
        let next = [link.wants, request, link.media_due(timeout), Some(link.deadline(timeout))];
        let next = next.into_iter().flatten().min();
        if link.due == next {
            return;
        }
        if let Some(former) = std::mem::replace(&mut link.due, next) {
            self.timers.remove(&(former, peer));
        }
        self.timers.extend(next.map(|at| (at, peer)));
    }

    /// Acts on what happened, and on what happens by that.
    fn settle(&mut self, now: Instant) {
        while let Some((peer, happening)) = self.work.pop_front() {
            match happening {
                Happening::Packet(packet) => self.forward(now, peer, &packet),
                Happening::Connected => {
                    self.events.push_back(MediaEvent::Connected(peer));
                    self.want_key_frame(now, peer);
                }
                Happening::KeyFrameWanted => self.want_key_frame(now, peer),
                Happening::HungUp => self.end(now, peer, CloseReason::ClosedByClient),
                Happening::Failed(reason, error) => {
                    tracing::debug!(peer = peer.0, reason = reason.name(), error, "WebRTC library failed");
                    let Some(failure) = self.links.get(&peer).map(|link| link.progress.failure(reason)) else {
                        continue;
                    };
                    self.end(now, peer, CloseReason::Failed(failure));
                }
            }
        }
    }

    /// A subscriber cannot go on, or begin, without a key frame.
    fn want_key_frame(&mut self, now: Instant, subscriber: TransportId) {
        let Some(Role::Subscriber { publisher, .. }) = self.links.get(&subscriber).map(|link| &link.role) else {
            return;
        };
        let publisher = *publisher;
        let Some(link) = self.links.get_mut(&publisher) else { return };
        if let Role::Publisher(source) = &mut link.role {
            source.tracks.iter_mut().for_each(|track| track.want(now));
        }
        self.ask(now, publisher);
        self.drive(now, publisher);
    }

    /// Asks a publisher for the key frames that are wanted and were not asked for a moment ago; whether there are any.
    fn ask(&mut self, now: Instant, publisher: TransportId) -> bool {
        let Some(link) = self.links.get_mut(&publisher) else { return false };
        let Role::Publisher(source) = &mut link.role else { return false };
        let due = source.tracks.iter_mut().flat_map(|track| {
            let mid = track.mid;
            track.due(now).into_iter().map(move |rid| (mid, rid))
        });
        let due: Vec<_> = due.collect();
        link.ask_for_key_frames(&due);
        !due.is_empty()
    }

    /// Hands a packet of a publisher to its subscribers.
    fn forward(&mut self, now: Instant, peer: TransportId, packet: &RtpPacket) {
        let strict = self.ground.strict;
        let ssrc = packet.header.ssrc;
        let Some(link) = self.links.get_mut(&peer) else { return };
        let Some((mid, rid)) = link.stream(ssrc) else { return };
        let Role::Publisher(source) = &mut link.role else { return };
        if !std::mem::replace(&mut source.media, true) {
            self.events.push_back(MediaEvent::MediaStarted(peer));
        }
        let bytes = packet.payload.len() + packet.header.header_len;
        if source.meter.exceeded(now, bytes) && strict {
            return self.end(now, peer, CloseReason::BitrateExceeded);
        }
        let Some(track) = source.tracks.iter_mut().find(|track| track.mid == mid) else { return };
        let fresh = !track.knows(ssrc);
        if fresh && !track.learn(now, ssrc, rid) {
            return link.unlearn(ssrc);
        }
        let Some(heard) = track.hear(now, ssrc, packet.header.payload_type, &packet.payload) else { return };
        if let Some(why) = limits::picture(heard.look).filter(|_| strict) {
            return self.end(now, peer, why);
        }
        let kind = track.kind;
        if heard.forward {
            let subscribers = std::mem::take(&mut source.subscribers);
            for subscriber in &subscribers {
                self.send(now, *subscriber, kind, heard, packet);
            }
            if let Some(Role::Publisher(source)) = self.links.get_mut(&peer).map(|link| &mut link.role) {
                source.subscribers = subscribers;
            }
        }
        if fresh && let Some(link) = self.links.get_mut(&peer) {
            link.repair(ssrc, packet.header.payload_type);
        }
        match self.ask(now, peer) || fresh {
            true => self.drive(now, peer),
            // The library has nothing new to do.
            false => self.schedule(now, peer),
        }
    }

    /// Puts a packet down for a subscriber.
    fn send(&mut self, now: Instant, subscriber: TransportId, kind: Kind, heard: Heard, packet: &RtpPacket) {
        let Some(link) = self.links.get_mut(&subscriber).filter(|link| link.connected) else { return };
        let Role::Subscriber { lanes, .. } = &mut link.role else { return };
        let Some((_, lane)) = lanes.iter_mut().find(|(of, _)| *of == kind) else { return };
        let Some((pt, again)) = lane.payload(packet.header.payload_type) else { return };
        let place = Packet {
            ssrc: packet.header.ssrc,
            number: *packet.seq_no,
            time: packet.header.timestamp,
            start: heard.start,
        };
        let Some((number, time)) = lane.renumber(now, place) else { return };
        let patch = (heard.codec == Codec::Vp8).then(|| lane.patch(number, &packet.payload)).flatten();
        let from = &packet.header.ext_vals;
        let extensions = ExtensionValues {
            audio_level: from.audio_level,
            voice_activity: from.voice_activity,
            video_orientation: from.video_orientation,
            ..ExtensionValues::default()
        };
        let mut write = RtpWrite::new(pt, number, time, now, packet.payload.clone())
            .marker(packet.header.marker)
            .ext_vals(extensions)
            .nackable(again && kind == Kind::Video);
        if let Some(patch) = patch {
            write = write.vp8_patch(patch);
        }
        let mid = lane.mid;
        link.send(mid, write);
        self.backlog += 1;
        if link.written.replace(now).is_none() {
            self.waiting.push_back(subscriber);
        }
    }

    /// Ends a connection, and those of its subscribers.
    fn end(&mut self, now: Instant, peer: TransportId, why: CloseReason) {
        let Some(mut link) = self.links.remove(&peer) else { return };
        link.close(now, &mut self.transmits);
        if let Some(due) = link.due {
            self.timers.remove(&(due, peer));
        }
        self.by_ufrag.remove(&link.ufrag());
        for address in link.paths.addresses() {
            self.by_address.remove(&address);
        }
        match &link.role {
            Role::Subscriber { publisher, .. } => {
                if let Some(Role::Publisher(source)) = self.links.get_mut(publisher).map(|link| &mut link.role) {
                    source.subscribers.retain(|subscriber| *subscriber != peer);
                }
            }
            Role::Publisher(source) => {
                for subscriber in &source.subscribers {
                    self.end(now, *subscriber, CloseReason::PublisherClosed);
                }
            }
        }
        self.events.push_back(MediaEvent::Closed(peer, why));
    }
}
