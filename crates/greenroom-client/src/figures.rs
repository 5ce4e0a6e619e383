//! What a connection has sent and received so far.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use str0m::stats::{MediaEgressStats, MediaIngressStats};

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Keys are not agreed yet.
    Connecting,
    /// Media may flow.
    Connected,
    /// Ended from here.
    Closed,
    /// Ended by the server.
    ClosedByServer,
    /// The server gives no sign of life.
    Lost,
    /// The library, or the operating system, would not go on.
    Failed,
}

impl State {
    /// How it is printed.
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

    /// Whether nothing follows.
    pub fn is_over(self) -> bool {
        !matches!(self, State::Connecting | State::Connected)
    }
}

/// What came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Datagrams of any kind.
    pub datagrams: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// RTP packets that made up frames.
    pub packets: u64,
    /// RTP packets that are missing between frames, and were not made good by sending them again.
    pub lost: u64,
    /// Whole frames of video.
    pub frames: u64,
    /// Those among them that a decoder can begin with.
    pub key_frames: u64,
    /// Whole frames of audio.
    pub audio_frames: u64,
    /// Packets that were asked for again, of audio and of video.
    nacks: [u64; 2],
}

/// What went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams of any kind.
    pub datagrams: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Frames of video.
    pub frames: u64,
    /// Those among them that a decoder can begin with.
    pub key_frames: u64,
    /// Frames of audio.
    pub audio_frames: u64,
    /// Key frames that the server has asked for.
    pub key_frames_asked: u64,
    /// RTP packets, of audio and of video; those sent again count again.
    packets: [u64; 2],
    /// RTP packets that the server reports missing.
    lost: [u64; 2],
}

/// What a connection has done.
#[derive(Clone, Debug)]
pub struct Figures {
    /// How it stands.
    pub state: State,
    /// What came in.
    pub received: Received,
    /// What went out.
    pub sent: Sent,
    /// There and back again.
    pub round_trip: Option<Duration>,
    made_at: Instant,
    connected_at: Option<Instant>,
    key_frame_at: Option<Instant>,
}

impl Received {
    /// Takes what the library counts.
    pub(super) fn reported(&mut self, video: bool, stats: &MediaIngressStats) {
        self.nacks[usize::from(video)] = stats.nacks;
    }

    /// How often a packet was asked for again.
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

    /// Takes what the library counts.
    pub(super) fn reported(&mut self, video: bool, stats: &MediaEgressStats) {
        self.packets[usize::from(video)] = stats.packets;
        if let Some(remote) = &stats.remote {
            self.lost[usize::from(video)] = remote.packets_lost;
        }
    }

    /// RTP packets.
    pub fn packets(&self) -> u64 {
        self.packets.iter().sum()
    }

    /// RTP packets that the server reports missing.
    pub fn lost(&self) -> u64 {
        self.lost.iter().sum()
    }
}

impl Figures {
    /// Those of a connection that was just thought of.
    pub fn new(now: Instant) -> Figures {
        Figures {
            state: State::Connecting,
            received: Received::default(),
            sent: Sent::default(),
            round_trip: None,
            made_at: now,
            connected_at: None,
            key_frame_at: None,
        }
    }

    /// Notes that keys are agreed.
    pub(super) fn connected(&mut self, now: Instant) {
        self.state = State::Connected;
        self.connected_at.get_or_insert(now);
    }

    /// Counts a frame that came in.
    pub(super) fn frame(&mut self, video: bool, key: bool, now: Instant) {
        self.received.frames += u64::from(video);
        self.received.key_frames += u64::from(video && key);
        self.received.audio_frames += u64::from(!video);
        if video && key {
            self.key_frame_at.get_or_insert(now);
        }
    }

    /// From the making of the offer until keys were agreed.
    pub fn join_time(&self) -> Option<Duration> {
        self.connected_at.map(|at| at.saturating_duration_since(self.made_at))
    }

    /// From the connection to the first frame that a decoder can begin with.
    pub fn key_frame_wait(&self) -> Option<Duration> {
        Some(self.key_frame_at?.saturating_duration_since(self.connected_at?))
    }

    /// As JSON; the names are documented.
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
                "keyFramesAsked": sent.key_frames_asked,
            },
        })
    }
}

/// Seconds with two digits after the point.
pub fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

/// Milliseconds with one digit after the point.
pub fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}
