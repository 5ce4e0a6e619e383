//! Statistics of a transport that come from the WebRTC library, which reports them at an interval of at most two seconds.

use super::{Role, WebRtcTransport};
use crate::{MediaCounters, MediaKind, NetworkPath, Protocol};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::media::Mid;
use str0m::stats::{MediaEgressStats, MediaIngressStats};

/// Receiver reports count lost packets in 24 bits with a sign: retransmissions can make it negative (RFC 3550).
const MAX_LOST: u64 = 0x7f_ffff;

/// The last reports of the library, by media section and layer.
#[derive(Debug, Default)]
pub(super) struct LibraryStats {
    egress: Vec<MediaEgressStats>,
    ingress: Vec<MediaIngressStats>,
    /// Packets that were retransmitted, and key-frame requests that were sent, by section.
    sent: Vec<(Mid, SentCounters)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct SentCounters {
    retransmitted: u64,
    key_frame_requests: u64,
}

/// What the library reports of a media section.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SectionReport {
    pub(crate) loss: Option<f32>,
    pub(crate) jitter: Option<Duration>,
    /// Lost packets of a subscriber, retransmissions, NACKs and requests of key frames.
    pub(crate) counters: MediaCounters,
}

impl LibraryStats {
    pub(super) fn record_egress(&mut self, mut stats: MediaEgressStats) {
        match self.egress.iter_mut().find(|known| (known.mid, known.rid) == (stats.mid, stats.rid)) {
            Some(known) => {
                // Without a new receiver report, the last one counts.
                stats.loss = stats.loss.or(known.loss);
                *known = stats;
            }
            None => self.egress.push(stats),
        }
    }

    pub(super) fn record_ingress(&mut self, stats: MediaIngressStats) {
        match self.ingress.iter_mut().find(|known| (known.mid, known.rid) == (stats.mid, stats.rid)) {
            Some(known) => *known = stats,
            None => self.ingress.push(stats),
        }
    }

    pub(super) fn record_retransmission(&mut self, mid: Mid) {
        self.sent_mut(mid).retransmitted += 1;
    }

    pub(super) fn record_key_frame_request(&mut self, mid: Mid) {
        self.sent_mut(mid).key_frame_requests += 1;
    }

    fn sent_mut(&mut self, mid: Mid) -> &mut SentCounters {
        let known = self.sent.iter().position(|(known, _)| *known == mid);
        let index = known.unwrap_or_else(|| {
            self.sent.push((mid, SentCounters::default()));
            self.sent.len() - 1
        });
        &mut self.sent[index].1
    }

    fn sent(&self, mid: Mid) -> SentCounters {
        self.sent.iter().find(|(known, _)| *known == mid).map(|(_, sent)| *sent).unwrap_or_default()
    }
}

impl WebRtcTransport {
    /// The selected candidate pair. `local`: the server's address, if it has but one.
    pub(crate) fn network_path(&self, local: SocketAddr) -> Option<NetworkPath> {
        let path = self.paths.active()?;
        let protocol = match path.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        };
        Some(NetworkPath { local: path.local.unwrap_or(local), remote: path.remote, protocol })
    }

    /// The last round-trip time: of a subscriber by its receiver reports, of a publisher by its extended reports (RFC 3611),
    /// which not every client sends.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        let LibraryStats { egress, ingress, .. } = &self.library_stats;
        let sent = egress.iter().filter_map(|stats| Some((stats.timestamp, stats.rtt?)));
        let received = ingress.iter().filter_map(|stats| Some((stats.timestamp, stats.rtt?)));
        sent.chain(received).max_by_key(|(at, _)| *at).map(|(_, rtt)| rtt)
    }

    /// Time from admission to the first nomination.
    pub(crate) fn ice_time(&self) -> Option<Duration> {
        self.nominated_at.map(|at| at.saturating_duration_since(self.created))
    }

    /// Time from the first nomination to the end of the DTLS handshake.
    pub(crate) fn dtls_time(&self) -> Option<Duration> {
        Some(self.connected_at?.saturating_duration_since(self.nominated_at?))
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.created)
    }

    /// Bits per second of RTP.
    pub(crate) fn bitrate(&self, now: Instant) -> u64 {
        self.rate.bitrate(now)
    }

    /// What the library reports of a media section.
    pub(crate) fn section_report(&self, section: usize) -> SectionReport {
        let mut report = SectionReport::default();
        let Some(section) = self.sections.get(section) else { return report };
        let ticks = |jitter: u32| Duration::from_secs_f64(f64::from(jitter) / f64::from(section.kind.clock_rate()));
        if matches!(self.role, Role::Publisher(_)) {
            for stats in self.library_stats.ingress.iter().filter(|stats| stats.mid == section.mid) {
                let is_worse = report.loss.is_none_or(|loss| stats.loss.is_some_and(|of_layer| of_layer > loss));
                report.loss = if is_worse { stats.loss } else { report.loss };
                report.jitter = report.jitter.max(Some(ticks(stats.jitter)));
                report.counters.nacks += stats.nacks;
            }
            report.counters.key_frame_requests = self.library_stats.sent(section.mid).key_frame_requests;
            return report;
        }
        for stats in self.library_stats.egress.iter().filter(|stats| stats.mid == section.mid) {
            report.loss = stats.loss;
            report.counters.nacks += stats.nacks;
            report.counters.key_frame_requests += stats.plis + stats.firs;
            if let Some(remote) = &stats.remote {
                report.jitter = Some(ticks(remote.jitter));
                report.counters.lost += Some(remote.packets_lost).filter(|lost| *lost <= MAX_LOST).unwrap_or(0);
            }
        }
        report.counters.retransmitted = self.library_stats.sent(section.mid).retransmitted;
        report
    }

    /// `a=mid` of a media section.
    pub(crate) fn mid(&self, section: usize) -> String {
        self.sections.get(section).map(|section| section.mid.to_string()).unwrap_or_default()
    }

    /// The RID of a layer; empty for a track with one layer.
    pub(crate) fn layer_name(&self, track: usize, encoding: u8) -> String {
        let rid = self.encodings.get(track).and_then(|encodings| encodings.rid(encoding));
        rid.map(|rid| rid.to_string()).unwrap_or_default()
    }

    pub(crate) fn kind(&self, section: usize) -> Option<MediaKind> {
        self.sections.get(section).map(|section| section.kind)
    }
}
