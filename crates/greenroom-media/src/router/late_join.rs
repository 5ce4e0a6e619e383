//! Subscribers of sources that send no key frames on request: whenever one needs a key frame, it is sent the last group of pictures.

use super::catch_up::Attempt;
use super::packet::{Delivery, SourcePacket};
use super::up_track::PacketInfo;
use super::{DownTrack, Router, Source, UpTrack};
use crate::{MediaKind, TransportId};
use std::time::Instant;

impl Router {
    /// When a subscriber that catches up with its source is sent the next packets.
    pub(crate) fn next_catch_up(&self, subscriber: TransportId) -> Option<Instant> {
        let source = self.sources.get(self.source_of.get(&subscriber)?)?;
        let index = source.subscribers.binary_search_by_key(&subscriber, |known| known.id).ok()?;
        source.subscribers[index].tracks.iter().filter_map(|track| Some(track.catch_up.as_ref()?.due())).min()
    }

    /// The packets that are due for a subscriber that catches up with its source.
    pub(crate) fn catch_up(&mut self, now: Instant, subscriber: TransportId) -> Vec<Delivery> {
        let Some((source, index)) = self.subscriber(subscriber) else { return Vec::new() };
        let tracks = source.subscribers[index].tracks.iter_mut().enumerate();
        tracks.flat_map(|(index, track)| track.take_due(now, index)).collect()
    }
}

impl Source {
    /// Whether a subscriber's request for a key frame can be met at all: by the source, or by a group that is kept.
    pub(super) fn can_meet_request(&self, now: Instant, subscriber: usize) -> bool {
        self.subscribers[subscriber].tracks.iter().filter(|track| track.kind == MediaKind::Video).any(|track| {
            let source = self.tracks.get(track.source_track);
            source.is_some_and(|source| source.takes_requests || track.may_catch_up(now))
        })
    }

    /// Sends a subscriber that joins the last groups of pictures, as far as they are kept.
    pub(super) fn start_catch_up(&mut self, now: Instant, subscriber: usize) {
        self.start_where(now, subscriber, |_| true);
    }

    /// Sends a subscriber that asks for a key frame the last group of pictures again, if the source sends none on request.
    pub(super) fn meet_request(&mut self, now: Instant, subscriber: usize) {
        self.start_where(now, subscriber, |source| !source.takes_requests);
    }

    fn start_where(&mut self, now: Instant, subscriber: usize, is_chosen: impl Fn(&UpTrack) -> bool) {
        let subscriber = &mut self.subscribers[subscriber];
        for track in &mut subscriber.tracks {
            let source = self.tracks.get(track.source_track).filter(|source| is_chosen(source));
            let Some((source, target)) = source.zip(track.target) else { continue };
            if let Some(layer) = source.kept_layer(now, target) {
                start(now, track, source, layer, subscriber.estimate);
            }
        }
    }
}

/// Starts to catch up with a layer when its packet arrives that cannot be forwarded, as nothing is sent of it yet: after a pause, or
/// when the layer that was sent has ended. Returns whether it has started.
pub(super) fn start_with(
    now: Instant,
    track: &mut DownTrack,
    source: &UpTrack,
    packet: &SourcePacket,
    estimate: Option<u64>,
) -> bool {
    let is_sent_other = track.current.is_some_and(|current| source.is_layer_live(now, current));
    !is_sent_other && start(now, track, source, packet.encoding, estimate)
}

fn start(now: Instant, track: &mut DownTrack, source: &UpTrack, layer: u8, estimate: Option<u64>) -> bool {
    if !track.may_catch_up(now) {
        return false;
    }
    let attempt = Attempt { estimate, ..track.next_attempt(now) };
    let catch_up = source.catch_up(now, layer, attempt);
    let has_started = catch_up.is_some();
    if let Some(catch_up) = catch_up {
        track.start_catch_up(now, layer, catch_up);
    }
    has_started
}

/// Keeps a packet of a source for those who join later; logs when the first group becomes too long for it.
pub(super) fn keep(
    source: TransportId,
    track: &mut UpTrack,
    packet: &SourcePacket,
    info: PacketInfo,
    captured: Instant,
) {
    if track.record_for_late_subscribers(packet, info, captured) {
        tracing::info!(transport.id = source.0, reason = "key-frame interval too long", "group of pictures not kept");
    }
}
