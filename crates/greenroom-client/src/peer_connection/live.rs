//! Publishing of RTP payloads that were packetized elsewhere: the streams of an encoder that is connected to another node.

use super::{Identity, PeerConnection, PeerConnectionError, config};
use crate::stats::State;
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::format::CodecConfig;
use str0m::media::{Direction, MediaKind, Mid, Pt, Rid, Simulcast, SimulcastLayer};
use str0m::rtp::RtpWrite;
use str0m::{Rtc, RtcConfig};

/// RIDs of the layers.
const RIDS: [&str; 3] = ["l0", "l1", "l2"];
/// Maximum layers of the video.
pub const MAX_LAYERS: u8 = RIDS.len() as u8;
/// Maximum bytes of a payload: with headers and a retransmission's sequence number, it fits into a datagram of the WebRTC library.
const MAX_PAYLOAD_BYTES: usize = 1_300;
/// Receivers assume a rollover count of 0 for the first packet: its number is below 65,536, with room for reordered ones below it.
const FIRST_SEQUENCE_NUMBER: u64 = 1_000;
/// Interval of sender reports. Until the first one, the receiver synchronizes audio and video by their arrival.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// Packetization mode 1, Constrained Baseline, level 3.1: any decoder takes it, and what is sent tells its own profile.
const H264: (u8, u8, u32) = (108, 109, 0x42_e01f);

/// A packet to publish.
#[derive(Clone, Debug)]
pub struct LivePacket {
    /// 0 is audio (Opus), 1 is video (H.264 in packetization mode 1).
    pub track: usize,
    /// The layer of the video.
    pub layer: u8,
    /// Without rollover, of the track and layer. A gap is a loss.
    pub sequence_number: u64,
    /// RTP timestamp: 48 kHz for audio, 90 kHz for video.
    pub timestamp: u32,
    /// The last packet of its frame.
    pub marker: bool,
    /// When the media were captured: the same for what belongs together, whatever its track.
    pub captured: Instant,
    /// RTP payload.
    pub payload: Arc<[u8]>,
}

/// The streams of a [`PeerConnection::publish_live`].
#[derive(Debug)]
pub(super) struct LiveStreams {
    layers: u8,
    /// The first sequence number of the audio and of each layer of the video.
    first: [Option<u64>; 1 + RIDS.len()],
}

impl LiveStreams {
    /// The outgoing sequence number; `None` of a packet long before the first one.
    fn sequence_number(&mut self, packet: &LivePacket) -> Option<u64> {
        let stream = packet.track + usize::from(packet.layer);
        let first = *self.first.get_mut(stream)?.get_or_insert(packet.sequence_number);
        FIRST_SEQUENCE_NUMBER.checked_add(packet.sequence_number)?.checked_sub(first)
    }

    /// Whether the packet belongs to one of the streams.
    fn has(&self, packet: &LivePacket) -> bool {
        match packet.track {
            0 => packet.layer == 0,
            1 => packet.layer < self.layers,
            _ => false,
        }
    }

    fn rid(&self, packet: &LivePacket) -> Option<Rid> {
        let is_layer = packet.track == 1 && self.layers > 1;
        RIDS.get(usize::from(packet.layer)).filter(|_| is_layer).map(|rid| Rid::from(*rid))
    }
}

impl PeerConnection {
    /// A connection that sends the packets of [`PeerConnection::forward`], with up to `layers` layers of video, and its offer.
    /// It has no feedback for key-frame requests: an encoder does not answer them.
    pub fn publish_live(
        identity: &Identity,
        layers: u8,
        now: Instant,
    ) -> Result<(PeerConnection, String), PeerConnectionError> {
        let layers = layers.clamp(1, MAX_LAYERS);
        let send = RIDS.iter().take(usize::from(layers)).map(|rid| SimulcastLayer::new(rid)).collect();
        let simulcast = (layers > 1).then_some(Simulcast { send, recv: Vec::new() });
        let offered = PeerConnection::offer(live_config(identity), Direction::SendOnly, None, simulcast, now);
        let (mut peer_connection, offer) = offered?;
        peer_connection.live = Some(LiveStreams { layers, first: Default::default() });
        Ok((peer_connection, offer))
    }

    /// Queues a packet; [`PeerConnection::handle_timeout`] must follow. Drops and counts packets before the connection is
    /// established, those of streams that were not offered, and those that are too large.
    pub fn forward(&mut self, packet: LivePacket, now: Instant) {
        let is_queued = self.queue(packet, now);
        self.stats.sent.dropped += u64::from(!is_queued);
    }

    fn queue(&mut self, packet: LivePacket, now: Instant) -> bool {
        let mid = if packet.track == 0 { self.audio } else { self.video };
        let Some(live) = self.live.as_mut().filter(|live| live.has(&packet)) else { return false };
        if self.stats.state != State::Connected || packet.payload.len() > MAX_PAYLOAD_BYTES {
            return false;
        }
        let rid = live.rid(&packet);
        let Some((number, pt)) = live.sequence_number(&packet).zip(negotiated(&self.rtc, mid)) else { return false };
        // A capture time in the future has no sender report.
        let captured = packet.captured.min(now);
        let is_video = packet.track != 0;
        let write = RtpWrite::new(pt, number.into(), packet.timestamp, captured, packet.payload);
        let write = write.marker(packet.marker).nackable(is_video);
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, rid) else { return false };
        stream.write_rtp(write);
        if packet.marker || !is_video {
            self.stats.sent.frame(is_video, false);
        }
        true
    }
}

/// The payload type of a section: it is offered with one codec.
fn negotiated(rtc: &Rtc, mid: Mid) -> Option<Pt> {
    let section = rtc.media(mid)?;
    let wanted = match section.kind() {
        MediaKind::Audio => str0m::format::Codec::Opus,
        MediaKind::Video => str0m::format::Codec::H264,
    };
    let mut params = rtc.codec_config().params().iter();
    let found = params.find(|params| params.spec().codec == wanted && section.remote_pts().contains(&params.pt()));
    found.map(|params| params.pt())
}

fn live_config(identity: &Identity) -> RtcConfig {
    let mut config = config(identity, false, false)
        .set_rtp_mode(true)
        .set_rtcp_report_interval_audio(REPORT_INTERVAL)
        .set_rtcp_report_interval_video(REPORT_INTERVAL);
    let (pt, rtx, profile_level_id) = H264;
    config.codec_config().add_h264(pt.into(), Some(rtx.into()), true, profile_level_id);
    let mut params = config.codec_config().params().to_vec();
    for params in &mut params {
        params.set_fb_pli(false);
        params.set_fb_fir(false);
        // The encoder's bitrate does not follow the network.
        params.set_fb_transport_cc(false);
        params.set_fb_remb(false);
    }
    *config.codec_config() = CodecConfig::new_from_payload_params(params);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(track: usize, layer: u8, sequence_number: u64) -> LivePacket {
        LivePacket {
            track,
            layer,
            sequence_number,
            timestamp: 0,
            marker: true,
            captured: Instant::now(),
            payload: vec![0x41; 100].into(),
        }
    }

    #[test]
    fn the_offer_has_no_key_frame_requests_and_as_many_layers_as_asked_for() {
        let identity = Identity::new().unwrap();
        for (layers, rids) in [(0, 0), (1, 0), (2, 2), (3, 3), (9, 3)] {
            let (_, offer) = PeerConnection::publish_live(&identity, layers, Instant::now()).unwrap();
            assert_eq!(offer.matches("a=rid:").count(), rids, "{layers}: {offer}");
            assert!(offer.contains("a=rtpmap:108 H264/90000") && offer.contains("nack"), "{offer}");
            for absent in [" pli", " fir", " transport-cc", " goog-remb"] {
                let has = |line: &str| line.starts_with("a=rtcp-fb") && line.ends_with(absent);
                assert!(!offer.lines().any(has), "{absent}: {offer}");
            }
        }
    }

    #[test]
    fn sequence_numbers_of_each_stream_start_below_the_first_rollover() {
        let mut live = LiveStreams { layers: 2, first: Default::default() };
        let mut number = |track, layer, number| live.sequence_number(&packet(track, layer, number));
        assert_eq!(number(0, 0, 1 << 40), Some(1_000));
        assert_eq!(number(1, 0, 70_000), Some(1_000));
        assert_eq!(number(1, 1, 5), Some(1_000));
        assert_eq!(number(1, 0, 70_007), Some(1_007));
        assert_eq!(number(1, 0, 69_999), Some(999));
        assert_eq!(number(1, 0, 60_000), None);
        assert_eq!(number(1, 0, u64::MAX), None);
        assert!(live.has(&packet(1, 1, 0)) && !live.has(&packet(1, 2, 0)));
        assert!(!live.has(&packet(0, 1, 0)) && !live.has(&packet(2, 0, 0)));
    }

    #[test]
    fn nothing_is_sent_before_the_connection_is_established() {
        let now = Instant::now();
        let (mut live, _) = PeerConnection::publish_live(&Identity::new().unwrap(), 1, now).unwrap();
        live.forward(packet(1, 0, 1), now);
        assert_eq!(live.stats().sent.dropped, 1);
    }
}
