//! One peer connection, sans-IO: an offer out, an answer in, then datagrams and time in, datagrams and figures out.

use super::clip::{Clip, VideoCodec};
use super::figures::{Figures, State};
use super::player::{Due, Kind, Player};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::config::DtlsCert;
use str0m::format::Codec;
use str0m::media::{Direction, Frequency, MediaData, MediaKind, MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig, RtcError};

/// How often figures that only the library knows are brought up to date.
const FIGURES_EVERY: Duration = Duration::from_millis(500);

/// What was answered, or came over the network, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The answer.
    #[error("the answer is not SDP: {0}")]
    Answer(String),
    /// The connection.
    #[error(transparent)]
    Rtc(#[from] RtcError),
    /// No certificate could be made.
    #[error("the certificate of the connection could not be made")]
    Certificate,
}

/// What all connections of a program share: one certificate spares the making of thousands.
#[derive(Clone, Debug)]
pub struct Identity(DtlsCert);

impl Identity {
    /// Makes a certificate.
    pub fn new() -> Result<Identity, PeerError> {
        let provider = str0m::crypto::from_feature_flags();
        provider.dtls_provider.generate_certificate().map(Identity).ok_or(PeerError::Certificate)
    }
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Send a datagram.
    Send(SocketAddr, Vec<u8>),
    /// Call [`Peer::wait_over`] at this time, if nothing comes before.
    Wait(Instant),
}

/// A peer connection.
#[derive(Debug)]
pub struct Peer {
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    audio: Mid,
    video: Mid,
    clip: Option<Arc<Clip>>,
    player: Option<Player>,
    local: Option<SocketAddr>,
    figures: Figures,
    /// The last sequence number of audio and of video.
    last: [Option<u64>; 2],
}

impl Peer {
    /// Offers to send a clip. There is a video section even where there is no video: IVS demands one.
    pub fn publish(identity: &Identity, clip: Arc<Clip>, now: Instant) -> Result<(Peer, String), PeerError> {
        let vp8 = matches!(clip.video, Some((VideoCodec::Vp8, _)));
        Peer::offer(config(identity, !vp8, vp8), Direction::SendOnly, Some(clip), now)
    }

    /// Offers to receive.
    pub fn subscribe(identity: &Identity, now: Instant) -> Result<(Peer, String), PeerError> {
        Peer::offer(config(identity, true, true), Direction::RecvOnly, None, now)
    }

    fn offer(
        config: RtcConfig,
        direction: Direction,
        clip: Option<Arc<Clip>>,
        now: Instant,
    ) -> Result<(Peer, String), PeerError> {
        let mut rtc = config.build(now);
        let mut change = rtc.sdp_api();
        let audio = change.add_media(MediaKind::Audio, direction, None, None, None);
        let video = change.add_media(MediaKind::Video, direction, None, None, None);
        let (offer, pending) = change.apply().ok_or_else(|| PeerError::Answer("there is nothing to offer".into()))?;
        let figures = Figures::new(now);
        let (pending, last) = (Some(pending), [None; 2]);
        let peer = Peer { rtc, pending, audio, video, clip, player: None, local: None, figures, last };
        Ok((peer, offer.to_sdp_string()))
    }

    /// Takes the answer.
    pub fn accept(&mut self, answer: &str) -> Result<(), PeerError> {
        let answer = SdpAnswer::from_sdp_string(answer).map_err(|error| PeerError::Answer(error.to_string()))?;
        if let Some(pending) = self.pending.take() {
            self.rtc.sdp_api().accept_answer(pending, answer)?;
        }
        Ok(())
    }

    /// Takes the address that datagrams leave from.
    pub fn bound(&mut self, local: SocketAddr) -> Result<(), PeerError> {
        let candidate = Candidate::host(local, "udp").map_err(|error| PeerError::Answer(error.to_string()))?;
        self.rtc.add_local_candidate(candidate);
        self.local = Some(local);
        Ok(())
    }

    /// Takes a datagram. One that is none of WebRTC's is passed over.
    pub fn receive(&mut self, source: SocketAddr, bytes: &[u8], now: Instant) -> Result<(), PeerError> {
        let Some(destination) = self.local else { return Ok(()) };
        self.figures.received.datagrams += 1;
        self.figures.received.bytes += bytes.len() as u64;
        let Ok(contents) = bytes.try_into() else { return Ok(()) };
        let input = Input::Receive(now, Receive { proto: Protocol::Udp, source, destination, contents });
        if self.rtc.accepts(&input) {
            self.rtc.handle_input(input)?;
        }
        Ok(())
    }

    /// Lets time pass.
    pub fn wait_over(&mut self, now: Instant) -> Result<(), PeerError> {
        Ok(self.rtc.handle_input(Input::Timeout(now))?)
    }

    /// Tells the other side that this is the end. Poll once more for what is left to send.
    pub fn close(&mut self, now: Instant) -> Result<(), PeerError> {
        self.ended(State::Closed);
        self.rtc.close()?;
        self.wait_over(now)
    }

    /// What to do next; ask again after every sending, until it is to wait.
    pub fn poll(&mut self, now: Instant) -> Result<Next, PeerError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Transmit(datagram) => {
                    self.figures.sent.datagrams += 1;
                    self.figures.sent.bytes += datagram.contents.len() as u64;
                    return Ok(Next::Send(datagram.destination, datagram.contents.into()));
                }
                Output::Event(event) => self.heard(event, now),
                // All that was done is worked off: the next thing may be done.
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

    /// What was sent and received so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.figures.state.is_over() || !self.rtc.is_alive()
    }

    fn ended(&mut self, state: State) {
        if !self.figures.state.is_over() {
            self.figures.state = state;
        }
        self.player = None;
    }

    fn heard(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connected => {
                self.figures.connected(now);
                self.player = self.clip.clone().map(|clip| Player::start(clip, now));
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => self.ended(State::Lost),
            Event::Closed => self.ended(State::ClosedByServer),
            Event::KeyframeRequest(_) => {
                self.figures.sent.key_frames_asked += 1;
                if let Some(player) = &mut self.player {
                    player.jump();
                }
            }
            Event::MediaData(data) => self.media(&data, now),
            Event::MediaIngressStats(stats) => self.figures.received.reported(stats.mid == self.video, &stats),
            Event::MediaEgressStats(stats) => self.figures.sent.reported(stats.mid == self.video, &stats),
            Event::PeerStats(stats) => {
                let pair = stats.selected_candidate_pair.and_then(|pair| pair.current_round_trip_time);
                self.figures.round_trip = pair.or(self.figures.round_trip);
            }
            _ => {}
        }
    }

    fn media(&mut self, data: &MediaData, now: Instant) {
        let (first, last) = (**data.seq_range.start(), **data.seq_range.end());
        let video = data.mid == self.video;
        let before = self.last[usize::from(video)].replace(last);
        self.figures.frame(video, data.is_keyframe(), now);
        let received = &mut self.figures.received;
        received.packets += last.saturating_sub(first) + 1;
        received.lost += before.map_or(0, |before| first.saturating_sub(before.saturating_add(1)));
    }

    fn write(&mut self, due: Due, now: Instant) -> Result<(), PeerError> {
        let (mid, rate) = match due.kind {
            Kind::Audio => (self.audio, Frequency::FORTY_EIGHT_KHZ),
            Kind::Video => (self.video, Frequency::NINETY_KHZ),
        };
        // A section that the server has turned down takes nothing.
        let Some(pt) = self.payload_type(mid, due.kind) else { return Ok(()) };
        let Some(writer) = self.rtc.writer(mid) else { return Ok(()) };
        writer.write(pt, due.at, MediaTime::new(due.ticks, rate), due.frame.data)?;
        self.figures.sent.frame(due.kind == Kind::Video, due.frame.key);
        // It is cut into packets when time passes.
        self.wait_over(now)
    }

    /// The payload type of what is sent: for H.264 the one that may be cut into packets.
    fn payload_type(&mut self, mid: Mid, kind: Kind) -> Option<Pt> {
        let vp8 = matches!(self.clip.as_ref()?.video, Some((VideoCodec::Vp8, _)));
        let writer = self.rtc.writer(mid)?;
        let fits = |codec: Codec, mode: Option<u8>| match kind {
            Kind::Audio => codec == Codec::Opus,
            Kind::Video if vp8 => codec == Codec::Vp8,
            Kind::Video => codec == Codec::H264 && mode == Some(1),
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
        .set_stats_interval(Some(FIGURES_EVERY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A server on a virtual clock, which hears what the client sends, or sends the pattern itself.
    struct Server {
        rtc: Rtc,
        player: Option<Player>,
        heard: Vec<MediaData>,
        /// Every so many RTP packets of the server's one is lost, and so is every repetition of it.
        lossy: Option<u16>,
    }

    const CLIENT: &str = "10.0.0.1:5000";
    const SERVER: &str = "10.0.0.2:6000";

    impl Server {
        fn answer(offer: &str, client: &mut Peer, now: Instant) -> Server {
            let mut rtc = RtcConfig::new().set_ice_lite(true).build(now);
            rtc.add_local_candidate(Candidate::host(SERVER.parse().unwrap(), "udp").unwrap());
            let offer = str0m::change::SdpOffer::from_sdp_string(offer).unwrap();
            let answer = rtc.sdp_api().accept_offer(offer).unwrap().to_sdp_string();
            client.accept(&answer).unwrap();
            client.bound(CLIENT.parse().unwrap()).unwrap();
            Server { rtc, player: None, heard: Vec::new(), lossy: None }
        }

        /// Works off what there is: what to send, and until when to wait.
        fn work(&mut self, client: &Peer, now: Instant) -> (Vec<Vec<u8>>, Instant) {
            let mut out = Vec::new();
            loop {
                match self.rtc.poll_output().unwrap() {
                    Output::Transmit(datagram) => out.push(datagram.contents.into()),
                    Output::Event(Event::MediaData(data)) => self.heard.push(data),
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

        fn write(&mut self, client: &Peer, due: Due, now: Instant) {
            let (mid, rate, codec) = match due.kind {
                Kind::Audio => (client.audio, Frequency::FORTY_EIGHT_KHZ, Codec::Opus),
                Kind::Video => (client.video, Frequency::NINETY_KHZ, Codec::H264),
            };
            let writer = self.rtc.writer(mid).unwrap();
            let pt = writer.payload_params().find(|params| params.spec().codec == codec).unwrap().pt();
            writer.write(pt, due.at, MediaTime::new(due.ticks, rate), due.frame.data).unwrap();
            self.rtc.handle_input(Input::Timeout(now)).unwrap();
        }

        /// Whether the network loses this datagram: of RTP, by its payload type, every so many.
        fn loses(&self, datagram: &[u8]) -> bool {
            let rtp = (128..192).contains(&datagram[0]) && !(192..224).contains(&datagram[1]);
            let number = u16::from_be_bytes([datagram[2], datagram[3]]);
            rtp && self.lossy.is_some_and(|every| number.is_multiple_of(every))
        }
    }

    /// What a client has to send, and until when it waits.
    fn drain(client: &mut Peer, now: Instant) -> (Vec<Vec<u8>>, Instant) {
        let mut out = Vec::new();
        loop {
            match client.poll(now).unwrap() {
                Next::Send(_, bytes) => out.push(bytes),
                Next::Wait(until) => return (out, until),
            }
        }
    }

    /// Lets some time pass between the two. Each works off a datagram before it gets the next.
    fn run(client: &mut Peer, server: &mut Server, from: Instant, time: Duration) -> Instant {
        let (mut now, end) = (from, from + time);
        while now < end {
            client.wait_over(now).unwrap();
            server.rtc.handle_input(Input::Timeout(now)).unwrap();
            let (out, mut client_waits) = drain(client, now);
            let mut to_server = VecDeque::from(out);
            let (out, mut server_waits) = server.work(client, now);
            let mut to_client = VecDeque::from(out);
            loop {
                if let Some(bytes) = to_server.pop_front() {
                    let (source, destination) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
                    let contents = bytes.as_slice().try_into().unwrap();
                    let receive = Receive { proto: Protocol::Udp, source, destination, contents };
                    server.rtc.handle_input(Input::Receive(now, receive)).unwrap();
                    let (out, waits) = server.work(client, now);
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
    fn access_units_arrive_as_they_are_in_the_clip() {
        let (now, clip) = (Instant::now(), Arc::new(Clip::pattern()));
        let (mut client, offer) = Peer::publish(&Identity::new().unwrap(), clip.clone(), now).unwrap();
        let mut server = Server::answer(&offer, &mut client, now);
        run(&mut client, &mut server, now, Duration::from_secs(3));
        assert_eq!(client.figures().state, State::Connected);
        let video: Vec<_> = server.heard.iter().filter(|data| data.mid == client.video).collect();
        let sent = &clip.video.as_ref().unwrap().1;
        assert!(video.len() > 60, "{}", video.len());
        for (heard, sent) in video.iter().zip(sent) {
            assert_eq!((&heard.data, heard.is_keyframe()), (&sent.data, sent.key));
        }
        assert!(video.windows(2).all(|pair| pair[1].time.numer() - pair[0].time.numer() == 3000));
        let audio = server.heard.iter().filter(|data| data.mid == client.audio);
        assert!(audio.zip(clip.audio.as_ref().unwrap()).all(|(heard, sent)| heard.data == sent.data));
        assert!(client.figures().sent.key_frames >= 2 && client.figures().sent.packets() > 100);
    }

    #[test]
    fn what_is_received_is_counted_and_what_is_not_is_lost() {
        for (lossy, lost) in [(None, false), (Some(40), true)] {
            let now = Instant::now();
            let (mut client, offer) = Peer::subscribe(&Identity::new().unwrap(), now).unwrap();
            let mut server = Server::answer(&offer, &mut client, now);
            let now = run(&mut client, &mut server, now, Duration::from_secs(1));
            assert_eq!(client.figures().state, State::Connected);
            server.player = Some(Player::start(Arc::new(Clip::pattern()), now));
            server.lossy = lossy;
            let now = run(&mut client, &mut server, now, Duration::from_secs(8));
            let received = client.figures().received;
            assert!(received.frames > 100 && received.key_frames > 3 && received.audio_frames > 300, "{received:?}");
            assert_eq!(received.lost > 0, lost, "{received:?}");
            assert_eq!(received.nacks() > 0, lost, "{received:?}");
            client.close(now).unwrap();
            assert!(client.is_over() && client.figures().state == State::Closed);
        }
    }
}
