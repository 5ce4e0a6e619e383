//! Forwarding of RTP packets from publishers to subscribers, and of key-frame requests the other way.

use super::Sfu;
use crate::ivs_limits;
use crate::local::SinkQueue;
use crate::router::packet::{Delivery, SourcePacket};
use crate::router::{NotRouted, Routed};
use crate::transport::{Role, WebRtcTransport};
use crate::{CloseReason, MediaEvent, TransportId};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;
use str0m::rtp::RtpPacket;

/// Where deliveries go.
struct Outputs<'a> {
    transports: &'a mut BTreeMap<TransportId, Box<WebRtcTransport>>,
    sinks: &'a mut HashMap<TransportId, SinkQueue>,
    unflushed: &'a mut VecDeque<TransportId>,
    queued_packets: &'a mut usize,
}

impl Outputs<'_> {
    /// Returns false if the subscriber is gone.
    fn deliver(&mut self, now: Instant, subscriber: TransportId, delivery: Delivery) -> bool {
        let Some(transport) = self.transports.get_mut(&subscriber) else {
            return self.sinks.get(&subscriber).is_some_and(|sink| sink.push(delivery));
        };
        transport.write(now, delivery);
        *self.queued_packets += 1;
        if transport.queued_at.replace(now).is_none() {
            self.unflushed.push_back(subscriber);
        }
        true
    }
}

impl Sfu {
    /// Sends the publisher of a subscriber the key-frame requests that are pending and not throttled.
    pub(super) fn send_key_frame_requests_of_source(&mut self, now: Instant, subscriber: TransportId) {
        let Some(publisher) = self.router.source_of(subscriber) else { return };
        self.send_key_frame_requests(now, publisher);
        self.drive(now, publisher);
    }

    /// Sends a publisher the key-frame requests that are pending and not throttled; returns whether there were any.
    pub(super) fn send_key_frame_requests(&mut self, now: Instant, publisher: TransportId) -> bool {
        let due = self.router.take_due_requests(now, publisher);
        if let Some(transport) = self.transports.get_mut(&publisher).filter(|_| !due.is_empty()) {
            transport.send_plis(&due);
        } else if let Some(source) = self.local_sources.get(&publisher) {
            source.request_key_frames(&due);
        }
        !due.is_empty()
    }

    /// Sends a subscriber that catches up with its publisher the packets that are due; returns how many.
    pub(super) fn catch_up(&mut self, now: Instant, id: TransportId) -> usize {
        let due = self.router.catch_up(now, id);
        let count = due.len();
        for delivery in due {
            self.outputs().deliver(now, id, delivery);
        }
        count
    }

    /// Routes a source's packet to its subscribers.
    pub(super) fn route(&mut self, now: Instant, id: TransportId, packet: &SourcePacket) -> Result<Routed, NotRouted> {
        let Sfu { router, transports, sinks, unflushed, queued_packets, .. } = self;
        let mut outputs = Outputs { transports, sinks, unflushed, queued_packets };
        let (mut gone, mut key_frames) = (Vec::new(), Vec::new());
        let routed = router.route(now, id, packet, |subscriber, delivery| {
            if !outputs.deliver(now, subscriber, delivery) {
                gone.push(subscriber);
            } else if outputs.sinks.get(&subscriber).is_some_and(SinkQueue::take_key_frame_request) {
                key_frames.push(subscriber);
            }
        });
        gone.into_iter().for_each(|sink| self.remove_local(now, sink));
        key_frames.into_iter().for_each(|sink| self.router.request_key_frame(sink));
        routed
    }

    /// Records the first packet of a stream: with a second layer, there is a choice, and the bandwidth of those who join from now
    /// on is estimated.
    pub(super) fn record_layer(&mut self, source: TransportId, packet: &SourcePacket) {
        if packet.encoding > 0 {
            self.simulcast_publishers().insert(source);
        }
    }

    fn outputs(&mut self) -> Outputs<'_> {
        let Sfu { transports, sinks, unflushed, queued_packets, .. } = self;
        Outputs { transports, sinks, unflushed, queued_packets }
    }

    /// Forwards a publisher's packet to its subscribers.
    pub(super) fn forward(&mut self, now: Instant, id: TransportId, packet: &RtpPacket) {
        let strict = self.config.strict_ivs;
        let ssrc = packet.header.ssrc;
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let Role::Publisher(publisher) = &mut transport.role else { return };
        if !std::mem::replace(&mut publisher.media_received, true) {
            self.events.push_back(MediaEvent::MediaStarted(id));
        }
        let bytes = packet.payload.len() + packet.header.header_len;
        if publisher.bitrate.add_and_check(now, bytes) && strict {
            return self.close_transport(now, id, CloseReason::BitrateExceeded);
        }
        let Some(source_packet) = transport.source_packet(packet) else { return transport.restore_stream(ssrc) };
        let routed = self.route(now, id, &source_packet);
        let routed = match routed {
            Ok(routed) => routed,
            Err(NotRouted::Unknown) => return,
            Err(NotRouted::StreamRejected) => {
                if let Some(transport) = self.transports.get_mut(&id) {
                    transport.restore_stream(ssrc);
                }
                return;
            }
        };
        if let Some(reason) = ivs_limits::check_frame(routed.frame).filter(|_| strict) {
            return self.close_transport(now, id, reason);
        }
        if routed.is_new_stream {
            self.record_layer(id, &source_packet);
            if let Some(transport) = self.transports.get_mut(&id) {
                transport.accept_stream(&source_packet);
            }
        }
        self.start_probes(now);
        match self.send_key_frame_requests(now, id) || routed.is_new_stream {
            true => self.drive(now, id),
            // The library has nothing new to send.
            false => self.reschedule(now, id),
        }
    }
}
