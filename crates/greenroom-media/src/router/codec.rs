//! What the first bytes of a video payload say about its frame. Payloads come from clients and may contain anything.

mod h264;
mod vp8;

use super::packet::Vp8Counters;
use crate::Codec;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FrameInfo {
    /// A frame that can be decoded without earlier ones starts in this packet.
    pub(crate) is_key: bool,
    /// Width and height in pixels, where the packet has them.
    pub(crate) resolution: Option<(u32, u32)>,
    pub(crate) is_b_frame: bool,
}

/// Inspects an RTP payload. Every audio packet is a key frame.
pub(super) fn inspect(codec: Codec, payload: &[u8]) -> FrameInfo {
    match codec {
        Codec::Opus => FrameInfo { is_key: true, ..FrameInfo::default() },
        Codec::H264 => h264::inspect(payload),
        Codec::Vp8 => vp8::inspect(payload),
    }
}

/// The counters of a VP8 payload's descriptor, if it has a picture ID.
pub(super) fn vp8_counters(payload: &[u8]) -> Option<Vp8Counters> {
    vp8::counters(payload)
}
