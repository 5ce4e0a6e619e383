//! A sans-IO peer connection: offer out, answer in; then datagrams and time in, datagrams and statistics out.

mod live;

pub use live::{LivePacket, MAX_LAYERS};

use super::clip::{Clip, VideoCodec};
use super::player::{Player, ScheduledFrame, TrackKind};
use super::stats::{ConnectionStats, State};
use live::LiveStreams;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::config::DtlsCert;
use str0m::format::Codec;
use str0m::media::{Direction, Frequency, MediaData, MediaKind, MediaTime, Mid, Pt, Simulcast};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig, RtcError};

/// Interval of the WebRTC library's statistics events.
const RTC_STATS_INTERVAL: Duration = Duration::from_millis(500);

/// Why a peer connection failed.
#[derive(Debug, thiserror::Error)]
pub enum PeerConnectionError {
    #[error("the answer is not SDP: {0}")]
    Answer(String),
    #[error(transparent)]
    Rtc(#[from] RtcError),
    #[error("cannot create a DTLS certificate")]
    Certificate,
}

/// A DTLS certificate, shared by all connections of the process: creating one is expensive.
#[derive(Clone, Debug)]
pub struct Identity(DtlsCert);

impl Identity {
    /// Creates a certificate.
    pub fn new() -> Result<Identity, PeerConnectionError> {
        let provider = str0m::crypto::from_feature_flags();
        provider.dtls_provider.generate_certificate().map(Identity).ok_or(PeerConnectionError::Certificate)
    }
}

/// What the caller does next.
#[derive(Debug)]
pub enum Next {
    /// Send a datagram to the address, and poll again.
    Send(SocketAddr, Vec<u8>),
    /// Call [`PeerConnection::handle_timeout`] at this time, unless a datagram arrives before.
    Wait(Instant),
}

/// A peer connection.
#[derive(Debug)]
pub struct PeerConnection {
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    audio: Mid,
    video: Mid,
    clip: Option<Arc<Clip>>,
    player: Option<Player>,
    live: Option<LiveStreams>,
    local: Option<SocketAddr>,
    stats: ConnectionStats,
    /// The last extended sequence numbers of audio and video.
    last_sequence_numbers: [Option<u64>; 2],
}

impl PeerConnection {
    /// A connection that sends a clip, and its offer. The offer has a video section even without video: Amazon IVS requires
    /// one.
    pub fn publish(
        identity: &Identity,
        clip: Arc<Clip>,
        now: Instant,
    ) -> Result<(PeerConnection, String), PeerConnectionError> {
        let vp8 = matches!(clip.video, Some((VideoCodec::Vp8, _)));
        PeerConnection::offer(config(identity, !vp8, vp8), Direction::SendOnly, Some(clip), None, now)
    }

    /// A connection that receives, and its offer.
    pub fn subscribe(identity: &Identity, now: Instant) -> Result<(PeerConnection, String), PeerConnectionError> {
        PeerConnection::offer(config(identity, true, true), Direction::RecvOnly, None, None, now)
    }

    fn offer(
        config: RtcConfig,
        direction: Direction,
        clip: Option<Arc<Clip>>,
        simulcast: Option<Simulcast>,
        now: Instant,
    ) -> Result<(PeerConnection, String), PeerConnectionError> {
        let mut rtc = config.build(now);
        let mut change = rtc.sdp_api();
        let audio = change.add_media(MediaKind::Audio, direction, None, None, None);
        let video = change.add_media(MediaKind::Video, direction, None, None, simulcast);
        let (offer, pending) =
            change.apply().ok_or_else(|| PeerConnectionError::Answer("the offer is empty".into()))?;
        let stats = ConnectionStats::new(now);
        let (pending, last_sequence_numbers) = (Some(pending), [None; 2]);
        let peer_connection = PeerConnection {
            rtc,
            pending,
            audio,
            video,
            clip,
            player: None,
            live: None,
            local: None,
            stats,
            last_sequence_numbers,
        };
        Ok((peer_connection, offer.to_sdp_string()))
    }

    /// Accepts the SDP answer.
    pub fn accept(&mut self, answer: &str) -> Result<(), PeerConnectionError> {
        let answer =
            SdpAnswer::from_sdp_string(answer).map_err(|error| PeerConnectionError::Answer(error.to_string()))?;
        if let Some(pending) = self.pending.take() {
            self.rtc.sdp_api().accept_answer(pending, answer)?;
        }
        Ok(())
    }

    /// Sets the local address, which becomes a host candidate.
    pub fn set_local_address(&mut self, local: SocketAddr) -> Result<(), PeerConnectionError> {
        let candidate =
            Candidate::host(local, "udp").map_err(|error| PeerConnectionError::Answer(error.to_string()))?;
        self.rtc.add_local_candidate(candidate);
        self.local = Some(local);
        Ok(())
    }

    /// Handles a datagram. Datagrams of other protocols are ignored.
    pub fn receive(&mut self, source: SocketAddr, bytes: &[u8], now: Instant) -> Result<(), PeerConnectionError> {
        let Some(destination) = self.local else { return Ok(()) };
        self.stats.received.datagrams += 1;
        self.stats.received.bytes += bytes.len() as u64;
        let Ok(contents) = bytes.try_into() else { return Ok(()) };
        let input = Input::Receive(now, Receive { proto: Protocol::Udp, source, destination, contents });
        if self.rtc.accepts(&input) {
            self.rtc.handle_input(input)?;
        }
        Ok(())
    }

    /// Handles the passing of time.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerConnectionError> {
        Ok(self.rtc.handle_input(Input::Timeout(now))?)
    }

    /// Closes the connection. Poll until [`Next::Wait`] to send what is left.
    pub fn close(&mut self, now: Instant) -> Result<(), PeerConnectionError> {
        self.set_final_state(State::Closed);
        self.rtc.close()?;
        self.handle_timeout(now)
    }

    /// What to do next. Call again after each [`Next::Send`].
    pub fn poll(&mut self, now: Instant) -> Result<Next, PeerConnectionError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Transmit(datagram) => {
                    self.stats.sent.datagrams += 1;
                    self.stats.sent.bytes += datagram.contents.len() as u64;
                    return Ok(Next::Send(datagram.destination, datagram.contents.into()));
                }
                Output::Event(event) => self.handle_event(event, now),
                // The output is drained, as str0m requires before the next input.
                Output::Timeout(at) => match self.player.as_mut().and_then(|player| player.take(now)) {
                    Some(due) => self.write(due, now)?,
                    None => {
                        let next = self.player.as_ref().and_then(Player::next_at);
                        return Ok(Next::Wait(next.map_or(at, |next| next.min(at))));
                    }
                },
            }
        }
    }

    pub fn stats(&self) -> &ConnectionStats {
        &self.stats
    }

    pub fn is_closed(&self) -> bool {
        self.stats.state.is_over() || !self.rtc.is_alive()
    }

    fn set_final_state(&mut self, state: State) {
        if !self.stats.state.is_over() {
            self.stats.state = state;
        }
        self.player = None;
    }

    fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connected => {
                self.stats.connected(now);
                self.player = self.clip.clone().map(|clip| Player::start(clip, now));
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => self.set_final_state(State::Lost),
            Event::Closed => self.set_final_state(State::ClosedByServer),
            Event::KeyframeRequest(_) => {
                self.stats.sent.key_frame_requests += 1;
                if let Some(player) = &mut self.player {
                    player.seek_to_key_frame();
                }
            }
            Event::MediaData(data) => self.count_received(&data, now),
            Event::MediaIngressStats(stats) => self.stats.received.update(stats.mid == self.video, &stats),
            Event::MediaEgressStats(stats) => self.stats.sent.update(stats.mid == self.video, &stats),
            Event::PeerStats(stats) => {
                let pair = stats.selected_candidate_pair.and_then(|pair| pair.current_round_trip_time);
                self.stats.round_trip = pair.or(self.stats.round_trip);
            }
            _ => {}
        }
    }

    fn count_received(&mut self, data: &MediaData, now: Instant) {
        let (first, last) = (**data.seq_range.start(), **data.seq_range.end());
        let video = data.mid == self.video;
        let before = self.last_sequence_numbers[usize::from(video)].replace(last);
        self.stats.frame(video, data.is_keyframe(), now);
        let received = &mut self.stats.received;
        received.packets += last.saturating_sub(first) + 1;
        received.lost += before.map_or(0, |before| first.saturating_sub(before.saturating_add(1)));
    }

    fn write(&mut self, due: ScheduledFrame, now: Instant) -> Result<(), PeerConnectionError> {
        let (mid, rate) = match due.kind {
            TrackKind::Audio => (self.audio, Frequency::FORTY_EIGHT_KHZ),
            TrackKind::Video => (self.video, Frequency::NINETY_KHZ),
        };
        // The server has rejected the media section.
        let Some(pt) = self.payload_type(mid, due.kind) else { return Ok(()) };
        let Some(writer) = self.rtc.writer(mid) else { return Ok(()) };
        writer.write(pt, due.at, MediaTime::new(due.ticks, rate), due.frame.data)?;
        self.stats.sent.frame(due.kind == TrackKind::Video, due.frame.key);
        // The library packetizes it in the next timeout.
        self.handle_timeout(now)
    }

    /// The payload type to send with: for H.264, that of packetization mode 1.
    fn payload_type(&mut self, mid: Mid, kind: TrackKind) -> Option<Pt> {
        let vp8 = matches!(self.clip.as_ref()?.video, Some((VideoCodec::Vp8, _)));
        let writer = self.rtc.writer(mid)?;
        let fits = |codec: Codec, mode: Option<u8>| match kind {
            TrackKind::Audio => codec == Codec::Opus,
            TrackKind::Video if vp8 => codec == Codec::Vp8,
            TrackKind::Video => codec == Codec::H264 && mode == Some(1),
        };
        let mut all = writer.payload_params();
        all.find(|params| fits(params.spec().codec, params.spec().format.packetization_mode)).map(|params| params.pt())
    }
}

fn config(identity: &Identity, h264: bool, vp8: bool) -> RtcConfig {
    RtcConfig::new()
        .set_dtls_cert(identity.0.clone())
        .clear_codecs()
        .enable_opus(true, false)
        .enable_h264(h264)
        .enable_vp8(vp8)
        .set_stats_interval(Some(RTC_STATS_INTERVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A server on a virtual clock, which receives, or sends the test pattern.
    struct Server {
        rtc: Rtc,
        player: Option<Player>,
        received: Vec<MediaData>,
        /// One in this many RTP packets of the server is lost, together with its retransmissions.
        lossy: Option<u16>,
    }

    const CLIENT: &str = "10.0.0.1:5000";
    const SERVER: &str = "10.0.0.2:6000";

    impl Server {
        fn answer(offer: &str, client: &mut PeerConnection, now: Instant) -> Server {
            let mut rtc = RtcConfig::new().set_ice_lite(true).build(now);
            rtc.add_local_candidate(Candidate::host(SERVER.parse().unwrap(), "udp").unwrap());
            let offer = str0m::change::SdpOffer::from_sdp_string(offer).unwrap();
            let answer = rtc.sdp_api().accept_offer(offer).unwrap().to_sdp_string();
            client.accept(&answer).unwrap();
            client.set_local_address(CLIENT.parse().unwrap()).unwrap();
            Server { rtc, player: None, received: Vec::new(), lossy: None }
        }

        /// Drains the output: what to send, and the next timeout.
        fn drain(&mut self, client: &PeerConnection, now: Instant) -> (Vec<Vec<u8>>, Instant) {
            let mut out = Vec::new();
            loop {
                match self.rtc.poll_output().unwrap() {
                    Output::Transmit(datagram) => out.push(datagram.contents.into()),
                    Output::Event(Event::MediaData(data)) => self.received.push(data),
                    Output::Event(_) => {}
                    Output::Timeout(at) => match self.player.as_mut().and_then(|player| player.take(now)) {
                        Some(due) => self.write(client, due, now),
                        None => {
                            let next = self.player.as_ref().and_then(Player::next_at);
                            return (out, next.map_or(at, |next| next.min(at)));
                        }
                    },
                }
            }
        }

        fn write(&mut self, client: &PeerConnection, due: ScheduledFrame, now: Instant) {
            let (mid, rate, codec) = match due.kind {
                TrackKind::Audio => (client.audio, Frequency::FORTY_EIGHT_KHZ, Codec::Opus),
                TrackKind::Video => (client.video, Frequency::NINETY_KHZ, Codec::H264),
            };
            let writer = self.rtc.writer(mid).unwrap();
            let pt = writer.payload_params().find(|params| params.spec().codec == codec).unwrap().pt();
            writer.write(pt, due.at, MediaTime::new(due.ticks, rate), due.frame.data).unwrap();
            self.rtc.handle_input(Input::Timeout(now)).unwrap();
        }

        /// Whether the network loses this datagram.
        fn loses(&self, datagram: &[u8]) -> bool {
            let rtp = (128..192).contains(&datagram[0]) && !(192..224).contains(&datagram[1]);
            let number = u16::from_be_bytes([datagram[2], datagram[3]]);
            rtp && self.lossy.is_some_and(|every| number.is_multiple_of(every))
        }
    }

    /// What a client has to send, and its next timeout.
    fn drain(client: &mut PeerConnection, now: Instant) -> (Vec<Vec<u8>>, Instant) {
        let mut out = Vec::new();
        loop {
            match client.poll(now).unwrap() {
                Next::Send(_, bytes) => out.push(bytes),
                Next::Wait(until) => return (out, until),
            }
        }
    }

    /// Exchanges datagrams for some time. The output of each side is drained after each datagram.
    fn run(client: &mut PeerConnection, server: &mut Server, from: Instant, time: Duration) -> Instant {
        let (mut now, end) = (from, from + time);
        while now < end {
            client.handle_timeout(now).unwrap();
            server.rtc.handle_input(Input::Timeout(now)).unwrap();
            let (out, mut client_waits) = drain(client, now);
            let mut to_server = VecDeque::from(out);
            let (out, mut server_waits) = server.drain(client, now);
            let mut to_client = VecDeque::from(out);
            loop {
                if let Some(bytes) = to_server.pop_front() {
                    let (source, destination) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
                    let contents = bytes.as_slice().try_into().unwrap();
                    let receive = Receive { proto: Protocol::Udp, source, destination, contents };
                    server.rtc.handle_input(Input::Receive(now, receive)).unwrap();
                    let (out, waits) = server.drain(client, now);
                    to_client.extend(out);
                    server_waits = waits;
                } else if let Some(bytes) = to_client.pop_front() {
                    if server.loses(&bytes) {
                        continue;
                    }
                    client.receive(SERVER.parse().unwrap(), &bytes, now).unwrap();
                    let (out, waits) = drain(client, now);
                    to_server.extend(out);
                    client_waits = waits;
                } else {
                    break;
                }
            }
            now = client_waits.min(server_waits).max(now + Duration::from_millis(1)).min(end);
        }
        now
    }

    #[test]
    fn access_units_are_received_as_they_are_in_the_clip() {
        let (now, clip) = (Instant::now(), Arc::new(Clip::test_pattern()));
        let (mut client, offer) = PeerConnection::publish(&Identity::new().unwrap(), clip.clone(), now).unwrap();
        let mut server = Server::answer(&offer, &mut client, now);
        run(&mut client, &mut server, now, Duration::from_secs(3));
        assert_eq!(client.stats().state, State::Connected);
        let video: Vec<_> = server.received.iter().filter(|data| data.mid == client.video).collect();
        let sent = &clip.video.as_ref().unwrap().1;
        assert!(video.len() > 60, "{}", video.len());
        for (received, sent) in video.iter().zip(sent) {
            assert_eq!((&received.data, received.is_keyframe()), (&sent.data, sent.key));
        }
        assert!(video.windows(2).all(|pair| pair[1].time.numer() - pair[0].time.numer() == 3000));
        let audio = server.received.iter().filter(|data| data.mid == client.audio);
        assert!(audio.zip(clip.audio.as_ref().unwrap()).all(|(received, sent)| received.data == sent.data));
        assert!(client.stats().sent.key_frames >= 2 && client.stats().sent.packets() > 100);
    }

    #[test]
    fn a_server_that_is_silent_is_lost() {
        let now = Instant::now();
        let (mut client, offer) = PeerConnection::publish_live(&Identity::new().unwrap(), 1, now).unwrap();
        let mut server = Server::answer(&offer, &mut client, now);
        let mut now = run(&mut client, &mut server, now, Duration::from_secs(1));
        assert_eq!(client.stats().state, State::Connected);
        let silent_since = now;
        while client.stats().state == State::Connected {
            assert!(now - silent_since < Duration::from_secs(30));
            client.handle_timeout(now).unwrap();
            now = drain(&mut client, now).1;
        }
        assert_eq!((client.stats().state, client.is_closed()), (State::Lost, true));
    }

    #[test]
    fn received_and_lost_packets_are_counted() {
        for (lossy, lost) in [(None, false), (Some(40), true)] {
            let now = Instant::now();
            let (mut client, offer) = PeerConnection::subscribe(&Identity::new().unwrap(), now).unwrap();
            let mut server = Server::answer(&offer, &mut client, now);
            let now = run(&mut client, &mut server, now, Duration::from_secs(1));
            assert_eq!(client.stats().state, State::Connected);
            server.player = Some(Player::start(Arc::new(Clip::test_pattern()), now));
            server.lossy = lossy;
            let now = run(&mut client, &mut server, now, Duration::from_secs(8));
            let received = client.stats().received;
            assert!(received.frames > 100 && received.key_frames > 3 && received.audio_frames > 300, "{received:?}");
            assert_eq!(received.lost > 0, lost, "{received:?}");
            assert_eq!(received.nacks() > 0, lost, "{received:?}");
            client.close(now).unwrap();
            assert!(client.is_closed() && client.stats().state == State::Closed);
        }
    }
}
