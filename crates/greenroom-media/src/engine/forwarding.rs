//! Forwarding of RTP packets from publishers to subscribers, and of key-frame requests the other way.

use super::Sfu;
use crate::down_track::SourcePacket;
use crate::ivs_limits;
use crate::sdp::MediaKind;
use crate::transport::Role;
use crate::up_track::PacketInfo;
use crate::{CloseReason, Codec, MediaEvent, TransportId};
use std::time::Instant;
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};

impl Sfu {
    /// Requests a key frame of a subscriber's publisher, on all video tracks.
    pub(super) fn request_key_frame(&mut self, now: Instant, subscriber: TransportId) {
        let role = self.transports.get(&subscriber).map(|transport| &transport.role);
        let Some(Role::Subscriber { publisher, .. }) = role else { return };
        let id = *publisher;
        let Some(transport) = self.transports.get_mut(&id) else { return };
        if let Role::Publisher(publisher) = &mut transport.role {
            publisher.tracks.iter_mut().for_each(|track| track.request_key_frame(now));
        }
        self.send_key_frame_requests(now, id);
        self.drive(now, id);
    }

    /// Sends a publisher the key-frame requests that are pending and not throttled; returns whether there were any.
    pub(super) fn send_key_frame_requests(&mut self, now: Instant, publisher: TransportId) -> bool {
        let Some(transport) = self.transports.get_mut(&publisher) else { return false };
        let Role::Publisher(publisher) = &mut transport.role else { return false };
        let due = publisher.tracks.iter_mut().flat_map(|track| {
            let mid = track.mid;
            track.take_due_requests(now).into_iter().map(move |rid| (mid, rid))
        });
        let due: Vec<_> = due.collect();
        transport.send_plis(&due);
        !due.is_empty()
    }

    /// Forwards a publisher's packet to its subscribers.
    pub(super) fn forward(&mut self, now: Instant, id: TransportId, packet: &RtpPacket) {
        let strict = self.config.strict_ivs;
        let ssrc = packet.header.ssrc;
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let Some((mid, rid)) = transport.stream_ids(ssrc) else { return };
        let Role::Publisher(publisher) = &mut transport.role else { return };
        if !std::mem::replace(&mut publisher.media_received, true) {
            self.events.push_back(MediaEvent::MediaStarted(id));
        }
        let bytes = packet.payload.len() + packet.header.header_len;
        if publisher.bitrate.add_and_check(now, bytes) && strict {
            return self.close_transport(now, id, CloseReason::BitrateExceeded);
        }
        let Some(track) = publisher.tracks.iter_mut().find(|track| track.mid == mid) else { return };
        let is_new_stream = !track.has_stream(ssrc);
        if is_new_stream && !track.add_stream(now, ssrc, rid) {
            return transport.restore_stream(ssrc);
        }
        let info = track.handle_packet(now, ssrc, packet.header.payload_type, &packet.payload);
        let Some(info) = info else { return };
        if let Some(reason) = ivs_limits::check_frame(info.frame).filter(|_| strict) {
            return self.close_transport(now, id, reason);
        }
        let kind = track.kind;
        if info.forward {
            let subscribers = std::mem::take(&mut publisher.subscribers);
            for subscriber in &subscribers {
                self.enqueue(now, *subscriber, kind, info, packet);
            }
            if let Some(Role::Publisher(publisher)) = self.transports.get_mut(&id).map(|transport| &mut transport.role)
            {
                publisher.subscribers = subscribers;
            }
        }
        if is_new_stream && let Some(transport) = self.transports.get_mut(&id) {
            transport.enable_nack(ssrc, packet.header.payload_type);
        }
        match self.send_key_frame_requests(now, id) || is_new_stream {
            true => self.drive(now, id),
            // The library has nothing new to send.
            false => self.reschedule(now, id),
        }
    }

    /// Queues a packet for a subscriber.
    fn enqueue(
        &mut self,
        now: Instant,
        subscriber: TransportId,
        kind: MediaKind,
        info: PacketInfo,
        packet: &RtpPacket,
    ) {
        let Some(transport) = self.transports.get_mut(&subscriber).filter(|transport| transport.connected) else {
            return;
        };
        let Role::Subscriber { tracks, .. } = &mut transport.role else { return };
        let Some((_, track)) = tracks.iter_mut().find(|(of, _)| *of == kind) else { return };
        let Some(mapping) = track.mapping(packet.header.payload_type) else { return };
        let source = SourcePacket {
            ssrc: packet.header.ssrc,
            sequence_number: *packet.seq_no,
            timestamp: packet.header.timestamp,
            is_entry_point: info.is_entry_point,
        };
        let Some((sequence_number, timestamp)) = track.rewrite(now, source) else { return };
        let vp8_patch = (info.codec == Codec::Vp8).then(|| track.vp8_patch(sequence_number, &packet.payload)).flatten();
        let received = &packet.header.ext_vals;
        let extensions = ExtensionValues {
            audio_level: received.audio_level,
            voice_activity: received.voice_activity,
            video_orientation: received.video_orientation,
            ..ExtensionValues::default()
        };
        let mut write = RtpWrite::new(mapping.to, sequence_number, timestamp, now, packet.payload.clone())
            .marker(packet.header.marker)
            .ext_vals(extensions)
            .nackable(mapping.has_rtx && kind == MediaKind::Video);
        if let Some(patch) = vp8_patch {
            write = write.vp8_patch(patch);
        }
        let mid = track.mid;
        transport.write_rtp(mid, write);
        self.queued_packets += 1;
        if transport.queued_at.replace(now).is_none() {
            self.unflushed.push_back(subscriber);
        }
    }
}
