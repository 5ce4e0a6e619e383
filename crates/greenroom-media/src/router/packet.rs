//! Packets as the router receives and delivers them.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Header extensions that are forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    /// Negative decibels below the maximum (RFC 6464).
    pub(crate) audio_level: Option<i8>,
    pub(crate) voice_activity: Option<bool>,
    /// Coordination of video orientation: the value of the extension (3GPP TS 26.114).
    pub(crate) video_orientation: Option<u8>,
}

/// The last sender report of a stream (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderReport {
    /// Time since an epoch of the sender's choice.
    pub(crate) ntp: Duration,
    pub(crate) timestamp: u32,
}

/// What is known of when a packet was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CaptureTime {
    Unknown,
    /// By the last sender report of its stream.
    Reported(SenderReport),
    /// By the clock of this process.
    Known(Instant),
}

/// A packet of a source.
#[derive(Clone, Debug)]
pub(crate) struct SourcePacket {
    /// Index of the source's track.
    pub(crate) track: usize,
    /// Which encoding of the track it belongs to: 0 without simulcast.
    pub(crate) encoding: u8,
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    /// Extended by the rollover count.
    pub(crate) sequence_number: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) extensions: Extensions,
    pub(crate) capture_time: CaptureTime,
}

/// The counters of a VP8 payload descriptor (RFC 7741).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vp8Counters {
    /// `PictureID`: 15 bits, or 7 if the descriptor has a short one.
    pub(crate) picture_id: u16,
    /// `TL0PICIDX`, if the descriptor has it.
    pub(crate) tl0_pic_idx: Option<u8>,
}

/// A packet for a subscriber: the payload of the source, with rewritten header fields.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// Index of the subscriber's track.
    pub(crate) track: usize,
    pub(crate) payload_type: u8,
    pub(crate) has_rtx: bool,
    pub(crate) sequence_number: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Arc<[u8]>,
    /// Replaces the counters of the payload's descriptor.
    pub(crate) vp8: Option<Vp8Counters>,
    pub(crate) extensions: Extensions,
    /// When the media were captured, by the clock of this process.
    pub(crate) captured: Instant,
}
