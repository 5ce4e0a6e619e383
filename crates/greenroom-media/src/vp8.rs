//! The counters in the descriptors of VP8 (RFC 7741), carried on where a stream of another layer is joined on: receivers
//! drop pictures whose counters jump.

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

/// Counters of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    /// `PictureID`, of which 15 bits count.
    picture: u16,
    /// `TL0PICIDX`.
    base: u8,
}

/// How the counters of a stream are moved for one subscriber.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Continuity {
    shift: Option<Counters>,
    /// Those that were sent last.
    last: Option<Counters>,
}

impl Continuity {
    /// Another stream goes on here.
    pub(super) fn join(&mut self) {
        self.shift = None;
    }

    /// What is to be changed in a packet; `newest` if none was sent that is behind it.
    pub(super) fn patch(&mut self, payload: &[u8], newest: bool) -> Option<Vp8Patch> {
        let descriptor = Vp8Descriptor::parse(payload).ok()?;
        let picture = descriptor.picture_id()?;
        let base = descriptor.tl0_pic_idx();
        let shift = *self.shift.get_or_insert_with(|| match self.last {
            None => Counters { picture: 0, base: 0 },
            Some(last) => Counters {
                picture: last.picture.wrapping_add(1).wrapping_sub(picture),
                base: last.base.wrapping_add(1).wrapping_sub(base.unwrap_or_default()),
            },
        });
        let moved = Counters {
            picture: picture.wrapping_add(shift.picture) & 0x7fff,
            base: base.unwrap_or_default().wrapping_add(shift.base),
        };
        if newest {
            self.last = Some(moved);
        }
        let patch = |picture| match base {
            Some(_) => descriptor.patch().picture_id(picture).tl0_pic_idx(moved.base).build(),
            None => descriptor.patch().picture_id(picture).build(),
        };
        // One of 7 bits has no room for more.
        patch(moved.picture).or_else(|_| patch(moved.picture & 0x7f)).ok()
    }
}
