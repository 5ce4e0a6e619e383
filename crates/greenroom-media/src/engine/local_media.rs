//! Sources and sinks in this process.

use super::Sfu;
use crate::local::{LocalSource, MAX_SOURCE_TRACKS, PAYLOAD_TYPE, sink, source_packet};
use crate::router::{DownTrack, PayloadTypeMapping, UpTrack};
use crate::sdp::negotiated::{NegotiatedPayload, SourceFormats};
use crate::{KeyFrameRequest, MediaPacket, MediaSink, MediaTrack, OfferError, TransportId};
use std::time::Instant;
use tokio::sync::mpsc;

impl Sfu {
    /// Adds a source, which is subscribed to as a publisher is. `requests` receives the key-frame requests of its subscribers;
    /// without it, they are sent the last group of pictures when they join or ask for a key frame.
    pub fn add_source(
        &mut self,
        now: Instant,
        id: TransportId,
        tracks: &[MediaTrack],
        requests: Option<mpsc::Sender<KeyFrameRequest>>,
    ) -> Result<(), OfferError> {
        self.check_new(id)?;
        if tracks.is_empty() || tracks.len() > MAX_SOURCE_TRACKS {
            return Err(OfferError::Unsupported(format!("a source has 1 to {MAX_SOURCE_TRACKS} tracks")));
        }
        let formats = |track: &MediaTrack| SourceFormats {
            kind: track.kind,
            payloads: vec![NegotiatedPayload::local(PAYLOAD_TYPE, track.codec)],
        };
        let takes_requests = requests.is_some();
        let up_track = |track: &MediaTrack| UpTrack::new(track.kind, vec![(PAYLOAD_TYPE, track.codec)], takes_requests);
        self.source_formats.insert(id, tracks.iter().map(formats).collect());
        self.router.add_source(id, tracks.iter().map(up_track).collect());
        self.local_sources.insert(id, LocalSource::new(now, requests));
        Ok(())
    }

    /// Forwards a packet of a source that [`Sfu::add_source`] added. A packet of an unknown source or track is dropped.
    pub fn push(&mut self, now: Instant, source: TransportId, packet: MediaPacket) {
        if !self.local_sources.contains_key(&source) {
            return;
        }
        let packet = source_packet(packet);
        // What is not routed has no subscriber, either.
        if self.route(now, source, &packet).is_ok_and(|routed| routed.is_new_stream) {
            self.record_layer(source, &packet);
        }
        self.start_probes(now);
        self.send_key_frame_requests(now, source);
    }

    /// Adds a sink for all that a publisher or another source sends, with a queue of `capacity` packets.
    pub fn add_sink(
        &mut self,
        now: Instant,
        id: TransportId,
        source: TransportId,
        capacity: usize,
    ) -> Result<MediaSink, OfferError> {
        self.check_new(id)?;
        let formats = self.source_formats.get(&source).ok_or(OfferError::PublisherNotFound)?;
        let mut tracks = Vec::new();
        let mut sink_tracks = Vec::new();
        let mut sink_formats = Vec::new();
        for (index, (formats, up_track)) in formats.iter().zip(self.router.tracks(source)).enumerate() {
            let identity = |payload: &NegotiatedPayload| PayloadTypeMapping {
                from: *payload.pt,
                to: *payload.pt,
                has_rtx: false,
                red: None,
            };
            tracks.push(DownTrack::new(formats.kind, index, formats.payloads.iter().map(identity).collect()));
            let expected =
                formats.payloads.iter().find(|payload| Some(*payload.pt) == up_track.expected_payload_type());
            let Some(payload) = expected else { return Err(OfferError::CodecMismatch) };
            sink_tracks.push(MediaTrack { kind: formats.kind, codec: payload.codec });
            sink_formats.push(formats.payloads.iter().map(|payload| (*payload.pt, payload.codec)).collect());
        }
        let (queue, sink) = sink(sink_tracks, sink_formats, capacity);
        self.router.add_subscriber(id, source, tracks, None);
        self.sinks.insert(id, queue);
        self.router.connected(now, id);
        // What it has missed need not be paced, as far as the queue takes it; the rest follows with the source's next packets.
        let mut left = capacity / 2;
        while let Some(due) = self.router.next_catch_up(id).filter(|_| left > 0) {
            left = left.saturating_sub(self.catch_up(due, id).max(1));
        }
        self.send_key_frame_requests_of_source(now, id);
        self.process_pending(now);
        Ok(sink)
    }

    /// Removes a source, whose subscribers are closed, or a sink.
    pub(super) fn remove_local(&mut self, now: Instant, id: TransportId) {
        let is_source = self.local_sources.remove(&id).is_some();
        if self.sinks.remove(&id).is_some() || is_source {
            self.remove_source_or_subscriber(now, id);
        }
    }
}
