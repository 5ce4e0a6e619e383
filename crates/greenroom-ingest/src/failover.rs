//! One stream from those of two redundant encoders.
//!
//! The first input with a key frame is forwarded. If it ends or stalls, the other one is, its audio at once and its video from its
//! next key frame on. The primary one replaces the secondary one at a key frame, once it has sent without a stall for
//! [`STABLE`]. Without another input, one that stalls stays: it continues where it was.

mod input;
mod output;

use crate::VIDEO;
use greenroom_codecs::h264::payloads::starts_key_frame;
use greenroom_media::MediaPacket;
use input::Input;
use output::Output;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// For how long the primary input must have sent without a stall to be restored.
const STABLE: Duration = Duration::from_secs(3);
const PRIMARY: usize = 0;

/// Why subscribers are switched from one encoder to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchReason {
    /// The first one.
    Started,
    /// The former one ended.
    Ended,
    /// The former one sent no media.
    Stalled,
    /// The primary one is back.
    Restored,
}

impl SwitchReason {
    /// Name for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            SwitchReason::Started => "started",
            SwitchReason::Ended => "ended",
            SwitchReason::Stalled => "stalled",
            SwitchReason::Restored => "restored",
        }
    }
}

/// One stream from two redundant encoders: input 0 is the primary one.
#[derive(Debug, Default)]
pub struct Failover {
    inputs: [Input; 2],
    active: Option<usize>,
    has_started: bool,
    /// The active input stalls, and there is no other.
    is_stalled: bool,
    output: Output,
    switches: VecDeque<(usize, SwitchReason)>,
}

impl Failover {
    /// The time without video after which an input counts as stalled; without audio, if it never had video.
    pub const STALL: Duration = Duration::from_secs(1);

    pub fn new(_now: Instant) -> Failover {
        Failover::default()
    }

    /// Handles a packet of an input. The packets of a frame are pushed one after another.
    pub fn push(&mut self, now: Instant, input: usize, packet: MediaPacket) {
        let Some(state) = self.inputs.get_mut(input) else { return };
        let is_video = packet.track == VIDEO;
        state.record(now, is_video);
        let starts = is_video && starts_key_frame(&packet.payload);
        if let Some(reason) = self.reason_to_switch(now, input, starts) {
            self.switch(now, input, reason);
        }
        if self.active == Some(input) {
            self.is_stalled = false;
            self.output.forward(packet);
        } else if !is_video {
            self.inputs[input].keep_audio(now, packet);
        }
    }

    /// Why an input that sends a packet now replaces the active one. `starts`: the packet begins a key frame.
    fn reason_to_switch(&self, now: Instant, input: usize, starts: bool) -> Option<SwitchReason> {
        let state = &self.inputs[input];
        match self.active {
            Some(active) if active == input => None,
            Some(active) if !self.inputs[active].is_alive(now) => state.is_alive(now).then_some(SwitchReason::Stalled),
            Some(_) => (input == PRIMARY && starts && state.is_stable(now, STABLE)).then_some(SwitchReason::Restored),
            None if starts || state.is_audio_only(now) => match self.has_started {
                true => Some(SwitchReason::Ended),
                false => Some(SwitchReason::Started),
            },
            None => None,
        }
    }

    fn switch(&mut self, now: Instant, input: usize, reason: SwitchReason) {
        (self.active, self.has_started, self.is_stalled) = (Some(input), true, false);
        self.switches.push_back((input, reason));
        self.output.switch();
        self.inputs[input].take_audio(now).for_each(|packet| self.output.forward(packet));
    }

    /// An input has ended. It may come back as a new stream.
    pub fn ended(&mut self, now: Instant, input: usize) {
        let Some(state) = self.inputs.get_mut(input) else { return };
        *state = Input::default();
        if self.active != Some(input) {
            return;
        }
        self.active = None;
        if self.inputs[1 - input].is_alive(now) {
            self.switch(now, 1 - input, SwitchReason::Ended);
        }
    }

    /// The next packet of the one stream.
    pub fn poll_packet(&mut self) -> Option<MediaPacket> {
        self.output.packets.pop_front()
    }

    /// The next switch to an input, with its reason.
    pub fn poll_switch(&mut self) -> Option<(usize, SwitchReason)> {
        self.switches.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let active = self.active.filter(|_| !self.is_stalled)?;
        Some(self.inputs[active].last_media()? + Failover::STALL)
    }

    /// Replaces the active input if it stalls.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(active) = self.active.filter(|active| !self.inputs[*active].is_alive(now)) else { return };
        match self.inputs[1 - active].is_alive(now) {
            true => self.switch(now, 1 - active, SwitchReason::Stalled),
            false => self.is_stalled = true,
        }
    }
}
