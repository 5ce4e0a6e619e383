//! Connections of encoders over RTMP and RTMPS, and their media.

use greenroom_ingest::{DropReason, SwitchReason};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The protocol of an encoder's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngestTransport {
    Rtmp,
    Rtmps,
}

impl IngestTransport {
    const ALL: [IngestTransport; 2] = [IngestTransport::Rtmp, IngestTransport::Rtmps];

    /// The protocol in metrics.
    fn name(self) -> &'static str {
        match self {
            IngestTransport::Rtmp => "rtmp",
            IngestTransport::Rtmps => "rtmps",
        }
    }
}

/// Declares the reasons with their names.
macro_rules! reasons {
    ($( $(#[doc = $doc:literal])* $reason:ident = $name:literal, )*) => {
        /// Why the connection of an encoder has ended; `docs/observe/metrics.md` lists them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum IngestEnd { $( $(#[doc = $doc])* $reason, )* }

        impl IngestEnd {
            pub const ALL: &'static [IngestEnd] = &[$(IngestEnd::$reason),*];

            /// The reason in metrics and logs.
            pub const fn name(self) -> &'static str {
                match self { $(IngestEnd::$reason => $name),* }
            }
        }
    };
}

reasons! {
    /// The encoder has stopped publishing.
    Unpublished = "unpublished",
    /// The encoder has closed the connection, or it broke.
    Closed = "closed",
    /// No publication was requested in time.
    Timeout = "timeout",
    /// No media were received for too long.
    Idle = "idle",
    /// The encoder did not read what was sent to it.
    Unread = "unread",
    /// The TLS handshake failed.
    Tls = "tls",
    /// The encoder violated the RTMP protocol.
    Protocol = "protocol",
    /// The URL's path is not `/app/`.
    UnknownApplication = "unknown_application",
    InvalidStreamKey = "invalid_stream_key",
    /// RTMP where the ingest configuration demands RTMPS.
    InvalidProtocol = "invalid_protocol",
    StreamKeyInUse = "stream_key_in_use",
    QuotaExceeded = "quota_exceeded",
    CapacityExceeded = "capacity_exceeded",
    Busy = "busy",
    Internal = "internal",
    /// Refused for another reason.
    Refused = "refused",
    BFramePresent = "b_frame_present",
    InvalidVideoCodec = "invalid_video_codec",
    InvalidAudioCodec = "invalid_audio_codec",
    ResolutionExceeded = "resolution_exceeded",
    BitrateExceeded = "bitrate_exceeded",
    InvalidInput = "invalid_input",
    /// Disconnected by DisconnectParticipant, or the ingest configuration was deleted.
    Disconnected = "disconnected",
    StageDeleted = "stage_deleted",
    /// Longer than `--stream-max-seconds`.
    DurationExceeded = "duration_exceeded",
    /// The participant was removed for another reason.
    Removed = "removed",
    /// The node of the stage's media could not be reached, or ended the relay.
    RelayFailed = "relay_failed",
    /// The server stops.
    Stopping = "stopping",
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Protocol {
    protocol: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    protocol: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Metrics of encoders.
#[derive(Debug)]
pub struct Ingest {
    connections: [Gauge; IngestTransport::ALL.len()],
    ended: Family<Ended, Counter>,
    repaired: Counter,
    dropped: Family<Reason, Counter>,
    switches: Family<Reason, Counter>,
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub struct OpenIngest(Gauge);

impl Drop for OpenIngest {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Ingest {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let connections = Family::<Protocol, Gauge>::default();
        let metrics = Ingest {
            connections: IngestTransport::ALL
                .map(|transport| connections.get_or_create_owned(&Protocol { protocol: transport.name() })),
            ended: Family::default(),
            repaired: Counter::default(),
            dropped: Family::default(),
            switches: Family::default(),
        };
        for transport in IngestTransport::ALL {
            for end in IngestEnd::ALL {
                metrics.ended.get_or_create_owned(&Ended { protocol: transport.name(), reason: end.name() });
            }
        }
        for reason in DropReason::ALL {
            metrics.dropped.get_or_create_owned(&Reason { reason: reason.as_str() });
        }
        for reason in [SwitchReason::Started, SwitchReason::Ended, SwitchReason::Stalled, SwitchReason::Restored] {
            metrics.switches.get_or_create_owned(&Reason { reason: switch_name(reason) });
        }
        registry.register("rtmp_connections", "Open connections of encoders on this node, by protocol", connections);
        let help = "Ended connections of encoders on this node, by protocol and reason";
        registry.register("rtmp_connections_ended", help, metrics.ended.clone());
        let help = "Timestamps of encoders that jumped or ran backwards, and were repaired";
        registry.register("rtmp_timestamps_repaired", help, metrics.repaired.clone());
        let help = "Frames of encoders that were dropped, by reason";
        registry.register("rtmp_frames_dropped", help, metrics.dropped.clone());
        let help = "Switches between redundant encoders, by reason";
        registry.register("rtmp_switches", help, metrics.switches.clone());
        metrics
    }

    /// Counts a connection as open.
    pub fn opened(&self, transport: IngestTransport) -> OpenIngest {
        let gauge = self.connections[transport as usize].clone();
        gauge.inc();
        OpenIngest(gauge)
    }

    /// Counts the end of a connection.
    pub fn ended(&self, transport: IngestTransport, end: IngestEnd) {
        self.ended.get_or_create_owned(&Ended { protocol: transport.name(), reason: end.name() }).inc();
    }

    /// Counts repaired timestamps.
    pub fn timestamps_repaired(&self, count: u64) {
        self.repaired.inc_by(count);
    }

    /// Counts dropped frames.
    pub fn frames_dropped(&self, reason: DropReason, count: u64) {
        self.dropped.get_or_create_owned(&Reason { reason: reason.as_str() }).inc_by(count);
    }

    /// Counts a switch from one redundant encoder to the other.
    pub fn switched(&self, reason: SwitchReason) {
        self.switches.get_or_create_owned(&Reason { reason: switch_name(reason) }).inc();
    }
}

fn switch_name(reason: SwitchReason) -> &'static str {
    match reason {
        SwitchReason::Started => "started",
        SwitchReason::Ended => "ended",
        SwitchReason::Stalled => "stalled",
        SwitchReason::Restored => "restored",
    }
}
