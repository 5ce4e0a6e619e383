//! The router: sources, their subscribers, and what each subscriber is sent.
//!
//! Packets come in from a source and go out to its subscribers with rewritten headers; key-frame requests go the other
//! way. The router knows no socket, no clock and no WebRTC: transports, recorders and other sources and sinks use it alike.

mod catch_up;
pub(crate) mod clock;
pub(crate) mod codec;
mod down_track;
mod gop_cache;
mod key_frames;
mod late_join;
mod loss;
pub(crate) mod packet;
mod probing;
pub(crate) mod rate;
mod redundancy;
mod selection;
mod statistics;
mod up_track;

pub(crate) use down_track::{DownTrack, PayloadTypeMapping};
pub(crate) use statistics::RoutedLayer;
pub(crate) use up_track::{MAX_LAYERS, UpTrack};

use crate::{MediaKind, Preferences, TransportId};
use clock::SourceClock;
use codec::FrameInfo;
use gop_cache::Cached;
use key_frames::KeyFrameBudget;
use loss::LossEstimator;
use packet::{Delivery, SourcePacket};
use probing::Prober;
use selection::{Candidate, LayerSelector, Limits};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How often the layers of a source's subscribers are chosen anew.
const SELECTION_INTERVAL: Duration = Duration::from_millis(20);
/// Below this estimate, audio is not sent redundantly: loss is more likely to come from too much than from too little.
const MIN_REDUNDANCY_ESTIMATE: u64 = 400_000;
/// The rate of a probe, in percent of the rate that is looked for: what is measured is a little lower than what is sent.
const PROBE_MARGIN: u64 = 125;

/// A packet that was routed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routed {
    pub(crate) frame: FrameInfo,
    /// Whether it is the first packet of its stream.
    pub(crate) is_new_stream: bool,
}

/// Why a packet was not routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRouted {
    /// Its source or track does not exist, or not its payload type.
    Unknown,
    /// Its stream is not that of its layer.
    StreamRejected,
}

#[derive(Debug)]
struct Source {
    tracks: Vec<UpTrack>,
    clock: SourceClock,
    /// Ordered by id.
    subscribers: Vec<Subscriber>,
    next_selection: Option<Instant>,
}

#[derive(Debug)]
struct Subscriber {
    id: TransportId,
    /// Whether packets can be delivered.
    connected: bool,
    tracks: Vec<DownTrack>,
    /// Estimated bits per second that it can receive, over all tracks.
    estimate: Option<u64>,
    /// The estimator of a subscriber that has no other one.
    loss: Option<LossEstimator>,
    /// Bits per second that it is sent.
    sent_bitrate: u64,
    selector: LayerSelector,
    key_frames: KeyFrameBudget,
    /// Bits per second that it needs for the next layer, with sound, if its estimate is lower.
    needed_bitrate: Option<u64>,
    prober: Prober,
}

#[derive(Debug, Default)]
pub(crate) struct Router {
    sources: BTreeMap<TransportId, Source>,
    /// The source of each subscriber.
    source_of: HashMap<TransportId, TransportId>,
    /// Subscribers that are to be probed for bits per second.
    probes: VecDeque<(TransportId, u64)>,
}

impl Router {
    pub(crate) fn add_source(&mut self, id: TransportId, tracks: Vec<UpTrack>) {
        let source = Source { tracks, clock: SourceClock::default(), subscribers: Vec::new(), next_selection: None };
        self.sources.insert(id, source);
    }

    /// The tracks of a source, in the order in which they were added.
    pub(crate) fn tracks(&self, source: TransportId) -> &[UpTrack] {
        self.sources.get(&source).map_or(&[], |source| &source.tracks)
    }

    /// Adds a subscriber, which gets packets once it is connected. No effect if the source does not exist.
    /// `estimate`: the bits per second that it can receive, if they are estimated.
    pub(crate) fn add_subscriber(
        &mut self,
        id: TransportId,
        source: TransportId,
        tracks: Vec<DownTrack>,
        estimate: Option<u64>,
    ) {
        let Some(entry) = self.sources.get_mut(&source) else { return };
        let subscriber = Subscriber {
            id,
            connected: false,
            tracks,
            estimate,
            loss: estimate.is_none().then(LossEstimator::default),
            sent_bitrate: 0,
            selector: LayerSelector::new(),
            key_frames: KeyFrameBudget::default(),
            needed_bitrate: None,
            prober: Prober::new(),
        };
        let at = entry.subscribers.partition_point(|other| other.id < id);
        entry.subscribers.insert(at, subscriber);
        entry.next_selection = None;
        self.source_of.insert(id, source);
    }

    /// Removes a source or subscriber; returns the subscribers of a source, which are removed as well.
    pub(crate) fn remove(&mut self, id: TransportId) -> Vec<TransportId> {
        if let Some(source) = self.source_of.remove(&id).and_then(|source| self.sources.get_mut(&source)) {
            source.subscribers.retain(|subscriber| subscriber.id != id);
        }
        let subscribers = self.sources.remove(&id).map(|source| source.subscribers).unwrap_or_default();
        let ids: Vec<_> = subscribers.iter().map(|subscriber| subscriber.id).collect();
        for id in &ids {
            self.source_of.remove(id);
        }
        ids
    }

    pub(crate) fn source_of(&self, subscriber: TransportId) -> Option<TransportId> {
        self.source_of.get(&subscriber).copied()
    }

    /// The subscribers of a source.
    pub(crate) fn subscribers(&self, source: TransportId) -> Vec<TransportId> {
        let subscribers = self.sources.get(&source).map(|source| source.subscribers.as_slice()).unwrap_or_default();
        subscribers.iter().map(|subscriber| subscriber.id).collect()
    }

    fn subscriber(&mut self, id: TransportId) -> Option<(&mut Source, usize)> {
        let source = self.sources.get_mut(self.source_of.get(&id)?)?;
        let index = source.subscribers.binary_search_by_key(&id, |subscriber| subscriber.id).ok()?;
        Some((source, index))
    }

    /// A subscriber is connected: it is sent packets from the next key frame on, which is requested.
    pub(crate) fn connected(&mut self, now: Instant, id: TransportId) {
        let Some((source, index)) = self.subscriber(id) else { return };
        source.subscribers[index].connected = true;
        source.select_all(now);
        source.request_key_frame(index);
        source.start_catch_up(now, index);
    }

    /// Requests a key frame for a subscriber that limits its requests itself.
    pub(crate) fn request_key_frame(&mut self, id: TransportId) {
        if let Some((source, index)) = self.subscriber(id) {
            source.request_key_frame(index);
        }
    }

    /// A subscriber asks for a key frame. If the source sends none on request, the subscriber is sent the last one again, with
    /// what followed.
    pub(crate) fn key_frame_requested(&mut self, now: Instant, id: TransportId) {
        let Some((source, index)) = self.subscriber(id) else { return };
        if source.can_meet_request(now, index) && source.subscribers[index].key_frames.take(now) {
            source.request_key_frame(index);
            source.meet_request(now, index);
        }
    }

    /// A subscriber's estimated bits per second.
    pub(crate) fn set_estimate(&mut self, now: Instant, id: TransportId, estimate: Option<u64>) {
        let Some((source, index)) = self.subscriber(id) else { return };
        tracing::debug!(transport.id = id.0, estimate, "bandwidth estimated");
        source.subscribers[index].estimate = estimate;
        source.select_all(now);
    }

    /// The share of packets that a subscriber has lost lately, in percent.
    pub(crate) fn record_loss(&mut self, now: Instant, id: TransportId, percent: u32) {
        let Some((source, index)) = self.subscriber(id) else { return };
        let has_choice = source.tracks.iter().any(|track| track.live_layers(now).len() > 1);
        let subscriber = &mut source.subscribers[index];
        if let Some(loss) = subscriber.loss.as_mut().filter(|_| has_choice) {
            subscriber.estimate = loss.record(now, percent, subscriber.sent_bitrate);
        }
        if subscriber.estimate.is_none_or(|estimate| estimate >= MIN_REDUNDANCY_ESTIMATE) {
            subscriber.tracks.iter_mut().for_each(|track| track.record_loss(now, percent));
        }
    }

    /// Sets what a subscriber wishes to be sent of one of its tracks, or of all.
    pub(crate) fn set_preferences(
        &mut self,
        now: Instant,
        id: TransportId,
        track: Option<usize>,
        preferences: Preferences,
    ) -> bool {
        let Some((source, index)) = self.subscriber(id) else { return false };
        let tracks = source.subscribers[index].tracks.iter_mut().enumerate();
        for (_, changed) in tracks.filter(|(number, _)| track.is_none_or(|track| track == *number)) {
            changed.preferences = preferences;
        }
        source.select_all(now);
        source.request_key_frame(index);
        true
    }

    /// The layers of a source's tracks to request key frames of now. Requests that are throttled stay pending.
    pub(crate) fn take_due_requests(&mut self, now: Instant, source: TransportId) -> Vec<(usize, u8)> {
        let Some(source) = self.sources.get_mut(&source) else { return Vec::new() };
        let tracks = source.tracks.iter_mut().enumerate();
        tracks
            .flat_map(|(index, track)| track.take_due_requests(now).into_iter().map(move |layer| (index, layer)))
            .collect()
    }

    /// When the next key-frame request of a source is due.
    pub(crate) fn next_request(&self, now: Instant, source: TransportId) -> Option<Instant> {
        self.sources.get(&source)?.tracks.iter().filter_map(|track| track.next_request(now)).min()
    }

    /// The next subscriber whose network is to be probed, and for how many bits per second.
    pub(crate) fn poll_probe(&mut self) -> Option<(TransportId, u64)> {
        self.probes.pop_front()
    }

    /// Routes a source's packet: calls `deliver` for each subscriber that is sent it.
    pub(crate) fn route(
        &mut self,
        now: Instant,
        id: TransportId,
        packet: &SourcePacket,
        mut deliver: impl FnMut(TransportId, Delivery),
    ) -> Result<Routed, NotRouted> {
        let source = self.sources.get_mut(&id).ok_or(NotRouted::Unknown)?;
        let track = source.tracks.get_mut(packet.track).ok_or(NotRouted::Unknown)?;
        let is_new_stream = !track.has_stream(packet.ssrc);
        if is_new_stream && !track.add_stream(now, packet.ssrc, packet.encoding) {
            return Err(NotRouted::StreamRejected);
        }
        let info = track.record_packet(now, packet).ok_or(NotRouted::Unknown)?;
        let clock_rate = track.kind.clock_rate();
        let Some(layer) = track.layer(packet.encoding) else { return Err(NotRouted::Unknown) };
        let captured = source.clock.capture_time(now, &mut layer.clock, packet, clock_rate);
        late_join::keep(id, track, packet, info, captured);
        // A key frame may be where a subscriber changes to its layer.
        if is_new_stream || info.frame.resolution.is_some() || source.next_selection.is_none_or(|at| at <= now) {
            source.select_all(now);
            self.probes.extend(source.take_probes(now));
        }
        let mut wanted = false;
        let up_track = &source.tracks[packet.track];
        for subscriber in source.subscribers.iter_mut().filter(|subscriber| subscriber.connected) {
            let Some(index) = subscriber.tracks.iter().position(|track| track.source_track == packet.track) else {
                continue;
            };
            let track = &mut subscriber.tracks[index];
            let mut is_kept = false;
            if track.current != Some(packet.encoding) {
                if track.target != Some(packet.encoding) {
                    continue;
                }
                is_kept =
                    !info.frame.is_key && late_join::start_with(now, track, up_track, packet, subscriber.estimate);
                if !info.frame.is_key && !is_kept {
                    wanted = true;
                    continue;
                }
                track.current = Some(packet.encoding);
            }
            if let Some(catch_up) = &mut track.catch_up {
                if !is_kept {
                    catch_up.push(Cached { packet: packet.clone(), info, captured });
                }
                track.take_due(now, index).into_iter().for_each(|delivery| deliver(subscriber.id, delivery));
            } else if let Some(delivery) = track.deliver(now, index, packet, info, captured) {
                deliver(subscriber.id, delivery);
            } else {
                wanted |= track.target == Some(packet.encoding) && track.mapping(packet.payload_type).is_some();
            }
        }
        if wanted && let Some(layer) = source.tracks[packet.track].layer(packet.encoding) {
            layer.key_frame_requested = true;
        }
        Ok(Routed { frame: info.frame, is_new_stream })
    }
}

impl Source {
    /// Chooses the layers of all subscribers.
    fn select_all(&mut self, now: Instant) {
        self.next_selection = Some(now + SELECTION_INTERVAL);
        let live: Vec<Vec<Candidate>> = self.tracks.iter().map(|track| candidates(now, track)).collect();
        let audio = self.tracks.iter().zip(&live).filter(|(track, _)| track.kind == MediaKind::Audio);
        let audio: u64 = audio.flat_map(|(_, live)| live).map(|layer| layer.bitrate).sum();
        for subscriber in &mut self.subscribers {
            subscriber.select(now, &live, audio);
        }
    }

    /// Requests a key frame of what a subscriber is to be sent.
    fn request_key_frame(&mut self, subscriber: usize) {
        for track in &self.subscribers[subscriber].tracks {
            let Some(encoding) = track.target.or(track.current) else { continue };
            if let Some(layer) = self.tracks.get_mut(track.source_track).and_then(|up| up.layer(encoding)) {
                layer.key_frame_requested = true;
            }
        }
    }

    /// The probes that are due, in bits per second.
    fn take_probes(&mut self, now: Instant) -> Vec<(TransportId, u64)> {
        let mut probes = Vec::new();
        for subscriber in self.subscribers.iter_mut().filter(|subscriber| subscriber.connected) {
            // A probe repeats media that were sent.
            let is_sent = subscriber.tracks.iter().any(|track| track.kind == MediaKind::Video && track.has_sent());
            let needed = subscriber.needed_bitrate.filter(|_| is_sent);
            if subscriber.prober.take(now, needed) {
                probes.extend(needed.map(|needed| (subscriber.id, needed * PROBE_MARGIN / 100)));
            }
        }
        probes
    }
}

impl Subscriber {
    /// Chooses the layer of each track. `live`: the live layers of the source's tracks; `audio`: the bitrate of its sound.
    fn select(&mut self, now: Instant, live: &[Vec<Candidate>], audio: u64) {
        let lowest = self.key_frames.is_exceeded(now);
        let has_audio = self.tracks.iter().any(|track| track.kind == MediaKind::Audio && !track.preferences.paused);
        let audio = if has_audio { audio } else { 0 };
        (self.needed_bitrate, self.sent_bitrate) = (None, audio);
        for track in &mut self.tracks {
            let Preferences { max_height, paused } = track.preferences;
            let live = live.get(track.source_track).map_or(&[][..], Vec::as_slice);
            let bitrate = self.estimate.map(|estimate| estimate.saturating_sub(audio));
            let target = match track.kind {
                _ if paused => None,
                MediaKind::Audio => live.first().map(|layer| layer.encoding).or(track.target),
                MediaKind::Video => {
                    let limits = Limits { bitrate, max_lines: max_height, lowest, paused };
                    self.selector.select(now, live, limits)
                }
            };
            let rate = |encoding: Option<u8>| live.iter().find(|layer| Some(layer.encoding) == encoding);
            // A layer far above the estimate only fills the network's queues until the next key frame of the lower one.
            let is_excessive = rate(track.current).zip(bitrate).is_some_and(|(layer, bitrate)| {
                rate(target).is_some_and(|target| target.bitrate < layer.bitrate) && bitrate * 10 < layer.bitrate * 7
            });
            if target.is_none() || is_excessive && target != track.current {
                track.stop();
            }
            if paused {
                track.forwarded.pause();
            }
            if track.kind == MediaKind::Video && track.target != target {
                let (estimate, layer) = (self.estimate, target);
                tracing::debug!(transport.id = self.id.0, layer, former = track.target, estimate, "layer chosen");
            }
            track.target = target;
            if track.kind == MediaKind::Video {
                self.sent_bitrate += rate(track.current).map_or(0, |layer| layer.bitrate);
            }
            if track.kind == MediaKind::Video && !paused {
                let next = self.selector.next_bitrate(live, max_height).map(|next| next + audio);
                self.needed_bitrate = next.filter(|next| self.estimate.is_some_and(|estimate| estimate < *next));
            }
        }
    }
}

fn candidates(now: Instant, track: &UpTrack) -> Vec<Candidate> {
    let candidate = |layer: &&up_track::Layer| Candidate {
        encoding: layer.encoding,
        lines: layer.lines(),
        bitrate: layer.rate.bitrate(now),
    };
    track.live_layers(now).iter().map(candidate).collect()
}
