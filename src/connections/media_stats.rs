//! Statistics of media: samples for the metrics, and the connections of a stage as JSON.

use super::Connections;
use super::registry::Connection;
use super::stage::StageKey;
use crate::app::connections::MediaQuery;
use crate::domain::admission::{Intent, VerifiedToken};
use crate::metrics::{MediaQuality, MediaRole, MediaSample, MediaTotals};
use crate::model::fault::{Fault, RejectionKind};
use greenroom_media::{
    CloseReason, ConnectionStats, LayerName, LayerStats, Limitation, MediaCounters, MediaKind, SentStats,
    TrackDirection, TrackStats, TransportId,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tracing::Span;
use tracing::field::Empty;

/// Interval of the samples for the metrics.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);

impl Connections {
    /// Samples the statistics of all media connections for the metrics.
    pub(super) async fn sample_media(self: Arc<Self>) {
        // The series exist from the start.
        record_limitations(&self.app.metrics().media_quality, &[]);
        let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.media.statistics().await {
                Ok((connections, mut totals)) => {
                    connections.iter().for_each(|stats| totals.add(stats));
                    let quality = &self.app.metrics().media_quality;
                    quality.set_totals(MediaRole::Publish, &metric_totals(&totals.published));
                    quality.set_totals(MediaRole::Subscribe, &metric_totals(&totals.subscribed));
                    record_samples(quality, &connections);
                    record_limitations(quality, &connections);
                }
                // The readiness check reports a media thread that does not answer.
                Err(error) => tracing::debug!(%error, "media statistics not sampled"),
            }
        }
    }

    /// Starts the span of the setup of a media connection, whose offer has been answered.
    pub(super) fn begin_setup(&self, id: &str) {
        if let Some(connection) = self.registry().connections.get_mut(id) {
            let Connection { token, intent, .. } = &*connection;
            connection.setup = Some(tracing::info_span!(
                "media setup",
                role = role(intent).name(),
                connection.id = id,
                stage.id = token.stage,
                participant.id = token.participant,
                outcome = Empty,
                error.r#type = Empty,
                ice.duration_ms = Empty,
                dtls.duration_ms = Empty,
                network.local.address = Empty,
                network.peer.address = Empty,
                network.transport = Empty,
                otel.status_code = Empty,
            ));
        }
    }

    /// Ends the span of a setup that has succeeded, with its times, and counts them.
    pub(super) fn setup_finished(self: &Arc<Self>, id: &str, transport: TransportId) {
        let Some((span, role)) = self.take_setup(id) else { return };
        let connections = self.clone();
        self.tasks.spawn(async move {
            span.record("outcome", "connected");
            let stats = connections.media.statistics_of(&[transport]).await;
            // It may have been closed meanwhile.
            let Some(stats) = stats.ok().and_then(|stats| stats.into_iter().next()) else { return };
            let milliseconds = |time: Option<Duration>| time.map(|time| time.as_micros() as f64 / 1e3);
            span.record("ice.duration_ms", milliseconds(stats.ice_time));
            span.record("dtls.duration_ms", milliseconds(stats.dtls_time));
            if let Some(path) = stats.path {
                span.record("network.local.address", path.local.to_string());
                span.record("network.peer.address", path.remote.to_string());
                span.record("network.transport", path.protocol);
            }
            if let (Some(ice), Some(dtls)) = (stats.ice_time, stats.dtls_time) {
                let quality = &connections.app.metrics().media_quality;
                quality.set_up(role, ice.as_secs_f64(), dtls.as_secs_f64());
            }
        });
    }

    /// Ends the span of a setup that has not succeeded. No effect on a connection that was connected.
    pub(super) fn setup_ended(&self, id: &str, reason: CloseReason) {
        let Some((span, _)) = self.take_setup(id) else { return };
        match reason {
            CloseReason::Failed(failure) => {
                span.record("outcome", "failed");
                span.record("error.type", failure.reason.name());
                span.record("otel.status_code", "ERROR");
            }
            _ => {
                span.record("outcome", "closed");
            }
        }
    }

    fn take_setup(&self, id: &str) -> Option<(Span, MediaRole)> {
        let mut registry = self.registry();
        let connection = registry.connections.get_mut(id)?;
        Some((connection.setup.take()?, role(&connection.intent)))
    }

    /// The media connections of a stage on this node, as JSON: `connections`, and `next` if there are more.
    pub async fn media_stats(&self, query: MediaQuery) -> Result<Value, Fault> {
        let key = StageKey { scope: query.scope, id: query.stage };
        let mut owners: Vec<(TransportId, String, Arc<VerifiedToken>, Intent)> = {
            let registry = self.registry();
            let media = registry.media_of(&key, query.participant.as_deref()).into_iter();
            let page = media.filter(|(transport, ..)| transport.0 > query.after).take(query.limit + 1);
            page.map(|(transport, id, connection)| (transport, id, connection.token.clone(), connection.intent.clone()))
                .collect()
        };
        let is_cut = owners.len() > query.limit;
        owners.truncate(query.limit);
        let next = owners.last().map(|(transport, ..)| transport.0).filter(|_| is_cut);
        let transports: Vec<_> = owners.iter().map(|(transport, ..)| *transport).collect();
        let stats = self.media.statistics_of(&transports).await;
        let stats =
            stats.map_err(|_| Fault::rejected(RejectionKind::Unavailable, "The media thread is busy; try again"))?;
        let stats: HashMap<_, _> = stats.into_iter().map(|stats| (stats.id, stats)).collect();
        let shown = owners.iter().filter_map(|(transport, id, token, intent)| {
            // A connection may have ended meanwhile.
            Some(connection_json(id, token, intent, stats.get(transport)?))
        });
        Ok(json!({
            "node": self.app.settings().participation.node_url,
            "connections": shown.collect::<Vec<_>>(),
            "next": next,
        }))
    }
}

fn role(intent: &Intent) -> MediaRole {
    match intent {
        Intent::Subscribe(_) => MediaRole::Subscribe,
        Intent::Publish | Intent::Events => MediaRole::Publish,
    }
}

fn metric_totals(counters: &MediaCounters) -> MediaTotals {
    MediaTotals {
        packets: counters.packets,
        bytes: counters.bytes,
        lost: counters.lost,
        retransmitted: counters.retransmitted,
        nacks: counters.nacks,
        key_frame_requests: counters.key_frame_requests,
        freezes: counters.freezes,
        freeze_seconds: counters.freeze_time.as_secs_f64(),
    }
}

fn record_samples(quality: &MediaQuality, connections: &[ConnectionStats]) {
    for stats in connections.iter().filter(|stats| stats.connected) {
        let role = if stats.publisher.is_some() { MediaRole::Subscribe } else { MediaRole::Publish };
        let seconds = |time: Duration| time.as_secs_f64();
        let losses = stats.tracks.iter().filter_map(|track| track.loss).map(f64::from);
        let sample = MediaSample {
            round_trip_seconds: stats.round_trip.map(seconds),
            jitter_seconds: stats.tracks.iter().filter_map(|track| track.jitter).max().map(seconds),
            loss_ratio: losses.reduce(f64::max),
            bits_per_second: stats.bitrate as f64,
            estimated_bits_per_second: stats.estimate.map(|estimate| estimate as f64),
        };
        quality.observe(role, &sample);
    }
}

fn record_limitations(quality: &MediaQuality, connections: &[ConnectionStats]) {
    let tracks = || connections.iter().filter(|stats| stats.connected).flat_map(|stats| &stats.tracks);
    for limitation in Limitation::ALL {
        let is_limited = |track: &&TrackStats| {
            let is_sent = matches!(&track.direction, TrackDirection::Sent(sent) if sent.limitation == limitation);
            track.kind == MediaKind::Video && is_sent
        };
        quality.set_limited(limitation.name(), tracks().filter(is_limited).count());
    }
}

fn seconds(time: Option<Duration>) -> Value {
    // Microseconds are exact enough, and short.
    time.map(|time| time.as_micros() as f64 / 1e6).into()
}

fn connection_json(id: &str, token: &VerifiedToken, intent: &Intent, stats: &ConnectionStats) -> Value {
    let remote = match intent {
        Intent::Subscribe(remote) => Some(remote),
        Intent::Publish | Intent::Events => None,
    };
    let path = stats.path.map(
        |path| json!({"local": path.local.to_string(), "remote": path.remote.to_string(), "protocol": path.protocol}),
    );
    json!({
        "sequence": stats.id.0,
        "connectionId": id,
        "participantId": token.participant,
        "userId": token.user_id,
        "role": role(intent).name(),
        "remoteParticipantId": remote,
        "connected": stats.connected,
        "ageSeconds": seconds(Some(stats.age)),
        "iceSeconds": seconds(stats.ice_time),
        "dtlsSeconds": seconds(stats.dtls_time),
        "candidatePair": path,
        "roundTripSeconds": seconds(stats.round_trip),
        "bitsPerSecond": stats.bitrate,
        "estimatedBitsPerSecond": stats.estimate,
        "tracks": stats.tracks.iter().map(track_json).collect::<Vec<_>>(),
    })
}

fn track_json(track: &TrackStats) -> Value {
    let MediaCounters {
        packets,
        bytes,
        lost,
        retransmitted,
        nacks,
        key_frame_requests,
        key_frames,
        freezes,
        freeze_time,
    } = track.counters;
    let mut json = json!({
        "mediaId": track.mid,
        "kind": if track.kind == MediaKind::Audio { "audio" } else { "video" },
        "codec": track.codec.map(|codec| codec.name()),
        // Reported in 256ths.
        "lossRatio": track.loss.map(|loss| (f64::from(loss) * 1e4).round() / 1e4),
        "jitterSeconds": seconds(track.jitter),
        "packets": packets,
        "bytes": bytes,
        "packetsLost": lost,
        "nacks": nacks,
        "keyFrameRequests": key_frame_requests,
    });
    match &track.direction {
        TrackDirection::Received { layers } => {
            json["keyFrames"] = key_frames.into();
            json["layers"] = layers.iter().map(received_layer_json).collect();
        }
        TrackDirection::Sent(SentStats { wanted, sent, limitation, silent_for }) => {
            json["packetsRetransmitted"] = retransmitted.into();
            json["freezes"] = freezes.into();
            json["freezeSeconds"] = seconds(Some(freeze_time));
            json["wantedLayer"] = wanted.as_ref().map(layer_json).into();
            json["sentLayer"] = sent.as_ref().map(layer_json).into();
            json["limitation"] = limitation.name().into();
            json["silentSeconds"] = seconds(*silent_for);
        }
    }
    json
}

fn layer_json(LayerName { name, resolution }: &LayerName) -> Value {
    json!({
        "encodingId": name,
        "width": resolution.map(|(width, _)| width),
        "height": resolution.map(|(_, height)| height),
    })
}

fn received_layer_json(LayerStats { layer, live, bitrate }: &LayerStats) -> Value {
    let mut json = layer_json(layer);
    json["live"] = (*live).into();
    json["bitsPerSecond"] = (*bitrate).into();
    json
}
