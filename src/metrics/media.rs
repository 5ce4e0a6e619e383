//! Participant connections and forwarded media of this node.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::Ordering;

/// The kind of a participant connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionKind {
    Events,
    Publish,
    Subscribe,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    role: &'static str,
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

/// Participant connections and media traffic of this node.
#[derive(Debug)]
pub struct Media {
    connections: [Gauge; 3],
    /// Stages with a connection on this node.
    pub stages: Gauge,
    packets: [Counter; 2],
    bytes: [Counter; 2],
    unsent: Counter,
    lost_events: Counter,
    outcomes: Family<Outcome, Counter>,
    tcp_connections: Gauge,
    tcp_refused: Family<ReasonLabel, Counter>,
    tcp_unsent: Family<ReasonLabel, Counter>,
}

/// Datagrams since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramCounts {
    pub packets: u64,
    pub bytes: u64,
}

impl Media {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let connections = Family::<KindLabel, Gauge>::default();
        let packets = Family::<Direction, Counter>::default();
        let bytes = Family::<Direction, Counter>::default();
        let by_direction = |family: &Family<Direction, Counter>| {
            ["in", "out"].map(|direction| family.get_or_create_owned(&Direction { direction }))
        };
        let media = Media {
            connections: ["events", "publish", "subscribe"]
                .map(|kind| connections.get_or_create_owned(&KindLabel { kind })),
            stages: Gauge::default(),
            packets: by_direction(&packets),
            bytes: by_direction(&bytes),
            unsent: Counter::default(),
            lost_events: Counter::default(),
            outcomes: Family::default(),
            tcp_connections: Gauge::default(),
            tcp_refused: Family::default(),
            tcp_unsent: Family::default(),
        };
        let help = "Open TCP connections for media on this node";
        registry.register("media_tcp_connections", help, media.tcp_connections.clone());
        let help = "TCP connections for media that this node refused or closed, by reason";
        registry.register("media_tcp_refused", help, media.tcp_refused.clone());
        let help = "Media packets of this node that were dropped on TCP connections, by reason";
        registry.register("media_tcp_unsent", help, media.tcp_unsent.clone());
        let help = "Participant connections of this node, by kind: events, publish, subscribe";
        registry.register("participant_connections", help, connections);
        let help = "Stages with participant connections on this node";
        registry.register("connected_stages", help, media.stages.clone());
        registry.register("media_packets", "Media datagrams of this node, by direction", packets);
        registry.register("media_bytes", "Bytes of media datagrams of this node, by direction", bytes);
        let help = "Media datagrams of this node that the system refused to send";
        registry.register("media_unsent", help, media.unsent.clone());
        let help = "Events of the media thread that were dropped because their queue was full";
        registry.register("media_events_lost", help, media.lost_events.clone());
        for role in ["publish", "subscribe"] {
            media.outcomes.get_or_create_owned(&Outcome { role, outcome: "connected", reason: "" });
        }
        let help = "Media connections by role (publish, subscribe), outcome (connected, failed, lost) and reason";
        registry.register("media_connections", help, media.outcomes.clone());
        media
    }

    /// Sets the number of connections of a kind.
    pub fn set_connections(&self, kind: ConnectionKind, connections: usize) {
        self.connections[kind as usize].set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    /// Counts a media connection by role, outcome and reason (`""` if it connected).
    pub fn connection(&self, role: &'static str, outcome: &'static str, reason: &'static str) {
        self.outcomes.get_or_create_owned(&Outcome { role, outcome, reason }).inc();
    }

    /// Sets the number of TCP connections, and the totals since the start of the process by reason: refused connections, and
    /// packets that could not be sent.
    pub fn set_tcp(&self, open: u64, refused: &[(&'static str, u64)], unsent: &[(&'static str, u64)]) {
        self.tcp_connections.set(i64::try_from(open).unwrap_or(i64::MAX));
        for (family, totals) in [(&self.tcp_refused, refused), (&self.tcp_unsent, unsent)] {
            for (reason, total) in totals {
                let counter = family.get_or_create_owned(&ReasonLabel { reason });
                counter.inner().fetch_max(*total, Ordering::Relaxed);
            }
        }
    }

    /// Sets the counters to totals since the start of the process: datagrams received and sent, datagrams that could not be
    /// sent, and dropped events.
    pub fn set_traffic(&self, received: DatagramCounts, sent: DatagramCounts, unsent: u64, lost_events: u64) {
        for (counter, value) in [
            (&self.packets[0], received.packets),
            (&self.packets[1], sent.packets),
            (&self.bytes[0], received.bytes),
            (&self.bytes[1], sent.bytes),
            (&self.unsent, unsent),
            (&self.lost_events, lost_events),
        ] {
            counter.inner().fetch_max(value, Ordering::Relaxed);
        }
    }
}
