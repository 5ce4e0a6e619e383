//! One connection: its WebRTC state, and what it is to the others.

mod paths;
mod resend;
mod setup;
mod srtp;
mod wire;

pub(super) use srtp::crypto_provider;

use super::agree::{self, Agreed};
use super::failure::{FailureReason, Progress};
use super::forward::Lane;
use super::fragment::Restart;
use super::limits::Meter;
use super::offer::{Kind, Offer};
use super::source::Track;
use super::{Codec, OfferError, OfferLimits, Transmit, TransportId, TransportStats};
use paths::Paths;
use resend::ResendBudget;
use setup::{accept_all, config, declare_layers, reseed};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::media::{KeyframeRequestKind, Mid, Pt, Rid};
use str0m::rtp::{RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, IceCreds, Rtc};

/// Packets of video that can be resent, and for how long. The library's limit on their share is off: it is applied
/// every 50 ms, and a burst in between is unlimited. [`ResendBudget`] has the limit.
const AGAIN: (usize, Duration, Option<f32>) = (1024, Duration::from_secs(3), None);

/// How connections are made.
#[derive(Debug)]
pub(super) struct Ground {
    /// Addresses that clients are told. Datagrams are taken to have come to the first.
    pub(super) candidates: Vec<SocketAddr>,
    pub(super) certificate: DtlsCert,
    /// Made by [`crypto_provider`].
    pub(super) crypto: Arc<CryptoProvider>,
    pub(super) timeout: Duration,
    pub(super) strict: bool,
    pub(super) limits: OfferLimits,
}

/// What a connection is for.
#[derive(Debug)]
pub(super) enum Role {
    /// It sends.
    Publisher(Box<Publisher>),
    /// It receives what a publisher sends.
    Subscriber { publisher: TransportId, lanes: Vec<(Kind, Lane)> },
}

/// What is known of somebody who sends.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) tracks: Vec<Track>,
    pub(super) subscribers: Vec<TransportId>,
    /// Whether a packet of media has come.
    pub(super) media: bool,
    pub(super) meter: Meter,
}

/// What happened in a connection, for the engine to act on.
#[derive(Debug)]
pub(super) enum Happening {
    Connected,
    Packet(Box<RtpPacket>),
    KeyFrameWanted,
    HungUp,
    /// It cannot go on: why, and the library's words for it.
    Failed(FailureReason, String),
}

/// A connection.
pub(super) struct Link {
    rtc: Rtc,
    /// ICE credentials of the client: user fragment and password.
    remote: Option<(String, String)>,
    /// What answers an ICE restart. The offer itself is not kept.
    restart: Restart,
    agreed: Vec<Agreed>,
    pub(super) role: Role,
    pub(super) connected: bool,
    pub(super) progress: Progress,
    created: Instant,
    /// When the last packet came that was proved to be the client's.
    seen: Instant,
    pub(super) paths: Paths,
    /// Secret that the transaction ids of path checks are derived from, and how many were.
    check_key: [u8; 20],
    checks: u64,
    crypto: Arc<CryptoProvider>,
    transactions: VecDeque<([u8; 12], SocketAddr)>,
    /// When the WebRTC library wants to be called.
    pub(super) wants: Option<Instant>,
    /// When packets were put down last that were not made yet.
    pub(super) written: Option<Instant>,
    /// The timer that is set for it.
    pub(super) due: Option<Instant>,
    /// Streams that packets have come of which were proved to be the client's.
    proved: Vec<Ssrc>,
    packets: u64,
    bytes: u64,
    /// By section: what the subscriber last reported, of which the second is what it misses.
    reports: Vec<(Mid, u64, u64, u32)>,
    /// The SSRCs of RTX streams that are sent.
    rtx: Vec<(Ssrc, Mid)>,
    resends: ResendBudget,
    /// Whether the log has said that the client asks for too much.
    over_budget: bool,
}

/// Runs what the WebRTC library does for one connection. If it fails or panics, that connection is lost, and no other.
fn guarded<T, E: std::fmt::Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the WebRTC library panicked".into()),
    }
}

impl Link {
    /// Answers an offer, as a publisher's until [`Link::listen_to`] makes it a subscriber's.
    pub(super) fn open(ground: &Ground, now: Instant, offer: Offer) -> Result<(Link, String), OfferError> {
        reseed();
        let mut rtc = config(ground, &offer).build(now);
        for address in &ground.candidates {
            let candidate = Candidate::host(*address, "udp").map_err(|error| {
                tracing::error!(%address, %error, "media address cannot be advertised");
                OfferError::Unsupported("a media address of the server cannot be advertised; see its log".into())
            })?;
            rtc.add_local_candidate(candidate);
        }
        let answer = accept_all(&mut rtc, &offer)?;
        reseed();
        let text = offer.answer(&answer)?;
        let restart = Restart::of(&offer.without_turned_down(&answer)?);
        let agreed = agree::agreed(&rtc, &answer);
        let track = |section: &Agreed| {
            let payloads = section.payloads.iter().map(|payload| (payload.pt, payload.codec)).collect();
            let taken = offer.taken.iter().find(|taken| taken.kind == section.kind);
            let announced = taken.map(|taken| declare_layers(&mut rtc, section.mid, &taken.streams));
            Track::new(section.mid, section.kind, payloads, announced.unwrap_or_default())
        };
        let tracks = agreed.iter().map(track).collect();
        let publisher = Publisher { tracks, subscribers: Vec::new(), media: false, meter: Meter::new(now) };
        let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
        let hmac = ground.crypto.sha1_hmac_provider;
        let check_key = hmac.sha1_hmac(&ground.certificate.private_key, &[b"path checks of ", ufrag.as_bytes()]);
        let link = Link {
            rtc,
            remote: Some(offer.credentials),
            restart,
            agreed,
            role: Role::Publisher(Box::new(publisher)),
            connected: false,
            progress: Progress::default(),
            created: now,
            seen: now,
            paths: Paths::default(),
            check_key,
            checks: 0,
            crypto: Arc::clone(&ground.crypto),
            transactions: VecDeque::new(),
            wants: Some(now),
            written: None,
            due: None,
            proved: Vec::new(),
            packets: 0,
            bytes: 0,
            reports: Vec::new(),
            rtx: Vec::new(),
            resends: ResendBudget::new(),
            over_budget: false,
        };
        Ok((link, text))
    }

    /// Makes it a subscriber of a publisher, if it can take what that sends.
    pub(super) fn listen_to(&mut self, peer: TransportId, publisher: &Link) -> Result<(), OfferError> {
        let Role::Publisher(source) = &publisher.role else { return Err(OfferError::PublisherNotFound) };
        let mut lanes = Vec::new();
        for section in &self.agreed {
            let theirs = publisher.agreed.iter().zip(&source.tracks).find(|(theirs, _)| theirs.kind == section.kind);
            let Some((theirs, track)) = theirs else { continue };
            let payloads = agree::translate(&theirs.payloads, &section.payloads);
            let sent = track.codec().map(|(pt, _)| pt);
            if !payloads.iter().any(|(from, ..)| Some(*from) == sent) {
                return Err(OfferError::CodecMismatch);
            }
            let rate = match section.kind {
                Kind::Audio => 48_000,
                Kind::Video => 90_000,
            };
            lanes.push((section.kind, Lane::new(section.mid, payloads, rate)));
        }
        for (_, lane) in lanes.iter().filter(|(kind, _)| *kind == Kind::Video) {
            if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(lane.mid, None) {
                stream.set_rtx_cache(AGAIN.0, AGAIN.1, AGAIN.2);
                self.rtx.extend(stream.rtx().map(|rtx| (rtx, lane.mid)));
            }
        }
        self.role = Role::Subscriber { publisher: peer, lanes };
        Ok(())
    }

    /// Starts its timeouts: the time that it waited to be admitted does not count.
    pub(super) fn admitted(&mut self, now: Instant) {
        (self.created, self.seen) = (now, now);
    }

    /// The user fragment that clients address it by.
    pub(super) fn ufrag(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    /// The client's ICE credentials: user fragment and password.
    fn remote_credentials(&self) -> Option<(&str, &str)> {
        self.remote.as_ref().map(|(ufrag, password)| (ufrag.as_str(), password.as_str()))
    }

    /// Whether credentials of a fragment are other than those that it has.
    pub(super) fn would_restart(&self, (ufrag, password): (&str, &str)) -> bool {
        self.remote_credentials() != Some((ufrag, password))
    }

    /// Restarts ICE with new credentials of the client; the fragment to answer with. As an ICE-lite agent only answers
    /// checks, new credentials on both sides are all of it: nothing is negotiated again, and the path in use stays until
    /// the client proves another one.
    pub(super) fn restart(&mut self, ufrag: &str, password: &str) -> String {
        reseed();
        let own = IceCreds::new();
        let answer = self.restart.answer(&own.ufrag, &own.pass, self.paths.active().map(|address| address.ip()));
        let mut api = self.rtc.direct_api();
        api.set_local_ice_credentials(own);
        api.set_remote_ice_credentials(IceCreds { ufrag: ufrag.to_owned(), pass: password.to_owned() });
        self.remote = Some((ufrag.to_owned(), password.to_owned()));
        self.transactions.clear();
        answer
    }
}

/// What is done with a connection besides moving its datagrams.
impl Link {
    /// When a connection that gives no sign of life ends: it must connect in that time too.
    pub(super) fn deadline(&self, timeout: Duration) -> Instant {
        let given_up = self.progress.gives_up().unwrap_or(self.created + timeout);
        if self.connected { self.seen + timeout } else { given_up.min(self.created + timeout) }
    }

    /// When a publisher whose media have not come is to be reported.
    pub(super) fn media_due(&self, timeout: Duration) -> Option<Instant> {
        let missing = matches!(&self.role, Role::Publisher(publisher) if !publisher.media);
        self.progress.media_due(timeout).filter(|_| missing)
    }

    /// The section and the layer that a stream is of.
    pub(super) fn stream(&mut self, ssrc: Ssrc) -> Option<(Mid, Option<Rid>)> {
        self.rtc.direct_api().stream_rx(&ssrc).map(|stream| (stream.mid(), stream.rid()))
    }

    /// Asks for what is lost of a stream, if that was agreed. Some clients send it again in the stream itself, not in one of
    /// its own (RTX), without which the library would not ask.
    pub(super) fn repair(&mut self, ssrc: Ssrc, pt: Pt) {
        let agreed = self.agreed.iter().flat_map(|section| &section.payloads).find(|payload| payload.pt == pt);
        if agreed.is_some_and(|payload| payload.nack && payload.codec != Codec::Opus)
            && let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc)
        {
            stream.suppress_nack(false);
        }
    }

    /// Asks the client for key frames.
    pub(super) fn ask_for_key_frames(&mut self, wanted: &[(Mid, Option<Rid>)]) {
        for (mid, rid) in wanted {
            if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(*mid, *rid) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
    }

    /// Puts a packet among those to be sent.
    pub(super) fn send(&mut self, mid: Mid, packet: RtpWrite) {
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
            stream.write_rtp(packet);
        }
    }

    /// Says goodbye: RTCP BYE and a DTLS alert, which browsers notice at once. What was put down goes before.
    pub(super) fn close(&mut self, now: Instant, out: &mut VecDeque<Transmit>) {
        if self.written.is_some() {
            self.deliver(now, out);
        }
        let rtc = &mut self.rtc;
        if guarded(|| rtc.close()).is_ok() {
            self.drive(now, out);
        }
    }

    /// What others are told of it.
    pub(super) fn state(&self, peer: TransportId) -> TransportStats {
        let codec = |kind| match &self.role {
            Role::Publisher(source) => {
                let track = source.tracks.iter().find(|track| track.kind == kind)?;
                track.payload.and_then(|_| track.codec()).map(|(_, codec)| codec)
            }
            Role::Subscriber { .. } => None::<Codec>,
        };
        let (media, key_frames) = match &self.role {
            Role::Publisher(source) => (source.media, source.tracks.iter().map(|track| track.key_frames).sum()),
            Role::Subscriber { .. } => (false, 0),
        };
        TransportStats {
            id: peer,
            connected: self.connected,
            media_received: media,
            packets: self.packets,
            bytes: self.bytes,
            packets_lost: self.reports.iter().map(|(_, lost, ..)| lost).sum(),
            key_frames,
            audio_codec: codec(Kind::Audio),
            video_codec: codec(Kind::Video),
        }
    }
}
