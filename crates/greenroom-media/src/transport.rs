//! A WebRTC transport: one connection to a client, and its role as publisher or subscriber.

mod candidates;
mod datagrams;
mod encodings;
mod feedback;
mod impairment;
mod packets;
mod paths;
mod playout;
mod retransmission;
mod setup;
mod srtp;
mod statistics;
mod stun;

pub(super) use srtp::crypto_provider;

use super::failure::{ConnectionProgress, FailureReason};
use super::ivs_limits::BitrateMeter;
use super::router::rate::RateMeter;
use super::router::{DownTrack, UpTrack};
use super::sdp::fragment::IceRestartTemplate;
use super::sdp::negotiated::{NegotiatedSection, SourceFormats, map_payload_types, negotiated_sections};
use super::sdp::offer::Offer;
use super::{Candidates, Codec, FiveTuple, Impairment, MediaKind, OfferError, OfferLimits, Transmit, TransportId};
use candidates::LocalCandidates;
use encodings::Encodings;
use feedback::TransportFeedback;
use impairment::ImpairedPath;
use paths::Paths;
use playout::PlayoutDelay;
use retransmission::RetransmissionBudget;
use setup::{UNLIMITED, accept_offer, declare_layers, reseed, rtc_config};
use statistics::LibraryStats;
use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};
use str0m::bwe::Bitrate;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::media::{KeyframeRequestKind, Mid};
use str0m::rtp::{RtpPacket, Ssrc};
use str0m::{IceCreds, Rtc};

/// RTX cache of a video stream: packets, age, and no limit on their share of the bitrate. The library checks its limit
/// only every 50 ms, so that bursts escape it; [`RetransmissionBudget`] limits each packet.
const RTX_CACHE: (usize, Duration, Option<f32>) = (1024, Duration::from_secs(3), None);

/// A client that answers nothing for this long has gone: a closed tab, a crash, a lost network.
const CONSENT_TIMEOUT: Duration = Duration::from_millis(5_500);

/// Configuration shared by all transports of an engine.
#[derive(Debug)]
pub(super) struct EngineConfig {
    pub(super) candidates: Candidates,
    pub(super) certificate: DtlsCert,
    /// Made by [`crypto_provider`].
    pub(super) crypto: Arc<CryptoProvider>,
    pub(super) timeout: Duration,
    pub(super) strict_ivs: bool,
    pub(super) offer_limits: OfferLimits,
    /// The publishers with simulcast: only their subscribers need a bandwidth estimate.
    pub(super) simulcast_publishers: RwLock<BTreeSet<TransportId>>,
}

#[derive(Debug)]
pub(super) enum Role {
    Publisher(Box<Publisher>),
    Subscriber,
}

#[derive(Debug)]
pub(super) struct Publisher {
    /// Whether an RTP packet has arrived.
    pub(super) media_received: bool,
    pub(super) bitrate: BitrateMeter,
}

/// What the engine has to react to.
#[derive(Debug)]
pub(super) enum TransportEvent {
    /// The DTLS handshake has finished.
    Connected,
    Packet(Box<RtpPacket>),
    KeyFrameRequested,
    /// Estimated bits per second that a subscriber can receive; `None` if they are unknown.
    Estimate(Option<u64>),
    /// The share of packets that a subscriber has lost lately, in percent.
    LossReported(u32),
    ClosedByClient,
    /// The reason and the library's error text.
    Failed(FailureReason, String),
}

/// A subscriber's last receiver report for a media section.
#[derive(Debug, PartialEq)]
struct ReceiverReport {
    mid: Mid,
    packets_lost: u64,
    /// Highest sequence number received plus NACKs sent: it grows with each report of a receiving client.
    activity: u64,
    jitter: u32,
}

pub(super) struct WebRtcTransport {
    rtc: Rtc,
    /// ICE ufrag and password of the client.
    remote: (String, String),
    restart_template: IceRestartTemplate,
    /// The tracks of the router, in its order.
    sections: Vec<NegotiatedSection>,
    /// The encodings of a publisher's sections, in the same order.
    encodings: Vec<Encodings>,
    /// Whether the offer announces simulcast layers.
    simulcast: bool,
    pub(super) role: Role,
    /// Of a subscriber whose bandwidth is estimated.
    feedback: Option<Box<TransportFeedback>>,
    /// Whether the library may send probes.
    is_probing: bool,
    pub(super) connected: bool,
    pub(super) progress: ConnectionProgress,
    created: Instant,
    /// When a candidate pair was first nominated, and when the DTLS handshake finished.
    nominated_at: Option<Instant>,
    connected_at: Option<Instant>,
    /// When the last authenticated packet of the client arrived.
    last_activity: Instant,
    last_consent_check: Option<Instant>,
    pub(super) paths: Paths,
    local_candidates: LocalCandidates,
    /// The path of the packet that is being handled, which STUN responses take.
    receiving_from: Option<FiveTuple>,
    /// Key from which the transaction IDs of path checks are derived, and the number of checks.
    check_key: [u8; 20],
    checks: u64,
    crypto: Arc<CryptoProvider>,
    /// Recent STUN transactions and their sources, to detect replays.
    stun_transactions: VecDeque<([u8; 12], FiveTuple)>,
    /// The time of the library's last input.
    library_time: Instant,
    /// When the WebRTC library has its next timeout.
    pub(super) rtc_timeout: Option<Instant>,
    /// When packets were last queued that are not encrypted yet.
    pub(super) queued_at: Option<Instant>,
    /// The timer that the engine has set.
    pub(super) timer: Option<Instant>,
    /// Streams of which authenticated packets have arrived.
    authenticated_ssrcs: Vec<Ssrc>,
    packets: u64,
    bytes: u64,
    rate: RateMeter,
    receiver_reports: Vec<ReceiverReport>,
    playout_delay: PlayoutDelay,
    library_stats: LibraryStats,
    /// Outgoing RTX streams and their sections.
    rtx_ssrcs: Vec<(Ssrc, Mid)>,
    retransmissions: RetransmissionBudget,
    over_budget_logged: bool,
    /// Boxed, as hardly any transport has one.
    impaired: Option<Box<ImpairedPath>>,
}

/// Calls the WebRTC library for one transport. An error or panic closes that transport and no other.
fn guarded<T, E: std::fmt::Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the WebRTC library panicked".into()),
    }
}

/// Negotiation.
impl WebRtcTransport {
    /// Answers an offer. The transport is a publisher's until [`WebRtcTransport::subscribe_to`] makes it a
    /// subscriber's. `estimate_bandwidth`: whether the bandwidth of a subscriber is estimated.
    pub(super) fn accept(
        config: &EngineConfig,
        now: Instant,
        offer: Offer,
        estimate_bandwidth: bool,
    ) -> Result<(WebRtcTransport, String), OfferError> {
        reseed();
        let mut rtc = rtc_config(config, &offer, estimate_bandwidth).build(now);
        for candidate in config.candidates.host_candidates() {
            rtc.add_local_candidate(candidate?);
        }
        let answer = accept_offer(&mut rtc, &offer)?;
        reseed();
        let text = offer.answer(&answer)?;
        let restart_template = IceRestartTemplate::new(&offer.answer_without_rejected(&answer)?);
        let sections = negotiated_sections(&rtc, &offer, &answer);
        let encodings = sections.iter().map(|section| {
            let accepted = offer.accepted.iter().find(|accepted| accepted.kind == section.kind);
            let rids = accepted.map(|accepted| declare_layers(&mut rtc, section.mid, &accepted.streams));
            Encodings::new(rids.unwrap_or_default())
        });
        let encodings = encodings.collect();
        let publisher = Publisher { media_received: false, bitrate: BitrateMeter::new(now) };
        let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
        let hmac = config.crypto.sha1_hmac_provider;
        let check_key = hmac.sha1_hmac(&config.certificate.private_key, &[b"path checks of ", ufrag.as_bytes()]);
        let transport = WebRtcTransport {
            rtc,
            remote: offer.credentials(),
            restart_template,
            sections,
            encodings,
            simulcast: offer.accepted.iter().any(|accepted| accepted.streams.are_layers()),
            role: Role::Publisher(Box::new(publisher)),
            feedback: None,
            is_probing: false,
            connected: false,
            progress: ConnectionProgress::default(),
            created: now,
            nominated_at: None,
            connected_at: None,
            last_activity: now,
            last_consent_check: None,
            paths: Paths::default(),
            local_candidates: config.candidates.library(),
            receiving_from: None,
            check_key,
            checks: 0,
            crypto: Arc::clone(&config.crypto),
            stun_transactions: VecDeque::new(),
            library_time: now,
            rtc_timeout: Some(now),
            queued_at: None,
            timer: None,
            authenticated_ssrcs: Vec::new(),
            packets: 0,
            bytes: 0,
            rate: RateMeter::new(now),
            receiver_reports: Vec::new(),
            playout_delay: PlayoutDelay::default(),
            library_stats: LibraryStats::default(),
            rtx_ssrcs: Vec::new(),
            retransmissions: RetransmissionBudget::new(),
            over_budget_logged: false,
            impaired: None,
        };
        Ok((transport, text))
    }

    /// The router's tracks of a publisher.
    pub(super) fn up_tracks(&self) -> Vec<UpTrack> {
        let payload_types =
            |section: &NegotiatedSection| section.payloads.iter().map(|payload| (*payload.pt, payload.codec)).collect();
        let track = |section: &NegotiatedSection| {
            UpTrack::new(section.kind, payload_types(section), section.takes_key_frame_requests)
        };
        self.sections.iter().map(track).collect()
    }

    /// The payload types of a publisher's tracks.
    pub(super) fn source_formats(&self) -> Vec<SourceFormats> {
        let formats =
            |section: &NegotiatedSection| SourceFormats { kind: section.kind, payloads: section.payloads.clone() };
        self.sections.iter().map(formats).collect()
    }

    /// Index of the router's track of the media section with this `a=mid`.
    pub(super) fn track(&self, mid: &str) -> Option<usize> {
        self.sections.iter().position(|section| &*section.mid == mid)
    }

    /// Whether a publisher's offer announces simulcast layers.
    pub(super) fn has_simulcast(&self) -> bool {
        self.simulcast
    }

    /// Whether key frames can be requested of a publisher.
    pub(super) fn takes_key_frame_requests(&self) -> bool {
        self.sections.iter().any(|section| section.takes_key_frame_requests)
    }

    /// Makes this the transport of a subscriber, if it negotiated the codecs that the publisher sends; returns the
    /// router's tracks. `formats` and `source`: of the source's tracks.
    pub(super) fn subscribe_to(
        &mut self,
        now: Instant,
        formats: &[SourceFormats],
        source: &[UpTrack],
    ) -> Result<Vec<DownTrack>, OfferError> {
        let mut tracks = Vec::new();
        let mut sections = Vec::new();
        for section in std::mem::take(&mut self.sections) {
            let mut sources = formats.iter().zip(source).enumerate();
            let Some((index, (from, up_track))) = sources.find(|(_, (from, _))| from.kind == section.kind) else {
                continue;
            };
            let mappings = map_payload_types(&from.payloads, &section.payloads);
            let expected = up_track.expected_payload_type();
            if !mappings.iter().any(|mapping| Some(mapping.from) == expected) {
                return Err(OfferError::CodecMismatch);
            }
            tracks.push(DownTrack::new(section.kind, index, mappings));
            sections.push(section);
        }
        self.sections = sections;
        for section in self.sections.iter().filter(|section| section.kind == MediaKind::Video) {
            if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(section.mid, None) {
                stream.set_rtx_cache(RTX_CACHE.0, RTX_CACHE.1, RTX_CACHE.2);
                // Bursts are sent as they come: one send call for many packets.
                stream.set_unpaced(true);
                self.rtx_ssrcs.extend(stream.rtx().map(|rtx| (rtx, section.mid)));
            }
        }
        self.role = Role::Subscriber;
        self.feedback = TransportFeedback::negotiated(now, &self.rtc, &self.sections).map(Box::new);
        Ok(tracks)
    }

    /// A subscriber's estimated bits per second; `None` without feedback.
    pub(super) fn estimate(&self) -> Option<u64> {
        self.feedback.as_ref().map(|feedback| feedback.estimate())
    }

    /// Sends a subscriber a train of packets at this many bits per second. The library sends one at three times and one at six times
    /// its own estimate when that is set anew; nothing else depends on that estimate.
    pub(super) fn probe(&mut self, now: Instant, bitrate: u64) {
        let Some(feedback) = &mut self.feedback else { return };
        feedback.start_probe(now, bitrate);
        self.is_probing = true;
        self.rtc.bwe().set_bitrate(Bitrate::ZERO, Bitrate::bps(bitrate));
        self.rtc.bwe().reset(Bitrate::bps(bitrate / 6));
    }

    /// Ends the library's own probes, and what its estimator makes of the last feedback: it would delay packets by it.
    fn ignore_library_estimate(&mut self, now: Instant) {
        let Some(feedback) = &self.feedback else { return };
        self.is_probing &= !feedback.is_probe_sent(now);
        if !self.is_probing {
            self.rtc.bwe().set_bitrate(Bitrate::ZERO, Bitrate::ZERO);
            self.rtc.bwe().reset(UNLIMITED);
        }
    }

    /// Starts the timeouts on admission: the time from negotiation to admission does not count.
    pub(super) fn start_timeouts(&mut self, now: Instant) {
        (self.created, self.last_activity) = (now, now);
    }

    pub(super) fn local_ufrag(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    /// Whether these client credentials differ from the current ones.
    pub(super) fn is_ice_restart(&self, ufrag: &str, password: &str) -> bool {
        (self.remote.0.as_str(), self.remote.1.as_str()) != (ufrag, password)
    }

    /// Restarts ICE with new client credentials; returns the answering fragment. An ICE-lite agent only answers checks,
    /// so new credentials on both sides are all that is needed. The active path stays until the client validates
    /// another one.
    pub(super) fn restart_ice(&mut self, ufrag: &str, password: &str) -> String {
        reseed();
        let local = IceCreds::new();
        let remote_ip = self.paths.active().map(|path| path.remote.ip());
        let answer = self.restart_template.answer(&local.ufrag, &local.pass, remote_ip);
        let mut api = self.rtc.direct_api();
        api.set_local_ice_credentials(local);
        api.set_remote_ice_credentials(IceCreds { ufrag: ufrag.to_owned(), pass: password.to_owned() });
        self.remote = (ufrag.to_owned(), password.to_owned());
        self.stun_transactions.clear();
        answer
    }
}

/// Timeouts, streams and statistics.
impl WebRtcTransport {
    /// When to close the transport: if it has not connected within the timeout, or was silent for it or for
    /// [`CONSENT_TIMEOUT`], in which it was asked for its consent several times.
    pub(super) fn deadline(&self, timeout: Duration) -> Instant {
        if self.connected {
            return self.last_activity + timeout.min(CONSENT_TIMEOUT);
        }
        let connect = self.created + timeout;
        self.progress.handshake_deadline().map_or(connect, |handshake| handshake.min(connect))
    }

    /// When to report a publisher without media.
    pub(super) fn media_deadline(&self, timeout: Duration) -> Option<Instant> {
        let is_missing = matches!(&self.role, Role::Publisher(publisher) if !publisher.media_received);
        self.progress.media_deadline(timeout).filter(|_| is_missing)
    }

    /// Enables NACKs for a received video stream if they were negotiated. The library enables them only with RTX, but
    /// some clients retransmit in the original stream.
    pub(super) fn enable_nack(&mut self, ssrc: Ssrc, payload_type: u8) {
        let payload = self.sections.iter().flat_map(|section| &section.payloads);
        let payload = payload.into_iter().find(|payload| *payload.pt == payload_type);
        if payload.is_some_and(|payload| payload.has_nack && payload.codec != Codec::Opus)
            && let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc)
        {
            stream.suppress_nack(false);
        }
    }

    /// Requests key frames by RTCP PLI (RFC 4585): of tracks and their encodings.
    pub(super) fn send_plis(&mut self, layers: &[(usize, u8)]) {
        for (track, encoding) in layers {
            let Some(section) = self.sections.get(*track) else { continue };
            let rid = self.encodings[*track].rid(*encoding);
            if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(section.mid, rid) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
                self.library_stats.record_key_frame_request(section.mid);
            }
        }
    }

    /// Sets or removes the impairment of the packets that a subscriber is sent. Packets that are delayed are sent at once when
    /// it is removed.
    pub(super) fn impair(&mut self, now: Instant, impairment: Option<Impairment>, out: &mut VecDeque<Transmit>) {
        match (&mut self.impaired, impairment) {
            (Some(impaired), Some(impairment)) => impaired.replace(now, impairment),
            (None, Some(impairment)) => self.impaired = Some(Box::new(ImpairedPath::new(impairment))),
            (_, None) => out.extend(self.impaired.take().into_iter().flat_map(|impaired| impaired.into_delayed())),
        }
    }

    /// When the next delayed packet is sent.
    pub(super) fn next_release(&self) -> Option<Instant> {
        self.impaired.as_ref()?.next_release()
    }

    /// Sends queued packets, then RTCP BYE and a DTLS close_notify, which browsers react to immediately.
    pub(super) fn close(&mut self, now: Instant, out: &mut VecDeque<Transmit>) {
        if self.queued_at.is_some() {
            self.flush(now, out);
        }
        let rtc = &mut self.rtc;
        if guarded(|| rtc.close()).is_ok() {
            self.drive(now, out);
        }
    }

    /// RTP packets and bytes, received from a publisher or sent to a subscriber.
    pub(super) fn traffic(&self) -> (u64, u64) {
        (self.packets, self.bytes)
    }

    /// Packets that a subscriber's receiver reports count as lost.
    pub(super) fn packets_lost(&self) -> u64 {
        self.receiver_reports.iter().map(|report| report.packets_lost).sum()
    }
}
