//! A transport's datagrams: input and output of the WebRTC library.

use super::retransmission::Decision;
use super::{RTX_CACHE, ReceiverReport, Role, TransportEvent, WebRtcTransport, guarded, srtp};
use crate::failure::FailureReason;
use crate::{FiveTuple, MediaKind, Transmit};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use str0m::rtp::Ssrc;
use str0m::stats::MediaEgressStats;
use str0m::{Event, Input, Output, RtcError};

/// Maximum timeouts that are handled in a row without delay.
const MAX_IMMEDIATE_TIMEOUTS: usize = 1024;
/// The bit of an RTP header that tells of padding (RFC 3550, section 5.1); media have none.
const PADDING_BIT: u8 = 0x20;
/// The least time between two timeouts of a subscriber whose network is not probed.
const IDLE_TIMEOUT: Duration = Duration::from_millis(100);
/// A timeout within this time is handled at once.
const IMMEDIATE: Duration = Duration::from_micros(5);
/// Maximum streams recorded as authenticated.
const MAX_AUTHENTICATED_SSRCS: usize = 16;

/// Input and output of the WebRTC library.
impl WebRtcTransport {
    /// Passes a datagram to the WebRTC library and handles its output. A datagram that the library rejects is ignored,
    /// as anyone could have sent it from a spoofed address.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        source: FiveTuple,
        bytes: &[u8],
        out: &mut VecDeque<Transmit>,
    ) -> Vec<TransportEvent> {
        let Some(receive) = self.local_candidates.receive(source, bytes) else { return Vec::new() };
        let library_time = self.library_time(now);
        let rtp_ssrc = rtp_ssrc(bytes);
        if rtp_ssrc.is_some() && matches!(self.role, Role::Subscriber) {
            return Vec::new();
        }
        self.paths.record_received(source, bytes.len());
        let (authenticated_before, connected_before) = (srtp::authenticated_packets(), self.connected);
        if rtp_ssrc.is_some() {
            self.progress.rtp_received();
        }
        let rtc = &mut self.rtc;
        let handle = || {
            guarded(|| {
                let result = rtc.handle_input(Input::Receive(library_time, receive));
                Ok::<_, String>(result.inspect_err(|error| tracing::debug!(%error, "datagram ignored")).is_ok())
            })
        };
        let (accepted, estimate) = match &mut self.feedback {
            Some(feedback) if is_rtcp(bytes) => feedback.observe(now, bytes, handle),
            _ => (handle(), None),
        };
        match accepted {
            Ok(accepted) => self.progress.datagram_handled(now, bytes, accepted),
            Err(error) => return vec![TransportEvent::Failed(FailureReason::Internal, error)],
        }
        if is_rtcp(bytes) {
            self.ignore_library_estimate(now);
        }
        self.receiving_from = Some(source);
        let mut events = self.drive(now, out);
        self.receiving_from = None;
        events.extend(estimate.map(|estimate| TransportEvent::Estimate(Some(estimate))));
        if srtp::authenticated_packets() > authenticated_before {
            self.paths.record_authenticated(now, source);
        }
        if self.connected && !connected_before {
            self.paths.record_authenticated(now, source);
            self.paths.handshake_finished(source);
            self.check_path(now, source, out);
        }
        if let Some(ssrc) = rtp_ssrc.filter(|ssrc| !self.authenticated_ssrcs.contains(ssrc)) {
            self.restore_stream(ssrc);
        }
        events
    }

    /// Encrypts queued packets. The library does so on a timeout; an explicit one saves a poll of all its other state.
    pub(crate) fn flush(&mut self, now: Instant, out: &mut VecDeque<Transmit>) -> Vec<TransportEvent> {
        let (library_time, rtc) = (self.library_time(now), &mut self.rtc);
        match guarded(|| rtc.handle_input(Input::Timeout(library_time))) {
            Ok(()) => self.drive(now, out),
            Err(error) => vec![TransportEvent::Failed(FailureReason::Internal, error)],
        }
    }

    /// Polls the WebRTC library until it is idle, and updates `rtc_timeout`.
    pub(crate) fn drive(&mut self, now: Instant, out: &mut VecDeque<Transmit>) -> Vec<TransportEvent> {
        self.queued_at = None;
        if let Some(impaired) = &mut self.impaired {
            impaired.release(now, out);
        }
        let (mut events, mut reason) = (Vec::new(), FailureReason::Internal);
        let mut poll = || {
            let result = self.poll_rtc(now, out, &mut events);
            result.inspect_err(|error| reason = FailureReason::of_rtc_error(error))
        };
        if let Err(error) = guarded(&mut poll) {
            events.push(TransportEvent::Failed(reason, error));
        }
        events
    }

    fn poll_rtc(
        &mut self,
        now: Instant,
        out: &mut VecDeque<Transmit>,
        events: &mut Vec<TransportEvent>,
    ) -> Result<(), RtcError> {
        let mut immediate_timeouts = 0;
        self.library_time(now);
        loop {
            match self.rtc.poll_output()? {
                Output::Transmit(transmit) => self.transmit(now, transmit, out),
                Output::Event(event) => events.extend(self.handle_event(now, event)),
                Output::Timeout(at)
                    if at <= self.library_time + IMMEDIATE && immediate_timeouts < MAX_IMMEDIATE_TIMEOUTS =>
                {
                    immediate_timeouts += 1;
                    let now = self.library_time(at);
                    self.rtc.handle_input(Input::Timeout(now))?;
                }
                Output::Timeout(at) => {
                    self.rtc_timeout = Some(at.max(now + self.least_timeout()));
                    return Ok(());
                }
            }
        }
    }

    /// The time for the library's next input. The library wants a microsecond between two packets that it paces, and ignores
    /// inputs from before the last one.
    fn library_time(&mut self, at: Instant) -> Instant {
        self.library_time = self.library_time.max(at);
        self.library_time
    }

    /// The least time until the library's next timeout. Its estimator and its pacer have one every few milliseconds, which only a
    /// probe needs; what is queued is sent at once.
    fn least_timeout(&self) -> Duration {
        match self.connected && self.feedback.is_some() && !self.is_probing {
            true => IDLE_TIMEOUT,
            false => Duration::from_millis(1),
        }
    }

    /// Sends STUN responses to the source of the request, everything else to the [active path](super::paths). The
    /// library itself would change paths only after 15 s of silence.
    fn transmit(&mut self, now: Instant, transmit: str0m::net::Transmit, out: &mut VecDeque<Transmit>) {
        let contents: Vec<u8> = transmit.contents.into();
        if contents.first().is_some_and(|first| *first < 2) {
            return out.extend(self.receiving_from.map(|path| Transmit { path, contents }));
        }
        let Some(path) = self.paths.active() else { return };
        let rtp_ssrc = rtp_ssrc(&contents).filter(|_| matches!(self.role, Role::Subscriber));
        // The library pads what is sent up to 50 kbit/s, also while its receiver has asked for a pause.
        let is_padding = rtp_ssrc.is_some() && contents[0] & PADDING_BIT != 0 && !self.is_probing;
        if is_padding
            || rtp_ssrc.is_some_and(|ssrc| !self.may_send_rtp(now, ssrc, contents.len()))
            || !self.paths.try_send(path, contents.len())
        {
            return;
        }
        let is_rtp = rtp_ssrc.is_some();
        if is_rtp {
            if let Some(feedback) = &mut self.feedback {
                feedback.record_sent(now, &contents);
            }
            self.packets += 1;
            self.bytes += contents.len() as u64;
            self.rate.add(now, contents.len());
        }
        let transmit = Transmit { path, contents };
        match &mut self.impaired {
            Some(impaired) if is_rtp => impaired.send(now, transmit, out),
            _ => out.push_back(transmit),
        }
    }

    /// Applies the retransmission budget to a subscriber's RTP packet.
    fn may_send_rtp(&mut self, now: Instant, ssrc: Ssrc, bytes: usize) -> bool {
        let Some((_, mid)) = self.rtx_ssrcs.iter().find(|(rtx, _)| *rtx == ssrc).copied() else {
            self.retransmissions.record_sent(bytes);
            return true;
        };
        match self.retransmissions.decide(now, srtp::original_sequence_number(), bytes) {
            Decision::Send => {
                self.library_stats.record_retransmission(mid);
                true
            }
            // The packets of a probe are repeated ones, too.
            Decision::Duplicate if self.is_probing => true,
            Decision::Duplicate => false,
            Decision::OverBudget => {
                // Clears the cache, so that the other requested packets are not even encrypted.
                if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
                    stream.set_rtx_cache(RTX_CACHE.0, RTX_CACHE.1, RTX_CACHE.2);
                }
                if !std::mem::replace(&mut self.over_budget_logged, true) {
                    let address = self.paths.active();
                    tracing::info!(?address, reason = "retransmission budget", "NACKs ignored");
                }
                false
            }
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event) -> Option<TransportEvent> {
        match event {
            Event::Connected => {
                self.connected = true;
                self.connected_at.get_or_insert(now);
                self.progress.handshake_finished(now);
                self.last_activity = now;
                Some(TransportEvent::Connected)
            }
            Event::RtpPacket(packet) => {
                self.last_activity = now;
                let ssrc = packet.header.ssrc;
                if !self.authenticated_ssrcs.contains(&ssrc) {
                    self.authenticated_ssrcs.push(ssrc);
                    let excess = self.authenticated_ssrcs.len().saturating_sub(MAX_AUTHENTICATED_SSRCS);
                    self.authenticated_ssrcs.drain(..excess);
                }
                let bytes = packet.payload.len() + packet.header.header_len;
                self.packets += 1;
                self.bytes += bytes as u64;
                self.rate.add(now, bytes);
                Some(TransportEvent::Packet(Box::new(packet)))
            }
            Event::KeyframeRequest(_) => {
                self.last_activity = now;
                Some(TransportEvent::KeyFrameRequested)
            }
            Event::SenderFeedback(_) | Event::EgressBitrateEstimate(_) => {
                self.last_activity = now;
                None
            }
            Event::MediaEgressStats(stats) => {
                self.record_receiver_report(now, &stats);
                let percent = stats.loss.map(|loss| (loss * 100.0).clamp(0.0, 100.0));
                percent.iter().for_each(|percent| self.record_loss(now, &stats, *percent));
                self.library_stats.record_egress(stats);
                percent.map(|percent| TransportEvent::LossReported(percent as u32))
            }
            Event::MediaIngressStats(stats) => {
                self.library_stats.record_ingress(stats);
                None
            }
            Event::Closed => Some(TransportEvent::ClosedByClient),
            _ => None,
        }
    }

    /// Adapts the playout delay of video to what a receiver report tells. `percent`: the share of lost packets.
    fn record_loss(&mut self, now: Instant, stats: &MediaEgressStats, percent: f32) {
        let is_video = self.sections.iter().any(|section| section.mid == stats.mid && section.kind == MediaKind::Video);
        if let (true, Some(rtt), Some(remote)) = (is_video, stats.rtt, &stats.remote) {
            let clock_rate = u64::from(MediaKind::Video.clock_rate());
            let jitter = Duration::from_micros(u64::from(remote.jitter) * 1_000_000 / clock_rate);
            self.playout_delay.record(now, percent, rtt, jitter);
        }
    }

    /// Records a receiver report. A subscriber may send nothing else, so a report that differs from the last is
    /// activity.
    fn record_receiver_report(&mut self, now: Instant, stats: &MediaEgressStats) {
        if let Some(rtt) = stats.rtt {
            self.retransmissions.record_rtt(rtt);
        }
        let Some(remote) = &stats.remote else { return };
        let report = ReceiverReport {
            mid: stats.mid,
            packets_lost: remote.packets_lost,
            activity: *remote.maximum_sequence_number + stats.nacks,
            jitter: remote.jitter,
        };
        match self.receiver_reports.iter_mut().find(|known| known.mid == stats.mid) {
            Some(known) if *known == report => {}
            Some(known) => {
                *known = report;
                self.last_activity = now;
            }
            None => {
                self.receiver_reports.push(report);
                self.last_activity = now;
            }
        }
    }
}

/// Whether a datagram is RTCP (RFC 5761, section 4).
fn is_rtcp(bytes: &[u8]) -> bool {
    matches!(bytes, [128..=191, second, ..] if matches!(second & 0x7f, 64..=95))
}

/// The SSRC in the header of an RTP packet; `None` for RTCP (RFC 5761) and other protocols.
fn rtp_ssrc(bytes: &[u8]) -> Option<Ssrc> {
    let [first, second, ..] = bytes else { return None };
    let is_rtp = matches!(first, 128..=191) && !matches!(second & 0x7f, 64..=95);
    let ssrc = <[u8; 4]>::try_from(bytes.get(8..12)?).ok()?;
    is_rtp.then(|| u32::from_be_bytes(ssrc).into())
}
