//! Rewrites the picture IDs of VP8 payload descriptors (RFC 7741) so that they stay continuous across source switches:
//! receivers drop frames whose counters jump.

use crate::router::codec::vp8_counters;
use crate::router::packet::Vp8Counters;

/// Counters, or what is added to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    /// `PictureID`, 15 bits.
    picture_id: u16,
    /// `TL0PICIDX`.
    tl0_pic_idx: u8,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Vp8Rewriter {
    /// Added to the counters of the current source; `None` until its first packet.
    offset: Option<Counters>,
    /// The counters sent last.
    last: Option<Counters>,
}

impl Vp8Rewriter {
    /// The next packet comes from another source.
    pub(super) fn switch_source(&mut self) {
        self.offset = None;
    }

    /// The counters for a packet's descriptor. `is_newest`: no packet with a higher sequence number was sent.
    pub(super) fn rewrite(&mut self, payload: &[u8], is_newest: bool) -> Option<Vp8Counters> {
        let Vp8Counters { picture_id, tl0_pic_idx } = vp8_counters(payload)?;
        let offset = *self.offset.get_or_insert_with(|| match self.last {
            None => Counters { picture_id: 0, tl0_pic_idx: 0 },
            Some(last) => Counters {
                picture_id: last.picture_id.wrapping_add(1).wrapping_sub(picture_id),
                tl0_pic_idx: last.tl0_pic_idx.wrapping_add(1).wrapping_sub(tl0_pic_idx.unwrap_or_default()),
            },
        });
        let rewritten = Counters {
            picture_id: picture_id.wrapping_add(offset.picture_id) & 0x7fff,
            tl0_pic_idx: tl0_pic_idx.unwrap_or_default().wrapping_add(offset.tl0_pic_idx),
        };
        if is_newest {
            self.last = Some(rewritten);
        }
        Some(Vp8Counters { picture_id: rewritten.picture_id, tl0_pic_idx: tl0_pic_idx.map(|_| rewritten.tl0_pic_idx) })
    }
}
