//! Statistics of transports, computed on request from the counters of transports and router.

use super::Sfu;
use crate::router::RoutedLayer;
use crate::transport::{Role, WebRtcTransport};
use crate::{
    ConnectionStats, LayerName, LayerStats, MediaCounters, MediaTotals, SentStats, TrackDirection, TrackStats,
    TransportId,
};
use std::ops::Bound;
use std::time::Instant;

impl Sfu {
    /// Statistics of the first `limit` transports after an id, ordered by id: a page, as many take time.
    pub fn statistics(&self, now: Instant, after: Option<TransportId>, limit: usize) -> Vec<ConnectionStats> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.transports.range((start, Bound::Unbounded)).map(|(id, _)| *id).take(limit);
        ids.filter_map(|id| self.connection_stats(now, id)).collect()
    }

    /// Statistics of a transport, if it exists.
    pub fn connection_stats(&self, now: Instant, id: TransportId) -> Option<ConnectionStats> {
        let transport = self.transports.get(&id)?;
        let (publisher, estimate, tracks) = match transport.role {
            Role::Publisher(_) => (None, None, self.received_tracks(now, id, transport)),
            Role::Subscriber => {
                let (estimate, tracks) = self.sent_tracks(now, id, transport);
                (self.router.source_of(id), estimate, tracks)
            }
        };
        let mut counters = MediaCounters::default();
        tracks.iter().for_each(|track| counters += track.counters);
        Some(ConnectionStats {
            id,
            publisher,
            age: transport.age(now),
            connected: transport.connected,
            ice_time: transport.ice_time(),
            dtls_time: transport.dtls_time(),
            path: transport.network_path(self.config.candidates.udp[0]),
            round_trip: transport.round_trip(),
            bitrate: transport.bitrate(now),
            estimate,
            tracks,
            counters,
        })
    }

    /// The counters of closed transports.
    pub fn closed_totals(&self) -> MediaTotals {
        self.closed
    }

    fn received_tracks(&self, now: Instant, id: TransportId, transport: &WebRtcTransport) -> Vec<TrackStats> {
        let tracks = self.router.tracks(id).iter().enumerate().map(|(index, track)| {
            let report = transport.section_report(index);
            let (layers, mut counters) = self.router.received(now, id, index);
            counters += report.counters;
            let layer = |layer: RoutedLayer| LayerStats {
                layer: named(transport, index, layer),
                live: layer.live,
                bitrate: layer.bitrate,
            };
            TrackStats {
                mid: transport.mid(index),
                kind: track.kind,
                codec: track.received_codec(),
                loss: report.loss,
                jitter: report.jitter,
                direction: TrackDirection::Received { layers: layers.into_iter().map(layer).collect() },
                counters,
            }
        });
        tracks.collect()
    }

    fn sent_tracks(
        &self,
        now: Instant,
        id: TransportId,
        transport: &WebRtcTransport,
    ) -> (Option<u64>, Vec<TrackStats>) {
        let publisher = self.router.source_of(id).and_then(|publisher| self.transports.get(&publisher));
        let (estimate, tracks) = self.router.forwarded(now, id);
        let tracks = tracks.into_iter().enumerate().filter_map(|(index, track)| {
            let report = transport.section_report(index);
            let name = |layer: Option<RoutedLayer>| Some(named(publisher?, track.source_track, layer?));
            let mut counters = track.counters;
            counters += report.counters;
            Some(TrackStats {
                mid: transport.mid(index),
                kind: transport.kind(index)?,
                codec: track.codec,
                loss: report.loss,
                jitter: report.jitter,
                direction: TrackDirection::Sent(SentStats {
                    wanted: name(track.wanted),
                    sent: name(track.sent),
                    limitation: track.limitation,
                    silent_for: track.silent_for,
                }),
                counters,
            })
        });
        (estimate, tracks.collect())
    }
}

fn named(publisher: &WebRtcTransport, track: usize, layer: RoutedLayer) -> LayerName {
    LayerName { name: publisher.layer_name(track, layer.encoding), resolution: layer.resolution }
}
