//! What this node holds of participants, and the media that it forwards.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::Ordering;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To be told what happens.
    Events,
    /// To send media.
    Publish,
    /// To receive them.
    Subscribe,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    role: &'static str,
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    direction: &'static str,
}

/// What this node holds of participants.
#[derive(Debug)]
pub struct Media {
    connections: [Gauge; 3],
    /// Stages that somebody is connected to here.
    pub stages: Gauge,
    packets: [Counter; 2],
    bytes: [Counter; 2],
    unsent: Counter,
    unheard: Counter,
    outcomes: Family<Outcome, Counter>,
}

/// Datagrams since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// How many.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Media {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let connections = Family::<Of, Gauge>::default();
        let packets = Family::<Way, Counter>::default();
        let bytes = Family::<Way, Counter>::default();
        let ways = |family: &Family<Way, Counter>| {
            ["in", "out"].map(|direction| family.get_or_create_owned(&Way { direction }))
        };
        let media = Media {
            connections: ["events", "publish", "subscribe"].map(|kind| connections.get_or_create_owned(&Of { kind })),
            stages: Gauge::default(),
            packets: ways(&packets),
            bytes: ways(&bytes),
            unsent: Counter::default(),
            unheard: Counter::default(),
            outcomes: Family::default(),
        };
        let help = "Connections of participants that this node holds, by kind: events, publish, subscribe";
        registry.register("participant_connections", help, connections);
        let help = "Stages that participants are connected to on this node";
        registry.register("connected_stages", help, media.stages.clone());
        registry.register("media_packets", "Datagrams of media of this node, by direction", packets);
        registry.register("media_bytes", "Bytes in datagrams of media of this node, by direction", bytes);
        let help = "Datagrams of media that the system would not send, of this node";
        registry.register("media_unsent", help, media.unsent.clone());
        let help = "Events of the media thread that were lost, as nobody took them in time";
        registry.register("media_events_lost", help, media.unheard.clone());
        for role in ["publish", "subscribe"] {
            media.outcomes.get_or_create_owned(&Outcome { role, outcome: "connected", reason: "" });
        }
        let help = "Media connections by role (publish, subscribe), outcome (connected, failed, lost) and reason";
        registry.register("media_connections", help, media.outcomes.clone());
        media
    }

    /// Notes how many connections of a kind there are.
    pub fn held(&self, kind: Kind, connections: usize) {
        self.connections[kind as usize].set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    /// Counts a media connection: its role, what became of it, and why, or `""`.
    pub fn connection(&self, role: &'static str, outcome: &'static str, reason: &'static str) {
        self.outcomes.get_or_create_owned(&Outcome { role, outcome, reason }).inc();
    }

    /// Notes what has been counted elsewhere since the start: datagrams received and sent, datagrams that could not be
    /// sent, and events that nobody took.
    pub fn counted(&self, received: Datagrams, sent: Datagrams, unsent: u64, unheard: u64) {
        for (counter, value) in [
            (&self.packets[0], received.packets),
            (&self.packets[1], sent.packets),
            (&self.bytes[0], received.bytes),
            (&self.bytes[1], sent.bytes),
            (&self.unsent, unsent),
            (&self.unheard, unheard),
        ] {
            counter.inner().fetch_max(value, Ordering::Relaxed);
        }
    }
}
