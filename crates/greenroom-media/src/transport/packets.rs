//! Conversion between the WebRTC library's packets and the router's.

use super::WebRtcTransport;
use crate::MediaKind;
use crate::router::packet::{CaptureTime, Delivery, Extensions, SenderReport, SourcePacket, Vp8Counters};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};
use str0m::media::MediaTime;
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, Ssrc, VideoOrientation, Vp8Descriptor, Vp8Patch};

/// The highest playout delay that the header extension can express but for 10 ms, which is no limit.
const MAX_PLAYOUT_DELAY: Duration = Duration::from_secs(40);

impl WebRtcTransport {
    /// A received packet for the router; `None` if its stream is none of the publisher's layers.
    pub(crate) fn source_packet(&mut self, packet: &RtpPacket) -> Option<SourcePacket> {
        let ssrc = packet.header.ssrc;
        let (mid, rid) = self.rtc.direct_api().stream_rx(&ssrc).map(|stream| (stream.mid(), stream.rid()))?;
        let track = self.sections.iter().position(|section| section.mid == mid)?;
        let encoding = self.encodings[track].number(rid)?;
        let received = &packet.header.ext_vals;
        // A report from before the first packet has no timestamp of its stream.
        let report = packet.last_sender_info.as_ref().filter(|info| info.sender_packet_count > 0);
        let report = report.and_then(|info| {
            let ntp = info.ntp_time.duration_since(UNIX_EPOCH).ok()?;
            Some(SenderReport { ntp, timestamp: info.rtp_time.numer() as u32 })
        });
        Some(SourcePacket {
            track,
            encoding,
            ssrc: *ssrc,
            payload_type: *packet.header.payload_type,
            sequence_number: *packet.seq_no,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload: Arc::clone(&packet.payload),
            extensions: Extensions {
                audio_level: received.audio_level,
                voice_activity: received.voice_activity,
                video_orientation: received.video_orientation.map(|orientation| orientation as u8),
            },
            capture_time: report.map_or(CaptureTime::Unknown, CaptureTime::Reported),
        })
    }

    /// Records that the router has accepted a stream as that of a layer.
    pub(crate) fn accept_stream(&mut self, packet: &SourcePacket) {
        self.encodings[packet.track].set_stream(packet.encoding, packet.ssrc.into());
        self.enable_nack(packet.ssrc.into(), packet.payload_type);
    }

    /// Queues a packet for a subscriber.
    pub(crate) fn write(&mut self, now: Instant, delivery: Delivery) {
        let Some(section) = self.sections.get(delivery.track) else { return };
        let delay = self.playout_delay.get(now).filter(|_| section.kind == MediaKind::Video);
        let hundredths = |delay: Duration| MediaTime::from_hundredths(delay.as_millis() as u64 / 10);
        let extensions = ExtensionValues {
            play_delay_min: delay.map(hundredths),
            play_delay_max: delay.map(|_| hundredths(MAX_PLAYOUT_DELAY)),
            audio_level: delivery.extensions.audio_level,
            voice_activity: delivery.extensions.voice_activity,
            video_orientation: delivery.extensions.video_orientation.map(VideoOrientation::from),
            ..ExtensionValues::default()
        };
        let payload = delivery.payload;
        let vp8_patch = delivery.vp8.and_then(|counters| vp8_patch(&payload, counters));
        let mut write = RtpWrite::new(
            delivery.payload_type.into(),
            delivery.sequence_number.into(),
            delivery.timestamp,
            delivery.captured,
            payload,
        )
        .marker(delivery.marker)
        .ext_vals(extensions)
        .nackable(delivery.has_rtx && section.kind == MediaKind::Video);
        if let Some(patch) = vp8_patch {
            write = write.vp8_patch(patch);
        }
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(section.mid, None) {
            stream.write_rtp(write);
        }
    }

    /// Undoes the replacement of a stream by one of another SSRC that is not accepted. The library takes a section's new
    /// stream from the packet's header before it checks the packet's integrity, and drops the former stream's packets from
    /// then on.
    pub(crate) fn restore_stream(&mut self, ssrc: Ssrc) {
        let mut api = self.rtc.direct_api();
        for (section, encodings) in self.sections.iter().zip(&self.encodings) {
            for (rid, known) in encodings.streams() {
                let current = api.stream_rx_by_mid(section.mid, rid).map(|stream| (stream.ssrc(), stream.rtx()));
                if let Some((current, rtx)) = current
                    && current == ssrc
                    && known != ssrc
                {
                    api.remove_stream_rx(ssrc);
                    api.expect_stream_rx(known, rtx, section.mid, rid);
                }
            }
        }
    }
}

/// The change of a VP8 payload descriptor to these counters.
fn vp8_patch(payload: &[u8], counters: Vp8Counters) -> Option<Vp8Patch> {
    let descriptor = Vp8Descriptor::parse(payload).ok()?;
    let patch = |picture_id| match counters.tl0_pic_idx {
        Some(tl0_pic_idx) => descriptor.patch().picture_id(picture_id).tl0_pic_idx(tl0_pic_idx).build(),
        None => descriptor.patch().picture_id(picture_id).build(),
    };
    // A descriptor with a 7-bit picture ID has no space for 15 bits.
    patch(counters.picture_id).or_else(|_| patch(counters.picture_id & 0x7f)).ok()
}
