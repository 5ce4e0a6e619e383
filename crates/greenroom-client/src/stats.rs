//! Statistics of a media connection.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use str0m::stats::{MediaEgressStats, MediaIngressStats};

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The DTLS handshake has not finished.
    Connecting,
    Connected,
    /// Closed by this client.
    Closed,
    ClosedByServer,
    /// ICE disconnected: no packets arrive.
    Lost,
    /// An error of the WebRTC library or the socket.
    Failed,
}

impl State {
    /// Name in the output.
    pub fn name(self) -> &'static str {
        match self {
            State::Connecting => "connecting",
            State::Connected => "connected",
            State::Closed => "closed",
            State::ClosedByServer => "closed-by-server",
            State::Lost => "lost",
            State::Failed => "failed",
        }
    }

    /// Whether the state is final.
    pub fn is_over(self) -> bool {
        !matches!(self, State::Connecting | State::Connected)
    }
}

/// Counters of what was received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// UDP datagrams.
    pub datagrams: u64,
    /// Bytes of the datagrams.
    pub bytes: u64,
    /// RTP packets of complete frames.
    pub packets: u64,
    /// RTP packets missing between frames, after retransmissions.
    pub lost: u64,
    /// Complete video frames.
    pub frames: u64,
    /// Key frames among them.
    pub key_frames: u64,
    /// Complete audio frames.
    pub audio_frames: u64,
    /// NACKs sent, for audio and video.
    nacks: [u64; 2],
}

/// Counters of what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// UDP datagrams.
    pub datagrams: u64,
    /// Bytes of the datagrams.
    pub bytes: u64,
    /// Video frames.
    pub frames: u64,
    /// Key frames among them.
    pub key_frames: u64,
    /// Audio frames.
    pub audio_frames: u64,
    /// PLIs and FIRs received.
    pub key_frame_requests: u64,
    /// Packets of a live publisher that could not be sent.
    pub dropped: u64,
    /// RTP packets of audio and video, including retransmissions.
    packets: [u64; 2],
    /// RTP packets that the server's receiver reports count as lost.
    lost: [u64; 2],
}

/// Statistics of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionStats {
    pub state: State,
    pub received: Received,
    pub sent: Sent,
    /// Round-trip time.
    pub round_trip: Option<Duration>,
    created_at: Instant,
    connected_at: Option<Instant>,
    key_frame_at: Option<Instant>,
}

impl Received {
    /// Takes the counters of the WebRTC library.
    pub(super) fn update(&mut self, video: bool, stats: &MediaIngressStats) {
        self.nacks[usize::from(video)] = stats.nacks;
    }

    /// NACKs sent.
    pub fn nacks(&self) -> u64 {
        self.nacks.iter().sum()
    }
}

impl Sent {
    /// Counts a frame.
    pub(super) fn frame(&mut self, video: bool, key: bool) {
        self.frames += u64::from(video);
        self.key_frames += u64::from(video && key);
        self.audio_frames += u64::from(!video);
    }

    /// Takes the counters of the WebRTC library.
    pub(super) fn update(&mut self, video: bool, stats: &MediaEgressStats) {
        self.packets[usize::from(video)] = stats.packets;
        if let Some(remote) = &stats.remote {
            self.lost[usize::from(video)] = remote.packets_lost;
        }
    }

    /// RTP packets, including retransmissions.
    pub fn packets(&self) -> u64 {
        self.packets.iter().sum()
    }

    /// RTP packets that the server's receiver reports count as lost.
    pub fn lost(&self) -> u64 {
        self.lost.iter().sum()
    }
}

impl ConnectionStats {
    /// Statistics of a connection whose offer was just created.
    pub fn new(now: Instant) -> ConnectionStats {
        ConnectionStats {
            state: State::Connecting,
            received: Received::default(),
            sent: Sent::default(),
            round_trip: None,
            created_at: now,
            connected_at: None,
            key_frame_at: None,
        }
    }

    /// Records that the DTLS handshake has finished.
    pub(super) fn connected(&mut self, now: Instant) {
        self.state = State::Connected;
        self.connected_at.get_or_insert(now);
    }

    /// Counts a received frame.
    pub(super) fn frame(&mut self, video: bool, key: bool, now: Instant) {
        self.received.frames += u64::from(video);
        self.received.key_frames += u64::from(video && key);
        self.received.audio_frames += u64::from(!video);
        if video && key {
            self.key_frame_at.get_or_insert(now);
        }
    }

    /// Time from the offer to the end of the DTLS handshake.
    pub fn join_time(&self) -> Option<Duration> {
        self.connected_at.map(|at| at.saturating_duration_since(self.created_at))
    }

    /// Time from the end of the DTLS handshake to the first key frame.
    pub fn key_frame_wait(&self) -> Option<Duration> {
        Some(self.key_frame_at?.saturating_duration_since(self.connected_at?))
    }

    /// As JSON; `docs/clients/join-and-load.md` documents the names.
    pub fn to_json(&self) -> Value {
        let (received, sent) = (&self.received, &self.sent);
        json!({
            "state": self.state.name(),
            "joinMs": self.join_time().map(millis),
            "keyFrameWaitMs": self.key_frame_wait().map(millis),
            "roundTripMs": self.round_trip.map(millis),
            "received": {
                "datagrams": received.datagrams,
                "bytes": received.bytes,
                "packets": received.packets,
                "lost": received.lost,
                "frames": received.frames,
                "keyFrames": received.key_frames,
                "audioFrames": received.audio_frames,
                "nacks": received.nacks(),
            },
            "sent": {
                "datagrams": sent.datagrams,
                "bytes": sent.bytes,
                "packets": sent.packets(),
                "lost": sent.lost(),
                "frames": sent.frames,
                "keyFrames": sent.key_frames,
                "audioFrames": sent.audio_frames,
                "keyFramesAsked": sent.key_frame_requests,
            },
        })
    }
}

/// Seconds, rounded to two decimal places.
pub fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

/// Milliseconds, rounded to one decimal place.
pub fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}
