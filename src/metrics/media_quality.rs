//! The quality of media connections: sums over all of them, and histograms of what each had at an interval.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of buckets.
const ROUND_TRIP_SECONDS: [f64; 10] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0];
const SETUP_SECONDS: [f64; 10] = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0];
const JITTER_SECONDS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
const LOSS_RATIO: [f64; 9] = [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
const BITS_PER_SECOND: [f64; 10] = [3e4, 1e5, 2e5, 5e5, 1e6, 1.5e6, 2.5e6, 4e6, 8e6, 1.6e7];

/// The role of a media connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaRole {
    Publish,
    Subscribe,
}

impl MediaRole {
    /// The value of the label `role`.
    pub fn name(self) -> &'static str {
        match self {
            MediaRole::Publish => "publish",
            MediaRole::Subscribe => "subscribe",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Role {
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limitation {
    limitation: &'static str,
}

/// Totals of the connections of a role since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MediaTotals {
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub retransmitted: u64,
    pub nacks: u64,
    pub key_frame_requests: u64,
    pub freezes: u64,
    pub freeze_seconds: f64,
}

/// What a connection had at an interval; `None` if it is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MediaSample {
    pub round_trip_seconds: Option<f64>,
    pub jitter_seconds: Option<f64>,
    pub loss_ratio: Option<f64>,
    pub bits_per_second: f64,
    pub estimated_bits_per_second: Option<f64>,
}

/// Handles of a role.
#[derive(Debug)]
struct OfRole {
    packets: Counter,
    bytes: Counter,
    lost: Counter,
    nacks: Counter,
    key_frame_requests: Counter,
    ice: Histogram,
    dtls: Histogram,
    round_trip: Histogram,
    jitter: Histogram,
    loss: Histogram,
    bitrate: Histogram,
}

/// The quality of this node's media connections.
#[derive(Debug)]
pub struct MediaQuality {
    on: bool,
    roles: [OfRole; 2],
    retransmitted: Counter,
    freezes: Counter,
    freeze_seconds: Counter<f64, AtomicU64>,
    estimate: Histogram,
    limitations: Family<Limitation, Gauge>,
}

impl MediaQuality {
    pub(super) fn new(on: bool, registry: &mut Registry) -> Self {
        let mut counter = |name, help| {
            let family = Family::<Role, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let packets = counter(
            "media_rtp_packets",
            "RTP packets received from publishers (publish) and sent to subscribers (subscribe), without retransmissions",
        );
        let bytes = counter("media_rtp_bytes", "Payload bytes of these packets");
        let lost = counter(
            "media_rtp_lost",
            "RTP packets that never arrived from publishers, and that subscribers reported as lost",
        );
        let nacks = counter("media_nacks", "NACK messages sent to publishers, and received from subscribers");
        let key_frame_requests = counter(
            "media_key_frame_requests",
            "Requests for key frames (PLI, FIR) sent to publishers, and received from subscribers",
        );
        let mut histogram = |name, help, new: fn() -> Histogram| {
            let family = Family::<Role, Histogram, fn() -> Histogram>::new_with_constructor(new);
            registry.register(name, help, family.clone());
            family
        };
        let help = "Seconds from the answer to an offer to the nomination of a candidate pair";
        let ice = histogram("media_ice_seconds", help, || Histogram::new(SETUP_SECONDS));
        let help = "Seconds from the nomination of a candidate pair to the end of the DTLS handshake";
        let dtls = histogram("media_dtls_seconds", help, || Histogram::new(SETUP_SECONDS));
        let round_trip = histogram("media_round_trip_seconds", "Round trip of media connections, every 10 s", || {
            Histogram::new(ROUND_TRIP_SECONDS)
        });
        let jitter = histogram("media_jitter_seconds", "Interarrival jitter of media connections, every 10 s", || {
            Histogram::new(JITTER_SECONDS)
        });
        let loss = histogram("media_loss_ratio", "Share of lost packets of media connections, every 10 s", || {
            Histogram::new(LOSS_RATIO)
        });
        let name = "media_connection_bits_per_second";
        let bitrate = histogram(name, "Bits per second of RTP of media connections, every 10 s", || {
            Histogram::new(BITS_PER_SECOND)
        });
        let roles = [MediaRole::Publish, MediaRole::Subscribe].map(|role| {
            let label = Role { role: role.name() };
            OfRole {
                packets: packets.get_or_create_owned(&label),
                bytes: bytes.get_or_create_owned(&label),
                lost: lost.get_or_create_owned(&label),
                nacks: nacks.get_or_create_owned(&label),
                key_frame_requests: key_frame_requests.get_or_create_owned(&label),
                ice: ice.get_or_create_owned(&label),
                dtls: dtls.get_or_create_owned(&label),
                round_trip: round_trip.get_or_create_owned(&label),
                jitter: jitter.get_or_create_owned(&label),
                loss: loss.get_or_create_owned(&label),
                bitrate: bitrate.get_or_create_owned(&label),
            }
        });
        let quality = MediaQuality {
            on,
            roles,
            retransmitted: Counter::default(),
            freezes: Counter::default(),
            freeze_seconds: Counter::default(),
            estimate: Histogram::new(BITS_PER_SECOND),
            limitations: Family::default(),
        };
        let help = "RTP packets that were retransmitted to subscribers";
        registry.register("media_rtp_retransmitted", help, quality.retransmitted.clone());
        let help = "Gaps in the video that was forwarded to subscribers";
        registry.register("media_freezes", help, quality.freezes.clone());
        let help = "Seconds of these gaps";
        registry.register("media_freeze_seconds", help, quality.freeze_seconds.clone());
        let help = "Estimated bits per second that subscribers can receive, every 10 s";
        registry.register("media_estimated_bits_per_second", help, quality.estimate.clone());
        let help = "Videos that are sent to subscribers, by what limits their layer: none, preferences, bandwidth, \
                    key_frame_requests";
        registry.register("media_video_subscriptions", help, quality.limitations.clone());
        quality
    }

    /// Whether metrics are served.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Raises the counters of a role to totals since the start of the process.
    pub fn set_totals(&self, role: MediaRole, totals: &MediaTotals) {
        let of_role = &self.roles[role as usize];
        for (counter, value) in [
            (&of_role.packets, totals.packets),
            (&of_role.bytes, totals.bytes),
            (&of_role.lost, totals.lost),
            (&of_role.nacks, totals.nacks),
            (&of_role.key_frame_requests, totals.key_frame_requests),
        ] {
            counter.inner().fetch_max(value, Ordering::Relaxed);
        }
        if role == MediaRole::Subscribe {
            self.retransmitted.inner().fetch_max(totals.retransmitted, Ordering::Relaxed);
            self.freezes.inner().fetch_max(totals.freezes, Ordering::Relaxed);
            self.freeze_seconds.inc_by((totals.freeze_seconds - self.freeze_seconds.get()).max(0.0));
        }
    }

    /// Records the times of ICE and DTLS of a new connection.
    pub fn set_up(&self, role: MediaRole, ice_seconds: f64, dtls_seconds: f64) {
        self.roles[role as usize].ice.observe(ice_seconds);
        self.roles[role as usize].dtls.observe(dtls_seconds);
    }

    /// Records what a connection has at present.
    pub fn observe(&self, role: MediaRole, sample: &MediaSample) {
        let of_role = &self.roles[role as usize];
        of_role.bitrate.observe(sample.bits_per_second);
        for (histogram, value) in [
            (&of_role.round_trip, sample.round_trip_seconds),
            (&of_role.jitter, sample.jitter_seconds),
            (&of_role.loss, sample.loss_ratio),
            (&self.estimate, sample.estimated_bits_per_second),
        ] {
            value.into_iter().for_each(|value| histogram.observe(value));
        }
    }

    /// Sets the number of videos that are sent to subscribers with a limitation.
    pub fn set_limited(&self, limitation: &'static str, videos: usize) {
        let videos = i64::try_from(videos).unwrap_or(i64::MAX);
        self.limitations.get_or_create_owned(&Limitation { limitation }).set(videos);
    }
}
