//! The sans-IO engine: transports, datagrams and time in; datagrams and events out. It has no socket, clock or task.

mod forwarding;
mod local_media;
mod statistics;

use super::local::{LocalSource, SinkQueue};
use super::negotiator::{AnsweredOffer, Negotiator};
use super::router::Router;
use super::sdp::fragment::Fragment;
use super::sdp::negotiated::SourceFormats;
use super::transport::{EngineConfig, Role, TransportEvent, WebRtcTransport, crypto_provider};
use super::{
    Candidates, CloseReason, FiveTuple, Impairment, MediaEvent, MediaKind, MediaTotals, OfferError, OfferLimits,
    Preferences, Transmit, TransportId, TransportStats,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// A selective forwarding unit: forwards media from publishers to subscribers.
///
/// After one or more calls that take `now`, drain [`Sfu::poll_transmit`], then [`Sfu::poll_event`]. Call
/// [`Sfu::handle_timeout`] no later than [`Sfu::next_timeout`], which is correct when both are drained.
///
/// A publisher's packet is only queued for its subscribers, and encrypted when polled. Handling several datagrams
/// before polling is cheaper: each subscriber's packets are then encrypted and returned in one run.
pub struct Sfu {
    config: Arc<EngineConfig>,
    router: Router,
    /// The payload types of each source's tracks.
    source_formats: HashMap<TransportId, Vec<SourceFormats>>,
    local_sources: BTreeMap<TransportId, LocalSource>,
    sinks: HashMap<TransportId, SinkQueue>,
    /// Boxed: they are large, and a B-tree node reserves space for eleven.
    transports: BTreeMap<TransportId, Box<WebRtcTransport>>,
    by_path: HashMap<FiveTuple, TransportId>,
    by_ufrag: HashMap<String, TransportId>,
    timers: BTreeSet<(Instant, TransportId)>,
    pending: VecDeque<(TransportId, TransportEvent)>,
    /// Subscribers with queued packets.
    unflushed: VecDeque<TransportId>,
    queued_packets: usize,
    transmits: VecDeque<Transmit>,
    events: VecDeque<MediaEvent>,
    /// The counters of closed transports.
    closed: MediaTotals,
}

impl Sfu {
    /// An engine with default [`OfferLimits`]. At least one UDP candidate is needed.
    pub fn new(candidates: impl Into<Candidates>, timeout: Duration, strict_ivs: bool) -> Result<Sfu, OfferError> {
        Sfu::with_limits(candidates, timeout, strict_ivs, OfferLimits::default())
    }

    /// Fails if there is no UDP candidate, or if no DTLS certificate can be generated.
    pub fn with_limits(
        candidates: impl Into<Candidates>,
        timeout: Duration,
        strict_ivs: bool,
        offer_limits: OfferLimits,
    ) -> Result<Sfu, OfferError> {
        let crypto = Arc::new(crypto_provider());
        let certificate = crypto.dtls_provider.generate_certificate();
        let certificate =
            certificate.ok_or_else(|| OfferError::Unsupported("no DTLS certificate could be generated".into()))?;
        let candidates = candidates.into();
        if candidates.udp.is_empty() {
            return Err(OfferError::Unsupported("there is no address to advertise".into()));
        }
        Ok(Sfu {
            config: Arc::new(EngineConfig {
                candidates,
                certificate,
                crypto,
                timeout,
                strict_ivs,
                offer_limits,
                simulcast_publishers: RwLock::default(),
            }),
            router: Router::default(),
            source_formats: HashMap::new(),
            local_sources: BTreeMap::new(),
            sinks: HashMap::new(),
            transports: BTreeMap::new(),
            by_path: HashMap::new(),
            by_ufrag: HashMap::new(),
            timers: BTreeSet::new(),
            pending: VecDeque::new(),
            unflushed: VecDeque::new(),
            queued_packets: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            closed: MediaTotals::default(),
        })
    }

    /// Answers offers independently of the engine, on any thread.
    pub fn negotiator(&self) -> Negotiator {
        Negotiator { config: Arc::clone(&self.config) }
    }

    /// Negotiates and admits a publisher; returns the SDP answer.
    pub fn publish(&mut self, now: Instant, id: TransportId, offer: &str) -> Result<String, OfferError> {
        self.check_new(id)?;
        let answered = self.negotiator().publish(now, offer)?;
        self.admit(now, id, answered)
    }

    /// Negotiates and admits a subscriber of `publisher`; returns the SDP answer.
    pub fn subscribe(
        &mut self,
        now: Instant,
        id: TransportId,
        publisher: TransportId,
        offer: &str,
    ) -> Result<String, OfferError> {
        self.check_new(id)?;
        if !self.source_formats.contains_key(&publisher) {
            return Err(OfferError::PublisherNotFound);
        }
        let answered = self.negotiator().subscribe(now, publisher, offer)?;
        self.admit(now, id, answered)
    }

    /// Makes an answered offer a transport; returns the SDP answer. Checks a subscriber's codecs against its publisher.
    pub fn admit(&mut self, now: Instant, id: TransportId, answered: AnsweredOffer) -> Result<String, OfferError> {
        self.check_new(id)?;
        let AnsweredOffer { mut transport, answer, publisher } = answered;
        match publisher {
            Some(publisher) => {
                let formats = self.source_formats.get(&publisher).ok_or(OfferError::PublisherNotFound)?;
                let tracks = transport.subscribe_to(now, formats, self.router.tracks(publisher))?;
                self.router.add_subscriber(id, publisher, tracks, transport.estimate());
            }
            None => {
                self.router.add_source(id, transport.up_tracks());
                self.source_formats.insert(id, transport.source_formats());
                // An encoder's relay announces as many layers as there may be.
                if transport.has_simulcast() && transport.takes_key_frame_requests() {
                    self.simulcast_publishers().insert(id);
                }
            }
        }
        transport.start_timeouts(now);
        self.by_ufrag.insert(transport.local_ufrag(), id);
        self.transports.insert(id, transport);
        self.drive(now, id);
        self.process_pending(now);
        Ok(answer)
    }

    fn simulcast_publishers(&self) -> std::sync::RwLockWriteGuard<'_, BTreeSet<TransportId>> {
        self.config.simulcast_publishers.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_new(&self, id: TransportId) -> Result<(), OfferError> {
        let is_local = self.local_sources.contains_key(&id) || self.sinks.contains_key(&id);
        match self.transports.contains_key(&id) || is_local {
            true => Err(OfferError::Unsupported("the media connection has already been negotiated".into())),
            false => Ok(()),
        }
    }

    /// Handles a trickle ICE fragment (RFC 8840). Candidates are ignored, as the server is ICE-lite. New credentials
    /// restart ICE; the returned fragment answers them.
    pub fn trickle(&mut self, now: Instant, id: TransportId, fragment: &str) -> Result<Option<String>, OfferError> {
        if !self.transports.contains_key(&id) {
            return Err(OfferError::TransportNotFound);
        }
        match Fragment::parse(fragment)?.credentials {
            Some((ufrag, password)) => self.restart_ice(now, id, &ufrag, &password),
            None => Ok(None),
        }
    }

    /// Restarts ICE with new client credentials; returns the answering fragment, or `None` if they are the current
    /// ones.
    pub fn restart_ice(
        &mut self,
        now: Instant,
        id: TransportId,
        ufrag: &str,
        password: &str,
    ) -> Result<Option<String>, OfferError> {
        let transport = self.transports.get_mut(&id).ok_or(OfferError::TransportNotFound)?;
        if !transport.is_ice_restart(ufrag, password) {
            return Ok(None);
        }
        let former = transport.local_ufrag();
        let answer = transport.restart_ice(ufrag, password);
        let current = transport.local_ufrag();
        self.by_ufrag.remove(&former);
        self.by_ufrag.insert(current, id);
        self.drive(now, id);
        self.process_pending(now);
        Ok(Some(answer))
    }

    /// Sets or removes the impairment of the RTP packets that a subscriber is sent; no effect on a publisher.
    pub fn impair(&mut self, now: Instant, id: TransportId, impairment: Option<Impairment>) -> Result<(), OfferError> {
        let transport = self.transports.get_mut(&id).ok_or(OfferError::TransportNotFound)?;
        transport.impair(now, impairment, &mut self.transmits);
        self.reschedule(now, id);
        Ok(())
    }

    /// Sets what a subscriber wishes to be sent: of the media section with this `a=mid`, or of all.
    pub fn set_preferences(
        &mut self,
        now: Instant,
        id: TransportId,
        mid: Option<&str>,
        preferences: Preferences,
    ) -> Result<(), OfferError> {
        let transport = self.transports.get(&id).ok_or(OfferError::TransportNotFound)?;
        let unknown = || OfferError::Unsupported("the media connection has no such media section".into());
        let track = mid.map(|mid| transport.track(mid).ok_or_else(unknown)).transpose()?;
        if !self.router.set_preferences(now, id, track, preferences) {
            return Err(OfferError::Unsupported("only the media of a subscription can be chosen".into()));
        }
        self.start_probes(now);
        self.send_key_frame_requests_of_source(now, id);
        self.process_pending(now);
        Ok(())
    }

    /// Closes a transport. Idempotent.
    pub fn close(&mut self, now: Instant, id: TransportId) {
        self.close_transport(now, id, CloseReason::Requested);
        self.process_pending(now);
    }

    /// Closes all transports.
    pub fn close_all(&mut self, now: Instant) {
        while let Some((id, _)) = self.transports.first_key_value() {
            self.close_transport(now, *id, CloseReason::Requested);
        }
        (self.local_sources, self.sinks) = (BTreeMap::new(), HashMap::new());
        self.pending.clear();
    }

    /// Handles a received datagram. STUN is demultiplexed by username (ICE ufrag), everything else by paths
    /// that were authenticated by STUN.
    pub fn handle_datagram(&mut self, now: Instant, source: impl Into<FiveTuple>, bytes: &[u8]) {
        self.handle_packet(now, source.into(), bytes);
    }

    fn handle_packet(&mut self, now: Instant, source: FiveTuple, bytes: &[u8]) {
        let id = match bytes.first() {
            Some(0..=1) => self.handle_stun(now, source, bytes),
            Some(20..=63 | 128..=191) => self.by_path.get(&source).copied(),
            _ => None,
        };
        let Some(id) = id else { return };
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let events = transport.receive(now, source, bytes, &mut self.transmits);
        self.pending.extend(events.into_iter().map(|event| (id, event)));
        self.reschedule(now, id);
        self.process_pending(now);
    }

    /// Returns the transport of an authenticated binding request, and maps its source address to that transport. A
    /// binding response validates the path that it came from, and is not passed on.
    fn handle_stun(&mut self, now: Instant, source: FiveTuple, bytes: &[u8]) -> Option<TransportId> {
        let message = str0m::ice::StunMessage::parse(bytes).ok()?;
        if message.is_successful_binding_response() {
            let id = self.by_path.get(&source)?;
            self.transports.get_mut(id)?.handle_path_response(now, source, &message, bytes);
            return None;
        }
        let (ufrag, _) = message.username()?.split_once(':')?;
        let id = *self.by_ufrag.get(ufrag)?;
        let transport = self.transports.get_mut(&id)?;
        transport.progress.stun_received(source.remote);
        if !transport.authenticates(now, source, bytes) {
            return None;
        }
        if let Some(owner) = self.by_path.get(&source).copied().filter(|owner| *owner != id) {
            let owner = self.transports.get_mut(&owner)?;
            if owner.paths.owns(now, source) {
                tracing::debug!(transport.id = id.0, %source, reason = "address in use", "STUN request ignored");
                return None;
            }
            owner.paths.forget(source);
        }
        let transport = self.transports.get_mut(&id)?;
        let evicted = transport.record_request(now, source, bytes);
        transport.check_path(now, source, &mut self.transmits);
        evicted.map(|address| self.by_path.remove(&address));
        self.by_path.insert(source, id);
        Some(id)
    }

    /// Whether a path belongs to a transport, by an authenticated STUN request.
    pub fn has_path(&self, path: FiveTuple) -> bool {
        self.by_path.contains_key(&path)
    }

    /// Whether media is sent on a path.
    pub fn uses_path(&self, path: FiveTuple) -> bool {
        let transport = self.by_path.get(&path).and_then(|id| self.transports.get(id));
        transport.is_some_and(|transport| transport.paths.active() == Some(path))
    }

    /// Forgets a path whose TCP connection has ended. The client can continue on another one.
    pub fn remove_path(&mut self, path: FiveTuple) {
        if let Some(transport) = self.by_path.remove(&path).and_then(|id| self.transports.get_mut(&id)) {
            transport.paths.forget(path);
        }
    }

    /// Runs all timers that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            let Some(transport) = self.transports.get_mut(&id) else { continue };
            transport.timer = None;
            if transport.media_deadline(self.config.timeout).is_some_and(|at| at <= now) {
                self.events.push_back(MediaEvent::MediaMissing(id, transport.progress.media_missing()));
            }
            transport.check_consent(now, &mut self.transmits);
            if now >= transport.deadline(self.config.timeout) {
                let failure = transport.progress.timed_out();
                self.close_transport(now, id, CloseReason::Failed(failure));
            } else {
                self.send_key_frame_requests(now, id);
                self.catch_up(now, id);
                self.drive(now, id);
            }
            self.process_pending(now);
        }
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        loop {
            if let Some(transmit) = self.transmits.pop_front() {
                return Some(transmit);
            }
            let Some(id) = self.unflushed.pop_front() else {
                self.queued_packets = 0;
                return None;
            };
            self.flush(id);
        }
    }

    /// Upper bound of the packets queued for subscribers; each becomes a datagram when polled.
    pub fn queued_packets(&self) -> usize {
        self.queued_packets
    }

    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop_front()
    }

    /// All WebRTC transports, ordered by id.
    pub fn snapshot(&self) -> Vec<TransportStats> {
        self.transports.iter().map(|(id, transport)| self.stats(*id, transport)).collect()
    }
}

impl Sfu {
    fn stats(&self, id: TransportId, transport: &WebRtcTransport) -> TransportStats {
        let (packets, bytes) = transport.traffic();
        let tracks = self.router.tracks(id);
        let codec = |kind| tracks.iter().find(|track| track.kind == kind)?.received_codec();
        TransportStats {
            id,
            connected: transport.connected,
            media_received: matches!(&transport.role, Role::Publisher(publisher) if publisher.media_received),
            packets,
            bytes,
            packets_lost: transport.packets_lost(),
            key_frames: tracks.iter().map(|track| track.key_frames).sum(),
            audio_codec: codec(MediaKind::Audio),
            video_codec: codec(MediaKind::Video),
        }
    }

    fn start_probes(&mut self, now: Instant) {
        while let Some((id, bitrate)) = self.router.poll_probe() {
            let Some(transport) = self.transports.get_mut(&id) else { continue };
            tracing::debug!(transport.id = id.0, bitrate, "bandwidth probed");
            transport.probe(now, bitrate);
            let events = transport.flush(now, &mut self.transmits);
            self.pending.extend(events.into_iter().map(|event| (id, event)));
            self.reschedule(now, id);
        }
    }

    /// Encrypts the packets queued for a subscriber.
    fn flush(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        // Already flushed if the transport was driven for another reason.
        let Some(now) = transport.queued_at else { return };
        let events = transport.flush(now, &mut self.transmits);
        self.pending.extend(events.into_iter().map(|event| (id, event)));
        self.reschedule(now, id);
        self.process_pending(now);
    }

    fn drive(&mut self, now: Instant, id: TransportId) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let events = transport.drive(now, &mut self.transmits);
        self.pending.extend(events.into_iter().map(|event| (id, event)));
        self.reschedule(now, id);
    }

    /// Sets a transport's timer to the earliest of its deadlines.
    fn reschedule(&mut self, now: Instant, id: TransportId) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let key_frame_request = self.router.next_request(now, id);
        let catch_up = self.router.next_catch_up(id);
        let timeout = self.config.timeout;
        let deadlines = [
            transport.rtc_timeout,
            key_frame_request,
            catch_up,
            transport.media_deadline(timeout),
            transport.next_release(),
            transport.next_consent_check(),
            Some(transport.deadline(timeout)),
        ];
        let next = deadlines.into_iter().flatten().min();
        if transport.timer == next {
            return;
        }
        if let Some(former) = std::mem::replace(&mut transport.timer, next) {
            self.timers.remove(&(former, id));
        }
        self.timers.extend(next.map(|at| (at, id)));
    }

    /// Handles pending transport events, including those that this causes.
    fn process_pending(&mut self, now: Instant) {
        while let Some((id, event)) = self.pending.pop_front() {
            match event {
                TransportEvent::Packet(packet) => self.forward(now, id, &packet),
                TransportEvent::Connected => {
                    self.events.push_back(MediaEvent::Connected(id));
                    self.router.connected(now, id);
                    self.catch_up(now, id);
                    self.reschedule(now, id);
                    self.send_key_frame_requests_of_source(now, id);
                }
                TransportEvent::KeyFrameRequested => {
                    self.router.key_frame_requested(now, id);
                    self.catch_up(now, id);
                    self.reschedule(now, id);
                    self.send_key_frame_requests_of_source(now, id);
                }
                TransportEvent::Estimate(estimate) => {
                    self.router.set_estimate(now, id, estimate);
                    self.start_probes(now);
                }
                TransportEvent::LossReported(percent) => self.router.record_loss(now, id, percent),
                TransportEvent::ClosedByClient => self.close_transport(now, id, CloseReason::ClosedByClient),
                TransportEvent::Failed(reason, error) => {
                    tracing::debug!(transport.id = id.0, reason = reason.name(), error, "WebRTC library failed");
                    let Some(transport) = self.transports.get(&id) else { continue };
                    let failure = transport.progress.failure(reason);
                    self.close_transport(now, id, CloseReason::Failed(failure));
                }
            }
        }
    }

    /// Removes a source and closes its subscribers, or removes a subscriber.
    fn remove_source_or_subscriber(&mut self, now: Instant, id: TransportId) {
        self.simulcast_publishers().remove(&id);
        self.source_formats.remove(&id);
        for subscriber in self.router.remove(id) {
            self.remove_transport(now, subscriber, CloseReason::PublisherClosed);
        }
    }

    /// Closes a transport and, if it is a publisher's, those of its subscribers.
    fn close_transport(&mut self, now: Instant, id: TransportId, reason: CloseReason) {
        // Before the router forgets them.
        let subscribers = self.router.subscribers(id);
        for id in std::iter::once(id).chain(subscribers) {
            if let Some(stats) = self.connection_stats(now, id) {
                self.closed.add(&stats);
            }
        }
        self.remove_transport(now, id, reason);
    }

    fn remove_transport(&mut self, now: Instant, id: TransportId, reason: CloseReason) {
        let Some(mut transport) = self.transports.remove(&id) else { return self.remove_local(now, id) };
        transport.close(now, &mut self.transmits);
        if let Some(timer) = transport.timer {
            self.timers.remove(&(timer, id));
        }
        self.by_ufrag.remove(&transport.local_ufrag());
        for address in transport.paths.addresses() {
            self.by_path.remove(&address);
        }
        self.remove_source_or_subscriber(now, id);
        self.events.push_back(MediaEvent::Closed(id, reason));
    }
}
