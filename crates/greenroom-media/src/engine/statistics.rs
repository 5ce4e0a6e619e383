//! Statistics of transports and of sources in this process, computed on request from the counters of transports and router.

use super::Sfu;
use crate::local::LocalSource;
use crate::router::{RoutedLayer, UpTrack};
use crate::transport::{Role, WebRtcTransport};
use crate::{
    ConnectionStats, LayerName, LayerStats, MediaCounters, MediaTotals, SentStats, TrackDirection, TrackStats,
    TransportId,
};
use std::ops::Bound;
use std::time::Instant;

impl Sfu {
    /// Statistics of the first `limit` transports and sources after an id, ordered by id: a page, as many take time.
    pub fn statistics(&self, now: Instant, after: Option<TransportId>, limit: usize) -> Vec<ConnectionStats> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let transports = self.transports.range(range).map(|(id, _)| *id).take(limit);
        let sources = self.local_sources.range(range).map(|(id, _)| *id).take(limit);
        let mut ids: Vec<TransportId> = transports.chain(sources).collect();
        ids.sort_unstable();
        ids.into_iter().take(limit).filter_map(|id| self.connection_stats(now, id)).collect()
    }

    /// Statistics of a transport or source, if it exists.
    pub fn connection_stats(&self, now: Instant, id: TransportId) -> Option<ConnectionStats> {
        if let Some(source) = self.local_sources.get(&id) {
            return Some(self.source_stats(now, id, source));
        }
        let transport = self.transports.get(&id)?;
        let (publisher, estimate, tracks) = match transport.role {
            Role::Publisher(_) => (None, None, self.received_tracks(now, id, transport)),
            Role::Subscriber => {
                let (estimate, tracks) = self.sent_tracks(now, id, transport);
                (self.router.source_of(id), estimate, tracks)
            }
        };
        let counters = sum(&tracks);
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

    /// Statistics of a source in this process. It has no network of its own.
    fn source_stats(&self, now: Instant, id: TransportId, source: &LocalSource) -> ConnectionStats {
        let tracks: Vec<TrackStats> =
            (0..self.router.tracks(id).len()).filter_map(|index| self.source_track(now, id, index)).collect();
        let layers = tracks.iter().flat_map(|track| match &track.direction {
            TrackDirection::Received { layers } => layers.as_slice(),
            TrackDirection::Sent(_) => &[],
        });
        let bitrate = layers.map(|layer| layer.bitrate).sum();
        let counters = sum(&tracks);
        ConnectionStats {
            id,
            publisher: None,
            age: source.age(now),
            connected: true,
            ice_time: None,
            dtls_time: None,
            path: None,
            round_trip: None,
            bitrate,
            estimate: None,
            tracks,
            counters,
        }
    }

    fn source_track(&self, now: Instant, id: TransportId, index: usize) -> Option<TrackStats> {
        let track = self.router.tracks(id).get(index)?;
        let (layers, counters) = self.router.received(now, id, index);
        Some(TrackStats {
            mid: index.to_string(),
            kind: track.kind,
            codec: track.received_codec(),
            loss: None,
            jitter: None,
            direction: self.received_layers(id, index, layers),
            counters,
        })
    }

    fn received_layers(&self, source: TransportId, track: usize, layers: Vec<RoutedLayer>) -> TrackDirection {
        let layer = |layer: RoutedLayer| LayerStats {
            layer: self.named(source, track, layer),
            live: layer.live,
            bitrate: layer.bitrate,
        };
        TrackDirection::Received { layers: layers.into_iter().map(layer).collect() }
    }

    /// A layer of a publisher by its RID, or of a source in this process by its number.
    fn named(&self, source: TransportId, track: usize, layer: RoutedLayer) -> LayerName {
        let has_layers = || self.router.tracks(source).get(track).is_some_and(UpTrack::has_layers);
        let name = match self.transports.get(&source) {
            Some(publisher) => publisher.layer_name(track, layer.encoding),
            None if has_layers() => layer.encoding.to_string(),
            None => String::new(),
        };
        LayerName { name, resolution: layer.resolution }
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
            TrackStats {
                mid: transport.mid(index),
                kind: track.kind,
                codec: track.received_codec(),
                loss: report.loss,
                jitter: report.jitter,
                direction: self.received_layers(id, index, layers),
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
        let source = self.router.source_of(id);
        let (estimate, tracks) = self.router.forwarded(now, id);
        let tracks = tracks.into_iter().enumerate().filter_map(|(index, track)| {
            let report = transport.section_report(index);
            let name = |layer: Option<RoutedLayer>| Some(self.named(source?, track.source_track, layer?));
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

fn sum(tracks: &[TrackStats]) -> MediaCounters {
    let mut counters = MediaCounters::default();
    tracks.iter().for_each(|track| counters += track.counters);
    counters
}
